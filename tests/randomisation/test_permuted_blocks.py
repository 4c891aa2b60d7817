"""Permuted blocks: ratio kept, every arrangement equally likely, bad inputs refused by name."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice, permutations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.randomisation.generation import SubjectListInputs, generate
from rts.randomisation.numbers import has_valid_check_digits
from rts.randomisation.permuted_blocks import arms_of_stratum
from rts.randomisation.streams import ListStreams, draw_below
from rts.refusal import Refusal
from rts.trial.procedures import PermutedBlocks, RandomAllocationRule

REFERENCE = json.loads((Path(__file__).parent / "procedures_reference.json").read_text("utf-8"))
TWO_ARMS = SubjectListInputs(
    seed=bytes(range(32)),
    list_id="L1",
    prefix="R",
    strata=("low", "high"),
    arms=(("xq", 1), ("zv", 1)),
    procedure=PermutedBlocks((4, 6)),
    length=20,
)

# Upper points of chi-square by degrees of freedom: one true list in a thousand, one in a million, lies above.
CHI_SQUARE_1E_3 = {row["df"]: row["chi2_crit_1e-3"] for row in REFERENCE["uniformity_test"].values()}
CHI_SQUARE_1E_6 = {row["df"]: row["chi2_crit_1e-6"] for row in REFERENCE["uniformity_test"].values()}


@st.composite
def inputs(draw):
    weights = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    codes = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
    names = draw(st.lists(codes, min_size=len(weights), max_size=len(weights), unique=True))
    multiples = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
    return SubjectListInputs(
        seed=draw(st.binary(min_size=32, max_size=32)),
        list_id=draw(codes),
        prefix=draw(st.from_regex(r"[A-Z]{1,3}", fullmatch=True)),
        strata=tuple(draw(st.lists(codes, min_size=1, max_size=3, unique=True))),
        arms=tuple(zip(names, weights, strict=True)),
        procedure=PermutedBlocks(tuple(multiple * sum(weights) for multiple in multiples)),
        length=draw(st.integers(1, 40)),
    )


def arms_in(subject_list, stratum):
    return [entry.arm for entry in subject_list.entries() if entry.stratum == stratum]


def in_blocks(inputs, *sizes):
    return replace(inputs, procedure=PermutedBlocks(sizes))


def arms_from(inputs, sizes, order):
    """The arms of a stratum from scripted words."""
    return arms_of_stratum(inputs.arms, inputs.procedure.block_sizes, inputs.length, sizes, order)


def chi_square(observed, cells, draws):
    expected = draws / cells
    seen = sum((count - expected) ** 2 / expected for count in observed.values())
    return seen + (cells - len(observed)) * expected


# --- what holds for every list ---


@given(inputs())
def test_every_complete_block_keeps_the_ratio(given_inputs):
    size = given_inputs.procedure.block_sizes[0]
    one_size = in_blocks(given_inputs, size)
    parts = size // sum(weight for _, weight in one_size.arms)
    made = generate(one_size)
    for stratum in one_size.strata:
        arms = arms_in(made, stratum)
        for start in range(0, one_size.length - size + 1, size):
            assert Counter(arms[start : start + size]) == {code: parts * weight for code, weight in one_size.arms}


@given(inputs())
def test_blocks_of_several_sizes_stand_where_the_stream_of_sizes_says(given_inputs):
    made = generate(given_inputs)
    ascending = sorted(given_inputs.procedure.block_sizes)
    weights = dict(given_inputs.arms)
    ratio_sum = sum(weights.values())
    streams = ListStreams(given_inputs.seed, "rts/permuted-blocks/1", given_inputs.list_id)
    for stratum in given_inputs.strata:
        arms = arms_in(made, stratum)
        sizes = draw_below(len(ascending), streams.words("sizes", stratum))
        start = 0
        while start < given_inputs.length:
            size = ascending[next(sizes)] if len(ascending) > 1 else ascending[0]
            block = Counter(arms[start : start + size])
            most = {code: size * weight // ratio_sum for code, weight in weights.items()}
            complete = start + size <= given_inputs.length
            assert block == most if complete else all(block[code] <= most[code] for code in most)
            start += size


@given(inputs())
def test_positions_count_from_one_and_numbers_are_distinct_and_valid(given_inputs):
    entries = list(generate(given_inputs).entries())

    assert [(entry.stratum, entry.position) for entry in entries] == [
        (stratum, position) for stratum in given_inputs.strata for position in range(1, given_inputs.length + 1)
    ]
    assert len({entry.number for entry in entries}) == len(entries)
    assert all(has_valid_check_digits(entry.number) for entry in entries)
    assert all(entry.number.rstrip("0123456789") == given_inputs.prefix for entry in entries)
    assert len({entry.salt for entry in entries}) == len(entries)
    assert {len(entry.salt) for entry in entries} == {16}


@given(inputs(), st.integers(1, 40))
def test_a_longer_list_begins_with_the_arms_of_the_shorter_one(given_inputs, more):
    shorter, longer = generate(given_inputs), generate(replace(given_inputs, length=given_inputs.length + more))
    for stratum in given_inputs.strata:
        assert arms_in(longer, stratum)[: given_inputs.length] == arms_in(shorter, stratum)


@pytest.mark.requirement("LIST-01")
@given(inputs())
def test_equal_inputs_make_equal_lists(given_inputs):
    assert generate(given_inputs) == generate(replace(given_inputs))


def test_the_order_in_which_block_sizes_are_written_does_not_matter():
    assert generate(TWO_ARMS) == generate(in_blocks(TWO_ARMS, 6, 4))


@pytest.mark.parametrize("other", [{"seed": bytes(32)}, {"list_id": "L2"}])
def test_another_seed_or_list_makes_other_arms_numbers_and_salts(other):
    first, second = generate(TWO_ARMS), generate(replace(TWO_ARMS, **other))
    for column in ("arms", "numbers", "salts"):
        assert getattr(first, column) != getattr(second, column)


def test_numbers_and_salts_do_not_change_with_arms_or_block_sizes():
    first, second = generate(TWO_ARMS), generate(in_blocks(replace(TWO_ARMS, arms=(("zv", 1), ("xq", 1))), 2))

    assert first.arms != second.arms
    assert (first.numbers, first.salts) == (second.numbers, second.salts)


@given(inputs())
def test_numbers_and_salts_share_nothing_with_strata_arms_and_blocks(given_inputs):
    renamed = tuple(f"{place} other" for place, _ in enumerate(given_inputs.strata))
    other = replace(given_inputs, strata=renamed, arms=(("xq", 1), ("zv", 1)), procedure=PermutedBlocks((2,)))

    first, second = generate(given_inputs), generate(other)

    assert (first.numbers, first.salts) == (second.numbers, second.salts)


@given(inputs())
def test_the_arms_of_a_stratum_are_the_same_whatever_other_strata_there_are(given_inputs):
    made = generate(given_inputs)
    for stratum in given_inputs.strata:
        alone = generate(replace(given_inputs, strata=(stratum,)))
        assert arms_in(made, stratum) == alone.arms


def test_the_commitment_is_the_root_over_the_entries_in_list_order():
    made = generate(TWO_ARMS)
    leaves = [subject_leaf(e.stratum, e.position, e.number, e.arm, e.salt) for e in made.entries()]
    assert len(leaves) == 40
    assert made.commitment() == tree_hash(leaves).hex()


@pytest.mark.requirement("LIST-03")
def test_nothing_of_a_list_is_ever_printed():
    made = generate(TWO_ARMS)
    first = next(made.entries())
    printed = [repr(TWO_ARMS), str(TWO_ARMS), f"{made}", repr(first), "%s" % ((first,),)]  # noqa: UP031
    assert printed == ["<sealed>", "<sealed>", "<sealed>", "<sealed>", "(<sealed>,)"]


# --- every arrangement equally likely ---


def arrangements_by_word_order(block_size, arms):
    """How often each arrangement of one block comes from each order that its words can have."""
    return Counter(
        tuple(arms_of_stratum(arms, [block_size], block_size, iter([]), iter(words)))
        for words in permutations(range(block_size))
    )


@pytest.mark.parametrize(
    ("block_size", "arms", "arrangements", "times"),
    [
        (2, (("xq", 1), ("zv", 1)), 2, 1),
        (4, (("xq", 1), ("zv", 1)), 6, 4),
        (6, (("xq", 1), ("zv", 1)), 20, 36),
        (3, (("xq", 2), ("zv", 1)), 3, 2),
        (6, (("xq", 2), ("zv", 1)), 15, 48),
        (4, (("xq", 3), ("zv", 1)), 4, 6),
        (6, (("xq", 1), ("zv", 1), ("wk", 1)), 90, 8),
    ],
)
def test_over_all_orders_of_words_every_arrangement_comes_equally_often(block_size, arms, arrangements, times):
    counts = arrangements_by_word_order(block_size, arms)

    assert len(counts) == arrangements
    assert set(counts.values()) == {times}


def test_equal_words_leave_arms_in_definition_order():
    one_block = in_blocks(replace(TWO_ARMS, length=4), 4)
    assert arms_from(one_block, iter([]), iter([7, 7, 7, 7])) == ["xq", "xq", "zv", "zv"]


def test_over_all_words_every_succession_of_block_sizes_comes_equally_often():
    # Falling words put the last arm first, so a block of 4 shows as zzxx and one of 6 as zzzxxx.
    seen = Counter()
    for choices in product((0, 1), repeat=3):
        sizes = iter([choice << 32 for choice in choices])
        arms = arms_from(replace(TWO_ARMS, length=12), sizes, iter(range(100, 0, -1)))
        seen["".join(arm[0] for arm in arms)] += 1
    assert seen == {
        "zzxxzzxxzzxx": 1,
        "zzxxzzxxzzzx": 1,
        "zzxxzzzxxxzz": 2,
        "zzzxxxzzxxzz": 2,
        "zzzxxxzzzxxx": 2,
    }


def test_one_block_size_takes_no_word_and_several_take_one_a_block():
    sizes = iter([0, 0, 0, 0, 0, 0])
    arms_from(in_blocks(TWO_ARMS, 4), sizes, iter(range(100)))
    assert len(list(sizes)) == 6

    sizes = iter([0, 0, 0, 0, 0, 0])
    arms_from(TWO_ARMS, sizes, iter(range(100)))
    assert len(list(sizes)) == 1


def blocks_of_list(block_size, blocks):
    """The blocks of a long list, as tuples of arms."""
    one_stratum = in_blocks(replace(TWO_ARMS, strata=("all",), length=block_size * blocks), block_size)
    arms = arms_in(generate(one_stratum), "all")
    return Counter(tuple(arms[start : start + block_size]) for start in range(0, len(arms), block_size))


def naive_shuffle(slots, below):
    """Every place is swapped with any place: the classic fault."""
    arms = list(slots)
    for place in range(len(arms)):
        other = below(len(arms))
        arms[place], arms[other] = arms[other], arms[place]
    return "".join(arms)


def sattolo_shuffle(slots, below):
    """A place is never swapped with itself: off by one, and only cycles come out. AABB then never comes at all."""
    arms = list(slots)
    for place in range(len(arms) - 1, 0, -1):
        other = below(place)
        arms[place], arms[other] = arms[other], arms[place]
    return "".join(arms)


def fill_from_arms_with_places_left(slots, below):
    """Each place draws evenly among the arms that have places left: AABB then comes in a quarter of all blocks."""
    left = Counter(slots)
    arms = []
    for _ in slots:
        open_arms = [arm for arm in left if left[arm]]
        arms.append(open_arms[below(len(open_arms))])
        left[arms[-1]] -= 1
    return "".join(arms)


def over_all_draws(shuffle, ranges):
    """How often each arrangement of AABB comes from each succession of draws."""
    counts = Counter()
    for draws in product(*map(range, ranges)):
        left = iter(draws)
        counts[shuffle("AABB", lambda _k, left=left: next(left))] += 1
    return counts


@pytest.mark.parametrize(
    ("faulty", "ranges", "published"),
    [
        (naive_shuffle, (4, 4, 4, 4), "naive_swap_any"),
        (sattolo_shuffle, (3, 2, 1), "sattolo_off_by_one"),
    ],
)
def test_the_planted_shuffles_have_the_faults_they_are_known_for(faulty, ranges, published):
    reference = REFERENCE["biased_shuffle_to_detect"][published]

    counts = over_all_draws(faulty, ranges)

    assert len(reference) in {5, 6}
    assert {arms: [times, counts.total()] for arms, times in counts.items()} == {
        arms: row[:2] for arms, row in reference.items()
    }


@pytest.mark.parametrize(("block_size", "cells"), [(4, 6), (6, 20)])
def test_the_arrangements_of_a_long_list_are_uniform(block_size, cells):
    observed = blocks_of_list(block_size, 20_000)

    assert sum(observed.values()) == 20_000
    assert len(observed) == cells
    assert chi_square(observed, cells, 20_000) < CHI_SQUARE_1E_3[cells - 1]


@pytest.mark.parametrize("faulty", [naive_shuffle, sattolo_shuffle, fill_from_arms_with_places_left])
@pytest.mark.parametrize(("block_size", "cells"), [(4, 6), (6, 20)])
def test_the_same_measure_finds_a_biased_shuffle(faulty, block_size, cells):
    words = ListStreams(bytes(range(32)), "biased", "L1").words("order")
    slots = "A" * (block_size // 2) + "B" * (block_size // 2)

    observed = Counter(faulty(slots, lambda k: next(draw_below(k, words))) for _ in range(20_000))

    assert chi_square(observed, cells, 20_000) > CHI_SQUARE_1E_6[cells - 1]


# --- bad inputs ---


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"seed": bytes(31)}, [("list.seed.length", "seed")]),
        ({"seed": bytes(33)}, [("list.seed.length", "seed")]),
        ({"list_id": ""}, [("list.list_id.code", "list_id")]),
        ({"list_id": "L\x1f1"}, [("list.list_id.code", "list_id")]),
        ({"prefix": ""}, [("list.prefix.letters", "prefix")]),
        ({"prefix": "r"}, [("list.prefix.letters", "prefix")]),
        ({"prefix": "ABCD"}, [("list.prefix.letters", "prefix")]),
        ({"prefix": "R1"}, [("list.prefix.letters", "prefix")]),
        ({"prefix": "R\n"}, [("list.prefix.letters", "prefix")]),
        ({"strata": ()}, [("list.strata.count", "strata")]),
        ({"strata": ("low", "low")}, [("list.strata.distinct", "strata")]),
        ({"strata": ("low\n",)}, [("list.strata.code", "strata")]),
        ({"strata": ("lów",)}, [("list.strata.code", "strata")]),
        ({"strata": ("x" * 41,)}, [("list.strata.code", "strata")]),
        ({"arms": (("xq", 2),)}, [("list.arms.count", "arms")]),
        ({"arms": (("xq", 1), ("xq", 1))}, [("list.arms.distinct", "arms")]),
        ({"arms": (("xq", 1), ("", 1))}, [("list.arms.code", "arms")]),
        ({"arms": (("xq", 2), ("zv", 0))}, [("list.arms.weight", "arms")]),
        ({"procedure": PermutedBlocks((4, 5))}, [("list.block_sizes.multiple", "block_sizes")]),
        (
            {"arms": (("xq", 2), ("zv", 1)), "procedure": PermutedBlocks((4,))},
            [("list.block_sizes.multiple", "block_sizes")],
        ),
        ({"procedure": RandomAllocationRule(), "length": 21}, [("list.length.multiple", "length")]),
        ({"length": 0}, [("list.length.positive", "length")]),
        ({"length": -4}, [("list.length.positive", "length")]),
        ({"length": 45_000_001}, [("list.entries.most", "length")]),
        ({"length": 10**9}, [("list.entries.most", "length")]),
        ({"strata": ("",)}, [("list.strata.code", "strata")]),
        ({"seed": b"", "length": 0}, [("list.seed.length", "seed"), ("list.length.positive", "length")]),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        replace(TWO_ARMS, **changed)

    assert refusal.value.code == "invalid"
    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected
    assert all(str(failed.message).startswith(failed.field) for failed in refusal.value.failed)


@pytest.mark.requirement("LIST-03")
def test_a_refusal_tells_neither_seed_nor_arms_nor_block_sizes():
    with pytest.raises(Refusal) as refusal:
        replace(
            TWO_ARMS,
            seed=b"canary-seed",
            arms=(("canary", 2), ("canary", 0)),
            procedure=PermutedBlocks((7717,)),
        )

    assert len(refusal.value.failed) == 4
    for secret in ("canary", "7717", b"canary-seed".hex()):
        assert secret not in str(refusal.value)
        assert secret not in repr([failed.message for failed in refusal.value.failed])


def test_the_most_entries_that_can_be_numbered_are_accepted():
    assert replace(TWO_ARMS, length=45_000_000).length == 45_000_000


def test_a_block_longer_than_the_list_is_cut():
    made = generate(in_blocks(replace(TWO_ARMS, strata=("all",), length=10), 40))
    whole = generate(in_blocks(replace(TWO_ARMS, strata=("all",), length=40), 40))
    assert arms_in(made, "all") == list(islice(arms_in(whole, "all"), 10))


def test_the_random_allocation_rule_is_one_block_of_the_whole_stratum():
    rule = replace(TWO_ARMS, arms=(("xq", 3), ("zv", 1)), procedure=RandomAllocationRule())

    assert generate(rule) == generate(in_blocks(rule, 20))
    assert Counter(arms_in(generate(rule), "low")) == {"xq": 15, "zv": 5}
