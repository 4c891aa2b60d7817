"""The ceremony of a joint seed: each of the two contributors commits to a share, then each reveals it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.randomisation.joint_seed import SHARE_BYTES, joint_seed, keeps_commitment
from rts.refusal import refuse, say
from rts.store import locks
from rts.store.sealed_rows import key_from_text
from rts.store.specifications import newest_specification, open_specification
from rts.store.tables import ListSpecification, Person, SeedShare, Trial
from rts.store.transaction import Transaction
from rts.vault.vault import Opener

SHARE_STEP = 256
_HEX = "0123456789abcdef"


@dataclass(frozen=True)
class CommitSeedShare:
    """Commit to one's share for the list specified as `plan`: 64 hex digits (rts.randomisation.joint_seed)."""

    trial: str
    plan: str
    commitment: str


def commit_seed_share(tx: Transaction, actor: Actor, command: CommitSeedShare, opener: Opener) -> Done:
    """Record a commitment. Raises Refusal for whoever is no contributor, or has committed already."""
    trial, specification, contributors = _ceremony(tx, actor, command.trial, command.plan, opener)
    if len(command.commitment) != 2 * SHARE_BYTES or set(command.commitment) - set(_HEX):
        message = say("A commitment is 64 hex digits in small letters.")
        raise refuse("invalid", "seed_share.commitment", message, "commitment")
    person = _contributor(tx, actor, contributors)
    shares = _shares(tx, specification)
    if person.username in shares:
        message = say("You have committed to your share already; it cannot be changed.")
        raise refuse("conflict", "seed_share.committed", message, "commitment")
    tx.session.add(
        SeedShare(
            specification_id=specification.id,
            person_id=person.id,
            commitment=command.commitment,
            committed_at=tx.now,
        )
    )
    tx.audit(
        "list.seed_share_committed",
        "list_specification",
        specification.digest,
        {"commitment": command.commitment},
        trial=trial,
    )
    return Done("commit_seed_share", {"trial": trial.code, "plan": command.plan})


@dataclass(frozen=True)
class RevealSeedShare:
    """Reveal one's share (64 hex digits) for the list specified as `plan`."""

    trial: str
    plan: str
    share: str = field(repr=False)


def reveal_seed_share(tx: Transaction, actor: Actor, command: RevealSeedShare, opener: Opener) -> Done:
    """Check a share against its commitment and seal it.

    Raises Refusal before both contributors have committed, for a share that is not the one committed to, and for one
    revealed already.
    """
    trial, specification, contributors = _ceremony(tx, actor, command.trial, command.plan, opener)
    person = _contributor(tx, actor, contributors)
    shares = _shares(tx, specification)
    if set(shares) != set(contributors):
        # A share told earlier would let the other choose theirs, and so the list.
        message = say("A share is revealed only after both contributors have committed to theirs.")
        raise refuse("rule", "seed_share.early", message, "share")
    found = shares[person.username]
    if found.revealed_at is not None:
        raise refuse("conflict", "seed_share.revealed", say("Your share is revealed already."), "share")
    share = _bytes_of(command.share)
    if share is None or not keeps_commitment(specification.digest, person.username, share, found.commitment):
        message = say("This is not the share that you committed to.")
        raise refuse("rule", "seed_share.other", message, "share")
    sealed = tx.store.vault.seal(
        key_from_text(trial.data_key), share, _context(specification, person.username), SHARE_STEP
    )
    found.share_box, found.revealed_at = sealed.box, tx.now
    tx.audit("list.seed_share_revealed", "list_specification", specification.digest, trial=trial)
    return Done("reveal_seed_share", {"trial": trial.code, "plan": command.plan})


def joint_seed_of(
    tx: Transaction, trial: Trial, specification: ListSpecification, contributors: list[str], opener: Opener
) -> bytes:
    """The seed that the contributors made. Raises Refusal `rule` until both shares are revealed."""
    shares = _shares(tx, specification)
    opened = []
    for username in contributors:
        found = shares.get(username)
        if found is None or found.share_box is None:
            raise refuse(
                "rule",
                "seed_share.missing",
                say("%(person)s has not yet revealed a share of the joint seed.", person=username),
                "plan",
            )
        box = tx.store.vault.sealed(key_from_text(trial.data_key), found.share_box, _context(specification, username))
        opened.append(opener.open(box))
    return joint_seed(specification.digest, opened)


def _ceremony(
    tx: Transaction, actor: Actor, trial_code: str, plan: str, opener: Opener
) -> tuple[Trial, ListSpecification, list[str]]:
    trial = tx.trial(trial_code)
    require(tx, actor, Permission.LIST_GENERATE, trial)
    locks.take(tx.session, locks.randomisation(trial.code))
    specification = newest_specification(tx, trial, plan)
    if specification is None:
        raise refuse("not_found", "specification.none", say("No list is specified as %(plan)s.", plan=plan), "plan")
    contributors = list(open_specification(tx, trial, specification, opener)["contributors"])
    if not contributors:
        message = say("The specification of this list asks for no joint seed.")
        raise refuse("rule", "seed_share.not_asked", message, "plan")
    return trial, specification, contributors


def _contributor(tx: Transaction, actor: Actor, contributors: list[str]) -> Person:
    if actor.name not in contributors or actor.person_id is None:
        raise refuse("forbidden", "seed_share.person", say("You are not one of the two contributors of this seed."))
    return tx.session.get_one(Person, actor.person_id)


def _shares(tx: Transaction, specification: ListSpecification) -> dict[str, SeedShare]:
    statement = select(SeedShare).where(SeedShare.specification_id == specification.id)
    return {share.person.username: share for share in tx.session.scalars(statement)}


def _bytes_of(share: str) -> bytes | None:
    try:
        return bytes.fromhex(share)
    except ValueError:
        return None


def _context(specification: ListSpecification, username: str) -> str:
    return f"seed_share/share/{specification.digest}/{username}"
