"""What the database itself refuses, whatever the code lets slip: raw SQL against constraints and triggers."""

# ruff: noqa: S608  the tables are named above, not by anybody from outside

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from rts.conduct.destroying_kits import AuthoriseDestruction, authorise_destruction
from rts.conduct.own_keys import RegisterOwnKey, RetireOwnKey, register_own_key, retire_own_key
from rts.conduct.recalling_lots import RecallLot, recall_lot
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.releasing_lists import AskForRelease, ask_for_release
from rts.conduct.remarking_allocations import MarkRandomisedInError, mark_randomised_in_error
from rts.conduct.retiring_lists import CloseList, close_list
from rts.conduct.returning_kits import ReturnKit, return_kit
from rts.conduct.seeding_lists import CommitSeedShare, RevealSeedShare, commit_seed_share, reveal_seed_share
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.conduct.verifying_kits import VerifyKits, verify_kits
from rts.entropy import ReplayedEntropy
from rts.randomisation.joint_seed import share_commitment
from rts.store.tables import MinimisedAllocation
from rts.vault.person_keys import create_person_key
from tests.world import World

EVIDENCE = [
    "audit_event",
    "audit_detail",
    "audit_mention",
    "kit_move",
    "signature",
    "definition_version",
    "code_break",
    "list_specification",
    "allocation_remark",
    "definition_in_force",
    "minimised_allocation",
    "kit_return",
    "kit_verification",
    "destruction_kit",
    "temperature_record",
    "kit_exposure",
]
KEPT = ["list_entry", "list_file", "kit", "subject", "shipment", "dispensing", "role_grant", "person"]
KEPT += ["seed_share", "list_release", "person_key", "destruction", "lot_recall"]
# A change of each table that the code never makes.
CHANGES = {
    "audit_event": "actor = 'nobody'",
    "audit_detail": "detail = 'x', salt = 'x', detail_box = NULL",
    "audit_mention": "code = 'x'",
    "kit_move": "doer = 'nobody'",
    "signature": "printed_name = 'Nobody'",
    "definition_version": "public_text = ''",
    "code_break": "reason = 'x'",
    "list_specification": "specified_by = 'nobody'",
    "allocation_remark": "reason = 'x'",
    "definition_in_force": "from_date = '2025-12-31'",
    "minimised_allocation": "entry_id = 2",
    "kit_return": "units = 0",
    "kit_verification": "moves = 0",
    "destruction_kit": "kit_id = 1",
    "temperature_record": "readings = ''",
    "kit_exposure": "since = '2026-01-01'",
}
OWN_KEY = create_person_key("correct horse battery", ReplayedEntropy(b"guards"))[1]


@pytest.fixture
def lived(world: World) -> World:
    """A world with at least one row of every kind of evidence."""
    subject = world.randomise("CN02")
    world.dispense(subject)
    other = world.randomise("CN02", {"SLEDAI": 5.0, "STEROID": 15.0})
    _destroy(world, other, world.dispense(other))
    world.do(recall_lot, "quality", RecallLot("SIRIUS", "BL-2602", "order 1", "a label may come off"))
    world.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", subject, "test", False), sign=True)
    remark = MarkRandomisedInError("SIRIUS", subject, "consent was withdrawn the day before")
    world.do(mark_randomised_in_error, "investigator.cn02", remark)
    _make_a_joint_seed(world)
    _ask_for_a_release(world)
    with world.store.transaction(write=True) as tx:
        tx.session.add(MinimisedAllocation(entry_id=1, record=b"sealed"))
    world.do(register_own_key, "statistician.one", RegisterOwnKey(OWN_KEY), sign=True)
    file = b"time (UTC),temp (C)\n2026-01-01 00:00,20\n2026-01-01 00:10,20\n"
    beside = RecordTemperatures("SIRIUS", "CN02", "", tuple(world.kit_types_on_the_shelf("CN02")), file, "UTC")
    world.do(record_temperatures, "pharmacist.cn02", beside)
    return world


def _destroy(world: World, subject: str, kit: str) -> None:
    world.do(return_kit, "pharmacist.cn02", ReturnKit("SIRIUS", subject, kit, 3, world.today))
    world.do(verify_kits, "monitor", VerifyKits("SIRIUS", "CN02", (kit,)), sign=True)
    authority = AuthoriseDestruction("SIRIUS", (kit,), "QA letter 1", site="CN02")
    world.do(authorise_destruction, "quality", authority)


def _make_a_joint_seed(world: World) -> None:
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'withdrawn' WHERE list_id = 'SIRIUS-K2'"))
    people = ("statistician.one", "statistician.two")
    command = SpecifyList("SIRIUS", "SIRIUS-K2", "the unblinded statisticians", "plan 2", people)
    digest = world.do(specify_list, people[0], command, sign=True).ids["specification"]
    share = b"\x07" * 32
    for person in people:
        commitment = share_commitment(digest, person, share)
        world.do(commit_seed_share, person, CommitSeedShare("SIRIUS", "SIRIUS-K2", commitment))
    world.do(reveal_seed_share, people[0], RevealSeedShare("SIRIUS", "SIRIUS-K2", share.hex()))


def _ask_for_a_release(world: World) -> None:
    world.do(close_list, "manager", CloseList("SIRIUS", "SIRIUS-R1", "the end"), sign=True)
    world.do(ask_for_release, "statistician.one", AskForRelease("SIRIUS", "SIRIUS-R1", "lock memo 7"), sign=True)


def refused(world: World, statement: str, expected: type[DBAPIError] = IntegrityError) -> str:
    """Run `statement`, which the database must refuse; returns its words."""
    before = world.rows()
    with pytest.raises(expected) as caught, world.store.transaction(write=True) as tx:
        tx.session.execute(text(statement))
    assert world.rows() == before
    return str(caught.value.orig)


@pytest.mark.requirement("AUD-02")
@pytest.mark.parametrize("table", EVIDENCE)
def test_evidence_is_never_changed(lived: World, table: str) -> None:
    assert f"rows of {table} are evidence" in refused(lived, f"UPDATE {table} SET {CHANGES[table]}")


@pytest.mark.requirement("AUD-02")
@pytest.mark.requirement("RAND-07")
@pytest.mark.parametrize("table", EVIDENCE + KEPT)
def test_nothing_is_ever_deleted(lived: World, table: str) -> None:
    refused(lived, f"DELETE FROM {table}")


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", EVIDENCE + KEPT)
def test_no_table_is_emptied_behind_the_row_triggers(lived: World, table: str) -> None:
    assert "evidence" in refused(lived, f"TRUNCATE {table} CASCADE")


@pytest.mark.requirement("RAND-02")
def test_no_entry_is_skipped(lived: World) -> None:
    screened = lived.screen("CN02")

    words = refused(
        lived,
        f"UPDATE list_entry SET used_at = '2026-01-08', subject_id = (SELECT id FROM subject WHERE code = '{screened}')"
        " WHERE position = 3 AND stratum = 'SLEDAI-HIGH.STEROID-LOW'",
    )

    assert "an earlier entry of this stratum is unused" in words


@pytest.mark.requirement("RAND-03")
@pytest.mark.requirement("RAND-07")
@pytest.mark.parametrize(
    "change",
    [
        "subject_id = NULL, used_at = NULL",
        "subject_id = (SELECT max(id) FROM subject)",
        "position = 999",
        "stratum = 'SLEDAI-LOW.STEROID-LOW', position = 999",
        "record = (SELECT record FROM list_entry WHERE position = 9 AND stratum = 'SLEDAI-HIGH.STEROID-LOW')",
    ],
)
def test_a_used_entry_stays_as_it_is(lived: World, change: str) -> None:
    lived.screen("CN02")

    refused(lived, f"UPDATE list_entry SET {change} WHERE subject_id IS NOT NULL")


@pytest.mark.requirement("RAND-03")
@pytest.mark.requirement("RAND-06")
@pytest.mark.parametrize(
    "statement",
    [
        # one subject, one entry
        "UPDATE list_entry SET used_at = '2026-01-08', subject_id = (SELECT min(id) FROM subject)"
        " WHERE position = 2 AND stratum = 'SLEDAI-HIGH.STEROID-LOW'",
        # used by nobody
        "UPDATE list_entry SET used_at = '2026-01-08' WHERE position = 2 AND stratum = 'SLEDAI-HIGH.STEROID-LOW'",
        # randomised without a number, a number without being randomised, a state that contradicts them
        "UPDATE subject SET randomisation_number = NULL",
        "UPDATE subject SET randomisation_number = 'R1'",
        "UPDATE subject SET state = 'screen_failed'",
        "UPDATE subject SET state = 'vanished'",
        "UPDATE subject SET code = 'CN02-999'",
        # kits: two in one slot, one without a holder, one nowhere, another number
        "UPDATE kit SET subject_id = NULL WHERE state = 'dispensed'",
        "UPDATE kit SET state = 'available' WHERE state = 'dispensed'",
        "UPDATE kit SET site_id = NULL WHERE state = 'available'",
        "UPDATE kit SET number = 'K1' WHERE state = 'dispensed'",
        "UPDATE dispensing SET kit_id = (SELECT min(id) FROM kit)",
        # grants: ended once, never rewritten
        "UPDATE role_grant SET role = 'statistician'",
        "UPDATE role_grant SET granted_from = '2020-01-01'",
        "UPDATE person SET username = 'x' WHERE id = 1",
        # lists: what was sealed and who did it
        "UPDATE list_file SET file_digest = 'x'",
        "UPDATE list_file SET approved_by = 'statistician.one'",
        "UPDATE list_file SET seed_mark = 'x' WHERE id = 1",
        # own keys: what was registered, one in use, retired by somebody for a reason
        "UPDATE person_key SET public_key = 'x'",
        "UPDATE person_key SET fingerprint = 'x'",
        "UPDATE person_key SET person_id = 1",
        "UPDATE person_key SET version = 2",
        "UPDATE person_key SET registered_at = '2020-01-01'",
        "UPDATE person_key SET retired_at = '2026-01-08'",
        "INSERT INTO person_key (person_id, version, public_key, fingerprint, registered_at)"
        " SELECT person_id, 2, public_key, 'x', registered_at FROM person_key",
        "INSERT INTO person_key (person_id, version, public_key, fingerprint, registered_at)"
        " SELECT 1, 1, public_key, fingerprint, registered_at FROM person_key",
        "UPDATE installation SET id = 2",
        "UPDATE installation SET environment = 'staging'",
    ],
)
def test_the_database_holds_the_rules_by_itself(lived: World, statement: str) -> None:
    refused(lived, statement)


@pytest.mark.requirement("DISP-04")
def test_a_kit_is_given_once(lived: World) -> None:
    refused(
        lived,
        "INSERT INTO dispensing (subject_id, visit, slot, attempt, kit_id, state, version_id, assigned_at, assigned_by)"
        " SELECT subject_id, 'W4', slot, 1, kit_id, 'assigned', version_id, assigned_at, assigned_by FROM dispensing",
    )


@pytest.mark.requirement("DISP-04")
def test_a_visit_holds_one_kit_a_slot(lived: World) -> None:
    refused(
        lived,
        "INSERT INTO dispensing (subject_id, visit, slot, attempt, kit_id, state, version_id, assigned_at, assigned_by)"
        " SELECT subject_id, visit, slot, 2, (SELECT min(id) FROM kit WHERE state = 'available'), 'assigned',"
        " version_id, assigned_at, assigned_by FROM dispensing",
    )


def test_an_ended_grant_stays_ended(lived: World) -> None:
    with lived.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE role_grant SET granted_to = '2026-01-08', ended_by = 'x' WHERE id = 1"))

    refused(lived, "UPDATE role_grant SET granted_to = NULL WHERE id = 1")


@pytest.mark.requirement("CHG-02")
def test_a_plan_is_ended_once_and_changed_in_nothing_else(lived: World) -> None:
    lived.load()
    lived.put_in_force(2, "CN02", on=date(2026, 2, 1))
    planned = "UPDATE definition_in_force SET {} WHERE from_date = '2026-02-01'"
    for change in ("document = 'x'", "version_id = 1", "recorded_by = 'x'", "ended_at = '2026-01-08'"):
        refused(lived, planned.format(change))
    with lived.store.transaction(write=True) as tx:
        end = "ended_at = '2026-01-08', ended_by = 'x', end_reason = 'x'"
        tx.session.execute(text(planned.format(end)))

    refused(lived, planned.format("ended_at = NULL, ended_by = NULL, end_reason = NULL"))


@pytest.mark.requirement("CHG-02")
@pytest.mark.parametrize(
    ("version", "from_date"),
    [
        (1, "2026-03-01"),  # an earlier version after a later one
        (2, "2026-03-01"),  # the same again
        (3, "2026-02-01"),  # a second one from a date
        (3, "2026-01-31"),  # a later one before an earlier
    ],
)
def test_versions_at_a_site_follow_each_other(lived: World, version: int, from_date: str) -> None:
    for _ in range(2):
        lived.load()
    lived.put_in_force(2, "CN02", on=date(2026, 2, 1))
    row = (
        "INSERT INTO definition_in_force (site_id, version_id, from_date, document, recorded_at, recorded_by)"
        " SELECT site.id, definition_version.id, '{}', 'x', '2026-01-08', 'x' FROM site, definition_version"
        " WHERE site.code = 'CN02' AND definition_version.version = {}"
    )

    refused(lived, row.format(from_date, version))


def test_a_retired_key_stays_retired(lived: World) -> None:
    lived.do(retire_own_key, "statistician.one", RetireOwnKey("statistician.one", "lost"))

    refused(lived, "UPDATE person_key SET retired_at = NULL, retired_by = NULL, retire_reason = NULL")
    refused(lived, "UPDATE person_key SET retire_reason = 'found again'")


def test_foreign_keys_are_on(lived: World) -> None:
    refused(lived, "UPDATE kit SET site_id = 999 WHERE state = 'available'")
