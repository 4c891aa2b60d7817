"""A training installation to look at: SIRIUS on day 120, with subjects and stock as they would be."""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rts.access.permissions import Role
from rts.clock import HeldClock
from rts.conduct.accounts import ChangePassword, change_password
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.installing import SetClock, set_clock
from rts.conduct.perform import perform
from rts.conduct.requesting_shipments import RequestShipment, request_shipment
from rts.entropy import Entropy
from rts.installation import open_store
from rts.refusal import Message, refuse, say
from rts.rehearsal.day_by_day import Progress, Rehearsal, unheard
from rts.rehearsal.ground import do_not_wait_for_the_disk
from rts.rehearsal.rehearse import list_seed
from rts.rehearsal.staging import OFFICE, OPERATOR, Stage, planned_lists, stage_trial
from rts.rehearsal.story import Story
from rts.store.database import upgrade
from rts.store.tables import Shipment
from rts.supply.windows import is_in_window
from rts.trial.reading import read_definition, read_restricted
from rts.trial.shipped import shipped_definition

DEMO_DAY = 120
DEMO_SEED = 1
OPENS_AT = time(8, 30)
DATABASE, KEYRING, LISTS, ACCOUNTS = "rts.sqlite", "keyring.json", "allocation_lists", "accounts.txt"

WORTH_TRYING: dict[Role, Message] = {
    Role.INVESTIGATOR: say("Screen somebody, and randomise a subject in screening."),
    Role.PHARMACIST: say("Receive the shipment on its way, and dispense to a subject whose visit is due."),
    Role.PHYSICIAN: say("Break the code of one subject, as in an emergency."),
    Role.DEPOT_OPERATOR: say("Pick a requested shipment and hand it to the carrier."),
    Role.SUPPLY_MANAGER: say("Look at stock and recruitment, and request a shipment."),
    Role.QUALITY: say("Release a lot whose list is active, and decide on kits in quarantine."),
    Role.TRIAL_MANAGER: say("Activate the approved list, and read the audit trail."),
    Role.SPONSOR_CONTACT: say("Read how the trial goes."),
    Role.STATISTICIAN: say("Approve the list that waits, unless you generated it."),
    Role.AUDITOR: say("Filter the audit trail."),
    Role.MONITOR: say("Open a site's kit account, and verify the kits that came back."),
    Role.ADMINISTRATOR: say("Add an account and grant a role."),
}


@dataclass(frozen=True)
class DemoAccount:
    """An account of the demonstration. Its password opens invented data only and is printed."""

    role: Role
    username: str
    password: str

    @property
    def worth_trying(self) -> Message:
        """What to try with it."""
        return WORTH_TRYING[self.role]


@dataclass(frozen=True)
class DemoFacts:
    """Where the demonstration stands (`folder` is the installation's home) and who may sign in."""

    folder: Path
    accounts: tuple[DemoAccount, ...]


def build_demo(folder: Path, progress: Progress = unheard) -> DemoFacts:
    """The demonstration in `folder`, made there first if there is none; a half-made one is made anew.

    Raises Refusal `conflict` when the folder holds another installation.
    """
    if (folder / ACCOUNTS).exists():
        return DemoFacts(folder, read_accounts(folder / ACCOUNTS))
    if (folder / DATABASE).exists() or (folder / KEYRING).exists():
        raise refuse(
            "conflict",
            "demo.folder",
            say("%(folder)s holds an installation that is not the demonstration.", folder=str(folder)),
            "folder",
        )
    # Made aside and moved when whole, so that an interrupted building is never taken for a demonstration.
    site_of_building = folder / "building"
    shutil.rmtree(site_of_building, ignore_errors=True)
    site_of_building.mkdir(parents=True)
    accounts = _build(site_of_building, progress)
    for name in (KEYRING, LISTS, DATABASE):
        (site_of_building / name).rename(folder / name)
    shutil.rmtree(site_of_building)
    write_accounts(folder / ACCOUNTS, accounts)
    return DemoFacts(folder, accounts)


def read_accounts(path: Path) -> tuple[DemoAccount, ...]:
    """The accounts kept in a file by `write_accounts`."""
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return tuple(DemoAccount(Role(role), username, password) for role, username, password in rows)


def write_accounts(path: Path, accounts: tuple[DemoAccount, ...]) -> None:
    """Keep the accounts for the next start, readable by the owner alone."""
    text = "".join(f"{account.role.value}\t{account.username}\t{account.password}\n" for account in accounts)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _build(folder: Path, progress: Progress) -> tuple[DemoAccount, ...]:
    public, restricted_text = shipped_definition("sirius")
    definition = read_definition(public)
    restricted = read_restricted(restricted_text, definition)
    zone = ZoneInfo(definition.depots[0].time_zone)
    first_day = min(site.planned_opening for site in definition.sites)
    today = first_day + timedelta(days=DEMO_DAY)
    clock = HeldClock(datetime.combine(first_day, time(0, 1), zone))
    database = f"sqlite:///{folder / DATABASE}"
    upgrade(database)
    store = open_store(database, folder / KEYRING, folder / LISTS, create_keyring=True, clock=clock)
    do_not_wait_for_the_disk(store)
    try:
        progress(0, DEMO_DAY, "setting the stage")
        later = {plan.list_id for plan in restricted.kit_lists if plan.released_from > today}
        stage = stage_trial(
            store,
            public,
            restricted_text,
            environment="training",
            in_force_from=first_day,
            password=new_password(store.entropy),
            seeds={plan: list_seed(DEMO_SEED, plan) for plan in planned_lists(restricted)},
            plans=tuple(plan for plan in planned_lists(restricted) if plan not in later),
        )
        rehearsal = Rehearsal(
            stage,
            clock,
            Story(definition, DEMO_SEED),
            target=definition.caps.trial,
            sites=tuple(site.code for site in definition.sites),
            progress=unheard,
        )
        for day in range(DEMO_DAY):
            rehearsal.run_day(first_day + timedelta(days=day))
            progress(day + 1, DEMO_DAY, f"day {day + 1}: {rehearsal.people.randomised} randomised")
        # The list of the next lot waits for the second statistician.
        statistician = stage.people["statistician.one"]
        for plan in sorted(later):
            stage.specify(plan)
            rehearsal.scene.do(generate_list, statistician, GenerateList(stage.trial, plan), sign=True)
        rehearsal.begin_day(today)
        site = busiest_site(rehearsal)
        _send_parcel(rehearsal, site)
        accounts = _open_accounts(stage, site)
        perform(store, set_clock, OPERATOR, SetClock(datetime.combine(today, OPENS_AT, zone)))
    finally:
        store.engine.dispose()
    return accounts


def busiest_site(rehearsal: Rehearsal) -> str:
    """The site where most kinds of work wait this morning: a parcel to come, a visit in its window, a subject in
    screening.
    """
    today = rehearsal.today
    parcels = rehearsal.parcels.sites_of_parcels("requested", "in_transit")
    visits, screenings = [], []
    for course in rehearsal.people.courses:
        if course.state == "screening":
            screenings.append(course.person.site)
        elif course.state == "treatment" and course.randomised_on is not None:
            visit = course.to_come[0]
            if any(visit.kits.values()) and is_in_window(today, course.randomised_on, visit):
                visits.append(course.person.site)
    work = (parcels, visits, screenings)

    def waiting(site: str) -> tuple[int, int]:
        found = [sites.count(site) for sites in work]
        return sum(map(bool, found)), sum(found)

    return max(sorted(site.code for site in rehearsal.scene.definition.sites), key=waiting)


def _send_parcel(rehearsal: Rehearsal, site: str) -> None:
    """See that a parcel is on its way to `site`: the one requested leaves this morning, or one asked for by hand."""
    if site in rehearsal.parcels.sites_of_parcels("in_transit"):
        return
    stage = rehearsal.scene.stage
    if site not in rehearsal.parcels.sites_of_parcels("requested"):
        command = RequestShipment(stage.trial, site, 2, "the site expects more subjects")
        rehearsal.scene.do(request_shipment, stage.people["supply"], command)
    rehearsal.parcels.pick_and_ship(Shipment.site.has(code=site))


def _open_accounts(stage: Stage, site: str) -> tuple[DemoAccount, ...]:
    """Give one account of each duty a password of its own; nobody knows those of the others."""
    people = [
        *((role, f"{role.value}.{site.lower()}") for role in (Role.INVESTIGATOR, Role.PHARMACIST, Role.PHYSICIAN)),
        *((Role.DEPOT_OPERATOR, f"depot.{depot.code.lower()}") for depot in stage.definition.depots),
        *((role, username) for username, role, _ in OFFICE),
        (Role.ADMINISTRATOR, "administrator"),
    ]
    accounts = []
    for role, username in people:
        password = new_password(stage.store.entropy)
        perform(stage.store, change_password, stage.people[username], ChangePassword(password))
        accounts.append(DemoAccount(role, username, password))
    return tuple(accounts)


def new_password(entropy: Entropy) -> str:
    """A password of 80 random bits, in four groups that are easy to type."""
    letters = base64.b32encode(entropy.bytes(10)).decode().lower()
    return "-".join(letters[place : place + 4] for place in range(0, 16, 4))
