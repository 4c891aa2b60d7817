"""Custody of lists: specified before they exist, seeded together, gone on from, closed, released and proved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select, text

from rts.access.permissions import Role
from rts.conduct.activating_lists import ActivateList, activate_list
from rts.conduct.approving_lists import ApproveList, approve_list
from rts.conduct.generating_lists import GenerateList, generate_list
from rts.conduct.lists import inputs_of_list, list_named, quality_of, read_file
from rts.conduct.randomising import RandomiseSubject, randomise_subject
from rts.conduct.releasing_lists import (
    AskForRelease,
    ConfirmRelease,
    ProveEntry,
    RevealList,
    ask_for_release,
    confirm_release,
    prove_entry,
    reveal_list,
)
from rts.conduct.retiring_lists import CloseList, WithdrawList, close_list, withdraw_list
from rts.conduct.seeding_lists import CommitSeedShare, RevealSeedShare, commit_seed_share, reveal_seed_share
from rts.conduct.specifying_lists import SpecifyList, specify_list
from rts.conduct.trial_definition import LoadDefinition, load_definition
from rts.randomisation.commitment import is_included, subject_leaf
from rts.randomisation.joint_seed import joint_seed, share_commitment
from rts.randomisation.regenerate import regenerate
from rts.randomisation.verification import Revealed, verify
from rts.rehearsal.staging import KNOWN_TO, OPERATOR
from rts.store.checks import run_checks
from rts.store.specifications import open_specification
from rts.store.tables import DefinitionVersion, ListEntry, ListFile, ListSpecification, Signature, Subject
from rts.trial.shipped import shipped_definition
from tests.world import GOOD_VALUES, World

ONE, TWO, MANAGER = "statistician.one", "statistician.two", "manager"
PLAN = "SIRIUS-R1"
SHARES = {ONE: b"\x01" * 32, TWO: b"\x02" * 32}


@pytest.fixture
def bare(database_url: str, tmp_path: Path) -> Iterator[World]:
    """The trial staged without any list or specification of one."""
    with World.make(database_url, tmp_path, sites=("CN02",), plans=()) as made:
        yield made


def specification(*contributors: str) -> SpecifyList:
    return SpecifyList("SIRIUS", PLAN, KNOWN_TO, "Randomisation plan 1.0", contributors)


def specified(world: World, *contributors: str) -> str:
    """The digest of a signed specification."""
    done = world.do(specify_list, ONE, specification(*contributors), sign=True)
    return str(done.ids["specification"])


def made(world: World, plan: str = PLAN) -> str:
    """A list generated, approved and activated; its id."""
    name = str(world.do(generate_list, ONE, GenerateList("SIRIUS", plan), sign=True).ids["list"])
    world.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
    world.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)
    return name


def close(world: World, name: str = PLAN) -> None:
    world.do(close_list, MANAGER, CloseList("SIRIUS", name, "the last subject is in"), sign=True)


@pytest.mark.requirement("LIST-02")
def test_no_list_is_made_before_its_specification_is_signed(bare: World) -> None:
    with bare.refuses("rule", "list.not_specified"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)
    with bare.refuses("wrong_password", "signature.missing"):
        bare.do(specify_list, ONE, specification())

    digest = specified(bare)

    name = str(bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True).ids["list"])
    with bare.store.transaction() as tx:
        listed = tx.session.scalars(select(ListFile).where(ListFile.list_id == name)).one()
        found = tx.session.get_one(ListSpecification, listed.specification_id)
        signature = tx.session.scalars(select(Signature).where(Signature.object_id == digest)).one()
        assert (found.digest, found.number, found.specified_by) == (digest, 1, ONE)
        assert found.specified_at <= listed.generated_at
    assert signature.meaning == "I specify this list"


def test_a_specification_says_how_the_list_is_made_and_who_may_know_what(bare: World) -> None:
    specified(bare)

    with bare.opened() as (tx, opener):
        trial = tx.trial("SIRIUS")
        found = tx.session.scalars(select(ListSpecification).where(ListSpecification.plan_id == PLAN)).one()
        content = open_specification(tx, trial, found, opener)
    assert content["inputs"] == {
        "prefix": "R",
        "strata": [
            "SLEDAI-LOW.STEROID-LOW",
            "SLEDAI-LOW.STEROID-HIGH",
            "SLEDAI-HIGH.STEROID-LOW",
            "SLEDAI-HIGH.STEROID-HIGH",
        ],
        "arms": [["KILDU", 1], ["ORVEN", 1]],
        "block_sizes": [4, 6],
        "length": 148,
    }
    assert (content["known_to"], content["document"]) == (KNOWN_TO, "Randomisation plan 1.0")
    assert (content["contributors"], content["purpose"]) == ([], "test")


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (SpecifyList("SIRIUS", PLAN, " ", "plan"), "specification.known_to"),
        (SpecifyList("SIRIUS", PLAN, "x", ""), "specification.document"),
        (SpecifyList("SIRIUS", PLAN, "x", "plan", (ONE,)), "specification.contributors"),
        (SpecifyList("SIRIUS", PLAN, "x", "plan", (ONE, ONE)), "specification.contributors"),
        (SpecifyList("SIRIUS", PLAN, "x", "plan", (ONE, MANAGER)), "specification.contributor"),
        (SpecifyList("SIRIUS", PLAN, "x", "plan", (ONE, "nobody")), "specification.contributor"),
    ],
)
def test_a_specification_lacking_something_is_refused(bare: World, command: SpecifyList, rule: str) -> None:
    with bare.refuses("invalid", rule):
        bare.do(specify_list, ONE, command, sign=True)


def test_only_statisticians_specify(bare: World) -> None:
    for person in (MANAGER, "auditor", "investigator.cn02"):
        with bare.refuses("forbidden", "access.permission"):
            bare.do(specify_list, person, specification(), sign=True)


def test_a_plan_for_which_a_list_stands_is_not_specified_again(bare: World) -> None:
    specified(bare)
    name = made(bare)
    with bare.refuses("conflict", "list.standing"):
        bare.do(specify_list, TWO, specification(), sign=True)

    assert name == PLAN


def test_a_list_follows_the_newest_specification_and_the_count_goes_on(bare: World) -> None:
    specified(bare)
    bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)
    bare.do(withdraw_list, ONE, WithdrawList("SIRIUS", PLAN, "specified anew"))

    digest = specified(bare)
    bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)

    with bare.store.transaction() as tx:
        listed = tx.session.scalars(select(ListFile).where(ListFile.list_id == f"{PLAN}-2")).one()
        assert tx.session.get_one(ListSpecification, listed.specification_id).digest == digest
        assert listed.times_generated == 2


def test_a_definition_that_changed_since_asks_for_another_specification(bare: World) -> None:
    specified(bare)
    public, restricted = shipped_definition("sirius")
    changed = restricted.replace("block_sizes = [4, 6]", "block_sizes = [4, 8]")
    bare.do(load_definition, OPERATOR, LoadDefinition(public, changed))

    with bare.refuses("rule", "specification.outdated"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)


def test_a_specification_altered_in_the_database_makes_no_list(bare: World) -> None:
    specified(bare)
    with bare.store.transaction(write=True) as tx:
        if bare.store.engine.dialect.name == "postgresql":
            tx.session.execute(text("ALTER TABLE list_specification DISABLE TRIGGER ALL"))
        else:
            tx.session.execute(text("DROP TRIGGER tr_list_specification_update_refused"))
        tx.session.execute(text("UPDATE list_specification SET digest = :digest"), {"digest": "0" * 64})

    with bare.refuses("unavailable", "specification.altered"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)


def test_a_procedure_without_a_bound_is_specified_only_when_that_is_confirmed(
    database_url: str, tmp_path: Path
) -> None:
    restricted = shipped_definition("sirius")[1].replace('"permuted-blocks"\nblock_sizes = [4, 6]', '"complete"')
    with World.make(database_url, tmp_path, sites=("CN02",), restricted=restricted, plans=()) as world:
        with world.refuses("rule", "balance.no_bound"):
            specified(world)

        world.do(specify_list, ONE, replace(specification(), confirmed=True), sign=True)

        with world.opened() as (tx, opener):
            found = tx.session.scalars(select(ListSpecification)).one()
            content = open_specification(tx, tx.trial("SIRIUS"), found, opener)
        assert (content["inputs"]["procedure"], content["confirmed"]) == ({"name": "complete"}, ["balance.no_bound"])


def test_more_strata_than_half_the_subjects_are_never_specified(database_url: str, tmp_path: Path) -> None:
    public, restricted = shipped_definition("sirius")
    public = public.replace("target = 146", "target = 6").replace("trial = 146", "trial = 6")
    with (
        World.make(database_url, tmp_path, sites=("CN02",), public=public, restricted=restricted, plans=()) as world,
        world.refuses("rule", "strata.too_many"),
    ):
        world.do(specify_list, ONE, replace(specification(), confirmed=True), sign=True)


@pytest.mark.parametrize(
    ("written", "scheme"),
    [
        ('"big-stick"\nimbalance = 3', "rts/conditional/1"),
        ('"biased-coin"\nprobability = "2/3"', "rts/conditional/1"),
        ('"maximal"\nimbalance = 4', "rts/conditional/1"),
        ('"random-allocation-rule"', "rts/permuted-blocks/1"),
    ],
)
def test_a_list_by_another_procedure_is_made_checked_and_used(
    database_url: str, tmp_path: Path, written: str, scheme: str
) -> None:
    restricted = shipped_definition("sirius")[1]
    restricted = restricted.replace('"permuted-blocks"\nblock_sizes = [4, 6]', written)
    assert written in restricted
    with World.make(database_url, tmp_path, restricted=restricted, plans=(PLAN, KITS[0])) as world:
        world.supply("CN02")
        subject = world.randomise("CN02")

        with world.opened() as (tx, opener):
            trial = tx.trial("SIRIUS")
            found = list_named(tx, trial, PLAN)
            manifest = read_file(tx, trial, found).manifest
            quality = quality_of(tx, trial, found, opener)
            made = regenerate(
                {
                    key: value
                    for key, value in inputs_of_list(tx, trial, found, opener).items()
                    if key not in {"scheme", "treatments", "kit_type_arms"}
                }
            )
        assert (manifest.scheme, manifest.entry_count, quality.findings) == (scheme, 592, ())
        assert made["commitment"] == manifest.commitment
        assert used_entries(world) == [(PLAN, 1)]
        assert world.dispense(subject).startswith("K")
        assert run_checks(world.store) == []


# --- the joint seed --------------------------------------------------------------------------------------------------


def commit(world: World, who: str, digest: str) -> None:
    world.do(commit_seed_share, who, CommitSeedShare("SIRIUS", PLAN, share_commitment(digest, who, SHARES[who])))


def reveal(world: World, who: str, share: bytes | None = None) -> None:
    world.do(reveal_seed_share, who, RevealSeedShare("SIRIUS", PLAN, (share or SHARES[who]).hex()))


def test_two_people_make_a_seed_that_neither_chose(bare: World) -> None:
    digest = specified(bare, ONE, TWO)
    commit(bare, ONE, digest)
    commit(bare, TWO, digest)
    reveal(bare, TWO)
    reveal(bare, ONE)

    name = made(bare)

    with bare.opened() as (tx, opener):
        trial = tx.trial("SIRIUS")
        inputs = inputs_of_list(tx, trial, list_named(tx, trial, name), opener)
    assert inputs["seed"] == joint_seed(digest, [SHARES[ONE], SHARES[TWO]]).hex()
    assert (
        inputs["seed"]
        == sha256(b"rts/joint-seed/1/seed\x00" + digest.encode() + b"\x00" + SHARES[ONE] + SHARES[TWO]).hexdigest()
    )


def test_no_share_is_revealed_before_both_have_committed(bare: World) -> None:
    digest = specified(bare, ONE, TWO)
    commit(bare, ONE, digest)

    with bare.refuses("rule", "seed_share.early"):
        reveal(bare, ONE)


def test_no_list_is_made_before_both_shares_are_revealed(bare: World) -> None:
    digest = specified(bare, ONE, TWO)
    commit(bare, ONE, digest)
    commit(bare, TWO, digest)
    reveal(bare, ONE)

    with bare.refuses("rule", "seed_share.missing"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN), sign=True)
    with bare.refuses("rule", "list.seed_joint"):
        bare.do(generate_list, ONE, GenerateList("SIRIUS", PLAN, "ab" * 32), sign=True)


def test_a_share_is_the_one_committed_to_and_is_told_once(bare: World) -> None:
    digest = specified(bare, ONE, TWO)
    commit(bare, ONE, digest)
    commit(bare, TWO, digest)

    with bare.refuses("conflict", "seed_share.committed"):
        commit(bare, ONE, digest)
    for wrong in (b"\x03" * 32, SHARES[TWO], b"\x01" * 31):
        with bare.refuses("rule", "seed_share.other"):
            reveal(bare, ONE, wrong)
    reveal(bare, ONE)
    with bare.refuses("conflict", "seed_share.revealed"):
        reveal(bare, ONE)


def test_a_commitment_copied_from_the_other_contributor_cannot_be_revealed(bare: World) -> None:
    digest = specified(bare, ONE, TWO)
    copied = share_commitment(digest, ONE, SHARES[ONE])
    bare.do(commit_seed_share, ONE, CommitSeedShare("SIRIUS", PLAN, copied))
    bare.do(commit_seed_share, TWO, CommitSeedShare("SIRIUS", PLAN, copied))

    with bare.refuses("rule", "seed_share.other"):
        reveal(bare, TWO, SHARES[ONE])


@pytest.mark.parametrize("commitment", ["ab" * 31, "XY" * 32, "AB" * 32, ""])
def test_a_commitment_is_64_hex_digits(bare: World, commitment: str) -> None:
    specified(bare, ONE, TWO)

    with bare.refuses("invalid", "seed_share.commitment"):
        bare.do(commit_seed_share, ONE, CommitSeedShare("SIRIUS", PLAN, commitment))


def test_a_seed_drawn_from_the_operating_system_takes_no_shares(bare: World) -> None:
    with bare.refuses("not_found", "specification.none"):
        bare.do(commit_seed_share, ONE, CommitSeedShare("SIRIUS", PLAN, "ab" * 32))
    specified(bare)
    with bare.refuses("rule", "seed_share.not_asked"):
        bare.do(commit_seed_share, ONE, CommitSeedShare("SIRIUS", PLAN, "ab" * 32))


# --- going on, closing -----------------------------------------------------------------------------------------------


EXTENSION = """
[[subject_lists]]
id = "SIRIUS-R2"
prefix = "S"
length = 20
extends = "SIRIUS-R1"

"""
KITS = ("SIRIUS-K1", "SIRIUS-K2")


@contextmanager
def short_trial(database_url: str, folder: Path, extra: str, *lists: str) -> Iterator[World]:
    """A trial of eight subjects whose list has two entries a stratum, with `extra` in its restricted part."""
    public, restricted = shipped_definition("sirius")
    for old in ("target = 146", "trial = 146"):
        assert public.count(old) == 1, old
        public = public.replace(old, old.replace("146", "8"))
    at = restricted.index("# One kit list a blinded lot")
    restricted = (restricted[:at] + extra + restricted[at:]).replace("length = 148", "length = 2")
    with World.make(database_url, folder, public=public, restricted=restricted, plans=(PLAN, *KITS, *lists)) as made:
        made.supply("CN02")
        yield made


def used_entries(world: World) -> list[tuple[str, int]]:
    """List and position of each used entry, in the order of use."""
    with world.store.transaction() as tx:
        rows = tx.session.execute(
            select(ListFile.list_id, ListEntry.position)
            .join(ListEntry, ListEntry.list_id == ListFile.id)
            .where(ListEntry.subject_id.is_not(None))
            .order_by(ListEntry.used_at, ListEntry.id)
        )
        return [(list_id, position) for list_id, position in rows]


def restock(world: World) -> None:
    """Bring what the night run orders onto the shelf."""
    world.night()
    world.clock.advance(timedelta(days=1))
    world.ship_all()
    world.clock.advance(timedelta(days=2))
    world.receive_all()


def test_a_stratum_that_is_used_up_goes_on_in_the_extension(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, EXTENSION, "SIRIUS-R2") as world:
        for _ in range(3):
            world.randomise("CN02")
            restock(world)
        world.randomise("CN02", {"SLEDAI": 4.0, "STEROID": 7.5})

        assert used_entries(world) == [("SIRIUS-R1", 1), ("SIRIUS-R1", 2), ("SIRIUS-R2", 1), ("SIRIUS-R1", 1)]
        assert run_checks(world.store) == []


def test_without_an_extension_a_used_up_stratum_refuses(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, "") as world:
        for _ in range(2):
            world.randomise("CN02")
            restock(world)
        subject = world.screen("CN02")

        with world.refuses("rule", "list.no_entry"):
            command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
            world.do(randomise_subject, world.stage.at_site(Role.INVESTIGATOR, "CN02"), command, sign=True)


def test_an_extension_waits_for_the_list_it_goes_on_from(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, EXTENSION) as world:
        world.stage.specify("SIRIUS-R2")
        name = str(world.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R2"), sign=True).ids["list"])
        world.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)
        close(world)

        with world.refuses("conflict", "list.extends"):
            world.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)


def test_an_extension_has_the_strata_of_the_list_it_goes_on_from(database_url: str, tmp_path: Path) -> None:
    with short_trial(database_url, tmp_path, EXTENSION) as world:
        with world.store.transaction() as tx:
            version = tx.session.scalars(select(DefinitionVersion)).one()
            public = version.public_text
        restricted = shipped_definition("sirius")[1]
        at = restricted.index("# One kit list a blinded lot")
        restricted = (restricted[:at] + EXTENSION + restricted[at:]).replace("length = 148", "length = 2")
        changed = public.replace('code = "SLEDAI-LOW"', 'code = "SLEDAI-MILD"')
        assert changed != public
        world.do(load_definition, OPERATOR, LoadDefinition(changed, restricted))
        world.stage.specify("SIRIUS-R2")
        name = str(world.do(generate_list, ONE, GenerateList("SIRIUS", "SIRIUS-R2"), sign=True).ids["list"])
        world.do(approve_list, TWO, ApproveList("SIRIUS", name), sign=True)

        with world.refuses("rule", "list.extends_other"):
            world.do(activate_list, MANAGER, ActivateList("SIRIUS", name), sign=True)


def test_from_a_closed_list_nobody_is_randomised_any_more(world: World) -> None:
    world.randomise("CN02")
    close(world)
    subject = world.screen("CN02")

    with world.refuses("rule", "list.no_entry"):
        command = RandomiseSubject("SIRIUS", subject, world.answers(), GOOD_VALUES)
        world.do(randomise_subject, world.stage.at_site(Role.INVESTIGATOR, "CN02"), command, sign=True)
    with world.refuses("conflict", "list.state"):
        close(world)
    assert run_checks(world.store) == []


def test_closing_is_signed_by_the_manager_with_a_reason_and_never_for_kits(world: World) -> None:
    with world.refuses("wrong_password", "signature.missing"):
        world.do(close_list, MANAGER, CloseList("SIRIUS", PLAN, "done"))
    with world.refuses("invalid", "reason.missing"):
        world.do(close_list, MANAGER, CloseList("SIRIUS", PLAN, " "), sign=True)
    with world.refuses("rule", "list.kits"):
        world.do(close_list, MANAGER, CloseList("SIRIUS", "SIRIUS-K1", "done"), sign=True)
    with world.refuses("forbidden", "access.permission"):
        world.do(close_list, ONE, CloseList("SIRIUS", PLAN, "done"), sign=True)


# --- release, reveal, proof ------------------------------------------------------------------------------------------


def released(world: World, name: str) -> None:
    world.do(ask_for_release, ONE, AskForRelease("SIRIUS", name, "lock memo 7"), sign=True)
    world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", name), sign=True)


def reveal_of(world: World, name: str) -> Revealed:
    """The reveal file of a list, released for it, and the list's published commitment."""
    released(world, name)
    shown = world.do(reveal_list, TWO, RevealList("SIRIUS", name))
    with world.store.transaction() as tx:
        found = tx.session.scalars(select(ListFile).where(ListFile.list_id == name)).one()
    assert len(shown.rows) == found.entries
    return "".join(",".join(row) + "\n" for row in (shown.columns, *shown.rows)), found.commitment


def test_a_list_released_by_two_people_verifies_without_key_or_database(world: World) -> None:
    for _ in range(3):
        world.randomise("CN02")
    close(world)
    subjects, kits = (reveal_of(world, name) for name in (PLAN, "SIRIUS-K1"))

    assert verify([subjects], [kits]).differences == []
    wrong = subjects[0].replace("KILDU", "ORVEN", 1)
    assert verify([(wrong, subjects[1])]).differences != []
    assert run_checks(world.store) == []


def test_nothing_is_released_while_subjects_are_randomised(world: World) -> None:
    for name in (PLAN, "SIRIUS-K1"):
        with world.refuses("rule", "release.open"):
            world.do(ask_for_release, ONE, AskForRelease("SIRIUS", name, "lock memo 7"), sign=True)


def test_a_release_takes_two_people_two_signatures_and_a_document(world: World) -> None:
    close(world)
    with world.refuses("invalid", "release.document"):
        world.do(ask_for_release, ONE, AskForRelease("SIRIUS", PLAN, ""), sign=True)
    with world.refuses("wrong_password", "signature.missing"):
        world.do(ask_for_release, ONE, AskForRelease("SIRIUS", PLAN, "lock memo 7"))
    with world.refuses("conflict", "release.not_asked"):
        world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", PLAN), sign=True)
    with world.refuses("rule", "reveal.not_released"):
        world.do(reveal_list, ONE, RevealList("SIRIUS", PLAN))
    world.do(ask_for_release, ONE, AskForRelease("SIRIUS", PLAN, "lock memo 7"), sign=True)
    with world.refuses("conflict", "release.asked"):
        world.do(ask_for_release, TWO, AskForRelease("SIRIUS", PLAN, "lock memo 7"), sign=True)
    with world.refuses("rule", "reveal.not_released"):
        world.do(reveal_list, ONE, RevealList("SIRIUS", PLAN))
    for person in (ONE, TWO, "auditor"):
        with world.refuses("forbidden", "access.permission"):
            world.do(confirm_release, person, ConfirmRelease("SIRIUS", PLAN), sign=True)
    with world.refuses("wrong_password", "signature.missing"):
        world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", PLAN))
    world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", PLAN), sign=True)
    with world.refuses("conflict", "release.confirmed"):
        world.do(confirm_release, MANAGER, ConfirmRelease("SIRIUS", PLAN), sign=True)
    with world.refuses("forbidden", "access.permission"):
        world.do(reveal_list, MANAGER, RevealList("SIRIUS", PLAN))


def test_a_manager_who_asked_as_a_statistician_does_not_confirm(world: World) -> None:
    """Roles change hands: it is the person that counts."""
    close(world)
    world.do(ask_for_release, ONE, AskForRelease("SIRIUS", PLAN, "lock memo 7"), sign=True)
    manager = replace(world.who(ONE), grants=world.who(MANAGER).grants)

    with world.refuses("rule", "release.two_people"):
        world.do(confirm_release, manager, ConfirmRelease("SIRIUS", PLAN), sign=True)


def test_one_entry_is_proved_against_the_published_commitment(world: World) -> None:
    subject = world.randomise("CN02")
    with world.store.transaction() as tx:
        number = tx.session.scalar(select(Subject.randomisation_number).where(Subject.code == subject))
        commitment = tx.session.scalar(select(ListFile.commitment).where(ListFile.list_id == PLAN))

    proof = world.do(prove_entry, TWO, ProveEntry("SIRIUS", PLAN, f" {number.lower()} ")).proof

    entry = proof["entry"]
    leaf = subject_leaf(
        entry["stratum"], int(entry["position"]), entry["number"], entry["arm"], bytes.fromhex(entry["salt"])
    )
    path = [bytes.fromhex(step) for step in proof["path"]]
    root = bytes.fromhex(commitment)
    assert entry["number"] == number
    assert is_included(leaf, proof["index"], proof["entries"], path, root)
    other = subject_leaf(entry["stratum"], int(entry["position"]), entry["number"], "OTHER", b"")
    assert not is_included(other, proof["index"], proof["entries"], path, root)
    with world.refuses("not_found", "list.number"):
        world.do(prove_entry, TWO, ProveEntry("SIRIUS", PLAN, "R000000"))
    with world.refuses("forbidden", "access.permission"):
        world.do(prove_entry, MANAGER, ProveEntry("SIRIUS", PLAN, number))
