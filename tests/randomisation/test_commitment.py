"""The Merkle tree of RFC 6962: known roots, proofs that hold, and proofs that must not."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.commitment import (
    inclusion_path,
    is_included,
    kit_leaf,
    leaf_hash,
    subject_leaf,
    tree_hash,
)

# The leaves and roots that implementations of RFC 6962 test against.
LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def recursive_tree_hash(leaves):
    """The definition of RFC 6962 taken word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + recursive_tree_hash(leaves[:split]) + recursive_tree_hash(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_known_roots_are_met(size):
    assert tree_hash(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize("size", [*range(1, 70), 1000])
def test_levels_build_the_tree_that_the_definition_builds(size):
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]
    assert tree_hash(leaves) == recursive_tree_hash(leaves)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_leaf_is_proved_and_only_in_its_place(size):
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]
    root = tree_hash(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        proved = [place for place in range(size) if is_included(leaf, place, size, path, root)]
        assert proved == [index]


@given(size=st.integers(2, 40), data=st.data())
def test_a_changed_leaf_path_or_root_proves_nothing(size, data):
    leaves = [leaf_hash(str(i).encode()) for i in range(size)]
    index = data.draw(st.integers(0, size - 1))
    root, path = tree_hash(leaves), inclusion_path(leaves, index)
    step = data.draw(st.integers(0, len(path) - 1))
    other = leaf_hash(b"other")

    assert is_included(leaves[index], index, size, path, root)
    assert not is_included(other, index, size, path, root)
    assert not is_included(leaves[index], index, size, path, other)
    assert not is_included(leaves[index], index, size, (*path[:step], other, *path[step + 1 :]), root)
    assert not is_included(leaves[index], index, size, path[:-1], root)
    assert not is_included(leaves[index], index, size, (*path, other), root)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_place_outside_the_list_has_no_path_and_no_proof(index):
    leaves = LEAVES[:3]
    with pytest.raises(IndexError):
        inclusion_path(leaves, index)
    assert not is_included(leaves[0], index, 3, inclusion_path(leaves, 0), tree_hash(leaves))


def test_the_leaf_of_an_entry_is_salted_and_joined_by_the_unit_separator():
    salt = bytes(range(16))
    expected = sha256(b"\0" + salt + b"low\x1f12\x1fR432815\x1fxq").digest()
    assert subject_leaf("low", 12, "R432815", "xq", salt) == expected


def test_the_leaf_of_a_kit_has_an_empty_stratum_and_its_pick_rank():
    salt = bytes(range(16))
    expected = sha256(b"\0" + salt + b"\x1f3\x1fK897639\x1fxq\x1f2").digest()
    assert kit_leaf(3, "K897639", "xq", 2, salt) == expected
