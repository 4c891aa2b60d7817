"""What speaks against a design, in words, before anybody signs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rts.refusal import Message, say
from rts.trial.procedures import (
    BiasedCoin,
    BigStick,
    BlockUrn,
    CompleteRandomisation,
    Maximal,
    Minimisation,
    PermutedBlocks,
    Procedure,
    RandomAllocationRule,
    Urn,
    check_for_list,
)
from rts.trial.secrecy import NeverPrinted


@dataclass(frozen=True, slots=True, repr=False)
class Advice(NeverPrinted):
    """One thing to know of a design: a stable code, how grave it is, and the sentence with its reason.

    `warning`: think of it. `confirm`: to be confirmed by the statistician, in so many words. `refused`: such a list is
    not made.
    """

    rule: str
    gravity: Literal["warning", "confirm", "refused"]
    message: Message


def advise(
    procedure: Procedure,
    n: int,
    *,
    ratio: Sequence[int] = (1, 1),
    strata: int = 1,
    sites: int = 1,
    by_site: bool = False,
) -> list[Advice]:
    """What speaks against `procedure` for `n` subjects at `sites` sites, allocated to arms with these ratio weights
    within `strata` strata; with `by_site`, within these at each site.
    """
    found = [Advice(failed.rule, "refused", failed.message) for failed in check_for_list(procedure, ratio, n)]
    if isinstance(procedure, PermutedBlocks):
        found += _of_block_sizes(procedure.block_sizes, sum(ratio))
    if not isinstance(procedure, Minimisation):
        found += _of_strata(procedure, n, strata, sites if by_site else 1)
    found += _of_balance(procedure, ratio)
    return found


def _of_block_sizes(block_sizes: Sequence[int], ratio_sum: int) -> Iterator[Advice]:
    """ICH E9, 2.3.2: blocks long enough to limit what can be predicted, and their length kept from investigators."""
    if 2 in block_sizes:
        message = say("In a block of two the second allocation is certain as soon as the first is known.")
        yield Advice("blocks.two", "warning", message)
    elif ratio_sum in block_sizes:
        message = say(
            "A block of %(size)s holds the arms once in their ratio: whoever knows where it begins can tell its last "
            "allocation, and often more.",
            size=ratio_sum,
        )
        yield Advice("blocks.short", "warning", message)
    if len(block_sizes) == 1:
        message = say(
            "With one block size alone, whoever finds it out knows the last allocation of every block. Several sizes "
            "in random order hide where a block ends."
        )
        yield Advice("blocks.one_size", "warning", message)


def _of_strata(procedure: Procedure, n: int, strata: int, sites: int) -> Iterator[Advice]:
    """Therneau (Controlled Clinical Trials 1993;14:98–108) for the number of cells; ICH E9, 2.3.2 for sites: several
    whole blocks to each.
    """
    cells = strata * sites
    block = _subjects_to_balance(procedure, n)
    if cells > n / 2:
        message = say(
            "%(cells)s cells for %(n)s subjects leave fewer than two subjects a cell: the arms would be no better "
            "balanced than without strata. Take fewer factors, or minimisation.",
            cells=cells,
            n=n,
        )
        yield Advice("strata.too_many", "refused", message)
    elif cells > 1 and cells * 4 * block > n:
        message = say(
            "%(cells)s cells for %(n)s subjects leave fewer than four blocks of %(block)s a cell (the longest block, "
            "or twice the imbalance allowed): what stays open in the cells adds up to an imbalance of the whole trial.",
            cells=cells,
            n=n,
            block=block,
        )
        yield Advice("strata.many", "warning", message)
    if sites > 1 and 2 * block * sites > n:
        message = say(
            "Stratifying by site with about %(each)s subjects a site leaves fewer than two blocks of %(block)s to each "
            "(the longest block, or twice the imbalance allowed): most sites end within a block, and a site that knows "
            "its own allocations guesses more of them.",
            each=round(n / sites),
            block=block,
        )
        yield Advice("strata.site", "warning", message)


def _subjects_to_balance(procedure: Procedure, n: int) -> int:
    """How many subjects a stratum needs before the procedure is bound to have balanced it: its (longest) block, or
    twice the imbalance that it allows. Procedures without a bound are taken for blocks of four.
    """
    match procedure:
        case PermutedBlocks(block_sizes):
            return max(block_sizes)
        case RandomAllocationRule():
            return n
        case BigStick(allowed) | Maximal(allowed) | BlockUrn(allowed):
            return 2 * allowed
        case _:
            return 4


def _of_balance(procedure: Procedure, ratio: Sequence[int]) -> Iterator[Advice]:
    """O. M. Kuznetsova and Y. Tymofyeyev, Preserving the allocation ratio at every allocation with biased coin
    randomization and minimization in studies with unequal allocation, Statistics in Medicine 2012;31:701–723.
    """
    if isinstance(procedure, Minimisation) and len(set(ratio)) > 1:
        message = say(
            "Minimisation with an unequal ratio does not keep the ratio at every allocation: the probability of an "
            "arm changes with the place in the trial, so early and late subjects are not allocated alike. The analysis "
            "must allow for it. Confirm that this is meant."
        )
        yield Advice("ratio.not_at_every_step", "confirm", message)
    if isinstance(procedure, CompleteRandomisation | BiasedCoin | Urn | Minimisation):
        message = say(
            "This procedure sets no bound to the imbalance of the arms: the list, or the trial, can end away from its "
            "ratio. Confirm that this is meant."
        )
        yield Advice("balance.no_bound", "confirm", message)
