"""Checkpoints of the audit trail: a short signed text that says how long a chain was at a moment, and its hash.

The form is the signed note of the transparency logs (C2SP tlog-checkpoint): the lines origin, count and base64 hash,
one extension line with the UTC time, a blank line, and a signature line whose first four bytes name the key. It is
verified with the installation's public audit key alone.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from rts.clock import utc_text
from rts.refusal import Refusal, refuse, say
from rts.vault.keyring import Keyring

ORIGIN = "rts/audit/1/"
KEY_NAME = "rts-audit"
_SIGNATURE_MARK = f"\u2014 {KEY_NAME} "


@dataclass(frozen=True)
class Checkpoint:
    """The chain `chain_id` (16 bytes) had `count` events at the moment `at` (UTC), the last with hash `head`."""

    chain_id: bytes
    count: int
    head: bytes
    at: datetime


def sign_checkpoint(checkpoint: Checkpoint, keyring: Keyring) -> str:
    """The checkpoint's text with the signature of the current audit key."""
    body = _body(checkpoint)
    signature = keyring.sign_checkpoint(body.encode())
    key_hint = _key_hint(_load_public_key(keyring.audit_public_key()))
    return f"{body}\n{_SIGNATURE_MARK}{b64encode(key_hint + signature).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """What a checkpoint says, its signature unchecked. Raises Refusal `invalid` when the text is not a checkpoint."""
    return _parse(text)[0]


def verify_checkpoint(text: str, *public_keys: str) -> Checkpoint:
    """What a checkpoint says, once its signature is found to be by one of `public_keys` (PEM texts of audit keys).

    Raises Refusal `invalid` when the text is not a checkpoint, was signed with another key, or was altered.
    """
    keys = [_load_public_key(public_key) for public_key in public_keys]
    checkpoint, signature = _parse(text)
    key = next((key for key in keys if _key_hint(key) == signature[:4]), None)
    if key is None:
        message = say("The checkpoint was signed with another key than the one given.")
        raise refuse("invalid", "checkpoint.key", message, "public_key")
    try:
        key.verify(signature[4:], _body(checkpoint).encode())
    except InvalidSignature:
        message = say("The signature does not belong to this checkpoint: it was altered.")
        raise refuse("invalid", "checkpoint.signature", message, "checkpoint") from None
    return checkpoint


def _body(checkpoint: Checkpoint) -> str:
    origin = ORIGIN + checkpoint.chain_id.hex()
    return f"{origin}\n{checkpoint.count}\n{b64encode(checkpoint.head).decode()}\n{utc_text(checkpoint.at)}\n"


def _parse(text: str) -> tuple[Checkpoint, bytes]:
    """The checkpoint and its signature with the key hint before it; only the exact form that is written passes."""
    try:
        origin, count, head, at, _, signed, _ = text.split("\n")
        checkpoint = Checkpoint(
            bytes.fromhex(origin.removeprefix(ORIGIN)),
            int(count),
            b64decode(head, validate=True),
            datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
        )
        signature = b64decode(signed.removeprefix(_SIGNATURE_MARK), validate=True)
    except ValueError:
        raise _not_a_checkpoint() from None
    as_written = f"{_body(checkpoint)}\n{_SIGNATURE_MARK}{b64encode(signature).decode()}\n"
    lengths = (len(checkpoint.chain_id), len(checkpoint.head), len(signature))
    if as_written != text or lengths != (16, 32, 4 + 64) or checkpoint.count < 0:
        raise _not_a_checkpoint()
    return checkpoint, signature


def _load_public_key(public_key: str) -> Ed25519PublicKey:
    message = say("The public key is not an Ed25519 key in PEM form.")
    try:
        key = load_pem_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise refuse("invalid", "checkpoint.public_key", message, "public_key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise refuse("invalid", "checkpoint.public_key", message, "public_key")
    return key


def _key_hint(key: Ed25519PublicKey) -> bytes:
    """The four bytes by which a signed note names an Ed25519 key: SHA-256(name, LF, 01, key)."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(KEY_NAME.encode() + b"\n\x01" + raw).digest()[:4]


def _not_a_checkpoint() -> Refusal:
    return refuse("invalid", "checkpoint.form", say("This is not a checkpoint of an audit trail."), "checkpoint")
