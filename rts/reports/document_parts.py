"""What every document about a list has: who may read it, who signed what, what software made it, and that its digest is
on the trail before anybody holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed_version

from sqlalchemy import select

import rts
from rts.conduct.lists import MEANINGS
from rts.refusal import Message, say
from rts.reports.typesetting import Code, Document, Facts, Section, Table, Words, typeset, utc
from rts.store.audit import chain_of
from rts.store.tables import AuditEvent, Signature, Trial
from rts.store.transaction import Transaction

KINDS = {"subjects": say("Subject list"), "kits": say("Kit list")}
PURPOSES = {"production": say("Production"), "training": say("Training"), "test": say("Test")}
BLINDED = say("Blinded: tells no allocation")
# The event that each signature on a list is signed with: it knows the software version.
_ACTIONS = {
    MEANINGS["specify"]: "list.specified",
    MEANINGS["generate"]: "list.generated",
    MEANINGS["import"]: "list.imported",
    MEANINGS["approve"]: "list.approved",
    MEANINGS["activate"]: "list.activated",
    MEANINGS["close"]: "list.closed",
    MEANINGS["ask_release"]: "list.release_asked",
    MEANINGS["confirm_release"]: "list.released",
}
UNBLINDED = say("UNBLINDED: for unblinded statisticians only")


@dataclass(frozen=True)
class IssuedDocument:
    """A PDF, its SHA-256 (hex), and the name it is saved under."""

    pdf: bytes
    digest: str
    file_name: str


def issue(document: Document, file_name: str, record: Callable[[str], object]) -> IssuedDocument:
    """Set the document and have its digest recorded; whatever `record` refuses, nobody is handed the document."""
    pdf = typeset(document)
    digest = hashlib.sha256(pdf).hexdigest()
    record(digest)
    return IssuedDocument(pdf, digest, file_name)


def marks(who: Message, purpose: str) -> tuple[Message, ...]:
    """What stands at the head of every page: who may read it, and that a list is not one of production."""
    return (who,) if purpose == "production" else (PURPOSES[purpose], who)


@dataclass(frozen=True)
class SignedDeed:
    """A signature (21 CFR 11.50): printed name, what it means, when (UTC), and the software version of that moment."""

    printed_name: str
    meaning: str
    at: datetime
    software: str


def signatures_of(tx: Transaction, trial: Trial, object_type: str, *names: str) -> tuple[SignedDeed, ...]:
    """The signatures on a list or specification in the order in which they were given. `names` are what signatures and
    events call it.
    """
    signed = select(Signature).where(
        Signature.trial_id == trial.id, Signature.object_type == object_type, Signature.object_id.in_(names)
    )
    events = select(AuditEvent.action, AuditEvent.software).where(
        AuditEvent.chain_id == chain_of(tx, trial).id,
        AuditEvent.object_type == object_type,
        AuditEvent.object_id.in_(names),
        AuditEvent.action.in_(_ACTIONS.values()),
    )
    software = {row.action: row.software for row in tx.session.execute(events)}
    return tuple(
        SignedDeed(each.printed_name, each.meaning, each.signed_at, software[_ACTIONS[each.meaning]])
        for each in tx.session.scalars(signed.order_by(Signature.id))
    )


def signatures_section(signed: tuple[SignedDeed, ...]) -> Section:
    """The signatures as a table."""
    head = (say("Printed name"), say("Meaning"), say("Signed at"), say("Software"))
    rows = tuple((each.printed_name, Message(each.meaning), utc(each.at), f"RTS {each.software}") for each in signed)
    return Section(say("Electronic signatures"), (Table(head, rows),))


def made_with(made: str) -> Section:
    """The versions of what made the list, or its specification, and of what set this document."""
    return Section(
        say("Software"),
        (
            Facts(
                (
                    (say("Made by software version"), f"RTS {made}"),
                    (say("This document"), f"RTS {rts.__version__}, Typst {installed_version('typst')}"),
                )
            ),
        ),
    )


def strata_table(strata: tuple[tuple[str, int], ...]) -> Table:
    """The entries of each stratum, for unblinded eyes: block sizes are often divisors of them."""
    rows = tuple((stratum_words(stratum), str(entries)) for stratum, entries in strata)
    return Table((say("Stratum"), say("Entries")), rows, (1,))


def stratum_words(stratum: str) -> Words:
    """A stratum by its code; a list of kits and a tape have one part without."""
    return Code(stratum) if stratum else say("The whole list")
