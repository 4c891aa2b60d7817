"""The unit of work and the audit trail it writes; the chain is recomputed here from its specification."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from rts.access.actor import service
from rts.conduct.kits_at_site import opened_shelf
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditChain, AuditDetail, AuditEvent, Trial
from tests.world import World


def canonical(value: object) -> bytes:
    """RFC 8785 for what our events hold: texts, whole numbers, lists and objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.requirement("AUD-01")
@pytest.mark.requirement("AUD-08")
def test_every_chain_follows_its_specification(world: World) -> None:
    world.dispense(world.randomise("CN02"))

    with world.store.transaction() as tx:
        chains = tx.session.scalars(select(AuditChain).order_by(AuditChain.id)).all()
        assert [chain.trial_id for chain in chains] == [None, 1]
        for chain in chains:
            previous = hashlib.sha256(b"rts/audit/1\x00" + bytes.fromhex(chain.chain_id)).digest()
            events = tx.session.scalars(
                select(AuditEvent).where(AuditEvent.chain_id == chain.id).order_by(AuditEvent.number)
            ).all()
            assert [event.number for event in events] == list(range(1, chain.count + 1))
            assert [event.at for event in events] == sorted(event.at for event in events)
            for event in events:
                header = {
                    "number": event.number,
                    "at": event.at,
                    "actor": event.actor,
                    "role": event.role,
                    "organisation": event.organisation,
                    "action": event.action,
                    "object": {"type": event.object_type, "id": event.object_id},
                    "detail_digest": event.detail_digest,
                    "versions": {"definition": event.definition, "software": event.software},
                }
                previous = hashlib.sha256(previous + canonical(header)).digest()
                assert event.hash == previous.hex()
            assert (chain.hash, chain.last_at) == (previous.hex(), events[-1].at)


@pytest.mark.requirement("AUD-01")
def test_every_plain_detail_meets_its_digest(world: World) -> None:
    with world.store.transaction() as tx:
        rows = tx.session.execute(
            select(AuditEvent.detail_digest, AuditDetail.salt, AuditDetail.detail)
            .join(AuditDetail)
            .where(AuditDetail.detail.is_not(None))
        ).all()

    assert len(rows) > 50
    for digest, salt, detail in rows:
        assert digest == hashlib.sha256(bytes.fromhex(salt) + detail.encode()).hexdigest()
        assert canonical(json.loads(detail)).decode() == detail


@pytest.mark.requirement("AUD-06")
def test_a_sealed_detail_keeps_its_salt_inside_and_one_length(world: World) -> None:
    for _ in range(3):
        world.randomise("CN02")

    with world.store.transaction(write=True) as tx:
        rows = tx.session.execute(
            select(AuditEvent, AuditDetail).join(AuditDetail).where(AuditEvent.action == "allocation.taken")
        ).all()
        trial = tx.session.scalars(select(Trial)).one()
        chain = tx.session.scalars(select(AuditChain).where(AuditChain.trial_id == trial.id)).one()
        tx.act_as(service("test"), "service")
        opener = tx.opener()
        for event, detail in rows:
            assert (detail.salt, detail.detail) == (None, None)
            sealed = tx.store.vault.sealed(
                key_from_text(trial.data_key), detail.detail_box, f"audit_detail/{chain.chain_id}/{event.number}"
            )
            plain = opener.open(sealed)
            salt, body = plain[:32], plain[32:]
            assert event.detail_digest == hashlib.sha256(salt + body).hexdigest()
            assert json.loads(body)["arm"] in {"KILDU", "ORVEN"}
        tx.audit("test.looked", "installation", "1")
    assert len(rows) == 3
    assert len({len(detail.detail_box) for _, detail in rows}) == 1


def open_without_a_word(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        opened_shelf(tx, tx.site(tx.trial("SIRIUS"), "CN02"), tx.opener())
        tx.session.execute(text("UPDATE site SET state = 'closed'"))


def test_what_is_opened_without_an_event_cannot_be_committed(world: World) -> None:
    before, events = world.rows(), world.events()

    with pytest.raises(RuntimeError, match="no audit event says so"):
        open_without_a_word(world)

    assert (world.rows(), world.events()) == (before, events)


@pytest.mark.requirement("UNBL-04")
def test_what_is_opened_is_counted_in_the_event(world: World) -> None:
    world.kit_types_on_the_shelf("CN02")

    assert world.last_event("test.looked")[1] == {"opened": {"list": 6}}


def test_nothing_sealed_is_opened_where_no_trace_can_be_written(world: World) -> None:
    with world.store.transaction() as tx, pytest.raises(RuntimeError, match="write transaction only"):
        tx.opener()


def test_an_opener_ends_with_its_transaction(world: World) -> None:
    with world.opened() as (tx, opener):
        kit = opened_shelf(tx, tx.site(tx.trial("SIRIUS"), "CN02"), opener)[0].kit

    with pytest.raises(Exception, match="has ended"), world.store.transaction(write=True) as tx:
        opened_shelf(tx, tx.site(tx.trial("SIRIUS"), "CN02"), opener)
    assert kit.number.startswith("K")


def test_an_event_needs_a_doer(world: World) -> None:
    with pytest.raises(RuntimeError, match="needs a doer"), world.store.transaction(write=True) as tx:
        tx.audit("anything", "installation", "1")


def test_a_read_transaction_writes_nothing(world: World) -> None:
    before = world.rows()

    # PostgreSQL refuses the statement; SQLite carries it out and rolls it back.
    with suppress(DBAPIError), world.store.transaction() as tx:
        tx.session.execute(text("UPDATE site SET state = 'closed'"))

    assert world.rows() == before
