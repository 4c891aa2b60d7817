"""What `rts check` does: everything that is recorded twice is compared, everything that was derived is derived anew.

It reads one snapshot of the database and changes nothing but the audit trail, which says that it ran and what it
opened. What it finds is told without an arm or a kit type; a finding that a kit is not of its subject's treatment is
for unblinded eyes even so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select, text

from rts.store.audit_verification import Finding
from rts.store.checks import allocations, data_keys, kits, lists, shipments, signatures, temperatures, trails
from rts.store.checks.view import View
from rts.store.tables import Trial
from rts.store.transaction import Doer, Store

__all__ = ["Finding", "run_checks"]

Check = Callable[[View], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    data_keys.data_keys_open,
    trails.definitions_are_as_loaded,
    lists.files_are_as_sealed,
    lists.records_are_as_sealed,
    lists.entries_were_used_in_order,
    lists.three_people_signed,
    lists.specifications_are_as_signed,
    allocations.every_subject_has_its_entry,
    allocations.every_minimised_allocation_replays,
    allocations.every_subject_was_randomised_under_the_version_in_force,
    kits.states_follow_from_the_ledger,
    kits.quantities_are_conserved,
    kits.dispensings_agree_with_kits,
    kits.kits_are_of_the_subjects_treatment,
    shipments.shipments_agree_with_kits,
    temperatures.kits_exposed_for_too_long_were_held,
    signatures.randomisations_are_signed,
    signatures.code_breaks_are_signed,
    signatures.only_code_breaks_are_signed_unconfirmed,
    trails.trail_is_whole,
)


@dataclass(frozen=True)
class Checker:
    """Who checks, when nobody else is named."""

    name: str = "check"
    organisation: str = "RTS"


def unheard(_done: int, _total: int, _words: str) -> None:
    """Progress that nobody watches."""


def run_checks(
    store: Store, doer: Doer | None = None, progress: Callable[[int, int, str], None] = unheard
) -> list[Finding]:
    """Check every trial and every audit trail of the installation; empty when all is as it must be.

    `progress` is told the steps done and their number. Raises Refusal when the database cannot be read at all, or the
    root keys cannot be had: that nothing opens would then say nothing.
    """
    store.vault.keyring.root_keys()
    doer = doer or Checker()
    # Before anything is opened: a check that is killed half-way has left its trace too.
    _record(store, doer, "check.run", {})
    findings: list[Finding] = []
    opened: dict[str, int] = {}
    with store.transaction() as tx:
        if store.engine.dialect.name == "postgresql":
            # One snapshot for all that is compared: work goes on meanwhile. Must be the transaction's first statement.
            tx.session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        trials = tx.session.scalars(select(Trial).order_by(Trial.id)).all()
        total = len(trials) * len(CHECKS) + 1
        done = 0
        for trial in trials:
            view = View.of(tx, trial)
            with view.opener:
                for check in CHECKS:
                    findings += check(view)
                    done += 1
                    progress(done, total, "checking")
                opened[trial.code] = view.opener.openings
        findings += signatures.own_keys_are_signed(tx)
        findings += trails.installation_trail_is_whole(tx)
        progress(total, total, "checking")
    facts = {"findings": len(findings), "rules": sorted({found.rule for found in findings})}
    _record(store, doer, "check.done", facts, opened)
    return findings


def _record(
    store: Store, doer: Doer, action: str, facts: dict[str, object], opened: dict[str, int] | None = None
) -> None:
    """One event on the trail of each trial, and on the installation's when there is none."""
    with store.transaction(write=True) as tx:
        tx.emergency = True  # a clock gone wrong is a reason to check, and must not stop it
        tx.act_as(doer, "service")
        trials: list[Trial | None] = list(tx.session.scalars(select(Trial).order_by(Trial.id)))
        for trial in trials or [None]:
            code = trial.code if trial else "1"
            counted = {"opened": opened[code]} if opened and code in opened else {}
            kind = "trial" if trial else "installation"
            tx.audit(action, kind, code, {**facts, **counted}, trial=trial)
