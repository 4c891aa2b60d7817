"""Signatures: the digest of what was signed, computed anew from what is recorded now."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import rfc8785
from sqlalchemy import select

from rts.refusal import say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.tables import CodeBreak, PersonKey, Signature, Subject
from rts.store.transaction import Transaction
from rts.vault.person_keys import read_public_key


def digest_of(record: dict[str, Any]) -> str:
    """SHA-256 (hex) of the RFC 8785 canonical JSON of a signed record."""
    return hashlib.sha256(rfc8785.dumps(record)).hexdigest()


def randomisations_are_signed(view: View) -> Iterator[Finding]:
    """Each randomisation has one signature, and what was signed is what is recorded."""
    signed: dict[str, list[Signature]] = defaultdict(list)
    statement = select(Signature).where(Signature.trial_id == view.trial.id, Signature.object_type == "randomisation")
    for signature in view.tx.session.scalars(statement):
        signed[signature.object_id].append(signature)
    for subject in view.subjects.values():
        expected = 0 if subject.randomised_at is None else 1
        found = signed[subject.code]
        if len(found) != expected:
            text = say(
                "Subject %(subject)s: %(count)d signatures of the randomisation instead of %(expected)d.",
                subject=subject.code,
                count=len(found),
                expected=expected,
            )
            yield Finding("signature.count", text)
        elif found and (found[0].record_digest, found[0].signed_at) != (
            _randomised(view, subject),
            subject.randomised_at,
        ):
            text = say("Subject %(subject)s: what is recorded is not what was signed.", subject=subject.code)
            yield Finding("signature.randomisation", text)


def own_keys_are_signed(tx: Transaction) -> Iterator[Finding]:
    """Each statistician's own key was registered by its owner, who signed for its fingerprint."""
    statement = select(Signature.object_id, Signature.record_digest).where(Signature.object_type == "own_key")
    signed = {tuple(row) for row in tx.session.execute(statement)}
    for held in tx.session.scalars(select(PersonKey).order_by(PersonKey.id)):
        username = held.person.username
        record = {"person": username, "version": held.version, "fingerprint": held.fingerprint}
        is_its_own = read_public_key(held.public_key).fingerprint == held.fingerprint
        if (f"{username}/{held.version}", digest_of(record)) not in signed or not is_its_own:
            text = say(
                "Key %(version)d of %(person)s is not the one that was signed for.",
                version=held.version,
                person=username,
            )
            yield Finding("signature.own_key", text)


def _randomised(view: View, subject: Subject) -> str:
    """The digest of the record that the investigator signs (rts.conduct.randomising)."""
    version = view.versions.get(subject.version_id)
    values = json.loads(subject.factor_values or "{}")
    return digest_of(
        {
            "trial": view.trial.code,
            "site": view.site_codes.get(subject.site_id, ""),
            "subject": subject.code,
            "randomisation_number": subject.randomisation_number,
            "consent_on": subject.consent_on.isoformat(),
            "year_of_birth": subject.year_of_birth,
            "sex": subject.sex,
            "answers": json.loads(subject.answers or "{}"),
            "values": {code: float(value) for code, value in values.items()},
            "stratum": subject.stratum,
            "definition": version.digest if version else "",
        }
    )


def code_breaks_are_signed(view: View) -> Iterator[Finding]:
    """Each code break and each later look is signed as recorded, and a subject is flagged if and only if one exists."""
    signed = {
        signature.id: (signature.record_digest, signature.person_id)
        for signature in view.tx.session.scalars(select(Signature).where(Signature.object_type == "code_break"))
    }
    statement = select(CodeBreak).join(Subject).where(Subject.trial_id == view.trial.id).order_by(CodeBreak.id)
    kinds: dict[int, list[str]] = defaultdict(list)
    for opened in view.tx.session.scalars(statement):
        subject = view.subjects[opened.subject_id]
        kinds[subject.id].append(opened.kind)
        record = {
            "trial": view.trial.code,
            "subject": subject.code,
            "reason": opened.reason,
            "adverse_event": opened.adverse_event,
            "kind": opened.kind,
        }
        if signed.get(opened.signature_id) != (digest_of(record), opened.person_id):
            text = say("Subject %(subject)s: the record of a code break is not what was signed.", subject=subject.code)
            yield Finding("signature.code_break", text)
    for subject in view.subjects.values():
        found = kinds[subject.id]
        if (subject.unblinded_at is not None) != bool(found) or (found and found.count("break") != 1):
            text = say("Subject %(subject)s: the flag and the records of code breaks disagree.", subject=subject.code)
            yield Finding("code_break.flag", text)


def only_code_breaks_are_signed_unconfirmed(view: View) -> Iterator[Finding]:
    """Whoever has a password from somebody else, and is not confirmed since, has signed nothing but code breaks."""
    statement = select(Signature).where(
        Signature.trial_id == view.trial.id,
        Signature.password_given_by.is_not(None),
        Signature.object_type != "code_break",
    )
    for signature in view.tx.session.scalars(statement.order_by(Signature.id)):
        text = say(
            "Signature %(number)d, by %(name)s: the account's password had been given by somebody else.",
            number=signature.id,
            name=signature.printed_name,
        )
        yield Finding("signature.unconfirmed", text)
