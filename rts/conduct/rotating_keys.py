"""New root keys and new audit keys: made, put to use step by step, and the old root keys retired.

A rotation makes a root key and wraps every data key anew under it, each in a transaction of its own beside a running
service. It may be cut short anywhere: what was not reached opens with the older root key, which stays, and the next run
goes on. The keyring notes that it is finished; only then can older root keys be retired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from rts.access.actor import Actor, require
from rts.access.permissions import Permission
from rts.conduct.checkpointing import MakeCheckpoints, make_checkpoints
from rts.conduct.list_recipients import keys_path, renew_keys_file
from rts.conduct.perform import Done, perform
from rts.refusal import FailedRule, Refusal, refuse, refuse_all, say
from rts.store import locks
from rts.store.sealed_rows import key_from_text, key_to_text
from rts.store.tables import DATA_KEY, Base, ListFile
from rts.store.transaction import Store, Transaction
from rts.vault.keys_file import read_keys, rewrap

Progress = Callable[[int, int, str], None]

# What is refused about one data key alone.
NOT_OPENED = frozenset({"vault.open", "keyring.retired", "keyring.version", "keys_file.damaged"})


# --- what is wrapped by which root key ------------------------------------------------------------------------------


@dataclass
class Wrapped:
    """How much one root key wraps: data keys of the database, and keys files beside the lists."""

    data_keys: int = 0
    keys_files: int = 0


def wrapped_by_version(tx: Transaction) -> dict[int, Wrapped]:
    """What each root key wraps now, by version. Keys files of other keyrings, and damaged ones, are left out."""
    found: dict[int, Wrapped] = {}
    for row in _rows_with_data_keys(tx):
        found.setdefault(key_from_text(row.data_key).version, Wrapped()).data_keys += 1
    for path in _keys_files(tx.store):
        version = _version_in(tx.store, path)
        if version:
            found.setdefault(version, Wrapped()).keys_files += 1
    return found


def _tables_with_data_keys() -> dict[str, Any]:
    """The mapped classes that hold wrapped data keys, by table."""
    found = [mapper.class_ for mapper in Base.registry.mappers if any(c.info == DATA_KEY for c in mapper.columns)]
    return {model.__tablename__: model for model in sorted(found, key=lambda model: model.__tablename__)}


def _rows_with_data_keys(tx: Transaction) -> Iterator[Any]:
    for model in _tables_with_data_keys().values():
        yield from tx.session.scalars(select(model).order_by(model.id))


def _keys_files(store: Store) -> list[Path]:
    return sorted(store.lists.glob("*/*.keys"))


def _version_in(store: Store, path: Path) -> int:
    """The root key that wraps a keys file for this keyring; 0 when none does."""
    try:
        return read_keys(path).for_keyring(store.vault.keyring).version
    except Refusal:
        return 0


# --- rotation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddRootKey:
    """Make a root key, which wraps from now on."""


def add_root_key(tx: Transaction, actor: Actor, _command: AddRootKey) -> Done:
    """Add a root key to the keyring. A rotation is then under way."""
    require(tx, actor, Permission.KEYS_ROTATE)
    locks.take(tx.session, locks.keys())
    version = tx.store.vault.keyring.add_root_key(tx.store.entropy)
    tx.audit("root_key.added", "root_key", str(version))
    return Done("add_root_key", {"version": str(version)})


@dataclass(frozen=True)
class RewrapDataKey:
    """Wrap the data key in row `row` of `table` under the newest root key; of a list, its keys file as well."""

    table: str
    row: int


def rewrap_data_key(tx: Transaction, actor: Actor, command: RewrapDataKey) -> Done:
    """Rewrap one data key; what it sealed stays as it is."""
    require(tx, actor, Permission.KEYS_ROTATE)
    locks.take(tx.session, locks.keys())
    vault = tx.store.vault
    found = tx.session.get_one(_tables_with_data_keys()[command.table], command.row)
    key = key_from_text(found.data_key)
    is_older = key.version != vault.keyring.root_key_version
    if is_older:
        found.data_key = key_to_text(vault.rewrap(key))
    is_renewed = isinstance(found, ListFile) and renew_keys_file(tx, found)
    return Done("rewrap_data_key", {"data_keys": str(int(is_older)), "keys_files": str(int(is_renewed))})


@dataclass(frozen=True)
class RewrapKeysFile:
    """Wrap the keys file `name` of `trial`, of which the database does not know, under the newest root key."""

    trial: str
    name: str


def rewrap_keys_file(tx: Transaction, actor: Actor, command: RewrapKeysFile) -> Done:
    """Rewrap the keys file that a generation cut short left behind: it may be all that opens its list."""
    require(tx, actor, Permission.KEYS_ROTATE)
    locks.take(tx.session, locks.keys())
    is_renewed = rewrap(tx.store.lists / command.trial / command.name, tx.store.vault)
    return Done("rewrap_keys_file", {"data_keys": "0", "keys_files": str(int(is_renewed))})


@dataclass(frozen=True)
class NoteRotation:
    """Record that everything is wrapped by the root key `version`."""

    version: int
    data_keys: int
    keys_files: int


def note_rotation(tx: Transaction, actor: Actor, command: NoteRotation) -> Done:
    """Record the end of a rotation. Raises Refusal `conflict` when something is wrapped by an older root key."""
    require(tx, actor, Permission.KEYS_ROTATE)
    locks.take(tx.session, locks.keys())
    _refuse_wrapped_by(tx, command.version - 1)
    facts = {"data_keys": command.data_keys, "keys_files": command.keys_files}
    tx.audit("root_key.rotated", "root_key", str(command.version), facts)
    return Done("note_rotation", {"version": str(command.version)})


@dataclass(frozen=True)
class Rotation:
    """What a rotation did: the newest root key, whether this run made it, how many data keys and keys files it wrapped
    anew, and the keys files it left alone since they are damaged or of another keyring.
    """

    version: int
    is_new: bool
    data_keys: int = 0
    keys_files: int = 0
    left_alone: tuple[str, ...] = field(default=())


def rotate_root_key(store: Store, actor: Actor, progress: Progress, *, add_only: bool = False) -> Rotation:
    """Make a root key and wrap everything anew under it; or, when an earlier run was cut short, finish that one.

    With `add_only` it stops once the root key is made, so that the keyring can be copied before anything depends on it.
    Raises Refusal when a step is refused, naming every data key that did not open; what was done stays, and the next
    run goes on.
    """
    keyring = store.vault.keyring
    version = keyring.root_key_version
    is_new = version == keyring.current_root_key
    if is_new:
        version = int(perform(store, add_root_key, actor, AddRootKey()).ids["version"])
    if add_only:
        return Rotation(version, is_new)
    with store.transaction() as tx:
        rows = [
            (key_from_text(row.data_key).context, RewrapDataKey(row.__tablename__, row.id))
            for row in _rows_with_data_keys(tx)
        ]
        known = {keys_path(tx, found.trial, found) for found in tx.session.scalars(select(ListFile))}
    unknown = [path for path in _keys_files(store) if path not in known]
    steps: list[tuple[str, Callable[..., Any], Any]] = [(name, rewrap_data_key, command) for name, command in rows]
    steps += [
        (f"{path.parent.name}/{path.name}", rewrap_keys_file, RewrapKeysFile(path.parent.name, path.name))
        for path in unknown
        if _version_in(store, path)
    ]
    data_keys = keys_files = 0
    failed: list[FailedRule] = []
    for number, (name, deed, command) in enumerate(steps):
        progress(number, len(steps), "wrapping data keys")
        try:
            done = perform(store, deed, actor, command)
        except Refusal as refusal:
            if refusal.rules[0] not in NOT_OPENED:
                raise
            # One key that is damaged must not keep the others under the old root key.
            failed += [_named(name, rule) for rule in refusal.failed]
            continue
        data_keys += int(done.ids["data_keys"])
        keys_files += int(done.ids["keys_files"])
    progress(len(steps), len(steps), "wrapping data keys")
    refuse_all("unavailable", failed)
    # Recorded first: a rotation that the keyring calls finished never lacks its event.
    perform(store, note_rotation, actor, NoteRotation(version, data_keys, keys_files))
    keyring.finish_rotation(version, store.entropy)
    left_alone = tuple(f"{path.parent.name}/{path.name}" for path in unknown if not _version_in(store, path))
    return Rotation(version, is_new, data_keys, keys_files, left_alone)


def _named(name: str, rule: FailedRule) -> FailedRule:
    message = say("The data key of %(name)s was left as it is: %(why)s", name=name, why=rule.message)
    return FailedRule(rule.rule, message)


# --- retirement -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RetireRootKey:
    """Retire the root key `version` and every older one."""

    version: int


def note_retirement(tx: Transaction, actor: Actor, command: RetireRootKey) -> Done:
    """Record a retirement. Raises Refusal `not_found` for a root key that is not there, `conflict` while a rotation is
    under way, for the current root key, and when something is wrapped by one that would go.
    """
    require(tx, actor, Permission.KEYS_ROTATE)
    locks.take(tx.session, locks.keys())
    keyring = tx.store.vault.keyring
    versions, current = keyring.root_keys(), keyring.current_root_key
    if command.version not in versions:
        message = say("There is no root key %(version)d.", version=command.version)
        raise refuse("not_found", "root_key.unknown", message, "version")
    if versions[-1] != current:
        raise refuse(
            "conflict",
            "root_key.rotating",
            say("A rotation was begun and not finished. Run rts keys rotate first."),
            "version",
        )
    if command.version >= current:
        message = say("Root key %(version)d is in use: only older ones are retired.", version=command.version)
        raise refuse("conflict", "root_key.current", message, "version")
    _refuse_wrapped_by(tx, command.version)
    tx.audit("root_key.retired", "root_key", str(command.version))
    return Done("note_retirement", {"version": str(command.version)})


def retire_root_key(store: Store, actor: Actor, version: int) -> None:
    """Retire root keys: what only they would open is lost but for older copies of the keyring. Raises Refusal as
    `note_retirement` does, and `unavailable` when the keyring cannot be changed.
    """
    # Recorded first: no key is destroyed without a trace. Nothing can be wrapped by it in between.
    perform(store, note_retirement, actor, RetireRootKey(version))
    store.vault.keyring.retire_root_keys(version)


def _refuse_wrapped_by(tx: Transaction, last: int) -> None:
    """Refuse when something is wrapped by the root key `last` or an older one."""
    held = [(version, found) for version, found in sorted(wrapped_by_version(tx).items()) if version <= last]
    if held:
        version, found = held[0]
        message = say(
            "Root key %(version)d still wraps %(data_keys)d data keys and %(keys_files)d keys files. Run rts keys "
            "rotate.",
            version=version,
            data_keys=found.data_keys,
            keys_files=found.keys_files,
        )
        raise refuse("conflict", "root_key.in_use", message, "version")


# --- the audit key --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnnounceAuditKey:
    """Record the public half of the audit key `version` on the installation's trail."""

    version: int


def announce_audit_key(tx: Transaction, actor: Actor, command: AnnounceAuditKey) -> Done:
    """Record a new audit key before it signs anything."""
    require(tx, actor, Permission.KEYS_ROTATE)
    public_key = tx.store.vault.keyring.audit_public_key(command.version)
    tx.audit("audit_key.added", "audit_key", str(command.version), {"public_key": public_key})
    return Done("announce_audit_key", {"version": str(command.version)})


def rotate_audit_key(store: Store, actor: Actor, recipients: tuple[str, ...] = ()) -> int:
    """Make an audit key, announce it, and let it sign from then on; returns its version. A run cut short is gone on
    with.

    The old key signs one more checkpoint, which covers the announcement and goes to the auditors and `recipients`:
    whoever trusts the old key can so trust the new one. Raises Refusal as the deeds do.
    """
    keyring = store.vault.keyring
    version = keyring.add_audit_key(store.entropy)
    perform(store, announce_audit_key, actor, AnnounceAuditKey(version))
    perform(store, make_checkpoints, actor, MakeCheckpoints(recipients))
    keyring.use_audit_key(version)
    return version
