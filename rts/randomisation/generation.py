"""Generates subject lists: one set of inputs for every procedure, and the scheme that each procedure is made by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rts.randomisation import conditional, permuted_blocks, tape
from rts.randomisation.inputs import check_arms, check_codes, check_entry_count, check_prefix, check_seed, check_strata
from rts.randomisation.streams import ListStreams
from rts.randomisation.subject_list import SubjectList, complete_subject_list
from rts.refusal import FailedRule, refuse_all, say
from rts.trial.procedures import Minimisation, PermutedBlocks, Procedure, RandomAllocationRule, check_for_list
from rts.trial.secrecy import NeverPrinted


@dataclass(frozen=True, slots=True, repr=False)
class SubjectListInputs(NeverPrinted):
    """Everything a subject list is made from.

    `seed` is 32 bytes; `strata` and `arms` (code, ratio weight) are in definition order; `length` is the number of
    entries of each stratum. A list for minimisation is a tape and has the one stratum with an empty code.
    Raises Refusal (`invalid`) that names every field and rule that fails.
    """

    seed: bytes
    list_id: str
    prefix: str
    strata: tuple[str, ...]
    arms: tuple[tuple[str, int], ...]
    procedure: Procedure
    length: int

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        yield from check_seed(self.seed)
        yield from check_codes("list_id", (self.list_id,))
        yield from check_prefix(self.prefix)
        if not isinstance(self.procedure, Minimisation):
            yield from check_strata(self.strata)
        elif self.strata != (tape.STRATUM,):
            message = say("strata must be the one part without a code: minimisation balances factors, not strata")
            yield FailedRule("list.strata.tape", message, "strata")
        yield from check_arms(self.arms)
        yield from check_for_list(self.procedure, [weight for _, weight in self.arms], self.length)
        if self.length < 1:
            yield FailedRule("list.length.positive", say("length must be 1 or more"), "length")
        yield from check_entry_count("length", len(self.strata) * self.length)


def scheme_of(procedure: Procedure) -> str:
    """The name of the scheme that lists of `procedure` are made by."""
    match procedure:
        case PermutedBlocks() | RandomAllocationRule():
            return permuted_blocks.SCHEME
        case Minimisation():
            return tape.SCHEME
        case _:
            return conditional.SCHEME


def strata_of_list(procedure: Procedure, strata: tuple[str, ...]) -> tuple[str, ...]:
    """The strata that lists of `procedure` have in a trial with `strata`: of a tape the one part without a code."""
    return (tape.STRATUM,) if isinstance(procedure, Minimisation) else strata


def generate(inputs: SubjectListInputs) -> SubjectList:
    """The list of `inputs`. Equal inputs give the same list, byte for byte."""
    streams = ListStreams(inputs.seed, scheme_of(inputs.procedure), inputs.list_id)
    arms = {stratum: _arms_of_stratum(inputs, streams, stratum) for stratum in inputs.strata}
    return complete_subject_list(streams, inputs.prefix, arms)


def _arms_of_stratum(inputs: SubjectListInputs, streams: ListStreams, stratum: str) -> list[str]:
    match inputs.procedure:
        case PermutedBlocks(block_sizes):
            return _blocks_of_stratum(inputs, block_sizes, streams, stratum)
        case RandomAllocationRule():
            return _blocks_of_stratum(inputs, (inputs.length,), streams, stratum)
        case Minimisation():
            return tape.words_of_tape(inputs.length, streams.words("draw", stratum))
        case procedure:
            codes = [code for code, _ in inputs.arms]
            return conditional.arms_of_stratum(procedure, codes, inputs.length, streams.words("draw", stratum))


def _blocks_of_stratum(
    inputs: SubjectListInputs, block_sizes: tuple[int, ...], streams: ListStreams, stratum: str
) -> list[str]:
    return permuted_blocks.arms_of_stratum(
        inputs.arms, block_sizes, inputs.length, streams.words("sizes", stratum), streams.words("order", stratum)
    )
