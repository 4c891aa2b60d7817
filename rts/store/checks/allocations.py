"""Allocations: each randomised subject has one entry, and the number of that entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rts.randomisation import tape
from rts.randomisation.minimisation import counts_at, minimise
from rts.refusal import Message, Refusal, say
from rts.store import definitions
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.tables import ListEntry, ListFile, Subject
from rts.trial.procedures import Minimisation
from rts.vault.allocations import numbers_beside, read_allocation_file
from rts.vault.list_file import list_path


def every_subject_has_its_entry(view: View) -> Iterator[Finding]:
    """Who was randomised holds exactly one entry of an active list, of the own stratum, with the own number."""
    environment = view.tx.installation.environment
    for subject in view.subjects.values():
        entry = view.entry_of.get(subject.id)
        if subject.randomised_at is None:
            if entry is not None or subject.randomisation_number is not None:
                yield _found(
                    "not_randomised",
                    say("Subject %(subject)s was not randomised, but holds an entry.", subject=subject.code),
                )
            continue
        if entry is None:
            yield _found(
                "no_entry",
                say("Subject %(subject)s was randomised, but holds no entry of a list.", subject=subject.code),
            )
            continue
        opened = view.opened_entry(entry)
        if opened is None:
            yield _found(
                "record",
                say("The sealed record of the entry of subject %(subject)s does not open.", subject=subject.code),
            )
        elif opened.number != subject.randomisation_number:
            yield _found(
                "number", say("Subject %(subject)s does not have the number of the entry used.", subject=subject.code)
            )
        if entry.stratum not in {tape.STRATUM, subject.stratum}:
            yield _found(
                "stratum", say("The entry of subject %(subject)s is of another stratum.", subject=subject.code)
            )
        if entry.used_at != subject.randomised_at:
            yield _found(
                "moment",
                say(
                    "The entry of subject %(subject)s was not used when the subject was randomised.",
                    subject=subject.code,
                ),
            )
        if entry.list.kind != "subjects" or entry.list.state == "withdrawn" or entry.list.purpose != environment:
            yield _found(
                "list",
                say("The entry of subject %(subject)s is of a list that is not for this use.", subject=subject.code),
            )
    strangers = [
        entry for entry in view.entries if entry.subject_id is not None and entry.subject_id not in view.subjects
    ]
    for entry in strangers:
        yield _found(
            "stranger", say("List %(list)s: an entry was used by nobody of this trial.", list=entry.list.list_id)
        )


def every_minimised_allocation_replays(view: View) -> Iterator[Finding]:
    """What minimisation made of each word of a tape follows from the word, the definition and all subjects before, and
    stands beside the list as in the database.
    """
    used = [entry for entry in view.entries if entry.subject_id in view.subjects and entry.used_at is not None]
    earlier: list[tuple[str, Subject]] = []
    for entry in sorted(used, key=lambda entry: (entry.used_at, entry.list_id, entry.position)):
        subject = view.subjects[entry.subject_id or 0]
        if entry.stratum == tape.STRATUM:
            yield from _judge_minimised(view, entry, subject, earlier)
        arm = view.arm_of(entry)
        if arm is not None:
            earlier.append((arm, subject))
    numbers = {subject.randomisation_number for subject in view.subjects.values()}
    for found in view.lists:
        for number in numbers_beside(_path(view, found)):
            if number not in numbers:
                text = say(
                    "Beside list %(list)s stands what was allocated with number %(number)s, which nobody has: a "
                    "randomisation was broken off, or the database is older than that.",
                    list=found.list_id,
                    number=number,
                )
                yield _found("minimised_stray", text)


def _judge_minimised(
    view: View, entry: ListEntry, subject: Subject, earlier: Sequence[tuple[str, Subject]]
) -> Iterator[Finding]:
    record = view.minimised(entry)
    if record is None:
        text = say("What was allocated to subject %(subject)s is missing or does not open.", subject=subject.code)
        yield _found("minimised_missing", text)
        return
    if _minimised_anew(view, entry, subject, earlier) != record:
        text = say("The allocation of subject %(subject)s does not follow from the tape.", subject=subject.code)
        yield _found("minimised_otherwise", text)
    if _beside_the_list(view, entry, subject) != record:
        text = say(
            "The allocation of subject %(subject)s does not stand beside the list as in the database.",
            subject=subject.code,
        )
        yield _found("minimised_file", text)


def _minimised_anew(
    view: View, entry: ListEntry, subject: Subject, earlier: Sequence[tuple[str, Subject]]
) -> dict[str, object] | None:
    """The record of the allocation as it must be; None when what it follows from does not open."""
    opened, restricted = view.opened_entry(entry), view.restricted.get(subject.version_id)
    if opened is None or restricted is None or not isinstance(restricted.procedure, Minimisation):
        return None
    public = definitions.parsed(view.versions[subject.version_id].public_text)
    arms = restricted.arms_in_ratio(public)
    factors = [factor for factor, _ in restricted.procedure.weights]

    def levels_of(one: Subject) -> dict[str, str]:
        return public.levels_of(factors, json.loads(one.factor_values or "{}"), view.site_codes[one.site_id])

    levels = levels_of(subject)
    counts = counts_at(levels, [code for code, _ in arms], [(arm, levels_of(one)) for arm, one in earlier])
    allocated = minimise(restricted.procedure, arms, levels, counts, opened.arm)
    return {**allocated.record, "subject": subject.code, "number": opened.number}


def _beside_the_list(view: View, entry: ListEntry, subject: Subject) -> dict[str, object] | None:
    try:
        box = read_allocation_file(_path(view, entry.list), subject.randomisation_number or "")
    except Refusal:
        return None
    return None if box is None else view.minimised(entry, box)


def _path(view: View, found: ListFile) -> Path:
    return list_path(view.tx.store.lists, view.trial.code, found.list_id)


def every_subject_was_randomised_under_the_version_in_force(view: View) -> Iterator[Finding]:
    """The version recorded with each randomisation is the one in force at the site on that date, as it then stood."""
    for subject in view.subjects.values():
        at, on = subject.randomised_at, subject.randomised_on
        if at is None or on is None:
            continue
        standing = [
            row
            for row in view.in_force[subject.site_id]
            if row.from_date <= on and row.recorded_at <= at and (row.ended_at is None or row.ended_at > at)
        ]
        # One put in force within the same tick of the clock may have come just after.
        before = [row for row in standing if row.recorded_at < at]
        if subject.version_id not in {rows[-1].version_id for rows in (standing, before) if rows}:
            yield _found(
                "version",
                say(
                    "Subject %(subject)s was randomised under another version than the one in force at the site.",
                    subject=subject.code,
                ),
            )


def _found(rule: str, message: Message) -> Finding:
    return Finding(f"allocation.{rule}", message)
