"""Emergency unblinding: nothing that serves order stops it, and nothing is shown without its record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from rts.access.actor import actor_of
from rts.access.sign_in import confirm_password, session_of, sign_in
from rts.conduct.accounts import ChangePassword, ResetPassword, change_password, reset_password
from rts.conduct.ending import EndTreatment, end_treatment
from rts.conduct.perform import Done, perform
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.site_gates import CloseSite, close_site
from rts.conduct.unblinding import MEANING, Unblinded, UnblindSubject, unblind_subject
from rts.refusal import Refusal
from rts.reports.code_breaks import code_breaks_of_trial
from rts.store.sealed_rows import open_entry
from rts.store.tables import CodeBreak, ListEntry, Notice, Person, Signature, Subject
from tests.world import GOOD_VALUES, PASSWORD, World

PHYSICIAN = "physician.cn02"


def breaking(subject: str, **changes: object) -> UnblindSubject:
    return replace(UnblindSubject("SIRIUS", subject, "anaphylaxis", True), **changes)  # type: ignore[arg-type]


def unblind(world: World, subject: str, who: str = PHYSICIAN) -> Unblinded:
    outcome = world.do(unblind_subject, who, breaking(subject), sign=True)
    assert isinstance(outcome, Unblinded)
    return outcome


def treatment_of(world: World, subject: str) -> str:
    with world.opened() as (tx, opener):
        entry = tx.session.scalars(select(ListEntry).join(Subject).where(Subject.code == subject)).one()
        return {"KILDU": "matching placebo", "ORVEN": "sirolimus"}[open_entry(tx, entry, opener).arm]


@pytest.fixture
def subject(world: World) -> str:
    return world.randomise("CN02")


@pytest.mark.requirement("UNBL-01")
@pytest.mark.requirement("UNBL-02")
def test_the_physician_learns_this_one_subjects_treatment(world: World, subject: str) -> None:
    others = [world.randomise("CN02") for _ in range(2)]

    outcome = unblind(world, subject)

    assert str(outcome.treatment) == treatment_of(world, subject)
    assert outcome.done == Done(
        "unblind_subject", {"trial": "SIRIUS", "site": "CN02", "subject": subject, "kind": "break"}
    )
    assert repr(outcome) == "<sealed>"
    with world.store.transaction() as tx:
        flagged = tx.session.scalars(select(Subject.code).where(Subject.unblinded_at.is_not(None))).all()
    assert flagged == [subject]
    assert others == ["CN02-002", "CN02-003"]


@pytest.mark.requirement("UNBL-03")
@pytest.mark.requirement("SIG-01")
def test_the_record_says_who_when_why_and_never_what_was_seen(world: World, subject: str) -> None:
    unblind(world, subject)

    with world.store.transaction() as tx:
        row = tx.session.scalars(select(CodeBreak)).one()
        signature = tx.session.get_one(Signature, row.signature_id)
        facts = (row.kind, row.person.username, row.reason, row.adverse_event, row.at)
        signed = (signature.printed_name, signature.meaning, signature.time_zone)
    assert facts == ("break", PHYSICIAN, "anaphylaxis", True, world.clock.now())
    assert signed == (world.who(PHYSICIAN).printed_name, MEANING, "Asia/Shanghai")
    event, detail = world.last_event("subject.unblinded")
    assert (event.actor, event.role, event.object_id) == (PHYSICIAN, "physician", subject)
    assert detail == {
        "site": "CN02",
        "adverse_event": True,
        "reason": "anaphylaxis",
        "opened": {"list": 1, "definition_version": 1},
    }


@pytest.mark.requirement("UNBL-04")
def test_every_later_look_is_a_deed_of_its_own(world: World, subject: str) -> None:
    first = unblind(world, subject)
    world.clock.advance(timedelta(hours=1))

    second = unblind(world, subject)

    assert second.treatment == first.treatment
    assert second.done.ids["kind"] == "look"
    with world.store.transaction() as tx:
        kinds = tx.session.scalars(select(CodeBreak.kind).order_by(CodeBreak.id)).all()
        flagged_at = tx.session.scalars(select(Subject.unblinded_at).where(Subject.code == subject)).one()
    assert kinds == ["break", "look"]
    assert flagged_at == world.clock.now() - timedelta(hours=1)
    assert (world.events("subject.unblinded"), world.events("subject.unblinding_looked_at")) == (1, 1)


@pytest.mark.requirement("UNBL-05")
@pytest.mark.requirement("NOTIF-01")
def test_the_sponsor_is_told_the_fact_and_not_the_treatment(world: World, subject: str) -> None:
    unblind(world, subject)

    with world.store.transaction() as tx:
        notices = tx.session.scalars(select(Notice).where(Notice.kind == "unblinding")).all()
        told = [(notice.person.username, notice.subject_line, notice.body) for notice in notices]
    name = world.who(PHYSICIAN).printed_name
    body = (
        f"{name} opened the code of subject {subject} at site CN02. The treatment is told to the physician alone. "
        "Sign in to see the record."
    )
    line = f"SIRIUS: subject {subject} was unblinded in an emergency"
    assert told == [("manager", line, body), ("sponsor", line, body)]


@pytest.mark.requirement("UNBL-08")
@pytest.mark.parametrize("state", ["withdrawn", "completed", "closed site"])
def test_neither_end_of_treatment_nor_a_closed_site_stops_it(world: World, subject: str, state: str) -> None:
    if state == "closed site":
        world.do(close_site, "manager", CloseSite("SIRIUS", "CN02", "recruitment ended"))
    else:
        world.do(end_treatment, "investigator.cn02", EndTreatment("SIRIUS", subject, state, "moved"))

    assert str(unblind(world, subject).treatment) == treatment_of(world, subject)


@pytest.mark.requirement("UNBL-08")
def test_a_clock_far_behind_does_not_stop_it(world: World, subject: str) -> None:
    last = world.last_event("allocation.taken")[0].at
    world.clock.advance(timedelta(days=-3))

    outcome = unblind(world, subject)

    assert outcome.done.ids["kind"] == "break"
    assert world.last_event("subject.unblinded")[0].at == last


@pytest.mark.requirement("UNBL-08")
@pytest.mark.parametrize("trouble", ["locked account", "expired password", "throttled address"])
def test_a_right_password_opens_the_way_whatever_bars_the_rest(world: World, subject: str, trouble: str) -> None:
    with world.store.transaction(write=True) as tx:
        person = tx.session.scalars(select(Person).where(Person.username == PHYSICIAN)).one()
        if trouble == "locked account":
            person.locked_at = tx.now
        elif trouble == "expired password":
            person.password_changed_at = tx.now - timedelta(days=366)
    waits: list[float] = []
    if trouble == "throttled address":
        for number in range(8):
            with pytest.raises(Refusal, match="wrong"):
                sign_in(world.store, f"nobody{number}", "guess", "10.0.0.1", waits.append)
        waits.clear()

    signed_in = sign_in(world.store, PHYSICIAN, PASSWORD, "10.0.0.1", waits.append)
    with world.store.transaction() as tx:
        session = session_of(tx, signed_in.token)
        assert session is not None
        actor = actor_of(tx, session.person, emergency_only=session.emergency_only)
    confirmation = confirm_password(world.store, actor, PASSWORD, "10.0.0.1", waits.append)
    outcome = perform(world.store, unblind_subject, actor, breaking(subject), confirmation=confirmation)

    assert str(outcome.treatment) == treatment_of(world, subject)
    assert signed_in.emergency_only == (trouble != "throttled address")
    # Strangers delay the sign-in, and the code break not at all.
    assert waits == ([8.0] if trouble == "throttled address" else [])


@pytest.mark.requirement("UNBL-08")
@pytest.mark.requirement("SIG-07")
def test_a_password_that_somebody_else_gave_does_not_stop_it_and_is_told(world: World, subject: str) -> None:
    world.do(reset_password, "administrator", ResetPassword(PHYSICIAN, "forgotten", "another long password"))
    world.do(change_password, PHYSICIAN, ChangePassword("a wholly other sentence"))

    outcome = unblind(world, subject)

    assert str(outcome.treatment) == treatment_of(world, subject)
    assert world.last_event("subject.unblinded")[1] == {
        "site": "CN02",
        "adverse_event": True,
        "password_given_by": "administrator",
        "reason": "anaphylaxis",
        "opened": {"list": 1, "definition_version": 1},
    }
    with world.store.transaction() as tx:
        signature = tx.session.scalars(select(Signature).where(Signature.object_type == "code_break")).one()
        mails = tx.session.scalars(select(Notice).where(Notice.kind == "unblinding")).all()
        told = {mail.person.username: mail.body.partition("\n\n")[2] for mail in mails}
        register = code_breaks_of_trial(tx, tx.trial("SIRIUS"))
    assert signature.password_given_by == "administrator"
    assert [row.is_confirmed for row in register] == [False]
    warning = (
        "Somebody else had given this account a password, and nobody has confirmed it since: make sure by telephone "
        "that it was the physician."
    )
    assert told == {"manager": warning, "sponsor": warning}


@pytest.mark.requirement("UNBL-05")
@pytest.mark.requirement("UNBL-08")
def test_a_clock_that_has_lost_years_stops_neither_it_nor_its_notices(world: World, subject: str) -> None:
    treatment = treatment_of(world, subject)
    world.clock.advance(timedelta(days=-400))
    with world.store.transaction() as tx:
        person = tx.session.scalars(select(Person).where(Person.username == PHYSICIAN)).one()
        actor = actor_of(tx, person)

    outcome = world.do(unblind_subject, actor, breaking(subject), sign=True)

    assert str(outcome.treatment) == treatment
    with world.store.transaction() as tx:
        mails = tx.session.scalars(select(Notice).where(Notice.kind == "unblinding")).all()
        assert {mail.person.username for mail in mails} == {"manager", "sponsor"}


def test_an_emergency_session_does_nothing_else(world: World, subject: str) -> None:
    actor = replace(world.who("investigator.cn02"), emergency_only=True)
    command = RandomiseSubject("SIRIUS", world.screen("CN02"), world.answers(), GOOD_VALUES)

    with world.refuses("forbidden", "access.permission"):
        world.do(randomise_subject, actor, command, sign=True)


@pytest.mark.requirement("UNBL-04")
@pytest.mark.parametrize("table", ["audit_event", "code_break", "signature"])
def test_if_the_record_cannot_be_written_nothing_is_shown(world: World, subject: str, table: str) -> None:
    with world.store.transaction(write=True) as tx:
        if world.store.engine.dialect.name == "postgresql":
            tx.session.execute(
                text(f"CREATE TRIGGER no_more BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION rts_refuse()")
            )
        else:
            tx.session.execute(
                text(f"CREATE TRIGGER no_more BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END")
            )
    before = world.rows()

    with pytest.raises((Refusal, IntegrityError)) as caught:
        unblind(world, subject)

    assert "placebo" not in str(caught.value)
    assert "sirolimus" not in str(caught.value)
    assert world.rows() == before


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"reason": " "}, ("reason.missing",)),
        ({"adverse_event": None}, ("adverse_event.missing",)),
        ({"reason": "", "adverse_event": None}, ("reason.missing", "adverse_event.missing")),
    ],
)
@pytest.mark.requirement("UNBL-03")
def test_reason_and_adverse_event_are_asked(
    world: World, subject: str, changes: dict[str, object], rules: tuple[str, ...]
) -> None:
    with world.refuses("invalid", *rules):
        world.do(unblind_subject, PHYSICIAN, breaking(subject, **changes), sign=True)


@pytest.mark.requirement("SIG-03")
def test_the_password_is_re_entered_each_time(world: World, subject: str) -> None:
    unblind(world, subject)

    with world.refuses("wrong_password", "signature.missing"):
        world.do(unblind_subject, PHYSICIAN, breaking(subject))


def test_a_subject_never_randomised_has_no_treatment(world: World) -> None:
    screened = world.screen("CN02")

    with world.refuses("rule", "subject.not_randomised"):
        unblind(world, screened)


@pytest.mark.requirement("UNBL-10")
def test_the_physician_of_another_site_finds_no_such_subject(world: World, subject: str) -> None:
    with world.refuses("not_found", "access.scope"):
        unblind(world, subject, "physician.cn03")


@pytest.mark.requirement("UNBL-10")
@pytest.mark.parametrize(
    "person",
    ["investigator.cn02", "pharmacist.cn02", "manager", "sponsor", "statistician.one", "auditor", "administrator"],
)
def test_nobody_else_unblinds(world: World, subject: str, person: str) -> None:
    with world.refuses("forbidden", "access.permission"):
        unblind(world, subject, person)


def test_a_subject_code_is_found_in_small_letters_too(world: World, subject: str) -> None:
    assert unblind(world, f" {subject.lower()} ").done.ids["subject"] == subject
