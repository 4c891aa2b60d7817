"""Lists of conditional procedures: what every list keeps, how words decide, and the frequencies of sequences."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.conditional import arms_of_stratum
from rts.randomisation.generation import SubjectListInputs, generate, scheme_of
from rts.randomisation.procedures import completions
from rts.randomisation.streams import ListStreams
from rts.refusal import Refusal
from rts.trial.procedures import BiasedCoin, BigStick, BlockUrn, CompleteRandomisation, Maximal, Urn

INPUTS = SubjectListInputs(
    seed=bytes(range(32)),
    list_id="L1",
    prefix="R",
    strata=("low", "high"),
    arms=(("xq", 1), ("zv", 1)),
    procedure=BigStick(3),
    length=20,
)
HALF_OF_ALL_WORDS = 2**31 << 32

seeds = st.binary(min_size=32, max_size=32)
procedures = st.one_of(
    st.just(CompleteRandomisation()),
    st.builds(BigStick, st.integers(1, 5)),
    st.builds(BiasedCoin, st.fractions(Fraction(51, 100), Fraction(99, 100), max_denominator=100)),
    st.builds(BlockUrn, st.integers(1, 5)),
    st.builds(Urn, st.integers(0, 3), st.integers(1, 3)),
)


def differences(arms):
    """The first arm's lead after each entry."""
    return list(accumulate(1 if arm == "xq" else -1 for arm in arms))


def by_stratum(made, length):
    return [made.arms[start : start + length] for start in range(0, len(made.arms), length)]


def decided(procedure, *words):
    return "".join(arm[0] for arm in arms_of_stratum(procedure, ["xq", "zv"], len(words), iter(words)))


# --- what holds for every list ---


@given(seed=seeds, procedure=procedures, length=st.integers(1, 60))
def test_a_longer_list_begins_with_the_arms_of_the_shorter_one(seed, procedure, length):
    shorter = generate(replace(INPUTS, seed=seed, procedure=procedure, length=length))
    longer = generate(replace(INPUTS, seed=seed, procedure=procedure, length=length + 17))

    for short, long in zip(by_stratum(shorter, length), by_stratum(longer, length + 17), strict=True):
        assert long[:length] == short


@given(seed=seeds, procedure=procedures, length=st.integers(1, 60))
def test_the_first_difference_goes_either_way_with_the_word_alone(seed, procedure, length):
    inputs = replace(INPUTS, seed=seed, procedure=procedure, length=length)

    made = generate(inputs)

    streams = ListStreams(seed, "rts/conditional/1", "L1")
    first_words = [next(streams.words("draw", stratum)) for stratum in inputs.strata]
    first_arms = [arms[0] for arms in by_stratum(made, length)]
    assert first_arms == ["xq" if word < HALF_OF_ALL_WORDS else "zv" for word in first_words]


@given(seed=seeds, imbalance=st.integers(1, 6), length=st.integers(1, 80))
def test_the_big_stick_never_leans_beyond_its_imbalance(seed, imbalance, length):
    made = generate(replace(INPUTS, seed=seed, procedure=BigStick(imbalance), length=length))

    assert all(abs(d) <= imbalance for arms in by_stratum(made, length) for d in differences(arms))


@given(seed=seeds, lam=st.integers(1, 6), length=st.integers(1, 80))
def test_the_block_urn_never_leans_beyond_its_balls(seed, lam, length):
    made = generate(replace(INPUTS, seed=seed, procedure=BlockUrn(lam), length=length))

    assert all(abs(d) <= lam for arms in by_stratum(made, length) for d in differences(arms))


@given(seed=seeds, imbalance=st.integers(1, 6), pairs=st.integers(6, 40))
def test_the_maximal_procedure_stays_within_its_imbalance_and_ends_balanced(seed, imbalance, pairs):
    made = generate(replace(INPUTS, seed=seed, procedure=Maximal(imbalance), length=2 * pairs))

    for arms in by_stratum(made, 2 * pairs):
        assert all(abs(d) <= imbalance for d in differences(arms))
        assert differences(arms)[-1] == 0


def test_the_procedure_does_not_touch_numbers_and_salts():
    first, second = generate(INPUTS), generate(replace(INPUTS, procedure=Urn(1, 1)))

    assert first.arms != second.arms
    assert (first.numbers, first.salts) == (second.numbers, second.salts)


def test_strata_have_streams_of_their_own():
    low, high = by_stratum(generate(INPUTS), 20)
    (alone,) = by_stratum(generate(replace(INPUTS, strata=("high",))), 20)

    assert low != high
    assert alone == high


def test_the_scheme_is_named_for_the_procedure():
    assert scheme_of(BigStick(3)) == "rts/conditional/1"


# --- how a word decides ---


def test_the_first_arm_is_taken_below_the_floor_of_the_probability():
    # 2/3 of 2^32 is 2863311530.67: the word of 2863311529 is the last below the floor, whatever its low half.
    coin = BiasedCoin(Fraction(2, 3))
    last_within = (2_863_311_529 << 32) | 0xFFFFFFFF

    assert decided(coin, HALF_OF_ALL_WORDS, last_within) == "zx"
    assert decided(coin, HALF_OF_ALL_WORDS, last_within + 1) == "zz"


def test_a_fair_coin_splits_the_words_in_half():
    assert decided(CompleteRandomisation(), HALF_OF_ALL_WORDS - 1, HALF_OF_ALL_WORDS) == "xz"


def test_a_forced_entry_takes_its_word_and_ignores_it():
    # After two first arms the third is forced; its word says first arm and is used up, so the fourth has its own.
    words = iter([0, 0, 0, 2**64 - 1, 5])

    arms = arms_of_stratum(BigStick(2), ["xq", "zv"], 4, words)

    assert arms == ["xq", "xq", "zv", "zv"]
    assert next(words) == 5


def test_an_urn_without_balls_alternates_pairs():
    words = [word << 63 for word in (0, 0, 1, 1)]
    assert decided(Urn(0, 1), *words) == "xzzx"


@pytest.mark.parametrize("procedure", [BigStick(1), BlockUrn(1), Maximal(1)])
def test_the_tightest_procedures_are_blocks_of_two(procedure):
    seen = {decided(procedure, *words) for words in product((0, 2**64 - 1), repeat=4)}
    assert seen == {"xzxz", "xzzx", "zxxz", "zxzx"}


# --- frequencies ---


def test_all_sequences_of_the_maximal_procedure_come_equally_often():
    # 161 degrees of freedom: one true list in a thousand exceeds 222.2.
    strata = tuple(f"s{number}" for number in range(20_000))
    made = generate(replace(INPUTS, strata=strata, procedure=Maximal(2), length=10))

    seen = Counter("".join(arms) for arms in by_stratum(made, 10))

    cells = completions(2, 10, 0, 0)
    expected = 20_000 / cells
    assert len(seen) == cells == 162
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 222.2


@pytest.mark.parametrize(
    ("procedure", "probability"),
    [(BiasedCoin(Fraction(2, 3)), 2 / 3), (Urn(1, 1), 2 / 3), (BlockUrn(2), 2 / 3), (BigStick(2), 1 / 2)],
)
def test_the_arm_behind_comes_as_often_as_the_procedure_says(procedure, probability):
    strata = tuple(f"s{number}" for number in range(20_000))
    made = generate(replace(INPUTS, strata=strata, procedure=procedure, length=2))

    changes = sum(first != second for first, second in by_stratum(made, 2))

    # Four standard errors.
    assert abs(changes / 20_000 - probability) < 4 * (probability * (1 - probability) / 20_000) ** 0.5


# --- bad inputs ---


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"arms": (("xq", 2), ("zv", 1))}, [("list.arms.two_equal", "arms")]),
        ({"arms": (("xq", 1), ("zv", 1), ("wk", 1))}, [("list.arms.two_equal", "arms")]),
        ({"arms": (("xq", 1), ("xq", 1))}, [("list.arms.distinct", "arms")]),
        ({"procedure": Maximal(3), "length": 21}, [("list.length.even", "length")]),
        ({"procedure": Maximal(3), "length": 1_002}, [("list.length.maximal", "length")]),
        ({"length": 0}, [("list.length.positive", "length")]),
        ({"procedure": Maximal(3), "length": 0}, [("list.length.positive", "length")]),
        ({"length": 10**9}, [("list.entries.most", "length")]),
        ({"seed": bytes(31)}, [("list.seed.length", "seed")]),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        replace(INPUTS, **changed)

    assert refusal.value.code == "invalid"
    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected


@pytest.mark.timeout(60)  # without its table of counts this takes minutes, with it a fraction of a second
@pytest.mark.parametrize("imbalance", [3, 250, 500])
def test_the_longest_maximal_lists_are_made_at_once(imbalance):
    made = generate(replace(INPUTS, strata=("all",), procedure=Maximal(imbalance), length=1_000))

    assert differences(made.arms)[-1] == 0
