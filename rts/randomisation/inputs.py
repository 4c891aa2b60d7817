"""The rules for the inputs that every kind of list has. Each names its field; none repeats a secret value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rts.randomisation.streams import SEED_LENGTH
from rts.refusal import FailedRule, say
from rts.trial.procedures import MOST_ENTRIES

_CODE = re.compile(r"[\x20-\x7e]{1,40}")
_PREFIX = re.compile(r"[A-Z]{1,3}")


def check_seed(seed: bytes) -> Iterator[FailedRule]:
    """A seed is 32 bytes."""
    if len(seed) != SEED_LENGTH:
        message = say("seed must be %(length)s bytes", length=SEED_LENGTH)
        yield FailedRule("list.seed.length", message, "seed")


def check_prefix(prefix: str) -> Iterator[FailedRule]:
    """A number prefix is one to three capital letters A to Z."""
    if not _PREFIX.fullmatch(prefix):
        yield FailedRule("list.prefix.letters", say("prefix must be 1 to 3 capital letters A to Z"), "prefix")


def check_codes(field: str, codes: Sequence[str]) -> Iterator[FailedRule]:
    """Codes are 1 to 40 printable ASCII characters and all different. A failing one is named by its place, from 1."""
    seen: set[str] = set()
    for place, code in enumerate(codes, start=1):
        if not _CODE.fullmatch(code):
            message = say(
                "%(field)s: code %(place)s must be 1 to 40 printable ASCII characters", field=field, place=place
            )
            yield FailedRule(f"list.{field}.code", message, field)
        if code in seen:
            message = say("%(field)s: code %(place)s is equal to an earlier one", field=field, place=place)
            yield FailedRule(f"list.{field}.distinct", message, field)
        seen.add(code)


def check_strata(strata: Sequence[str]) -> Iterator[FailedRule]:
    """There is a stratum, and codes are codes."""
    if not strata:
        yield FailedRule("list.strata.count", say("strata must name at least one stratum"), "strata")
    yield from check_codes("strata", strata)


def check_arms(arms: Sequence[tuple[str, int]]) -> Iterator[FailedRule]:
    """There are two arms (code, ratio weight) or more, codes are codes, and weights count from 1."""
    if len(arms) < 2:
        yield FailedRule("list.arms.count", say("arms must name at least two arms"), "arms")
    yield from check_codes("arms", [code for code, _ in arms])
    if any(weight < 1 for _, weight in arms):
        yield FailedRule("list.arms.weight", say("arms: every ratio weight must be 1 or more"), "arms")


def check_entry_count(field: str, entries: int) -> Iterator[FailedRule]:
    """A list has no more entries than can be numbered."""
    if entries > MOST_ENTRIES:
        message = say("%(field)s: a list can number at most %(most)s entries", field=field, most=MOST_ENTRIES)
        yield FailedRule("list.entries.most", message, field)
