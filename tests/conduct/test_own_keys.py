"""Statisticians' own keys: registered, replaced, retired, and what each change does to the keys files of the lists."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from rts.access.actor import actor_of
from rts.conduct.accounts import (
    AddPerson,
    CloseAccount,
    EndRole,
    GrantRole,
    ResetPassword,
    add_person,
    close_account,
    end_role,
    grant_role,
    reset_password,
    the_person,
)
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.own_keys import RegisterOwnKey, RetireOwnKey, register_own_key, retire_own_key
from rts.conduct.perform import Done
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.rehearsal.staging import OPERATOR
from rts.store.tables import ListFile, Person, PersonKey, RoleGrant, Signature
from rts.trial.shipped import shipped_definition
from rts.vault.keys_file import read_keys
from rts.vault.offline import open_offline
from rts.vault.person_keys import create_person_key, read_public_key, unlock_person_key
from tests.world import PASSWORD, World

ONE, TWO = "statistician.one", "statistician.two"
PASSPHRASE = "correct horse battery"
LISTS = ("SIRIUS-K1", "SIRIUS-K2", "SIRIUS-R1")

_made: dict[str, tuple[str, str]] = {}


def key_pair(name: str) -> tuple[str, str]:
    """Private and public text of the key called `name`; each made once, as locking one takes its time."""
    if name not in _made:
        _made[name] = create_person_key(PASSPHRASE, ReplayedEntropy(name.encode()))
    return _made[name]


def register(world: World, who: str, name: str) -> Done:
    done: Done = world.do(register_own_key, who, RegisterOwnKey(key_pair(name)[1]), sign=True)
    return done


def recipients(world: World, list_id: str = "SIRIUS-R1") -> list[tuple[str, int]]:
    """The people who can open a list, with the version of their key, as its keys file says."""
    found = read_keys(world.store.lists / "SIRIUS" / f"{list_id}.keys").recipients
    assert found[0].kind == "keyring"
    return [(each.recipient_id, each.key_version) for each in found[1:]]


def opens(world: World, name: str, list_id: str = "SIRIUS-R1") -> bool:
    """Whether the key called `name` opens a list offline, and gives an arm."""
    file = world.store.lists / "SIRIUS" / f"{list_id}.rtslist"
    private_key = unlock_person_key(key_pair(name)[0], PASSPHRASE)
    try:
        opened = open_offline(file, file.with_suffix(".keys"), private_key, lambda _: None)
    except Refusal as refusal:
        return refusal.rules != ("keys_file.recipient",)
    entry = next(entry for _, entry in opened.entries())
    return opened.arm_of(entry.number) in opened.inputs()["treatments"]


def grant_of(world: World, who: str, trial: str = "SIRIUS") -> int:
    with world.store.transaction() as tx:
        held = select(RoleGrant.id).join(Person).where(Person.username == who, RoleGrant.granted_to.is_(None))
        return tx.session.scalars(held.where(RoleGrant.trial_id == tx.trial(trial).id)).one()


def key_files(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (world.store.lists / "SIRIUS").glob("*.keys")}


def test_a_registered_key_opens_every_list_of_the_trial_with_no_server(world: World) -> None:
    lists = {path: path.read_bytes() for path in world.store.lists.rglob("*.rtslist")}

    done = register(world, ONE, "one")

    assert done == Done("register_own_key", {"person": ONE, "version": "1"})
    assert {list_id: recipients(world, list_id) for list_id in LISTS} == {each: [(ONE, 1)] for each in LISTS}
    assert opens(world, "one")
    assert not opens(world, "two")
    assert {path: path.read_bytes() for path in world.store.lists.rglob("*.rtslist")} == lists
    with world.store.transaction() as tx:
        held = tx.session.scalars(select(PersonKey)).one()
        public = read_public_key(key_pair("one")[1])
        assert (held.person.username, held.version, held.public_key) == (ONE, 1, public.pem)
        assert (held.fingerprint, held.registered_at, held.retired_at) == (public.fingerprint, world.clock.now(), None)
        signed = tx.session.scalars(select(Signature).where(Signature.object_type == "own_key")).one()
        assert (signed.object_id, signed.meaning, signed.trial_id) == (f"{ONE}/1", "I register this key as mine", None)


def test_every_change_of_recipients_is_on_the_trail(world: World) -> None:
    register(world, ONE, "one")

    event, detail = world.last_event("own_key.registered")
    fingerprint = read_public_key(key_pair("one")[1]).fingerprint
    assert (event.object_id, event.actor) == (ONE, ONE)
    assert detail == {"person": ONE, "version": 1, "fingerprint": fingerprint}
    event, detail = world.last_event("list.recipients")
    with world.store.transaction() as tx:
        commitments = {found.commitment for found in tx.session.scalars(select(ListFile))}
    assert event.object_type == "list"
    assert event.object_id in commitments
    assert detail == {"before": {"recipients": []}, "after": {"recipients": [f"{ONE}/1"]}}
    assert world.events("list.recipients") == len(LISTS)


def test_a_list_generated_later_is_sealed_to_everybody_with_a_key(world: World) -> None:
    register(world, TWO, "two")
    with world.store.transaction(write=True) as tx:
        tx.session.scalars(select(ListFile).where(ListFile.list_id == "SIRIUS-R1")).one().state = "withdrawn"

    world.stage.specify("SIRIUS-R1")
    world.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R1"), sign=True)

    assert recipients(world, "SIRIUS-R1-2") == [(TWO, 1)]
    assert opens(world, "two", "SIRIUS-R1-2")
    assert world.last_event("list.generated")[1]["recipients"] == [f"{TWO}/1"]  # type: ignore[index]


def test_a_new_key_takes_the_place_of_the_one_before(world: World) -> None:
    register(world, ONE, "one")
    register(world, TWO, "two")

    done = register(world, ONE, "one again")

    assert done.ids["version"] == "2"
    assert recipients(world) == [(ONE, 2), (TWO, 1)]
    assert [opens(world, name) for name in ("one", "one again", "two")] == [False, True, True]
    with world.store.transaction() as tx:
        held = tx.session.scalars(select(PersonKey).order_by(PersonKey.id)).all()
        assert [(each.version, each.retired_by, each.retire_reason) for each in held] == [
            (1, ONE, "replaced by key 2"),
            (1, None, None),
            (2, None, None),
        ]


def test_a_retired_key_opens_an_old_copy_of_the_keys_file_only(world: World) -> None:
    register(world, ONE, "one")
    register(world, TWO, "two")
    old = key_files(world)

    world.do(retire_own_key, ONE, RetireOwnKey(ONE, "the computer was stolen"))

    assert recipients(world) == [(TWO, 1)]
    assert not opens(world, "one")
    assert world.last_event("own_key.retired")[1]["reason"] == "the computer was stolen"  # type: ignore[index]
    (world.store.lists / "SIRIUS" / "SIRIUS-R1.keys").write_bytes(old["SIRIUS-R1.keys"])
    assert opens(world, "one")


@pytest.mark.parametrize("who", [OPERATOR, "administrator"])
def test_somebody_with_the_right_to_accounts_retires_the_key_of_another(world: World, who: object) -> None:
    register(world, ONE, "one")

    world.do(retire_own_key, who, RetireOwnKey(ONE, "cannot be reached"))  # type: ignore[arg-type]

    assert recipients(world) == []


def test_the_key_of_another_is_not_retired_by_a_colleague(world: World) -> None:
    register(world, ONE, "one")

    with world.refuses("forbidden", "access.permission"):
        world.do(retire_own_key, TWO, RetireOwnKey(ONE, "tidy"))
    assert recipients(world) == [(ONE, 1)]


def test_a_retirement_needs_a_reason_and_a_key(world: World) -> None:
    with world.refuses("not_found", "own_key.none"):
        world.do(retire_own_key, ONE, RetireOwnKey(ONE, "tidy"))
    register(world, ONE, "one")
    with world.refuses("invalid", "reason.missing"):
        world.do(retire_own_key, ONE, RetireOwnKey(ONE, " "))
    with world.refuses("not_found", "own_key.none"):
        world.do(retire_own_key, OPERATOR, RetireOwnKey("nobody", "tidy"))


def test_when_a_role_ends_the_person_is_a_recipient_no_longer_and_the_key_is_retired(world: World) -> None:
    register(world, ONE, "one")
    register(world, TWO, "two")

    world.do(end_role, "administrator", EndRole(grant_of(world, ONE), "left the trial"))

    assert recipients(world) == [(TWO, 1)]
    assert world.last_event("own_key.retired")[0].object_id == ONE
    with world.store.transaction() as tx:
        held = tx.session.scalars(select(PersonKey).where(PersonKey.retired_at.is_not(None))).one()
        assert (held.person.username, held.retired_by) == (ONE, "administrator")


def test_a_closed_account_is_a_recipient_no_longer(world: World) -> None:
    register(world, ONE, "one")

    world.do(close_account, "administrator", CloseAccount(ONE, "left the sponsor"))

    assert [recipients(world, list_id) for list_id in LISTS] == [[], [], []]
    assert world.events("own_key.retired") == 1


def test_a_statistician_of_two_trials_opens_the_lists_of_each_as_long_as_the_role_in_it_lasts(world: World) -> None:
    public, restricted = (
        text.replace("SIRIUS", "ORION").replace('"CN', '"OR').replace('"DEP-', '"STO-')
        for text in shipped_definition("sirius")
    )
    world.do(load_definition, OPERATOR, LoadDefinition(public, restricted, world.today))
    newcomer = AddPerson("newcomer", "Ines Alba", "CRO", "i@example.org", PASSWORD, keeps_password=True)
    world.do(add_person, OPERATOR, newcomer)
    world.do(grant_role, OPERATOR, GrantRole("newcomer", "statistician", "comes", "ORION"))
    with world.store.transaction() as tx:
        world.stage.people["newcomer"] = actor_of(tx, the_person(tx, "newcomer"))
    register(world, "newcomer", "newcomer")
    assert recipients(world) == []

    world.do(grant_role, "administrator", GrantRole("newcomer", "statistician", "comes", "SIRIUS"))
    assert (recipients(world), opens(world, "newcomer")) == ([("newcomer", 1)], True)

    world.do(end_role, "administrator", EndRole(grant_of(world, "newcomer", "SIRIUS"), "left the trial"))
    assert recipients(world) == []
    assert world.events("own_key.retired") == 0

    world.do(end_role, "administrator", EndRole(grant_of(world, "newcomer", "ORION"), "left the other trial"))
    assert world.events("own_key.retired") == 1


def test_a_password_reset_by_somebody_else_takes_no_recipient_away_and_lets_nobody_register_a_key(
    world: World,
) -> None:
    """Until a second person has confirmed the account its roles rest; the private key is the person's own all along."""
    register(world, ONE, "one")
    register(world, TWO, "two")
    world.do(reset_password, "administrator", ResetPassword(ONE, "asked by telephone", "a wholly other sentence"))
    with world.store.transaction() as tx:
        world.stage.people[ONE] = actor_of(tx, the_person(tx, ONE))
    world.do(end_role, "administrator", EndRole(grant_of(world, TWO), "left the trial"))
    before = key_files(world)

    with world.refuses("forbidden", "access.permission"):
        register(world, ONE, "one again")

    assert key_files(world) == before
    assert recipients(world) == [(ONE, 1)]
    assert world.last_event("own_key.retired")[0].object_id == TWO


@pytest.mark.parametrize("who", ["manager", "investigator.cn02", "physician.cn02", "administrator", "auditor"])
def test_nobody_but_an_unblinded_statistician_registers_a_key(world: World, who: str) -> None:
    before = key_files(world)

    with world.refuses("forbidden", "access.permission"):
        world.do(register_own_key, who, RegisterOwnKey(key_pair("one")[1]), sign=True)
    assert key_files(world) == before


def test_a_registration_is_signed(world: World) -> None:
    before = key_files(world)

    with world.refuses("wrong_password", "signature.missing"):
        world.do(register_own_key, ONE, RegisterOwnKey(key_pair("one")[1]))
    assert key_files(world) == before


def test_a_key_serves_one_person_once(world: World) -> None:
    register(world, ONE, "one")
    before = key_files(world)
    with world.refuses("conflict", "own_key.registered"):
        register(world, TWO, "one")
    world.do(retire_own_key, ONE, RetireOwnKey(ONE, "lost the passphrase"))
    with world.refuses("conflict", "own_key.registered"):
        register(world, ONE, "one")
    assert before != key_files(world)


@pytest.mark.parametrize(("text", "rule"), [("", "person_key.public"), ("x" * 200, "person_key.public")])
def test_what_is_no_key_is_refused(world: World, text: str, rule: str) -> None:
    with world.refuses("invalid", rule):
        world.do(register_own_key, ONE, RegisterOwnKey(text), sign=True)


def test_a_private_key_is_refused_and_kept_nowhere(world: World) -> None:
    private = key_pair("one")[0]

    with world.refuses("invalid", "person_key.private_sent"):
        world.do(register_own_key, ONE, RegisterOwnKey(private), sign=True, key="a form")

    assert private.split("\n")[1] not in str(world.rows())
    assert "PERSON KEY" not in str(world.last_event("refused")[1])


def test_a_refused_registration_puts_every_keys_file_back(world: World) -> None:
    """The clock stands far behind the trail: this is found as the last thing before the commit, with the files
    written already.
    """
    register(world, ONE, "one")
    before, rows = key_files(world), world.rows()
    world.clock.set(world.clock.now().replace(year=2025))

    with pytest.raises(Refusal) as refused:
        register(world, TWO, "two")

    assert refused.value.rules == ("clock.behind",)
    assert key_files(world) == before
    assert world.rows() == rows


def test_a_damaged_or_missing_keys_file_is_made_whole_by_the_next_change(world: World) -> None:
    folder = world.store.lists / "SIRIUS"
    (folder / "SIRIUS-R1.keys").unlink()
    (folder / "SIRIUS-K1.keys").write_text("{}")

    register(world, ONE, "one")

    assert [recipients(world, list_id) for list_id in LISTS] == [[(ONE, 1)]] * 3
    assert opens(world, "one")
