"""A finished subject list, whatever scheme decided its arms: numbered, salted and committed to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.randomisation.numbers import draw_numbers, draw_salts
from rts.randomisation.secrecy import NeverPrinted
from rts.randomisation.streams import ListStreams


@dataclass(frozen=True, slots=True, repr=False)
class Entry(NeverPrinted):
    """One entry: its stratum, position in that stratum (from 1), randomisation number, arm code and salt (16 bytes)."""

    stratum: str
    position: int
    number: str
    arm: str
    salt: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SubjectList(NeverPrinted):
    """The entries in list order (strata in definition order, then position) and the commitment in hex digits."""

    entries: tuple[Entry, ...]
    commitment: str


def complete_subject_list(
    streams: ListStreams, prefix: str, arms_by_stratum: Mapping[str, Sequence[str]]
) -> SubjectList:
    """The list whose arms a scheme has decided: arm codes by position for each stratum, in definition order.

    Numbers and salts run on over the strata, from streams of their own.
    """
    length = sum(map(len, arms_by_stratum.values()))
    numbers = iter(draw_numbers(prefix, length, streams.words("numbers")))
    salts = iter(draw_salts(length, streams.blocks("salts")))
    entries = tuple(
        Entry(stratum, position, next(numbers), arm, next(salts))
        for stratum, arms in arms_by_stratum.items()
        for position, arm in enumerate(arms, start=1)
    )
    return SubjectList(entries, commitment_of_entries(entries))


def commitment_of_entries(entries: Iterable[Entry]) -> str:
    """The commitment, in hex digits, of entries in list order."""
    return tree_hash([subject_leaf(e.stratum, e.position, e.number, e.arm, e.salt) for e in entries]).hex()
