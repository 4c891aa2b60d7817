"""How every deed runs, from every door: once, whole, signed where it must be, and with a trace when refused.

A deed is a function `(tx, actor, command[, opener][, confirmation])`. It asks for an `opener` only if it must read
what is sealed, and for a `confirmation` only if it is signed by a re-entered password: its signature shows both.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from functools import lru_cache
from typing import Any, TypeVar

import rfc8785
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from rts.access.actor import Actor
from rts.access.sign_in import Confirmation
from rts.refusal import Refusal, refuse, say
from rts.store import locks
from rts.store.tables import IdempotencyKey, ListFile, Site, Trial
from rts.store.transaction import Store, Transaction

C = TypeVar("C")

# Fields of commands that are kept in no form, not even within a keyed digest.
SECRETS = frozenset({"password"})


@dataclass(frozen=True)
class Done:
    """What a deed did, as permanent codes that a door can render from; `again` when it had been done before under
    the same key.
    """

    deed: str
    ids: dict[str, str]
    again: bool = False


def perform(
    store: Store,
    deed: Callable[..., Any],
    actor: Actor,
    command: C,
    *,
    key: str | None = None,
    confirmation: Confirmation | None = None,
) -> Any:
    """Run `deed` in one transaction and return its outcome (a `Done`, or what carries one in `.done`).

    With an idempotency `key`, a repeat of the same command by the same actor returns the first outcome's `Done`
    marked `again`, also when it comes while the first is under way; another command under a used key is refused
    (`conflict`). A Refusal rolls everything back and leaves one `refused` event.
    """
    opened: Counter[str] = Counter()
    try:
        mac = "" if key is None else _body_mac(store, deed, command)
        with store.transaction(write=True) as tx:
            opened = tx.opened
            if key is not None:
                locks.take(tx.session, locks.request(actor.name, key))
                earlier = _earlier(tx, key, actor, deed, mac)
                if earlier is not None:
                    return earlier
            extra: dict[str, Any] = {}
            wanted = _parameters(deed)
            if "opener" in wanted:
                extra["opener"] = tx.opener()
            if "confirmation" in wanted:
                extra["confirmation"] = confirmation
            outcome = deed(tx, actor, command, **extra)
            if key is not None:
                done = outcome if isinstance(outcome, Done) else outcome.done
                row = {
                    "key": key,
                    "username": actor.name,
                    "deed": deed.__name__,
                    "body_mac": mac,
                    "outcome": rfc8785.dumps({"deed": done.deed, "ids": done.ids}).decode(),
                    "at": tx.now,
                }
                tx.insert(IdempotencyKey, [row])
            return outcome
    except Refusal as refusal:
        _record(store, deed, actor, command, refusal, opened)
        raise
    except IntegrityError as error:
        conflict = refuse(
            "conflict",
            "store.constraint",
            say("Someone else did the same at the same moment, so nothing was recorded. Look again and repeat."),
        )
        _record(store, deed, actor, command, conflict, opened)
        raise conflict from error


@lru_cache(maxsize=256)
def _parameters(deed: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(deed).parameters)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def _body_mac(store: Store, deed: Callable[..., Any], command: Any) -> str:
    told = {name: value for name, value in asdict(command).items() if name not in SECRETS}
    body = {"deed": deed.__name__, "command": _plain(told)}
    return store.vault.keyring.mac("idempotency", rfc8785.dumps(body)).hex()


def _earlier(tx: Transaction, key: str, actor: Actor, deed: Callable[..., Any], mac: str) -> Done | None:
    row = tx.session.get(IdempotencyKey, (key, actor.name))
    if row is None:
        return None
    if row.deed != deed.__name__ or row.body_mac != mac:
        raise refuse(
            "conflict",
            "idempotency.other_body",
            say("This form was already used for something else. Open the page again and repeat."),
            "key",
        )
    outcome = json.loads(row.outcome)
    return Done(outcome["deed"], outcome["ids"], again=True)


def _record(
    store: Store, deed: Callable[..., Any], actor: Actor, command: Any, refusal: Refusal, opened: Counter[str]
) -> None:
    """Append the `refused` event, in a transaction of its own. Only the codes of the failed rules are kept, with
    what the command named and what was opened before it was refused.
    """
    named = {field.name: getattr(command, field.name) for field in fields(command)}
    with store.transaction(write=True) as tx:
        trial = site = None
        if isinstance(named.get("trial"), str):
            trial = tx.session.scalar(select(Trial).where(Trial.code == named["trial"]))
        if trial is not None and isinstance(named.get("site"), str):
            site = tx.session.scalar(select(Site).where(Site.trial_id == trial.id, Site.code == named["site"]))
        about = [
            (kind, named[kind]) for kind in ("subject", "kit", "shipment", "site") if isinstance(named.get(kind), str)
        ]
        about = [(kind, "".join(filter(str.isprintable, code))[:40]) for kind, code in about]
        about = [(kind, code) for kind, code in about if code]
        if trial is not None and isinstance(named.get("list_id"), str):
            # By its commitment, as blinded readers know it. What is no list's id is not kept: it may be a slip of one.
            listed = select(ListFile).where(ListFile.trial_id == trial.id, ListFile.list_id == named["list_id"])
            about += [("list", found.commitment) for found in tx.session.scalars(listed)]
        first = about[0] if about else ("deed", deed.__name__)
        tx.act_as(actor, actor.grants[0].role if actor.grants else "none")
        tx.emergency = True  # a refusal because of the clock must still leave its trace
        tx.audit(
            "refused",
            first[0],
            first[1],
            {"deed": deed.__name__, "code": refusal.code, "rules": list(refusal.rules), "opened": dict(opened)},
            trial=trial,
            site=site,
            sealed=refusal.sealed and trial is not None,
            mentions=tuple(about[1:]),
        )
