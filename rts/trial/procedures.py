"""Allocation procedures: their parameters, how they are written down, and which lists each can make.

Which procedure and which parameters a trial has is restricted: nothing here prints itself, and no refusal repeats a
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

from rts.refusal import FailedRule, Message, refuse, refuse_all, say
from rts.trial.secrecy import NeverPrinted

MOST_ENTRIES = 90_000_000
"""The most entries one list can number: nine digits before the check digits, of which a tenth are used."""

METRICS = ("range", "variance")

SITE = "site"
"""The name of the subject's site among the factors that minimisation weighs; the others are stratification factors."""

MOST_MAXIMAL_ENTRIES = 1_000
"""The most entries a stratum of the maximal procedure has: its counts are exact integers of as many binary digits."""

HALF = Fraction(1, 2)

# A word's high half has 32 bits: a probability smaller than this it never meets.
_LEAST_PROBABILITY = Fraction(1, 2**32)


@dataclass(frozen=True, slots=True, repr=False)
class CompleteRandomisation(NeverPrinted):
    """A fair coin for every subject."""

    name: ClassVar[str] = "complete"


@dataclass(frozen=True, slots=True, repr=False)
class BigStick(NeverPrinted):
    """A fair coin until the arms differ by `imbalance`, then the arm behind for certain (Soares & Wu 1983).

    Raises Refusal (`invalid`) unless `imbalance` is 1 or more.
    """

    name: ClassVar[str] = "big-stick"
    imbalance: int

    def __post_init__(self) -> None:
        refuse_all("invalid", _check_at_least_one("imbalance", self.imbalance))


@dataclass(frozen=True, slots=True, repr=False)
class BiasedCoin(NeverPrinted):
    """A fair coin while the arms are equal, else the arm behind with `probability` (Efron 1971).

    Efron's p runs from 1/2 to 1 with both ends meant as limits: 1/2 is complete randomisation, 1 is permuted blocks of
    two, in which every second allocation is known beforehand. Both have names of their own, so here 1/2 < p < 1.
    Raises Refusal (`invalid`) for any other.
    """

    name: ClassVar[str] = "biased-coin"
    probability: Fraction

    def __post_init__(self) -> None:
        if not HALF < self.probability <= 1 - _LEAST_PROBABILITY:
            message = say("procedure.probability must be more than 1/2 and less than 1")
            raise refuse("invalid", "procedure.probability.range", message, "procedure.probability")


@dataclass(frozen=True, slots=True, repr=False)
class BlockUrn(NeverPrinted):
    """An urn of `lam` balls an arm, each put back as soon as it belongs to a balanced set (Zhao & Weng 2011).

    Raises Refusal (`invalid`) unless `lam` (λ) is 1 or more.
    """

    name: ClassVar[str] = "block-urn"
    lam: int

    def __post_init__(self) -> None:
        refuse_all("invalid", _check_at_least_one("lambda", self.lam))


@dataclass(frozen=True, slots=True, repr=False)
class Urn(NeverPrinted):
    """An urn of `alpha` balls an arm; each allocation adds `beta` balls of the other arm (Wei 1977).

    With `alpha` 0 the first subject gets a fair coin. Raises Refusal (`invalid`) for a negative number or twice 0.
    """

    name: ClassVar[str] = "urn"
    alpha: int
    beta: int

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        for key, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 <= value <= MOST_ENTRIES:
                message = say("procedure.%(key)s must be between 0 and %(most)s", key=key, most=MOST_ENTRIES)
                yield FailedRule(f"procedure.{key}.range", message, f"procedure.{key}")
        if self.alpha == self.beta == 0:
            message = say("procedure.alpha and procedure.beta must not both be 0: such an urn never holds a ball")
            yield FailedRule("procedure.alpha.empty_urn", message, "procedure.alpha")


@dataclass(frozen=True, slots=True, repr=False)
class Maximal(NeverPrinted):
    """Every sequence that never differs by more than `imbalance` and ends balanced, equally likely (Berger, Ivanova &
    Knoll 2003).

    Raises Refusal (`invalid`) unless `imbalance` is 1 or more.
    """

    name: ClassVar[str] = "maximal"
    imbalance: int

    def __post_init__(self) -> None:
        refuse_all("invalid", _check_at_least_one("imbalance", self.imbalance))


@dataclass(frozen=True, slots=True, repr=False)
class PermutedBlocks(NeverPrinted):
    """Blocks of the given sizes, each size equally likely, in each of which the arms keep their ratio exactly.

    `block_sizes` are kept in ascending order. Raises Refusal (`invalid`) when there is none, one comes twice or is out
    of range; that they are multiples of the sum of the ratio is `check_for_list`'s to say.
    """

    name: ClassVar[str] = "permuted-blocks"
    block_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())
        object.__setattr__(self, "block_sizes", tuple(sorted(self.block_sizes)))

    def _failed_rules(self) -> Iterator[FailedRule]:
        if not self.block_sizes:
            yield FailedRule("list.block_sizes.count", say("block_sizes must name at least one size"), "block_sizes")
        if len(set(self.block_sizes)) < len(self.block_sizes):
            yield FailedRule("list.block_sizes.distinct", say("block_sizes must all be different"), "block_sizes")
        if not all(1 <= size <= MOST_ENTRIES for size in self.block_sizes):
            message = say("block_sizes must be between 1 and %(most)s", most=MOST_ENTRIES)
            yield FailedRule("list.block_sizes.range", message, "block_sizes")


@dataclass(frozen=True, slots=True, repr=False)
class RandomAllocationRule(NeverPrinted):
    """One block of the whole stratum: permuted blocks with the one size N."""

    name: ClassVar[str] = "random-allocation-rule"


@dataclass(frozen=True, slots=True, repr=False)
class Minimisation(NeverPrinted):
    """The arm that leaves the subject's factor levels least unequal, with `probability` (Pocock & Simon 1975).

    `metric` is `range` or `variance`; `weights` are (factor code, whole number from 1). With `probability` 1 whoever
    knows the subjects so far knows the next arm, so 1 is refused (ICH E9, 2.3.2); that it is more than an equal share
    of the arms is `check_for_list`'s to say.
    Raises Refusal (`invalid`) that names every field and rule that fails.
    """

    name: ClassVar[str] = "minimisation"
    metric: str
    weights: tuple[tuple[str, int], ...]
    probability: Fraction

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        if self.metric not in METRICS:
            message = say("procedure.metric must be one of %(allowed)s", allowed=", ".join(METRICS))
            yield FailedRule("procedure.metric.known", message, "procedure.metric")
        factors = [factor for factor, _ in self.weights]
        if not factors or len(set(factors)) < len(factors):
            message = say("procedure.weights must name at least one factor, and none twice")
            yield FailedRule("procedure.weights.factors", message, "procedure.weights")
        if not all(1 <= weight <= MOST_ENTRIES for _, weight in self.weights):
            message = say("procedure.weights must be between 1 and %(most)s", most=MOST_ENTRIES)
            yield FailedRule("procedure.weights.range", message, "procedure.weights")
        if not 0 < self.probability <= 1 - _LEAST_PROBABILITY:
            message = say("procedure.probability must be more than 0 and less than 1")
            yield FailedRule("procedure.probability.range", message, "procedure.probability")


Conditional = CompleteRandomisation | BigStick | BiasedCoin | BlockUrn | Urn | Maximal
"""The procedures for two arms 1:1 that are given by a conditional probability of the first arm."""

Blocks = PermutedBlocks | RandomAllocationRule
"""The procedures that are made of blocks, for any number of arms and any ratio."""

Procedure = Conditional | Blocks | Minimisation


def check_for_list(procedure: Procedure, weights: Sequence[int], length: int) -> Iterator[FailedRule]:
    """Whether lists of `length` entries a stratum, for arms with these ratio weights, can be made by `procedure`."""
    ratio_sum = sum(weights)
    match procedure:
        case PermutedBlocks(block_sizes):
            if ratio_sum > 0 and any(size % ratio_sum for size in block_sizes):
                message = say("block_sizes must be multiples of the sum of the ratio weights")
                yield FailedRule("list.block_sizes.multiple", message, "block_sizes")
        case RandomAllocationRule():
            if ratio_sum > 0 and length % ratio_sum:
                message = say("length must be a multiple of the sum of the ratio weights for this procedure")
                yield FailedRule("list.length.multiple", message, "length")
        case Minimisation(probability=probability):
            if len(weights) > 1 and probability <= Fraction(1, len(weights)):
                message = say("procedure.probability must be more than an equal share of the arms")
                yield FailedRule("procedure.probability.no_preference", message, "procedure.probability")
        case _:
            if len(weights) != 2 or weights[0] != weights[1]:
                message = say("arms must be two in the ratio 1:1 for this procedure")
                yield FailedRule("list.arms.two_equal", message, "arms")
            if isinstance(procedure, Maximal):
                yield from _check_maximal(procedure, length)


def _check_maximal(procedure: Maximal, length: int) -> Iterator[FailedRule]:
    if length % 2:
        message = say("length must be even for the maximal procedure, which ends balanced")
        yield FailedRule("list.length.even", message, "length")
    if length > MOST_MAXIMAL_ENTRIES:
        message = say("length must be at most %(most)s for the maximal procedure", most=MOST_MAXIMAL_ENTRIES)
        yield FailedRule("list.length.maximal", message, "length")


def procedure_from(written: object) -> Procedure:
    """The procedure that plain JSON values describe: `{"name": "big-stick", "imbalance": 3}`.

    Numbers are whole; a `probability` is a text, a fraction ("2/3") or a decimal ("0.8"), because a JSON number would
    be rounded. `weights` of a minimisation map factor codes to whole numbers.

    Raises Refusal (`invalid`) that names every unknown, missing or wrong key as `procedure.<key>`.
    """
    if not isinstance(written, Mapping):
        message = say("procedure must be an object with a name")
        raise refuse("invalid", "procedure.object", message, "procedure")
    name = written.get("name")
    form = _FORMS.get(name) if isinstance(name, str) else None
    if form is None:
        message = say("procedure.name must be one of %(allowed)s", allowed=", ".join(_FORMS))
        raise refuse("invalid", "procedure.name.known", message, "procedure.name")
    make, keys = form
    refuse_all("invalid", _failed_keys(written, keys))
    return make(*(keys[key].read(written[key]) for key in keys))


def written_form(procedure: Procedure) -> dict[str, object]:
    """The plain JSON values that `procedure_from` reads as this procedure."""
    _, keys = _FORMS[procedure.name]
    written = {key: getattr(procedure, "lam" if key == "lambda" else key) for key in keys}
    return {"name": procedure.name} | {key: _as_written(value) for key, value in written.items()}


def _as_written(value: object) -> object:
    match value:
        case Fraction():
            return str(value)
        case tuple():
            return dict(value) if value and isinstance(value[0], tuple) else list(value)
        case _:
            return value


class _Key(NamedTuple):
    """How one key is written: the reader gives None for a value of another shape, and the sentence says the shape."""

    read: Callable[[Any], Any]
    shape: Message


def _failed_keys(written: Mapping[Any, Any], keys: Mapping[str, _Key]) -> Iterator[FailedRule]:
    for key in written:
        if key not in keys and key != "name":
            field = f"procedure.{key}"
            yield FailedRule("procedure.unknown", say("unknown key: %(key)s", key=field), field)
    for key, (read, shape) in keys.items():
        field = f"procedure.{key}"
        if key not in written:
            yield FailedRule("procedure.missing", say("missing key: %(key)s", key=field), field)
        elif read(written[key]) is None:
            yield FailedRule("procedure.shape", shape, field)


def _check_at_least_one(key: str, value: int) -> Iterator[FailedRule]:
    if not 1 <= value <= MOST_ENTRIES:
        message = say("procedure.%(key)s must be between 1 and %(most)s", key=key, most=MOST_ENTRIES)
        yield FailedRule(f"procedure.{key}.range", message, f"procedure.{key}")


def _whole(value: object) -> int | None:
    # JSON's true and false are integers to Python.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _wholes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple) or any(_whole(item) is None for item in value):
        return None
    return tuple(value)


_WRITTEN_FRACTION = re.compile(r"[0-9]{1,12}/0{0,11}[1-9][0-9]{0,11}|[0-9]{1,12}(\.[0-9]{1,12})?")


def _fraction(value: object) -> Fraction | None:
    return Fraction(value) if isinstance(value, str) and _WRITTEN_FRACTION.fullmatch(value) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _weights(value: object) -> tuple[tuple[str, int], ...] | None:
    if not isinstance(value, Mapping) or any(_text(key) is None for key in value):
        return None
    return None if any(_whole(weight) is None for weight in value.values()) else tuple(value.items())


def _whole_key(key: str) -> _Key:
    return _Key(_whole, say("procedure.%(key)s must be a whole number", key=key))


_PROBABILITY = _Key(
    _fraction, say('procedure.probability must be a text: a fraction such as "2/3" or a decimal such as "0.8"')
)
_FORMS: dict[str, tuple[Callable[..., Procedure], dict[str, _Key]]] = {
    "permuted-blocks": (
        PermutedBlocks,
        {"block_sizes": _Key(_wholes, say("procedure.block_sizes must be a list of whole numbers"))},
    ),
    "random-allocation-rule": (RandomAllocationRule, {}),
    "complete": (CompleteRandomisation, {}),
    "big-stick": (BigStick, {"imbalance": _whole_key("imbalance")}),
    "biased-coin": (BiasedCoin, {"probability": _PROBABILITY}),
    "block-urn": (BlockUrn, {"lambda": _whole_key("lambda")}),
    "urn": (Urn, {"alpha": _whole_key("alpha"), "beta": _whole_key("beta")}),
    "maximal": (Maximal, {"imbalance": _whole_key("imbalance")}),
    "minimisation": (
        Minimisation,
        {
            "metric": _Key(_text, say("procedure.metric must be a text")),
            "weights": _Key(_weights, say("procedure.weights must be an object of factor codes and whole numbers")),
            "probability": _PROBABILITY,
        },
    ),
}

KEYS: dict[str, tuple[str, ...]] = {name: tuple(keys) for name, (_, keys) in _FORMS.items()}
"""The names of the procedures, and the keys that describe each beside its name."""
