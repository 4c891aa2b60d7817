"""The worked vectors that two independent programs agreed on, byte for byte."""

import json
from pathlib import Path

import pytest

from rts.randomisation.regenerate import regenerate

VECTORS = json.loads((Path(__file__).parent / "list_vectors.json").read_text(encoding="utf-8"))
ANSWER = {"rows", "arms_in_order", "salts", "commitment"}


def parameters_of(vector):
    return {key: value for key, value in vector.items() if key not in ANSWER}


def test_the_vectors_have_the_rows_they_had_when_they_were_agreed():
    assert [len(vector["rows"]) for vector in VECTORS["permuted_blocks"]] == [8, 20, 12]
    assert [len(vector["rows"]) for vector in VECTORS["kit_list"]] == [10]
    assert [len(vector["salts"]) for vector in VECTORS["kit_list"]] == [10]
    assert len(VECTORS["conditional"]) == 4


@pytest.mark.requirement("LIST-01")
@pytest.mark.parametrize("case", range(3))
def test_a_subject_list_is_regenerated_byte_for_byte(case):
    vector = VECTORS["permuted_blocks"][case]

    regenerated = regenerate(parameters_of(vector))

    assert json.dumps(regenerated) == json.dumps(vector)


@pytest.mark.requirement("LIST-01")
def test_a_kit_list_is_regenerated_byte_for_byte():
    (vector,) = VECTORS["kit_list"]

    regenerated = regenerate(parameters_of(vector))

    assert json.dumps(regenerated) == json.dumps(vector)


@pytest.mark.requirement("LIST-01")
@pytest.mark.parametrize("case", range(4))
def test_the_list_of_a_procedure_is_regenerated_byte_for_byte(case):
    vector = VECTORS["conditional"][case]

    regenerated = regenerate(parameters_of(vector))

    assert len(regenerated["rows"]) == 20
    assert "".join(row[3] for row in regenerated["rows"]) == vector["arms_in_order"]
    assert regenerated["commitment"] == vector["commitment"]
