"""A statistician's own key on the pages: registered by paste or file, compared, signed for, shown, retired."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import select

from rts.cli.keys import in_groups
from rts.conduct.own_keys import RegisterOwnKey, register_own_key
from rts.entropy import ReplayedEntropy
from rts.store.tables import PersonKey, Signature
from rts.vault.keys_file import read_keys
from rts.vault.person_keys import create_person_key, read_public_key
from tests.web.office import Desk, desk, words
from tests.world import PASSWORD, World

ONE, TWO = "statistician.one", "statistician.two"
PRIVATE, PUBLIC = create_person_key("correct horse battery", ReplayedEntropy(b"one"))
FINGERPRINT = in_groups(read_public_key(PUBLIC).fingerprint)
REGISTER = "/own-key/register"


def registered(world: World) -> list[tuple[str, int]]:
    with world.store.transaction() as tx:
        held = tx.session.scalars(select(PersonKey).where(PersonKey.retired_at.is_(None)))
        return [(key.person.username, key.version) for key in held]


def recipients(world: World) -> list[str]:
    found = read_keys(world.store.lists / "SIRIUS" / "SIRIUS-R1.keys").recipients
    return [each.recipient_id for each in found if each.kind == "person"]


def register(at: Desk) -> str:
    """Register the key by paste; returns the page it leads to."""
    compared = at.send(REGISTER, {"public_key": PUBLIC}, status=200)
    assert FINGERPRINT in words(compared.text)
    return at.follow(at.go_on(compared, {"password": PASSWORD}))


def test_a_key_is_pasted_compared_signed_for_and_opens_the_lists(world: World) -> None:
    one = desk(world, ONE)
    assert "No key of yours is in use" in words(one.open("/own-key/"))

    receipt = words(register(one))

    assert "Key registered" in receipt
    assert "signed by Chen Lihua" in receipt
    assert FINGERPRINT in receipt
    assert registered(world) == [(ONE, 1)]
    assert recipients(world) == [ONE]
    with world.store.transaction() as tx:
        assert tx.session.scalars(select(Signature.meaning).where(Signature.object_type == "own_key")).all() == [
            "I register this key as mine"
        ]


def test_a_key_is_sent_as_a_file(world: World) -> None:
    one = desk(world, ONE)

    compared = one.send(REGISTER, {"file": (io.BytesIO(PUBLIC.encode()), "my.public.pem")}, status=200)  # type: ignore[dict-item]
    one.go_on(compared, {"password": PASSWORD})

    assert FINGERPRINT in words(compared.text)
    assert registered(world) == [(ONE, 1)]


def test_nothing_is_registered_before_the_fingerprint_was_shown_and_the_password_given(world: World) -> None:
    one = desk(world, ONE)
    compared = one.send(REGISTER, {"public_key": PUBLIC}, status=200)
    assert registered(world) == []

    wrong = one.go_on(compared, {"password": "not my password"}, status=403)

    assert registered(world) == []
    assert FINGERPRINT in words(wrong.text)
    assert "not my password" not in wrong.text
    one.go_on(wrong, {"password": PASSWORD})
    assert registered(world) == [(ONE, 1)]


@pytest.mark.parametrize("how", ["pasted", "sent"])
def test_a_private_key_given_by_mistake_is_shown_to_nobody_again(world: World, how: str) -> None:
    one = desk(world, ONE)
    fields = {"public_key": PRIVATE} if how == "pasted" else {"file": (io.BytesIO(PRIVATE.encode()), "my.key")}

    refused = one.send(REGISTER, fields, status=422)  # type: ignore[arg-type]

    assert "This is a private key" in words(refused.text)
    assert PRIVATE.split("\n")[1] not in refused.text
    assert registered(world) == []


@pytest.mark.parametrize("text", ["", "nonsense", "x" * 10_000])
def test_what_is_no_key_is_refused_in_place(world: World, text: str) -> None:
    refused = desk(world, ONE).send(REGISTER, {"public_key": text}, status=422)

    assert "This is not a public key made by rts keys person new." in words(refused.text)


def test_a_key_that_somebody_registered_before_is_refused(world: World) -> None:
    world.do(register_own_key, TWO, RegisterOwnKey(PUBLIC), sign=True)
    one = desk(world, ONE)
    compared = one.send(REGISTER, {"public_key": PUBLIC}, status=200)

    refused = one.go_on(compared, {"password": PASSWORD}, status=409)

    assert "This key was registered before" in words(refused.text)
    assert registered(world) == [(TWO, 1)]


def test_the_recipients_of_a_list_are_shown_to_the_unblinded_alone(world: World) -> None:
    world.do(register_own_key, ONE, RegisterOwnKey(PUBLIC), sign=True)

    shown = words(desk(world, TWO).open("/trials/SIRIUS/lists/SIRIUS-R1/"))

    assert "Who can open it offline" in shown
    assert f"Chen Lihua 1 {FINGERPRINT}" in shown
    assert "The service’s keyring 1 –" in shown
    with world.store.transaction() as tx:
        from rts.store.tables import ListFile

        commitment = tx.session.scalars(select(ListFile.commitment).where(ListFile.list_id == "SIRIUS-R1")).one()
    blinded = desk(world, "manager").open(f"/trials/SIRIUS/lists/{commitment}/")
    assert "Who can open it offline" not in blinded
    assert "Chen Lihua 1" not in words(blinded)
    assert FINGERPRINT not in blinded


def test_a_recipient_whose_key_is_not_in_use_is_marked(world: World) -> None:
    world.do(register_own_key, ONE, RegisterOwnKey(PUBLIC), sign=True)
    folder = world.store.lists / "SIRIUS"
    old = (folder / "SIRIUS-R1.keys").read_bytes()
    one = desk(world, ONE)
    one.go_on(one.send("/own-key/retire", {"reason": "lost"}, status=200))
    (folder / "SIRIUS-R1.keys").write_bytes(old)

    shown = words(desk(world, TWO).open("/trials/SIRIUS/lists/SIRIUS-R1/"))

    assert "Chen Lihua Not in use 1" in shown


def test_a_damaged_keys_file_is_told_to_the_unblinded(world: World) -> None:
    (world.store.lists / "SIRIUS" / "SIRIUS-R1.keys").write_text("{}")

    shown = words(desk(world, TWO).open("/trials/SIRIUS/lists/SIRIUS-R1/"))

    assert "SIRIUS-R1.keys is damaged or was edited. Restore it from a copy." in shown


def test_ones_own_key_is_retired_with_a_reason(world: World) -> None:
    one = desk(world, ONE)
    register(one)

    assert "Give the reason." in words(one.send("/own-key/retire", {"reason": " "}, status=422).text)
    page = words(one.follow(one.go_on(one.send("/own-key/retire", {"reason": "The computer was stolen"}, status=200))))

    assert "Key retired" in page
    assert "An old copy of a keys file still opens with it." in page
    assert "The computer was stolen" in page
    assert (registered(world), recipients(world)) == ([], [])
    assert "No key of yours is in use" in words(one.open("/own-key/retire"))


def test_the_administrator_retires_the_key_of_somebody_who_cannot(world: World) -> None:
    register(desk(world, ONE))
    administrator = desk(world, "administrator")
    assert "Retire the own key" in administrator.open(f"/accounts/people/{ONE}")

    administrator.send(f"/accounts/people/{ONE}/retire-key", {"reason": "cannot be reached"})

    assert (registered(world), recipients(world)) == ([], [])
    assert "Retire the own key" not in administrator.open(f"/accounts/people/{ONE}")
    assert "Own key retired" in words(administrator.open(f"/accounts/people/{ONE}"))


@pytest.mark.parametrize("who", ["manager", "investigator.cn02", "physician.cn02", "administrator"])
def test_nobody_else_has_these_pages(world: World, who: str) -> None:
    for path in ("/own-key/", REGISTER, "/own-key/retire"):
        assert desk(world, who).client.get(path).status_code == 403
