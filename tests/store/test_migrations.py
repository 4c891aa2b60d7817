"""The schema's history, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from rts.store import migrations
from rts.store.database import open_engine
from rts.store.tables import Base, DefinitionInForce, Kit, Site
from tests.world import World


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return str(request.getfixturevalue("postgresql_url"))


def revisions() -> list[str]:
    """Every revision, oldest first."""
    script = ScriptDirectory.from_config(migrations._config())
    return [revision.revision for revision in script.walk_revisions()][::-1]


def test_an_empty_database_is_brought_up_and_holds_what_the_code_says(empty_url: str) -> None:
    engine = open_engine(empty_url)

    migrations.upgrade(engine)

    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    migrations.check(engine)  # raises at the first difference
    engine.dispose()


def test_a_second_upgrade_changes_nothing(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine)

    migrations.upgrade(engine)

    migrations.check(engine)
    engine.dispose()


def test_every_step_upward_starts_from_the_one_before(empty_url: str) -> None:
    engine = open_engine(empty_url)

    for revision in revisions():
        migrations.upgrade(engine, revision)

    migrations.check(engine)
    engine.dispose()


def test_the_history_is_one_line() -> None:
    script = ScriptDirectory.from_config(migrations._config())

    assert len(script.get_heads()) == 1
    assert revisions()[0] == "0001"


def test_versions_in_force_and_sites_survive_the_step_to_0002(empty_url: str) -> None:
    """Before, a load put a version in force everywhere, and a site held the depot of the version loaded last."""
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0001")
    then = MetaData()
    then.reflect(engine)
    loaded = datetime(2026, 1, 1, 8, tzinfo=UTC)
    if engine.dialect.name == "sqlite":
        loaded = loaded.replace(tzinfo=None)
    trial = {"id": 1, "code": "T", "data_key": "k", "created_at": loaded}
    version = {
        "trial_id": 1, "digest": "d", "public_text": "", "restricted_box": b"", "restricted_digest": "r",
        "loaded_at": loaded, "loaded_by": "operator",
    }  # fmt: skip
    site = {"trial_id": 1, "depot_id": 1, "state": "open", "opened_at": loaded}
    subject = {
        "id": 7, "trial_id": 1, "site_id": 3, "sequence": 1, "code": "CN02-001", "state": "screened",
        "consent_on": date(2026, 1, 5), "year_of_birth": 1980, "sex": "female", "dose_level": "standard",
        "version_id": 2, "screened_at": loaded, "screened_by": "li",
    }  # fmt: skip
    rows = {
        "trial": [trial],
        "definition_version": [version | {"id": 2, "version": 1}, version | {"id": 5, "version": 2}],
        "depot": [{"id": 1, "trial_id": 1, "code": "DEP-SH"}],
        "site": [
            site | {"id": 3, "code": "CN02"},
            site | {"id": 4, "code": "CN03", "state": "planned", "opened_at": None},
        ],
        "definition_in_force": [
            {"id": 11, "site_id": 3, "version_id": 2, "from_date": date(2025, 12, 1)},
            {"id": 12, "site_id": 4, "version_id": 2, "from_date": date(2025, 12, 1)},
            {"id": 13, "site_id": 3, "version_id": 5, "from_date": date(2026, 2, 1)},
        ],
        "subject": [subject],
    }
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        for table, values in rows.items():
            connection.execute(insert(then.tables[table]), values)

    migrations.upgrade(engine)

    migrations.check(engine)
    with engine.connect() as connection:
        standing = connection.execute(
            select(DefinitionInForce.id, DefinitionInForce.site_id, DefinitionInForce.version_id,
                   DefinitionInForce.from_date, DefinitionInForce.document, DefinitionInForce.recorded_at,
                   DefinitionInForce.recorded_by, DefinitionInForce.ended_at).order_by(DefinitionInForce.id)
        ).all()  # fmt: skip
        sites = connection.execute(select(Site.id, Site.code, Site.state, Site.opened_at).order_by(Site.id)).all()
    told = ("", datetime(2026, 1, 1, 8, tzinfo=UTC), "operator", None)
    assert [tuple(row) for row in standing] == [
        (11, 3, 2, date(2025, 12, 1), *told),
        (12, 4, 2, date(2025, 12, 1), *told),
        (13, 3, 5, date(2026, 2, 1), *told),
    ]
    assert [tuple(row) for row in sites] == [(3, "CN02", "open", told[1]), (4, "CN03", "planned", None)]
    for change in (
        "DELETE FROM definition_in_force",
        "DELETE FROM site WHERE id = 3",  # a subject refers to it
        "UPDATE subject SET site_id = 99",
        "UPDATE site SET state = 'x'",
        "INSERT INTO site (trial_id, code, state) VALUES (1, 'CN02', 'open')",
    ):
        with (
            pytest.raises(IntegrityError),
            engine.connect().execution_options(rts_write=True) as connection,
            connection.begin(),
        ):
            connection.execute(text(change))
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        connection.execute(text("INSERT INTO site (trial_id, code, state) VALUES (1, 'CN04', 'open')"))
    engine.dispose()


def test_rows_of_a_running_trial_survive_the_way_up(world: World) -> None:
    """A later migration keeps what stands: the trial staged at the head goes on working after another upgrade."""
    subject = world.randomise("CN02")
    before = world.rows()

    migrations.upgrade(world.store.engine)

    assert world.rows() == before
    assert world.dispense(subject).startswith("K")
    with world.store.transaction() as tx:
        assert tx.session.scalar(select(func.count()).select_from(Kit)) == 1140


def test_a_first_password_that_nobody_has_changed_is_known_by_who_gave_it(empty_url: str) -> None:
    """0003: an account made or reset before it waits for its confirmation; one with a password of its own goes on."""
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0001")
    people = (("changed", False), ("made", True), ("reset", True))
    events = (("made", "person.added", "ivo"), ("reset", "person.added", "ivo"), ("reset", "password.reset", "ana"))
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        for username, must_change in people:
            connection.execute(
                text(
                    "INSERT INTO person (username, printed_name, organisation, email, language, password_hash,"
                    " password_changed_at, password_must_change, failed_sign_ins, created_at) VALUES (:username,"
                    " 'A Name', 'Study group', 'a@example.org', 'en', '-', '2026-01-05', :must_change, 0, '2026-01-05')"
                ),
                {"username": username, "must_change": must_change},
            )
        connection.execute(text("INSERT INTO audit_chain (chain_id, count, hash, last_at) VALUES ('c', 3, 'h', '')"))
        for number, (username, action, actor) in enumerate(events, start=1):
            connection.execute(
                text(
                    "INSERT INTO audit_event (chain_id, number, at, actor, role, organisation, action, object_type,"
                    " object_id, detail_digest, software, hash) VALUES ((SELECT id FROM audit_chain), :number, '',"
                    " :actor, '', '', :action, 'person', :username, '', '', '')"
                ),
                {"number": number, "actor": actor, "action": action, "username": username},
            )

    migrations.upgrade(engine, "0003")

    with engine.connect() as connection:
        found = connection.execute(text("SELECT username, password_given_by FROM person ORDER BY username")).all()
    assert [tuple(row) for row in found] == [("changed", None), ("made", "ivo"), ("reset", "ana")]
    engine.dispose()


def test_the_people_of_before_register_keys_after_the_step_to_0004(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0001")
    person = (
        "INSERT INTO person (username, printed_name, organisation, email, language, password_hash,"
        " password_changed_at, password_must_change, failed_sign_ins, created_at) VALUES ('chen', 'Chen Lihua',"
        " 'Statistics', 'c@example.org', 'zh_CN', '-', '2026-01-05', :false, 0, '2026-01-05')"
    )
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        connection.execute(text(person), {"false": False})

    migrations.upgrade(engine, "0004")

    key = (
        "INSERT INTO person_key (person_id, version, public_key, fingerprint, registered_at)"
        " SELECT id, 1, 'PEM', 'F', '2026-01-06' FROM person WHERE username = 'chen' AND language = 'zh_CN'"
    )
    retired = "UPDATE person_key SET retired_at = '2026-01-07', retired_by = 'chen', retire_reason = 'lost'"
    for statement in (key, retired):
        with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
            assert connection.execute(text(statement)).rowcount == 1
    for refused in (key, retired, "DELETE FROM person_key", "UPDATE person_key SET fingerprint = 'G'"):
        with (
            pytest.raises(IntegrityError),
            engine.connect().execution_options(rts_write=True) as connection,
            connection.begin(),
        ):
            connection.execute(text(refused))
    engine.dispose()


def test_a_list_of_before_stays_in_use_after_the_step_to_0005_and_has_no_specification(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0004")
    rows = (
        "INSERT INTO trial (id, code, data_key, created_at) VALUES (1, 'SIRIUS', 'none', '2026-01-05')",
        "INSERT INTO definition_version (id, trial_id, version, digest, public_text, restricted_box,"
        " restricted_digest, loaded_at, loaded_by) VALUES (1, 1, 1, :digest, '', '', :digest, '2026-01-05', 'x')",
        "INSERT INTO list_file (id, trial_id, list_id, plan_id, kind, purpose, prefix, state, entries,"
        " times_generated, commitment, file_digest, manifest_digest, data_key, seed_mark, version_id, generated_at,"
        " generated_by) VALUES (1, 1, 'SIRIUS-R1', 'SIRIUS-R1', 'subjects', 'test', 'R', 'active', 592, 1,"
        " :digest, :digest, :digest, 'none', :digest, 1, '2026-01-05', 'chen')",
    )
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        for row in rows:
            connection.execute(text(row), {"digest": "0" * 64} if ":digest" in row else {})

    migrations.upgrade(engine)

    with engine.connect() as connection:
        found = connection.execute(text("SELECT list_id, state, specification_id, closed_at FROM list_file")).one()
    assert tuple(found) == ("SIRIUS-R1", "active", None, None)
    for refused in ("UPDATE list_file SET commitment = 'x'", "UPDATE list_file SET specification_id = 7"):
        with (
            pytest.raises(IntegrityError),
            engine.connect().execution_options(rts_write=True) as connection,
            connection.begin(),
        ):
            connection.execute(text(refused))
    engine.dispose()


def test_every_site_of_before_counts_as_supplied_after_the_step_to_0006(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0005")
    for statement in (
        "INSERT INTO trial (id, code, data_key, created_at) VALUES (1, 'T', 'k', '2026-01-01')",
        "INSERT INTO site (id, trial_id, code, state, opened_at) VALUES (3, 1, 'CN02', 'open', '2026-01-02')",
    ):
        with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
            connection.execute(text(statement))

    migrations.upgrade(engine, "0006")

    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, code, state, unsupplied_since FROM site")).all()
    assert [tuple(row) for row in found] == [(3, "CN02", "open", None)]
    engine.dispose()


def test_entries_of_a_list_in_use_are_taken_in_order_and_once_on_the_way_to_0008(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrations.upgrade(engine, "0006")
    then = MetaData()
    then.reflect(engine)
    at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    if engine.dialect.name == "sqlite":
        at = at.replace(tzinfo=None)
    version = {
        "id": 2, "trial_id": 1, "version": 1, "digest": "d", "public_text": "", "restricted_box": b"",
        "restricted_digest": "r", "loaded_at": at, "loaded_by": "operator",
    }  # fmt: skip
    list_file = {
        "id": 5, "trial_id": 1, "list_id": "L1", "plan_id": "P1", "kind": "subjects", "purpose": "test", "prefix": "R",
        "state": "active", "entries": 5, "times_generated": 1, "commitment": "c", "file_digest": "f",
        "manifest_digest": "m", "data_key": "k", "seed_mark": "s", "version_id": 2, "generated_at": at,
        "generated_by": "chen",
    }  # fmt: skip
    subject = {
        "trial_id": 1, "site_id": 3, "state": "screened", "consent_on": date(2026, 1, 5), "year_of_birth": 1980,
        "sex": "female", "dose_level": "standard", "version_id": 2, "screened_at": at, "screened_by": "li",
    }  # fmt: skip
    entries = [
        {
            "list_id": 5,
            "stratum": stratum,
            "position": position,
            "record": b"sealed",
            "subject_id": None,
            "used_at": None,
        }
        for stratum, positions in (("LOW", (1, 2, 3)), ("HIGH", (1, 2)))
        for position in positions
    ]
    entries[0] |= {"subject_id": 1, "used_at": at}
    rows = {
        "trial": [{"id": 1, "code": "T", "data_key": "k", "created_at": at}],
        "definition_version": [version],
        "site": [{"id": 3, "trial_id": 1, "code": "CN02", "state": "open", "opened_at": at}],
        "list_file": [list_file],
        "subject": [subject | {"id": n, "sequence": n, "code": f"CN02-00{n}"} for n in (1, 2, 3)],
        "list_entry": entries,
    }
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        for table, values in rows.items():
            connection.execute(insert(then.tables[table]), values)

    def take(stratum: str, position: int, subject: int) -> None:
        statement = (
            "UPDATE list_entry SET subject_id = :subject, used_at = :at WHERE stratum = :stratum AND position = :n"
        )
        wanted = {"subject": subject, "at": "2026-01-06 08:00:00", "stratum": stratum, "n": position}
        with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
            assert connection.execute(text(statement), wanted).rowcount == 1

    def used() -> dict[tuple[str, int], int]:
        statement = text("SELECT stratum, position, subject_id FROM list_entry WHERE subject_id IS NOT NULL")
        with engine.connect() as connection:
            return {(stratum, position): subject for stratum, position, subject in connection.execute(statement)}

    with pytest.raises(IntegrityError, match="an earlier entry of this stratum is unused"):
        take("LOW", 3, 2)

    migrations.upgrade(engine, "0007")

    assert used() == {("LOW", 1): 1}
    for stratum, position in (("LOW", 3), ("HIGH", 2)):
        with pytest.raises(IntegrityError, match="an earlier entry of this stratum is unused"):
            take(stratum, position, 2)
    take("LOW", 2, 2)
    take("HIGH", 1, 3)
    assert used() == {("LOW", 1): 1, ("LOW", 2): 2, ("HIGH", 1): 3}

    migrations.upgrade(engine, "0008")

    assert used() == {("LOW", 1): 1, ("LOW", 2): 2, ("HIGH", 1): 3}
    with engine.connect().execution_options(rts_write=True) as connection, connection.begin():
        connection.execute(text("INSERT INTO minimised_allocation (id, entry_id, record) VALUES (1, 1, 'sealed')"))
    with pytest.raises(IntegrityError), engine.connect().execution_options(rts_write=True) as connection:
        connection.execute(text("INSERT INTO minimised_allocation (id, entry_id, record) VALUES (2, 1, 'sealed')"))
    engine.dispose()
