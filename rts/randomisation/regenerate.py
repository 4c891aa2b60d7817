"""Rebuilds a list from its written parameters, for a second programmer who checks it against a program of their own.

Parameters and answer are plain JSON values. The answer holds arms: it is printed only for whoever holds the seed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rts.randomisation import tape
from rts.randomisation.generation import SubjectListInputs, generate
from rts.randomisation.kit_list import KitListInputs, generate_kits
from rts.refusal import FailedRule, Message, refuse, refuse_all, say
from rts.trial.procedures import Minimisation, PermutedBlocks, procedure_from

_SEED = re.compile(r"[0-9A-Fa-f]{64}")


def regenerate(parameters: object) -> dict[str, object]:
    """The parameters with the list that they make: `rows` and `commitment`, and for kits `salts`.

    A subject list is asked for by `seed` (64 hex digits), `list_id`, `prefix`, `strata`, `arms` ([[code, weight], …]),
    `length`, and `block_sizes` or `procedure` (`procedure_from`); its rows are [stratum, position, number, arm, salt].
    For minimisation `strata` may be left out; of its tape the stratum is empty and the word stands in place of the arm.
    A kit list is asked for by `seed`, `list_id`, `prefix` and `kit_types` ([[code, quantity], …]); its rows are
    [number, kit type, pick rank] in packaging order. An imported list is made from no parameters: `verification` is for
    it.

    Raises Refusal (`invalid`) that names every unknown, missing or wrong key.
    """
    if not isinstance(parameters, Mapping):
        raise refuse("invalid", "list.parameters.object", say("the parameters must be one JSON object"))
    if "kit_types" in parameters:
        return {**parameters, **_regenerate_kits(parameters)}
    return {**parameters, **_regenerate_subjects(parameters)}


def _regenerate_subjects(parameters: Mapping[str, Any]) -> dict[str, object]:
    procedure = procedure_from(parameters["procedure"]) if "procedure" in parameters else None
    given = {key: value for key, value in parameters.items() if key != "procedure"}
    if isinstance(procedure, Minimisation) and not given.get("strata"):
        given["strata"] = [tape.STRATUM]
    refuse_all("invalid", _failed_keys(given, _SUBJECT_KEYS if procedure else _SUBJECT_KEYS | _BLOCK_SIZES_KEY))
    made = generate(
        SubjectListInputs(
            seed=bytes.fromhex(given["seed"]),
            list_id=given["list_id"],
            prefix=given["prefix"],
            strata=tuple(given["strata"]),
            arms=tuple((code, weight) for code, weight in given["arms"]),
            procedure=procedure or PermutedBlocks(tuple(given["block_sizes"])),
            length=given["length"],
        )
    )
    rows = [[e.stratum, e.position, e.number, e.arm, e.salt.hex()] for e in made.entries()]
    return {"rows": rows, "commitment": made.commitment()}


def _regenerate_kits(parameters: Mapping[str, Any]) -> dict[str, object]:
    refuse_all("invalid", _failed_keys(parameters, _KIT_KEYS))
    made = generate_kits(
        KitListInputs(
            seed=bytes.fromhex(parameters["seed"]),
            list_id=parameters["list_id"],
            prefix=parameters["prefix"],
            kit_types=tuple((code, quantity) for code, quantity in parameters["kit_types"]),
        )
    )
    return {
        "rows": [[kit.number, kit.kit_type, kit.rank] for kit in made.entries],
        "salts": [kit.salt.hex() for kit in made.entries],
        "commitment": made.commitment,
    }


_Shape = tuple[Callable[[object], bool], Message]


def _failed_keys(parameters: Mapping[str, object], shapes: Mapping[str, _Shape]) -> Iterator[FailedRule]:
    for key in parameters:
        if key not in shapes:
            yield FailedRule("list.parameters.unknown", say("unknown key: %(key)s", key=key), str(key))
    for key, (has_shape, shape) in shapes.items():
        if key not in parameters:
            yield FailedRule("list.parameters.missing", say("missing key: %(key)s", key=key), key)
        elif not has_shape(parameters[key]):
            yield FailedRule("list.parameters.shape", shape, key)


def _is_seed(value: object) -> bool:
    return isinstance(value, str) and _SEED.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole_number(value: object) -> bool:
    # JSON's true and false are integers to Python.
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _are_whole_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_whole_number, value))


def _are_counts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and _is_text(pair[0]) and _is_whole_number(pair[1])
        for pair in value
    )


_LIST_KEYS: dict[str, _Shape] = {
    "seed": (_is_seed, say("seed must be 64 hexadecimal digits (32 bytes)")),
    "list_id": (_is_text, say("list_id must be a text")),
    "prefix": (_is_text, say("prefix must be a text")),
}
_SUBJECT_KEYS: dict[str, _Shape] = _LIST_KEYS | {
    "strata": (_are_texts, say("strata must be a list of texts")),
    "arms": (_are_counts, say("arms must be a list of [code, whole number]")),
    "length": (_is_whole_number, say("length must be a whole number")),
}
_BLOCK_SIZES_KEY: dict[str, _Shape] = {
    "block_sizes": (_are_whole_numbers, say("block_sizes must be a list of whole numbers")),
}
_KIT_KEYS: dict[str, _Shape] = _LIST_KEYS | {
    "kit_types": (_are_counts, say("kit_types must be a list of [code, whole number]")),
}

PARAMETERS = tuple(dict.fromkeys((*_SUBJECT_KEYS, *_BLOCK_SIZES_KEY, "procedure", *_KIT_KEYS)))
"""The keys that `regenerate` takes, of subject lists and of kit lists."""
