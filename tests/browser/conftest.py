"""The application served to a real browser."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Thread

import pytest
from werkzeug.serving import make_server

from rts.app import create_app
from tests.world import World


@pytest.fixture
def address(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the pages of `world` are served."""
    monkeypatch.setattr(logging.getLogger("werkzeug"), "level", logging.ERROR)
    server = make_server("127.0.0.1", 0, create_app(world.store), threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
