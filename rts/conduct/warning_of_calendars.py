"""Calendars that run out: without dated holidays ahead, arrival days are guessed from weekdays alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission, Role
from rts.clock import local_date
from rts.conduct.perform import Done
from rts.conduct.recipients import people_in
from rts.refusal import say
from rts.store import definitions, outbox
from rts.store.tables import Site
from rts.store.transaction import Transaction
from rts.supply.calendars import needs_new_dates
from rts.trial.definition import Depot as DepotFacts
from rts.trial.definition import Site as SiteFacts

# Days before its last dated day at which a calendar is reported: to plan, to hurry, and once it has run out.
NOTICE_DAYS = (60, 14, 0)


@dataclass(frozen=True)
class WarnOfCalendars:
    """Warn of the calendars of a trial that have come close to their end after `since`; None: of all that are."""

    trial: str
    since: datetime | None = None


def warn_of_calendars(tx: Transaction, actor: Actor, command: WarnOfCalendars) -> Done:
    """Write to trial and supply managers which depots and sites need the next year's dates, at each of
    `NOTICE_DAYS`, judged in the place's own date. Closed sites need none.
    """
    trial = tx.trial(command.trial)
    require(tx, actor, Permission.JOBS_RUN, trial)
    definition = definitions.latest(tx, trial)
    closed = set(tx.session.scalars(select(Site.code).where(Site.trial_id == trial.id, Site.state == "closed")))
    places: list[DepotFacts | SiteFacts] = [*definition.depots]
    places += [site for site in definition.sites if site.code not in closed]
    ending = [place for place in places if _has_come_close(place, tx.now, command.since)]
    if ending:
        known = {place.code: place.calendar.known_until.isoformat() for place in ending}
        tx.audit("calendars.running_out", "trial", trial.code, {"known_until": known}, trial=trial)
        outbox.write(
            tx,
            "calendars_running_out",
            trial,
            people_in(tx, trial, Role.TRIAL_MANAGER, Role.SUPPLY_MANAGER),
            say("%(trial)s: working-day calendars run out", trial=trial.code),
            say(
                "The holidays of these depots and sites are known until the day named; after it, delivery days are "
                "judged by weekday alone: %(places)s. Load a definition with the next dates.",
                places=", ".join(f"{code} {day}" for code, day in known.items()),
            ),
        )
    return Done("warn_of_calendars", {"trial": trial.code, "places": str(len(ending))})


def _has_come_close(place: DepotFacts | SiteFacts, now: datetime, since: datetime | None) -> bool:
    """Whether one of the notice days was passed after `since`."""
    return any(
        needs_new_dates(place.calendar, local_date(now, place.time_zone), days)
        and not (since and needs_new_dates(place.calendar, local_date(since, place.time_zone), days))
        for days in NOTICE_DAYS
    )
