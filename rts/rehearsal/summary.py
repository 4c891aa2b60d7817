"""What came of a rehearsal."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import case, exists, func, select

from rts.rehearsal.day_by_day import Rehearsal
from rts.store.tables import AuditEvent, Kit, KitMove, Shipment, Subject
from rts.supply.kits import Move


@dataclass(frozen=True)
class Summary:
    """What came of a rehearsal. Everything but `seconds` follows from the seed.

    `days` run from the first site's opening to the last visit of week 24, `days_to_target` to the last randomisation.
    `visits_due` are those at which kits were to be dispensed to somebody in treatment; `turned_away` counts people not
    randomised because the site's kits did not suffice for some days. `refusals` counts failed rules by code, `kits` how
    each kit ended: dispensed, or why not; `after_use` what became of those dispensed; `seconds` gives
    count, median and total by deed.
    """

    trial: str
    seed: int
    days: int
    days_to_target: int
    randomised: int
    randomised_by_stratum: dict[str, int]
    turned_away: int
    visits_due: int
    visits_dispensed: int
    visits_missed: int
    refusals: dict[str, int]
    shipments: int
    kits: dict[str, int]
    after_use: dict[str, int]
    audit_events: int
    check: str
    seconds: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        return asdict(self)


def summarise(rehearsal: Rehearsal, last_day: date, check: str) -> Summary:
    """Count what stands in the database of a rehearsal that ended on `last_day`."""
    scene, people = rehearsal.scene, rehearsal.people
    with scene.stage.store.transaction() as tx:

        def counted(column: Any, *where: Any) -> dict[str, int]:
            rows = tx.session.execute(select(column, func.count()).where(*where).group_by(column).order_by(column))
            return {str(value): number for value, number in rows}

        strata = counted(Subject.stratum, Subject.randomised_at.is_not(None))
        shipments = tx.session.scalar(select(func.count()).select_from(Shipment)) or 0
        was_dispensed = exists().where(KitMove.kit_id == Kit.id, KitMove.move == Move.DISPENSE)
        before_destruction = (
            select(KitMove.from_state)
            .where(KitMove.kit_id == Kit.id, KitMove.move == Move.AUTHORISE_DESTRUCTION)
            .scalar_subquery()
        )
        fate = case((was_dispensed, "dispensed"), else_=func.coalesce(before_destruction, Kit.state))
        kits, after_use = counted(fate), counted(Kit.state, was_dispensed)
        events = tx.session.scalar(select(func.count()).select_from(AuditEvent)) or 0
    reached = people.target_reached_on or last_day
    return Summary(
        trial=scene.trial,
        seed=rehearsal.story.seed,
        days=(last_day - rehearsal.first_day).days,
        days_to_target=(reached - rehearsal.first_day).days,
        randomised=sum(strata.values()),
        randomised_by_stratum=strata,
        turned_away=people.turned_away,
        visits_due=people.visits["due"],
        visits_dispensed=people.visits["dispensed"],
        visits_missed=people.visits["missed"],
        refusals=dict(sorted(scene.refusals.items())),
        shipments=shipments,
        kits=kits,
        after_use=after_use,
        audit_events=events,
        check=check,
        seconds={
            deed: {
                "count": len(times),
                "median": round(statistics.median(times), 6),
                "total": round(sum(times), 3),
            }
            for deed, times in sorted(scene.took.items())
        },
    )
