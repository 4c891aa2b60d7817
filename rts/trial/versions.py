"""What tells one version of a trial definition from another: digests of the texts, differences of the contents."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, time

from rts.trial.definition import RestrictedDefinition, TrialDefinition
from rts.trial.texts import Text


@dataclass(frozen=True)
class Difference:
    """One value that differs: its key path, and the old and new value in readable form, empty where there is none."""

    path: str
    old: str
    new: str


def definition_digest(text: str) -> str:
    """SHA-256, in hex, of the canonical public text: UTF-8, no byte order mark, every line ending a line feed."""
    return hashlib.sha256(_canonical(text)).hexdigest()


def restricted_digest(text: str, salt: bytes) -> str:
    """HMAC-SHA-256, in hex, of the canonical restricted text under `salt`.

    Without a salt the few plausible block sizes and codes could be tried against a published digest. Raises ValueError
    for a salt under 16 bytes.
    """
    if len(salt) < 16:
        raise ValueError("a salt has at least 16 bytes")
    return hmac.new(salt, _canonical(text), hashlib.sha256).hexdigest()


def differences(old: TrialDefinition, new: TrialDefinition) -> list[Difference]:
    """Every value in which two public parts differ, in definition order, those only in `old` where they stood.

    Elements with a code are matched by it, so an inserted site is one difference; a changed order of them is one too.
    """
    return _compare("", old, new)


def arms_stand(old: RestrictedDefinition, new: RestrictedDefinition) -> bool:
    """Whether every arm and kit type of `old` means the same in `new`, where further ones may have come."""
    return set(old.arms) <= set(new.arms) and set(old.kit_types) <= set(new.kit_types)


def allocate_alike(old: TrialDefinition, new: TrialDefinition) -> bool:
    """Whether both have the same treatments, ratio and strata, so that a list made by one fits where the other is in
    force.
    """
    return set(old.treatments) == set(new.treatments) and set(old.strata) == set(new.strata)


def _canonical(text: str) -> bytes:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").encode()


def _compare(path: str, old: object, new: object) -> list[Difference]:
    if old == new:
        return []
    if isinstance(old, Text) and isinstance(new, Text):
        if old.is_plain or new.is_plain:
            return [Difference(path, readable(old), readable(new))]
        return _compare_named(f"{path}.", "", dict(old.wordings), dict(new.wordings))
    if type(old) is type(new) and is_dataclass(old):
        return [
            difference
            for field in fields(old)
            for difference in _compare(
                f"{path}.{field.name}" if path else field.name, getattr(old, field.name), getattr(new, field.name)
            )
        ]
    if isinstance(old, dict) and isinstance(new, dict):
        return _compare_named(path + ".", "", old, new)
    if isinstance(old, tuple) and isinstance(new, tuple):
        named_old, named_new = _by_name(old), _by_name(new)
        if named_old is not None and named_new is not None:
            found = _compare_named(f"{path}[", "]", named_old, named_new)
            common_old = [name for name in named_old if name in named_new]
            common_new = [name for name in named_new if name in named_old]
            if common_old != common_new:
                found.append(Difference(f"{path} (order)", ", ".join(named_old), ", ".join(named_new)))
            return found
    return [Difference(path, readable(old), readable(new))]


def _compare_named(before: str, after: str, old: dict[str, object], new: dict[str, object]) -> list[Difference]:
    found: list[Difference] = []
    for name in [*old, *(name for name in new if name not in old)]:
        path = f"{before}{name}{after}"
        if name in old and name in new:
            found += _compare(path, old[name], new[name])
        else:
            found.append(
                Difference(
                    path,
                    readable(old[name]) if name in old else "",
                    readable(new[name]) if name in new else "",
                )
            )
    return found


def _by_name(elements: tuple[object, ...]) -> dict[str, object] | None:
    """The elements by code or name; None when they have neither."""
    named: dict[str, object] = {}
    for element in elements:
        name = getattr(element, "code", None) or getattr(element, "name", None)
        if not isinstance(name, str):
            return None
        named[name] = element
    return named


def readable(value: object) -> str:
    """A value as a person reads it: ISO dates, lists with commas, the fields of a part by name."""
    if value is None:
        return ""
    if isinstance(value, Text):
        return " / ".join(value.words)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, tuple):
        return ", ".join(readable(element) for element in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {readable(element)}" for name, element in value.items())
    if is_dataclass(value):
        return "; ".join(f"{field.name}: {readable(getattr(value, field.name))}" for field in fields(value))
    return str(value)
