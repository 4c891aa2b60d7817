"""A finished subject list, whatever scheme decided its arms: numbered, salted and committed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from rts.randomisation.commitment import subject_leaf, tree_hash
from rts.randomisation.numbers import draw_numbers, draw_salts
from rts.randomisation.streams import ListStreams
from rts.trial.secrecy import NeverPrinted


@dataclass(frozen=True, slots=True, repr=False)
class Entry(NeverPrinted):
    """One entry: its stratum, position in that stratum (from 1), randomisation number, arm code and salt (16 bytes).

    Of a tape the stratum is empty, and the word (16 hex digits) stands in place of the arm.
    """

    stratum: str
    position: int
    number: str
    arm: str
    salt: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SubjectList(NeverPrinted):
    """A list, kept in columns because a list may have millions of entries.

    `strata` are (code, number of entries) in definition order; `numbers`, `arms` and `salts` are in list order: the
    strata in that order, in each by position. They mean what they mean in `Entry`.
    """

    strata: tuple[tuple[str, int], ...]
    numbers: Sequence[str]
    arms: Sequence[str]
    salts: Sequence[bytes]

    def entries(self) -> Iterator[Entry]:
        """The entries in list order."""
        columns = zip(self._places(), self.numbers, self.arms, self.salts, strict=True)
        return (Entry(stratum, position, number, arm, salt) for (stratum, position), number, arm, salt in columns)

    def commitment(self) -> str:
        """The commitment to the list, in hex digits."""
        columns = zip(self._places(), self.numbers, self.arms, self.salts, strict=True)
        return tree_hash([subject_leaf(*place, number, arm, salt) for place, number, arm, salt in columns]).hex()

    def _places(self) -> Iterator[tuple[str, int]]:
        return ((stratum, position) for stratum, length in self.strata for position in range(1, length + 1))


def complete_subject_list(
    streams: ListStreams, prefix: str, arms_by_stratum: Mapping[str, Sequence[str]]
) -> SubjectList:
    """The list whose arms a scheme has decided: arm codes by position for each stratum, in definition order.

    Numbers and salts run on over the strata, from streams of their own.
    """
    strata = tuple((stratum, len(arms)) for stratum, arms in arms_by_stratum.items())
    arms = list(chain.from_iterable(arms_by_stratum.values()))
    numbers = draw_numbers(prefix, len(arms), streams.words("numbers"))
    return SubjectList(strata, numbers, arms, draw_salts(len(arms), streams.blocks("salts")))
