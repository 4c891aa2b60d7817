"""Boxes: AES-256-GCM over a padded plaintext. A box is nonce (12 bytes), ciphertext, tag (16 bytes).

Before encryption the plaintext gets a length prefix of 4 bytes (big-endian) and zeros up to a multiple of `pad_to`, so
that a box's length tells the step only. NIST SP 800-38D; nonces are random, and no data key seals anywhere near 2^32
boxes.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rts.entropy import Entropy
from rts.refusal import Refusal, refuse, say

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
LENGTH_BYTES = 4


def box_length(plaintext_length: int, pad_to: int) -> int:
    """How many bytes a box has whose plaintext has `plaintext_length` bytes, padded in steps of `pad_to`."""
    steps = -(-(LENGTH_BYTES + plaintext_length) // pad_to)
    return NONCE_BYTES + steps * pad_to + TAG_BYTES


def seal_box(cipher: AESGCM, plaintext: bytes, bound_to: bytes, pad_to: int, entropy: Entropy) -> bytes:
    """Encrypt `plaintext`, padded to a multiple of `pad_to` bytes and bound to the associated data `bound_to`."""
    if pad_to < 1:
        raise ValueError("padding goes in steps of at least one byte")
    padded_length = box_length(len(plaintext), pad_to) - NONCE_BYTES - TAG_BYTES
    padded = (len(plaintext).to_bytes(LENGTH_BYTES, "big") + plaintext).ljust(padded_length, b"\x00")
    nonce = entropy.bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, padded, bound_to)


def open_box(cipher: AESGCM, box: bytes, bound_to: bytes) -> bytes:
    """The plaintext of `box`. Raises Refusal `unavailable` (rule `vault.open`) for a wrong key, place or edited box."""
    if len(box) < NONCE_BYTES + LENGTH_BYTES + TAG_BYTES:
        raise cannot_open()
    try:
        padded = cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], bound_to)
    except InvalidTag:
        raise cannot_open() from None
    length = int.from_bytes(padded[:LENGTH_BYTES], "big")
    return padded[LENGTH_BYTES : LENGTH_BYTES + length]


def cannot_open() -> Refusal:
    """The one refusal for every box that does not open: it says nothing of content, place or cause."""
    message = say(
        "A sealed value could not be opened: the key is not the one it was sealed with, or it was altered or moved. "
        "Nothing was shown. Check that the keyring belongs to this installation, and call the data manager."
    )
    return refuse("unavailable", "vault.open", message)
