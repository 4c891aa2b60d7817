"""Sentences that the database keeps, so that each reader gets them in their own language.

What has values is kept as JSON of the English text and its values, anything else as it is written. A sentence that was
kept before by its English alone is read as one without values.
"""

from __future__ import annotations

import json
from typing import Any

from rts.refusal import Message
from rts.trial.texts import Text, by_language

_OPENING = '{"text": '


def kept(message: Message) -> str:
    """`message` as the database keeps it."""
    return json.dumps(_plain(message), ensure_ascii=False) if message.values else message.text


def recalled(words: str) -> Message:
    """The sentence that `kept` made `words` of."""
    return _worded(json.loads(words)) if words.startswith(_OPENING) else Message(words)


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return {"text": value.text, "values": {name: _plain(each) for name, each in value.values.items()}}
    if isinstance(value, Text):
        return {"wordings": dict(value.wordings)}
    return value if isinstance(value, (int, float)) else str(value)


def _worded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "wordings" in value:
        return by_language(value["wordings"])
    return Message(value["text"], {name: _worded(each) for name, each in value["values"].items()})
