"""A small world for tests: SIRIUS staged on a fresh database with a held clock, and short words for what people do
in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from rts.access.actor import Actor, service
from rts.access.permissions import Role
from rts.clock import HeldClock, local_date
from rts.conduct.consignments import opened_depot
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.kits_at_site import opened_shelf
from rts.conduct.perform import perform
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.places import place_of, supplying_depot
from rts.conduct.putting_in_force import PutInForce, put_in_force
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.reading_sealed import ReadSealedDetail, read_sealed_detail
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.reporting_kits import ReportKit, report_kit
from rts.conduct.resupplying import NightReport, run_night
from rts.conduct.screening import ScreenSubject, screen_subject
from rts.conduct.sending_shipments import ShipShipment, ship_shipment
from rts.conduct.shipments import kits_of, shipment_named
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.entropy import ReplayedEntropy
from rts.installation import open_store
from rts.refusal import Refusal
from rts.rehearsal.staging import Stage, stage_trial
from rts.store.tables import AuditDetail, AuditEvent, Base, Dispensing, Kit, Notice, Shipment, Subject
from rts.store.transaction import Store, Transaction
from rts.supply.kits import KitState
from rts.trial.shipped import shipped_definition
from rts.vault.transit import Transit
from rts.vault.vault import Opener

PASSWORD = "correct horse battery staple"
START = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)  # 9:00 in Shanghai
GOOD_VALUES = {"SLEDAI": 12.0, "STEROID": 7.5}


@dataclass
class World:
    """A staged trial with the clock in hand."""

    stage: Stage
    clock: HeldClock
    transit: Transit | None = None

    @classmethod
    def make(
        cls,
        database_url: str,
        folder: Path,
        *,
        sites: tuple[str, ...] = ("CN02", "CN03"),
        environment: str = "test",
        public: str | None = None,
        restricted: str | None = None,
        seeds: dict[str, str] | None = None,
        plans: tuple[str, ...] | None = None,
        entropy_seed: bytes = b"tests",
        transit: Transit | None = None,
    ) -> World:
        """Stage SIRIUS (or the given texts) on a migrated database; people at `sites`, no site open, no lot
        released.
        """
        shipped = shipped_definition("sirius")
        clock = HeldClock(START)
        store = open_store(
            database_url,
            folder / "keyring.json",
            folder / "lists",
            create_keyring=True,
            transit=transit,
            clock=clock,
            entropy=ReplayedEntropy(entropy_seed),
        )
        stage = stage_trial(
            store,
            public or shipped[0],
            restricted or shipped[1],
            environment=environment,
            in_force_from=date(2026, 1, 1),
            password=PASSWORD,
            site_people=sites,
            seeds=seeds,
            plans=plans,
        )
        return cls(stage, clock, transit)

    def copy(self, database_url: str, folder: Path) -> World:
        """This world with a copy of its keyring and lists in `folder`, on `database_url`, a copy of its database: as
        another process finds it, with no key in memory.
        """
        shutil.copytree(self.store.lists, folder / "lists")
        shutil.copy2(self.store.lists.parent / "keyring.json", folder / "keyring.json")
        clock = HeldClock(self.clock.now())
        # Another stream: the old one from its beginning would repeat nonces and message ids.
        entropy = ReplayedEntropy(b"copied")
        store = open_store(
            database_url, folder / "keyring.json", folder / "lists", transit=self.transit, clock=clock, entropy=entropy
        )
        return World(replace(self.stage, store=store, people=dict(self.stage.people)), clock, self.transit)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.engine.dispose()

    @property
    def database_url(self) -> str:
        return self.store.engine.url.set(drivername=self.store.engine.url.get_backend_name()).render_as_string(
            hide_password=False
        )

    @property
    def store(self) -> Store:
        return self.stage.store

    def who(self, username: str) -> Actor:
        return self.stage.people[username]

    def do(self, deed: Any, who: str | Actor, command: Any, *, sign: bool = False, key: str | None = None) -> Any:
        """Perform a deed as a person named by user name (or a given actor), with a re-entered password if `sign`."""
        actor = self.who(who) if isinstance(who, str) else who
        return perform(
            self.store, deed, actor, command, key=key, confirmation=self.stage.signed(actor) if sign else None
        )

    def supply(self, *sites: str, lot: str = "BL-2601") -> None:
        """Release the first lot, open `sites`, and bring their first shipment onto the shelf."""
        self.do(release_lot, "quality", ReleaseLot(self.stage.trial, lot, "QP release 1"))
        for site in sites:
            self.stage.open_site(site, date(2026, 1, 2))
        self.night()
        self.clock.advance(timedelta(days=1))
        self.ship_all()
        self.clock.advance(timedelta(days=2))
        self.receive_all()

    def night(self) -> NightReport:
        """One night run, for the present date in Shanghai."""
        return run_night(
            self.store, service("resupply"), self.stage.trial, (self.clock.now() + timedelta(hours=8)).date()
        )

    def shipments(self, state: str) -> list[str]:
        with self.store.transaction() as tx:
            statement = select(Shipment.number).where(Shipment.state == state).order_by(Shipment.number)
            return list(tx.session.scalars(statement))

    def kit_numbers(self, shipment: str) -> list[str]:
        with self.store.transaction() as tx:
            return [line.kit.number for line in kits_of(tx, shipment_named(tx, tx.trial(self.stage.trial), shipment))]

    def ship_all(self) -> None:
        depot = f"depot.{self.stage.definition.depots[0].code.lower()}"
        for number in self.shipments("requested"):
            self.do(pick_shipment, depot, PickShipment(self.stage.trial, number, tuple(self.kit_numbers(number))))
            self.do(ship_shipment, depot, ShipShipment(self.stage.trial, number, "SF Express", f"SF-{number}"))

    def receive_all(self) -> None:
        for number in self.shipments("in_transit"):
            with self.store.transaction() as tx:
                site = shipment_named(tx, tx.trial(self.stage.trial), number).site.code
            outcomes = dict.fromkeys(self.kit_numbers(number), "good")
            self.do(
                receive_shipment,
                self.stage.at_site(Role.PHARMACIST, site),
                ReceiveShipment(self.stage.trial, number, outcomes),
            )

    def answers(self) -> dict[str, bool]:
        """Every criterion answered as an eligible person answers it."""
        return {c.code: c.kind == "inclusion" for c in self.stage.definition.criteria if c.rule == "confirm"}

    def screen(self, site: str, year_of_birth: int = 1980, sex: str = "female") -> str:
        """Screen a person at `site` who gave consent today; returns the subject code."""
        today = (self.clock.now() + timedelta(hours=8)).date()
        command = ScreenSubject(self.stage.trial, site, today, year_of_birth, sex, is_new_person=True)
        done = self.do(screen_subject, self.stage.at_site(Role.INVESTIGATOR, site), command)
        return str(done.ids["subject"])

    def randomise(self, site: str, values: dict[str, float] | None = None, key: str | None = None) -> str:
        """Screen and randomise an eligible person; returns the subject code."""
        subject = self.screen(site)
        command = RandomiseSubject(self.stage.trial, subject, self.answers(), values or GOOD_VALUES)
        self.do(randomise_subject, self.stage.at_site(Role.INVESTIGATOR, site), command, sign=True, key=key)
        return subject

    def kit_for(self, subject: str, visit: str) -> str:
        """The number of the kit set aside or dispensed for a visit."""
        with self.store.transaction() as tx:
            statement = (
                select(Dispensing)
                .join(Subject)
                .where(
                    Subject.code == subject,
                    Dispensing.visit == visit,
                    Dispensing.state.in_(["assigned", "dispensed"]),
                )
            )
            return str(tx.session.scalars(statement).one().kit.number)

    def dispense(self, subject: str, visit: str = "W0") -> str:
        """Hand the kit of a visit over; returns its number."""
        site = subject.rsplit("-", 1)[0]
        kit = self.kit_for(subject, visit)
        self.do(hand_over, self.stage.at_site(Role.PHARMACIST, site), HandOver(self.stage.trial, subject, visit, kit))
        return kit

    @property
    def today(self) -> date:
        """The present date in Shanghai."""
        return local_date(self.clock.now(), "Asia/Shanghai")

    def load(self, *changes: tuple[str, str], restricted: str = "") -> int:
        """Load another version of the shipped definition, in force nowhere, with texts exchanged in one part or the
        other and `restricted` added to the second; returns its number.
        """
        public, hidden = shipped_definition("sirius")
        for old, new in changes:
            assert public.count(old) + hidden.count(old) == 1, old
            public, hidden = public.replace(old, new), hidden.replace(old, new)
        done = perform(self.store, load_definition, service("amendment"), LoadDefinition(public, hidden + restricted))
        return int(done.ids["version"])

    def put_in_force(self, version: int, *sites: str, on: date | None = None) -> None:
        """Put a version in force at `sites`, or at all, from today or another date."""
        sites = sites or tuple(site.code for site in self.stage.definition.sites)
        self.do(put_in_force, "manager", PutInForce(self.stage.trial, version, sites, on or self.today, "EC 2026-2"))

    def amend(self, *changes: tuple[str, str], at: tuple[str, ...] = (), on: date | None = None) -> int:
        """Load another version and put it in force; returns its number."""
        version = self.load(*changes)
        self.put_in_force(version, *at, on=on)
        return version

    def rows(self) -> dict[str, list[Any]]:
        """Every row of every table but those of the audit trail: what a refusal must leave as it was."""
        with self.store.transaction() as tx:
            return {
                table.name: [tuple(row) for row in tx.session.execute(select(table).order_by(*table.primary_key))]
                for table in Base.metadata.sorted_tables
                if not table.name.startswith("audit_")
            }

    @contextmanager
    def refuses(self, code: str, *rules: str) -> Iterator[pytest.ExceptionInfo[Refusal]]:
        """What happens within is refused for exactly these rules, and changes nothing but one `refused` event."""
        before, events, refused = self.rows(), self.events(), self.events("refused")
        with pytest.raises(Refusal) as caught:
            yield caught
        assert (caught.value.code, caught.value.rules) == (code, rules)
        assert self.rows() == before
        assert (self.events(), self.events("refused")) == (events + 1, refused + 1)

    def last_event(self, action: str) -> tuple[AuditEvent, dict[str, Any] | None]:
        """The newest event of `action` with its plain detail (None when it is sealed)."""
        with self.store.transaction() as tx:
            event, detail = tx.session.execute(
                select(AuditEvent, AuditDetail.detail)
                .join(AuditDetail)
                .where(AuditEvent.action == action)
                .order_by(AuditEvent.id.desc())
                .limit(1)
            ).one()
            return event, json.loads(detail) if detail else None

    @contextmanager
    def opened(self) -> Iterator[tuple[Transaction, Opener]]:
        """A transaction with an opener, for tests that must look behind the blind."""
        with self.store.transaction(write=True) as tx:
            tx.act_as(service("test"), "service")
            yield tx, tx.opener()
            tx.audit("test.looked", "installation", "1")

    def kit_types_on_the_shelf(self, site: str) -> dict[str, str]:
        """Kit number to kit type, of the available kits of `site`."""
        with self.opened() as (tx, opener):
            shelf = opened_shelf(tx, tx.site(tx.trial(self.stage.trial), site), opener)
            return {opened.kit.number: opened.kit_type for opened in shelf}

    def depot_stock(self, *lots: str) -> dict[str, dict[str, list[str]]]:
        """The kits in the first depot: numbers by kit type, by blinded lot; of `lots` or all released ones."""
        found: dict[str, dict[str, list[str]]] = {}
        with self.opened() as (tx, opener):
            depot = supplying_depot(tx, place_of(tx, tx.site(tx.trial(self.stage.trial), "CN02")))
            for opened in opened_depot(tx, depot, opener):
                if not lots or opened.lot in lots:
                    found.setdefault(opened.lot, {}).setdefault(opened.kit_type, []).append(opened.kit.number)
        return found

    def take_from_depot(self, *kits: str) -> None:
        """Let kits vanish from the depot, behind the back of the ledger."""
        with self.store.transaction(write=True) as tx:
            tx.act_as(service("test"), "service")
            in_depot = Kit.number.in_(kits) & (Kit.state == KitState.IN_DEPOT)
            tx.session.execute(update(Kit).where(in_depot).values(state=KitState.EXPIRED))
            tx.audit("test.took", "installation", "1")

    def sealed_detail(self, action: str) -> dict[str, Any]:
        """What the newest event of `action` says, as a statistician reads it."""
        number = self.last_event(action)[0].number
        opened = self.do(read_sealed_detail, "statistician.one", ReadSealedDetail(self.stage.trial, number))
        detail: dict[str, Any] = opened.detail
        return detail

    def mails(self, kind: str) -> list[tuple[str, str, str]]:
        """The mails of a kind in the outbox: to whom, subject line, text."""
        with self.store.transaction() as tx:
            statement = select(Notice).where(Notice.kind == kind).order_by(Notice.id)
            return [(mail.person.username, mail.subject_line, mail.body) for mail in tx.session.scalars(statement)]

    def lose(self, site: str, *kits: str) -> None:
        """Report kits on the shelf as lost."""
        for kit in kits:
            command = ReportKit(self.stage.trial, site, kit, "lost", "not found at the count")
            self.do(report_kit, self.stage.at_site(Role.PHARMACIST, site), command)

    def events(self, action: str | None = None) -> int:
        """How many audit events there are, of one action or of all."""
        with self.store.transaction() as tx:
            statement = select(func.count()).select_from(AuditEvent)
            if action is not None:
                statement = statement.where(AuditEvent.action == action)
            return tx.session.scalar(statement) or 0
