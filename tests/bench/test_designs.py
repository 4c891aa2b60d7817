"""Time of comparing designs, beside the one step that no program can avoid: the eigenvalues of their covariances."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rts.randomisation.designs.comparison import compare, usual_candidates
from tests.bench.measure import Report, time_each

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

EACH = 3
FACTORS = {"sex": (1.0,) * 2, "age": (1.0,) * 3, "site": (1.0,) * 20}


@pytest.mark.parametrize(("n", "strata"), [(146, 1), (146, 8), (1000, 1)])
def test_designs_are_compared_beside_the_eigenvalues_of_their_covariances(n: int, strata: int) -> None:
    candidates = usual_candidates(n, strata=strata, factors=FACTORS)
    matrix = np.cov(np.random.Generator(np.random.PCG64(1)).random((n, 2 * n)))
    report = Report(f"designs-{n}-subjects-{strata}-strata")

    comparison = time_each(
        f"compare {len(candidates)} designs, {n} subjects, {strata} strata",
        [lambda: compare(candidates, n, strata=strata, factors=FACTORS)] * EACH,
    )
    floor = time_each("eigenvalues", [lambda: [np.linalg.eigvalsh(matrix) for _ in candidates]] * EACH)
    began = time.process_time()
    compare(candidates, n, strata=strata, factors=FACTORS)
    processor = round((time.process_time() - began) * 1000)
    report.add(comparison, floor, processor_ms=processor, goal_ms=2000 if n == 146 else 10000)
    for candidate in candidates:
        report.add(
            time_each(
                f"{candidate.name} {n}", [lambda candidate=candidate: compare([candidate], n, factors=FACTORS)] * EACH
            )
        )
    report.publish()
