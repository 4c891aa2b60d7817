"""Once, whole, and with a trace when refused: what holds of every deed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.accounts import AddPerson, add_person
from rts.conduct.handing_over import HandOver, hand_over
from rts.conduct.perform import Done, perform
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.screening import ScreenSubject, screen_subject
from rts.refusal import Refusal, refuse, say
from rts.store import locks
from rts.store.tables import IdempotencyKey, ListEntry, Subject
from rts.store.transaction import Transaction
from rts.vault.vault import Opener
from tests.world import GOOD_VALUES, World


def screening(world: World, **changes: object) -> ScreenSubject:
    command = ScreenSubject("SIRIUS", "CN02", world.today, 1980, "female")
    return replace(command, **changes)  # type: ignore[arg-type]


@pytest.mark.requirement("RAND-05")
def test_a_repeat_with_the_same_key_answers_the_same_and_takes_nothing(world: World) -> None:
    command = RandomiseSubject("SIRIUS", world.screen("CN02"), world.answers(), GOOD_VALUES)
    first = world.do(randomise_subject, "investigator.cn02", command, sign=True, key="k1")
    before, events = world.rows(), world.events()

    again = world.do(randomise_subject, "investigator.cn02", command, sign=True, key="k1")

    assert (first.again, again) == (False, Done(first.deed, first.ids, again=True))
    assert (world.rows(), world.events()) == (before, events)
    with world.store.transaction() as tx:
        assert len(tx.session.scalars(select(ListEntry).where(ListEntry.subject_id.is_not(None))).all()) == 1


@pytest.mark.parametrize("changes", [{"year_of_birth": 1981}, {"site": "CN03"}, {"is_new_person": True}])
def test_a_key_used_for_another_body_is_refused(world: World, changes: dict[str, object]) -> None:
    world.do(screen_subject, "investigator.cn02", screening(world), key="k1")

    with world.refuses("conflict", "idempotency.other_body"):
        world.do(screen_subject, "investigator.cn02", screening(world, **changes), key="k1")


def test_a_key_used_for_another_deed_is_refused(world: World) -> None:
    world.do(screen_subject, "investigator.cn02", screening(world), key="k1")
    command = RandomiseSubject("SIRIUS", "CN02-001", world.answers(), GOOD_VALUES)

    with world.refuses("conflict", "idempotency.other_body"):
        world.do(randomise_subject, "investigator.cn02", command, sign=True, key="k1")


def test_a_key_belongs_to_one_person(world: World) -> None:
    world.do(screen_subject, "investigator.cn02", screening(world), key="k1")

    done = world.do(screen_subject, "investigator.cn03", screening(world, site="CN03"), key="k1")

    assert done == Done("screen_subject", {"trial": "SIRIUS", "site": "CN03", "subject": "CN03-001"})


def test_a_refusal_leaves_no_key_so_the_mended_request_goes_through(world: World) -> None:
    with world.refuses("invalid", "sex.unknown"):
        world.do(screen_subject, "investigator.cn02", screening(world, sex="other"), key="k1")

    done = world.do(screen_subject, "investigator.cn02", screening(world), key="k1")

    assert (done.ids["subject"], done.again) == ("CN02-001", False)


def test_a_stored_outcome_holds_codes_and_no_body(world: World) -> None:
    command = AddPerson("new.person", "New Person", "Org", "new@example.org", "a long first password")
    world.do(add_person, "administrator", command, key="k1")

    with world.store.transaction() as tx:
        row = tx.session.scalars(select(IdempotencyKey)).one()
    assert row.outcome == '{"deed":"add_person","ids":{"person":"new.person"}}'
    again = world.do(add_person, "administrator", replace(command, password="another password"), key="k1")
    assert again.again  # the password enters no digest


@pytest.mark.requirement("AUD-04")
def test_a_refused_deed_is_on_the_trail_with_its_rules_and_nothing_typed(world: World) -> None:
    subject = world.randomise("CN02")
    right = world.kit_for(subject, "W0")

    with world.refuses("rule", "kit.mismatch"):
        world.do(hand_over, "pharmacist.cn02", HandOver("SIRIUS", subject, "W0", "K000000"))

    event, detail = world.last_event("refused")
    assert (event.actor, event.role, event.object_type, event.object_id) == (
        "pharmacist.cn02",
        "pharmacist",
        "subject",
        subject,
    )
    assert detail == {"deed": "hand_over", "code": "rule", "rules": ["kit.mismatch"], "opened": {}}
    with world.store.transaction() as tx:
        mentions = tx.session.execute(
            text("SELECT kind, code FROM audit_mention WHERE event_id = :id ORDER BY kind"), {"id": event.id}
        ).all()
    assert [tuple(row) for row in mentions] == [("kit", "K000000"), ("subject", subject)]
    assert right not in str(detail)


@dataclass(frozen=True)
class Anything:
    trial: str = "SIRIUS"
    subject: str = ""


def test_a_deed_that_breaks_halfway_leaves_no_row_and_no_event(world: World) -> None:
    def broken(tx: Transaction, actor: Actor, command: Anything) -> Done:
        require(tx, actor, Permission.SCREEN, tx.trial("SIRIUS"), tx.site(tx.trial("SIRIUS"), "CN02"))
        tx.session.execute(text("UPDATE site SET state = 'closed'"))
        tx.audit("never", "site", "CN02")
        raise ZeroDivisionError

    before, events = world.rows(), world.events()
    with pytest.raises(ZeroDivisionError):
        world.do(broken, "investigator.cn02", Anything())

    assert (world.rows(), world.events()) == (before, events)


def test_what_the_database_refuses_is_a_conflict_with_a_trace(world: World) -> None:
    subject = world.screen("CN02")

    def double(tx: Transaction, actor: Actor, command: Anything) -> Done:
        tx.act_as(actor, "investigator")
        row = tx.session.scalars(select(Subject).where(Subject.code == subject)).one()
        values = {column.name: getattr(row, column.name) for column in Subject.__table__.columns if column.name != "id"}
        tx.session.add(Subject(**values))
        return Done("double", {})

    with world.refuses("conflict", "store.constraint"):
        world.do(double, "investigator.cn02", Anything())


@pytest.mark.requirement("AUD-06")
def test_a_refusal_that_depends_on_an_arm_is_sealed(world: World) -> None:
    def telling(tx: Transaction, actor: Actor, command: Anything) -> Done:
        raise refuse("rule", "kit.none_suitable", say("no kit"), sealed=True)

    with world.refuses("rule", "kit.none_suitable"):
        world.do(telling, "investigator.cn02", Anything())

    event, detail = world.last_event("refused")
    assert detail is None
    with world.store.transaction() as tx:
        row = tx.session.execute(
            text("SELECT salt, detail, detail_box FROM audit_detail WHERE event_id = :id"), {"id": event.id}
        ).one()
    assert (row.salt, row.detail) == (None, None)
    assert b"none_suitable" not in row.detail_box


@pytest.mark.requirement("UNBL-04")
def test_what_was_opened_before_a_refusal_is_on_the_trail(world: World) -> None:
    def curious(tx: Transaction, actor: Actor, command: Anything, opener: Opener) -> Done:
        from rts.conduct.kits_at_site import opened_shelf

        opened_shelf(tx, tx.site(tx.trial("SIRIUS"), "CN02"), opener)
        raise refuse("rule", "curious", say("no"))

    with world.refuses("rule", "curious"):
        world.do(curious, "investigator.cn02", Anything())

    assert world.last_event("refused")[1] == {
        "deed": "curious",
        "code": "rule",
        "rules": ["curious"],
        "opened": {"list": 6},
    }


@pytest.mark.requirement("TIME-02")
def test_a_clock_far_behind_the_trail_refuses_and_still_leaves_a_trace(world: World) -> None:
    world.screen("CN02")
    last = world.last_event("subject.screened")[0].at
    world.clock.advance(timedelta(minutes=-6))

    with world.refuses("unavailable", "clock.behind"):
        world.do(screen_subject, "investigator.cn02", screening(world, is_new_person=True))

    assert world.last_event("refused")[0].at == last


@pytest.mark.requirement("AUD-08")
def test_a_clock_a_little_behind_never_dates_an_event_before_the_last(world: World) -> None:
    world.screen("CN02")
    last = world.last_event("subject.screened")[0].at
    world.clock.advance(timedelta(minutes=-5))

    world.screen("CN02")

    assert world.last_event("subject.screened")[0].at == last


def test_a_value_the_database_cannot_hold_is_refused_by_name(world: World) -> None:
    if world.store.engine.dialect.name == "sqlite":
        expected = ("not_found", "access.scope")  # it holds any text, and has no such subject
    else:
        expected = ("invalid", "store.value")
    command = RandomiseSubject("SIRIUS", "CN02-\x00", world.answers(), GOOD_VALUES)

    with world.refuses(*expected):
        world.do(randomise_subject, "investigator.cn02", command, sign=True)

    assert world.last_event("refused")[0].object_id == "CN02-"


def test_a_lock_outside_a_write_transaction_is_an_error(world: World) -> None:
    with world.store.transaction() as tx, pytest.raises(RuntimeError, match="write transaction only"):
        locks.take(tx.session, locks.randomisation("SIRIUS"))


def test_an_unknown_trial_is_not_found(world: World) -> None:
    with pytest.raises(Refusal) as caught:
        perform(world.store, screen_subject, world.who("investigator.cn02"), screening(world, trial="VENUS"))

    assert (caught.value.code, caught.value.rules) == ("not_found", ("trial.unknown",))
