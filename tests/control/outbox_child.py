"""A process that owns an outbox, for tests that kill it: `python -m tests.control.outbox_child STORE PORT FIRST`.

It tells events without end, each of them once it is sure: an act is in the store, and the line that says so is written.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from pathlib import Path

from router.app.logs import configure
from router.control.courier import Clocks
from router.control.database import Database
from router.control.events import Event
from router.control.news import News
from router.control.outbox import Outbox
from router.control.outbox_rows import OutboxRows
from router.control.records import Change, Entry
from router.core.table import VersionTable
from router.edge.webhook_post import WebhookPost

SECRET = b"a secret of tests"


def main() -> None:
    """Until it is killed."""
    path, port, first = sys.argv[1:]
    configure("json", "child")
    database = Database(Path(path), lambda table: str(table.generation), lambda text: VersionTable(int(text), {}))
    database.open()
    post = WebhookPost(f"http://127.0.0.1:{port}/hook", SECRET, 5.0)
    clocks = Clocks(time.time, time.monotonic)
    rows = OutboxRows(database)
    rows.begin()
    outbox = Outbox(rows, News(), post, "/test", 3600.0, clocks, lambda: 0.02, lambda: str(uuid.uuid4()))
    outbox.start()
    for number in range(int(first), sys.maxsize):
        entry = Entry(time.time(), "ada", "freeze", f"act {number}")
        database.save(Change(entries=(entry,)))
        outbox.take(Event(time.time(), "drift", f"drift {number}", text="it drifts"))
        while rows.behind():  # whoever says that it is kept has seen it kept
            time.sleep(random.random() / 1000)
        print(number, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
