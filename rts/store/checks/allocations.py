"""Allocations: each randomised subject has one entry, and the number of that entry."""

from __future__ import annotations

from collections.abc import Iterator

from rts.refusal import Message, say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View


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
        if entry.stratum != subject.stratum:
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
