"""Sealed list files, `<trial>/<list id>.rtslist`: written once, never changed, useless without a key.

Layout: a readable JSON manifest; the two bytes LF LF (a blank line, which indented JSON never holds); then the records,
one an entry in list order, each a box of `RECORD_BYTES`; then one more box with the list's inputs. So entry i (from 0)
starts at `len(manifest) + 2 + i * RECORD_BYTES`, and the manifest's `layout` gives the length of everything.

Every box is bound to the SHA-256 of the manifest's bytes, its stratum and its position (`EntryContext`): a record that
was edited, repeated, swapped or taken from another list does not open, and after any edit of the manifest none does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rts.randomisation import tape
from rts.randomisation.commitment import kit_leaf, subject_leaf, tree_hash
from rts.refusal import FailedRule, Refusal, refuse, refuse_all, say
from rts.vault import atomic_files
from rts.vault.boxes import box_length
from rts.vault.entries import ENTRY_BYTES, ENTRY_PAD_TO, EntryContext, ListEntry, is_code, pack_entry, unpack_entry
from rts.vault.keys_file import MODE, key_context, keys_for, render_keys
from rts.vault.person_keys import Person
from rts.vault.sealed import Sealed, WrappedKey
from rts.vault.vault import Opener, Vault

FORMAT = "rts/list-file/1"
PURPOSES = ("production", "training", "test")
KINDS = ("subjects", "kits")
INPUTS_PAD_TO = 4096
RECORD_BYTES = box_length(ENTRY_BYTES, ENTRY_PAD_TO)
END_OF_MANIFEST = b"\n\n"
FIRST_READ = 2**16


@dataclass(frozen=True)
class Manifest:
    """What anyone may know of a list.

    `strata` are codes with their entry counts, in list order; a kit list and a tape have the one stratum with an empty
    code.
    `commitment` and `definition_digest` are 64 hex digits; `times_generated` counts the generations for this
    specification; `generated_at` is UTC as `rts.clock.utc_text` writes it.
    """

    scheme: str
    trial: str
    definition_version: int
    definition_digest: str
    list_id: str
    purpose: str
    kind: str
    strata: tuple[tuple[str, int], ...]
    commitment: str
    times_generated: int
    generated_by: str
    generated_at: str
    software_version: str

    @property
    def entry_count(self) -> int:
        """How many entries the list has."""
        return sum(count for _, count in self.strata)

    def places(self) -> Iterator[tuple[str, int]]:
        """Stratum and position of every entry, in list order."""
        return ((stratum, position) for stratum, count in self.strata for position in range(1, count + 1))


@dataclass(frozen=True)
class ListFileFacts:
    """What was written: where, the SHA-256 of the list file and of its manifest (hex), and the list's data key."""

    path: Path
    keys_path: Path
    digest: str
    manifest_digest: str
    key: WrappedKey


def list_path(directory: Path, trial: str, list_id: str) -> Path:
    """Where the sealed file of a list is kept; its keys file has the same name, ending in `.keys`."""
    return directory / trial / f"{list_id}.rtslist"


def write_list_file(
    directory: Path,
    manifest: Manifest,
    entries: Sequence[ListEntry],
    inputs: Mapping[str, object],
    vault: Vault,
    people: Sequence[Person] = (),
) -> ListFileFacts:
    """Seal a list into `directory/<trial>/<list id>.rtslist`, under a new data key, with its keys file beside it.

    `entries` are in list order (strata as in the manifest, then position). `inputs` is what only the unblinded may see
    (seed, block sizes, all inputs), as JSON values. Recipients are the vault's keyring and `people`.

    Raises Refusal `invalid` naming the field for a manifest, entry or recipient that breaks a rule, `conflict` when the
    list file or its keys file exists, `unavailable` when the disk refuses; nothing of the list is then left behind.
    """
    refuse_all("invalid", _failed_rules(manifest, entries))
    key = vault.new_data_key(key_context(manifest.trial, manifest.list_id))
    keys = render_keys(keys_for(vault, manifest.trial, manifest.list_id, key, people))
    content, manifest_digest = _seal(manifest, entries, inputs, vault, key)
    path = list_path(directory, manifest.trial, manifest.list_id)
    keys_path = path.with_suffix(".keys")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise atomic_files.disk_refused(path, problem) from None
    # Keys first: a list file without keys could never be opened, while keys without a list (after a crash right here)
    # open nothing. Neither is ever overwritten: they may be all that is left of a list of that name.
    atomic_files.write_new(keys_path, keys, MODE)
    try:
        atomic_files.write_new(path, content, MODE)
    except Refusal:
        keys_path.unlink(missing_ok=True)
        raise
    return ListFileFacts(path, keys_path, hashlib.sha256(content).hexdigest(), manifest_digest.hex(), key)


@dataclass(frozen=True, repr=False)
class ListFile:
    """A sealed list file: its manifest, and its records still sealed, each read from the file when it is asked for."""

    manifest: Manifest
    manifest_digest: bytes
    _content: atomic_files.OpenFile
    _start: int

    def __repr__(self) -> str:
        return f"<list file {self.manifest.list_id}>"

    @classmethod
    def read(cls, path: Path, digest: str | None = None) -> ListFile:
        """Open a list file and check its structure, and its whole content when its recorded `digest` (hex) is given.

        Raises Refusal `not_found` when there is none, `unavailable` when the disk refuses, `invalid` when it is of
        an unknown format, truncated, extended or edited. Without `digest` an edited record is found when it is opened.
        """
        content = atomic_files.OpenFile(path)
        if digest is not None and content.digest() != digest:
            message = say("%(name)s is not the file that was sealed: its digest differs.", name=path.name)
            raise refuse("invalid", "list_file.digest", message)
        head = _head(content)
        fields = None if head is None else _manifest_fields(head)
        if head is None or fields is None:
            message = say(
                "%(name)s does not begin with the manifest of a list: it is truncated or edited.", name=path.name
            )
            raise refuse("invalid", "list_file.manifest", message)
        if fields.get("format") != FORMAT:
            message = say("%(name)s has a format this version of RTS does not know.", name=path.name)
            raise refuse("invalid", "list_file.format", message)
        parsed = _parse_manifest(fields, head)
        if parsed is None:
            message = say("The manifest of %(name)s was edited.", name=path.name)
            raise refuse("invalid", "list_file.manifest", message)
        manifest, inputs_bytes = parsed
        start = len(head) + len(END_OF_MANIFEST)
        excess = len(content) - (start + manifest.entry_count * RECORD_BYTES + inputs_bytes)
        if excess < 0:
            message = say("%(name)s is truncated: %(missing)s bytes are missing.", name=path.name, missing=-excess)
            raise refuse("invalid", "list_file.truncated", message)
        if excess > 0:
            message = say("%(name)s was extended: it has %(extra)s bytes too many.", name=path.name, extra=excess)
            raise refuse("invalid", "list_file.extended", message)
        return cls(manifest, hashlib.sha256(head).digest(), content, start)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole file, in hex digits."""
        return self._content.digest()

    def boxes(self) -> Iterator[tuple[EntryContext, bytes]]:
        """Place and sealed bytes of every record, in list order: what activation copies into the database."""
        for index, (stratum, position) in enumerate(self.manifest.places()):
            yield EntryContext(self.manifest_digest, stratum, position), self._box(index)

    def record(self, index: int, key: WrappedKey) -> Sealed:
        """The record of entry `index`, counted from 0 in list order. Raises IndexError when there is none."""
        if not 0 <= index < self.manifest.entry_count:
            raise IndexError("no such entry")
        before = index
        for stratum, count in self.manifest.strata:
            if before < count:
                return Sealed(self._box(index), EntryContext(self.manifest_digest, stratum, before + 1), key)
            before -= count
        raise IndexError("no such entry")

    def inputs(self, key: WrappedKey) -> Sealed:
        """Seed, block sizes and all other inputs of the list: a JSON object (`open_inputs`)."""
        start = self._start + self.manifest.entry_count * RECORD_BYTES
        return Sealed(self._content[start : len(self._content)], EntryContext(self.manifest_digest, "", 0), key)

    def entries(self, key: WrappedKey, opener: Opener) -> Iterator[tuple[EntryContext, ListEntry]]:
        """Place and content of every entry, in list order. Raises Refusal `unavailable` for an altered record."""
        for place, box in self.boxes():
            yield place, unpack_entry(opener.open(Sealed(box, place, key)))

    def meets_commitment(self, key: WrappedKey, opener: Opener) -> bool:
        """Whether the entries, all opened, are the ones the manifest's commitment was published for."""
        entries = (entry for _, entry in self.entries(key, opener))
        return _commitment(self.manifest, entries) == self.manifest.commitment

    def _box(self, index: int) -> bytes:
        start = self._start + index * RECORD_BYTES
        return self._content[start : start + RECORD_BYTES]


def _head(content: atomic_files.OpenFile) -> bytes | None:
    """The bytes of the manifest, or None when nothing ends it. The records are not read."""
    length = FIRST_READ
    while END_OF_MANIFEST not in (beginning := content[:length]):
        if length >= len(content):
            return None
        length *= 2
    return beginning.partition(END_OF_MANIFEST)[0]


def open_inputs(sealed: Sealed, opener: Opener) -> dict[str, Any]:
    """The inputs that a list was sealed with. Raises Refusal `unavailable` when the record was altered."""
    inputs: dict[str, Any] = json.loads(opener.text(sealed))
    return inputs


def _seal(
    manifest: Manifest, entries: Sequence[ListEntry], inputs: Mapping[str, object], vault: Vault, key: WrappedKey
) -> tuple[bytearray, bytes]:
    """The file's content and its manifest's digest."""
    inputs_text = json.dumps(inputs, ensure_ascii=False, sort_keys=True).encode()
    head = _render_manifest(manifest, box_length(len(inputs_text), INPUTS_PAD_TO))
    digest = hashlib.sha256(head).digest()
    # Grown in place: boxes kept apart until the end would need the memory of the file twice.
    content = bytearray(head + END_OF_MANIFEST)
    for entry, (stratum, position) in zip(entries, manifest.places(), strict=True):
        content += vault.seal(key, pack_entry(entry), EntryContext(digest, stratum, position), ENTRY_PAD_TO).box
    content += vault.seal(key, inputs_text, EntryContext(digest, "", 0), INPUTS_PAD_TO).box
    return content, digest


def _render_manifest(manifest: Manifest, inputs_bytes: int) -> bytes:
    strata = [{"code": code, "entries": count} for code, count in manifest.strata]
    layout = {"records": manifest.entry_count, "record_bytes": RECORD_BYTES, "inputs_bytes": inputs_bytes}
    content = {"format": FORMAT, **asdict(manifest), "strata": strata, "layout": layout}
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def _manifest_fields(head: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(head)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _parse_manifest(fields: dict[str, Any], head: bytes) -> tuple[Manifest, int] | None:
    """The manifest and the length of the inputs record, or None when it is not exactly as RTS writes it."""
    values = dict(fields)
    try:
        del values["format"]
        inputs_bytes = int(values.pop("layout")["inputs_bytes"])
        strata = tuple((stratum["code"], int(stratum["entries"])) for stratum in values.pop("strata"))
        manifest = Manifest(strata=strata, **values)
        is_as_written = _render_manifest(manifest, inputs_bytes) == head and not list(_manifest_rules(manifest))
    except (ValueError, KeyError, TypeError):
        return None
    return (manifest, inputs_bytes) if is_as_written else None


_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _failed_rules(manifest: Manifest, entries: Sequence[ListEntry]) -> Iterator[FailedRule]:
    failed = list(_manifest_rules(manifest))
    yield from failed
    if len(entries) != manifest.entry_count:
        message = say("The manifest counts %(count)s entries, the list has another number.", count=manifest.entry_count)
        yield FailedRule("list_file.entries", message, "strata")
    elif not failed and _commitment(manifest, entries) != manifest.commitment:
        message = say("The commitment does not belong to the entries of this list.")
        yield FailedRule("list_file.commitment", message, "commitment")


def _manifest_rules(manifest: Manifest) -> Iterator[FailedRule]:
    for field, name in (("trial", manifest.trial), ("list_id", manifest.list_id)):
        # They name a folder and a file: no slash, no leading dot.
        if not _FILE_NAME.fullmatch(name):
            message = say(
                "%(field)s: 1 to 40 letters, digits, dots, hyphens or underscores, the first a letter or digit.",
                field=field,
            )
            yield FailedRule(f"list_file.{field}", message, field)
    for field, value, allowed in (("purpose", manifest.purpose, PURPOSES), ("kind", manifest.kind, KINDS)):
        if value not in allowed:
            message = say("%(field)s is one of %(allowed)s.", field=field, allowed=", ".join(allowed))
            yield FailedRule(f"list_file.{field}", message, field)
    for field, value in (
        ("definition_digest", manifest.definition_digest),
        ("commitment", manifest.commitment),
    ):
        if not _DIGEST.fullmatch(value):
            message = say("%(field)s is a SHA-256 digest of 64 hex digits.", field=field)
            yield FailedRule(f"list_file.{field}", message, field)
    codes = [code for code, _ in manifest.strata]
    has_one_part = manifest.kind == "kits" or manifest.scheme == tape.SCHEME
    are_codes = codes == [tape.STRATUM] if has_one_part else bool(codes) and all(map(is_code, codes))
    if not are_codes or len(set(codes)) < len(codes) or any(count < 1 for _, count in manifest.strata):
        message = say(
            "Strata have distinct codes of 1 to 40 printable ASCII characters and at least one entry each; "
            "a kit list and a tape have the one stratum without a code."
        )
        yield FailedRule("list_file.strata", message, "strata")


def _commitment(manifest: Manifest, entries: Iterable[ListEntry]) -> str:
    """The Merkle tree hash over the entries in list order, as hex (`rts.randomisation.commitment`)."""
    leaves = [
        kit_leaf(position, entry.number, entry.arm, entry.pick_rank, entry.salt)
        if manifest.kind == "kits"
        else subject_leaf(stratum, position, entry.number, entry.arm, entry.salt)
        for entry, (stratum, position) in zip(entries, manifest.places(), strict=True)
    ]
    return tree_hash(leaves).hex()
