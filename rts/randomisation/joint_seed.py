"""A seed that two people make together, so that neither can choose the list.

Each draws a share of 32 bytes and commits to it before any is revealed; the seed is the hash of both. Whoever has only
committed knows nothing of the other share, and whoever has revealed can change nothing any more. (A commitment hides
its share because the share is 32 random bytes, not something that can be guessed.)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

SHARE_BYTES = 32
_COMMITMENT = b"rts/joint-seed/1/commitment"
_SEED = b"rts/joint-seed/1/seed"


def share_commitment(specification: str, person: str, share: bytes) -> str:
    """What `person` publishes before revealing: SHA-256 (hex) over the specification's digest (hex), the user name and
    the share. Bound to both, a commitment copied from somebody else, or from an earlier list, cannot be revealed.

    Raises ValueError for a share that is not 32 bytes.
    """
    if len(share) != SHARE_BYTES:
        raise ValueError("a share has 32 bytes")
    return hashlib.sha256(b"\x00".join((_COMMITMENT, specification.encode(), person.encode(), share))).hexdigest()


def keeps_commitment(specification: str, person: str, share: bytes, commitment: str) -> bool:
    """Whether `share` is the one committed to."""
    return len(share) == SHARE_BYTES and hmac.compare_digest(share_commitment(specification, person, share), commitment)


def joint_seed(specification: str, shares: Sequence[bytes]) -> bytes:
    """The 32-byte seed: SHA-256 over the specification's digest (hex) and the shares, in the order in which the
    specification names their contributors.

    Raises ValueError for fewer than two shares, or one that is not 32 bytes.
    """
    if len(shares) < 2 or any(len(share) != SHARE_BYTES for share in shares):
        raise ValueError("a joint seed has two shares or more, of 32 bytes each")
    return hashlib.sha256(b"\x00".join((_SEED, specification.encode(), b"".join(shares)))).digest()
