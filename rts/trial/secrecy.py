"""What everything in this room that holds an arm, a kit type or a seed has in common: it never prints itself."""

from __future__ import annotations


class NeverPrinted:
    """Base of every class that holds arms, kit types, seeds or block sizes: its text is the constant `<sealed>`.

    A log line, an assertion or a traceback prints values by `repr`; here that shows nothing, not even a length.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<sealed>"
