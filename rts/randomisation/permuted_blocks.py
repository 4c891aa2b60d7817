"""Scheme `rts/permuted-blocks/1`: blocks of random size, in each of which the arms keep their ratio exactly.

The algorithm never changes under this name; a changed one is `rts/permuted-blocks/2` and stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from rts.randomisation.inputs import check_codes, check_entry_count, check_prefix, check_seed
from rts.randomisation.numbers import MOST_ENTRIES
from rts.randomisation.secrecy import NeverPrinted
from rts.randomisation.streams import ListStreams, arrange, draw_below
from rts.randomisation.subject_list import SubjectList, complete_subject_list
from rts.refusal import FailedRule, refuse_all, say

SCHEME = "rts/permuted-blocks/1"


@dataclass(frozen=True, slots=True, repr=False)
class PermutedBlocks(NeverPrinted):
    """Everything a list of this scheme is made from.

    `seed` is 32 bytes; `strata` and `arms` (code, ratio weight) are in definition order; `block_sizes` are multiples of
    the sum of the weights, in any order; `length` is the number of entries of each stratum. Raises Refusal (`invalid`)
    that names every field and rule that fails.
    """

    seed: bytes
    list_id: str
    prefix: str
    strata: tuple[str, ...]
    arms: tuple[tuple[str, int], ...]
    block_sizes: tuple[int, ...]
    length: int

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        yield from check_seed(self.seed)
        yield from check_codes("list_id", (self.list_id,))
        yield from check_prefix(self.prefix)
        if not self.strata:
            yield FailedRule("list.strata.count", say("strata must name at least one stratum"), "strata")
        yield from check_codes("strata", self.strata)
        if len(self.arms) < 2:
            yield FailedRule("list.arms.count", say("arms must name at least two arms"), "arms")
        yield from check_codes("arms", [code for code, _ in self.arms])
        if any(weight < 1 for _, weight in self.arms):
            yield FailedRule("list.arms.weight", say("arms: every ratio weight must be 1 or more"), "arms")
        yield from self._failed_block_sizes()
        if self.length < 1:
            yield FailedRule("list.length.positive", say("length must be 1 or more"), "length")
        yield from check_entry_count("length", len(self.strata) * self.length)

    def _failed_block_sizes(self) -> Iterator[FailedRule]:
        if not self.block_sizes:
            yield FailedRule("list.block_sizes.count", say("block_sizes must name at least one size"), "block_sizes")
        if len(set(self.block_sizes)) < len(self.block_sizes):
            yield FailedRule("list.block_sizes.distinct", say("block_sizes must all be different"), "block_sizes")
        if not all(1 <= size <= MOST_ENTRIES for size in self.block_sizes):
            message = say("block_sizes must be between 1 and %(most)s", most=MOST_ENTRIES)
            yield FailedRule("list.block_sizes.range", message, "block_sizes")
        ratio_sum = sum(weight for _, weight in self.arms)
        if ratio_sum > 0 and any(size % ratio_sum for size in self.block_sizes):
            message = say("block_sizes must be multiples of the sum of the ratio weights")
            yield FailedRule("list.block_sizes.multiple", message, "block_sizes")


def generate(inputs: PermutedBlocks) -> SubjectList:
    """The list of `inputs`. Equal inputs give the same list, byte for byte."""
    streams = ListStreams(inputs.seed, SCHEME, inputs.list_id)
    arms = {
        stratum: arms_of_stratum(inputs, streams.words("sizes", stratum), streams.words("order", stratum))
        for stratum in inputs.strata
    }
    return complete_subject_list(streams, inputs.prefix, arms)


def arms_of_stratum(inputs: PermutedBlocks, sizes: Iterator[int], order: Iterator[int]) -> list[str]:
    """The arm codes of one stratum by position, from the words of its two streams.

    The last block is cut at the length, so that the length of a list tells nothing of its block sizes.
    """
    ratio_sum = sum(weight for _, weight in inputs.arms)
    slots = [
        [code for code, weight in inputs.arms for _ in range(size * weight // ratio_sum)]
        for size in sorted(inputs.block_sizes)
    ]
    choices = draw_below(len(slots), sizes) if len(slots) > 1 else repeat(0)
    arms: list[str] = []
    while len(arms) < inputs.length:
        arms += arrange(slots[next(choices)], order)
    return arms[: inputs.length]
