"""Key pairs of the unblinded statisticians, so that a list can be opened with no server.

The private key never reaches the service: the statistician keeps its file, locked by a passphrase. Data keys are
encrypted to the public key by HPKE (RFC 9180, base mode, DHKEM X25519, HKDF-SHA-256, AES-256-GCM).
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, encodebytes
from dataclasses import dataclass
from unicodedata import normalize

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from rts.entropy import Entropy
from rts.refusal import Refusal, refuse, say
from rts.vault.boxes import KEY_BYTES, LENGTH_BYTES, open_box, seal_box

SHORTEST_PASSPHRASE = 12
SALT_BYTES = 16
# Scrypt (RFC 7914) with N = 2^17, r = 8, p = 1: 128 MiB a guess, the figure of the OWASP password storage cheat sheet.
# An encrypted PKCS#8 file would be the usual form, but the library writes it with 2,048 rounds of PBKDF2 only.
SCRYPT_N = 2**17

_ARMOUR = "RTS PERSON KEY 1"
_BEGIN = f"-----BEGIN {_ARMOUR}-----\n"
_END = f"-----END {_ARMOUR}-----\n"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True)
class Person:
    """A person who may open a list: account name, the version of the person's key, the public key as PEM text."""

    person_id: str
    key_version: int
    public_key: str


def create_person_key(passphrase: str, entropy: Entropy) -> tuple[str, str]:
    """A new key pair: the private key locked by `passphrase`, as text in PEM armour, and the public key as PEM text.

    Raises Refusal `invalid` for a passphrase under 12 characters.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        message = say("The passphrase has at least %(least)s characters.", least=SHORTEST_PASSPHRASE)
        raise refuse("invalid", "person_key.passphrase", message, "passphrase")
    secret = entropy.bytes(KEY_BYTES)
    salt = entropy.bytes(SALT_BYTES)
    box = seal_box(_cipher(passphrase, salt), secret, _ARMOUR.encode(), LENGTH_BYTES + KEY_BYTES, entropy)
    private_text = f"{_BEGIN}{encodebytes(salt + box).decode()}{_END}"
    public_key = X25519PrivateKey.from_private_bytes(secret).public_key()
    public_text = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    return private_text, public_text


def unlock_person_key(private_text: str, passphrase: str) -> X25519PrivateKey:
    """The private key in `private_text`.

    Raises Refusal `wrong_password` for another passphrase or a damaged key, `invalid` for a text that is no such key.
    """
    text = private_text.replace("\r\n", "\n").strip() + "\n"
    locked = _unarmour(text.removeprefix(_BEGIN).removesuffix(_END))
    if locked is None or not text.startswith(_BEGIN) or not text.endswith(_END):
        message = say("This is not a private key made by RTS.")
        raise refuse("invalid", "person_key.private", message, "private_key")
    try:
        secret = open_box(_cipher(passphrase, locked[:SALT_BYTES]), locked[SALT_BYTES:], _ARMOUR.encode())
    except Refusal:
        message = say("The passphrase is wrong, or the private key file is damaged.")
        raise refuse("wrong_password", "person_key.passphrase", message, "passphrase") from None
    return X25519PrivateKey.from_private_bytes(secret)


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    # Typed on another keyboard the same letters may be composed otherwise (NFC and NFD).
    normal = normalize("NFKC", passphrase).encode()
    return AESGCM(Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=8, p=1).derive(normal))


def _unarmour(text: str) -> bytes | None:
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


@dataclass(frozen=True)
class PublicKey:
    """The public half of a person's key: as PEM text in the one form that RTS writes, and its fingerprint.

    The fingerprint is the SHA-256 of the 32 bytes of the key, as 64 hex digits.
    """

    pem: str
    fingerprint: str


def read_public_key(text: str) -> PublicKey:
    """The public key in `text`.

    Raises Refusal `invalid`: rule `person_key.private_sent` for a private key, `person_key.public` for what is no
    X25519 key in PEM form, or one of the few whose secrets anybody could tell (RFC 7748, section 6.1).
    """
    if "PRIVATE KEY" in text or _ARMOUR in text:
        message = say(
            "This is a private key, and it belongs on your own computer alone. It was not kept; if somebody else may "
            "have seen it, make a new key. Give the public one, which begins with BEGIN PUBLIC KEY."
        )
        raise refuse("invalid", "person_key.private_sent", message, "public_key")
    key = _public_key(text)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    return PublicKey(pem, hashlib.sha256(key.public_bytes_raw()).hexdigest())


def _public_key(text: str) -> X25519PublicKey:
    refusal = refuse(
        "invalid", "person_key.public", say("This is not a public key made by rts keys person new."), "public_key"
    )
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise refusal from None
    if not isinstance(key, X25519PublicKey):
        raise refusal
    try:
        X25519PrivateKey.from_private_bytes(bytes(KEY_BYTES)).exchange(key)
    except ValueError:
        # A point of low order: what is shared with it is zero for everybody, whichever private key is taken.
        raise refusal from None
    return key


def wrap_for_person(data_key: bytes, person: Person, context: str) -> bytes:
    """`data_key` encrypted to the person, bound to `context` and to the person's id and key version.

    Raises Refusal `invalid` when the public key is none that RTS knows.
    """
    public_key = _public_key(person.public_key)
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
