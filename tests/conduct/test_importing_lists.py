"""A list made elsewhere is read, checked, sealed and used like one generated here, and its file is kept nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.exporting_trials import ExportTrial, export_trial
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.importing_lists import ImportList, import_list
from rts.conduct.lists import inputs_of_list, list_named, read_file
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.conduct.reviewing_lists import ReviewList, review_list
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.randomisation.numbers import check_digits
from rts.randomisation.verification import verify
from rts.rehearsal.staging import KNOWN_TO
from rts.store.checks import run_checks
from rts.store.tables import ListFile, Signature, Subject
from rts.trial.shipped import shipped_definition
from tests.conduct.test_custody_of_lists import KITS, MANAGER, ONE, PLAN, TWO, close, reveal_of, used_entries
from tests.world import World

STRATA = (
    "SLEDAI-LOW.STEROID-LOW",
    "SLEDAI-LOW.STEROID-HIGH",
    "SLEDAI-HIGH.STEROID-LOW",
    "SLEDAI-HIGH.STEROID-HIGH",
)
# A block of six and one of four; the last stratum is longer than planned, and its last block is cut.
SIX, FOUR = ["KILDU", "ORVEN", "ORVEN", "KILDU", "KILDU", "ORVEN"], ["ORVEN", "KILDU", "KILDU", "ORVEN"]
ARMS = [*SIX, *FOUR, "ORVEN", "KILDU", "KILDU"]
LENGTHS = (10, 10, 10, 13)


def rows() -> list[list[str]]:
    """The rows of the file, whose numbers were drawn by somebody else."""
    made: list[list[str]] = []
    for stratum, length in zip(STRATA, LENGTHS, strict=True):
        for position, arm in enumerate(ARMS[:length], start=1):
            value = 1000 + 7919 * (len(made) + 1) % 9000
            made.append([stratum, str(position), f"R{value}{check_digits(value)}", arm])
    return made


def as_csv(lines: list[list[str]]) -> bytes:
    header = ["stratum", "position", "number", "arm"]
    return "".join(",".join(line) + "\r\n" for line in [header, *lines]).encode()


GOOD = as_csv(rows())


def importing(content: bytes = GOOD, **changes: Any) -> ImportList:
    facts: dict[str, Any] = {
        "trial": "SIRIUS",
        "plan": PLAN,
        "content": content,
        "file_name": "sirius_final.csv",
        "digest": sha256(content).hexdigest(),
        "rows": content.count(b"\n") - 1,
    }
    return ImportList(**facts | changes)


def definition_texts() -> tuple[str, str]:
    """SIRIUS for eight subjects, with its subject list planned as one that is imported."""
    public, restricted = shipped_definition("sirius")
    for old in ("target = 146", "trial = 146"):
        assert public.count(old) == 1, old
        public = public.replace(old, old.replace("146", "8"))
    assert restricted.count("length = 148") == 1
    return public, restricted.replace("length = 148", 'length = 10\nimported = "with_check_digits"')


@pytest.fixture
def planned(database_url: str, tmp_path: Path) -> Iterator[World]:
    """The trial with its kit lists in use, and its subject list specified."""
    public, restricted = definition_texts()
    with World.make(database_url, tmp_path, public=public, restricted=restricted, plans=KITS) as world:
        world.stage.specify(PLAN)
        yield world


def imported(world: World, command: ImportList | None = None) -> str:
    return str(world.do(import_list, ONE, command or importing(), sign=True).ids["list"])


@pytest.mark.requirement("LIST-07")
def test_a_list_made_elsewhere_is_used_to_its_end_and_verified(planned: World) -> None:
    name = imported(planned)
    planned.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    planned.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)
    planned.supply("CN02")
    subjects = [planned.randomise("CN02"), planned.randomise("CN02", {"SLEDAI": 4.0, "STEROID": 7.5})]
    assert planned.dispense(subjects[0]).startswith("K")
    with planned.store.transaction() as tx:
        numbers = list(tx.session.scalars(select(Subject.randomisation_number).order_by(Subject.id)))
    close(planned)
    lists, kits = [reveal_of(planned, PLAN)], [reveal_of(planned, one) for one in KITS]
    verified = verify(lists, kits, planned.do(export_trial, MANAGER, ExportTrial("SIRIUS")).text)

    given = {(stratum, position): number for stratum, position, number, _ in rows()}
    assert numbers == [given[STRATA[2], "1"], given[STRATA[0], "1"]]
    assert used_entries(planned) == [(PLAN, 1), (PLAN, 1)]
    assert [line.rsplit(",", 1)[0].split(",") for line in lists[0][0].splitlines()[1:]] == rows()
    assert verified.differences == []
    assert "2 subjects took their entries in turn." in verified.statement
    assert run_checks(planned.store) == []


@pytest.mark.requirement("LIST-07")
def test_what_was_read_is_sealed_with_the_list_and_shown_to_whoever_approves_it(planned: World) -> None:
    name = imported(planned)

    review = planned.do(review_list, TWO, ReviewList("SIRIUS", name))
    assert review.file == {"name": "sirius_final.csv", "sha256": sha256(GOOD).hexdigest(), "rows": 43}
    assert review.quality.findings == ()
    assert [(row.stratum, row.entries) for row in review.quality.figures] == list(zip(STRATA, LENGTHS, strict=True))
    with planned.opened() as (tx, opener):
        trial = tx.trial("SIRIUS")
        found = list_named(tx, trial, name)
        manifest = read_file(tx, trial, found).manifest
        inputs = inputs_of_list(tx, trial, found, opener)
        signature = tx.session.scalars(select(Signature).where(Signature.object_id == name)).one()
    assert (manifest.scheme, manifest.purpose, manifest.entry_count) == ("rts/imported/1", "test", 43)
    assert inputs["file"] == review.file
    assert (signature.meaning, signature.printed_name) == ("I imported this list", "Chen Lihua")
    event, detail = planned.last_event("list.imported")
    assert (event.actor, event.object_id) == (ONE, manifest.commitment)
    assert detail is not None
    assert (detail["entries"], detail["times_generated"]) == (43, 1)
    # The digest of the plain file is sealed: where a list is short, all files that could be can be tried.
    assert sha256(GOOD).hexdigest() not in str(detail)


def test_each_import_has_salts_of_its_own(planned: World) -> None:
    imported(planned)
    planned.do(withdraw_list, ONE, WithdrawList("SIRIUS", PLAN, "the file is tried again"))
    assert imported(planned) == f"{PLAN}-2"

    with planned.store.transaction() as tx:
        found = tx.session.scalars(select(ListFile).where(ListFile.kind == "subjects")).all()
    assert len({one.commitment for one in found}) == len({one.seed_mark for one in found}) == 2


@pytest.mark.requirement("BLIND-01")
def test_the_file_is_kept_nowhere(planned: World, tmp_path: Path) -> None:
    imported(planned)
    planned.do(withdraw_list, ONE, WithdrawList("SIRIUS", PLAN, "the file is tried again"))
    with planned.refuses("invalid", "import.arm.unknown"):
        imported(planned, importing(GOOD.replace(b"KILDU", b"KILDI", 1)))

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".rtslist" for path in kept)
    for path in kept:
        content = path.read_bytes()
        assert b"KILDU" not in content, path
        assert b"KILDI" not in content, path
        assert b"sirius_final" not in content, path


def test_a_byte_order_mark_is_passed_over(planned: World) -> None:
    assert imported(planned, importing(b"\xef\xbb\xbf" + GOOD)) == PLAN


def line(number: int, *cells: str) -> Callable[[list[list[str]]], None]:
    def change(lines: list[list[str]]) -> None:
        lines[number - 2] = list(cells)

    return change


def of_row(number: int, column: int, cell: str) -> Callable[[list[list[str]]], None]:
    def change(lines: list[list[str]]) -> None:
        lines[number - 2][column] = cell

    return change


def without_a_stratum(lines: list[list[str]]) -> None:
    del lines[:10]


def with_a_column_more(lines: list[list[str]]) -> None:
    for each in lines:
        each.append("x")


def with_a_number_twice(lines: list[list[str]]) -> None:
    lines[1][2] = lines[0][2]


def with_a_row_twice(lines: list[list[str]]) -> None:
    lines[1] = list(lines[0])


def cut_short(lines: list[list[str]]) -> None:
    del lines[9]


def with_arms_out_of_balance(lines: list[list[str]]) -> None:
    for each in lines[:6]:
        each[3] = "KILDU"


@pytest.mark.requirement("LIST-07")
@pytest.mark.parametrize(
    ("change", "code", "rules"),
    [
        (without_a_stratum, "invalid", ("import.stratum.missing",)),
        (with_a_column_more, "invalid", ("import.cells",) * 43),
        (with_a_number_twice, "invalid", ("import.number.duplicate",)),
        (with_a_row_twice, "invalid", ("import.number.duplicate", "import.position.duplicate", "import.position.gap")),
        (of_row(3, 2, "R100000"), "invalid", ("import.number.check_digits",)),
        (of_row(3, 2, "S100059"), "invalid", ("import.number.prefix",)),
        (of_row(3, 3, "KILDU\x01"), "invalid", ("import.characters",)),
        (of_row(3, 3, "=KILDU"), "invalid", ("import.arm.formula",)),
        (of_row(3, 0, "SLEDAI-MID"), "invalid", ("import.stratum.unknown",)),
        (line(3, ""), "invalid", ("import.blank_line",)),
        (cut_short, "rule", ("quality.length",)),
        (with_arms_out_of_balance, "rule", ("quality.blocks",)),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_file_with_a_mistake_is_refused_by_name_and_nothing_is_stored(
    planned: World, change: Callable[[list[list[str]]], None], code: str, rules: tuple[str, ...]
) -> None:
    lines = rows()
    change(lines)
    before = sorted(planned.store.lists.rglob("*"))

    with planned.refuses(code, *rules) as refused:
        imported(planned, importing(as_csv(lines)))

    assert sorted(planned.store.lists.rglob("*")) == before
    for cell in ("KILDU", "ORVEN", "S100059", "SLEDAI-MID"):
        assert cell not in str(refused.value)


@pytest.mark.requirement("LIST-07")
@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (importing(rows=42), "import.rows"),
        (importing(digest="0" * 64), "import.digest"),
        (importing(digest=""), "import.digest"),
        (importing(GOOD.decode().encode("utf-16")), "import.utf8"),
        (importing(b"", rows=0), "import.empty"),
    ],
)
def test_a_file_that_is_not_the_one_announced_is_refused(planned: World, command: ImportList, rule: str) -> None:
    with planned.refuses("invalid", rule):
        imported(planned, command)


def test_a_file_with_a_mistake_at_its_end_only_is_told_by_its_line(planned: World) -> None:
    lines = rows()
    lines[-1][3] = "OTHER"

    with planned.refuses("invalid", "import.arm.unknown") as refused:
        imported(planned, importing(as_csv(lines)))

    assert str(refused.value) == "line 44: arm is none of the definition's"


def test_a_plan_is_imported_or_generated_as_the_definition_says(planned: World) -> None:
    with planned.refuses("rule", "list.is_imported"):
        planned.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)


def test_a_list_to_be_generated_is_not_imported(database_url: str, tmp_path: Path) -> None:
    with World.make(database_url, tmp_path, plans=()) as world:
        for plan in (PLAN, "SIRIUS-K1"):
            world.stage.specify(plan)
            with world.refuses("rule", "list.not_imported"):
                imported(world, importing(plan=plan))


def test_a_list_is_imported_by_an_unblinded_statistician_who_signs_and_once(planned: World) -> None:
    with planned.refuses("wrong_password", "signature.missing"):
        planned.do(import_list, ONE, importing())
    for who in (MANAGER, "auditor", "investigator.cn02"):
        with planned.refuses("forbidden", "access.permission"):
            planned.do(import_list, who, importing(), sign=True)
    imported(planned)
    with planned.refuses("conflict", "list.standing"):
        imported(planned)
    with planned.refuses("rule", "list.three_people"):
        planned.do(approve_list, ONE, ApproveList("SIRIUS", PLAN), sign=True)


def test_a_list_is_specified_before_it_is_imported_and_without_a_joint_seed(database_url: str, tmp_path: Path) -> None:
    public, restricted = definition_texts()
    with World.make(database_url, tmp_path, public=public, restricted=restricted, plans=()) as world:
        with world.refuses("rule", "list.not_specified"):
            imported(world)
        joint = SpecifyList("SIRIUS", PLAN, KNOWN_TO, "Randomisation plan 1.0", (ONE, TWO))
        with world.refuses("invalid", "specification.imported"):
            world.do(specify_list, ONE, joint, sign=True)


def test_a_repeated_import_is_done_once(planned: World) -> None:
    first = planned.do(import_list, ONE, importing(), sign=True, key="form-1")
    again = planned.do(import_list, ONE, importing(), sign=True, key="form-1")

    assert (first.ids, first.again, again.again) == (again.ids, False, True)
    with planned.refuses("conflict", "idempotency.other_body"):
        planned.do(import_list, ONE, importing(GOOD + b"\r\n"), sign=True, key="form-1")


def test_what_is_imported_prints_nothing() -> None:
    assert repr(importing()) == "<sealed>"
    assert "KILDU" not in str(importing())
