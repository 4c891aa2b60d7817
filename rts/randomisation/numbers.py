"""Randomisation and kit numbers, which tell nothing of order, stratum or arm, and the salts of the commitment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from rts.randomisation.streams import draw_below
from rts.trial.procedures import MOST_ENTRIES

SALT_LENGTH = 16
"""Length of an entry's salt, in bytes."""

_CHECK_DIGITS = tuple(f"{98 - remainder:02d}" for remainder in range(97))
_NUMBER = re.compile(r"[A-Z]{1,3}([1-9][0-9]{3,8})([0-9]{2})")


def digits_for(entries: int) -> int:
    """How many digits the numbers of a list have before their check digits.

    At least four, and so many that at most one number in ten is used: a mistyped number then rarely meets another.
    Raises ValueError above `MOST_ENTRIES`.
    """
    if entries > MOST_ENTRIES:
        raise ValueError(f"a list numbers at most {MOST_ENTRIES} entries")
    digits = 4
    while 9 * 10 ** (digits - 1) < 10 * entries:
        digits += 1
    return digits


def draw_numbers(prefix: str, entries: int, words: Iterator[int]) -> list[str]:
    """`entries` different numbers in the order drawn, each with `prefix` before and two check digits behind.

    Raises ValueError above `MOST_ENTRIES`.
    """
    smallest = 10 ** (digits_for(entries) - 1)
    draws = draw_below(9 * smallest, words)
    # A dictionary keeps the order in which values are first drawn, and takes none twice.
    drawn = dict.fromkeys(islice(draws, entries))
    while len(drawn) < entries:
        drawn[next(draws)] = None
    return [f"{prefix}{value}{check_digits(value)}" for value in map(smallest.__add__, drawn)]


def draw_salts(entries: int, blocks: Iterator[bytes]) -> list[bytes]:
    """`entries` salts of 16 bytes, two from each block."""
    pairs = islice(blocks, (entries + 1) // 2)
    salts = [salt for block in pairs for salt in (block[:SALT_LENGTH], block[SALT_LENGTH:])]
    return salts[:entries]


def normal_number(text: str) -> str:
    """A kit number as people type it (grouped, small letters) in the form lists hold it."""
    return "".join(text.split()).replace("-", "").upper()


def check_digits(value: int) -> str:
    """The two check digits of `value` by ISO 7064 MOD 97-10: 794 has 44."""
    return _CHECK_DIGITS[value * 100 % 97]


def has_valid_check_digits(number: str) -> bool:
    """Whether `number` is written as numbers are (prefix, digits) and its last two digits are the right check digits.

    It finds every single wrong digit and every swap of two neighbours. It does not say that such a number exists.
    """
    written = _NUMBER.fullmatch(number)
    return written is not None and check_digits(int(written[1])) == written[2]
