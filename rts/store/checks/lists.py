"""Lists: the sealed files, their copies in the database, and the order in which entries were used."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

from sqlalchemy import select

from rts.refusal import Refusal, say
from rts.store.audit_verification import Finding
from rts.store.checks.signatures import digest_of
from rts.store.checks.view import View
from rts.store.sealed_rows import key_from_text
from rts.store.specifications import open_specification
from rts.store.tables import Kit, ListFile, ListSpecification, Person, Signature
from rts.vault.keys_file import ListKeys, read_keys
from rts.vault.list_file import ListFile as SealedFile
from rts.vault.list_file import list_path

IN_USE = ("active", "closed")


def _read(view: View, found: ListFile) -> SealedFile:
    return SealedFile.read(list_path(view.tx.store.lists, view.trial.code, found.list_id), found.file_digest)


def files_are_as_sealed(view: View) -> Iterator[Finding]:
    """Every recorded list has its file, unchanged, with its manifest, commitment and keys."""
    environment = view.tx.installation.environment
    for found in view.lists:
        try:
            sealed = _read(view, found)
        except Refusal as refusal:
            for failed in refusal.failed:
                yield Finding("list.file", say("List %(list)s: %(why)s", list=found.list_id, why=failed.message))
            continue
        manifest = sealed.manifest
        stated = (manifest.trial, manifest.list_id, manifest.kind, manifest.purpose, manifest.commitment)
        recorded = (view.trial.code, found.list_id, found.kind, environment, found.commitment)
        if stated != recorded or sealed.manifest_digest.hex() != found.manifest_digest:
            message = say("List %(list)s: the manifest of its file is not the one recorded.", list=found.list_id)
            yield Finding("list.manifest", message)
        if manifest.entry_count != found.entries or found.purpose != environment:
            message = say("List %(list)s: its number of entries or its purpose was changed.", list=found.list_id)
            yield Finding("list.facts", message)
        try:
            keys = read_keys(view.tx.store.lists / view.trial.code / f"{found.list_id}.keys")
            vault = view.tx.store.vault
            if not vault.are_one_key(keys.for_keyring(vault.keyring), key_from_text(found.data_key)):
                message = say("List %(list)s: its keys file holds another data key.", list=found.list_id)
                yield Finding("list.keys", message)
            yield from _strange_recipients(view, found, keys)
            meets = sealed.meets_commitment(key_from_text(found.data_key), view.opener)
        except Refusal as refusal:
            for failed in refusal.failed:
                yield Finding("list.keys", say("List %(list)s: %(why)s", list=found.list_id, why=failed.message))
            continue
        if not meets:
            message = say("List %(list)s does not meet its published commitment.", list=found.list_id)
            yield Finding("list.commitment", message)


def _strange_recipients(view: View, found: ListFile, keys: ListKeys) -> Iterator[Finding]:
    for recipient in keys.recipients:
        if recipient.kind == "person" and (recipient.recipient_id, recipient.key_version) not in view.own_keys:
            message = say(
                "List %(list)s: its keys file lets key %(version)d of %(person)s open it, which is not in use.",
                list=found.list_id,
                version=recipient.key_version,
                person=recipient.recipient_id,
            )
            yield Finding("list.recipient", message)


def records_are_as_sealed(view: View) -> Iterator[Finding]:
    """The records of every list in use stand in the database byte for byte as in its file, and open there."""
    for found in view.lists:
        kits = [kit for kit in view.kits.values() if kit.list_id == found.id]
        copies = {("", kit.position): kit.record for kit in kits} | {
            (entry.stratum, entry.position): entry.record for entry in view.entries if entry.list_id == found.id
        }
        if found.state not in IN_USE:
            if copies:
                message = say("List %(list)s is not active, but has entries in the database.", list=found.list_id)
                yield Finding("list.not_active", message)
            continue
        try:
            sealed = {(place.stratum, place.position): box for place, box in _read(view, found).boxes()}
        except Refusal:
            continue  # told by files_are_as_sealed
        for stratum, position in sorted(sealed.keys() | copies.keys()):
            place = (stratum, position)
            if place not in copies:
                text = say("List %(list)s: entry %(place)s is missing in the database.", **_named(found, place))
                yield Finding("list.entry_missing", text)
            elif place not in sealed:
                text = say("List %(list)s: entry %(place)s of the database is not in its file.", **_named(found, place))
                yield Finding("list.entry_added", text)
            elif sealed[place] != copies[place]:
                text = say("List %(list)s: entry %(place)s differs from its sealed file.", **_named(found, place))
                yield Finding("list.entry_changed", text)
        yield from _wrong_numbers(view, kits)


def _named(found: ListFile, place: tuple[str, int]) -> dict[str, object]:
    # Positions of subject lists are for unblinded eyes: a stratum says enough to look further.
    return {"list": found.list_id, "place": f"in stratum {place[0]}" if place[0] else place[1]}


def _wrong_numbers(view: View, kits: list[Kit]) -> Iterator[Finding]:
    for kit in kits:
        opened = view.opened_kit(kit)
        if opened is None:
            yield Finding("kit.record", say("The sealed record of kit %(kit)s does not open.", kit=kit.number))
        elif opened.number != kit.number:
            text = say("Kit %(kit)s does not have the number of its sealed record.", kit=kit.number)
            yield Finding("kit.number", text)


def entries_were_used_in_order(view: View) -> Iterator[Finding]:
    """In each stratum of a list, entries were used 1, 2, 3 … without a gap, each after the one before."""
    for (list_id, stratum), group in groupby(view.entries, key=lambda entry: (entry.list_id, entry.stratum)):
        used = [entry for entry in group if entry.subject_id is not None]
        named = next(found.list_id for found in view.lists if found.id == list_id)
        if [entry.position for entry in used] != list(range(1, len(used) + 1)):
            text = say("List %(list)s, stratum %(stratum)s: an entry was skipped.", list=named, stratum=stratum)
            yield Finding("list.order", text)
        moments = [entry.used_at for entry in used if entry.used_at is not None]
        if any(later < earlier for earlier, later in pairwise(moments)):
            text = say(
                "List %(list)s, stratum %(stratum)s: a later entry was used before an earlier one.",
                list=named,
                stratum=stratum,
            )
            yield Finding("list.order", text)


def three_people_signed(view: View) -> Iterator[Finding]:
    """Each list was generated, approved and activated by different people, each of whom signed what is recorded."""
    usernames = {person.id: person.username for person in view.tx.session.scalars(select(Person))}
    signed: dict[str, list[tuple[str, str]]] = {}
    statement = select(Signature).where(Signature.trial_id == view.trial.id, Signature.object_type == "list")
    for signature in view.tx.session.scalars(statement):
        signed.setdefault(signature.object_id, []).append((usernames[signature.person_id], signature.record_digest))
    for found in view.lists:
        people = [name for name in (found.generated_by, found.approved_by, found.activated_by) if name is not None]
        if len(set(people)) < len(people):
            text = say("List %(list)s: one person did two of its three deeds.", list=found.list_id)
            yield Finding("list.three_people", text)
        version = view.versions.get(found.version_id)
        made = digest_of(
            {
                "trial": view.trial.code,
                "list": found.list_id,
                "commitment": found.commitment,
                "definition": version.digest if version else "",
                "purpose": found.purpose,
            }
        )
        passed = digest_of(
            {
                "trial": view.trial.code,
                "list": found.list_id,
                "commitment": found.commitment,
                "file_digest": found.file_digest,
            }
        )
        wanted = [(found.generated_by, made), (found.approved_by, passed), (found.activated_by, passed)]
        for name, digest in wanted:
            if name is not None and (name, digest) not in signed.get(found.list_id, []):
                text = say(
                    "List %(list)s: there is no signature of %(person)s for what is recorded.",
                    list=found.list_id,
                    person=name,
                )
                yield Finding("signature.list", text)


def specifications_are_as_signed(view: View) -> Iterator[Finding]:
    """Each specification opens, is what its digest was taken of, was signed by who wrote it, and is older than every
    list made after it.
    """
    people = {person.username: person.id for person in view.tx.session.scalars(select(Person))}
    signed = {
        (signature.object_id, signature.person_id, signature.record_digest)
        for signature in view.tx.session.scalars(
            select(Signature).where(Signature.trial_id == view.trial.id, Signature.object_type == "list_specification")
        )
    }
    statement = select(ListSpecification).where(ListSpecification.trial_id == view.trial.id)
    for found in view.tx.session.scalars(statement.order_by(ListSpecification.id)):
        named = {"plan": found.plan_id, "number": found.number}
        try:
            open_specification(view.tx, view.trial, found, view.opener)
        except Refusal:
            text = say("Specification %(number)d of %(plan)s is not the one that was signed.", **named)
            yield Finding("specification.altered", text)
        version = view.versions.get(found.version_id)
        record = {
            "trial": view.trial.code,
            "specification": found.digest,
            "definition": version.digest if version else "",
        }
        if (found.digest, people.get(found.specified_by), digest_of(record)) not in signed:
            text = say("Specification %(number)d of %(plan)s has no signature of who wrote it.", **named)
            yield Finding("signature.specification", text)
        for made in view.lists:
            if made.specification_id == found.id and made.generated_at < found.specified_at:
                text = say("List %(list)s is older than its specification.", list=made.list_id)
                yield Finding("specification.late", text)
