"""The commitment of a list: the RFC 6962 Merkle tree hash over one leaf an entry.

It is published when a list is sealed. Later a single entry can be shown to be part of it (its salt and path), or the
whole list revealed, and anyone can check both with nothing but SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from rts.randomisation.streams import UNIT_SEPARATOR


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(00 ‖ data) (RFC 6962, 2.1)."""
    return sha256(b"\0" + data).digest()


def subject_leaf(stratum: str, position: int, number: str, arm: str, salt: bytes) -> bytes:
    """The leaf hash of an entry of a subject list."""
    text = f"{stratum}{UNIT_SEPARATOR}{position}{UNIT_SEPARATOR}{number}{UNIT_SEPARATOR}{arm}"
    return leaf_hash(salt + text.encode())


def kit_leaf(position: int, number: str, kit_type: str, rank: int, salt: bytes) -> bytes:
    """The leaf hash of a kit of a kit list: packaging position, and an empty stratum before it."""
    return leaf_hash(salt + UNIT_SEPARATOR.join(("", str(position), number, kit_type, str(rank))).encode())


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in list order (RFC 6962, 2.1); of no leaves, the hash of nothing.

    RFC 6962 splits at the largest power of two below n. Pairing from the left, level by level, and carrying a last
    odd node up unchanged builds the same tree without recursion.
    """
    if not leaves:
        return sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes that lead from leaf `index` (from 0) to the root, lowest first (RFC 6962, 2.1.1).

    Raises IndexError when there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    path = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _level_above(level)
        index //= 2
    return tuple(path)


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` proves that `leaf` (a leaf hash) is leaf `index` (from 0) of the `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    node, steps, last = leaf, iter(path), size - 1
    while last:
        # A last node without a right neighbour is carried up as it is and has no step in the path.
        if index % 2 or index < last:
            step = next(steps, None)
            if step is None:
                return False
            node = _node_hash(step, node) if index % 2 else _node_hash(node, step)
        index, last = index // 2, last // 2
    return next(steps, None) is None and node == root


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def _level_above(level: list[bytes]) -> list[bytes]:
    pairs = [_node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return pairs + level[-1:] if len(level) % 2 else pairs
