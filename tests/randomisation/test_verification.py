"""Revealed lists are verified against their commitments, by RTS and by the one file alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rts.randomisation import verification
from rts.randomisation.commitment import kit_leaf, subject_leaf, tree_hash
from rts.randomisation.minimisation import counts_at, minimise
from rts.randomisation.verification import EXPORT_FORMAT, KIT_COLUMNS, SUBJECT_COLUMNS, merkle_root, verify
from rts.trial.procedures import Minimisation, written_form

VECTORS = json.loads((Path(__file__).parent / "list_vectors.json").read_text("utf-8"))
LIST = VECTORS["permuted_blocks"][1]
KITS = VECTORS["kit_list"][0]

Rows = list[list[object]]


def differences(reveal: str, commitment: str, *kit_lists: tuple[str, str]) -> list[str]:
    return verify([(reveal, commitment)], kit_lists).differences


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

    assert differences(as_csv(SUBJECT_COLUMNS, subject_rows()), LIST["commitment"], (kits, KITS["commitment"])) == []


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

    found = differences("", LIST["commitment"], (as_csv(KIT_COLUMNS, kits), KITS["commitment"]))

    assert found[1:] == [
        "kit list: the pick ranks are not 1 to 10, each once",
        "kit list: the rows are not the ones committed to: their Merkle root differs from the commitment",
    ]


def test_a_number_in_both_lists_is_told() -> None:
    kits = kit_rows()
    kits[0][1] = subject_rows()[0][2]

    found = differences(
        as_csv(SUBJECT_COLUMNS, subject_rows()), LIST["commitment"], (as_csv(KIT_COLUMNS, kits), KITS["commitment"])
    )

    assert found[-1] == "kit list: numbers that stand in subject list too: 1"


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


# --- the trial against its lists -------------------------------------------------------------------------------------

SALT = "5a" * 16

# A short list, and a longer one that went on from it; a kit list for each.
FIRST: Rows = [["low", 1, "R11", "A", SALT], ["low", 2, "R12", "B", SALT], ["high", 1, "R21", "B", SALT]]
SECOND: Rows = [["low", 1, "S11", "A", SALT], ["low", 2, "S12", "B", SALT], ["high", 1, "S21", "A", SALT]]
KITS_ONE: Rows = [[1, "K1", "white", 2, SALT], [2, "K2", "black", 1, SALT], [3, "K3", "white", 3, SALT]]
KITS_TWO: Rows = [[1, "L1", "black", 2, SALT], [2, "L2", "white", 1, SALT]]
TAPE: Rows = [["", 1, "T1", "00112233aabbccdd", SALT], ["", 2, "T2", "99112233aabbccdd", SALT]]

Export = dict[str, Any]


def revealed(columns: tuple[str, ...], rows: Rows) -> tuple[str, str]:
    """The reveal file of a list and the commitment to it, by the implementation that makes lists."""
    salts = [bytes.fromhex(str(row[-1])) for row in rows]
    leaf: Any = subject_leaf if columns is SUBJECT_COLUMNS else kit_leaf
    leaves = [leaf(*row[:-1], salt) for row, salt in zip(rows, salts, strict=True)]
    return as_csv(columns, rows), tree_hash(leaves).hex()


LISTS = [revealed(SUBJECT_COLUMNS, FIRST), revealed(SUBJECT_COLUMNS, SECOND)]
KIT_LISTS = [revealed(KIT_COLUMNS, KITS_ONE), revealed(KIT_COLUMNS, KITS_TWO)]


def subject(code: str, event: int, stratum: str, number: str, *kits: str) -> Export:
    given = [{"number": kit, "visit": "W0", "state": "dispensed"} for kit in kits]
    return {"code": code, "event": event, "stratum": stratum, "randomisation_number": number, "kits": given}


def use(kind: str, commitment: str, activated: int, closed: int | None = None) -> Export:
    return {"kind": kind, "commitment": commitment, "activated": activated, "closed": closed}


def export() -> Export:
    """A trial as it should be: the second list goes on where the first is used up, stratum by stratum."""
    return {
        "format": EXPORT_FORMAT,
        "lists": [
            *(use("kits", commitment, 3 + place) for place, (_, commitment) in enumerate(KIT_LISTS)),
            use("subjects", LISTS[0][1], 5),
            use("subjects", LISTS[1][1], 20),
        ],
        "subjects": [
            subject("01-001", 10, "low", "R11", "K1"),
            subject("02-001", 30, "low", "R12", "K2"),
            subject("01-002", 31, "low", "S11", "K3", "L2"),
            subject("01-003", 40, "high", "R21", "L1"),
        ],
    }


def compared(changed: Export) -> list[str]:
    return verify(LISTS, KIT_LISTS, json.dumps(changed)).differences


def test_a_trial_in_which_every_subject_got_what_was_committed_to_is_told_in_one_line() -> None:
    verified = verify(LISTS, KIT_LISTS, json.dumps(export()))

    assert verified.differences == []
    assert verified.statement == (
        "The revealed lists are the ones committed to. 4 subjects took their entries in turn. 5 kits are on the lists, "
        "each of one subject, and each type went to one arm: black to B, white to A."
    )


def test_a_list_that_was_closed_is_left_where_it_was() -> None:
    changed = export()
    changed["lists"][2]["closed"] = 20
    changed["subjects"][1:] = [subject("02-001", 30, "low", "S11"), subject("01-002", 31, "high", "S21")]

    assert compared(changed) == []


def test_without_a_kit_list_kits_are_said_not_to_be_verified() -> None:
    verified = verify(LISTS, [], json.dumps(export()))

    assert verified.differences == []
    assert verified.statement.endswith("Kits were not verified: no kit list was given.")


def test_a_tape_is_taken_in_turn_whatever_the_stratum_and_tells_no_arm() -> None:
    tape = revealed(SUBJECT_COLUMNS, TAPE)
    trial = {
        "format": EXPORT_FORMAT,
        "lists": [use("kits", KIT_LISTS[0][1], 1), use("subjects", tape[1], 2)],
        "subjects": [subject("01-001", 3, "high", "T1", "K1"), subject("01-002", 4, "low", "T2", "K2")],
    }

    in_turn = verify([tape], KIT_LISTS[:1], json.dumps(trial))
    trial["subjects"] = [subject("01-001", 3, "high", "T2")]
    skipped = verify([tape], KIT_LISTS[:1], json.dumps(trial))

    assert in_turn.differences == []
    assert in_turn.statement.endswith(
        "2 kits are on the lists, each of one subject; on a tape arms are calculated, so its subjects' kits were not "
        "compared with arms."
    )
    assert skipped.differences == [
        "subject 01-001: took entry 2 of subject list, where entry 1 of subject list was next"
    ]


RULE = {
    "arms": [["A", 1], ["B", 1]],
    "procedure": {"name": "minimisation", "metric": "range", "weights": {"sex": 1, "site": 2}, "probability": "4/5"},
}


def minimised_trial(kits: tuple[str, str], levels: tuple[dict[str, str], dict[str, str]]) -> tuple[Any, str]:
    tape = revealed(SUBJECT_COLUMNS, TAPE)
    trial = {
        "format": EXPORT_FORMAT,
        "lists": [use("kits", KIT_LISTS[0][1], 1), use("subjects", tape[1], 2)],
        "subjects": [
            subject("01-001", 3, "high", "T1", kits[0]) | {"levels": levels[0]},
            subject("01-002", 4, "low", "T2", kits[1]) | {"levels": levels[1]},
        ],
    }
    return tape, json.dumps(trial)


def test_with_its_rule_the_arms_of_a_tape_are_worked_out_and_kits_compared() -> None:
    # The first word, 0.0003 of the whole, is A by a fair coin; the second, 0.598, is beyond the fifth that A has then.
    here = {"sex": "f", "site": "01"}
    tape, trial = minimised_trial(("K1", "K2"), (here, here))

    verified = verify([tape], KIT_LISTS[:1], trial, json.dumps(RULE))

    assert verified.differences == []
    assert verified.statement.endswith("each of one subject, and each type went to one arm: black to B, white to A.")
    tape, trial = minimised_trial(("K1", "K3"), (here, here))
    assert verify([tape], KIT_LISTS[:1], trial, json.dumps(RULE)).differences == [
        "kits of type white went to several arms: A (1), B (1)",
        "subject 01-001, visit W0: kit K1 of type white went to arm A",
        "subject 01-002, visit W0: kit K3 of type white went to arm B",
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metric", ["range", "variance"])
def test_the_verifier_works_out_the_arms_that_the_service_allocates(seed: int, metric: str) -> None:
    chance = np.random.default_rng(seed)
    arms = [("A", 2), ("B", 1), ("C", 3)]
    procedure = Minimisation(metric, (("sex", 2), ("site", 1)), Fraction(2, 3))
    rule = {"arms": [list(arm) for arm in arms], "procedure": written_form(procedure)}
    rows: Rows = []
    subjects, earlier = [], []
    expected = {}
    for place in range(1, 61):
        word, levels = chance.bytes(8).hex(), {"sex": "fm"[chance.integers(2)], "site": "123"[chance.integers(3)]}
        rows.append(["", place, f"T{place}", word, SALT])
        allocated = minimise(procedure, arms, levels, counts_at(levels, "ABC", earlier), word)
        earlier.append((allocated.arm, levels))
        expected[f"T{place}"] = allocated.arm
        subjects.append(subject(f"01-{place:03}", 2 + place, "all", f"T{place}", f"K{place}") | {"levels": levels})
    kinds = {"A": "white", "B": "black", "C": "red"}
    ranks = [int(rank) + 1 for rank in chance.permutation(60)]
    kit_rows: Rows = [[n, f"K{n}", kinds[expected[f"T{n}"]], rank, SALT] for n, rank in enumerate(ranks, start=1)]
    tape, kits = revealed(SUBJECT_COLUMNS, rows), revealed(KIT_COLUMNS, kit_rows)
    lists = [use("kits", kits[1], 1), use("subjects", tape[1], 2)]
    trial = {"format": EXPORT_FORMAT, "lists": lists, "subjects": subjects}

    verified = verify([tape], [kits], json.dumps(trial), json.dumps(rule))

    assert verified.differences == []
    assert verified.statement.endswith("black to B, red to C, white to A.")


@pytest.mark.parametrize("text", ["", "[]", '{"arms": [["A", 1]]}', json.dumps(RULE).replace("range", "spread")])
def test_a_rule_that_is_none_is_told(text: str) -> None:
    tape, trial = minimised_trial(("K1", "K2"), ({}, {}))
    assert verify([tape], KIT_LISTS[:1], trial, text).differences == [
        "minimisation: not the arms and the procedure of a tape"
    ]


def give_a_number_of_no_list(trial: Export) -> None:
    trial["subjects"][3]["randomisation_number"] = "R99"


def take_an_entry_twice(trial: Export) -> None:
    trial["subjects"].append(subject("02-002", 50, "low", "R11"))


def skip_an_entry(trial: Export) -> None:
    trial["subjects"] = [subject("01-001", 10, "low", "R12")]


def exchange_two_subjects(trial: Export) -> None:
    trial["subjects"][:2] = [subject("01-001", 10, "low", "R12"), subject("02-001", 30, "low", "R11")]


def enter_another_stratum(trial: Export) -> None:
    trial["subjects"][3]["stratum"] = "low"


def begin_the_second_list_too_early(trial: Export) -> None:
    trial["subjects"][3]["randomisation_number"] = "S21"


def use_a_list_not_yet_active(trial: Export) -> None:
    trial["lists"][3]["activated"] = 35


def go_on_after_the_list_was_closed(trial: Export) -> None:
    trial["lists"][2]["closed"] = 35


def hide_a_list(trial: Export) -> None:
    trial["lists"].append(use("subjects", "ab" * 32, 60))


def forget_a_list(trial: Export) -> None:
    del trial["lists"][1]


def name_a_subject_twice(trial: Export) -> None:
    trial["subjects"][3]["code"] = "01-001"


def exchange_events(trial: Export) -> None:
    trial["subjects"][0]["event"], trial["subjects"][1]["event"] = 32, 30


def give_a_kit_of_no_list(trial: Export) -> None:
    trial["subjects"][0]["kits"][0]["number"] = "K9"


def give_a_kit_to_two_subjects(trial: Export) -> None:
    trial["subjects"][2]["kits"][1]["number"] = "K1"


def give_a_kit_of_the_other_arm(trial: Export) -> None:
    trial["subjects"][0]["kits"][0]["number"], trial["subjects"][1]["kits"] = "K2", []


def give_one_kit_of_many_to_the_other_arm(trial: Export) -> None:
    trial["subjects"][3]["kits"][0]["number"], trial["subjects"][2]["kits"] = "K3", trial["subjects"][2]["kits"][1:]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (give_a_number_of_no_list, ["subject 01-003: the number R99 is on no revealed list"]),
        (take_an_entry_twice, ["subject 02-002: took the entry of subject 01-001, R11"]),
        (
            skip_an_entry,
            [
                "subject 01-001: took entry 2 of subject list 1, stratum low, where entry 1 of subject list 1, stratum "
                "low was next"
            ],
        ),
        (
            exchange_two_subjects,
            [
                "subject 01-001: took entry 2 of subject list 1, stratum low, where entry 1 of subject list 1, stratum "
                "low was next",
                "subject 02-001: took entry 1 of subject list 1, stratum low, where entry 1 of subject list 2, stratum "
                "low was next",
            ],
        ),
        (
            enter_another_stratum,
            [
                "subject 01-003: took entry 1 of subject list 1, stratum high, where entry 2 of subject list 2, "
                "stratum low was next"
            ],
        ),
        (
            begin_the_second_list_too_early,
            [
                "subject 01-003: took entry 1 of subject list 2, stratum high, where entry 1 of subject list 1, "
                "stratum high was next",
                "kits of type black went to several arms: B (1), A (1)",
                "subject 02-001, visit W0: kit K2 of type black went to arm B",
                "subject 01-003, visit W0: kit L1 of type black went to arm A",
            ],
        ),
        (
            use_a_list_not_yet_active,
            ["subject 01-002: took entry 1 of subject list 2, stratum low, where no list in use had an entry left"],
        ),
        (
            go_on_after_the_list_was_closed,
            [
                "subject 01-003: took entry 1 of subject list 1, stratum high, where entry 1 of subject list 2, "
                "stratum high was next"
            ],
        ),
        (hide_a_list, [f"trial export: the list with the commitment {'ab' * 32} is not revealed"]),
        (forget_a_list, ["kit list 2: the trial export knows no list in use with this commitment"]),
        (name_a_subject_twice, ["subject 01-001: stands in the trial export twice"]),
        (exchange_events, ["subject 02-001: event 30 stands after event 32"]),
        (give_a_kit_of_no_list, ["subject 01-001, visit W0: kit K9 is on no revealed kit list"]),
        (give_a_kit_to_two_subjects, ["subject 01-002, visit W0: kit K1 was given to subject 01-001 before"]),
        (
            give_a_kit_of_the_other_arm,
            [
                "kits of type black went to several arms: A (1), B (1)",
                "subject 01-001, visit W0: kit K2 of type black went to arm A",
                "subject 01-003, visit W0: kit L1 of type black went to arm B",
            ],
        ),
        (
            give_one_kit_of_many_to_the_other_arm,
            [
                "kits of type white went to several arms: A (2), B (1)",
                "subject 01-003, visit W0: kit K3 of type white went to arm B",
            ],
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_subject_who_did_not_get_what_was_committed_to_is_told(
    change: Callable[[Export], None], expected: list[str]
) -> None:
    trial = export()
    change(trial)

    assert compared(trial) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "format is missing or of another type"),
        ('{"format": "rts/trial-export/9"}', f"format is not {EXPORT_FORMAT}"),
        (json.dumps({"format": EXPORT_FORMAT, "lists": []}), "subjects is missing or of another type"),
        (json.dumps(export() | {"subjects": [{"code": 1}]}), "code is missing or of another type"),
        (json.dumps(export() | {"lists": [use("kits", "", True)]}), "activated is missing or of another type"),
    ],
)
def test_a_file_that_is_no_trial_export_is_told(text: str, problem: str) -> None:
    assert verify(LISTS, KIT_LISTS, text).differences == [f"trial export: {problem}"]


def test_a_trial_is_not_compared_with_a_malformed_list() -> None:
    found = verify([LISTS[0], ("number\n", LISTS[1][1])], KIT_LISTS, json.dumps(export())).differences

    assert found == [
        "subject list 2, line 1: the columns are not stratum, position, number, arm, salt",
        "trial export: not compared, because a list is malformed",
    ]


def test_the_one_file_runs_with_plain_python(tmp_path: Path) -> None:
    alone = tmp_path / "verification.py"
    shutil.copy(verification.__file__, alone)
    names = ["one.csv", "two.csv", "kits-one.csv", "kits-two.csv"]
    for name, (text, _) in zip(names, [*LISTS, *KIT_LISTS], strict=True):
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "trial.json").write_text(json.dumps(export()), "utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        # -I and -S: without site packages and without this checkout.
        command = [sys.executable, "-I", "-S", str(alone), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout

    first, second = (commitment for _, commitment in LISTS)
    kits = [
        part
        for name, (_, commitment) in zip(names[2:], KIT_LISTS, strict=True)
        for part in ("--kit-reveal", name, "--kit-commitment", commitment)
    ]
    whole = run("one.csv", "two.csv", "--commitment", first, "--commitment", second, *kits)
    trial = ("--trial-export", "trial.json")

    assert whole == (0, "The revealed lists are the ones committed to.\n")
    assert run("one.csv", "--commitment", "0" * 64) == (1, OTHER + "\n")
    assert run("one.csv", "two.csv", "--commitment", first) == (2, "")
    assert run("one.csv", "--commitment", first, *kits[:2]) == (2, "")
    assert run("one.csv", "two.csv", "--commitment", first, "--commitment", second, *kits, *trial)[0] == 0
    assert run("one.csv", "--commitment", first, *kits, *trial) == (
        1,
        f"trial export: the list with the commitment {second} is not revealed\n"
        "subject 01-002: the number S11 is on no revealed list\n",
    )
