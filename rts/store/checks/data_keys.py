"""Data keys: each opens with a root key of the keyring."""

from __future__ import annotations

from collections.abc import Iterator

from rts.refusal import Refusal, say
from rts.store.audit_verification import Finding
from rts.store.checks.view import View
from rts.store.sealed_rows import key_from_text


def data_keys_open(view: View) -> Iterator[Finding]:
    """The data keys of the trial and of each of its lists, as the database holds them."""
    for text in (view.trial.data_key, *(found.data_key for found in view.lists)):
        key = key_from_text(text)
        try:
            view.tx.store.vault.check(key)
        except Refusal as refusal:
            for failed in refusal.failed:
                message = say(
                    "No root key opens the data key of %(name)s: %(why)s", name=key.context, why=failed.message
                )
                yield Finding("key.data_key", message)
