"""The monitor's visits of a rehearsal: kits are verified, and what is of no further use is destroyed."""

from __future__ import annotations

from datetime import date, time, timedelta

from sqlalchemy import select

from rts.access.permissions import Role
from rts.conduct.destroying_kits import (
    AuthoriseDestruction,
    RecordDestruction,
    authorise_destruction,
    record_destruction,
)
from rts.conduct.verifying_kits import NOT_THERE, VerifyKits, is_verified, verify_kits
from rts.rehearsal.scene import Scene
from rts.store.tables import Destruction, Kit, Site
from rts.supply.kits import MAY_BE_DESTROYED

EVERY = timedelta(weeks=12)
DESTROYED_AFTER = timedelta(days=7)


class Monitoring:
    """A monitor comes to each site every twelve weeks; a week later its returned and spoilt kits are destroyed."""

    def __init__(self, scene: Scene, sites: tuple[str, ...]) -> None:
        self.scene = scene
        self.stage = scene.stage
        self._next = {site: scene.definition.site(site).planned_opening + EVERY for site in sites}

    def visit_sites(self, today: date) -> None:
        """What falls on today: visits, and the destruction that was authorised after earlier ones."""
        self.scene.at(today, time(17, 15))
        for site, on in self._next.items():
            if on == today:
                self._verify(site)
                self._next[site] = on + EVERY
            elif on == today + EVERY - DESTROYED_AFTER:
                self._destroy(site, today)

    def _verify(self, site: str) -> None:
        with self.stage.store.transaction() as tx:
            here = select(Kit.number).join(Site, Site.id == Kit.site_id).where(Site.code == site)
            unverified = tx.session.scalars(here.where(Kit.state.not_in(NOT_THERE), ~is_verified())).all()
            spent = tx.session.scalars(here.where(Kit.state.in_(MAY_BE_DESTROYED))).all()
        if unverified:
            command = VerifyKits(self.stage.trial, site, tuple(sorted(unverified)))
            self.scene.do(verify_kits, self.stage.people["monitor"], command, sign=True)
        if spent:
            authority = AuthoriseDestruction(self.stage.trial, tuple(sorted(spent)), f"Letter on {site}", site=site)
            self.scene.do(authorise_destruction, self.stage.people["quality"], authority)

    def _destroy(self, site: str, today: date) -> None:
        with self.stage.store.transaction() as tx:
            authorised = select(Destruction.number).join(Site, Site.id == Destruction.site_id)
            numbers = tx.session.scalars(authorised.where(Site.code == site, Destruction.recorded_at.is_(None))).all()
        for number in numbers:
            command = RecordDestruction(self.stage.trial, number, today, f"Certificate {number}")
            self.scene.do(record_destruction, self.stage.at_site(Role.PHARMACIST, site), command)
