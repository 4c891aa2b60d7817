"""The outbox: notices are written in the deed's own transaction and sent afterwards by a job (rts.notices.delivery)."""

from __future__ import annotations

from collections.abc import Iterable

from rts.refusal import Message
from rts.store.tables import Notice, Person, Trial
from rts.store.transaction import Transaction
from rts.translating import in_language


def write(
    tx: Transaction, kind: str, trial: Trial | None, people: Iterable[Person], subject_line: Message, body: Message
) -> None:
    """Put one mail of `kind` to each of `people` into the outbox, in the language of each. The words must be fit for
    blinded eyes: mails link to log-in instead of telling more.
    """
    tx.insert(
        Notice,
        [
            {
                "trial_id": trial.id if trial else None,
                "kind": kind,
                "message_id": tx.store.entropy.bytes(16).hex(),
                "person_id": person.id,
                "subject_line": in_language(subject_line, person.language),
                "body": in_language(body, person.language),
                "written_at": tx.now,
                "next_attempt_at": tx.now,
            }
            for person in people
        ],
    )
