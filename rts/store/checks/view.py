"""What the checks of one trial look at: its rows, read once, and what was opened of them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from rts.randomisation import tape
from rts.refusal import Refusal
from rts.store import definitions
from rts.store.sealed_rows import key_from_text, manifest_digest
from rts.store.tables import (
    DefinitionInForce,
    DefinitionVersion,
    Dispensing,
    Kit,
    KitMove,
    ListEntry,
    ListFile,
    PersonKey,
    Shipment,
    ShipmentKit,
    Site,
    Subject,
    Trial,
)
from rts.store.transaction import Transaction
from rts.trial.definition import RestrictedDefinition
from rts.vault.allocations import allocation_context, open_allocation
from rts.vault.entries import EntryContext, unpack_entry
from rts.vault.entries import ListEntry as OpenedEntry
from rts.vault.vault import Opener


@dataclass(repr=False)
class View:
    """The rows of one trial. Holds opened records, so it prints as `<sealed>`."""

    tx: Transaction
    trial: Trial
    opener: Opener
    _opened: dict[tuple[int, str, int], OpenedEntry | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "<sealed>"

    @classmethod
    def of(cls, tx: Transaction, trial: Trial) -> View:
        """The view of `trial`, with an opener. The check itself records what it opens."""
        return cls(tx, trial, tx.store.vault.opener(lambda _context: None))

    @cached_property
    def lists(self) -> list[ListFile]:
        """Every list of the trial."""
        return list(
            self.tx.session.scalars(select(ListFile).where(ListFile.trial_id == self.trial.id).order_by(ListFile.id))
        )

    @cached_property
    def entries(self) -> list[ListEntry]:
        """Every entry of the trial's subject lists, by list, stratum and position."""
        return list(
            self.tx.session.scalars(
                select(ListEntry)
                .join(ListFile)
                .options(joinedload(ListEntry.minimised))
                .where(ListFile.trial_id == self.trial.id)
                .order_by(ListEntry.list_id, ListEntry.stratum, ListEntry.position)
            )
        )

    @cached_property
    def subjects(self) -> dict[int, Subject]:
        """The trial's subjects by id."""
        found = self.tx.session.scalars(select(Subject).where(Subject.trial_id == self.trial.id).order_by(Subject.id))
        return {subject.id: subject for subject in found}

    @cached_property
    def kits(self) -> dict[int, Kit]:
        """The trial's kits by id."""
        found = self.tx.session.scalars(select(Kit).where(Kit.trial_id == self.trial.id).order_by(Kit.number))
        return {kit.id: kit for kit in found}

    @cached_property
    def moves(self) -> dict[int, list[KitMove]]:
        """The ledger: every kit's moves in order, by kit id."""
        found: dict[int, list[KitMove]] = defaultdict(list)
        statement = select(KitMove).join(Kit).where(Kit.trial_id == self.trial.id)
        for move in self.tx.session.scalars(statement.order_by(KitMove.kit_id, KitMove.sequence)):
            found[move.kit_id].append(move)
        return found

    @cached_property
    def dispensings(self) -> list[Dispensing]:
        """Every kit given to a subject, in the order given."""
        return list(
            self.tx.session.scalars(
                select(Dispensing).join(Subject).where(Subject.trial_id == self.trial.id).order_by(Dispensing.id)
            )
        )

    @cached_property
    def shipments(self) -> list[Shipment]:
        """The trial's shipments."""
        return list(
            self.tx.session.scalars(select(Shipment).where(Shipment.trial_id == self.trial.id).order_by(Shipment.id))
        )

    @cached_property
    def shipment_lines(self) -> dict[int, list[ShipmentKit]]:
        """The lines of every shipment, by its id."""
        found: dict[int, list[ShipmentKit]] = defaultdict(list)
        statement = select(ShipmentKit).join(Shipment).where(Shipment.trial_id == self.trial.id)
        for line in self.tx.session.scalars(statement.order_by(ShipmentKit.id)):
            found[line.shipment_id].append(line)
        return found

    @cached_property
    def site_codes(self) -> dict[int, str]:
        """The codes of the trial's sites by id."""
        found = self.tx.session.scalars(select(Site).where(Site.trial_id == self.trial.id))
        return {site.id: site.code for site in found}

    @cached_property
    def own_keys(self) -> set[tuple[str, int]]:
        """User name and version of every statistician's own key that is in use."""
        statement = select(PersonKey).where(PersonKey.retired_at.is_(None))
        return {(held.person.username, held.version) for held in self.tx.session.scalars(statement)}

    @cached_property
    def versions(self) -> dict[int, DefinitionVersion]:
        """The definition's versions by id."""
        statement = select(DefinitionVersion).where(DefinitionVersion.trial_id == self.trial.id)
        return {
            version.id: version for version in self.tx.session.scalars(statement.order_by(DefinitionVersion.version))
        }

    @cached_property
    def in_force(self) -> dict[int, list[DefinitionInForce]]:
        """Every version ever put in force at a site, plans taken back among them, by date, by site id."""
        found: dict[int, list[DefinitionInForce]] = defaultdict(list)
        statement = select(DefinitionInForce).join(Site, Site.id == DefinitionInForce.site_id)
        for row in self.tx.session.scalars(
            statement.where(Site.trial_id == self.trial.id).order_by(DefinitionInForce.from_date)
        ):
            found[row.site_id].append(row)
        return found

    @cached_property
    def restricted(self) -> dict[int, RestrictedDefinition]:
        """The restricted part of each definition version, by its id; without the versions that do not open."""
        found = {}
        for version in self.versions.values():
            try:
                found[version.id] = definitions.open_restricted(self.tx, self.trial, version, self.opener)
            except Refusal:
                continue  # trails.definitions_are_as_loaded tells of it
        return found

    @cached_property
    def arm_of_type(self) -> dict[int, dict[str, str]]:
        """The arm of each kit type, by id of the definition version."""
        return {
            version_id: {kit_type.code: kit_type.arm for kit_type in restricted.kit_types}
            for version_id, restricted in self.restricted.items()
        }

    @cached_property
    def entry_of(self) -> dict[int, ListEntry]:
        """The entry that each subject used, by subject id."""
        return {entry.subject_id: entry for entry in self.entries if entry.subject_id is not None}

    def opened(self, list_file: ListFile, stratum: str, position: int, record: bytes) -> OpenedEntry | None:
        """What a record says; None when it does not open in its place."""
        place = (list_file.id, stratum, position)
        if place not in self._opened:
            context = EntryContext(manifest_digest(list_file), stratum, position)
            try:
                sealed = self.tx.store.vault.sealed(key_from_text(list_file.data_key), record, context)
                self._opened[place] = unpack_entry(self.opener.open(sealed))
            except (Refusal, json.JSONDecodeError):
                self._opened[place] = None
        return self._opened[place]

    def opened_kit(self, kit: Kit) -> OpenedEntry | None:
        """What a kit's record says; None when it does not open."""
        return self.opened(kit.list, "", kit.position, kit.record)

    def opened_entry(self, entry: ListEntry) -> OpenedEntry | None:
        """What an entry's record says; None when it does not open."""
        return self.opened(entry.list, entry.stratum, entry.position, entry.record)

    def minimised(self, entry: ListEntry, box: bytes | None = None) -> dict[str, Any] | None:
        """The record of what minimisation made of a tape's entry, from the database or from another `box`; None when
        there is none, or it does not open.
        """
        if box is None and entry.minimised is not None:
            box = entry.minimised.record
        if box is None:
            return None
        context = allocation_context(manifest_digest(entry.list), entry.position)
        key = key_from_text(entry.list.data_key)
        try:
            return open_allocation(self.tx.store.vault.sealed(key, box, context), self.opener)
        except (Refusal, json.JSONDecodeError):
            return None

    def arm_of(self, entry: ListEntry) -> str | None:
        """The arm of the subject who used `entry`; None when what says so does not open."""
        if entry.stratum == tape.STRATUM:
            record = self.minimised(entry)
            return None if record is None else record["arm"]
        opened = self.opened_entry(entry)
        return None if opened is None else opened.arm
