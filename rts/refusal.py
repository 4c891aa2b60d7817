"""How the core says no, and how it words anything a person will read.

A `Refusal` is raised by a deed or a check; the doors turn it into a page, a JSON object or an
exit code, each in one place. Nothing has changed when one is raised, save the `refused` event
that `rts.conduct.perform` appends afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# The languages RTS has translations for; English is that of the sources.
LANGUAGES = ("en", "zh_Hans")


@dataclass(frozen=True)
class Message:
    """A sentence for people: English text with `%(name)s` places, and the values for them.

    The English text is the key of the translation catalogues, so it is a literal at the place
    where it is written (`say`), and the values are put in only when it is shown.
    """

    text: str
    values: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.values if self.values else self.text


def say(text: str, **values: object) -> Message:
    """Mark `text` for translation (Babel extracts the calls of this name) and bind its values."""
    return Message(text, values)


@dataclass(frozen=True)
class FailedRule:
    """One rule that was not met: its stable code, the sentence, and the form field it concerns.

    `rule` is a dotted code such as `eligibility.age`; `field` is the name of the entered field,
    or empty when no single field is to blame.
    """

    rule: str
    message: Message
    field: str = ""


class Refusal(Exception):
    """A deed or input was refused for one or more rules; nothing has changed.

    `code` groups refusals for exit codes, HTTP status and statistics: `invalid` (bad input, 422),
    `forbidden` (403), `not_found` (404, also whatever is outside one's scope), `conflict` (409: done already,
    stale, or the idempotency key was used for something else), `rule` (409: a rule of the trial says no),
    `unavailable` (503: mail, key or disk is missing), `wrong_password` (403).
    `sealed` marks a refusal one of whose rules depends on an arm: its event's detail is stored sealed.
    """

    def __init__(self, code: str, *failed: FailedRule, sealed: bool = False) -> None:
        if not failed:
            raise ValueError("a refusal names at least one failed rule")
        self.code = code
        self.failed = tuple(failed)
        self.sealed = sealed
        super().__init__("; ".join(str(rule.message) for rule in failed))

    @property
    def rules(self) -> tuple[str, ...]:
        """The codes of the rules that failed, in the order they were checked."""
        return tuple(rule.rule for rule in self.failed)


def refuse(code: str, rule: str, message: Message, field: str = "", *, sealed: bool = False) -> Refusal:
    """A refusal for a single rule; the caller raises it."""
    return Refusal(code, FailedRule(rule, message, field), sealed=sealed)


def refuse_all(code: str, failed: Iterable[FailedRule]) -> None:
    """Raise one `Refusal` naming every rule in `failed`, in order; do nothing when there is none."""
    rules = tuple(failed)
    if rules:
        raise Refusal(code, *rules)
