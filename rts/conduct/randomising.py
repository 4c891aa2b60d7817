"""Randomisation: in one transaction a subject takes the next entry of the stratum and the first visit's kits."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import joinedload

from rts.access.actor import Actor
from rts.access.permissions import Permission
from rts.access.sign_in import Confirmation
from rts.access.signatures import sign
from rts.conduct.kits_at_site import opened_shelf, set_aside, stock_gate_holds
from rts.conduct.lists import lists_serving
from rts.conduct.minimising import allocate_by_tape
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of, read_again, subject_at
from rts.conduct.recipients import people_with
from rts.randomisation import tape
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import definitions, locks, outbox
from rts.store.sealed_rows import open_entry
from rts.store.tables import ListEntry, Subject, Trial
from rts.store.transaction import Transaction
from rts.trial.eligibility import failed_criteria
from rts.trial.procedures import Minimisation
from rts.vault.vault import Opener

MEANING = say("I confirm eligibility and randomise this subject").text


@dataclass(frozen=True)
class RandomiseSubject:
    """Randomise a screened subject. `answers` are the confirmed criteria by code, `values` the entered
    stratification values by factor code; `age_confirmed` is the investigator's word in the edge years of the age rule.
    `language` is the one in which the checklist was shown to the signer: with the definition it tells the very words.
    """

    trial: str
    subject: str
    answers: dict[str, bool]
    values: dict[str, float]
    age_confirmed: bool = False
    language: str = "en"


_RANDOMISED = select(
    func.count(),
    func.count().filter(Subject.site_id == bindparam("site")),
    func.count().filter(Subject.stratum == bindparam("stratum")),
).where(Subject.trial_id == bindparam("trial"), Subject.randomised_at.is_not(None))


def failed_rules(
    tx: Transaction, place: Place, trial: Trial, subject: Subject, command: RandomiseSubject
) -> list[FailedRule]:
    """Every rule that speaks against randomising, none of which depends on an arm. The review page asks it too."""
    failed = []
    if place.site.state != "open":
        failed.append(
            FailedRule("site.not_open", say("Site %(site)s is closed to new subjects.", site=place.site.code))
        )
    failed += failed_criteria(
        place.definition,
        command.answers,
        subject.year_of_birth,
        subject.consent_on,
        command.values,
        command.age_confirmed,
        place.today,
    )
    caps = place.definition.caps
    stratum = None if failed else place.definition.stratum_of(command.values)
    of_trial, of_site, of_stratum = tx.session.execute(
        _RANDOMISED, {"trial": trial.id, "site": place.site.id, "stratum": stratum}
    ).one()
    if of_trial >= caps.trial:
        failed.append(FailedRule("cap.trial", say("The trial has randomised its %(cap)d subjects.", cap=caps.trial)))
    site_cap = caps.by_site.get(place.site.code, caps.site)
    if site_cap is not None and of_site >= site_cap:
        failed.append(
            FailedRule(
                "cap.site",
                say("Site %(site)s has randomised its %(cap)d subjects.", site=place.site.code, cap=site_cap),
            )
        )
    if stratum is not None and not failed:
        stratum_cap = caps.by_stratum.get(stratum, caps.stratum)
        if stratum_cap is not None and of_stratum >= stratum_cap:
            failed.append(
                FailedRule("cap.stratum", say("This stratum has randomised its %(cap)d subjects.", cap=stratum_cap))
            )
    return failed


_FIRST_UNUSED = (
    select(ListEntry)
    .options(joinedload(ListEntry.list))
    .where(
        ListEntry.list_id == bindparam("list"),
        ListEntry.stratum == bindparam("stratum"),
        ListEntry.subject_id.is_(None),
    )
    .order_by(ListEntry.position)
    .limit(1)
)
# That it is unused is the last guard: were the lock ever missing, the second of two takers finds no row to take. By its
# place and not by its id: PostgreSQL, on plans made when the list was short, would look through all unused entries.
_TAKE = (
    update(ListEntry)
    .where(
        ListEntry.list_id == bindparam("list"),
        ListEntry.stratum == bindparam("of_stratum"),
        ListEntry.position == bindparam("at_position"),
        ListEntry.subject_id.is_(None),
    )
    .values(subject_id=bindparam("subject"), used_at=bindparam("now"))
)


def _next_entry(tx: Transaction, place: Place, stratum: str) -> ListEntry:
    # The list first, then its entry: ordered over several lists, the entries would all be sorted to find one.
    for list_id in lists_serving(tx, place.site.trial, place.version):
        entry = tx.session.scalar(_FIRST_UNUSED, {"list": list_id, "stratum": stratum})
        if entry is not None:
            return entry
    raise refuse(
        "rule",
        "list.no_entry",
        say("No allocation is available for this stratum. Nothing was recorded; call the trial manager."),
    )


def randomise_subject(
    tx: Transaction, actor: Actor, command: RandomiseSubject, opener: Opener, confirmation: Confirmation | None
) -> Done:
    """Randomise. Raises Refusal naming every failed rule; then nothing is taken and nothing recorded."""
    trial, site, subject = subject_at(tx, actor, Permission.RANDOMISE, command.trial, command.subject)
    locks.take(tx.session, locks.randomisation(trial.code), locks.site_stock(trial.code, site.code))
    read_again(tx, subject)
    # The moment is read behind the lock: else a later entry could bear an earlier time, and a date gone by.
    place = place_of(tx, site)
    if subject.randomised_at is not None:
        raise refuse(
            "conflict",
            "subject.already_randomised",
            say(
                "Subject %(subject)s was randomised already, as %(number)s.",
                subject=subject.code,
                number=subject.randomisation_number,
            ),
            "subject",
        )
    if subject.state != "screened":
        raise refuse(
            "conflict",
            "subject.state",
            say("Subject %(subject)s is not in screening.", subject=subject.code),
            "subject",
        )
    refuse_all("rule", failed_rules(tx, place, trial, subject, command))

    visit = place.definition.visits[0]
    restricted = definitions.open_restricted(tx, trial, place.version, opener)
    shelf = opened_shelf(tx, site, opener)
    if not stock_gate_holds(place, restricted, shelf, visit, subject.dose_level):
        raise refuse(
            "rule",
            "stock.gate",
            say(
                "Site %(site)s does not hold enough kits to randomise a subject now. Call the supply manager: a "
                "shipment can be sent at once.",
                site=site.code,
            ),
        )
    managers = people_with(tx, trial, Permission.SITE_MANAGE)
    stratum = place.definition.stratum_of(command.values)
    is_minimised = isinstance(restricted.procedure, Minimisation)
    entry = _next_entry(tx, place, tape.STRATUM if is_minimised else stratum)
    opened = open_entry(tx, entry, opener)
    place_in_list = {"list": entry.list_id, "of_stratum": entry.stratum, "at_position": entry.position}
    taken = tx.connection.execute(_TAKE, {**place_in_list, "subject": subject.id, "now": tx.now})
    if taken.rowcount != 1:
        raise refuse("conflict", "list.taken", say("Another subject was randomised at the same moment. Repeat."))
    arm = opened.arm
    if is_minimised:
        arm = allocate_by_tape(tx, place, restricted, subject, command.values, entry, opener)
    kits = set_aside(tx, place, restricted, shelf, subject, arm, visit, actor.name)
    record = {
        "trial": trial.code,
        "site": site.code,
        "subject": subject.code,
        "randomisation_number": opened.number,
        "consent_on": subject.consent_on.isoformat(),
        "year_of_birth": subject.year_of_birth,
        "sex": subject.sex,
        "answers": command.answers,
        "values": {code: float(value) for code, value in command.values.items()},
        "stratum": stratum,
        "definition": place.version.digest,
    }
    sign(
        tx,
        actor,
        confirmation,
        MEANING,
        "randomisation",
        subject.code,
        record,
        trial=trial,
        time_zone=place.facts.time_zone,
    )
    subject.state = "randomised"
    subject.answers = json.dumps(command.answers, sort_keys=True)
    subject.factor_values = json.dumps(command.values, sort_keys=True)
    subject.stratum = stratum
    subject.version_id = place.version.id
    subject.randomised_at, subject.randomised_on, subject.randomised_by = tx.now, place.today, actor.name
    subject.randomisation_number = opened.number
    tx.audit(
        "subject.randomised",
        "subject",
        subject.code,
        {**record, "language": command.language, "visit": visit.code, "kits": list(kits.numbers)},
        trial=trial,
        site=site,
        before={"state": "screened"},
        after={"state": "randomised"},
        definition=place.version.version,
        mentions=tuple(("kit", number) for number in kits.numbers),
    )
    tx.audit(
        "allocation.taken",
        "subject",
        subject.code,
        {
            "list": entry.list.list_id,
            "stratum": stratum,
            "position": entry.position,
            "arm": arm,
            "kits": list(kits.numbers),
            "possible_leak": kits.possible_leak,
        },
        trial=trial,
        site=site,
        definition=place.version.version,
        sealed=True,
    )
    outbox.write(
        tx,
        "randomisation",
        trial,
        managers,
        say("%(trial)s: subject %(subject)s randomised", trial=trial.code, subject=subject.code),
        say(
            "Subject %(subject)s at site %(site)s was randomised as %(number)s. Sign in to see more.",
            subject=subject.code,
            site=site.code,
            number=opened.number,
        ),
    )
    return Done("randomise_subject", {"trial": trial.code, "site": site.code, "subject": subject.code})
