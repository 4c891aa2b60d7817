"""Writing an audit trail out for people who verify and archive it without the server (format: audit_verification)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import rfc8785
from sqlalchemy import func, select

from rts.clock import utc_text
from rts.store.audit import chain_of, header_of
from rts.store.audit_verification import FORMAT, SEALED_ACTIONS
from rts.store.tables import AuditChain, AuditDetail, AuditEvent, Trial
from rts.store.transaction import Transaction

BATCH = 2000


def rows_of(tx: Transaction, chain: AuditChain) -> Iterator[tuple[AuditEvent, AuditDetail | None]]:
    """Every event of a chain with its detail, in order, read in batches so that a long trail fits in memory."""
    after = 0
    while True:
        rows = tx.session.execute(
            select(AuditEvent, AuditDetail)
            .outerjoin(AuditDetail, AuditDetail.event_id == AuditEvent.id)
            .where(AuditEvent.chain_id == chain.id, AuditEvent.number > after)
            .order_by(AuditEvent.number)
            .limit(BATCH)
        ).all()
        yield from rows
        if len(rows) < BATCH:
            return
        after = rows[-1][0].number


def export_lines(tx: Transaction, trial: Trial | None) -> Iterator[str]:
    """The lines of the export of a trial's trail (None: of the installation's). Of sealed details nothing is exported
    but that they are sealed.
    A list is named by its commitment; in events of earlier versions by its id, which stands in
    their hash.
    """
    chain = chain_of(tx, trial)
    count = tx.session.scalar(select(func.count()).where(AuditEvent.chain_id == chain.id)) or 0
    yield _line(
        {
            "format": FORMAT,
            "chain_id": chain.chain_id,
            "trial": trial.code if trial else "",
            "count": count,
            "exported_at": utc_text(tx.now),
        }
    )
    for event, detail in rows_of(tx, chain):
        values: dict[str, Any] = {**header_of(event), "hash": event.hash}
        if detail is not None and event.action in SEALED_ACTIONS:
            values["sealed"] = True
        elif detail is not None and detail.detail is not None:
            values |= {"salt": detail.salt, "detail": json.loads(detail.detail)}
        yield _line(values)


def _line(values: dict[str, Any]) -> str:
    return rfc8785.dumps(values).decode() + "\n"
