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
from rts.store.tables import Site, Trial
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
    ending = [place for place in _places(tx, trial) if _has_come_close(place, tx.now, command.since)]
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


def _places(tx: Transaction, trial: Trial) -> list[DepotFacts | SiteFacts]:
    """Every depot and every site that is not closed, as the definitions in force at the sites say; of a depot that
    these tell differently, what ends first, since deliveries to some site are still planned by it.
    """
    statement = select(Site).where(Site.trial_id == trial.id, Site.state != "closed").order_by(Site.code)
    sites = tx.session.scalars(statement).all()
    at_sites = definitions.at_sites(tx, trial, sites)
    depots = definitions.of_depots(tx, trial)
    for code, definition in at_sites.items():
        depot = definition.depot(definition.site(code).depot)
        if depot.calendar.known_until < depots[depot.code].calendar.known_until:
            depots[depot.code] = depot
    return [*depots.values(), *(definition.site(code) for code, definition in at_sites.items())]


def _has_come_close(place: DepotFacts | SiteFacts, now: datetime, since: datetime | None) -> bool:
    """Whether one of the notice days was passed after `since`."""
    return any(
        needs_new_dates(place.calendar, local_date(now, place.time_zone), days)
        and not (since and needs_new_dates(place.calendar, local_date(since, place.time_zone), days))
        for days in NOTICE_DAYS
    )
