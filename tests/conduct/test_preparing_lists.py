"""Lists: three deeds by three people, and every file or seed that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from rts.access.actor import service
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.perform import Done, perform
from rts.conduct.retiring_lists import WithdrawList, withdraw_list
from rts.refusal import Refusal
from rts.store.tables import Kit, ListEntry, ListFile, Signature
from tests.world import World

ONE, TWO, MANAGER = "statistician.one", "statistician.two", "manager"


@pytest.fixture
def bare(world: World) -> World:
    """The staged trial with its list of subjects withdrawn from use, so that another may be made."""
    with world.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'withdrawn' WHERE list_id = 'SIRIUS-R1'"))
    return world


@pytest.fixture
def production(database_url: str, tmp_path: Path) -> Iterator[World]:
    with World.make(database_url, tmp_path, environment="production", sites=()) as made:
        yield made


def generated(world: World) -> str:
    done = world.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1"), sign=True)
    return str(done.ids["list"])


@pytest.mark.requirement("LIST-06")
@pytest.mark.requirement("LIST-08")
def test_a_list_is_generated_approved_and_activated_by_three_people(bare: World) -> None:
    name = generated(bare)
    bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    done = bare.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)

    assert done == Done("activate_list", {"trial": "SIRIUS", "list": "SIRIUS-R1-2"})
    with bare.store.transaction() as tx:
        found = tx.session.scalars(select(ListFile).where(ListFile.list_id == name)).one()
        assert (found.generated_by, found.approved_by, found.activated_by) == (ONE, TWO, MANAGER)
        assert (found.state, found.entries, found.times_generated, found.purpose) == ("active", 592, 2, "test")
        assert tx.session.scalar(select(func.count()).where(ListEntry.list_id == found.id)) == 592
        meanings = tx.session.scalars(
            select(Signature.meaning).where(Signature.object_id == name).order_by(Signature.id)
        ).all()
    assert meanings == [
        "I generated this list",
        "I checked this list and approve it",
        "I activate this list",
    ]


@pytest.mark.requirement("LIST-06")
def test_nobody_approves_their_own_list(bare: World) -> None:
    name = generated(bare)

    with bare.refuses("rule", "list.three_people"):
        bare.do(approve_list, ONE, ApproveList("SIRIUS", name), sign=True)


@pytest.mark.requirement("SIG-03")
def test_each_of_the_three_deeds_is_signed(bare: World) -> None:
    with bare.refuses("wrong_password", "signature.missing"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1"))
    name = generated(bare)
    with bare.refuses("wrong_password", "signature.missing"):
        bare.do(approve_list, TWO, ApproveList("SIRIUS", name))
    bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    with bare.refuses("wrong_password", "signature.missing"):
        bare.do(activate_list, MANAGER, ActivateList("SIRIUS", name))


@pytest.mark.requirement("LIST-08")
def test_a_list_goes_from_generated_to_approved_to_active_and_no_other_way(bare: World) -> None:
    name = generated(bare)
    with bare.refuses("conflict", "list.state"):
        bare.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)
    bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    with bare.refuses("conflict", "list.state"):
        bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    bare.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)
    with bare.refuses("conflict", "list.state"):
        bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", name, "a mistake"))


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize("person", [MANAGER, "investigator.cn02", "administrator", "auditor", "supply"])
def test_only_a_statistician_generates(bare: World, person: str) -> None:
    with bare.refuses("forbidden", "access.permission"):
        bare.do(generate_list, person, GenerateList("SIRIUS", "SIRIUS-R1"), sign=True)


def test_a_plan_has_one_list_at_a_time(world: World) -> None:
    with world.refuses("conflict", "list.standing"):
        generated(world)


def test_a_list_nobody_planned_is_not_generated(bare: World) -> None:
    with bare.refuses("not_found", "list.no_plan"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R9"), sign=True)


@pytest.mark.requirement("LIST-05")
def test_no_seed_serves_twice(bare: World) -> None:
    seed = "ab" * 32
    bare.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1", seed), sign=True)
    bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", "SIRIUS-R1-2", "again"))

    with bare.refuses("conflict", "list.seed_used"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1", seed), sign=True)


@pytest.mark.parametrize("seed", ["ab" * 31, "xy" * 32, "ab" * 33])
def test_a_seed_is_64_hex_digits(bare: World, seed: str) -> None:
    with bare.refuses("invalid", "list.seed"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1", seed), sign=True)


@pytest.mark.requirement("LIST-05")
def test_a_production_installation_takes_no_seed_from_a_person(production: World) -> None:
    with production.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'withdrawn' WHERE list_id = 'SIRIUS-R1'"))

    with production.refuses("rule", "list.seed_given"):
        production.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1", "ab" * 32), sign=True)


@pytest.mark.requirement("LIST-07")
@pytest.mark.parametrize("damage", ["one bit", "cut short", "a longer file", "the other list", "gone"])
def test_a_file_that_is_not_the_one_generated_is_refused(bare: World, damage: str) -> None:
    name = generated(bare)
    folder = bare.store.lists / "SIRIUS"
    file = folder / f"{name}.rtslist"
    content = file.read_bytes()
    file.chmod(0o600)
    if damage == "one bit":
        file.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    elif damage == "cut short":
        file.write_bytes(content[:-1])
    elif damage == "a longer file":
        file.write_bytes(content + b"\n")
    elif damage == "the other list":
        shutil.copyfile(folder / "SIRIUS-K1.rtslist", file)
    else:
        file.unlink()
    before, events = bare.rows(), bare.events()

    with pytest.raises(Refusal) as caught:
        bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)

    assert caught.value.code in {"invalid", "unavailable", "not_found"}
    assert (bare.rows(), bare.events()) == (before, events + 1)


@pytest.mark.requirement("LIST-05")
@pytest.mark.parametrize(("column", "value"), [("purpose", "training"), ("trial", "VENUS"), ("list_id", "SIRIUS-R7")])
def test_a_file_of_another_purpose_trial_or_list_is_refused(bare: World, column: str, value: str) -> None:
    """The digest in the database is made to fit, so that the manifest's own word is what refuses."""
    import hashlib

    name = generated(bare)
    file = bare.store.lists / "SIRIUS" / f"{name}.rtslist"
    manifest, records = file.read_bytes().split(b"\n\n", 1)
    told = json.loads(manifest)
    told[column] = value
    file.chmod(0o600)
    file.write_bytes(json.dumps(told, indent=2, ensure_ascii=False).encode() + b"\n\n" + records)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with bare.store.transaction(write=True) as tx:
        trigger = "tr_list_file_update_refused"
        if bare.store.engine.dialect.name == "postgresql":
            tx.session.execute(text(f"ALTER TABLE list_file DISABLE TRIGGER {trigger}"))
        else:
            tx.session.execute(text(f"DROP TRIGGER {trigger}"))
        tx.session.execute(
            text("UPDATE list_file SET file_digest = :digest WHERE list_id = :name"), {"digest": digest, "name": name}
        )

    rule = "list.purpose" if column == "purpose" else "list.other"
    with bare.refuses("invalid", rule):
        bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)


def test_two_lists_never_share_a_prefix(bare: World) -> None:
    name = generated(bare)
    with bare.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'closed' WHERE list_id = 'SIRIUS-R1'"))

    with bare.refuses("conflict", "list.prefix"):
        bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)


def test_a_second_list_of_subjects_waits_until_the_first_is_closed(bare: World) -> None:
    name = generated(bare)
    bare.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    with bare.store.transaction(write=True) as tx:
        tx.session.execute(text("UPDATE list_file SET state = 'active' WHERE list_id = 'SIRIUS-R1'"))

    with bare.refuses("conflict", "list.active"):
        bare.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)


def test_a_withdrawn_list_stays_counted_and_its_file_stays(bare: World) -> None:
    name = generated(bare)
    with bare.refuses("invalid", "reason.missing"):
        bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", name, " "))

    bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", name, "wrong block sizes"))

    assert (bare.store.lists / "SIRIUS" / f"{name}.rtslist").exists()
    assert generated(bare) == "SIRIUS-R1-3"
    with bare.refuses("not_found", "list.unknown"):
        bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", "SIRIUS-R99", "x"))


@pytest.mark.requirement("LIST-10")
def test_the_rows_of_kits_lie_in_packaging_order_without_a_pattern_of_types(world: World) -> None:
    with world.opened() as (tx, opener):
        from rts.store.sealed_rows import open_kits

        kits = list(tx.session.scalars(select(Kit).where(Kit.list_id == 2).order_by(Kit.id)))
        types = [opened.kit_type for opened in open_kits(tx, kits, opener)]
    assert [kit.position for kit in kits] == list(range(1, 601))
    assert (types.count("GAFIB"), types.count("WUBEK")) == (300, 300)
    changes = sum(first != second for first, second in pairwise(types))
    assert 240 < changes < 360  # 299.5 expected, standard deviation 12.2
    assert len({len(kit.record) for kit in kits}) == 1


def test_a_service_signs_no_list(bare: World) -> None:
    with pytest.raises(Refusal) as caught:
        perform(bare.store, generate_list, service("night"), GenerateList("SIRIUS", "SIRIUS-R1"))

    assert caught.value.code == "forbidden"
