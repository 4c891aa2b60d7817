"""Verify that revealed lists are the ones that were committed to when they were sealed, and that every subject got what
was committed.

This one file needs Python 3.11 and nothing else: no key, no database, no other file of RTS, so that anyone can read
all of it and run it:

    python verification.py REVEAL.csv --commitment HEX [--kit-reveal KITS.csv --kit-commitment HEX]…
        [--trial-export EXPORT.json] [--minimisation RULE.json]

Several lists of subjects are named one after the other, each with a `--commitment` in the same order; so are kit lists.

A reveal file is CSV with a header line. Subject lists have the columns stratum, position, number, arm, salt; kit lists
position, number, kit_type, rank, salt (salts in hex). Rows stand in list order: the strata in the trial's order, each
from position 1; kits in packaging order. The commitment is a Merkle tree hash (RFC 6962, 2.1) over one leaf a row,

    leaf = SHA-256( 00 | salt | UTF-8 text of the row's other values, joined by U+001F )

where a kit's text has an empty stratum before its position. Inner nodes are SHA-256( 01 | left | right ), the tree
split at the largest power of two below its number of leaves.

A trial export is a JSON object: `format`; `lists`, those ever put to use, each with `kind` (subjects, kits),
`commitment`, and the numbers of the audit events by which it was `activated` and `closed` (null: never); and
`subjects`, in the order in which they were randomised, each with `code`, `event` (the number of its audit event),
`stratum`, `randomisation_number`, and `kits` with `number`, `visit` and `state`. What else it holds is for people.
Each subject must have taken the next entry of its stratum, of the first list in use at its event that had one left.
A list whose strata are all empty is a tape for minimisation: its entries are taken in turn whatever the stratum, and
hold words from which arms are calculated. They are calculated here (Pocock and Simon 1975) when the rule is given, a
JSON object with `arms` ([code, ratio weight], …) and `procedure` (`metric` range or variance, `weights` by factor,
`probability` as text), from the `levels` by factor that the export has of each subject; without it the kits of a tape
are not compared with arms.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from typing import Any

SUBJECT_COLUMNS = ("stratum", "position", "number", "arm", "salt")
KIT_COLUMNS = ("position", "number", "kit_type", "rank", "salt")
EXPORT_FORMAT = "rts/trial-export/1"

_SALT = re.compile(r"[0-9a-f]{32}")
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]*")
_COMMITMENT = re.compile(r"[0-9a-f]{64}")

Revealed = tuple[str, str]
"""The text of a reveal file and the commitment (hex) that was published for its list."""


@dataclass(frozen=True)
class Verified:
    """Everything that is not as it was committed to, and what to say when that is nothing."""

    differences: list[str]
    statement: str


def verify(
    lists: Sequence[Revealed],
    kit_lists: Sequence[Revealed] = (),
    trial_export: str | None = None,
    minimisation: str | None = None,
) -> Verified:
    """Compare revealed lists with their commitments and, when its text is given, a trial export with the lists.

    `minimisation` is the text of the rule by which the words of a tape become arms.

    Rows of a list are named by their line, never by what they say.
    """
    subjects = [_List(name, text, SUBJECT_COLUMNS, root) for name, text, root in _named("subject list", lists)]
    kits = [_List(name, text, KIT_COLUMNS, root) for name, text, root in _named("kit list", kit_lists)]
    found = [difference for one in (*subjects, *kits) for difference in one.differences()]
    found += _numbers_of_two_lists([*subjects, *kits])
    statement = "The revealed lists are the ones committed to."
    if trial_export is not None:
        if any(one.malformed for one in (*subjects, *kits)):
            found.append("trial export: not compared, because a list is malformed")
        else:
            differences, said = _compare(subjects, kits, trial_export, minimisation)
            found, statement = found + differences, f"{statement} {said}"
    return Verified(found, statement)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over leaf hashes (RFC 6962, 2.1)."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


# --- a list against its commitment -----------------------------------------------------------------------------------


def _named(kind: str, revealed: Sequence[Revealed]) -> Iterator[tuple[str, str, str]]:
    """Each list with the name it has in messages."""
    for place, (text, commitment) in enumerate(revealed, start=1):
        yield f"{kind} {place}" if len(revealed) > 1 else kind, text, commitment.strip().lower()


class _List:
    """A revealed list. `rows` are those below the header; `problem` says why the text is no reveal file."""

    def __init__(self, name: str, text: str, columns: tuple[str, ...], commitment: str) -> None:
        self.name, self.columns, self.commitment = name, columns, commitment
        self.problem = ""
        rows: list[list[str]] = []
        try:
            rows = list(csv.reader(io.StringIO(text), strict=True))
        except csv.Error as problem:
            self.problem = f"{name}: not CSV ({problem})"
        else:
            if not rows or tuple(rows[0]) != columns:
                self.problem = f"{name}, line 1: the columns are not {', '.join(columns)}"
        self.rows = [] if self.problem else rows[1:]
        self.malformed = [self.problem] if self.problem else list(self._malformed())

    def differences(self) -> Iterator[str]:
        yield from self.malformed
        if self.problem:
            return
        if self.malformed:
            yield f"{self.name}: the commitment cannot be computed from malformed rows"
            return
        yield from self._out_of_order()
        if not _COMMITMENT.fullmatch(self.commitment):
            yield f"{self.name}: the commitment given is not 64 hex digits"
        elif merkle_root([self._leaf(row) for row in self.rows]).hex() != self.commitment:
            yield f"{self.name}: the rows are not the ones committed to: their Merkle root differs from the commitment"

    def column(self, name: str) -> list[str]:
        """The values of one column; of a malformed list none."""
        at = self.columns.index(name)
        return [] if self.malformed else [row[at] for row in self.rows]

    @cached_property
    def lengths(self) -> Counter[str]:
        """How many entries each stratum has."""
        return Counter(self.column("stratum"))

    @property
    def is_tape(self) -> bool:
        """Whether the entries are words for minimisation, not arms."""
        return set(self.lengths) == {""}

    def _malformed(self) -> Iterator[str]:
        counted = [self.columns.index(column) for column in ("position", "rank") if column in self.columns]
        for line, row in enumerate(self.rows, start=2):
            if len(row) != len(self.columns):
                yield f"{self.name}, line {line}: {len(row)} values where {len(self.columns)} belong"
                continue
            for at in counted:
                if not _WHOLE_NUMBER.fullmatch(row[at]):
                    yield f"{self.name}, line {line}: {self.columns[at]} is not a whole number from 1"
            values = "".join(row)
            if not (values.isascii() and values.isprintable()):
                # U+001F inside a value would let two different rows have the same leaf.
                yield f"{self.name}, line {line}: a value holds other than printable ASCII characters"
            if not _SALT.fullmatch(row[-1]):
                yield f"{self.name}, line {line}: salt is not 32 hex digits in small letters"

    def _out_of_order(self) -> Iterator[str]:
        """Missing and repeated positions, numbers and ranks: they tell which rows to look at when the root differs."""
        position_at, number_at = self.columns.index("position"), self.columns.index("number")
        last: dict[str, int] = {}
        stratum = ""
        numbers: dict[str, int] = {}
        for line, row in enumerate(self.rows, start=2):
            before, stratum = stratum, row[0] if self.columns is SUBJECT_COLUMNS else ""
            if stratum != before and stratum in last:
                yield f"{self.name}, line {line}: the stratum began earlier and was interrupted"
            expected = last.get(stratum, 0) + 1
            if int(row[position_at]) != expected:
                yield f"{self.name}, line {line}: position {row[position_at]} stands where {expected} belongs"
            last[stratum] = int(row[position_at])
            number = row[number_at]
            if number in numbers:
                yield f"{self.name}, line {line}: the number of line {numbers[number]} again"
            numbers.setdefault(number, line)
        if self.columns is KIT_COLUMNS and sorted(map(int, self.column("rank"))) != list(range(1, len(self.rows) + 1)):
            yield f"{self.name}: the pick ranks are not 1 to {len(self.rows)}, each once"

    def _leaf(self, row: list[str]) -> bytes:
        parts = row[:-1] if self.columns is SUBJECT_COLUMNS else ["", *row[:-1]]
        return sha256(b"\x00" + bytes.fromhex(row[-1]) + "\x1f".join(parts).encode()).digest()


def _numbers_of_two_lists(lists: Sequence[_List]) -> Iterator[str]:
    for place, one in enumerate(lists):
        for earlier in lists[:place]:
            shared = len(set(one.column("number")) & set(earlier.column("number")))
            if shared:
                yield f"{one.name}: numbers that stand in {earlier.name} too: {shared}"


# --- the trial against its lists -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """When a list was in use: from one audit event to another; `closed` is None for one that was never closed."""

    kind: str
    commitment: str
    activated: int
    closed: int | None

    def covers(self, event: int) -> bool:
        return self.activated < event and (self.closed is None or event < self.closed)


@dataclass(frozen=True)
class _Subject:
    """A subject of the export; `kits` are (number, visit), `levels` are by factor."""

    code: str
    event: int
    stratum: str
    number: str
    kits: list[tuple[str, str]]
    levels: dict[str, str]


@dataclass(frozen=True)
class _Rule:
    """Minimisation: arms with their ratio weights, how unequal counts are measured, weights by factor, and how likely
    the one best arm is.
    """

    arms: dict[str, int]
    metric: str
    weights: dict[str, int]
    probability: Fraction


def _compare(
    lists: Sequence[_List], kit_lists: Sequence[_List], text: str, minimisation: str | None
) -> tuple[list[str], str]:
    """Where the export differs from the lists, and what to say when it does not."""
    try:
        uses, subjects = _read_export(text)
    except ValueError as problem:
        return [f"trial export: {problem}"], ""
    try:
        rule = None if minimisation is None else _read_rule(minimisation)
    except ValueError as problem:
        return [f"minimisation: {problem}"], ""
    found = [*_lists_of_one_side(uses, lists, kit_lists), *_disorder(subjects), *_turns(uses, subjects, lists)]
    said = f"{len(subjects)} subjects took their entries in turn."
    if not kit_lists:
        return found, f"{said} Kits were not verified: no kit list was given."
    types = {row[1]: row[2] for one in kit_lists for row in one.rows}
    arms = {row[2]: row[3] for one in lists if not one.is_tape for row in one.rows}
    if rule is not None:
        arms |= _minimised(subjects, {row[2]: row[3] for one in lists if one.is_tape for row in one.rows}, arms, rule)
    given = [(subject, visit, kit) for subject in subjects for kit, visit in subject.kits]
    paired = [
        (types[kit], arms[subject.number]) for subject, _, kit in given if kit in types and subject.number in arms
    ]
    arms_of: dict[str, Counter[str]] = {kit_type: Counter() for kit_type, _ in sorted(paired)}
    for kit_type, arm in paired:
        arms_of[kit_type][arm] += 1
    found += _kits(given, types, arms, arms_of)
    said += f" {len(given)} kits are on the lists, each of one subject"
    if arms_of:
        said += ", and each type went to one arm: "
        said += ", ".join(f"{kit_type} to {next(iter(arms))}" for kit_type, arms in arms_of.items())
    if rule is None and any(one.is_tape for one in lists):
        said += "; on a tape arms are calculated, so its subjects' kits were not compared with arms"
    return found, f"{said}."


def _read_export(text: str) -> tuple[list[_Use], list[_Subject]]:
    """The lists in the order in which they were put to use, and the subjects. Raises ValueError for another shape."""
    try:
        export = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if _value(export, "format", str) != EXPORT_FORMAT:
        raise ValueError(f"format is not {EXPORT_FORMAT}")
    uses = [
        _Use(
            _value(one, "kind", str),
            _value(one, "commitment", str),
            _value(one, "activated", int),
            _value(one, "closed", int | None),
        )
        for one in _value(export, "lists", list)
    ]
    subjects = [
        _Subject(
            _value(one, "code", str),
            _value(one, "event", int),
            _value(one, "stratum", str),
            _value(one, "randomisation_number", str),
            [(_value(kit, "number", str), _value(kit, "visit", str)) for kit in _value(one, "kits", list)],
            _value({"levels": {}} | one, "levels", dict),
        )
        for one in _value(export, "subjects", list)
    ]
    return sorted(uses, key=lambda use: use.activated), subjects


def _read_rule(text: str) -> _Rule:
    """The rule of a minimisation. Raises ValueError for another shape."""
    try:
        table = json.loads(text)
        procedure = _value(table, "procedure", dict)
        rule = _Rule(
            {str(code): int(weight) for code, weight in _value(table, "arms", list)},
            _value(procedure, "metric", str),
            {str(factor): int(weight) for factor, weight in _value(procedure, "weights", dict).items()},
            Fraction(_value(procedure, "probability", str)),
        )
    except (TypeError, ValueError, RecursionError, ZeroDivisionError):
        raise ValueError("not the arms and the procedure of a tape") from None
    if len(rule.arms) < 2 or min(rule.arms.values()) < 1 or rule.metric not in ("range", "variance"):
        raise ValueError("not the arms and the procedure of a tape")
    return rule


def _minimised(
    subjects: Sequence[_Subject], words: Mapping[str, str], arms: Mapping[str, str], rule: _Rule
) -> dict[str, str]:
    """The arm of every subject who took a word, by number. All subjects before count, also those of other lists.

    Each arm is scored as if it got the subject: for every factor, how unequal the arms would be at the subject's level
    (counts divided by the ratio weights), times the factor's weight. The lowest score gets the probability, the others
    share the rest; several lowest share everything. The word's first half, 32 bits, says which arm it is.
    """
    found: dict[str, str] = {}
    counts: Counter[tuple[str, str, str]] = Counter()  # factor, level, arm
    for subject in subjects:
        at = [(factor, subject.levels.get(factor, "")) for factor in rule.weights]
        arm = arms.get(subject.number)
        if subject.number in words:
            scores = []
            for candidate in rule.arms:
                score = Fraction(0)
                for factor, level in at:
                    would_be = [
                        Fraction(counts[factor, level, code] + (code == candidate), ratio)
                        for code, ratio in rule.arms.items()
                    ]
                    score += rule.weights[factor] * _spread(would_be, rule.metric)
                scores.append(score)
            arm = found[subject.number] = _drawn(list(rule.arms), scores, rule.probability, words[subject.number])
        if arm is not None:
            counts.update((factor, level, arm) for factor, level in at)
    return found


def _spread(values: Sequence[Fraction], metric: str) -> Fraction:
    if metric == "range":
        return max(values) - min(values)
    mean = sum(values, Fraction(0)) / len(values)
    return sum(((value - mean) ** 2 for value in values), Fraction(0)) / (len(values) - 1)


def _drawn(codes: Sequence[str], scores: Sequence[Fraction], probability: Fraction, word: str) -> str:
    best = [score == min(scores) for score in scores]
    cumulative = Fraction(0)
    for code, is_best in zip(codes[:-1], best, strict=False):
        if sum(best) > 1:
            cumulative += Fraction(int(is_best), sum(best))
        else:
            cumulative += probability if is_best else (1 - probability) / (len(codes) - 1)
        if int(word[:8], 16) < cumulative * 2**32 // 1:
            return code
    return codes[-1]


def _value(table: object, key: str, kind: Any) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get(key, ...), kind) or isinstance(table[key], bool):
        raise ValueError(f"{key} is missing or of another type")
    return table[key]


def _lists_of_one_side(uses: Sequence[_Use], lists: Sequence[_List], kit_lists: Sequence[_List]) -> Iterator[str]:
    """Lists that only the export or only the reveals know. Kit lists may be left out: their kits are then missed."""
    known = {(use.kind, use.commitment) for use in uses}
    for kind, revealed in (("subjects", lists), ("kits", kit_lists)):
        for one in revealed:
            if (kind, one.commitment) not in known:
                yield f"{one.name}: the trial export knows no list in use with this commitment"
    for kind, commitment in sorted(known - {("subjects", one.commitment) for one in lists}):
        if kind == "subjects":
            yield f"trial export: the list with the commitment {commitment} is not revealed"


def _disorder(subjects: Sequence[_Subject]) -> Iterator[str]:
    """Subjects that stand twice, or not in the order of the audit trail."""
    codes: set[str] = set()
    event = 0
    for subject in subjects:
        if subject.code in codes:
            yield f"subject {subject.code}: stands in the trial export twice"
        if subject.event <= event:
            yield f"subject {subject.code}: event {subject.event} stands after event {event}"
        codes.add(subject.code)
        event = subject.event


def _turns(uses: Sequence[_Use], subjects: Sequence[_Subject], lists: Sequence[_List]) -> Iterator[str]:
    """Subjects who did not take the entry that was next: of no list, used before, skipped to, of another stratum."""
    in_use = [(use, one) for use in uses for one in lists if use.commitment == one.commitment]
    places = {row[2]: (one, row[0], int(row[1])) for one in lists for row in one.rows}
    last: Counter[tuple[str, str]] = Counter()  # the last entry taken, by list and stratum
    takers: dict[str, str] = {}
    for subject in subjects:
        if subject.number not in places:
            yield f"subject {subject.code}: the number {subject.number} is on no revealed list"
            continue
        if subject.number in takers:
            yield f"subject {subject.code}: took the entry of subject {takers[subject.number]}, {subject.number}"
            continue
        takers[subject.number] = subject.code
        free = (
            (one, stratum, last[one.name, stratum] + 1)
            for use, one in in_use
            for stratum in ["" if one.is_tape else subject.stratum]
            if use.covers(subject.event) and last[one.name, stratum] < one.lengths[stratum]
        )
        expected, took = next(free, None), places[subject.number]
        if expected is None:
            yield f"subject {subject.code}: took {_words(took)}, where no list in use had an entry left"
        elif took != expected:
            yield f"subject {subject.code}: took {_words(took)}, where {_words(expected)} was next"
        one, stratum, position = took
        last[one.name, stratum] = max(last[one.name, stratum], position)


def _words(place: tuple[_List, str, int]) -> str:
    one, stratum, position = place
    return f"entry {position} of {one.name}" + (f", stratum {stratum}" if stratum else "")


def _kits(
    given: Sequence[tuple[_Subject, str, str]],
    types: Mapping[str, str],
    arms: Mapping[str, str],
    arms_of: Mapping[str, Counter[str]],
) -> Iterator[str]:
    """Kits (subject, visit, number) that are on no list or were given before, and types that went to several arms."""
    for kit_type, counts in arms_of.items():
        if len(counts) > 1:
            shares = ", ".join(f"{arm} ({count})" for arm, count in counts.most_common())
            yield f"kits of type {kit_type} went to several arms: {shares}"
    holders: dict[str, str] = {}
    for subject, visit, kit in given:
        arm = arms.get(subject.number)
        if kit not in types:
            yield f"subject {subject.code}, visit {visit}: kit {kit} is on no revealed kit list"
        elif kit in holders:
            yield f"subject {subject.code}, visit {visit}: kit {kit} was given to subject {holders[kit]} before"
        elif arm is not None:
            counts = arms_of[types[kit]]
            if any(count >= counts[arm] for other, count in counts.items() if other != arm):
                yield f"subject {subject.code}, visit {visit}: kit {kit} of type {types[kit]} went to arm {arm}"
        holders.setdefault(kit, subject.code)


# --- the command -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Verify the files named on the command line; returns 0 when everything is as committed to, else 1."""
    parser = argparse.ArgumentParser(description="Verify revealed lists against their published commitments.")
    parser.add_argument("reveal", nargs="+")
    parser.add_argument("--commitment", required=True, action="append")
    parser.add_argument("--kit-reveal", action="append", default=[])
    parser.add_argument("--kit-commitment", action="append", default=[])
    parser.add_argument("--trial-export")
    parser.add_argument("--minimisation")
    given = parser.parse_args()
    if len(given.reveal) != len(given.commitment):
        parser.error("each reveal file needs one --commitment")
    if len(given.kit_reveal) != len(given.kit_commitment):
        parser.error("each --kit-reveal needs one --kit-commitment")
    verified = verify(
        [(_text(path), commitment) for path, commitment in zip(given.reveal, given.commitment, strict=True)],
        [(_text(path), commitment) for path, commitment in zip(given.kit_reveal, given.kit_commitment, strict=True)],
        _text(given.trial_export) if given.trial_export else None,
        _text(given.minimisation) if given.minimisation else None,
    )
    sys.stdout.write("".join(f"{line}\n" for line in verified.differences or [verified.statement]))
    return 1 if verified.differences else 0


def _text(path: str) -> str:
    # Not pathlib: list rooms read no files, and only this block, run by hand, does.
    with open(path, encoding="utf-8-sig", newline="") as stream:  # noqa: PTH123
        return stream.read()


if __name__ == "__main__":
    sys.exit(main())
