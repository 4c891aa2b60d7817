"""Sites, lots and parcels of a rehearsal: what opens, is sent, arrives, and breaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, time, timedelta
from typing import Any

from sqlalchemy import select

from rts.access.permissions import Role
from rts.conduct.closing_shipments import CloseShipment, close_shipment
from rts.conduct.deciding_quarantine import DecideQuarantine, decide_quarantine
from rts.conduct.picking_shipments import PickShipment, pick_shipment
from rts.conduct.receiving_shipments import ReceiveShipment, receive_shipment
from rts.conduct.releasing_lots import ReleaseLot, release_lot
from rts.conduct.reporting_kits import ReportKit, report_kit
from rts.conduct.sending_shipments import ShipShipment, ship_shipment
from rts.conduct.shipments import kits_of
from rts.rehearsal.scene import Scene
from rts.rehearsal.story import Story
from rts.store.tables import Kit, Shipment
from rts.supply.kits import KitState


class Parcels:
    """What befalls parcels and boxes, by the story, and what depot, pharmacists, supply and quality do about it."""

    def __init__(self, scene: Scene, story: Story, sites: tuple[str, ...], first_day: date) -> None:
        self.scene = scene
        self.stage = scene.stage
        self.story = story
        self.first_day = first_day
        self._sites_to_open = sorted(sites, key=lambda site: (scene.definition.site(site).planned_opening, site))
        self._nth: dict[str, int] = {}
        self._parcels_to: Counter[str] = Counter()
        self._shelf_damage: dict[date, list[tuple[str, str]]] = defaultdict(list)
        self._decisions: dict[date, list[tuple[str, bool]]] = defaultdict(list)

    def sites_of_parcels(self, *states: str) -> list[str]:
        """The site of every shipment in one of `states`."""
        with self.stage.store.transaction() as tx:
            parcels = tx.session.scalars(select(Shipment).where(Shipment.state.in_(states)))
            return [parcel.site.code for parcel in parcels]

    def open_sites(self, today: date) -> None:
        """Release the lots and open the sites whose day has come."""
        self.scene.at(today, time(8, 0))
        for lot, on in self.stage.lots.items():
            if on == today or (on < today == self.first_day):
                self.scene.do(release_lot, self.stage.people["quality"], ReleaseLot(self.stage.trial, lot, f"QP {lot}"))
        while self._sites_to_open and self.scene.definition.site(self._sites_to_open[0]).planned_opening <= today:
            self.stage.open_site(self._sites_to_open.pop(0), today)

    def _parcels(self, state: str, *where: Any) -> list[tuple[str, str, date, list[str]]]:
        """The shipments in `state` that meet the conditions `where`: number, site, expected day, kit numbers."""
        with self.stage.store.transaction() as tx:
            statement = select(Shipment).where(Shipment.state == state, *where).order_by(Shipment.number)
            return [
                (parcel.number, parcel.site.code, parcel.expected_on, [line.kit.number for line in kits_of(tx, parcel)])
                for parcel in tx.session.scalars(statement)
            ]

    def pick_and_ship(self, *where: Any) -> None:
        """The depot sends off the requested shipments that meet the conditions `where`."""
        depots = {site.code: site.depot for site in self.scene.definition.sites}
        for number, site, _, kits in self._parcels("requested", *where):
            operator = self.stage.at_depot(depots[site])
            self.scene.do(pick_shipment, operator, PickShipment(self.stage.trial, number, tuple(kits)))
            self.scene.do(ship_shipment, operator, ShipShipment(self.stage.trial, number, "SF Express", f"SF{number}"))

    def _nth_parcel(self, number: str, site: str) -> int:
        if number not in self._nth:
            self._parcels_to[site] += 1
            self._nth[number] = self._parcels_to[site]
        return self._nth[number]

    def receive(self, today: date) -> None:
        """Pharmacists receive what has arrived; the supply manager writes off what never will."""
        self.scene.at(today, time(8, 15))
        written_off_after = timedelta(days=self.scene.definition.supply.overdue_after_days)
        for number, site, expected, kits in self._parcels("in_transit", Shipment.expected_on <= today):
            nth = self._nth_parcel(number, site)
            fate = self.story.parcel(site, nth)
            if fate.is_lost:
                if today > expected + written_off_after:
                    command = CloseShipment(self.stage.trial, number, "lost", "the carrier cannot find it")
                    self.scene.do(close_shipment, self.stage.people["supply"], command)
                continue
            outcomes = {}
            for place, kit in enumerate(kits, 1):
                box = self.story.box(site, nth, place)
                outcomes[kit] = "damaged" if box.arrives_damaged else "excursion" if fate.has_excursion else "good"
                if box.shelf_days is not None:
                    self._shelf_damage[today + timedelta(days=box.shelf_days)].append((site, kit))
                if outcomes[kit] == "excursion":
                    decided_on = today + timedelta(days=fate.decision_days)
                    self._decisions[decided_on].append((kit, not fate.is_rejected))
            pharmacist = self.stage.at_site(Role.PHARMACIST, site)
            self.scene.do(receive_shipment, pharmacist, ReceiveShipment(self.stage.trial, number, outcomes))

    def _states_of(self, kits: list[str]) -> dict[str, str]:
        with self.stage.store.transaction() as tx:
            rows = tx.session.execute(select(Kit.number, Kit.state).where(Kit.number.in_(kits)))
            return dict(rows.all())

    def judge_quarantine(self, today: date) -> None:
        """Quality decides on the kits whose decision is due."""
        decisions = self._decisions.pop(today, [])
        self.scene.at(today, time(8, 30))
        states = self._states_of([kit for kit, _ in decisions])
        for kit, is_released in decisions:
            if states[kit] == KitState.QUARANTINED:  # it may have expired while it waited
                command = DecideQuarantine(self.stage.trial, kit, is_released, f"QA decision on {kit}")
                self.scene.do(decide_quarantine, self.stage.people["quality"], command)

    def find_damage(self, today: date) -> None:
        """Pharmacists find what has broken on the shelf."""
        found = self._shelf_damage.pop(today, [])
        states = self._states_of([kit for _, kit in found])
        for site, kit in found:
            if states[kit] == KitState.AVAILABLE:
                command = ReportKit(self.stage.trial, site, kit, "damaged", "the seal is broken")
                self.scene.do(report_kit, self.stage.at_site(Role.PHARMACIST, site), command)
