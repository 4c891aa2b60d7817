"""How many subjects a site may yet randomise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rts.supply.forecast import Arrivals, arrivals

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))["R05_poisson_gamma_predictive"]


@pytest.mark.parametrize("row", CASES["rows"], ids=lambda row: row["case"])
def test_new_subjects_follow_the_published_quantiles(row: dict[str, Any]) -> None:
    expected = arrivals(
        row["shape"],
        row["rate"],
        randomised=0,
        exposure_days=0,
        window_days=row["t"],
        arm_probability=row["arm_probability"],
    )

    found = {risk: expected.quantile(float(risk)) for risk in row["quantiles"]}

    assert found == {risk: quantile["min_stock"] for risk, quantile in row["quantiles"].items()}
    for risk, quantile in row["quantiles"].items():
        assert expected.chance_of_more_than(found[risk]) == pytest.approx(quantile["P_demand_gt"], rel=1e-9)


def test_the_prior_learns_from_the_site() -> None:
    learnt = arrivals(1.2, 40.0, randomised=2, exposure_days=60, window_days=28)

    assert learnt == Arrivals(3.2, 100.0, 28.0)
    assert learnt.quantile(0.001) == 6


def test_nobody_arrives_in_no_time() -> None:
    nobody = arrivals(1.2, 40.0, randomised=2, exposure_days=60, window_days=0)

    assert (nobody.quantile(0.001), nobody.chance_of_more_than(0), nobody.chance_of_more_than(-1)) == (0, 0.0, 1.0)


@pytest.mark.parametrize(
    "change", [{"prior_shape": 0.0}, {"prior_rate": 0.0}, {"window_days": -1.0}, {"arm_probability": 1.1}]
)
def test_an_impossible_prediction_is_a_mistake(change: dict[str, float]) -> None:
    settings = {"prior_shape": 1.2, "prior_rate": 40.0, "exposure_days": 0.0, "window_days": 28.0}
    with pytest.raises(ValueError, match="must"):
        arrivals(randomised=0, **{**settings, **change})


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_an_impossible_risk_is_a_mistake(epsilon: float) -> None:
    with pytest.raises(ValueError, match="must"):
        Arrivals(1.2, 40.0, 28.0).quantile(epsilon)
