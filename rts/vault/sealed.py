"""The type of every value that reveals an arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from rts.vault.entries import EntryContext

# What a sealed value is bound to: a text that names table, column and permanent id, or the place in a list.
Context = str | EntryContext


def associated_data(context: Context) -> bytes:
    """The bytes of `context` that the cipher binds."""
    return context.encode() if isinstance(context, str) else context.associated_data()


@dataclass(frozen=True)
class WrappedKey:
    """A data key, encrypted for one recipient; safe to store beside what it opens.

    `version` is the version of the recipient's key (for the keyring: its root key), `context` what the key is for.
    """

    version: int
    wrap: bytes = field(repr=False)
    context: str


class Sealed:
    """A value that reveals an arm, encrypted. Only an `Opener` reads it.

    The store writes `box` to its column and keeps `context` out of it: the context is rebuilt from table, column and
    permanent id, so that a box moved to another row does not open. Everything that Python could show, compare,
    order, count or copy by raises TypeError: equal ciphertext lengths, sort orders and set sizes are leaks too.
    """

    __slots__ = ("box", "context", "key")

    def __init__(self, box: bytes, context: Context, key: WrappedKey) -> None:
        self.box = box
        self.context = context
        self.key = key

    def __repr__(self) -> str:
        return "<sealed>"

    def __str__(self) -> NoReturn:
        raise _not_while_sealed("shown as text")

    def __format__(self, specification: str) -> NoReturn:
        raise _not_while_sealed("formatted")

    def __bytes__(self) -> NoReturn:
        raise _not_while_sealed("turned into bytes")

    def __eq__(self, other: object) -> NoReturn:
        raise _not_while_sealed("compared")

    def __ne__(self, other: object) -> NoReturn:
        raise _not_while_sealed("compared")

    def __hash__(self) -> NoReturn:
        raise _not_while_sealed("hashed")

    def __lt__(self, other: object) -> NoReturn:
        raise _not_while_sealed("ordered")

    def __le__(self, other: object) -> NoReturn:
        raise _not_while_sealed("ordered")

    def __gt__(self, other: object) -> NoReturn:
        raise _not_while_sealed("ordered")

    def __ge__(self, other: object) -> NoReturn:
        raise _not_while_sealed("ordered")

    def __bool__(self) -> NoReturn:
        raise _not_while_sealed("tested for truth")

    def __len__(self) -> NoReturn:
        raise _not_while_sealed("measured")

    def __iter__(self) -> NoReturn:
        raise _not_while_sealed("iterated over")

    def __contains__(self, item: object) -> NoReturn:
        raise _not_while_sealed("searched")

    def __getitem__(self, item: object) -> NoReturn:
        raise _not_while_sealed("indexed")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise _not_while_sealed("copied or pickled")

    def __reduce__(self) -> NoReturn:
        raise _not_while_sealed("copied or pickled")


def _not_while_sealed(verb: str) -> TypeError:
    return TypeError(f"a sealed value cannot be {verb}; only an opener reads it")
