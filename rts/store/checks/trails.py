"""The audit trails, their checkpoints, and the definitions they refer to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from sqlalchemy import select

from rts.refusal import Refusal, say
from rts.store import definitions
from rts.store.audit import detail_digest, header_of, sealed_context
from rts.store.audit_export import rows_of
from rts.store.audit_verification import ChainReader, Finding, RecordedEvent
from rts.store.checks.view import View
from rts.store.sealed_rows import key_from_text
from rts.store.tables import AuditChain, AuditCheckpoint, AuditDetail, AuditEvent, Trial
from rts.store.transaction import Transaction
from rts.trial.versions import definition_digest, restricted_digest
from rts.vault.checkpoint import Checkpoint, verify_checkpoint
from rts.vault.vault import Opener


def definitions_are_as_loaded(view: View) -> Iterator[Finding]:
    """The texts of every version have the digests recorded for them."""
    for version in view.versions.values():
        named = {"trial": view.trial.code, "version": version.version}
        if definition_digest(version.public_text) != version.digest:
            text = say("%(trial)s, version %(version)d: the definition is not the one that was loaded.", **named)
            yield Finding("definition.digest", text)
        try:
            plain = view.opener.open(definitions.sealed_restricted(view.tx, view.trial, version))
        except Refusal:
            text = say("%(trial)s, version %(version)d: the restricted part does not open.", **named)
            yield Finding("definition.sealed", text)
            continue
        salt = plain[: definitions.RESTRICTED_SALT_BYTES]
        restricted = plain[definitions.RESTRICTED_SALT_BYTES :].decode()
        if restricted_digest(restricted, salt) != version.restricted_digest:
            text = say("%(trial)s, version %(version)d: the restricted part is not the one that was loaded.", **named)
            yield Finding("definition.digest", text)


def trail_is_whole(view: View) -> Iterator[Finding]:
    """The trial's audit trail: numbers, hashes, details, checkpoints, head."""
    yield from _chain(view.tx, view.trial, view.opener)


def installation_trail_is_whole(tx: Transaction) -> Iterator[Finding]:
    """The same of the installation's own trail, in which nothing is sealed."""
    yield from _chain(tx, None, None)


def _chain(tx: Transaction, trial: Trial | None, opener: Opener | None) -> Iterator[Finding]:
    name = trial.code if trial else say("The installation")
    condition = AuditChain.trial_id.is_(None) if trial is None else AuditChain.trial_id == trial.id
    chain = tx.session.scalar(select(AuditChain).where(condition))
    if chain is None:
        yield Finding("audit.chain", say("%(name)s: the audit trail is missing.", name=name))
        return
    checkpoints, found = _checkpoints(tx, chain)
    reader = ChainReader(bytes.fromhex(chain.chain_id), tuple(checkpoints), findings=found)
    for event, detail in rows_of(tx, chain):
        reader.read(_recorded(tx, trial, opener, chain, event, detail))
    findings = reader.end()
    if (chain.count, chain.hash, chain.last_at) != (reader.count, reader.head.hex(), reader.last_at):
        findings.append(Finding("audit.head", say("The end of the trail is not the one recorded for it.")))
    for finding in findings:
        yield Finding(finding.rule, say("%(name)s: %(what)s", name=name, what=finding.message))


def _checkpoints(tx: Transaction, chain: AuditChain) -> tuple[list[Checkpoint], list[Finding]]:
    sound, findings = [], []
    keyring = tx.store.vault.keyring
    public_keys = [keyring.audit_public_key(version) for version in keyring.audit_keys()]
    statement = select(AuditCheckpoint).where(AuditCheckpoint.chain_id == chain.id).order_by(AuditCheckpoint.id)
    for kept in tx.session.scalars(statement):
        try:
            sound.append(verify_checkpoint(kept.text, *public_keys))
        except Refusal as refusal:
            findings += [Finding(failed.rule, failed.message) for failed in refusal.failed]
    return sound, findings


def _recorded(
    tx: Transaction,
    trial: Trial | None,
    opener: Opener | None,
    chain: AuditChain,
    event: AuditEvent,
    detail: AuditDetail | None,
) -> RecordedEvent:
    header = header_of(event)
    if detail is None:
        return RecordedEvent(header, event.hash, None, False, None)
    if detail.detail is not None:
        plain = json.loads(detail.detail)
        return RecordedEvent(header, event.hash, detail_digest(bytes.fromhex(detail.salt or ""), plain), False, plain)
    if trial is None or opener is None or detail.detail_box is None:
        return RecordedEvent(header, event.hash, "", False, None)
    context = sealed_context(chain.chain_id, event.number)
    try:
        opened = opener.open(tx.store.vault.sealed(key_from_text(trial.data_key), detail.detail_box, context))
    except Refusal:
        return RecordedEvent(header, event.hash, "", True, None)
    # What is sealed is the salt and then the canonical detail: just what the digest covers.
    return RecordedEvent(header, event.hash, hashlib.sha256(opened).hexdigest(), True, None)
