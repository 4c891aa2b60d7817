"""Minimisation: published rows, ties, cumulative thresholds, unequal ratios, and a record that replays."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.minimisation import counts_at, minimise
from rts.refusal import Refusal
from rts.trial.procedures import Minimisation

GOLDEN = json.loads((Path(__file__).parent / "procedures_reference.json").read_text("utf-8"))["minimisation"]["golden"]
FACTORS = ("stage", "sex", "grade")
EQUAL = (("stage", 1), ("sex", 1), ("grade", 1))
STAGE_DOUBLE = (("stage", 2), ("sex", 1), ("grade", 1))
FOUR_FIFTHS = Fraction(4, 5)
ONE_TO_ONE = (("xq", 1), ("zv", 1))
TWO_TO_ONE = (("xq", 2), ("zv", 1))
THREE = (("xq", 1), ("zv", 1), ("wk", 1))
CODES = {"A": "xq", "B": "zv"}

LOWEST, HIGHEST = "0" * 16, "f" * 16


def word(high, low=0):
    return f"{high:08x}{low:08x}"


def allocate(row, arms=ONE_TO_ONE, metric="range", weights=EQUAL, probability=FOUR_FIFTHS, draw=LOWEST):
    levels = dict(zip(FACTORS, row["profile"], strict=True))
    counts = {
        factor: dict(zip(("xq", "zv"), margins, strict=True))
        for factor, margins in zip(FACTORS, row["margins_before"], strict=True)
    }
    return minimise(Minimisation(metric, weights, probability), arms, levels, counts, draw).record


def one_factor(counts, arms=THREE, metric="range", probability=FOUR_FIFTHS, draw=LOWEST):
    procedure = Minimisation(metric, (("sex", 1),), probability)
    by_arm = dict(zip([code for code, _ in arms], counts, strict=True))
    return minimise(procedure, arms, {"sex": "F"}, {"sex": by_arm}, draw)


# --- as published ---


def test_there_are_twelve_published_rows():
    assert [row["i"] for row in GOLDEN] == list(range(1, 13))


@pytest.mark.requirement("LIST-12")
@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"subject {row['i']}")
def test_scores_and_probabilities_are_those_published(row):
    equal, double = allocate(row), allocate(row, weights=STAGE_DOUBLE)

    assert (equal["scores"], equal["probabilities"][0]) == (row["range_equal_weights"], row["PA_p080"])
    assert (double["scores"], double["probabilities"][0]) == (row["range_weights_2_1_1"], row["PA_w211_p080"])
    assert allocate(row, metric="variance")["scores"] == row["variance"]
    assert allocate(row, arms=TWO_TO_ONE)["scores"] == row["range_ratio_2to1"]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"subject {row['i']}")
def test_the_counts_are_those_of_the_earlier_subjects_at_the_levels(row):
    earlier = [(CODES[past["assigned"]], dict(zip(FACTORS, past["profile"], strict=True))) for past in GOLDEN]
    levels = dict(zip(FACTORS, row["profile"], strict=True))

    counts = counts_at(levels, ["xq", "zv"], earlier[: row["i"] - 1])

    assert [list(counts[factor].values()) for factor in FACTORS] == row["margins_before"]


def test_the_two_metrics_are_different_rules():
    row = {"profile": ["1", "F", "lo"], "margins_before": [[5, 0], [0, 1], [0, 1]]}
    by_range, by_variance = allocate(row), allocate(row, metric="variance")

    assert (by_range["scores"], by_range["probabilities"]) == (["6", "8"], ["4/5", "1/5"])
    assert (by_variance["scores"], by_variance["probabilities"]) == (["18", "12"], ["1/5", "4/5"])


# --- ties ---


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 1, 1), ["4/5", "1/10", "1/10"]),
        ((1, 0, 1), ["1/10", "4/5", "1/10"]),
        ((0, 0, 1), ["1/2", "1/2", "0"]),
        ((1, 0, 0), ["0", "1/2", "1/2"]),
        ((0, 0, 0), ["1/3", "1/3", "1/3"]),
    ],
)
def test_one_preferred_arm_gets_the_probability_and_tied_arms_share_everything(counts, expected):
    assert one_factor(counts, metric="variance").record["probabilities"] == expected


def test_with_unequal_ratios_counts_are_divided_by_the_ratio():
    # Two on the first arm of 2:1 and one on the second are equal; the next belongs to the first.
    allocation = one_factor((2, 1), arms=TWO_TO_ONE)
    assert allocation.record["scores"] == ["1/2", "1"]
    assert allocation.record["probabilities"] == ["4/5", "1/5"]


# --- how the word decides ---


@pytest.mark.parametrize(
    ("counts", "draw", "arm"),
    [
        # 4/5 of 2^32 is 3435973836.8
        ((0, 1, 1), word(3_435_973_835, 0xFFFFFFFF), "xq"),
        ((0, 1, 1), word(3_435_973_836), "zv"),
        # 9/10 is 3865470566.4
        ((0, 1, 1), word(3_865_470_565), "zv"),
        ((0, 1, 1), word(3_865_470_566), "wk"),
        ((0, 1, 1), HIGHEST, "wk"),
        # an arm without any probability is never drawn, wherever it stands
        ((1, 0, 0), LOWEST, "zv"),
        ((0, 1, 0), word(2**31 - 1), "xq"),
        ((0, 1, 0), word(2**31), "wk"),
        ((0, 0, 1), HIGHEST, "zv"),
        # 1/3 is 1431655765.33 and 2/3 is 2863311530.67
        ((0, 0, 0), word(1_431_655_764), "xq"),
        ((0, 0, 0), word(1_431_655_765), "zv"),
        ((0, 0, 0), word(2_863_311_529), "zv"),
        ((0, 0, 0), word(2_863_311_530), "wk"),
    ],
)
def test_the_arm_is_the_first_whose_cumulative_probability_holds_the_word(counts, draw, arm):
    allocation = one_factor(counts, metric="variance", draw=draw)

    assert allocation.arm == allocation.record["arm"] == arm


# --- the record ---


@pytest.mark.requirement("LIST-12")
def test_the_record_holds_inputs_scores_and_probabilities_and_replays():
    row = GOLDEN[10]

    record = allocate(row, weights=STAGE_DOUBLE, draw=word(2**31))

    assert record == {
        "arms": [["xq", 1], ["zv", 1]],
        "levels": {"stage": "2", "sex": "M", "grade": "hi"},
        "counts": {"stage": {"xq": 1, "zv": 2}, "sex": {"xq": 4, "zv": 1}, "grade": {"xq": 3, "zv": 1}},
        "metric": "range",
        "weights": {"stage": 2, "sex": 1, "grade": 1},
        "probability": "4/5",
        "word": "8000000000000000",
        "scores": ["7", "7"],
        "probabilities": ["1/2", "1/2"],
        "arm": "zv",
    }
    stored = json.loads(json.dumps(record))
    replayed = minimise(
        Minimisation(stored["metric"], tuple(stored["weights"].items()), Fraction(stored["probability"])),
        [(code, ratio) for code, ratio in stored["arms"]],
        stored["levels"],
        stored["counts"],
        stored["word"],
    )
    assert replayed.record == record


def test_an_allocation_never_prints_its_arm():
    assert repr([one_factor((0, 0, 0))]) == "[<sealed>]"


# --- the site ---


def test_a_site_that_is_a_factor_is_counted_once_and_otherwise_not_at_all():
    earlier = [("xq", {"sex": "F", "site": "01"}), ("xq", {"sex": "M", "site": "01"})]
    with_site, without = {"sex": "F", "site": "01"}, {"sex": "F"}

    def scores(levels):
        procedure = Minimisation("range", tuple((factor, 1) for factor in levels), FOUR_FIFTHS)
        counts = counts_at(levels, ["xq", "zv"], earlier)
        return minimise(procedure, ONE_TO_ONE, levels, counts, LOWEST).record["scores"]

    assert scores(without) == ["2", "0"]
    assert scores(with_site) == ["5", "1"]


@given(
    counts=st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=2, max_size=2),
    metric=st.sampled_from(["range", "variance"]),
    draw=st.integers(0, 2**64 - 1),
)
def test_exchanging_two_arms_exchanges_their_scores_and_probabilities(counts, metric, draw):
    procedure = Minimisation(metric, (("sex", 1), ("age", 3)), FOUR_FIFTHS)
    levels = {"sex": "F", "age": "old"}

    def record(order):
        arms = [("abc"[place], 1) for place in order]
        by_factor = dict(zip(levels, [dict(zip("abc", row, strict=True)) for row in counts], strict=True))
        return minimise(procedure, arms, levels, by_factor, f"{draw:016x}").record

    forward, exchanged = record((0, 1, 2)), record((2, 1, 0))
    assert forward["scores"] == exchanged["scores"][::-1]
    assert forward["probabilities"] == exchanged["probabilities"][::-1]
    assert sum(map(Fraction, forward["probabilities"])) == 1


# --- bad inputs ---

GOOD = {
    "procedure": Minimisation("range", (("sex", 1),), FOUR_FIFTHS),
    "arms": ONE_TO_ONE,
    "levels": {"sex": "F"},
    "counts": {"sex": {"xq": 0, "zv": 0}},
    "word": LOWEST,
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"levels": {}}, [("minimisation.levels", "levels")]),
        ({"levels": {"sex": "F", "site": "01"}}, [("minimisation.levels", "levels")]),
        ({"counts": {}}, [("minimisation.counts", "counts")]),
        ({"counts": {"sex": {"xq": 0}}}, [("minimisation.counts", "counts")]),
        ({"counts": {"sex": {"xq": 0, "zv": 0, "wk": 0}}}, [("minimisation.counts", "counts")]),
        ({"counts": {"sex": {"xq": 0, "zv": -1}}}, [("minimisation.counts.negative", "counts")]),
        ({"word": ""}, [("minimisation.word", "word")]),
        ({"word": "F" * 16}, [("minimisation.word", "word")]),
        ({"word": "0x00000000000000"}, [("minimisation.word", "word")]),
        ({"arms": (("xq", 1),), "counts": {"sex": {"xq": 0}}}, [("list.arms.count", "arms")]),
        ({"arms": (("xq", 0), ("zv", 1))}, [("list.arms.weight", "arms")]),
        (
            {"procedure": Minimisation("range", (("sex", 1),), Fraction(1, 2))},
            [("procedure.probability.no_preference", "procedure.probability")],
        ),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        minimise(**(GOOD | changed))

    assert refusal.value.code == "invalid"
    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected


def test_half_is_a_preference_among_three_arms():
    assert one_factor((0, 1, 1), probability=Fraction(1, 2)).record["probabilities"] == ["1/2", "1/4", "1/4"]
