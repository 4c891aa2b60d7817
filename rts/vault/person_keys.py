"""Key pairs of the unblinded statisticians, so that a list can be opened with no server.

The private key never reaches the service: the statistician keeps its file, locked by a passphrase. Data keys are
encrypted to the public key by HPKE (RFC 9180, base mode, DHKEM X25519, HKDF-SHA-256, AES-256-GCM).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from rts.entropy import Entropy
from rts.refusal import refuse, say
from rts.vault.boxes import KEY_BYTES

SHORTEST_PASSPHRASE = 12
# PBKDF2 rounds for the private key's file: the figure of the OWASP password storage cheat sheet for HMAC-SHA-256.
PASSPHRASE_ROUNDS = 600_000

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True)
class Person:
    """A person who may open a list: account name, the version of the person's key, the public key as PEM text."""

    person_id: str
    key_version: int
    public_key: str


def create_person_key(passphrase: str, entropy: Entropy) -> tuple[str, str]:
    """A new key pair: the private key as encrypted PEM text, and the public key as PEM text.

    Raises Refusal `invalid` for a passphrase under 12 characters.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        message = say("The passphrase has at least %(least)s characters.", least=SHORTEST_PASSPHRASE)
        raise refuse("invalid", "person_key.passphrase", message, "passphrase")
    private_key = X25519PrivateKey.from_private_bytes(entropy.bytes(KEY_BYTES))
    locked = PrivateFormat.PKCS8.encryption_builder().kdf_rounds(PASSPHRASE_ROUNDS).build(passphrase.encode())
    private_text = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    public_text = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private_text.decode("ascii"), public_text.decode("ascii")


def unlock_person_key(private_text: str, passphrase: str) -> X25519PrivateKey:
    """The private key in `private_text`. Raises Refusal `wrong_password` or, when it is no such key, `invalid`."""
    not_a_key = say("This is not a private key made by RTS.")
    try:
        private_key = load_pem_private_key(private_text.encode(), passphrase.encode())
    except (TypeError, UnsupportedAlgorithm):
        # TypeError: the key in the file is not encrypted.
        raise refuse("invalid", "person_key.private", not_a_key, "private_key") from None
    except ValueError:
        message = say("The passphrase is wrong, or the private key file is damaged.")
        raise refuse("wrong_password", "person_key.passphrase", message, "passphrase") from None
    if not isinstance(private_key, X25519PrivateKey):
        raise refuse("invalid", "person_key.private", not_a_key, "private_key")
    return private_key


def wrap_for_person(data_key: bytes, person: Person, context: str) -> bytes:
    """`data_key` encrypted to the person, bound to `context` and to the person's id and key version.

    Raises Refusal `invalid` when the public key is none that RTS knows.
    """
    message = say("The public key of %(person)s is not an X25519 key in PEM form.", person=person.person_id)
    try:
        public_key = load_pem_public_key(person.public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise refuse("invalid", "person_key.public", message, "public_key") from None
    if not isinstance(public_key, X25519PublicKey):
        raise refuse("invalid", "person_key.public", message, "public_key")
    return _SUITE.encrypt(data_key, public_key, _info(person.person_id, person.key_version, context))


def unwrap_for_person(
    wrap: bytes, private_key: X25519PrivateKey, person_id: str, key_version: int, context: str
) -> bytes | None:
    """The data key in `wrap`, or None when this private key does not open it."""
    try:
        return _SUITE.decrypt(wrap, private_key, _info(person_id, key_version, context))
    except (InvalidTag, ValueError):
        return None


def _info(person_id: str, key_version: int, context: str) -> bytes:
    # The library's HPKE takes no associated data, so what the wrap is for is bound here.
    return f"rts/list-key/1\x00{person_id}\x00{key_version}\x00{context}".encode()
