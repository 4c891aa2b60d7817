"""The transit engine of OpenBao or HashiCorp Vault, by its HTTP interface: it holds the root keys and never shows them.

A data key goes there to be wrapped and comes back as text, `vault:v3:…`, whose number is the version of the root key.
What the wrap is for is bound as associated data, so the engine's key is of an AEAD type and not derived. The standard
library does all that is needed: no connection is kept, since a process asks a few times in its life.

Every question is answered or refused within `ANSWER_SECONDS`, name look-up included: a code break must not hang.
"""

from __future__ import annotations

import json
import os
import re
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit

from rts.refusal import Message, Refusal, refuse, say
from rts.vault.boxes import cannot_open
from rts.vault.keyring import retired_root_key

ANSWER_SECONDS = 5.0
LONGEST_ANSWER_BYTES = 1_000_000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WRAP = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]+={0,2}")
# What the engine says of a version below its `min_decryption_version`.
TOO_OLD = "too old"
NO_KEY = "encryption key not found"


@dataclass(frozen=True)
class Answer:
    """The HTTP status, and the JSON object that came with it (empty when none did)."""

    status: int
    fields: dict[str, Any]

    def says(self, words: str) -> bool:
        """Whether an error of this answer has `words` in it."""
        errors = self.fields.get("errors")
        return isinstance(errors, list) and any(words in str(error) for error in errors)


@dataclass(frozen=True)
class Transit:
    """Where the engine is and which of its keys is the root key. `address` may end in a path; the token stands in a
    file, so that an agent can renew it, and is read anew for each question.
    """

    address: str
    mount: str
    key: str
    token_file: Path
    ca_file: Path | None = None
    namespace: str = ""

    def __post_init__(self) -> None:
        scheme, host = _scheme_and_host(self.address)
        if scheme not in {"http", "https"} or not host:
            message = say("RTS_TRANSIT_ADDRESS is an address such as https://bao.example.org:8200.")
            raise refuse("invalid", "transit.address", message, "RTS_TRANSIT_ADDRESS")
        if scheme == "http" and host not in LOOPBACK:
            message = say("RTS_TRANSIT_ADDRESS begins with https://: data keys never cross a network in the open.")
            raise refuse("invalid", "transit.address", message, "RTS_TRANSIT_ADDRESS")

    def encrypt(self, plaintext: bytes, bound_to: bytes) -> str:
        """`plaintext` wrapped by the newest version of the key, as text; `version_of` tells which that was.

        Raises Refusal `unavailable` when the service is not there, sealed, or refuses.
        """
        body = {"plaintext": _base64(plaintext), "associated_data": _base64(bound_to)}
        answer = self._ask("POST", f"encrypt/{quote(self.key)}", body)
        if answer.status == 400 and not answer.says(NO_KEY):
            message = say(
                "The key %(key)s of the key service cannot bind a data key to what it is for. Make it of the type "
                "aes256-gcm96, and not derived.",
                key=self.key,
            )
            raise _refused("key_type", message)
        wrap = self._data(answer).get("ciphertext")
        if not isinstance(wrap, str) or version_of(wrap) == 0:
            raise self._not_understood()
        return wrap

    def decrypt(self, wrap: str, bound_to: bytes) -> bytes:
        """What `wrap` holds.

        Raises Refusal `unavailable` as `encrypt` does, and `keyring.retired` when its version is no longer allowed,
        `vault.open` when it was altered or is bound to something else.
        """
        body = {"ciphertext": wrap, "associated_data": _base64(bound_to)}
        answer = self._ask("POST", f"decrypt/{quote(self.key)}", body)
        if answer.status == 400 and answer.says(TOO_OLD):
            raise retired_root_key(version_of(wrap))
        if answer.status == 400 and not answer.says(NO_KEY):
            raise cannot_open()
        plaintext = _bytes(self._data(answer).get("plaintext"))
        if plaintext is None:
            raise self._not_understood()
        return plaintext

    def versions(self) -> tuple[int, ...]:
        """The versions of the key that decrypt, the oldest first. Raises Refusal `unavailable` as `encrypt` does."""
        facts = self._data(self._ask("GET", f"keys/{quote(self.key)}"))
        oldest, newest = facts.get("min_decryption_version"), facts.get("latest_version")
        if not isinstance(oldest, int) or not isinstance(newest, int) or not 0 <= oldest <= newest or newest < 1:
            raise self._not_understood()
        return tuple(range(max(oldest, 1), newest + 1))

    def rotate(self) -> None:
        """Add a version to the key. Raises Refusal `unavailable` as `encrypt` does."""
        self._data(self._ask("POST", f"keys/{quote(self.key)}/rotate", {}))

    def allow_from(self, version: int) -> None:
        """Let versions before `version` decrypt no longer. Raises Refusal `unavailable` as `encrypt` does."""
        self._data(self._ask("POST", f"keys/{quote(self.key)}/config", {"min_decryption_version": version}))

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true", "Content-Type": "application/json"}
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        parts = urlsplit(self.address)
        url = f"{parts.path.rstrip('/')}/v1/{quote(self.mount)}/{path}"

        connection = self._connection()

        def ask() -> tuple[int, bytes]:
            try:
                connection.request(method, url, None if body is None else json.dumps(body).encode(), headers)
                response = connection.getresponse()
                return response.status, response.read(LONGEST_ANSWER_BYTES)
            finally:
                connection.close()

        status, content = self._within_time(ask)
        return Answer(status, _json_object(content))

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self.address)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return HTTPConnection(host, parts.port, timeout=ANSWER_SECONDS)
        try:
            trusted = ssl.create_default_context(cafile=self.ca_file)
        except OSError:
            message = say("RTS_TRANSIT_CA_FILE names no file with certificates: %(path)s.", path=self.ca_file)
            raise _refused("certificate", message) from None
        return HTTPSConnection(host, parts.port, timeout=ANSWER_SECONDS, context=trusted)

    def _within_time(self, ask: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
        """The answer. The time-out of a socket bounds each read only, and none bounds a name look-up: so the question
        is asked in a thread of its own, and given up with it.
        """
        answers: SimpleQueue[tuple[int, bytes] | OSError | HTTPException] = SimpleQueue()

        def answer() -> None:
            try:
                answers.put(ask())
            except (OSError, HTTPException) as problem:
                answers.put(problem)

        Thread(target=answer, name="transit", daemon=True).start()
        try:
            found = answers.get(timeout=ANSWER_SECONDS)
        except Empty:
            found = TimeoutError()
        if isinstance(found, tuple):
            return found
        if isinstance(found, ssl.SSLCertVerificationError):
            message = say(
                "The certificate of the key service %(address)s is not trusted. Name the authority that signed it in "
                "RTS_TRANSIT_CA_FILE.",
                address=self.address,
            )
            raise refuse("unavailable", "transit.certificate", message)
        message = say(
            "The key service %(address)s does not answer, so nothing sealed can be opened or sealed.",
            address=self.address,
        )
        raise refuse("unavailable", "transit.unreachable", message)

    def _data(self, answer: Answer) -> dict[str, Any]:
        """The facts in a good answer. Raises Refusal for any other, naming what the operator can do."""
        if answer.status in {200, 204}:
            data = answer.fields.get("data")
            return data if isinstance(data, dict) else {}
        if answer.status == 403:
            raise _refused("denied", say("The key service refuses the token: it has expired, or its policy is wrong."))
        if answer.status == 404 or answer.says(NO_KEY):
            message = say(
                "The key service has no key %(key)s under %(mount)s. Check RTS_TRANSIT_MOUNT, RTS_TRANSIT_KEY and "
                "RTS_TRANSIT_NAMESPACE.",
                key=self.key,
                mount=self.mount,
            )
            raise _refused("missing", message)
        if answer.status == 503:
            raise _refused("sealed", say("The key service is sealed. Whoever holds its unseal keys must unseal it."))
        message = say("The key service cannot do this now (status %(status)d).", status=answer.status)
        raise _refused("failed", message)

    def _not_understood(self) -> Refusal:
        message = say(
            "What answers at %(address)s is no transit engine that RTS knows. Check RTS_TRANSIT_ADDRESS.",
            address=self.address,
        )
        return _refused("answer", message)

    def _token(self) -> str:
        try:
            with self.token_file.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                content = stream.read(10_000)
        except OSError as problem:
            message = say(
                "The token of the key service, %(path)s, cannot be read (%(reason)s).",
                path=self.token_file,
                reason=problem.strerror,
            )
            raise _refused("token", message) from None
        if mode & 0o007:
            message = say(
                "The token of the key service, %(path)s, can be reached by everybody: run chmod 600 on it.",
                path=self.token_file,
            )
            raise _refused("token", message)
        token = content.decode("ascii", "replace").strip()
        if not token or not token.isprintable() or not token.isascii():
            message = say("The file %(path)s holds no token of the key service.", path=self.token_file)
            raise _refused("token", message)
        return token


def version_of(wrap: str) -> int:
    """The version of the root key that made `wrap`; 0 for a text that is no wrap."""
    found = WRAP.fullmatch(wrap)
    return int(found[1]) if found else 0


def _scheme_and_host(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
        # Asked for here, since a port that is none is found only when it is read.
        return (parts.scheme, parts.hostname or "") if parts.port != 0 else ("", "")
    except ValueError:
        return "", ""


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _json_object(content: bytes) -> dict[str, Any]:
    # Never raised further: the parser's error holds what was sent, which may be a data key.
    try:
        fields = json.loads(content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _bytes(text: object) -> bytes | None:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None


def _refused(rule: str, message: Message) -> Refusal:
    return refuse("unavailable", f"transit.{rule}", message)
