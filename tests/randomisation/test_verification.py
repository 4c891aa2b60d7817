"""Revealed lists are verified against their commitments, by RTS and by the one file alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rts.randomisation import verification
from rts.randomisation.commitment import tree_hash
from rts.randomisation.verification import KIT_COLUMNS, SUBJECT_COLUMNS, differences, merkle_root

VECTORS = json.loads((Path(__file__).parent / "list_vectors.json").read_text("utf-8"))
LIST = VECTORS["permuted_blocks"][1]
KITS = VECTORS["kit_list"][0]

Rows = list[list[object]]


def as_csv(columns: tuple[str, ...], rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def subject_rows() -> Rows:
    return [list(row) for row in LIST["rows"]]


def kit_rows() -> Rows:
    rows = zip(KITS["rows"], KITS["salts"], strict=True)
    return [[position, *row, salt] for position, (row, salt) in enumerate(rows, start=1)]


@pytest.mark.requirement("LIST-01")
@pytest.mark.parametrize("case", range(3))
def test_the_worked_lists_meet_their_commitments(case: int) -> None:
    vector = VECTORS["permuted_blocks"][case]

    assert differences(as_csv(SUBJECT_COLUMNS, vector["rows"]), vector["commitment"]) == []


def test_a_kit_list_is_verified_beside_its_subject_list() -> None:
    kits = as_csv(KIT_COLUMNS, kit_rows())

    assert differences(as_csv(SUBJECT_COLUMNS, subject_rows()), LIST["commitment"], kits, KITS["commitment"]) == []


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_the_root_is_that_of_the_other_implementation(size: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(size)]

    assert merkle_root(leaves) == tree_hash(leaves)


OTHER = "subject list: the rows are not the ones committed to: their Merkle root differs from the commitment"
MALFORMED = "subject list: the commitment cannot be computed from malformed rows"


def exchange_arms(rows: Rows) -> None:
    other = next(row for row in rows if row[3] != rows[0][3])
    rows[0][3], other[3] = other[3], rows[0][3]


def repeat_a_number(rows: Rows) -> None:
    rows[2][2] = rows[1][2]


def leave_one_out(rows: Rows) -> None:
    del rows[1]


def move_one_to_the_end(rows: Rows) -> None:
    rows.append(rows.pop(0))


def cut_a_salt(rows: Rows) -> None:
    rows[0][4] = str(rows[0][4])[:-1]


def misplace(rows: Rows) -> None:
    rows[3][1] = "four"


def hide_a_separator(rows: Rows) -> None:
    rows[0][3] = f"{rows[0][3]}\x1f"


def shorten(rows: Rows) -> None:
    del rows[0][4]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (exchange_arms, [OTHER]),
        (repeat_a_number, ["subject list, line 4: the number of line 3 again", OTHER]),
        (leave_one_out, ["subject list, line 3: position 3 stands where 2 belongs", OTHER]),
        (cut_a_salt, ["subject list, line 2: salt is not 32 hex digits in small letters", MALFORMED]),
        (misplace, ["subject list, line 5: position is not a whole number from 1", MALFORMED]),
        (
            hide_a_separator,
            ["subject list, line 2: a value holds other than printable ASCII characters", MALFORMED],
        ),
        (shorten, ["subject list, line 2: 4 values where 5 belong", MALFORMED]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_difference_is_told_by_its_line(change: Callable[[Rows], None], expected: list[str]) -> None:
    rows = subject_rows()
    change(rows)

    assert differences(as_csv(SUBJECT_COLUMNS, rows), LIST["commitment"]) == expected


def test_rows_out_of_order_are_told() -> None:
    rows = subject_rows()
    move_one_to_the_end(rows)

    found = differences(as_csv(SUBJECT_COLUMNS, rows), LIST["commitment"])

    assert found[0] == "subject list, line 2: position 2 stands where 1 belongs"
    assert found[-1] == OTHER


def test_pick_ranks_that_are_no_order_are_told() -> None:
    kits = kit_rows()
    kits[0][3] = kits[1][3]

    found = differences("", LIST["commitment"], as_csv(KIT_COLUMNS, kits), KITS["commitment"])

    assert found[1:] == [
        "kit list: the pick ranks are not 1 to 10, each once",
        "kit list: the rows are not the ones committed to: their Merkle root differs from the commitment",
    ]


def test_a_number_in_both_lists_is_told() -> None:
    kits = kit_rows()
    kits[0][1] = subject_rows()[0][2]

    found = differences(
        as_csv(SUBJECT_COLUMNS, subject_rows()), LIST["commitment"], as_csv(KIT_COLUMNS, kits), KITS["commitment"]
    )

    assert found[-1] == "kit list: 1 numbers are randomisation numbers too"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "subject list, line 1: the columns are not stratum, position, number, arm, salt"),
        ("number,arm\n", "subject list, line 1: the columns are not stratum, position, number, arm, salt"),
        ('"a\n', "subject list: not CSV (unexpected end of data)"),
    ],
)
def test_a_file_that_is_no_reveal_is_told(text: str, expected: str) -> None:
    assert differences(text, LIST["commitment"]) == [expected]


def test_a_commitment_that_is_none_is_told() -> None:
    assert differences(as_csv(SUBJECT_COLUMNS, subject_rows()), "abc") == [
        "subject list: the commitment given is not 64 hex digits"
    ]


def test_the_one_file_runs_with_plain_python(tmp_path: Path) -> None:
    alone = tmp_path / "verification.py"
    shutil.copy(verification.__file__, alone)
    reveal = tmp_path / "reveal.csv"
    reveal.write_text(as_csv(SUBJECT_COLUMNS, subject_rows()), "utf-8")
    # -I and -S: without site packages and without this checkout.
    command = [sys.executable, "-I", "-S", str(alone), str(reveal), "--commitment"]

    right = subprocess.run([*command, LIST["commitment"]], capture_output=True, text=True)
    wrong = subprocess.run([*command, "0" * 64], capture_output=True, text=True)

    assert (right.returncode, right.stdout) == (0, "The revealed lists are the ones committed to.\n")
    assert (wrong.returncode, wrong.stdout) == (1, f"{OTHER}\n")
