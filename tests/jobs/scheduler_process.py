"""A scheduler in a process of its own, with ticks quick enough for a test: DATABASE HOME [PARENT]."""

import logging
import sys
from pathlib import Path

from rts.installation import open_store
from rts.jobs import scheduler
from rts.settings import Settings

if __name__ == "__main__":
    database, home, *parent = sys.argv[1:]
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s %(message)s")
    store = open_store(database, Path(home) / "keyring.json", Path(home) / "lists")
    scheduler.run(store, Settings(), parent=int(parent[0]) if parent else None, tick_seconds=0.5)
    store.engine.dispose()
    sys.stdout.write("stopped\n")
