"""Opening and closing sites: a site opens once every gate the definition names is passed and dated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.perform import Done
from rts.conduct.places import Place, place_of
from rts.refusal import FailedRule, refuse, refuse_all, say
from rts.store import locks
from rts.store.tables import Site, SiteGate
from rts.store.transaction import Transaction


@dataclass(frozen=True)
class PassGate:
    """Record that a site passed a gate on a date, and the document that says so."""

    trial: str
    site: str
    gate: str
    passed_on: date
    document: str


def check_gate(tx: Transaction, site: Site, command: PassGate) -> Place:
    """The place of a site whose gate may be recorded so; the review page asks it too. Raises Refusal for an unknown
    gate, a date in the future, a missing document or a gate passed already.
    """
    place = place_of(tx, site)
    failed = []
    if command.gate not in place.definition.gates:
        failed.append(
            FailedRule(
                "gate.unknown", say("The protocol definition names no gate %(gate)s.", gate=command.gate), "gate"
            )
        )
    if command.passed_on > place.today:
        failed.append(
            FailedRule(
                "gate.future", say("A gate is recorded once it is passed: the date is in the future."), "passed_on"
            )
        )
    if not command.document.strip():
        failed.append(FailedRule("gate.document", say("Name the document that shows it."), "document"))
    refuse_all("invalid", failed)
    if tx.session.scalar(select(SiteGate.id).where(SiteGate.site_id == site.id, SiteGate.gate == command.gate)):
        raise refuse("conflict", "gate.passed", say("This gate is recorded already."), "gate")
    return place


def pass_gate(tx: Transaction, actor: Actor, command: PassGate) -> Done:
    """Record a gate. Raises Refusal as `check_gate`."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_MANAGE, trial, site)
    place = check_gate(tx, site, command)
    tx.session.add(
        SiteGate(
            site_id=site.id,
            gate=command.gate,
            passed_on=command.passed_on,
            document=command.document.strip(),
            recorded_at=tx.now,
            recorded_by=actor.name,
        )
    )
    tx.audit(
        "site.gate_passed",
        "site",
        site.code,
        {"gate": command.gate, "passed_on": command.passed_on.isoformat(), "document": command.document.strip()},
        trial=trial,
        site=site,
        definition=place.version.version,
    )
    return Done("pass_gate", {"trial": trial.code, "site": site.code, "gate": command.gate})


@dataclass(frozen=True)
class OpenSite:
    """Open a site: kits may be sent there and subjects screened."""

    trial: str
    site: str


def missing_gates(tx: Transaction, site_id: int, gates: tuple[str, ...]) -> tuple[str, ...]:
    """The gates of `gates` that the site has not passed, in the definition's order."""
    passed = set(tx.session.scalars(select(SiteGate.gate).where(SiteGate.site_id == site_id)))
    return tuple(gate for gate in gates if gate not in passed)


def open_site_for_subjects(tx: Transaction, actor: Actor, command: OpenSite) -> Done:
    """Open the site. Raises Refusal naming every gate not yet passed."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_MANAGE, trial, site)
    locks.take(tx.session, locks.randomisation(trial.code))
    tx.session.refresh(site)
    place = place_of(tx, site)
    if site.state == "open":
        raise refuse("conflict", "site.open", say("Site %(site)s is open already.", site=site.code), "site")
    refuse_all(
        "rule",
        [
            FailedRule(
                "gate.missing",
                say(
                    "The gate %(gate)s is not recorded for site %(site)s.",
                    gate=place.definition.gate_name(gate),
                    site=site.code,
                ),
                "gate",
            )
            for gate in missing_gates(tx, site.id, place.definition.gates)
        ],
    )
    before = site.state
    site.state, site.opened_at, site.closed_at = "open", tx.now, None
    tx.audit(
        "site.opened",
        "site",
        site.code,
        trial=trial,
        site=site,
        before={"state": before},
        after={"state": "open"},
        definition=place.version.version,
    )
    return Done("open_site", {"trial": trial.code, "site": site.code})


@dataclass(frozen=True)
class CloseSite:
    """Close a site to new subjects, at once. Those in treatment there go on."""

    trial: str
    site: str
    reason: str


def close_site(tx: Transaction, actor: Actor, command: CloseSite) -> Done:
    """Close the site. Raises Refusal without a reason or when it is not open."""
    trial = tx.trial(command.trial)
    site = tx.site(trial, command.site)
    require(tx, actor, Permission.SITE_MANAGE, trial, site)
    if not command.reason.strip():
        raise refuse("invalid", "reason.missing", say("Give the reason."), "reason")
    locks.take(tx.session, locks.randomisation(trial.code))
    tx.session.refresh(site)
    if site.state != "open":
        raise refuse("conflict", "site.not_open", say("Site %(site)s is not open.", site=site.code), "site")
    site.state, site.closed_at = "closed", tx.now
    tx.audit(
        "site.closed",
        "site",
        site.code,
        trial=trial,
        site=site,
        reason=command.reason.strip(),
        before={"state": "open"},
        after={"state": "closed"},
        definition=place_of(tx, site).version.version,
    )
    return Done("close_site", {"trial": trial.code, "site": site.code})
