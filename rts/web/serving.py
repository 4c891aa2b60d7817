"""`rts serve`: the pages under gunicorn, and the scheduler as a second process beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from rts.app import create_app
from rts.installation import open_installation
from rts.settings import Settings

WORKERS = 2
THREADS = 8
LONGEST_STOP_SECONDS = 30


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # In the worker, after the fork: a connection must never be shared by two processes.
        return create_app(open_installation(self._settings), behind_proxy=self._settings.behind_proxy)


def serve(settings: Settings, *, with_scheduler: bool = True) -> None:
    """Serve the pages until stopped; with `with_scheduler` (the embedded mode) run `rts scheduler` beside them."""
    # Opened once here so that a missing keyring or an unknown database is told before any worker starts.
    open_installation(settings).engine.dispose()
    scheduler: subprocess.Popen[bytes] | None = None
    if with_scheduler:
        # The scheduler ends by itself when this process has died without being able to stop it.
        command = [sys.executable, "-m", "rts.cli", "scheduler", "--parent", str(os.getpid())]
        scheduler = subprocess.Popen(command, env={**os.environ, **_places(settings)})  # noqa: S603  our own program
    options: dict[str, Any] = {
        "bind": f"{settings.host}:{settings.port}",
        "workers": WORKERS,
        "worker_class": "gthread",
        "threads": THREADS,
        "timeout": 60,
        "graceful_timeout": 20,
        "accesslog": None,
        "loglevel": "warning",
        "control_socket_disable": True,
        "forwarded_allow_ips": "*" if settings.behind_proxy else "127.0.0.1",
    }
    if Path("/dev/shm").is_dir():  # noqa: S108  the heartbeat file of a worker must not wait for a busy disk
        options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
    try:
        _Server(settings, options).run()
    finally:
        if scheduler is not None:
            scheduler.terminate()
            try:
                scheduler.wait(timeout=LONGEST_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # A long job is in hand. Every job may be cut anywhere: what it began is rolled back and done again
                # later.
                scheduler.kill()


def _places(settings: Settings) -> dict[str, str]:
    """Where the installation lies, for the environment: in arguments, everybody on the machine could read a
    password.
    """
    return {
        "RTS_DATABASE": settings.database_address,
        "RTS_KEYRING": str(settings.keyring_path),
        "RTS_KEYS": settings.keys,
        "RTS_LISTS": str(settings.lists_path),
    }
