"""Allocation procedures in words, for unblinded eyes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

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
)


def procedure_words(procedure: Procedure) -> Message:
    """A procedure with its parameters."""
    match procedure:
        case PermutedBlocks(block_sizes):
            return say("Permuted blocks of %(sizes)s", sizes=in_a_row(block_sizes))
        case RandomAllocationRule():
            return say("Random allocation rule: one block of the whole stratum")
        case CompleteRandomisation():
            return say("Complete randomisation: a fair coin for every subject")
        case BigStick(imbalance):
            return say("Big stick, imbalance at most %(imbalance)d", imbalance=imbalance)
        case BiasedCoin(probability):
            return say("Efron's biased coin with probability %(probability)s", probability=str(probability))
        case BlockUrn(lam):
            return say("Block urn with λ = %(balls)d", balls=lam)
        case Urn(alpha, beta):
            return say("Wei's urn with α = %(alpha)d, β = %(beta)d", alpha=alpha, beta=beta)
        case Maximal(imbalance):
            return say("Maximal procedure, imbalance at most %(imbalance)d", imbalance=imbalance)
        case Minimisation(metric, weights, probability):
            metrics = {"range": say("range"), "variance": say("variance")}
            return say(
                "Minimisation by %(metric)s with probability %(probability)s, weights %(weights)s",
                metric=metrics[metric],
                probability=str(probability),
                weights=in_a_row(f"{factor} {weight}" for factor, weight in weights),
            )


def in_a_row(items: Iterable[object]) -> object:
    """Words one after another, with the comma that lists have in the reader's language."""
    return reduce(lambda before, item: say("%(before)s, %(item)s", before=before, item=item), items)
