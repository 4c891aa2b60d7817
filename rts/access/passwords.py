"""Passwords: Argon2id, and the rules a new one must meet (NIST SP 800-63B: length, not the user's own name, no
composition rules).
"""

from __future__ import annotations

import base64
import threading

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from rts.refusal import FailedRule, refuse_all, say

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 200

hasher = PasswordHasher()  # Argon2id, RFC 9106 low-memory profile: 64 MiB a hash

# Each hash takes 64 MiB: a burst of sign-ins must queue here rather than exhaust the server's memory.
_concurrent_hashes = threading.BoundedSemaphore(4)


def hash_password(password: str) -> str:
    """The Argon2id hash of `password`."""
    with _concurrent_hashes:
        return hasher.hash(password)


def matches(password_hash: str | None, password: str) -> bool:
    """Whether `password` is right. For an unknown person (None) it takes as long and is never right."""
    with _concurrent_hashes:
        try:
            return hasher.verify(password_hash or _nobodys_hash(), password)
        except VerifyMismatchError:
            return False


def _nobodys_hash() -> str:
    """A hash of today's cost that nobody has found a password for: of nothing but zeros. It is written, not computed,
    so that the first try of an unknown name takes no longer either.
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


def check_new(password: str, username: str) -> None:
    """Refuse a password that is too short, too long, or contains the user name."""
    failed = []
    if not MINIMUM_LENGTH <= len(password) <= MAXIMUM_LENGTH:
        failed.append(
            FailedRule(
                "password.length",
                say(
                    "A password has between %(least)d and %(most)d characters.",
                    least=MINIMUM_LENGTH,
                    most=MAXIMUM_LENGTH,
                ),
                "password",
            )
        )
    if username and username.lower() in password.lower():
        failed.append(FailedRule("password.username", say("A password does not contain the user name."), "password"))
    if len(set(password)) < 5:
        failed.append(
            FailedRule("password.variety", say("A password has at least five different characters."), "password")
        )
    refuse_all("invalid", failed)
