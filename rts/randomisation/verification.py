"""Verify that a revealed list is the one that was committed to when it was sealed.

This one file needs Python 3.11 and nothing else: no key, no database, no other file of RTS, so that anyone can read
all of it and run it:

    python verification.py REVEAL.csv --commitment HEX [--kit-reveal KITS.csv --kit-commitment HEX]

A reveal file is CSV with a header line. Subject lists have the columns stratum, position, number, arm, salt; kit lists
position, number, kit_type, rank, salt (salts in hex). Rows stand in list order: the strata in the trial's order, each
from position 1; kits in packaging order. The commitment is a Merkle tree hash (RFC 6962, 2.1) over one leaf a row,

    leaf = SHA-256( 00 | salt | UTF-8 text of the row's other values, joined by U+001F )

where a kit's text has an empty stratum before its position. Inner nodes are SHA-256( 01 | left | right ), the tree
split at the largest power of two below its number of leaves.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256

SUBJECT_COLUMNS = ("stratum", "position", "number", "arm", "salt")
KIT_COLUMNS = ("position", "number", "kit_type", "rank", "salt")

_SALT = re.compile(r"[0-9a-f]{32}")
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]*")
_COMMITMENT = re.compile(r"[0-9a-f]{64}")


def differences(reveal: str, commitment: str, kit_reveal: str = "", kit_commitment: str = "") -> list[str]:
    """Everything by which the texts of the reveal files differ from what was committed to; empty when nothing does.

    Rows are named by their line, never by what they say.
    """
    found = list(_differences("subject list", reveal, SUBJECT_COLUMNS, commitment))
    if kit_reveal or kit_commitment:
        found += _differences("kit list", kit_reveal, KIT_COLUMNS, kit_commitment)
        shared = _numbers(reveal, SUBJECT_COLUMNS) & _numbers(kit_reveal, KIT_COLUMNS)
        if shared:
            found.append(f"kit list: {len(shared)} numbers are randomisation numbers too")
    return found


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over leaf hashes (RFC 6962, 2.1)."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


def _differences(name: str, text: str, columns: tuple[str, ...], commitment: str) -> Iterator[str]:
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as problem:
        yield f"{name}: not CSV ({problem})"
        return
    if not rows or tuple(rows[0]) != columns:
        yield f"{name}, line 1: the columns are not {', '.join(columns)}"
        return
    malformed = list(_malformed(name, rows, columns))
    yield from malformed
    if malformed:
        yield f"{name}: the commitment cannot be computed from malformed rows"
        return
    yield from _out_of_order(name, rows[1:], columns)
    wanted = commitment.strip().lower()
    if not _COMMITMENT.fullmatch(wanted):
        yield f"{name}: the commitment given is not 64 hex digits"
    elif merkle_root([_leaf(row, columns) for row in rows[1:]]).hex() != wanted:
        yield f"{name}: the rows are not the ones committed to: their Merkle root differs from the commitment"


def _malformed(name: str, rows: list[list[str]], columns: tuple[str, ...]) -> Iterator[str]:
    counted = [columns.index(column) for column in ("position", "rank") if column in columns]
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            yield f"{name}, line {line}: {len(row)} values where {len(columns)} belong"
            continue
        for at in counted:
            if not _WHOLE_NUMBER.fullmatch(row[at]):
                yield f"{name}, line {line}: {columns[at]} is not a whole number from 1"
        values = "".join(row)
        if not (values.isascii() and values.isprintable()):
            # U+001F inside a value would let two different rows have the same leaf.
            yield f"{name}, line {line}: a value holds other than printable ASCII characters"
        if not _SALT.fullmatch(row[-1]):
            yield f"{name}, line {line}: salt is not 32 hex digits in small letters"


def _out_of_order(name: str, rows: list[list[str]], columns: tuple[str, ...]) -> Iterator[str]:
    """Missing and repeated positions, numbers and ranks: they tell which rows to look at when the root differs."""
    position_at = columns.index("position")
    last: dict[str, int] = {}
    stratum = ""
    numbers: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        before, stratum = stratum, row[0] if columns is SUBJECT_COLUMNS else ""
        if stratum != before and stratum in last:
            yield f"{name}, line {line}: the stratum began earlier and was interrupted"
        expected = last.get(stratum, 0) + 1
        if int(row[position_at]) != expected:
            yield f"{name}, line {line}: position {row[position_at]} stands where {expected} belongs"
        last[stratum] = int(row[position_at])
        number = row[columns.index("number")]
        if number in numbers:
            yield f"{name}, line {line}: the number of line {numbers[number]} again"
        numbers.setdefault(number, line)
    if columns is KIT_COLUMNS:
        ranks = sorted(int(row[columns.index("rank")]) for row in rows)
        if ranks != list(range(1, len(rows) + 1)):
            yield f"{name}: the pick ranks are not 1 to {len(rows)}, each once"


def _leaf(row: list[str], columns: tuple[str, ...]) -> bytes:
    parts = row[:-1] if columns is SUBJECT_COLUMNS else ["", *row[:-1]]
    return sha256(b"\x00" + bytes.fromhex(row[-1]) + "\x1f".join(parts).encode()).digest()


def _numbers(text: str, columns: tuple[str, ...]) -> set[str]:
    at = columns.index("number")
    try:
        return {row[at] for row in csv.reader(io.StringIO(text), strict=True) if len(row) == len(columns)} - {"number"}
    except csv.Error:
        return set()


def main() -> int:
    """Verify the files named on the command line; returns 0 when they meet their commitments, else 1."""
    parser = argparse.ArgumentParser(description="Verify a revealed list against its published commitment.")
    parser.add_argument("reveal")
    parser.add_argument("--commitment", required=True)
    parser.add_argument("--kit-reveal", default="")
    parser.add_argument("--kit-commitment", default="")
    given = parser.parse_args()
    if bool(given.kit_reveal) != bool(given.kit_commitment):
        parser.error("--kit-reveal and --kit-commitment go together")
    texts = []
    for path in (given.reveal, given.kit_reveal):
        if path:
            # Not pathlib: list rooms read no files, and only this block, run by hand, does.
            with open(path, encoding="utf-8-sig", newline="") as stream:  # noqa: PTH123
                texts.append(stream.read())
        else:
            texts.append("")
    found = differences(texts[0], given.commitment, texts[1], given.kit_commitment)
    sys.stdout.write("".join(f"{line}\n" for line in found or ["The revealed lists are the ones committed to."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
