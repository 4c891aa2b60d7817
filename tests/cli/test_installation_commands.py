"""From an empty folder to active lists, by commands alone; on both databases."""

from __future__ import annotations

import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result

from rts.access.actor import Actor, Grant, actor_of
from rts.access.permissions import Permission, Role
from rts.cli.people import ALPHABET
from rts.clock import utc_text
from rts.conduct.accounts import ConfirmAccount, ResetPassword, confirm_account, reset_password, the_person
from rts.installation import open_store
from rts.randomisation.regenerate import regenerate
from rts.vault.file_keyring import FileKeyring
from rts.vault.list_file import ListFile
from rts.vault.offline import open_offline
from tests.cli.conftest import Rts
from tests.conduct.test_importing_lists import GOOD, PLAN, definition_texts
from tests.infrastructure import r
from tests.reports.pdf import words_in
from tests.store.damage import damage
from tests.world import PASSWORD, World


def test_the_first_run_makes_a_keyring_for_the_owner_alone_and_says_how_to_keep_it(
    rts: Rts, place: tuple[object, ...], tmp_path: Path
) -> None:
    first = rts("db", "upgrade", *place)
    again = rts("db", "upgrade", *place)

    keyring = tmp_path / "keyring.json"
    assert stat.S_IMODE(keyring.stat().st_mode) == 0o600
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert str(keyring) in first.stderr
    assert "Copy it now" in first.stderr
    assert again.stderr == "The database is up to date (production installation).\n"


def test_an_installation_that_lost_its_keyring_gets_no_new_one(
    rts: Rts, place: tuple[object, ...], tmp_path: Path
) -> None:
    rts("db", "upgrade", *place)
    (tmp_path / "keyring.json").unlink()

    result = rts("db", "upgrade", *place)

    assert result.exit_code == 9
    assert "[keyring.missing]" in result.stderr
    assert not (tmp_path / "keyring.json").exists()


def test_a_keyring_that_others_can_read_is_refused(rts: Rts, place: tuple[object, ...], tmp_path: Path) -> None:
    rts("db", "upgrade", *place)
    (tmp_path / "keyring.json").chmod(0o644)

    result = rts("check", *place)

    assert result.exit_code == 9
    assert "chmod 600" in result.stderr


def test_a_production_database_never_becomes_a_training_one(rts: Rts, place: tuple[object, ...]) -> None:
    rts("db", "upgrade", *place)

    result = rts("db", "upgrade", "--environment", "training", *place)

    assert (result.exit_code, "[environment.fixed, environment]" in result.stderr) == (5, True)


def test_a_trial_is_loaded_from_two_files_once(rts: Rts, place: tuple[object, ...]) -> None:
    rts("db", "upgrade", *place)

    alone = rts("trial", "load", "sirius.toml", *place)
    first = rts("trial", "load", "sirius", "--from", "2026-01-01", *place)
    again = rts("trial", "load", "sirius", "--from", "2026-01-01", *place)

    assert alone.exit_code == 6
    assert first.stdout == "Loaded version 1 of SIRIUS, in force at every site from 2026-01-01.\n"
    assert (again.exit_code, "[definition.document, document]" in again.stderr) == (3, True)
    past = rts("trial", "load", "sirius", "--from", "2026-01-01", "--document", "CR 1", *place)
    assert (past.exit_code, "[definition.past, from_date]" in past.stderr) == (4, True)


def test_a_version_is_put_in_force_site_by_site(rts: Rts, ready: tuple[object, ...], password_file: Path) -> None:
    by_manager = ("--as", "manager", "--password-file", password_file, *ready)
    loaded = rts("trial", "load", "sirius", *ready)
    where = ("SIRIUS", 2, "--site", "CN02", "--site", "CN03")

    put = rts("trial", "put-in-force", *where, "--from", "2031-02-01", "--document", "EC 2", *by_manager)
    again = rts("trial", "put-in-force", *where, "--from", "2031-02-01", "--document", "EC 2", *by_manager)
    moved = rts(
        "trial", "change-plan", *where, "--from", "2031-03-01", "--document", "EC 3", "--reason", "a slip", *by_manager
    )
    back = rts("trial", "change-plan", "SIRIUS", 2, "--site", "CN03", "--withdraw", "--reason", "no", *by_manager)

    assert loaded.stdout == "Loaded version 2 of SIRIUS, in force at no site yet.\n"
    assert put.stdout == "Version 2 of SIRIUS is in force from 2031-02-01 at CN02, CN03.\n"
    assert (again.exit_code, "[definition.date, from_date]" in again.stderr) == (5, True)
    assert moved.stdout == "Version 2 of SIRIUS is planned from 2031-03-01 at CN02, CN03.\n"
    assert back.stdout == "Version 2 of SIRIUS is no longer planned at CN03.\n"
    told = rts("trial", "in-force", "SIRIUS", *ready).stdout.splitlines()
    assert told[1:3] == [
        "CN02: version 1 from 2026-01-01; planned: version 2 from 2031-03-01",
        "CN03: version 1 from 2026-01-01",
    ]
    assert json.loads(rts("trial", "in-force", "SIRIUS", "--json", *ready).stdout)[1] == {
        "site": "CN02",
        "versions": [
            {"version": 1, "state": "in_force", "from": "2026-01-01", "document": ""},
            {"version": 2, "state": "planned", "from": "2031-03-01", "document": "EC 3"},
        ],
    }
    assert rts("check", *ready).stdout == "clean\n"


def test_a_version_is_put_in_force_everywhere_at_once(rts: Rts, ready: tuple[object, ...], password_file: Path) -> None:
    rts("trial", "load", "sirius", *ready)
    asked = ("SIRIUS", 2, "--from", "2031-02-01", "--document", "CR 12", "--as", "manager")

    nowhere = rts("trial", "put-in-force", *asked, "--password-file", password_file, *ready)
    put = rts("trial", "put-in-force", *asked, "--everywhere", "--password-file", password_file, *ready)

    assert (nowhere.exit_code, "Name sites with --site, or all with --everywhere." in nowhere.stderr) == (2, True)
    assert put.exit_code == 0
    told = rts("trial", "in-force", "SIRIUS", *ready).stdout.splitlines()
    assert [line.endswith("planned: version 2 from 2031-02-01") for line in told] == [True] * 20
    neither = rts(
        "trial", "change-plan", "SIRIUS", 2, "--everywhere", "--reason", "x", "--as", "manager",
        "--password-file", password_file, *ready,
    )  # fmt: skip
    assert (neither.exit_code, "--withdraw" in neither.stderr) == (2, True)


@pytest.mark.requirement("LIST-08")
def test_three_people_bring_a_list_to_use(
    rts: Rts, ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    signed = ("--password-file", password_file, *ready)
    plan = _plans(rts, ready, tmp_path)[0]

    too_early = rts("list", "generate", "SIRIUS", plan, "--as", "statistician.one", *signed)
    specified = _specify(rts, plan, "statistician.one", signed)
    made = rts("list", "generate", "SIRIUS", plan, "--as", "statistician.one", *signed)
    by_herself = rts("list", "approve", "SIRIUS", plan, "--as", "statistician.one", *signed)
    approved = rts("list", "approve", "SIRIUS", plan, "--as", "statistician.two", *signed)
    by_the_same = rts("list", "activate", "SIRIUS", plan, "--as", "statistician.two", *signed)
    activated = rts("list", "activate", "SIRIUS", plan, "--as", "manager", *signed)

    codes = [result.exit_code for result in (too_early, specified, made, by_herself, approved, by_the_same, activated)]
    assert codes == [4, 0, 0, 4, 0, 7, 0], [made.output, approved.output, activated.output]
    assert rts("check", *ready).stdout == "clean\n"


def _specify(rts: Rts, plan: str, username: str, signed: tuple[object, ...], *more: object) -> Result:
    return rts(
        "list", "specify", "SIRIUS", plan, "--known-to", "the unblinded statisticians", "--document", "plan 1.0",
        "--as", username, *more, *signed,
    )  # fmt: skip


def test_procedures_are_compared_for_the_trial_with_minimisation_simulated(
    rts: Rts, ready: tuple[object, ...], password_file: Path
) -> None:
    asked = ("--as", "statistician.one", "--password-file", password_file, *ready)
    own = '{"name": "minimisation", "metric": "variance", "weights": {"site": 1}, "probability": "9/10"}'

    for_people = rts("list", "design", "SIRIUS", "--candidate", own, *asked)
    as_json = rts("list", "design", "SIRIUS", "--candidate", own, "--json", *asked)

    assert (for_people.exit_code, as_json.exit_code) == (0, 0), for_people.output
    found = json.loads(as_json.stdout)
    planned, asked_for, *_others, simulated = found
    assert planned["planned"]
    assert planned["standard_errors"] == {}
    assert list(planned["overall_imbalance_by_strata"]) == ["1", "2", "4", "8", "16", "32", "64"]
    assert planned["overall_imbalance_by_strata"]["4"] == planned["strata"]["sd_overall_imbalance"]
    assert asked_for["procedure"] == json.loads(own)
    assert simulated["procedure"]["weights"] == {"SLEDAI": 1, "STEROID": 1, "site": 1}
    assert set(simulated["standard_errors"]) == {*simulated["measures"], "sd_overall_imbalance"}
    assert simulated["overall_imbalance_by_strata"] == {}
    assert for_people.stdout.count("simulated; standard errors: guesses ") == 2
    table = for_people.stdout.split("SD of the overall imbalance by number of strata\n")[1].splitlines()
    assert table[0].split() == ["no.", "1", "2", "4", "8", "16", "32", "64"]
    assert [row.split()[0] for row in table[1:]] == [
        str(number) for number, line in enumerate(found, start=1) if line["procedure"]["name"] != "minimisation"
    ]


def test_two_people_make_the_seed_of_a_list_that_is_later_closed_released_revealed_and_verified(
    rts: Rts, ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    signed = ("--password-file", password_file, *ready)
    plan = _plans(rts, ready, tmp_path)[0]
    people = ("statistician.one", "statistician.two")
    specified = _specify(rts, plan, people[0], signed, "--joint-seed", *people)
    digest = specified.stdout.split()[-1]
    for person in people:
        commitment = rts("list", "seed", "new", person, "--specification", digest, "--person", person).stdout.strip()
        assert stat.S_IMODE((tmp_path / person).stat().st_mode) == 0o600
        assert rts("list", "seed", "commit", "SIRIUS", plan, commitment, "--as", person, *signed).exit_code == 0
    for person in people:
        assert rts("list", "seed", "reveal", "SIRIUS", plan, person, "--as", person, *signed).exit_code == 0
    assert rts("list", "generate", "SIRIUS", plan, "--as", people[0], *signed).exit_code == 0
    assert rts("list", "approve", "SIRIUS", plan, "--as", people[1], *signed).exit_code == 0
    inspected = rts("list", "inspect", tmp_path / "lists" / "SIRIUS" / f"{plan}.rtslist", "--json")
    commitment = json.loads(inspected.stdout)["commitment"]
    assert rts("list", "activate", "SIRIUS", commitment, "--as", "manager", *signed).exit_code == 0

    proved = rts("list", "prove", "SIRIUS", plan, "R000", "--as", people[0], *signed)
    early = rts("list", "reveal", "SIRIUS", plan, "reveal.csv", "--as", people[0], *signed)
    steps = [
        rts("list", "close", "SIRIUS", commitment, "--reason", "last subject in", "--as", "manager", *signed),
        rts("list", "release", "SIRIUS", plan, "--document", "lock memo 7", "--as", people[0], *signed),
        rts("list", "release", "SIRIUS", commitment, "--confirm", "--as", "manager", *signed),
        rts("list", "reveal", "SIRIUS", plan, "reveal.csv", "--as", people[0], *signed),
        rts("list", "verify", "reveal.csv", "--commitment", commitment),
        rts("trial", "export", "SIRIUS", "trial.json", "--as", "manager", *signed),
        rts("list", "verify", "reveal.csv", "--commitment", commitment, "--trial-export", "trial.json"),
    ]

    assert (proved.exit_code, early.exit_code) == (6, 4)
    assert [step.exit_code for step in steps] == [0] * 7, [step.output for step in steps]
    assert steps[-1].stdout == (
        "The revealed lists are the ones committed to. 0 subjects took their entries in turn. Kits were not verified: "
        "no kit list was given.\n"
    )
    (tmp_path / "empty.json").touch()
    empty = rts("list", "verify", "reveal.csv", "--commitment", commitment, "--trial-export", "empty.json")
    over = rts("trial", "export", "SIRIUS", "trial.json", "--as", "manager", *signed)
    assert (empty.exit_code, empty.stderr) == (1, "trial export: not JSON\n")
    assert (over.exit_code, "trial.json exists already" in over.stderr) == (5, True)
    number = (tmp_path / "reveal.csv").read_text("utf-8").splitlines()[1].split(",")[2]
    proof = json.loads(rts("list", "prove", "SIRIUS", plan, number, "--as", people[0], *signed).stdout)
    assert (proof["entry"]["number"], proof["index"], proof["entries"]) == (number, 0, 592)
    neither = rts("list", "release", "SIRIUS", plan, "--as", people[0], *signed)
    assert neither.exit_code == 2


@pytest.mark.requirement("LIST-07")
def test_a_list_made_elsewhere_is_imported_from_its_file(
    rts: Rts, place: tuple[object, ...], ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    signed = ("--as", "statistician.one", "--password-file", password_file, *ready)
    for name, text in zip(("public.toml", "restricted.toml"), definition_texts(), strict=True):
        (tmp_path / name).write_text(text, "utf-8")
    assert rts("trial", "load", "public.toml", "restricted.toml", *ready).exit_code == 0
    assert _specify(rts, PLAN, "statistician.one", signed[2:]).exit_code == 0
    (tmp_path / "list.csv").write_bytes(GOOD)
    wrong = GOOD.replace(b"ORVEN", b"CANARY", 1)
    (tmp_path / "wrong.csv").write_bytes(wrong)
    announced = ("--sha256", sha256(GOOD).hexdigest(), "--rows", 43)

    other = rts("list", "import", "SIRIUS", PLAN, "wrong.csv", *announced, *signed)
    mistaken = rts(
        "list", "import", "SIRIUS", PLAN, "wrong.csv", "--sha256", sha256(wrong).hexdigest(), "--rows", 43, *signed
    )
    missing = rts("list", "import", "SIRIUS", PLAN, "none.csv", *announced, *signed)
    generated = rts("list", "generate", "SIRIUS", PLAN, *signed)
    imported = rts("list", "import", "SIRIUS", PLAN, "list.csv", *announced, *signed)

    assert (other.exit_code, "[import.digest, digest]" in other.stderr) == (3, True)
    assert (mistaken.exit_code, mistaken.stderr) == (
        3,
        "line 3: arm is none of the definition's [import.arm.unknown, arm]\n",
    )
    assert (missing.exit_code, generated.exit_code) == (6, 4)
    assert imported.stdout == f"Imported and sealed list {PLAN} of SIRIUS. Another person approves it next.\n"
    file = tmp_path / "lists" / "SIRIUS" / f"{PLAN}.rtslist"
    opened = rts("list", "open", file, "--all", *ready)
    anew = rts("list", "open", file, "--parameters", *ready)
    assert [line.rsplit(",", 1)[0] for line in opened.stdout.splitlines()[1:]] == GOOD.decode().splitlines()[1:]
    assert (anew.exit_code, anew.stdout, "[list.is_imported]" in anew.stderr) == (3, "", True)
    assert rts("check", *ready).stdout == "clean\n"


def _plans(rts: Rts, place: tuple[object, ...], tmp_path: Path) -> list[str]:
    from rts.trial.reading import read_definition, read_restricted
    from rts.trial.shipped import shipped_definition

    public, restricted = shipped_definition("sirius")
    read = read_restricted(restricted, read_definition(public))
    return [plan.list_id for plan in (*read.subject_lists, *read.kit_lists)]


def test_a_wrong_password_signs_nothing(rts: Rts, ready: tuple[object, ...], tmp_path: Path) -> None:
    plan = _plans(rts, ready, tmp_path)[0]

    result = rts("list", "generate", "SIRIUS", plan, "--as", "statistician.one", *ready, input="wrong\n")

    assert result.exit_code == 8
    assert not (tmp_path / "lists").exists()


@pytest.mark.requirement("SIG-07")
def test_a_password_known_to_the_operator_signs_nothing_until_it_is_changed_and_confirmed(
    rts: Rts, ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    rts(
        "user", "add", "statistician.three", "--name", "Ines Alba", "--organisation", "Sponsor",
        "--email", "i@example.org", "--role", "statistician", "--trial", "SIRIUS",
        "--password-file", password_file, *ready,
    )  # fmt: skip
    plan = _plans(rts, ready, tmp_path)[0]
    command = ("list", "generate", "SIRIUS", plan, "--as", "statistician.three", *ready)
    confirm = ("user", "confirm", "statistician.three", "--reason", "called her", *ready)

    _specify(rts, plan, "statistician.one", ("--password-file", password_file, *ready))
    before = rts(*command, "--password-file", password_file)
    (tmp_path / "new").write_text("a wholly other sentence\n", "utf-8")
    changed = rts(
        "user", "password", "statistician.three", "--password-file", password_file, "--new-password-file", "new", *ready
    )
    after = rts(*command, "--password-file", "new")
    by_the_operator = rts(*confirm, input="y\n")
    confirm_as_administrator(ready, "statistician.three")
    confirmed = rts(*command, "--password-file", "new")

    assert before.exit_code == 7
    assert "rts user password" in before.stderr
    assert (changed.exit_code, after.exit_code) == (0, 7), changed.output + after.output
    assert "[signature.unconfirmed]" in after.stderr
    assert (by_the_operator.exit_code, "[account.second_person]" in by_the_operator.stderr) == (4, True)
    assert confirmed.exit_code == 0, confirmed.output


def confirm_as_administrator(place: tuple[object, ...], username: str, *, reset: str = "") -> None:
    """What an administrator does in the pages: confirm an account, or with `reset` give it a new first password."""
    store = open_store(str(place[1]), Path(str(place[3])), Path(str(place[5])))
    with store.transaction(write=True) as tx:
        administrator = Actor("administrator", "Ivo Kral", "Sponsor", (Grant(Role.ADMINISTRATOR),))
        if reset:
            reset_password(tx, administrator, ResetPassword(username, "forgotten", reset))
        else:
            chosen_at = utc_text(the_person(tx, username).password_changed_at)
            confirm_account(tx, administrator, ConfirmAccount(username, chosen_at, "called her"))
    store.engine.dispose()


@pytest.mark.requirement("SIG-07")
def test_the_operator_confirms_what_the_only_administrator_reset(
    rts: Rts, ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    confirm_as_administrator(ready, "manager", reset=PASSWORD)
    confirm = ("user", "confirm", "manager", "--reason", "called him", *ready)
    (tmp_path / "new").write_text("a wholly other sentence\n", "utf-8")

    too_early = rts(*confirm, input="y\n")
    rts("user", "password", "manager", "--password-file", password_file, "--new-password-file", "new", *ready)
    thought_better = rts(*confirm, input="n\n")
    confirmed = rts(*confirm, input="y\n")
    again = rts(*confirm, input="y\n")

    assert [result.exit_code for result in (too_early, thought_better, confirmed, again)] == [4, 130, 0, 5]
    assert "Zhao Min chose the present password at 2" in confirmed.stderr
    assert confirmed.stdout == "Confirmed manager.\n"


def test_an_administrator_whom_the_operator_adds_works_at_once(
    rts: Rts, ready: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    """Somebody has to be the first: there is nobody yet to confirm the account."""
    rts(
        "user", "add", "administrator", "--name", "Ivo Kral", "--organisation", "Sponsor", "--email", "a@example.org",
        "--role", "administrator", "--password-file", password_file, *ready,
    )  # fmt: skip
    store = open_store(str(ready[1]), Path(str(ready[3])), Path(str(ready[5])))

    with store.transaction() as tx:
        person = the_person(tx, "administrator")
        rights = actor_of(tx, person).grants_of(Permission.ACCOUNTS)

    assert (person.password_must_change, person.password_given_by, len(rights)) == (True, None, 1)
    store.engine.dispose()


def test_a_generated_password_is_printed_once_and_can_be_read_aloud(rts: Rts, ready: tuple[object, ...]) -> None:
    result = rts(
        "user", "add", "physician", "--name", "Deng Wei", "--organisation", "Hospital", "--email", "d@example.org",
        "--role", "physician", "--trial", "SIRIUS", "--site", "CN02", "--generate-password", *ready,
    )  # fmt: skip

    added, shown = result.stdout.splitlines()
    password = shown.removeprefix("First password, shown this once: ")
    assert added == "Added physician as physician."
    assert [len(group) for group in password.split("-")] == [4] * 5
    assert set(password) <= {*ALPHABET, "-"}


def test_an_account_is_not_added_when_its_role_is_refused(rts: Rts, ready: tuple[object, ...]) -> None:
    command = (
        "user", "add", "physician", "--name", "Deng Wei", "--organisation", "Hospital", "--email", "d@example.org",
        "--role", "physician", "--trial", "SIRIUS", "--generate-password", *ready,
    )  # fmt: skip

    without_site = rts(*command)
    with_site = rts(*command, "--site", "CN02")

    assert (without_site.exit_code, "[role.site, site]" in without_site.stderr) == (3, True)
    assert with_site.exit_code == 0


def test_a_kept_password_is_refused_in_production(rts: Rts, place: tuple[object, ...], password_file: Path) -> None:
    rts("db", "upgrade", *place)

    result = rts(
        "user", "add", "administrator", "--name", "Ivo Kral", "--organisation", "Sponsor", "--email", "a@example.org",
        "--role", "administrator", "--password-file", password_file, "--keep-password", *place,
    )  # fmt: skip

    assert (result.exit_code, "[password.kept, keep-password]" in result.stderr) == (4, True)


@pytest.fixture
def options(world: World) -> tuple[object, ...]:
    """The options that name the staged world's installation."""
    address = world.store.engine.url.render_as_string(hide_password=False)
    return "--database", address, "--keyring", world.store.vault.keyring.path, "--lists", world.store.lists


def test_check_prints_findings_and_exits_1(rts: Rts, world: World, options: tuple[object, ...]) -> None:
    clean = rts("check", "--json", *options)
    damage(
        world.store.engine,
        "UPDATE kit SET state = 'quarantined' WHERE id = (SELECT min(id) FROM kit WHERE state = 'available')",
    )
    found = rts("check", "--json", *options)

    assert (clean.exit_code, json.loads(clean.stdout)) == (0, {"check": "clean", "findings": []})
    assert found.exit_code == 1
    assert [finding["rule"] for finding in json.loads(found.stdout)["findings"]] == ["kit.state"]


def test_the_trail_is_exported_signed_and_verified(
    rts: Rts, world: World, options: tuple[object, ...], tmp_path: Path
) -> None:
    subject = world.randomise("CN02")

    exported = rts("audit", "export", "SIRIUS", "--out", tmp_path / "export.jsonl", *options)
    again = rts("audit", "export", "SIRIUS", "--out", tmp_path / "export.jsonl", *options)
    signed = rts("audit", "checkpoint", "SIRIUS", "--out", tmp_path / "checkpoint.txt", *options)
    rts("audit", "key", "--out", tmp_path / "key.pem", *options)
    verified = rts(
        "audit", "verify", tmp_path / "export.jsonl", "--checkpoint", tmp_path / "checkpoint.txt",
        "--public-key", tmp_path / "key.pem",
    )  # fmt: skip

    assert (exported.exit_code, again.exit_code, signed.exit_code) == (0, 5, 0), signed.output
    assert subject in (tmp_path / "export.jsonl").read_text("utf-8")
    assert (verified.exit_code, verified.stderr) == (0, "")


@pytest.fixture
def sealed_list(world: World) -> Path:
    return next(
        file for file in sorted(world.store.lists.rglob("*.rtslist")) if b'"kind": "subjects"' in file.read_bytes()
    )


def test_a_sealed_list_shows_its_manifest_without_a_key(rts: Rts, world: World, sealed_list: Path) -> None:
    shown = rts("list", "inspect", sealed_list)
    facts = json.loads(rts("list", "inspect", sealed_list, "--json").stdout)

    assert shown.exit_code == 0
    assert (facts["trial"], facts["purpose"], facts["kind"]) == ("SIRIUS", "test", "subjects")
    assert facts["recipients"] == [f"keyring {world.store.vault.keyring.keyring_id}"]


def test_a_manager_writes_the_certificate_of_a_list_into_a_new_file(
    rts: Rts, world: World, options: tuple[object, ...], sealed_list: Path, password_file: Path, tmp_path: Path
) -> None:
    commitment = json.loads(rts("list", "inspect", sealed_list, "--json").stdout)["commitment"]
    signed = ("--as", "manager", "--password-file", password_file, *options)
    file = tmp_path / "certificate.pdf"

    written = rts("list", "certificate", "SIRIUS", commitment, file, "--language", "zh_Hans", *signed)
    again = rts("list", "certificate", "SIRIUS", commitment, file, *signed)

    digest = sha256(file.read_bytes()).hexdigest()
    assert written.stdout == f"Certificate written to certificate.pdf; SHA-256 {digest}\n"
    assert commitment in words_in(file.read_bytes())
    assert (again.exit_code, "[file.exists]" in again.stderr) == (5, True)
    assert world.events("list.certificate_issued") == 1


@pytest.mark.parametrize("kind", ["specification", "generation-report", "approval-record", "annex"])
def test_a_statistician_writes_unblinded_documents_for_the_own_eyes(
    rts: Rts, world: World, options: tuple[object, ...], password_file: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "document.pdf"

    written = rts(
        "list", "document", kind, "SIRIUS", "SIRIUS-R1", file, "--as", "statistician.one",
        "--password-file", password_file, *options,
    )  # fmt: skip

    digest = sha256(file.read_bytes()).hexdigest()
    assert written.stdout == f"Written to document.pdf; SHA-256 {digest}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert world.events("list.document_issued") == 1


def test_a_blinded_manager_writes_no_unblinded_document(
    rts: Rts, world: World, options: tuple[object, ...], password_file: Path, tmp_path: Path
) -> None:
    for kind in ("specification", "generation-report", "approval-record", "annex"):
        refused = rts(
            "list", "document", kind, "SIRIUS", "SIRIUS-R1", tmp_path / "document.pdf", "--as", "manager",
            "--password-file", password_file, *options,
        )  # fmt: skip
        assert refused.exit_code == 7

    assert not (tmp_path / "document.pdf").exists()
    assert world.events("list.document_issued") == 0


@pytest.mark.requirement("UNBL-06")
def test_the_annex_is_made_offline_with_a_key_alone(
    rts: Rts, world: World, options: tuple[object, ...], sealed_list: Path, password_file: Path, tmp_path: Path
) -> None:
    keyring = world.store.vault.keyring.path

    offline = rts("list", "open", sealed_list, "--keyring", keyring, "--annex", tmp_path / "offline.pdf")
    both = rts("list", "open", sealed_list, "--keyring", keyring, "--annex", tmp_path / "b.pdf", "--all")
    rts(
        "list", "document", "annex", "SIRIUS", sealed_list.stem, tmp_path / "online.pdf", "--as", "statistician.one",
        "--password-file", password_file, *options,
    )  # fmt: skip

    assert (offline.exit_code, "Report it now" in offline.stderr) == (0, True)
    assert (tmp_path / "offline.pdf").read_bytes() == (tmp_path / "online.pdf").read_bytes()
    assert stat.S_IMODE((tmp_path / "offline.pdf").stat().st_mode) == 0o600
    assert both.exit_code == 2


@pytest.mark.requirement("UNBL-06")
def test_the_offline_route_opens_one_number_without_database_or_server(
    rts: Rts, world: World, sealed_list: Path, tmp_path: Path
) -> None:
    keyring = tmp_path / "copy.json"
    keyring.write_bytes(world.store.vault.keyring.path.read_bytes())
    keyring.chmod(0o600)
    opened = open_offline(sealed_list, sealed_list.with_suffix(".keys"), FileKeyring.load(keyring), lambda _: None)
    entry = next(entry for _, entry in opened.entries())
    treatment = opened.inputs()["treatments"][entry.arm]

    one = rts("list", "open", sealed_list, "--keyring", keyring, "--number", entry.number.lower())
    everything = rts("list", "open", sealed_list, "--keyring", keyring, "--all")

    assert (one.exit_code, one.stdout) == (0, f"{entry.number}: {entry.arm}, {treatment}\n")
    assert "Report it now" in one.stderr
    assert everything.stdout.count("\n") == opened.file.manifest.entry_count + 1


@pytest.mark.requirement("LIST-01")
def test_both_programs_make_the_lists_that_were_sealed(rts: Rts, world: World, tmp_path: Path) -> None:
    lists = [ListFile.read(file) for file in sorted(world.store.lists.rglob("*.rtslist"))]
    assert {sealed.manifest.kind for sealed in lists} == {"subjects", "kits"}
    agreement = []
    for sealed in lists:
        name = sealed.manifest.list_id
        file = world.store.lists / sealed.manifest.trial / f"{name}.rtslist"
        opened = rts("list", "open", file, "--keyring", world.store.vault.keyring.path, "--parameters")
        assert opened.exit_code == 0
        assert "Report it now" in opened.stderr
        answer = json.loads(opened.stdout)
        parameters = {key: value for key, value in answer.items() if key not in {"rows", "salts", "commitment"}}
        assert regenerate(parameters) == answer
        (tmp_path / f"{name}.json").write_text(opened.stdout, "utf-8")
        agreement.append(
            f"{name}.json: {sealed.manifest.entry_count} entries agree, commitment {sealed.manifest.commitment}\n"
        )

    in_r = r.run_second_program(tmp_path, *(f"{sealed.manifest.list_id}.json" for sealed in lists))

    assert in_r == (0, "".join(agreement), "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--number", "R000000"), 6),
        ((), 2),
        (("--number", "R1", "--all"), 2),
        (("--number", "R1", "--parameters"), 2),
        (("--all", "--parameters"), 2),
    ],
)
def test_the_offline_route_refuses_what_it_cannot_answer(
    rts: Rts, world: World, sealed_list: Path, arguments: tuple[str, ...], code: int
) -> None:
    result = rts("list", "open", sealed_list, "--keyring", world.store.vault.keyring.path, *arguments)

    assert (result.exit_code, result.stdout) == (code, "")


def test_a_wrong_key_opens_nothing(rts: Rts, sealed_list: Path, tmp_path: Path) -> None:
    rts("db", "upgrade", "--database", f"sqlite:///{tmp_path / 'other' / 'rts.sqlite'}")

    result = rts("list", "open", sealed_list, "--keyring", tmp_path / "other" / "keyring.json", "--all")

    assert (result.exit_code, result.stdout) == (9, "")
