"""Who else is there during an outage: an operator who acts, a client that asks, and a watcher of what is told live."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from loadtest import bench_models
from loadtest.sla.core_client import PublicConnection
from loadtest.tally import Act, Live, told_ms
from router.control.news import FROM_AUDIT, News
from router.edge.admin_client import AdminClient
from router.errors import RouterError

MODELS: Final = ("tiny", "value")
REQUESTS_PER_S: Final = 50.0
TIMEOUT_S: Final = 5.0
PAUSE_S: Final = 0.25
SETTINGS: Final = '[fallback]\nchain = ["default"]\n[fallback.default]\ny = 0.0\n'
"""Of `value`, which is switched to its fallback and back."""
ACTS: Final[tuple[tuple[str, Callable[[AdminClient, str], object]], ...]] = (
    ("alias", lambda client, reason: client.set_alias("tiny", "blue", "1", reason)),
    ("freeze", lambda client, reason: client.freeze("value", True, reason)),
    ("fallback on", lambda client, reason: client.set_fallback("value", True, reason)),
    ("alias gone", lambda client, reason: client.set_alias("tiny", "blue", "", reason)),
    ("thaw", lambda client, reason: client.freeze("value", False, reason)),
    ("fallback off", lambda client, reason: client.set_fallback("value", False, reason)),
)


def make(repository: Path) -> None:
    """The models that all of them are about."""
    bench_models.make(repository, MODELS)
    (repository / "value" / "model.toml").write_text(SETTINGS, encoding="utf-8")


class Operator(threading.Thread):
    """Does something `per_second` times a second over the admin port, until `stop` is set.

    Each act has a reason of its own; one that is not acknowledged is not repeated.
    """

    def __init__(self, admin: str, per_second: float) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.acts: list[Act] = []
        self._admin = admin
        self._pause = 1 / per_second

    def run(self) -> None:
        """One act after the other, in turn."""
        client, due = AdminClient(self._admin), time.monotonic()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause, time.monotonic() - 1)  # a second is caught up, more is not
            what, act = ACTS[len(self.acts) % len(ACTS)]
            reason, at, error = f"act {len(self.acts)} of the outage", time.time(), ""
            try:
                act(client, reason)
            except RouterError as refused:
                error = str(refused)
                client.close()
                client = AdminClient(self._admin)
            self.acts.append(Act(reason, what, at, error))
        client.close()


class Client(threading.Thread):
    """Asks each model in turn, when it is due, until `stop` is set. `others` counts answers that are not OK."""

    def __init__(self, target: str, repository: Path) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.sent = self.answered = 0
        self.others: Counter[str] = Counter()
        self._messages = [bench_models.questions(repository, name, 1)[0].request for name in MODELS]
        self._connection = PublicConnection(target, 0)

    def run(self) -> None:
        """Open loop; what is under way at the end is waited for."""
        began = time.monotonic()
        while not self.stop.wait(1 / REQUESTS_PER_S):
            for _ in range(self.sent, int((time.monotonic() - began) * REQUESTS_PER_S)):
                self._connection.send(self.sent, self._messages[self.sent % len(self._messages)], TIMEOUT_S)
                self.sent += 1
            self._take()
        until = time.monotonic() + 2 * TIMEOUT_S
        while self.answered + self.others.total() < self.sent and time.monotonic() < until:
            self._take()
            time.sleep(1 / REQUESTS_PER_S)
        self._connection.close()

    def _take(self) -> None:
        while (answer := self._connection.receive()) is not None:
            if answer[1] == 0:
                self.answered += 1
            else:
                self.others[f"{answer[1]}: {answer[2]}"[:200]] += 1


class Watcher(threading.Thread):
    """Sees what is told live, but for the whiles in which there is no controller, until `stop` is set."""

    def __init__(self, admin: str) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.seen: list[Live] = []
        self._admin = admin

    def run(self) -> None:
        """One watch after the other."""
        while not self.stop.wait(PAUSE_S):
            with suppress(RouterError), AdminClient(self._admin) as client:
                for each in client.watch():
                    if self.stop.is_set():
                        return
                    # What the audit log tells is told by its records.
                    if News().wants(each.kind) and each.kind not in {"hello", *FROM_AUDIT}:
                        words = each.kind, each.model, each.version, each.text
                        self.seen.append(Live(*words, each.generation, told_ms(each.seconds)))
