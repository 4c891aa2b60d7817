"""Setting up an installation's database, and moving a training clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.clock import SystemClock, utc_text
from rts.conduct.perform import Done
from rts.refusal import refuse, say
from rts.store import audit
from rts.store.tables import Installation
from rts.store.transaction import Store, Transaction

ENVIRONMENTS = ("production", "training", "test")


def set_up(store: Store, environment: str, operator: Actor) -> bool:
    """Write the installation's row and begin its audit chain, once. Returns whether it was new.

    Raises Refusal `conflict` when the database was set up for another environment: a production database never
    becomes a training one.
    """
    if environment not in ENVIRONMENTS:
        raise refuse(
            "invalid",
            "environment.unknown",
            say("The environment is production, training or test, not %(found)s.", found=environment),
            "environment",
        )
    with store.transaction(write=True) as tx:
        row = tx.session.get(Installation, 1)
        if row is not None:
            if row.environment != environment:
                raise refuse(
                    "conflict",
                    "environment.fixed",
                    say("This database was set up for %(found)s and stays so.", found=row.environment),
                    "environment",
                )
            return False
        tx.session.add(Installation(id=1, environment=environment, clock_offset=0, created_at=tx.now))
        tx.session.flush()
        audit.start_chain(tx, None)
        tx.act_as(operator, "service")
        tx.audit("installation.set_up", "installation", "1", {"environment": environment})
        return True


@dataclass(frozen=True)
class MoveClock:
    """Move the clock of a training or test installation forward by whole seconds."""

    seconds: int


def move_clock(tx: Transaction, actor: Actor, command: MoveClock) -> Done:
    """Move the clock. Raises Refusal in production, and for a move backwards: the trail's times never run back."""
    require(tx, actor, Permission.CLOCK_MOVE)
    row = tx.installation
    if row.environment == "production":
        raise refuse("rule", "clock.production", say("The clock of a production installation is never moved."))
    if command.seconds <= 0:
        raise refuse("invalid", "clock.backwards", say("The clock moves forward only."), "seconds")
    before = row.clock_offset
    row.clock_offset += command.seconds
    tx.audit("clock.moved", "installation", "1", before={"offset": before}, after={"offset": row.clock_offset})
    return Done("move_clock", {"offset": str(row.clock_offset)})


@dataclass(frozen=True)
class SetClock:
    """Let the clock of a training or test installation go on from the moment `at`, in step with the computer's."""

    at: datetime


def set_clock(tx: Transaction, actor: Actor, command: SetClock) -> Done:
    """Set the clock. Raises Refusal in production, and for a moment before the installation's present one.

    The offset is from the computer's clock and may be negative: an installation told in the past goes on from there.
    """
    require(tx, actor, Permission.CLOCK_MOVE)
    row = tx.installation
    if row.environment == "production":
        raise refuse("rule", "clock.production", say("The clock of a production installation is never moved."))
    if command.at < tx.now:
        raise refuse("invalid", "clock.backwards", say("The clock moves forward only."), "at")
    before = row.clock_offset
    # Whole seconds, upwards: rounded down, the clock would stand before the moment asked for.
    row.clock_offset = math.ceil((command.at - SystemClock().now()).total_seconds())
    tx.audit(
        "clock.set",
        "installation",
        "1",
        {"at": utc_text(command.at)},
        before={"offset": before},
        after={"offset": row.clock_offset},
    )
    return Done("set_clock", {"offset": str(row.clock_offset)})
