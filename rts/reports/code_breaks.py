"""What a physician sees before a code break: the right subject, and earlier openings. Nothing here knows an arm."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select

from rts.store.tables import CodeBreak, Person, Signature, Site, Subject, Trial
from rts.store.transaction import Transaction

# A number typed without its letters or first digits still finds its subject when this much of it is there.
SHORTEST_ENDING = 4


@dataclass(frozen=True)
class SubjectCard:
    """What tells one subject from another: to be compared with the patient before a code is broken."""

    code: str
    year_of_birth: int
    sex: str
    state: str
    randomised_at: datetime | None
    randomisation_number: str | None
    unblinded_at: datetime | None


@dataclass(frozen=True)
class CodeBreakRow:
    """One opening of a subject's code: when, by whom, why. `kind` is `break` for the first, `look` for later ones.
    `is_confirmed` is False when somebody else had given the signer a password that nobody had confirmed.
    """

    at: datetime
    printed_name: str
    kind: str
    reason: str
    adverse_event: bool
    subject: str
    is_confirmed: bool


def card_of(subject: Subject) -> SubjectCard:
    """The card of `subject`."""
    return SubjectCard(
        subject.code,
        subject.year_of_birth,
        subject.sex,
        subject.state,
        subject.randomised_at,
        subject.randomisation_number,
        subject.unblinded_at,
    )


def bare(typed: str) -> str:
    """`typed` with letters and digits only, in capitals: how people write numbers in a hurry, also full-width."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", typed))).upper()


def find_subjects(tx: Transaction, site: Site, typed: str) -> list[SubjectCard]:
    """The subjects of `site` whose code or randomisation number was meant by `typed`, by subject code.

    Blanks, dashes and case do not count. What is not found whole is tried as the number of the subject at the site
    (3 or 003), and as the ending of a code or number.
    """
    wanted = bare(typed)
    if not wanted:
        return []
    subjects = tx.session.scalars(select(Subject).where(Subject.site_id == site.id).order_by(Subject.sequence)).all()
    names = {subject: (bare(subject.code), bare(subject.randomisation_number or "")) for subject in subjects}
    found = [subject for subject in subjects if wanted in names[subject]]
    if not found and wanted.isdecimal() and len(wanted) < SHORTEST_ENDING:
        found = [subject for subject in subjects if subject.sequence == int(wanted)]
    if not found and len(wanted) >= SHORTEST_ENDING:
        found = [subject for subject in subjects if any(name.endswith(wanted) for name in names[subject])]
    return [card_of(subject) for subject in found]


def code_breaks(tx: Transaction, subject: Subject) -> list[CodeBreakRow]:
    """Every opening of the code of `subject`, the latest first."""
    return _rows(tx, CodeBreak.subject_id == subject.id)


def code_breaks_of_trial(tx: Transaction, trial: Trial) -> list[CodeBreakRow]:
    """Every opening of a code in `trial`, the latest first."""
    return _rows(tx, Subject.trial_id == trial.id)


def _rows(tx: Transaction, condition: ColumnElement[bool]) -> list[CodeBreakRow]:
    rows = tx.session.execute(
        select(CodeBreak, Person.printed_name, Subject.code, Signature.password_given_by.is_(None))
        .join(Person, Person.id == CodeBreak.person_id)
        .join(Signature, Signature.id == CodeBreak.signature_id)
        .join(Subject, Subject.id == CodeBreak.subject_id)
        .where(condition)
        .order_by(CodeBreak.id.desc())
    )
    return [
        CodeBreakRow(row.at, name, row.kind, row.reason, row.adverse_event, code, is_confirmed)
        for row, name, code, is_confirmed in rows
    ]
