"""The measures of a design that is written down, for a second programmer who checks them with a program of their own.

Design and answer are plain JSON values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rts.randomisation.designs.measures import measure
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.trial.procedures import Minimisation, procedure_from

_KEYS = ("procedure", "n", "ratio")


def measure_written(design: object) -> dict[str, object]:
    """The design with its measures (`rts.randomisation.designs.measures.MEASURES`) by name.

    It has `procedure` (`procedure_from`), `n`, the number of allocations, and, unless it is [1, 1], `ratio`, the
    weights of the arms. Minimisation has no measures without its subjects and is refused.

    Raises Refusal (`invalid`) that names every unknown, missing or wrong key.
    """
    if not isinstance(design, Mapping):
        raise refuse("invalid", "design.object", say("the design must be one JSON object"))
    refuse_all("invalid", _failed_keys(design))
    procedure = procedure_from(design["procedure"])
    if isinstance(procedure, Minimisation):
        message = say("minimisation cannot be measured from a design alone: what it does depends on the subjects")
        raise refuse("invalid", "design.minimisation", message, "procedure.name")
    return {**design, **measure(procedure, design["n"], tuple(design.get("ratio", (1, 1))))}


def _failed_keys(design: Mapping[str, object]) -> Iterator[FailedRule]:
    for key in design:
        if key not in _KEYS:
            yield FailedRule("design.unknown", say("unknown key: %(key)s", key=key), str(key))
    for key in ("procedure", "n"):
        if key not in design:
            yield FailedRule("design.missing", say("missing key: %(key)s", key=key), key)
    if "n" in design and not _is_whole(design["n"]):
        yield FailedRule("design.shape", say("n must be a whole number"), "n")
    ratio = design.get("ratio", [])
    if not isinstance(ratio, list | tuple) or not all(map(_is_whole, ratio)):
        yield FailedRule("design.shape", say("ratio must be a list of whole numbers"), "ratio")


def _is_whole(value: object) -> bool:
    # JSON's true and false are integers to Python.
    return isinstance(value, int) and not isinstance(value, bool)
