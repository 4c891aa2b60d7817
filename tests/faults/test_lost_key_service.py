"""An installation whose root keys are in a key service: a whole trial with it, and what happens when it is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rts.app import create_app
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.own_keys import RegisterOwnKey, RetireOwnKey, register_own_key, retire_own_key
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.rotating_keys import Wrapped, retire_root_key, rotate_audit_key, rotate_root_key, wrapped_by_version
from rts.conduct.unblinding import Unblinded, UnblindSubject, unblind_subject
from rts.entropy import ReplayedEntropy
from rts.installation import open_store
from rts.refusal import Refusal
from rts.rehearsal.staging import OPERATOR
from rts.store.checks import run_checks
from rts.store.database import upgrade
from rts.vault.keys_file import read_keys
from rts.vault.person_keys import create_person_key
from rts.vault.transit import ANSWER_SECONDS
from tests.infrastructure.databases import SqliteDatabases
from tests.infrastructure.openbao import ROOT_TOKEN, OpenBao
from tests.web.doors import Person as At
from tests.web.doors import words_of
from tests.world import GOOD_VALUES, PASSWORD, World

# Beside the service's own time-out, what the deed itself and a busy machine take.
LONGEST_WAIT_SECONDS = ANSWER_SECONDS + 4
BREAK = {"reason": "Anaphylaxis, the dose of the study drug must be known", "adverse_event": "yes"}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    server = OpenBao(tmp_path_factory.mktemp("openbao")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def staged(
    bao: OpenBao,
    _sqlite_databases: SqliteDatabases,
    _cheap_passwords: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """SIRIUS supplied, a subject randomised and one screened at CN02; the service's token wraps and unwraps only."""
    address = _sqlite_databases.create()
    with World.make(address, tmp_path_factory.mktemp("stage"), transit=bao.transit()) as made:
        made.supply("CN02", "CN03")
        made.randomise("CN02")
        made.screen("CN02")
        yield made
    _sqlite_databases.remove(address)


@pytest.fixture
def kept(staged: World, _sqlite_databases: SqliteDatabases, tmp_path: Path) -> Iterator[World]:
    """The staged trial as a process that has just begun finds it."""
    address = _sqlite_databases.create(staged.database_url)
    with staged.copy(address, tmp_path) as copied:
        yield copied
    _sqlite_databases.remove(address)


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody watches."""


def test_a_trial_runs_with_its_root_keys_in_a_key_service(kept: World) -> None:
    told = kept.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", "CN02-001", "test", False), sign=True)
    kept.dispense("CN02-001")

    assert isinstance(told, Unblinded)
    treatments = kept.stage.definition.treatments
    assert told.treatment in {treatment.label for treatment in treatments}
    assert run_checks(kept.store) == []
    keyring = json.loads(kept.store.vault.keyring.path.read_text())
    assert (keyring["format"], keyring["root_keys"]) == ("rts/transit-keyring/1", {})


def test_the_operator_rotates_with_a_token_that_the_service_does_not_have(kept: World, bao: OpenBao) -> None:
    """With the operator's token, which may rotate; the service's may not, and is refused before anything changes. What
    other tests hold opens still: no version of the key is retired.
    """
    before = kept.store.vault.keyring.path.read_bytes()
    with pytest.raises(Refusal) as refused:
        rotate_root_key(kept.store, OPERATOR, unheard)
    assert (refused.value.rules, kept.store.vault.keyring.path.read_bytes()) == (("transit.denied",), before)
    operator = open_store(
        kept.database_url,
        kept.store.vault.keyring.path,
        kept.store.lists,
        transit=bao.transit(ROOT_TOKEN),
        clock=kept.clock,
        entropy=ReplayedEntropy(b"operator"),
    )

    done = rotate_root_key(operator, OPERATOR, unheard)
    rotate_audit_key(operator, OPERATOR)

    with operator.transaction() as tx:
        assert wrapped_by_version(tx) == {done.version: Wrapped(4, 3)}
    assert (done.is_new, done.data_keys, done.keys_files) == (True, 4, 3)
    operator.engine.dispose()
    kept.randomise("CN02")
    assert run_checks(kept.store) == []


def test_with_the_service_gone_a_randomisation_is_refused_and_nothing_changes(kept: World, bao: OpenBao) -> None:
    command = RandomiseSubject("SIRIUS", "CN02-002", kept.answers(), GOOD_VALUES)

    with bao.paused():
        begun = time.monotonic()
        with kept.refuses("unavailable", "transit.unreachable"):
            kept.do(randomise_subject, "investigator.cn02", command, sign=True, key="one click")
        assert time.monotonic() - begun < LONGEST_WAIT_SECONDS

    done = kept.do(randomise_subject, "investigator.cn02", command, sign=True, key="one click")
    assert done.ids["subject"] == "CN02-002"


@pytest.mark.requirement("UNBL-06")
def test_with_the_service_gone_the_code_break_tells_the_offline_route_within_seconds(kept: World, bao: OpenBao) -> None:
    physician = At(create_app(kept.store)).sign_in("physician.cn02")
    url = "/trials/SIRIUS/subjects/CN02-001/code-break"
    form = physician.fill(url, **BREAK, password=PASSWORD)
    before = kept.rows()

    with bao.paused():
        begun = time.monotonic()
        answer = physician.client.post(url, data=form)
        waited = time.monotonic() - begun

    assert answer.status_code == 503
    assert waited < LONGEST_WAIT_SECONDS
    words = words_of(answer)
    assert "The code was not opened and nothing is shown" in words
    assert "does not answer" in words
    assert "rts list open LIST --number RANDOMISATION-NUMBER --key KEY" in words
    assert not any(treatment.name in answer.text for treatment in kept.stage.definition.treatments)
    changed = {table for table, rows in kept.rows().items() if rows != before[table]}
    assert changed <= {"sign_in_attempt"}
    told = physician.client.post(url, data=form)
    assert told.status_code == 200


def test_a_process_that_has_opened_the_keys_goes_on_without_the_service(kept: World, bao: OpenBao) -> None:
    kept.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", "CN02-001", "before", False), sign=True)

    with bao.paused():
        again = kept.do(
            unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", "CN02-001", "after", False), sign=True
        )

    assert isinstance(again, Unblinded)


def test_a_process_that_begins_without_the_service_serves_what_is_not_sealed(kept: World, bao: OpenBao) -> None:
    with bao.paused():
        investigator = At(create_app(kept.store)).sign_in("investigator.cn02")
        begun = time.monotonic()
        page = investigator.get("/trials/SIRIUS/sites/CN02/subjects/")
        offline = investigator.get("/emergency")
        assert time.monotonic() - begun < LONGEST_WAIT_SECONDS
        kept.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", "CN02-001", "withdrawn", "moved away"))

    assert (page.status_code, offline.status_code) == (200, 200)
    assert "CN02-001" in page.text


def test_a_statistician_is_taken_from_the_recipients_without_the_service_and_added_with_it_only(
    kept: World, bao: OpenBao
) -> None:
    public = create_person_key("correct horse battery", ReplayedEntropy(b"one"))[1]
    kept.do(register_own_key, "statistician.one", RegisterOwnKey(public), sign=True)
    file = kept.store.lists / "SIRIUS" / "SIRIUS-R1.keys"
    assert [each.recipient_id for each in read_keys(file).recipients][1:] == ["statistician.one"]

    with bao.paused():
        kept.do(retire_own_key, "statistician.one", RetireOwnKey("statistician.one", "the computer was stolen"))
        without = file.read_bytes()
        another = create_person_key("correct horse battery", ReplayedEntropy(b"two"))[1]
        with kept.refuses("unavailable", "transit.unreachable"):
            kept.do(register_own_key, "statistician.two", RegisterOwnKey(another), sign=True)

    assert file.read_bytes() == without
    assert [each.recipient_id for each in read_keys(file).recipients][1:] == []


def test_a_check_without_the_service_says_that_it_cannot_and_finds_nothing_wrong(kept: World, bao: OpenBao) -> None:
    with bao.paused(), pytest.raises(Refusal) as refused:
        run_checks(kept.store)

    assert (refused.value.code, refused.value.rules) == ("unavailable", ("transit.unreachable",))
    assert run_checks(kept.store) == []


def test_retired_root_keys_of_the_service_are_named(staged: World, tmp_path: Path) -> None:
    """A server and a key of its own: a retirement is for good."""
    folder = tmp_path / "own"
    folder.mkdir()
    server = OpenBao(folder).start()
    address = f"sqlite:///{tmp_path / 'own.sqlite'}"
    try:
        upgrade(address)
        with World.make(address, folder, sites=(), transit=server.transit(ROOT_TOKEN)) as made:
            old = {path: path.read_bytes() for path in made.store.lists.rglob("*.keys")}
            rotate_root_key(made.store, OPERATOR, unheard)
            retire_root_key(made.store, OPERATOR, 1)
            assert made.store.vault.keyring.root_keys() == (2,)
            assert run_checks(made.store) == []
            for path, content in old.items():
                path.write_bytes(content)
            found = run_checks(made.store)
        assert {finding.rule for finding in found} == {"list.keys"}
        assert all("Root key 1 was retired" in str(finding) for finding in found)
    finally:
        server.stop()
