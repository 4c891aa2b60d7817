"""Screening: a subject gets a code, and what is known of them is consent, year of birth and sex. No name, initials
or birthday, ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import Place, open_site, place_of, subject_at
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import locks
from rts.store.tables import Site, Subject
from rts.store.transaction import Transaction

SEXES = ("female", "male")


@dataclass(frozen=True)
class ScreenSubject:
    """Register a person for screening. `previous` is the code of an earlier screening of the same person;
    `is_new_person` confirms that a
    look-alike (same site, consent date, year and sex) is somebody else."""

    trial: str
    site: str
    consent_on: date
    year_of_birth: int
    sex: str
    previous: str = ""
    is_new_person: bool = False


def check_screening(tx: Transaction, site: Site, command: ScreenSubject) -> Place:
    """The place of a site where this person may be screened; the review page asks it too. Raises Refusal naming every
    rule that failed.
    """
    place = open_site(tx, site)
    today = place.today
    failed = []
    if command.consent_on > today:
        failed.append(
            FailedRule(
                "consent.future", say("The date of consent is not after today (%(today)s).", today=today), "consent_on"
            )
        )
    if (command.consent_on.year + 2, command.consent_on.month, command.consent_on.day) < (
        today.year,
        today.month,
        today.day,
    ):
        failed.append(FailedRule("consent.old", say("The date of consent is more than two years ago."), "consent_on"))
    if not today.year - 120 <= command.year_of_birth <= today.year:
        failed.append(
            FailedRule(
                "year_of_birth.range", say("The year of birth has four digits and is in the past."), "year_of_birth"
            )
        )
    if command.sex not in SEXES:
        failed.append(FailedRule("sex.unknown", say("Choose female or male."), "sex"))
    previous = command.previous.strip().upper()
    if previous:
        earlier = tx.session.scalar(select(Subject).where(Subject.trial_id == site.trial_id, Subject.code == previous))
        followed = select(Subject.id).where(Subject.trial_id == site.trial_id, Subject.previous_code == previous)
        if earlier is None or earlier.state != "screen_failed" or tx.session.scalar(followed.limit(1)) is not None:
            failed.append(
                FailedRule(
                    "previous.unknown",
                    say("A person is screened again under the code of their last failed screening."),
                    "previous",
                )
            )
    refuse_all("invalid", failed)
    twin = tx.session.scalar(
        select(Subject.code)
        .where(
            Subject.site_id == site.id,
            Subject.consent_on == command.consent_on,
            Subject.year_of_birth == command.year_of_birth,
            Subject.sex == command.sex,
            Subject.code != previous,
        )
        .order_by(Subject.sequence)
        .limit(1)
    )
    if twin is not None and not command.is_new_person:
        raise refuse(
            "rule",
            "subject.possible_duplicate",
            say(
                "Subject %(subject)s has the same consent date, year of birth and sex. Confirm that this is "
                "another person.",
                subject=twin,
            ),
            "is_new_person",
        )
    return place


def screen_subject(tx: Transaction, actor: Actor, command: ScreenSubject) -> Done:
    """Give the next subject code of the site. Raises Refusal naming every rule that failed."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SCREEN, trial, site)
    locks.take(tx.session, locks.randomisation(trial.code))
    tx.session.refresh(site)
    place = check_screening(tx, site, command)
    previous = command.previous.strip().upper()
    sequence = (tx.session.scalar(select(func.max(Subject.sequence)).where(Subject.site_id == site.id)) or 0) + 1
    subject = Subject(
        trial_id=trial.id,
        site_id=site.id,
        sequence=sequence,
        code=f"{site.code}-{sequence:03d}",
        state="screened",
        consent_on=command.consent_on,
        year_of_birth=command.year_of_birth,
        sex=command.sex,
        dose_level=place.definition.dose_levels[0],
        version_id=place.version.id,
        screened_at=tx.now,
        screened_by=actor.name,
        previous_code=previous or None,
    )
    tx.session.add(subject)
    tx.audit(
        "subject.screened",
        "subject",
        subject.code,
        {
            "consent_on": command.consent_on.isoformat(),
            "year_of_birth": command.year_of_birth,
            "sex": command.sex,
            "previous": previous,
        },
        trial=trial,
        site=site,
        definition=place.version.version,
    )
    return Done("screen_subject", {"trial": trial.code, "site": site.code, "subject": subject.code})


@dataclass(frozen=True)
class FailScreening:
    """Record that a screened subject will not be randomised."""

    trial: str
    subject: str
    reason: str


def fail_screening(tx: Transaction, actor: Actor, command: FailScreening) -> Done:
    """End a screening without randomisation. Raises Refusal when the subject is not in screening or no reason is
    given.
    """
    trial, site, subject = subject_at(tx, actor, Permission.SCREEN, command.trial, command.subject)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    locks.take(tx.session, locks.randomisation(trial.code))
    tx.session.refresh(subject)
    if subject.state != "screened":
        raise refuse(
            "conflict",
            "subject.state",
            say("Subject %(subject)s is not in screening.", subject=subject.code),
            "subject",
        )
    subject.state = "screen_failed"
    subject.ended_at = tx.now
    subject.end_reason = command.reason.strip()
    tx.audit(
        "subject.screen_failed",
        "subject",
        subject.code,
        trial=trial,
        site=site,
        reason=subject.end_reason,
        before={"state": "screened"},
        after={"state": "screen_failed"},
        definition=place_of(tx, site).version.version,
    )
    return Done("fail_screening", {"trial": trial.code, "site": site.code, "subject": subject.code})
