"""An export of the audit trail is verified offline, and what was done to it is found."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import rts
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.unblinding import UnblindSubject, unblind_subject
from rts.refusal import Refusal
from rts.rehearsal.staging import OPERATOR
from rts.store.audit import detail_digest, first_hash, next_hash
from rts.store.audit_export import export_lines
from rts.store.audit_verification import SEALED_ACTIONS, verify_export
from rts.store.tables import AuditCheckpoint, AuditDetail, AuditEvent
from rts.vault.checkpoint import verify_checkpoint
from tests.store.damage import damage
from tests.world import GOOD_VALUES, World

VECTORS = json.loads((Path(__file__).parent / "audit_vectors.json").read_text("utf-8"))
CHECKPOINT, PUBLIC_KEY = VECTORS["checkpoint"]["text"], VECTORS["checkpoint"]["public_key"]


def line_of(values: dict[str, Any]) -> str:
    return rfc8785.dumps(values).decode()


def export() -> list[dict[str, Any]]:
    return [json.loads(line) for line in VECTORS["export_after_removal"]]


def rules(lines: list[dict[str, Any]], checkpoint: str = CHECKPOINT, public_key: str = PUBLIC_KEY) -> list[str]:
    return [found.rule for found in verify_export(map(line_of, lines), checkpoint, public_key).findings]


@pytest.mark.requirement("AUD-08")
def test_the_hashes_of_the_worked_vectors_are_met() -> None:
    head = first_hash(bytes.fromhex(VECTORS["chain_id"]))
    assert head.hex() == VECTORS["hash_0"]
    for event in VECTORS["events"]:
        assert detail_digest(bytes.fromhex(event["salt"]), event["detail"]) == event["header"]["detail_digest"]
        head = next_hash(head, event["header"])
        assert head.hex() == event["hash"]
    assert verify_checkpoint(CHECKPOINT, PUBLIC_KEY).head == head


@pytest.mark.requirement("DP-06")
def test_a_removed_detail_that_an_event_explains_leaves_the_trail_whole() -> None:
    verified = verify_export(VECTORS["export_after_removal"], CHECKPOINT, PUBLIC_KEY)

    assert (verified.events, verified.signed, verified.findings) == (4, 4, ())


def edited(lines: list[dict[str, Any]]) -> None:
    lines[1]["actor"] = "somebody.else"


def edited_with_its_hash(lines: list[dict[str, Any]]) -> None:
    lines[4]["actor"] = "somebody.else"
    header = {name: value for name, value in lines[4].items() if name not in {"hash", "salt", "detail"}}
    lines[4]["hash"] = next_hash(bytes.fromhex(lines[3]["hash"]), header).hex()


def removed(lines: list[dict[str, Any]]) -> None:
    del lines[3]
    lines[0]["count"] = 3


def inserted(lines: list[dict[str, Any]]) -> None:
    lines.insert(3, dict(lines[3]))
    lines[0]["count"] = 5


def reordered(lines: list[dict[str, Any]]) -> None:
    lines[3], lines[4] = lines[4], lines[3]


def renumbered_after_reordering(lines: list[dict[str, Any]]) -> None:
    lines[3], lines[4] = lines[4], lines[3]
    lines[3]["number"], lines[4]["number"] = 3, 4


def truncated(lines: list[dict[str, Any]]) -> None:
    # The removal goes with the tail; the event it explains is left with its detail, as it once was.
    event = VECTORS["events"][1]
    lines[2] |= {"salt": event["salt"], "detail": event["detail"]}
    del lines[4]
    lines[0]["count"] = 3


def truncated_behind_its_count(lines: list[dict[str, Any]]) -> None:
    truncated(lines)
    lines[0]["count"] = 4


def detail_replaced(lines: list[dict[str, Any]]) -> None:
    lines[1]["detail"]["site"] = "CN03"


def detail_missing(lines: list[dict[str, Any]]) -> None:
    del lines[1]["detail"], lines[1]["salt"]


def detail_hidden_as_sealed(lines: list[dict[str, Any]]) -> None:
    del lines[1]["detail"], lines[1]["salt"]
    lines[1]["sealed"] = True


def removal_by_one_person(lines: list[dict[str, Any]]) -> None:
    salt = bytes.fromhex(lines[4]["salt"])
    lines[4]["detail"]["approvers"] = ["zhao.min", "zhao.min"]
    lines[4]["detail_digest"] = detail_digest(salt, lines[4]["detail"])
    header = {name: value for name, value in lines[4].items() if name not in {"hash", "salt", "detail"}}
    lines[4]["hash"] = next_hash(bytes.fromhex(lines[3]["hash"]), header).hex()


@pytest.mark.requirement("AUD-08")
@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (edited, ["audit.hash"]),
        (edited_with_its_hash, ["audit.checkpoint"]),
        (removed, ["audit.number", "audit.hash"]),
        (inserted, ["audit.number", "audit.hash"]),
        (reordered, ["audit.number", "audit.hash", "audit.number", "audit.hash", "audit.time"]),
        (renumbered_after_reordering, ["audit.hash", "audit.hash", "audit.time", "audit.checkpoint"]),
        (truncated, ["audit.truncated"]),
        (truncated_behind_its_count, ["audit.truncated", "audit.count"]),
        (detail_replaced, ["audit.detail"]),
        (detail_missing, ["audit.detail_missing"]),
        (detail_hidden_as_sealed, ["audit.detail_hidden"]),
        (removal_by_one_person, ["audit.removal", "audit.checkpoint", "audit.detail_missing"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_was_done_to_an_export_is_found(
    tamper: Callable[[list[dict[str, Any]]], None], expected: list[str]
) -> None:
    lines = export()
    tamper(lines)

    assert rules(lines) == expected


def test_a_whole_forged_trail_is_found_against_the_public_key() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    assert rules(export(), public_key=pem) == ["checkpoint.key"]


def test_a_forged_trail_of_the_same_length_is_found_by_the_checkpoint() -> None:
    lines = export()
    head = first_hash(bytes.fromhex(lines[0]["chain_id"]))
    for line in lines[1:]:
        line["organisation"] = "Elsewhere"
        header = {name: value for name, value in line.items() if name not in {"hash", "salt", "detail"}}
        head = next_hash(head, header)
        line["hash"] = head.hex()

    assert rules(lines) == ["audit.checkpoint"]


def test_the_trail_of_another_installation_is_found() -> None:
    lines = export()
    lines[0]["chain_id"] = "ff" * 16

    assert rules(lines) == ["audit.hash", "audit.other_chain"]


def test_an_altered_checkpoint_is_found() -> None:
    assert rules(export(), checkpoint=CHECKPOINT.replace("\n4\n", "\n3\n")) == ["checkpoint.signature"]


def test_a_line_that_two_readers_could_read_differently_is_found() -> None:
    lines = list(VECTORS["export_after_removal"])
    lines[1] = lines[1].replace('"actor":"li.wei"', '"actor":"nobody","actor":"li.wei"')

    verified = verify_export(lines, CHECKPOINT, PUBLIC_KEY)

    assert str(verified.findings[0]) == "Line 2 of the export is not an event as RTS writes it."


@pytest.mark.parametrize("lines", [[], [""], ["{}"], ["not json"], ['{"format":"rts/audit-export/2"}']])
def test_a_file_that_is_no_export_is_refused(lines: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        verify_export(lines, CHECKPOINT, PUBLIC_KEY)
    assert refused.value.rules == ("export.form",)


@pytest.fixture
def told(world: World) -> World:
    subject = world.randomise("CN02")
    world.do(unblind_subject, "physician.cn02", UnblindSubject("SIRIUS", subject, "anaphylaxis", True), sign=True)
    world.do(make_checkpoints, OPERATOR, MakeCheckpoints())
    return world


def exported(world: World) -> list[str]:
    with world.store.transaction() as tx:
        return list(export_lines(tx, tx.trial("SIRIUS")))


@pytest.mark.requirement("AUD-08")
@pytest.mark.requirement("AUD-05")
def test_an_export_of_a_real_trail_verifies_with_the_kept_checkpoint(told: World) -> None:
    with told.store.transaction() as tx:
        chain = json.loads(exported(told)[0])["chain_id"]
        kept = [c.text for c in tx.session.query(AuditCheckpoint) if chain in c.text]

    verified = verify_export(exported(told), kept[-1], told.store.vault.keyring.audit_public_key())

    assert verified.findings == ()
    assert verified.events == verified.signed > 20


@pytest.mark.requirement("AUD-06")
def test_of_a_sealed_detail_an_export_says_only_that_it_is_sealed(told: World) -> None:
    sealed = [values for values in map(json.loads, exported(told)) if "sealed" in values]
    with told.store.transaction() as tx:
        rows = tx.session.query(AuditDetail).join(AuditEvent).filter(AuditDetail.detail_box.is_not(None)).all()

    assert len(sealed) >= len(rows) > 0
    assert {values["action"] for values in sealed} <= SEALED_ACTIONS
    assert all(
        values.keys().isdisjoint({"detail", "salt", "detail_box", "length"}) and values["sealed"] is True
        for values in sealed
    )


@pytest.mark.requirement("AUD-06")
def test_a_refusal_looks_alike_whether_it_depends_on_an_arm_or_not(told: World) -> None:
    subject = told.screen("CN02")
    for answers in ({}, told.answers()):
        with pytest.raises(Refusal):
            told.do(randomise_subject, "investigator.cn02", RandomiseSubject("SIRIUS", subject, answers, GOOD_VALUES))
    damage(
        told.store.engine,
        "UPDATE audit_detail SET detail = NULL, salt = NULL, detail_box = (SELECT detail_box FROM audit_detail WHERE"
        " detail_box IS NOT NULL ORDER BY event_id LIMIT 1) WHERE event_id = (SELECT max(id) FROM audit_event WHERE"
        " action = 'refused')",
    )

    plain, sealed = [values for values in map(json.loads, exported(told)) if values.get("action") == "refused"]

    assert plain.keys() == sealed.keys()
    assert (plain["sealed"], sealed["sealed"]) == (True, True)


def test_two_exports_at_one_moment_are_equal_byte_for_byte(told: World) -> None:
    assert exported(told) == exported(told)


def test_a_detail_taken_from_the_database_is_missed_in_the_export(told: World) -> None:
    damage(
        told.store.engine,
        "DELETE FROM audit_detail WHERE event_id = (SELECT id FROM audit_event WHERE action = 'subject.unblinded')",
    )
    with told.store.transaction() as tx:
        text = tx.session.query(AuditCheckpoint).order_by(AuditCheckpoint.id).first()
    assert text is not None

    found = verify_export(exported(told), text.text, told.store.vault.keyring.audit_public_key()).findings

    assert "audit.detail_missing" in [finding.rule for finding in found]


def test_every_action_that_deeds_seal_may_say_that_it_is_sealed() -> None:
    sealed = set()
    for file in (Path(rts.__file__).parent / "conduct").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            is_audit = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "audit"
            if is_audit and any(word.arg == "sealed" for word in node.keywords):
                action = node.args[0]
                assert isinstance(action, ast.Constant), f"{file.name}:{node.lineno}: say which action is sealed"
                sealed.add(action.value)

    assert sealed == SEALED_ACTIONS
