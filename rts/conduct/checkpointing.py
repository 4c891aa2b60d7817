"""Checkpoints of the audit trail: signed, kept, and sent to people outside the operator's reach.

Whoever holds yesterday's checkpoint can prove today that no event before it was changed or taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from rts.access.actor import Actor, in_force, require
from rts.access.permissions import Permission, Role
from rts.conduct.accounts import the_person
from rts.conduct.perform import Done
from rts.refusal import say
from rts.store import outbox
from rts.store.tables import AuditChain, AuditCheckpoint, Person, RoleGrant
from rts.store.transaction import Transaction
from rts.vault.checkpoint import Checkpoint, sign_checkpoint


@dataclass(frozen=True)
class MakeCheckpoints:
    """Sign where every chain stands now and send it to the auditors and the people with these user names."""

    recipients: tuple[str, ...] = ()


def make_checkpoints(tx: Transaction, actor: Actor, command: MakeCheckpoints) -> Done:
    """Sign and keep one checkpoint for each chain, and write one mail with all of them.

    Raises Refusal `not_found` when a recipient has no account: a checkpoint nobody receives protects nothing.
    """
    require(tx, actor, Permission.JOBS_RUN)
    chains = list(tx.session.scalars(select(AuditChain).order_by(AuditChain.id)))
    texts = []
    for chain in chains:
        checkpoint = Checkpoint(bytes.fromhex(chain.chain_id), chain.count, bytes.fromhex(chain.hash), tx.now)
        texts.append(sign_checkpoint(checkpoint, tx.store.vault.keyring))
        tx.session.add(AuditCheckpoint(chain_id=chain.id, count=chain.count, text=texts[-1], made_at=tx.now))
    counts = {chain.chain_id: chain.count for chain in chains}
    tx.audit("audit.checkpointed", "installation", "1", {"counts": counts})
    named = {the_person(tx, username) for username in command.recipients}
    people = sorted(named | set(_auditors(tx)), key=lambda person: person.username)
    outbox.write(
        tx,
        "checkpoint",
        None,
        people,
        say("Checkpoint of the audit trail"),
        say(
            "Keep this mail: it proves how far the audit trail went and what stood in it. To check a later export "
            "against it, save one checkpoint as a file and use: rts audit verify EXPORT --checkpoint FILE "
            "--public-key FILE\n\n%(texts)s",
            texts="\n".join(texts),
        ),
    )
    return Done("make_checkpoints", {"chains": str(len(chains)), "recipients": str(len(people))})


def _auditors(tx: Transaction) -> list[Person]:
    """Whoever is auditor of any trial now."""
    statement = (
        select(Person)
        .join(RoleGrant, RoleGrant.person_id == Person.id)
        .where(
            RoleGrant.role == Role.AUDITOR.value,
            in_force(),
            Person.closed_at.is_(None),
        )
        .distinct()
    )
    return list(tx.session.scalars(statement))
