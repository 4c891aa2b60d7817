"""The measures of a procedure: what each is called, what it means, who gave it, and its value.

Values are calculated, not simulated. They are exact but for rounding (about 10⁻¹³), save what an observer of hidden
block sizes foresees in a long sequence (`rts.randomisation.designs.observer` says how near that is).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from rts.randomisation.designs.blocks import profile_of_blocks, work_of_block
from rts.randomisation.designs.profile import Profile
from rts.randomisation.designs.walks import profile_of_walk
from rts.refusal import FailedRule, Message, refuse_all, say
from rts.trial.procedures import Blocks, Conditional, PermutedBlocks, Procedure, RandomAllocationRule, check_for_list

MOST_SUBJECTS = 2_000
"""The longest sequence that is measured: the accidental bias is an eigenvalue of a matrix of N × N."""

MOST_WEIGHT = 100

_MOST_WORK = 1_500_000_000

Value = float | dict[str, float]


@dataclass(frozen=True)
class Measure:
    """A measure: its name in data, its title and meaning for people, its source, and which values are better."""

    name: str
    title: Message
    meaning: Message
    source: str
    more_is_better: bool = False


_BLACKWELL_HODGES = "Blackwell & Hodges 1957"
_ROSENBERGER_LACHIN = "Rosenberger & Lachin 2016"

MEASURES = (
    Measure(
        "cg_convergence",
        say("Correct guesses, convergence strategy"),
        say(
            "Share of the allocations guessed right by always guessing the arm that is farthest behind its ratio, and "
            "by a fair draw when several are."
        ),
        _BLACKWELL_HODGES,
    ),
    Measure(
        "blackwell_hodges_excess",
        say("Excess selection bias"),
        say(
            "Guesses right by the convergence strategy beyond those of always guessing the largest arm, in allocations."
        ),
        _BLACKWELL_HODGES,
    ),
    Measure(
        "cg_informed",
        say("Correct guesses, everything known"),
        say("Share guessed right by one who knows the procedure, all earlier arms and the size of the current block."),
        _BLACKWELL_HODGES,
    ),
    Measure(
        "bayes_optimal_guess_hidden_sizes",
        say("Correct guesses, block sizes hidden"),
        say(
            "Share guessed right at best by one who knows the procedure and all earlier arms, but not which block "
            "sizes were drawn."
        ),
        _BLACKWELL_HODGES,
    ),
    Measure(
        "deterministic",
        say("Certain allocations"),
        say("Share of the allocations that are certain beforehand to one who knows the size of the current block too."),
        "Berger, Ivanova & Knoll 2003",
    ),
    Measure(
        "observer_deterministic",
        say("Certain allocations, block sizes hidden"),
        say("Share of the allocations that are certain beforehand to one who does not know the block sizes drawn."),
        "Berger, Ivanova & Knoll 2003",
    ),
    Measure(
        "entropy_per_alloc_nats",
        say("Entropy of an allocation"),
        say(
            "Mean entropy of an allocation in nats, given everything known: 0 is certain, ln 2 = 0.693 a fair coin. "
            "Divided by ln 2 it is in bits."
        ),
        "Shannon 1948",
        more_is_better=True,
    ),
    Measure(
        "observer_entropy_per_alloc_nats",
        say("Entropy of an allocation, block sizes hidden"),
        say("The same for one who does not know the block sizes drawn."),
        "Shannon 1948",
        more_is_better=True,
    ),
    Measure(
        "mean_prob_exact_balance",
        say("Time in exact balance"),
        say("Mean, over the allocations, of the probability that the arms stand exactly in their ratio after it."),
        _ROSENBERGER_LACHIN,
        more_is_better=True,
    ),
    Measure(
        "E_max_abs_imbalance",
        say("Largest imbalance on the way"),
        say("Expected value of the largest imbalance |D| at any time."),
        "Berger, Ivanova & Knoll 2003",
    ),
    Measure(
        "P_max",
        say("Distribution of the largest imbalance"),
        say("Probability of each value of the largest imbalance |D| at any time."),
        "Berger, Ivanova & Knoll 2003",
    ),
    Measure(
        "max_possible",
        say("Greatest possible imbalance"),
        say("The greatest imbalance |D| that the procedure allows."),
        "Soares & Wu 1983",
    ),
    Measure(
        "E_abs_final_imbalance",
        say("Imbalance at the end"),
        say("Expected value of the imbalance |D| after the last allocation."),
        _ROSENBERGER_LACHIN,
    ),
    Measure(
        "sd_final_imbalance",
        say("Standard deviation of the imbalance at the end"),
        say(
            "Root of the mean square of D after the last allocation; with more than two arms, of the two for which it "
            "is largest."
        ),
        _ROSENBERGER_LACHIN,
    ),
    Measure(
        "P_final_balance",
        say("Balance at the end"),
        say("Probability that the arms stand exactly in their ratio after the last allocation."),
        _ROSENBERGER_LACHIN,
        more_is_better=True,
    ),
    Measure(
        "loss",
        say("Loss"),
        say(
            "Expected number of subjects whose information is lost because the arms do not end exactly in their ratio."
        ),
        "Atkinson 2003",
    ),
    Measure(
        "accidental_bias_max_eigenvalue",
        say("Accidental bias"),
        say(
            "Largest eigenvalue of the covariance matrix of the allocations (+1 and −1): how much a covariate that "
            "nobody thought of, changing over time in the worst way, can bias the comparison. 1 is complete "
            "randomisation."
        ),
        "Efron 1971",
    ),
)


def measure(procedure: Conditional | Blocks, n: int, ratio: Sequence[int] = (1, 1)) -> dict[str, Value]:
    """The measures of `procedure` over one sequence of `n` allocations of arms with these ratio weights.

    The observer's measures are absent where they cannot be calculated in reasonable time (`can_be_foreseen`).
    Raises Refusal (`invalid`) that names every field and rule that fails.
    """
    return measures_of(profile(procedure, n, ratio), ratio)


def profile(procedure: Conditional | Blocks, n: int, ratio: Sequence[int] = (1, 1)) -> Profile:
    """The profile that the measures are taken from. Raises Refusal as `measure` does."""
    refuse_all("invalid", check_design(procedure, n, ratio))
    match procedure:
        case PermutedBlocks(block_sizes):
            return profile_of_blocks(block_sizes, ratio, n)
        case RandomAllocationRule():
            return profile_of_blocks((n,), ratio, n)
        case _:
            return profile_of_walk(procedure, n)


def measures_of(found: Profile, ratio: Sequence[int]) -> dict[str, Value]:
    """The measures by name, in the order of `MEASURES`."""
    n = len(found.convergence)
    mean_square = float(found.square[-1])
    convergence = float(found.convergence.mean())
    values: dict[str, Value] = {
        "cg_convergence": convergence,
        "blackwell_hodges_excess": n * (convergence - max(ratio) / sum(ratio)),
        "cg_informed": float(found.informed.guessed.mean()),
        "deterministic": float(found.informed.certain.mean()),
        "entropy_per_alloc_nats": float(found.informed.entropy.mean()),
        "mean_prob_exact_balance": float(found.balanced[1:].mean()),
        "E_max_abs_imbalance": sum(float(largest) * p for largest, p in found.largest.items()),
        "P_max": {str(largest): p for largest, p in found.largest.items()},
        "max_possible": float(found.farthest) if found.farthest.denominator > 1 else found.farthest.numerator,
        "E_abs_final_imbalance": float(found.absolute[-1]),
        "sd_final_imbalance": sqrt(mean_square),
        "P_final_balance": float(found.balanced[-1]),
        "loss": found.loss,
        "accidental_bias_max_eigenvalue": float(np.linalg.eigvalsh(found.covariance)[-1]),
    }
    if found.observer is not None:
        values["bayes_optimal_guess_hidden_sizes"] = float(found.observer.guessed.mean())
        values["observer_deterministic"] = float(found.observer.certain.mean())
        values["observer_entropy_per_alloc_nats"] = float(found.observer.entropy.mean())
    return {measure.name: values[measure.name] for measure in MEASURES if measure.name in values}


_FIELDS = {"length": "n", "arms": "ratio", "block_sizes": "procedure.block_sizes"}


def check_design(procedure: Procedure, n: int, ratio: Sequence[int]) -> Iterator[FailedRule]:
    """Whether `procedure` can allocate `n` subjects to arms with these ratio weights, and be measured."""
    if not 1 <= n <= MOST_SUBJECTS:
        yield FailedRule("design.n.range", say("n must be between 1 and %(most)s", most=MOST_SUBJECTS), "n")
    if len(ratio) < 2 or not all(1 <= weight <= MOST_WEIGHT for weight in ratio):
        message = say("ratio must have two weights or more, each between 1 and %(most)s", most=MOST_WEIGHT)
        yield FailedRule("design.ratio.range", message, "ratio")
        return
    failed = list(check_for_list(procedure, ratio, n))
    for rule in failed:
        yield replace(rule, field=_FIELDS.get(rule.field, rule.field))
    if not failed and _work(procedure, n, ratio) > _MOST_WORK:
        message = say("blocks this long are too much to measure with so many subjects and arms in this ratio")
        yield FailedRule("design.blocks.work", message, "procedure")


def _work(procedure: Procedure, n: int, ratio: Sequence[int]) -> int:
    match procedure:
        case PermutedBlocks(block_sizes):
            return sum(work_of_block(size, ratio, n) for size in block_sizes)
        case RandomAllocationRule():
            return work_of_block(n, ratio, n)
        case _:
            return 0
