"""Commands that need no installation: definitions, second programmers' commands, verification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rts.cli.files import read_lines, write_lines
from rts.trial.shipped import shipped_definition
from tests.cli.conftest import Rts

LISTS = json.loads((Path(__file__).parents[1] / "randomisation" / "list_vectors.json").read_text("utf-8"))
SUPPLY = json.loads((Path(__file__).parents[1] / "supply" / "cases.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = SUPPLY["R24_resupply_engine"]["cases"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    public, restricted = tmp_path / "trial.toml", tmp_path / "restricted.toml"
    for path, text in zip((public, restricted), shipped_definition("sirius"), strict=True):
        path.write_text(text, "utf-8")
    return public, restricted


def test_a_right_definition_passes(rts: Rts, files: tuple[Path, Path]) -> None:
    result = rts("trial", "check", *files)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "0 mistakes, 0 warnings.\n", "")


def test_the_shipped_trial_is_checked_by_name(rts: Rts) -> None:
    assert rts("trial", "check", "sirius").exit_code == 0


def test_every_mistake_of_a_definition_is_named_with_its_line_and_rule(rts: Rts, files: tuple[Path, Path]) -> None:
    public, restricted = files
    lines = public.read_text("utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("target ="))
    lines[at] = "target = 0\nunheard_of = true"
    public.write_text("\n".join(lines), "utf-8")

    result = rts("trial", "check", public, restricted)
    as_json = rts("trial", "check", public, restricted, "--json")

    mistakes = json.loads(as_json.stdout)
    assert result.exit_code == as_json.exit_code == 1
    assert {(mistake["line"], mistake["path"]) for mistake in mistakes} >= {
        (at + 1, "trial.target"),
        (at + 2, "trial.unheard_of"),
    }
    for mistake in mistakes:
        assert f"{public}:{mistake['line']}: {mistake['path']}: error:" in result.stderr
        assert f"[{mistake['rule']}]" in result.stderr


def test_a_definition_that_is_not_there_is_told(rts: Rts) -> None:
    result = rts("trial", "check", "nowhere.toml")

    assert (result.exit_code, result.stderr) == (6, "There is no file nowhere.toml. [file.missing]\n")


def test_a_definition_that_is_no_text_is_told(rts: Rts, tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")

    assert rts("trial", "check", "binary.toml").exit_code == 3


@pytest.mark.requirement("LIST-01")
@pytest.mark.parametrize("vector", [LISTS["permuted_blocks"][1], LISTS["kit_list"][0]], ids=["subjects", "kits"])
def test_a_list_is_regenerated_as_the_vectors_say(rts: Rts, tmp_path: Path, vector: dict[str, Any]) -> None:
    parameters = {key: value for key, value in vector.items() if key not in {"rows", "salts", "commitment"}}
    (tmp_path / "p.json").write_text(json.dumps(parameters), "utf-8")

    result = rts("list", "regenerate", "p.json", "--json", "--database", "sqlite:///unused", "--keyring", "unused")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == vector


@pytest.mark.requirement("LIST-01")
@pytest.mark.parametrize("vector", LISTS["conditional"], ids=lambda vector: vector["procedure"]["name"])
def test_a_list_of_a_procedure_is_regenerated_as_the_vectors_say(rts: Rts, vector: dict[str, Any]) -> None:
    parameters = {key: value for key, value in vector.items() if key not in {"arms_in_order", "commitment"}}

    answer = json.loads(rts("list", "regenerate", "-", "--json", input=json.dumps(parameters)).stdout)

    assert "".join(row[3] for row in answer["rows"]) == vector["arms_in_order"]
    assert answer["commitment"] == vector["commitment"]


def test_a_procedure_that_cannot_be_is_told_by_field_and_rule(rts: Rts) -> None:
    parameters = {**LISTS["conditional"][0], "procedure": {"name": "biased-coin", "probability": 0.667}}

    result = rts("list", "regenerate", "-", "--json", input=json.dumps(parameters))

    assert result.exit_code == 3
    assert "procedure.probability must be a text" in result.stderr
    assert "0.667" not in result.stderr


def test_a_slip_in_json_is_told_with_its_line_and_nothing_of_the_text(rts: Rts, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{\n"seed": "abc"\n"list_id": 1}', "utf-8")

    result = rts("list", "regenerate", "p.json", "--json")

    assert result.exit_code == 3
    assert result.stderr == "p.json, line 3: not JSON (Expecting ',' delimiter). [file.json]\n"


def test_supply_cases_are_evaluated_from_standard_input(rts: Rts) -> None:
    result = rts("supply", "evaluate", "-", "--json", input=json.dumps(CASES))

    assert result.exit_code == 0
    assert [{key: answer[key] for key in ("per_type", "order")} for answer in json.loads(result.stdout)] == [
        case["expected"] for case in CASES
    ]


def test_supply_cases_are_shown_for_people_too(rts: Rts, tmp_path: Path) -> None:
    case = {"name": "one kit left", "today": 0, "kit_types": {"A": {"on_hand": [9], "min": 1, "max": 3}}}
    (tmp_path / "cases.json").write_text(json.dumps([case]), "utf-8")

    result = rts("supply", "evaluate", "cases.json")

    assert result.stdout == "one kit left\n  A: usable 1, trigger 1, level 3, fires, need 2, order 2\n"


def test_a_design_is_measured(rts: Rts, tmp_path: Path) -> None:
    design = {"procedure": {"name": "permuted-blocks", "block_sizes": [4, 6]}, "n": 12}
    (tmp_path / "design.json").write_text(json.dumps(design), "utf-8")

    as_json = rts("list", "measures", "design.json", "--json", "--database", "sqlite:///unused")
    for_people = rts("list", "measures", "-", input=json.dumps(design))

    found = json.loads(as_json.stdout)
    assert (as_json.exit_code, as_json.stderr, for_people.exit_code) == (0, "", 0)
    assert found == design | found
    assert found["cg_convergence"] == pytest.approx(1957 / 2880, rel=0, abs=1e-12)
    assert found["P_max"] == pytest.approx({"1": 0.1837037037037037, "2": 0.7062962962962963, "3": 0.11})
    lines = for_people.stdout.splitlines()
    assert lines[0] == "Correct guesses, convergence strategy                  0.679514"
    assert "Distribution of the largest imbalance                  1: 0.183704, 2: 0.706296, 3: 0.11" in lines
    assert len(lines) == len(found) - len(design)


def test_a_design_that_cannot_be_measured_is_refused_with_field_and_rule(rts: Rts) -> None:
    result = rts("list", "measures", "-", "--json", input='{"procedure": {"name": "big-stick"}, "n": 12}')

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "missing key: procedure.imbalance [procedure.missing, procedure.imbalance]\n"


def test_a_revealed_list_is_verified(rts: Rts, tmp_path: Path) -> None:
    vector = LISTS["permuted_blocks"][0]
    rows = [["stratum", "position", "number", "arm", "salt"], *vector["rows"]]
    (tmp_path / "reveal.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows), "utf-8")

    right = rts("list", "verify", "reveal.csv", "--commitment", vector["commitment"])
    wrong = rts("list", "verify", "reveal.csv", "--commitment", "0" * 64)
    half = rts("list", "verify", "reveal.csv", "--commitment", "0" * 64, "--kit-commitment", "0" * 64)

    assert (right.exit_code, right.stdout) == (0, "The revealed lists are the ones committed to.\n")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "differs from the commitment" in wrong.stderr
    unequal = rts("list", "verify", "reveal.csv", "reveal.csv", "--commitment", vector["commitment"])
    assert (half.exit_code, "Each --kit-reveal needs one --kit-commitment." in half.stderr) == (2, True)
    assert (unequal.exit_code, "Each REVEAL needs one --commitment." in unequal.stderr) == (2, True)


def test_an_audit_export_is_verified_offline(rts: Rts, tmp_path: Path) -> None:
    vectors = json.loads((Path(__file__).parents[1] / "store" / "audit_vectors.json").read_text("utf-8"))
    (tmp_path / "export.jsonl").write_text("\n".join(vectors["export_after_removal"]) + "\n", "utf-8")
    (tmp_path / "checkpoint.txt").write_text(vectors["checkpoint"]["text"], "utf-8")
    (tmp_path / "key.pem").write_text(vectors["checkpoint"]["public_key"], "utf-8")
    command = ("audit", "verify", "export.jsonl", "--checkpoint", "checkpoint.txt", "--public-key", "key.pem")

    sound = rts(*command)
    (tmp_path / "export.jsonl").write_text("\n".join(vectors["export_after_removal"][:-1]), "utf-8")
    cut = rts(*command, "--json")

    assert (sound.exit_code, sound.stdout) == (0, "4 events verified; the signature covers the first 4.\n")
    assert cut.exit_code == 1
    assert [found["rule"] for found in json.loads(cut.stdout)["findings"]] == [
        "audit.detail_missing",
        "audit.truncated",
        "audit.count",
    ]


def test_an_export_that_breaks_off_leaves_no_half_file(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "one\n"
        raise LookupError("the rest is gone")

    with pytest.raises(LookupError):
        write_lines(tmp_path / "export.jsonl", lines())

    assert list(tmp_path.iterdir()) == []


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    written = write_lines(tmp_path / "file", ["a\u2028b\n", "c\n"])

    assert (written, list(read_lines(tmp_path / "file"))) == (2, ["a\u2028b", "c"])
