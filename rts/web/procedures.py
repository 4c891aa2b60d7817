"""Allocation procedures in words, for unblinded eyes."""

from __future__ import annotations

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
from rts.web.language import gettext as _
from rts.web.language import listed


def procedure_words(procedure: Procedure) -> str:
    """A procedure with its parameters, in the reader's language."""
    match procedure:
        case PermutedBlocks(block_sizes):
            return _("Permuted blocks of %(sizes)s", sizes=listed(block_sizes))
        case RandomAllocationRule():
            return _("Random allocation rule: one block of the whole stratum")
        case CompleteRandomisation():
            return _("Complete randomisation: a fair coin for every subject")
        case BigStick(imbalance):
            return _("Big stick, imbalance at most %(imbalance)d", imbalance=imbalance)
        case BiasedCoin(probability):
            return _("Efron's biased coin with probability %(probability)s", probability=str(probability))
        case BlockUrn(lam):
            return _("Block urn with λ = %(balls)d", balls=lam)
        case Urn(alpha, beta):
            return _("Wei's urn with α = %(alpha)d, β = %(beta)d", alpha=alpha, beta=beta)
        case Maximal(imbalance):
            return _("Maximal procedure, imbalance at most %(imbalance)d", imbalance=imbalance)
        case Minimisation(metric, weights, probability):
            metrics = {"range": _("range"), "variance": _("variance")}
            return _(
                "Minimisation by %(metric)s with probability %(probability)s, weights %(weights)s",
                metric=metrics[metric],
                probability=str(probability),
                weights=listed(f"{factor} {weight}" for factor, weight in weights),
            )
