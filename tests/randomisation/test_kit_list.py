"""Kit lists: every kit once, and number, packaging position and pick order unrelated."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.commitment import kit_leaf, tree_hash
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.randomisation.numbers import has_valid_check_digits
from rts.refusal import Refusal

KITS = KitListInputs(seed=bytes(range(32)), list_id="K1", prefix="K", kit_types=(("xq", 300), ("zv", 300)))


@given(seed=st.binary(min_size=32, max_size=32), quantities=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_every_kit_is_there_once_with_a_number_a_position_and_a_rank(seed, quantities):
    kit_types = tuple((f"type {place}", quantity) for place, quantity in enumerate(quantities))
    kits = generate_kits(KitListInputs(seed, "K1", "K", kit_types)).entries

    assert Counter(kit.kit_type for kit in kits) == dict(kit_types)
    assert [kit.position for kit in kits] == list(range(1, sum(quantities) + 1))
    assert sorted(kit.rank for kit in kits) == list(range(1, sum(quantities) + 1))
    assert len({kit.number for kit in kits}) == len({kit.salt for kit in kits}) == len(kits)
    assert all(has_valid_check_digits(kit.number) and kit.number[0] == "K" for kit in kits)


@pytest.mark.requirement("LIST-01")
def test_equal_inputs_make_equal_kit_lists():
    assert generate_kits(KITS) == generate_kits(replace(KITS))


@pytest.mark.requirement("LIST-10")
def test_numbers_ranks_and_salts_do_not_change_when_the_types_are_exchanged():
    exchanged = replace(KITS, kit_types=(("zv", 300), ("xq", 300)))

    def seen(made):
        return [(kit.position, kit.number, kit.rank, kit.salt) for kit in made.entries]

    assert seen(generate_kits(KITS)) == seen(generate_kits(exchanged))


@pytest.mark.requirement("LIST-10")
@pytest.mark.parametrize(("first", "second"), list(combinations(["position", "number", "rank", "kit_type"], 2)))
def test_position_number_rank_and_type_are_unrelated(first, second):
    """Of 600 unrelated pairs a rank correlation beyond 4 / √599 is seen once in 16,000 lists."""
    kits = generate_kits(KITS).entries
    by_first = sorted(kits, key=lambda kit: (getattr(kit, first), kit.salt))
    by_second = sorted(kits, key=lambda kit: (getattr(kit, second), kit.salt))
    place = {kit.number: i for i, kit in enumerate(by_second)}
    n = len(kits)

    differences = sum((i - place[kit.number]) ** 2 for i, kit in enumerate(by_first))

    assert abs(1 - 6 * differences / (n * (n * n - 1))) < 4 / (n - 1) ** 0.5


def test_the_commitment_is_the_root_over_the_kits_in_packaging_order():
    made = generate_kits(KITS)
    leaves = [kit_leaf(kit.position, kit.number, kit.kit_type, kit.rank, kit.salt) for kit in made.entries]
    assert len(leaves) == 600
    assert made.commitment == tree_hash(leaves).hex()


def test_nothing_of_a_kit_list_is_ever_printed():
    made = generate_kits(KITS)
    assert [repr(KITS), f"{made}", repr(made.entries[0])] == ["<sealed>"] * 3


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"seed": bytes(16)}, [("list.seed.length", "seed")]),
        ({"list_id": "K\t1"}, [("list.list_id.code", "list_id")]),
        ({"prefix": "k"}, [("list.prefix.letters", "prefix")]),
        ({"kit_types": ()}, [("list.kit_types.count", "kit_types")]),
        ({"kit_types": (("xq", 1), ("xq", 2))}, [("list.kit_types.distinct", "kit_types")]),
        ({"kit_types": (("x\nq", 1),)}, [("list.kit_types.code", "kit_types")]),
        ({"kit_types": (("xq", 0), ("zv", 1))}, [("list.kit_types.quantity", "kit_types")]),
        ({"kit_types": (("xq", 90_000_000), ("zv", 1))}, [("list.entries.most", "kit_types")]),
    ],
)
def test_bad_inputs_are_refused_naming_field_and_rule(changed, expected):
    with pytest.raises(Refusal) as refusal:
        replace(KITS, **changed)

    assert refusal.value.code == "invalid"
    assert [(failed.rule, failed.field) for failed in refusal.value.failed] == expected
    assert "xq" not in str(refusal.value)
