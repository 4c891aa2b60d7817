"""A whole trial on a test clock: every person, parcel and box of a story, through the deeds that real people use."""

from __future__ import annotations

import hashlib
from datetime import datetime, time
from zoneinfo import ZoneInfo

from rts.clock import HeldClock
from rts.installation import open_store
from rts.refusal import refuse, say
from rts.rehearsal.day_by_day import Progress, Rehearsal, unheard
from rts.rehearsal.ground import Ground, do_not_wait_for_the_disk
from rts.rehearsal.staging import planned_lists, stage_trial
from rts.rehearsal.story import PLANNED, Chances, Story
from rts.rehearsal.summary import Summary, summarise
from rts.store.checks import run_checks
from rts.store.database import upgrade
from rts.store.tables import Installation
from rts.store.transaction import Store
from rts.trial.reading import read_definition, read_restricted
from rts.trial.shipped import shipped_definition

PASSWORD = "nobody signs in to a rehearsal"  # noqa: S105 - sessions are never opened on a scratch database


def list_seed(seed: int, plan: str) -> str:
    """The seed (hex) of a rehearsal's list: the same story has the same allocation."""
    return hashlib.sha256(f"rts/rehearsal/1 list {plan} {seed}".encode()).hexdigest()


def rehearse(
    ground: Ground,
    trial: str = "sirius",
    *,
    seed: int,
    subjects: int | None = None,
    sites: tuple[str, ...] | None = None,
    chances: Chances = PLANNED,
    progress: Progress = unheard,
) -> Summary:
    """Run the whole shipped trial `trial` on empty `ground` and check what it left behind.

    `subjects` stops recruitment early, `sites` lets some sites alone recruit, `chances` makes the story livelier or
    duller. `progress` hears of every day.

    Raises Refusal `conflict` when the database or the folder of lists is not empty, `invalid` for a wrong number of
    subjects or a site that the trial has not.
    """
    public, restricted = shipped_definition(trial)
    definition = read_definition(public)
    target = definition.caps.trial if subjects is None else subjects
    chosen = sites or tuple(site.code for site in definition.sites)
    if not 1 <= target <= definition.caps.trial:
        raise refuse(
            "invalid",
            "rehearsal.subjects",
            say("Between 1 and %(most)d subjects can be randomised.", most=definition.caps.trial),
            "subjects",
        )
    if unknown := sorted(set(chosen) - {site.code for site in definition.sites}):
        raise refuse(
            "invalid", "site.unknown", say("There is no site %(site)s in this trial.", site=unknown[0]), "sites"
        )
    if (ground.lists / definition.code).exists():
        raise refuse(
            "conflict",
            "rehearsal.lists",
            say("A rehearsal makes its own lists, and %(folder)s holds some already.", folder=str(ground.lists)),
            "lists",
        )
    upgrade(ground.database)
    story = Story(definition, seed, chances)
    first_day = min(definition.site(site).planned_opening for site in chosen)
    zone = ZoneInfo(definition.depots[0].time_zone)
    clock = HeldClock(datetime.combine(first_day, time(0, 1), zone))
    store = open_store(ground.database, ground.keyring, ground.lists, create_keyring=True, clock=clock)
    do_not_wait_for_the_disk(store)
    try:
        with store.transaction() as tx:
            if tx.session.get(Installation, 1) is not None:
                raise refuse(
                    "conflict",
                    "rehearsal.database",
                    say("A rehearsal needs an empty database, and this one holds an installation."),
                    "database",
                )
        progress(0, 2 * target, "setting the stage")
        stage = stage_trial(
            store,
            public,
            restricted,
            environment="test",
            in_force_from=first_day,
            password=PASSWORD,
            site_people=chosen,
            seeds={plan: list_seed(seed, plan) for plan in planned_lists(read_restricted(restricted, definition))},
        )
        rehearsal = Rehearsal(stage, clock, story, target=target, sites=chosen, progress=progress)
        last_day = rehearsal.run()
        progress(2 * target, 2 * target, "checking")
        return summarise(rehearsal, last_day, checked(store))
    finally:
        store.engine.dispose()


def checked(store: Store) -> str:
    """`clean`, or what `rts check` finds wrong."""
    return "; ".join(str(found) for found in run_checks(store)) or "clean"
