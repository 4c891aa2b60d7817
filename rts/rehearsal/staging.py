"""Setting the stage of a rehearsal, a demonstration or a test: a fresh installation with a trial, its people and its
active lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from rts.access.actor import Actor, actor_of, person_named, service
from rts.access.permissions import SITE_ROLES, Role
from rts.access.sign_in import Confirmation
from rts.conduct.accounts import AddPerson, GrantRole, add_person, grant_role
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.installing import set_up
from rts.conduct.perform import Done, perform
from rts.conduct.site_gates import OpenSite, PassGate, open_site_for_subjects, pass_gate
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.store.transaction import Store
from rts.trial.definition import RestrictedDefinition, TrialDefinition
from rts.trial.reading import read_definition, read_restricted

OPERATOR = service("operator")

KNOWN_TO = "Procedure and entries: the unblinded statisticians. Nobody at a site, at the sponsor or in the analysis."

# One account for each duty that is not held at a site: user name, role, printed name.
OFFICE = (
    ("statistician.one", Role.STATISTICIAN, "Chen Lihua"),
    ("statistician.two", Role.STATISTICIAN, "Marta Novak"),
    ("manager", Role.TRIAL_MANAGER, "Zhao Min"),
    ("supply", Role.SUPPLY_MANAGER, "Liu Yang"),
    ("quality", Role.QUALITY, "Sun Jing"),
    ("sponsor", Role.SPONSOR_CONTACT, "Anna Weber"),
    ("auditor", Role.AUDITOR, "Peter Holm"),
    ("monitor", Role.MONITOR, "Elena Rossi"),
)

SITE_NAMES = {
    Role.INVESTIGATOR: ("Wang", "Li", "Zhang", "Huang", "Zhou", "Wu", "Xu", "Gao", "Lin", "He"),
    Role.PHARMACIST: ("Ma", "Guo", "Luo", "Liang", "Song", "Zheng", "Xie", "Han", "Tang", "Feng"),
    Role.PHYSICIAN: ("Deng", "Cao", "Peng", "Zeng", "Xiao", "Tian", "Dong", "Pan", "Yuan", "Cai"),
}


@dataclass
class Stage:
    """A staged trial: its store, its definition, everyone in it by user name, and from when each blinded lot may be
    released.
    """

    store: Store
    definition: TrialDefinition
    password: str
    lots: dict[str, date]
    people: dict[str, Actor] = field(default_factory=dict)

    @property
    def trial(self) -> str:
        """The trial's code."""
        return self.definition.code

    def at_site(self, role: Role, site: str) -> Actor:
        """The person who holds a site role at `site`."""
        return self.people[f"{role.value}.{site.lower()}"]

    def at_depot(self, depot: str) -> Actor:
        """The depot's operator."""
        return self.people[f"depot.{depot.lower()}"]

    def signed(self, actor: Actor) -> Confirmation:
        """A confirmation as a re-entered password gives it. Rehearsals and tests only: no password is asked."""
        if actor.person_id is None:
            raise ValueError("a service does not sign")
        return Confirmation(actor.person_id)

    def add(self, username: str, name: str, role: Role, site: str = "", depot: str = "") -> Actor:
        """Add a person with one role."""
        command = AddPerson(
            username, name, "SIRIUS study group", f"{username}@example.org", self.password, keeps_password=True
        )
        perform(self.store, add_person, OPERATOR, command)
        trial = "" if role is Role.ADMINISTRATOR else self.trial
        perform(self.store, grant_role, OPERATOR, GrantRole(username, role.value, "set-up", trial, site, depot))
        with self.store.transaction() as tx:
            person = person_named(tx, username)
            if person is None:
                raise LookupError(username)
            self.people[username] = actor_of(tx, person)
        return self.people[username]

    def add_site_people(self, site: str) -> None:
        """One investigator, pharmacist and physician for `site`."""
        number = [found.code for found in self.definition.sites].index(site)
        for role in sorted(SITE_ROLES):
            names = SITE_NAMES[role]
            given = ("Wei", "Fang", "Jun", "Na", "Lei", "Ying", "Tao", "Yan", "Bo", "Mei")[number // len(names)]
            self.add(f"{role.value}.{site.lower()}", f"{names[number % len(names)]} {given}", role, site=site)

    def open_site(self, site: str, on: date) -> None:
        """Record every gate of `site` as passed on `on` and open it."""
        manager = self.people["manager"]
        for gate in self.definition.gates:
            perform(self.store, pass_gate, manager, PassGate(self.trial, site, gate, on, f"TMF {site} {gate}"))
        perform(self.store, open_site_for_subjects, manager, OpenSite(self.trial, site))

    def specify(self, plan: str) -> None:
        """Write and sign the specification of the list planned as `plan`."""
        person = self.people["statistician.one"]
        document = f"Randomisation plan of {self.trial}, version 1.0"
        command = SpecifyList(self.trial, plan, KNOWN_TO, document, confirmed=True)
        perform(self.store, specify_list, person, command, confirmation=self.signed(person))

    def make_list(self, plan: str, seed: str = "") -> str:
        """Specify, generate, approve and activate the list planned as `plan`, by three people; returns its list id."""
        self.specify(plan)
        first, second, third = (self.people[name] for name in ("statistician.one", "statistician.two", "manager"))
        made: Done = perform(
            self.store, generate_list, first, GenerateList(self.trial, plan, seed), confirmation=self.signed(first)
        )
        list_id = made.ids["list"]
        perform(self.store, approve_list, second, ApproveList(self.trial, list_id), confirmation=self.signed(second))
        perform(self.store, activate_list, third, ActivateList(self.trial, list_id), confirmation=self.signed(third))
        return list_id


def planned_lists(restricted: RestrictedDefinition) -> tuple[str, ...]:
    """The ids of the lists that a trial needs: subjects first, then kits."""
    return (
        *(plan.list_id for plan in restricted.subject_lists),
        *(plan.list_id for plan in restricted.kit_lists),
    )


def stage_trial(
    store: Store,
    public_text: str,
    restricted_text: str,
    *,
    environment: str,
    in_force_from: date,
    password: str,
    site_people: tuple[str, ...] | None = None,
    seeds: dict[str, str] | None = None,
    plans: tuple[str, ...] | None = None,
) -> Stage:
    """Set up an empty, migrated database: trial, people and active lists. Sites are not opened and lots not released.

    `site_people` names the sites that get people (None: all); `seeds` gives seeds (hex) by plan id for training and
    test lists; `plans` names the lists to make (None: all).
    """
    set_up(store, environment, OPERATOR)
    perform(store, load_definition, OPERATOR, LoadDefinition(public_text, restricted_text, in_force_from))
    definition = read_definition(public_text)
    restricted = read_restricted(restricted_text, definition)
    lots = {plan.blinded_lot: plan.released_from for plan in restricted.kit_lists}
    stage = Stage(store, definition, password, lots)
    stage.add("administrator", "Ivo Kral", Role.ADMINISTRATOR)
    for username, role, name in OFFICE:
        stage.add(username, name, role)
    for depot in definition.depots:
        stage.add(f"depot.{depot.code.lower()}", "Qian Hong", Role.DEPOT_OPERATOR, depot=depot.code)
    for site in site_people if site_people is not None else tuple(site.code for site in definition.sites):
        stage.add_site_people(site)
    for plan in planned_lists(restricted) if plans is None else plans:
        stage.make_list(plan, (seeds or {}).get(plan, ""))
    return stage
