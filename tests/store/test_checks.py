"""`rts check`: a sound installation is clean, and each kind of damage is found."""

# ruff: noqa: S608  the SQL is this file's own, made of nobody's input

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.own_keys import RegisterOwnKey, register_own_key
from rts.conduct.preparing_visits import PrepareVisit, prepare_visit
from rts.conduct.putting_in_force import ChangePlan, change_plan
from rts.conduct.recording_temperatures import RecordTemperatures, record_temperatures
from rts.conduct.replacing_kits import ReplaceKit, replace_kit
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.entropy import ReplayedEntropy
from rts.rehearsal.staging import OPERATOR
from rts.store.checks import run_checks
from rts.store.sealed_rows import open_kits
from rts.store.tables import AuditDetail, AuditEvent, Kit, ListEntry, Subject
from rts.supply.kits import KitState
from rts.vault.person_keys import create_person_key
from tests.store.damage import damage
from tests.world import World


@pytest.fixture
def lived_in(world: World) -> World:
    """Two subjects at CN02: the first dispensed, replaced, seen again, unblinded and withdrawn; the second waiting."""
    first = world.randomise("CN02")
    kit = world.dispense(first)
    world.randomise("CN02")
    world.clock.advance(timedelta(days=1))
    world.do(replace_kit, "pharmacist.cn02", ReplaceKit("SIRIUS", first, kit, "lost", "left on a bus"))
    world.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", first, "anaphylaxis", True), sign=True)
    world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", first, "withdrawn", "adverse event"))
    _read_a_logger(world)
    own_key = create_person_key("correct horse battery", ReplayedEntropy(b"checks"))[1]
    world.do(register_own_key, "statistician.one", RegisterOwnKey(own_key), sign=True)
    world.do(make_checkpoints, OPERATOR, MakeCheckpoints())
    return world


def _read_a_logger(world: World) -> None:
    """A day at 20 degrees for the shelf of CN03."""
    day = world.clock.now() - timedelta(days=1)
    lines = "".join(f"{day + timedelta(hours=hour):%Y-%m-%d %H:%M},20\n" for hour in range(25))
    shelf = tuple(world.kit_types_on_the_shelf("CN03"))
    file = f"time (UTC),temp (C)\n{lines}".encode()
    world.do(record_temperatures, "pharmacist.cn03", RecordTemperatures("SIRIUS", "CN03", "", shelf, file, "UTC"))


def rules(world: World) -> set[str]:
    return {found.rule for found in run_checks(world.store)}


def test_a_sound_installation_is_clean(lived_in: World) -> None:
    assert run_checks(lived_in.store) == []


@pytest.mark.requirement("CHG-04")
def test_subjects_of_several_versions_are_clean(lived_in: World) -> None:
    lived_in.randomise("CN03")
    lived_in.amend(('protocol_version = "1.0"', 'protocol_version = "1.1"'), at=("CN03",))
    lived_in.randomise("CN03")
    lived_in.load()
    lived_in.put_in_force(3, "CN03", on=lived_in.today + timedelta(days=1))
    plan = ChangePlan("SIRIUS", 3, ("CN03",), None, "", "not approved")
    lived_in.do(change_plan, "manager", plan)
    lived_in.clock.advance(timedelta(days=2))
    lived_in.randomise("CN03")

    assert run_checks(lived_in.store) == []


def test_a_check_changes_nothing_but_the_trail_and_may_be_repeated(lived_in: World) -> None:
    def everything() -> list[object]:
        with lived_in.store.transaction() as tx:
            counts = [
                tx.session.scalar(text(f"SELECT count(*) FROM {table}"))
                for table in ("kit_move", "list_entry", "dispensing", "subject", "shipment", "signature", "notice")
            ]
            return [
                *counts,
                tx.session.execute(text("SELECT state, count(*) FROM kit GROUP BY state ORDER BY state")).all(),
            ]

    before, events = everything(), lived_in.events()
    assert run_checks(lived_in.store) == []
    assert run_checks(lived_in.store) == []
    assert everything() == before
    assert lived_in.events() == events + 4


def test_a_clock_that_stands_before_the_trail_does_not_stop_a_check(lived_in: World) -> None:
    lived_in.clock.set(lived_in.clock.now() - timedelta(days=400))

    assert run_checks(lived_in.store) == []


@pytest.mark.requirement("UNBL-04")
def test_a_check_leaves_on_the_trail_that_it_opened_what_is_sealed(lived_in: World) -> None:
    run_checks(lived_in.store)

    with lived_in.store.transaction() as tx:
        details = tx.session.execute(
            select(AuditEvent.action, AuditDetail.detail)
            .join(AuditDetail)
            .where(AuditEvent.action.in_(["check.run", "check.done"]))
            .order_by(AuditEvent.number)
        ).all()
        sealed = tx.session.scalar(select(func.count()).select_from(ListEntry)) or 0
    assert [action for action, _ in details] == ["check.run", "check.done"]
    done = json.loads(details[1][1])
    assert done["findings"] == 0
    assert done["opened"] > sealed


def newest(table: str, condition: str) -> str:
    return f"(SELECT max(id) FROM {table} WHERE {condition})"


RECEIVED = newest("kit_move", "move = 'receive_good'")
UNBLINDED = newest("audit_event", "action = 'subject.unblinded'")
SEALED_DETAIL = "(SELECT detail_box FROM audit_detail WHERE detail_box IS NOT NULL ORDER BY event_id LIMIT 1)"
LAST_SEALED = "(SELECT max(event_id) FROM audit_detail WHERE detail_box IS NOT NULL)"
CHAIN = "(SELECT id FROM audit_chain WHERE trial_id IS NOT NULL)"
EVENT_40 = newest("audit_event", f"number = 40 AND chain_id = {CHAIN}")
LAST_SUBJECT = "(SELECT max(id) FROM subject)"

OTHER_KEY = create_person_key("correct horse battery", ReplayedEntropy(b"somebody else"))[1]

DAMAGES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "the date of a version in force": (
        ("UPDATE definition_in_force SET from_date = '2026-06-01' WHERE site_id = (SELECT max(site_id) FROM subject)",),
        {"allocation.version"},
    ),
    "the moment a version was put in force": (
        ("UPDATE definition_in_force SET recorded_at = '2026-06-01 00:00:00+00:00'",),
        {"allocation.version"},
    ),
    "a kit's state": (
        ("UPDATE kit SET state = 'quarantined' WHERE id = (SELECT min(id) FROM kit WHERE state = 'available')",),
        {"kit.state"},
    ),
    "a kit's place": (
        (
            "UPDATE kit SET site_id = (SELECT id FROM site WHERE code = 'CN03') WHERE id = (SELECT min(kit.id) FROM kit"
            " JOIN site ON site.id = kit.site_id WHERE kit.state = 'available' AND site.code = 'CN02')",
        ),
        {"kit.place"},
    ),
    "the last row of a ledger": (
        ("DELETE FROM kit_move WHERE id = (SELECT max(id) FROM kit_move WHERE move = 'receive_good')",),
        {"kit.ledger_rows", "kit.state", "shipment.kit"},
    ),
    "a row out of the middle of a ledger": (
        ("DELETE FROM kit_move WHERE id = (SELECT max(id) FROM kit_move WHERE move = 'ship')",),
        {"kit.ledger_rows", "kit.ledger_states", "kit.ledger_move", "kits.sent"},
    ),
    "a move rewritten": (
        ("UPDATE kit_move SET move = 'expire' WHERE id = (SELECT max(id) FROM kit_move WHERE move = 'ship')",),
        {"kit.ledger_move", "kits.sent"},
    ),
    "a state rewritten in the ledger": (
        (f"UPDATE kit_move SET to_state = 'damaged' WHERE id = {RECEIVED}",),
        {"kit.state", "kits.received"},
    ),
    "a ledger that runs back": (
        ("UPDATE kit_move SET at = '2020-01-01 00:00:00' WHERE id = (SELECT max(id) FROM kit_move)",),
        {"kit.ledger_time"},
    ),
    "an entry skipped": (
        ("UPDATE list_entry SET position = position + 1000 WHERE subject_id = (SELECT max(id) FROM subject)",),
        {"list.order", "list.entry_missing", "list.entry_added", "allocation.record"},
    ),
    "an entry used before its time": (
        ("UPDATE list_entry SET used_at = '2020-01-01 00:00:00' WHERE subject_id = (SELECT max(id) FROM subject)",),
        {"list.order", "allocation.moment"},
    ),
    "an entry given back": (
        ("UPDATE list_entry SET subject_id = NULL, used_at = NULL WHERE subject_id = (SELECT max(id) FROM subject)",),
        {"allocation.no_entry"},
    ),
    "a subject's number": (
        ("UPDATE subject SET randomisation_number = 'R999999' WHERE id = (SELECT max(id) FROM subject)",),
        {"allocation.number", "signature.randomisation"},
    ),
    "a subject's stratum": (
        ("UPDATE subject SET stratum = 'elsewhere' WHERE id = (SELECT max(id) FROM subject)",),
        {"allocation.stratum", "signature.randomisation"},
    ),
    "an answer after the signature": (
        ("UPDATE subject SET factor_values = '{\"SLEDAI\": 11.0}' WHERE id = (SELECT max(id) FROM subject)",),
        {"signature.randomisation"},
    ),
    "a signature removed": (
        (
            "DELETE FROM signature WHERE object_type = 'randomisation' AND id = (SELECT max(id) FROM signature"
            " WHERE object_type = 'randomisation')",
        ),
        {"signature.count"},
    ),
    "the reason of a code break": (
        ("UPDATE code_break SET reason = 'curiosity'",),
        {"signature.code_break"},
    ),
    "a signature with a password from somebody else": (
        ("UPDATE signature SET password_given_by = 'administrator' WHERE object_type = 'randomisation'",),
        {"signature.unconfirmed"},
    ),
    "the flag of a code break": (
        ("UPDATE subject SET unblinded_at = NULL WHERE unblinded_at IS NOT NULL",),
        {"code_break.flag"},
    ),
    "a specification exchanged": (
        (
            "UPDATE list_specification SET content_box = (SELECT content_box FROM list_specification WHERE id = 2)"
            " WHERE id = 1",
        ),
        {"specification.altered"},
    ),
    "who wrote a specification": (
        ("UPDATE list_specification SET specified_by = 'manager' WHERE id = 1",),
        {"signature.specification"},
    ),
    "a specification younger than its list": (
        ("UPDATE list_specification SET specified_at = '2031-01-01 00:00:00' WHERE id = 1",),
        {"specification.late"},
    ),
    "who approved a list": (
        ("UPDATE list_file SET approved_by = generated_by WHERE id = (SELECT min(id) FROM list_file)",),
        {"list.three_people", "signature.list"},
    ),
    "a list's commitment": (
        ("UPDATE list_file SET commitment = file_digest WHERE id = (SELECT min(id) FROM list_file)",),
        {"list.manifest", "signature.list"},
    ),
    "an entry's record": (
        (
            "UPDATE list_entry SET record = (SELECT other.record FROM list_entry AS other WHERE other.position = 2 AND"
            " other.stratum = list_entry.stratum) WHERE subject_id = (SELECT min(id) FROM subject)",
        ),
        {"list.entry_changed", "allocation.record"},
    ),
    "an entry removed": (
        ("DELETE FROM list_entry WHERE id = (SELECT max(id) FROM list_entry WHERE subject_id IS NULL)",),
        {"list.entry_missing"},
    ),
    "a kit's number": (
        ("UPDATE kit SET number = 'K000000' WHERE id = (SELECT max(id) FROM kit WHERE state = 'packed')",),
        {"kit.number"},
    ),
    "a kit handed to another subject": (
        ("UPDATE kit SET subject_id = (SELECT min(id) FROM subject) WHERE state = 'assigned'",),
        {"kit.place", "dispensing.subject"},
    ),
    "a kit handed over without a scan": (
        ("UPDATE dispensing SET dispensed_at = assigned_at WHERE state = 'assigned'",),
        {"dispensing.ledger"},
    ),
    "a dispensing put back": (
        ("UPDATE dispensing SET state = 'put_back' WHERE state = 'assigned'",),
        {"dispensing.count", "dispensing.state"},
    ),
    "a shipment lost after receipt": (
        ("UPDATE shipment SET state = 'lost' WHERE id = (SELECT min(id) FROM shipment)",),
        {"shipment.kit"},
    ),
    "how a kit arrived": (
        ("UPDATE shipment_kit SET outcome = 'damaged' WHERE id = (SELECT min(id) FROM shipment_kit)",),
        {"shipment.kit"},
    ),
    "the definition": (
        ("UPDATE definition_version SET public_text = public_text || '# more'",),
        {"definition.digest"},
    ),
    "the sealed definition": (
        (f"UPDATE definition_version SET restricted_box = {SEALED_DETAIL}",),
        {"definition.sealed"},
    ),
    "an event edited": (
        (f"UPDATE audit_event SET actor = 'nobody' WHERE number = 40 AND chain_id = {CHAIN}",),
        {"audit.hash"},
    ),
    "an event removed": (
        (
            f"DELETE FROM audit_detail WHERE event_id = {EVENT_40}",
            f"DELETE FROM audit_event WHERE number = 40 AND chain_id = {CHAIN}",
        ),
        {"audit.number", "audit.hash"},
    ),
    "a detail replaced": (
        (f"UPDATE audit_detail SET detail = '{{}}' WHERE event_id = {UNBLINDED}",),
        {"audit.detail"},
    ),
    "a sealed detail replaced": (
        (f"UPDATE audit_detail SET detail_box = {SEALED_DETAIL} WHERE event_id = {LAST_SEALED}",),
        {"audit.detail"},
    ),
    "a detail removed without a word": (
        (f"DELETE FROM audit_detail WHERE event_id = {UNBLINDED}",),
        {"audit.detail_missing"},
    ),
    "the head of the installation's trail": (
        ("UPDATE audit_chain SET last_at = '2099-01-01T00:00:00.000000Z' WHERE trial_id IS NULL",),
        {"audit.head"},
    ),
    "somebody else's key put in the place of a statistician's": (
        (f"UPDATE person_key SET public_key = '{OTHER_KEY}'",),
        {"signature.own_key"},
    ),
    "an own key that nobody signed for": (
        ("DELETE FROM signature WHERE object_type = 'own_key'",),
        {"signature.own_key"},
    ),
    "an own key retired without the lists": (
        ("UPDATE person_key SET retired_at = '2026-01-08', retired_by = 'x', retire_reason = 'x'",),
        {"list.recipient"},
    ),
    "the data key of the trial": (
        ("UPDATE trial SET data_key = (SELECT data_key FROM list_file WHERE list_id = 'SIRIUS-K1')",),
        {"definition.sealed", "audit.detail", "specification.altered"},
    ),
    "a wrap of the trial's data key": (
        ("UPDATE trial SET data_key = replace(data_key, 'trial SIRIUS', 'trial OTHER')",),
        {"key.data_key", "definition.sealed", "audit.detail", "specification.altered"},
    ),
    "a data key exchanged for another list's": (
        (
            "UPDATE list_file SET data_key = (SELECT data_key FROM list_file WHERE list_id = 'SIRIUS-K1')"
            " WHERE list_id = 'SIRIUS-K2'",
        ),
        {"list.keys", "kit.record"},
    ),
    "the readings of a logger": (
        ("UPDATE temperature_record SET readings = '2026-01-01T00:00:00Z 2x'",),
        {"temperature.readings"},
    ),
    "a temperature that was in range": (
        ("UPDATE temperature_record SET readings = replace(readings, ' 20.00', ' 31.00')",),
        {"temperature.not_quarantined"},
    ),
    "a checkpoint": (
        ("UPDATE audit_checkpoint SET text = text || 'x'",),
        {"checkpoint.form"},
    ),
}


@pytest.mark.requirement("LIST-09")
@pytest.mark.requirement("AUD-08")
@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_found(lived_in: World, what: str) -> None:
    statements, expected = DAMAGES[what]
    damage(lived_in.store.engine, *statements)

    assert rules(lived_in) == expected


def test_the_tail_of_a_trail_cut_off_behind_its_head_is_found_by_the_checkpoint(lived_in: World) -> None:
    # The event, its detail and the head go together, as a careful forger would take them.
    last = "SELECT max(id) FROM audit_event WHERE chain_id = (SELECT id FROM audit_chain WHERE trial_id IS NOT NULL)"
    damage(
        lived_in.store.engine,
        "UPDATE audit_chain SET count = count - 1, hash = (SELECT event.hash FROM audit_event AS event WHERE"
        " event.chain_id = audit_chain.id AND event.number = audit_chain.count - 1), last_at = (SELECT event.at FROM"
        " audit_event AS event WHERE event.chain_id = audit_chain.id AND event.number = audit_chain.count - 1) WHERE"
        " trial_id IS NOT NULL",
        f"DELETE FROM audit_detail WHERE event_id = ({last})",
        f"DELETE FROM audit_mention WHERE event_id = ({last})",
        f"DELETE FROM audit_event WHERE id = ({last})",
    )

    # The check's own event takes the place of the one removed, so the trail differs from what was signed for.
    assert rules(lived_in) == {"audit.checkpoint"}


@pytest.mark.requirement("BLIND-01")
def test_a_kit_of_the_other_treatment_is_found_without_naming_a_treatment(lived_in: World) -> None:
    with lived_in.store.transaction(write=True) as tx:
        held = tx.session.scalars(select(Kit).where(Kit.state == KitState.ASSIGNED)).one()
        # Kits that have only been received, so that the ledger of one can be put in place of the other's.
        fresh = select(Kit).where(
            Kit.state == KitState.AVAILABLE, Kit.site_id == held.site_id, Kit.moves == held.moves - 1
        )
        shelf = tx.session.scalars(fresh.order_by(Kit.number)).all()
        opened = open_kits(tx, [held, *shelf], tx.opener())
        other = next(kit.kit for kit in opened[1:] if kit.kit_type != opened[0].kit_type)
        holder = tx.session.get_one(Subject, held.subject_id)
        subject, subject_id = holder.code, holder.id
        held_id, other_id, other_number = held.id, other.id, other.number
        codes = {kit.kit_type for kit in opened}
        tx.act_as(OPERATOR, "service")
        tx.audit("test.looked", "trial", "SIRIUS")
    # Both ledgers and both rows are exchanged, so that nothing but the type speaks against it.
    top = f"SELECT max(sequence) FROM kit_move WHERE kit_id = {other_id}"
    damage(
        lived_in.store.engine,
        f"UPDATE kit_move SET sequence = 1 + ({top}), kit_id = {other_id} WHERE move = 'assign' AND kit_id = {held_id}",
        f"UPDATE kit SET moves = moves - 1, state = 'available', visit = NULL, subject_id = NULL WHERE id = {held_id}",
        f"UPDATE kit SET moves = moves + 1, state = 'assigned', visit = 'W0', subject_id = {subject_id}"
        f" WHERE id = {other_id}",
        f"UPDATE dispensing SET kit_id = {other_id} WHERE kit_id = {held_id}",
    )

    findings = run_checks(lived_in.store)

    assert [str(found) for found in findings] == [
        f"Kit {other_number} is not of the treatment of subject {subject}, to whom it was given."
    ]
    assert not any(code in str(findings) for code in codes)


def test_a_changed_list_file_is_found(lived_in: World) -> None:
    file = next(iter(sorted(lived_in.store.lists.rglob("*.rtslist"))))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)

    found = run_checks(lived_in.store)

    assert [(finding.rule, str(finding)) for finding in found] == [
        ("list.file", f"List {file.stem}: {file.name} is not the file that was sealed: its digest differs.")
    ]


def test_a_lost_keys_file_is_found(lived_in: World) -> None:
    file = next(iter(sorted(lived_in.store.lists.rglob("*.keys"))))
    file.unlink()

    assert rules(lived_in) == {"list.keys"}


def test_a_later_visit_and_a_second_site_are_clean_too(world: World) -> None:
    first = world.randomise("CN02")
    world.dispense(first)
    world.randomise("CN03")
    world.clock.advance(timedelta(days=28))
    world.night()
    world.do(prepare_visit, "pharmacist.cn02", PrepareVisit("SIRIUS", first, "W4"))

    assert run_checks(world.store) == []
