"""One entry of an allocation or kit list: its fixed-length plaintext, and the place it is bound to.

The same bytes stand in the sealed list file and, copied unchanged at activation, in the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NoReturn

from rts.refusal import refuse, say

NUMBER_BYTES = 40
ARM_BYTES = 64
SALT_BYTES = 16
MOST_RANK = 2**32 - 1
# Number and arm are filled up with zeros; the rank is big-endian.
_FIELDS = Struct(f">{NUMBER_BYTES}s{ARM_BYTES}s{SALT_BYTES}sI")
ENTRY_BYTES = _FIELDS.size
# With the four length bytes of a box this is exactly one step: every record of every list has the same length.
ENTRY_PAD_TO = 128


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ListEntry:
    """What one sealed record says. Reveals an arm, so its `repr` says nothing and it cannot be compared.

    `number` is the randomisation or kit number; `arm` the arm code, kit type, or the word of a tape; `salt` the 16
    bytes of the commitment; `pick_rank` the secret pick order of a kit, counted from 1 (0 in subject lists).
    """

    number: str
    arm: str
    salt: bytes
    pick_rank: int = 0

    def __repr__(self) -> str:
        return "<sealed>"

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("an open list entry cannot be compared: that would tell which entries share an arm")

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class EntryContext:
    """The place of a record: SHA-256 of its list file's manifest, its stratum (empty for kits) and position from 1.

    Position 0 of the empty stratum is the place of the record that holds the list's inputs.
    """

    manifest_digest: bytes
    stratum: str
    position: int

    def associated_data(self) -> bytes:
        """The bytes the record is bound to: manifest digest, 00, stratum, U+001F, position in decimal."""
        return self.manifest_digest + b"\x00" + f"{self.stratum}\x1f{self.position}".encode()

    def __str__(self) -> str:
        return f"list {self.manifest_digest.hex()} entry {self.stratum}/{self.position}"


def pack_entry(entry: ListEntry) -> bytes:
    """The entry as 124 bytes, whatever the lengths of its number and arm.

    Raises Refusal `invalid` naming the field (never its value) for a text that is not 1 to 40 printable ASCII
    characters, a salt that is not 16 bytes, or a rank outside 0 to 2^32 - 1.
    """
    if len(entry.salt) != SALT_BYTES:
        raise refuse("invalid", "entry.salt", say("The salt of an entry has 16 bytes."), "salt")
    if not 0 <= entry.pick_rank <= MOST_RANK:
        raise refuse("invalid", "entry.pick_rank", say("The pick rank of a kit is outside its range."), "pick_rank")
    return _FIELDS.pack(_code("number", entry.number), _code("arm", entry.arm), entry.salt, entry.pick_rank)


def unpack_entry(plaintext: bytes) -> ListEntry:
    """The entry that `pack_entry` packed. Raises Refusal `unavailable` when the bytes are not an entry."""
    # Asked beforehand: a decoding error would carry the plaintext.
    if len(plaintext) != ENTRY_BYTES or not plaintext[: NUMBER_BYTES + ARM_BYTES].isascii():
        raise refuse("unavailable", "entry.format", say("What was opened is not an entry of a list."))
    number, arm, salt, rank = _FIELDS.unpack(plaintext)
    return ListEntry(number.rstrip(b"\x00").decode("ascii"), arm.rstrip(b"\x00").decode("ascii"), salt, rank)


def is_code(text: str) -> bool:
    """Whether `text` is a code as lists know them: 1 to 40 printable ASCII characters."""
    return 1 <= len(text) <= 40 and text.isascii() and text.isprintable()


def _code(field: str, text: str) -> bytes:
    if not is_code(text):
        message = say("The %(field)s of an entry is 1 to 40 printable ASCII characters.", field=field)
        raise refuse("invalid", f"entry.{field}", message, field)
    return text.encode("ascii")
