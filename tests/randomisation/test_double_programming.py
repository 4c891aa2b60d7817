"""The second program, in R, makes every list that the first one makes, and finds what was changed in one."""

import copy
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rts.randomisation.imported import ImportedListInputs, read_imported_list
from rts.randomisation.regenerate import regenerate
from rts.randomisation.streams import ListStreams
from rts.trial.procedures import KEYS, METRICS, MOST_ENTRIES
from tests.infrastructure import r

VECTORS = json.loads((Path(__file__).parent / "list_vectors.json").read_text(encoding="utf-8"))
PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
PROBABILITIES = ["2/3", "0.8", "0.612345678901", "077/0101", "4294967295/4294967296", "3/5", "0.5000000001"]

SUBJECTS = {
    "seed": bytes(range(32)).hex(),
    "list_id": "R1",
    "prefix": "R",
    "strata": ["low", "high"],
    "arms": [["xq", 1], ["zv", 1]],
    "block_sizes": [2, 4],
    "length": 6,
}
KITS = {"seed": bytes(range(32)).hex(), "list_id": "K1", "prefix": "K", "kit_types": [["xq", 3], ["zv", 2]]}


class Draw:
    """Random values, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def whole(self, least: int, most: int) -> int:
        return int(self._generator.integers(least, most, endpoint=True))

    def one_of(self, options: Sequence[Any]) -> Any:
        return options[self.whole(0, len(options) - 1)]

    def text(self, characters: Sequence[str], most: int) -> str:
        return "".join(self.one_of(characters) for _ in range(self.whole(1, most)))

    def codes(self, count: int) -> list[str]:
        """Different codes of every length, of all characters that a code may have."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.text(PRINTABLE, 40)] = None
        return list(found)

    def list_of_its_own(self) -> dict[str, object]:
        """What every list has: seed, name and prefix."""
        return {
            "seed": self._generator.bytes(32).hex(),
            "list_id": self.text(PRINTABLE, 40),
            "prefix": self.text(string.ascii_uppercase, 3),
        }

    def subjects(self, name: str) -> dict[str, object]:
        """Parameters of a subject list by the procedure `name`."""
        length = 2 * self.whole(1, 20)
        if name in {"permuted-blocks", "random-allocation-rule", "minimisation"}:
            weights = [self.one_of((1, 1, 2, 3)) for _ in range(self.whole(2, 4))]
        else:
            weights = [self.whole(1, 2)] * 2
        if name == "random-allocation-rule":
            length = sum(weights) * self.whole(1, 5)
        multiples = dict.fromkeys(self.whole(1, 5) for _ in range(4))
        values = {
            "block_sizes": [sum(weights) * multiple for multiple in multiples],
            "imbalance": self.one_of((1, 2, 3, 5, MOST_ENTRIES)),
            "probability": self.one_of(PROBABILITIES),
            "lambda": self.one_of((1, 2, 3, 10, MOST_ENTRIES)),
            "alpha": self.one_of((0, 1, 5, MOST_ENTRIES)),
            "beta": self.one_of((1, 3, MOST_ENTRIES)),
            "metric": self.one_of(METRICS),
            "weights": {"sex": 1, "age": 2},
        }
        return {
            **self.list_of_its_own(),
            "strata": [] if name == "minimisation" else self.codes(self.whole(1, 4)),
            "arms": [list(arm) for arm in zip(self.codes(len(weights)), weights, strict=True)],
            "procedure": {"name": name, **{key: values[key] for key in KEYS[name]}},
            "length": length,
        }

    def kits(self) -> dict[str, object]:
        """Parameters of a kit list."""
        types = self.codes(self.whole(1, 4))
        return {**self.list_of_its_own(), "kit_types": [[code, self.whole(1, 20)] for code in types]}

    def imported(self) -> dict[str, object]:
        """A list made elsewhere, opened: the seed of its salts, its rows and its commitment."""
        own = self.list_of_its_own()
        arms = ("xq", "zv", "wp")
        seed = bytes.fromhex(own["seed"])
        inputs = ImportedListInputs(seed, own["list_id"], "EXT", ("low", "high"), arms, has_check_digits=False)
        lines = [
            f"{stratum},{position},EXT{self.whole(1, 10**6)}{place}{position:03},{self.one_of(arms)}"
            for place, stratum in enumerate(inputs.strata)
            for position in range(1, self.whole(1, 30) + 1)
        ]
        made = read_imported_list(inputs, "\n".join(["stratum,position,number,arm", *lines]))
        rows = [[e.stratum, e.position, e.number, e.arm, e.salt.hex()] for e in made.entries()]
        return {"seed": own["seed"], "list_id": own["list_id"], "rows": rows, "commitment": made.commitment()}


def compared(folder: Path, *lists: dict[str, object]) -> tuple[int, list[str]]:
    """Exit code and lines of the second program for `lists`, written to 0.json, 1.json and so on."""
    files = [f"{index}.json" for index in range(len(lists))]
    for file, opened in zip(files, lists, strict=True):
        (folder / file).write_text(json.dumps(opened), encoding="utf-8")
    code, output, errors = r.run_second_program(folder, *files)
    assert errors == ""
    return code, output.splitlines()


def agreement(*lists: dict[str, object]) -> list[str]:
    """What the second program says of `lists` when it makes them all the same."""
    return [
        f"{index}.json: {len(opened['rows'])} entries agree, commitment {opened['commitment']}"
        for index, opened in enumerate(lists)
    ]


@pytest.mark.requirement("LIST-01")
def test_the_second_program_makes_random_lists_of_every_scheme_the_same(tmp_path: Path) -> None:
    draw = Draw(20_260_104)
    lists = [regenerate(draw.subjects(name)) for name in KEYS for _ in range(30)]
    lists += [regenerate(draw.kits()) for _ in range(30)]
    lists += [draw.imported() for _ in range(30)]

    assert compared(tmp_path, *lists) == (0, agreement(*lists))


@pytest.mark.requirement("LIST-01")
def test_the_second_program_makes_the_worked_vectors(tmp_path: Path) -> None:
    lists = [*VECTORS["permuted_blocks"], *VECTORS["kit_list"]]
    assert len(lists) == 4

    assert compared(tmp_path, *lists) == (0, agreement(*lists))


def test_the_second_program_agrees_where_something_begins_or_ends(tmp_path: Path) -> None:
    one_arm_only = SUBJECTS | {"strata": ["all"], "block_sizes": [2], "length": 1}
    four_digits = SUBJECTS | {"strata": ["all"], "length": 900}
    five_digits = SUBJECTS | {"strata": ["all"], "length": 901}
    longest_maximal = {key: value for key, value in SUBJECTS.items() if key != "block_sizes"} | {
        "strata": ["all"],
        "procedure": {"name": "maximal", "imbalance": 12},
        "length": 1000,
    }
    one_kit = KITS | {"kit_types": [["xq", 1]]}
    # Its 451st word of the stream `numbers` is among the few that belong to no number below 90,000.
    passed_over = five_digits | {"seed": (61).to_bytes(32, "big").hex(), "list_id": "PASSED-OVER"}
    words = ListStreams(bytes.fromhex(passed_over["seed"]), "rts/permuted-blocks/1", "PASSED-OVER").words("numbers")
    assert [next(words) >> 32 for _ in range(451)][450] >= 90_000 * (2**32 // 90_000)
    lists = [
        regenerate(parameters)
        for parameters in (one_arm_only, four_digits, five_digits, longest_maximal, one_kit, passed_over)
    ]
    assert [len(opened["rows"][0][2]) for opened in lists[1:3]] == [7, 8]

    assert compared(tmp_path, *lists) == (0, agreement(*lists))


def changed(opened: dict[str, object], *path: str | int, value: object) -> dict[str, object]:
    """A copy of `opened` with one value changed."""
    found = copy.deepcopy(opened)
    inner = found
    for step in path[:-1]:
        inner = inner[step]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    return found


def test_the_second_program_names_each_planted_difference_by_its_place(tmp_path: Path) -> None:
    subjects, kits, elsewhere = regenerate(SUBJECTS), regenerate(KITS), Draw(1).imported()
    other_arm = {"xq": "zv", "zv": "xq"}
    rows, kit_rows, salt, commitment = subjects["rows"], kits["rows"], "00" * 16, "00" * 32
    planted = {
        ("arm of entry 7",): changed(subjects, "rows", 6, 3, value=other_arm[rows[6][3]]),
        ("number of entry 1",): changed(subjects, "rows", 0, 2, value="R100001"),
        ("salt of entry 12",): changed(subjects, "rows", 11, 4, value=salt),
        ("stratum of entry 1",): changed(subjects, "rows", 0, 0, value="high"),
        ("position of entry 2",): changed(subjects, "rows", 1, 1, value=3),
        ("commitment",): changed(subjects, "commitment", value=commitment),
        ("type of entry 5",): changed(kits, "rows", 4, 1, value=other_arm[kit_rows[4][1]]),
        ("rank of entry 1",): changed(kits, "rows", 0, 2, value=6),
        ("number of entry 2",): changed(kits, "rows", 1, 0, value="K100001"),
        ("salt of entry 3",): changed(kits, "salts", 2, value=salt),
        # The rows of an imported list are as given: whatever is changed in them no longer meets the commitment.
        ("commitment", "an arm of an imported list"): changed(elsewhere, "rows", 0, 3, value="other"),
        ("commitment", "a number of an imported list"): changed(elsewhere, "rows", 0, 2, value="EXT1"),
        ("salt of entry 1",): changed(elsewhere, "rows", 0, 4, value=salt),
    }

    code, lines = compared(tmp_path, *planted.values())

    assert code == 1
    assert lines == [
        line
        for index, (difference, *_) in enumerate(planted)
        for line in (f"{index}.json: differs from the list regenerated", f"  {difference}")
    ]


def test_the_second_program_finds_a_seed_of_another_list(tmp_path: Path) -> None:
    right, wrong = regenerate(KITS), regenerate(KITS) | {"seed": "00" * 32}

    code, lines = compared(tmp_path, right, wrong)

    assert (code, lines[0], lines[1], lines[-1]) == (
        1,
        *agreement(right),
        "1.json: differs from the list regenerated",
        "  commitment",
    )


def test_the_second_program_finds_a_row_too_few(tmp_path: Path) -> None:
    opened = regenerate(SUBJECTS)
    del opened["rows"][-1]

    columns = ("stratum", "position", "number", "arm", "salt")
    assert compared(tmp_path, opened) == (
        1,
        [
            "0.json: differs from the list regenerated",
            *(f"  {column}: 11 given, 12 regenerated" for column in columns),
        ],
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "parse error"),
        (json.dumps(SUBJECTS), "no commitment"),
        (json.dumps(SUBJECTS | {"rows": [["low", 1]], "commitment": ""}), "rows must each hold stratum, position"),
        (json.dumps(regenerate(SUBJECTS) | {"procedure": {"name": "die"}}), "unknown procedure: die"),
    ],
)
def test_the_second_program_refuses_what_is_no_opened_list(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "opened.json").write_text(content, encoding="utf-8")

    code, output, errors = r.run_second_program(tmp_path, "opened.json")

    assert (code, output) == (2, "")
    assert says in errors


def test_the_second_program_without_a_list_tells_how_it_is_called(tmp_path: Path) -> None:
    assert r.run_second_program(tmp_path) == (
        2,
        "",
        "regenerate.R: usage: Rscript regenerate.R OPENED.json ...\n",
    )


def test_a_missing_r_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(r.RMissingError, match=r"make setup.*r-base-core"):
        r.find_r()
