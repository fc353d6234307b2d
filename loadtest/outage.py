"""`make outage`: a webhook's receiver is away for ten minutes and the controller is killed twice meanwhile. Is an event
lost, or sent under two ids?

One real server. All the while an operator acts at a steady pace over the admin port, each act under a reason of its
own, and a client asks its models. The receiver is away in three ways, one after the other: its port is closed, it
answers 500, it accepts events and is silent; then its port is closed once more. The controller is killed (SIGKILL, by
its id) while the port is closed, and again while a delivery to the silent receiver is under way. When the receiver is
back the outbox has to become empty; then what came is held against the acts that were acknowledged, against the audit
log, and against what a watcher of the admin port saw (`loadtest.tally`).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from loadtest import cast, interrupt
from loadtest.cast import Client, Operator, Watcher
from loadtest.errors import BenchError
from loadtest.machine import facts
from loadtest.receiver import Arrival, Manner
from loadtest.servers import Server, free_port, ours, started
from loadtest.station import Station
from loadtest.tally import Record, Tally, instant, tally
from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb.webhook_pb2 import GetWebhookRequest, Outbox
from router.pb.webhook_pb2_grpc import WebhookStub

DOWN_S: Final = 600.0
ACTS_PER_S: Final = 2.0
WELL_S: Final = 10.0
"""All is well for so long before."""
CLOSED, FAILS, SILENT = 0.45, 0.25, 0.2
"""Shares of the time that the receiver is away; for the rest its port is closed again."""
UNDER_WAY_S: Final = 75.0
"""A delivery is tried once in so long at least: no pause is longer than a minute."""
BACK_S: Final = 30.0
"""The controller is back within so long after a kill."""
EMPTY_S: Final = 300.0
"""The outbox is empty within so long."""
LOOK_S: Final = 0.25
KEPT_S: Final = 2.0
"""An act is in the outbox within so long."""
RECORDS: Final = 10_000
"""Of the audit log, in one answer: beyond that some could not be looked for."""


class Outage:
    """One server and its receiver, while that is away."""

    def __init__(self, server: Server, admin: str, station: Station, state: Path, progress: Progress) -> None:
        self._server = server
        self._admin = admin
        self._station = station
        self._state = state
        self._progress = progress
        self._task: TaskID = progress.add_task("outage", total=None)
        self.kills: list[dict[str, Any]] = []
        self.most_bytes = self.most_pending = 0

    def run(self, down: float) -> dict[str, Any]:
        """The receiver is away for `down` seconds, and then back. Raises BenchError."""
        self._progress.update(self._task, total=WELL_S + down)
        self._pass("the receiver is there", WELL_S)
        gone = time.monotonic()
        self._station.be(None)
        closed = CLOSED * down
        self._pass("its port is closed", closed * 2 / 3)
        self._kill("its port was closed")
        self._pass("its port is closed", closed - (time.monotonic() - gone))
        self._station.be(Manner.FAILS)
        self._pass("it answers 500", FAILS * down)
        self._station.be(Manner.SILENT)
        began = time.monotonic()
        self._progress.update(self._task, description="it is silent")
        if not self._station.comes(UNDER_WAY_S):
            raise BenchError(f"no delivery was tried within {UNDER_WAY_S:.0f} s")
        self._kill("a delivery was under way", str(self._station.arrivals()[-1].event.get("id", "")))
        self._pass("it is silent", SILENT * down - (time.monotonic() - began))
        self._station.be(None)
        self._pass("its port is closed", down - (time.monotonic() - gone))
        waiting = self.queue()
        self._station.be(Manner.TAKES)
        return {"back": time.time(), "down_seconds": time.monotonic() - gone, "waiting": waiting.pending}

    def caught_up(self, back: float) -> None:
        """Wait until what was told before `back` has gone. Raises BenchError."""
        self._until("what waited is sent", lambda queue: queue.pending == 0 or queue.oldest_seconds > back)

    def emptied(self) -> Outbox:
        """Wait until nothing waits, though all that was done has come into the outbox. Raises BenchError."""
        self._pass("the last acts are kept", KEPT_S)
        return self._until("the outbox becomes empty", lambda queue: queue.pending == 0)

    def queue(self) -> Outbox:
        """What waits."""
        with AdminClient(self._admin) as client:
            asked: Any = client.other(WebhookStub, "GetWebhook", GetWebhookRequest(last=1))
        found: Outbox = asked
        self.most_pending = max(self.most_pending, found.pending)
        return found

    def _until(self, what: str, true: Callable[[Outbox], bool]) -> Outbox:
        self._progress.update(self._task, description=what)
        until = time.monotonic() + EMPTY_S
        while not true(queue := self.queue()):
            if time.monotonic() > until:
                raise BenchError(f"{queue.pending} events still wait after {EMPTY_S:.0f} s: {queue.last_error}")
            self._look()
            time.sleep(LOOK_S)
        return queue

    def _pass(self, what: str, seconds: float) -> None:
        self._progress.update(self._task, description=what)
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, rest))
            self._progress.advance(self._task, min(LOOK_S, rest))
            self._look()

    def _look(self) -> None:
        """Whether the server runs; and how large its store is, with the write-ahead log."""
        self._server.check_alive()
        size = 0
        for path in self._state.glob("router.db*"):
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        self.most_bytes = max(self.most_bytes, size)

    def _kill(self, meanwhile: str, event: str = "") -> None:
        """End the controller as nobody can prepare for, and wait until another one answers. Raises BenchError."""
        pid = self._controller()
        if not pid:
            raise BenchError("there is no controller to kill")
        os.kill(pid, signal.SIGKILL)
        at, began = time.time(), time.monotonic()
        while self._controller() in {0, pid}:
            if time.monotonic() - began > BACK_S:
                raise BenchError(f"the controller was not back within {BACK_S:.0f} s\n{self._server.tail()}")
            time.sleep(LOOK_S / 5)
        kill = {"at": at, "meanwhile": meanwhile, "away_seconds": time.monotonic() - began}
        self.kills.append(kill | ({"event": event} if event else {}))

    def _controller(self) -> int:
        """The id of its process; 0 while none answers."""
        with suppress(RouterError), AdminClient(self._admin) as client:
            for each in client.status().processes:
                if each.name == "controller" and each.state == "serving":
                    return each.pid
        return 0


def measure(down: float, per_second: float, out: Console) -> dict[str, Any]:
    """All of it. Raises BenchError, RouterError."""
    with (
        TemporaryDirectory(prefix="outage-") as folder,
        Progress(console=out, transient=True) as progress,
        Station(Path(folder)) as station,
    ):
        scratch, port = Path(folder), free_port()
        repository, state, config = (scratch / name for name in ("models", "state", "router.toml"))
        admin = f"127.0.0.1:{port}"
        cast.make(repository)
        config.write_text(f'[webhook]\nurl = "{station.url}"\nsecret_file = "{station.secret}"\n', encoding="utf-8")
        spec = ours("outage", 2, admin=port, flags=("--state", str(state), "--config", str(config)))
        station.be(Manner.TAKES)
        operator, watcher = Operator(admin, per_second), Watcher(admin)
        operator.start()  # before there is a server: whatever it acknowledges is to be told
        watcher.start()
        try:
            with started(spec, repository, cast.MODELS) as server:
                client = Client(f"127.0.0.1:{server.port}", repository)
                client.start()
                try:
                    outage = Outage(server, admin, station, state, progress)
                    found = outage.run(down)
                    outage.caught_up(found["back"])
                    operator.stop.set()
                    operator.join(cast.TIMEOUT_S)
                    queue = outage.emptied()
                    watcher.stop.set()
                    with AdminClient(admin) as asking:
                        verified = asking.verify_audit()
                        log = [Record(e.sequence, e.hash, e.reason) for e in asking.audit(last=RECORDS).entries]
                finally:
                    client.stop.set()
                    client.join(3 * cast.TIMEOUT_S)
        finally:
            operator.stop.set()
            watcher.stop.set()
        arrivals = station.arrivals()
    if operator.is_alive() or verified.records > len(log):
        raise BenchError("not all acts can be looked for: it was too long, or an act has never ended; make --down less")
    counted = tally(operator.acts, log, watcher.seen, arrivals, [kill["at"] for kill in outage.kills])
    taken = _taken(arrivals)
    return {
        "acts_per_second": per_second,
        **found,
        "kills": outage.kills,
        "killed_delivery_came_again": all(kill["event"] in taken for kill in outage.kills if "event" in kill),
        **asdict(counted),
        "kept": counted.kept,
        "audit_whole": verified.whole,
        "delivered": queue.delivered,
        "given_up": queue.failed,
        "dropped": queue.dropped,
        "most_pending": outage.most_pending,
        "tries_by_manner": Counter(each.manner.value for each in arrivals),
        "events_by_kind": Counter(each.event["data"]["kind"] for each in taken.values()),
        "last_after_seconds": _last(taken, found["back"]),
        "store_bytes_most": outage.most_bytes,
        "not_acknowledged": Counter(each.error for each in operator.acts if each.error),
        "requests": client.sent,
        "answered": client.answered,
        "other_answers": client.others,
        "machine": facts(),
    }


def _taken(arrivals: list[Arrival]) -> dict[str, Arrival]:
    """Those that were taken and acknowledged, the first of each id."""
    found: dict[str, Arrival] = {}
    for each in arrivals:
        if each.manner is Manner.TAKES and each.genuine and each.named:
            found.setdefault(str(each.event["id"]), each)
    return found


def _last(taken: dict[str, Arrival], back: float) -> float:
    """Seconds after the receiver's return when the last of those had come that were told before it."""
    return max((each.at - back for each in taken.values() if instant(each.event) < back), default=0.0)


def _holds(found: dict[str, Any]) -> bool:
    """Whether all is as it has to be."""
    clean = found["kept"] and found["audit_whole"] and not found["given_up"] and not found["dropped"]
    served = found["answered"] == found["requests"] and found["acts"] > 0
    return bool(clean and served and found["killed_delivery_came_again"])


def _table(found: dict[str, Any]) -> Table:
    table = Table("what", "figure")
    many = {name: len(found[name]) for name in Tally.__slots__ if isinstance(found[name], tuple)}
    away = ", ".join(f"{kill['away_seconds']:.1f} s" for kill in found["kills"])
    moment = f"{found['live_at_a_kill']} more within half a second before a kill"
    last = f"the last of them came {found['last_after_seconds']:.1f} s later"
    for what, figure in (
        ("the receiver was away", f"{found['down_seconds']:.0f} s"),
        ("kills of the controller", f"{len(found['kills'])}; another one answered after {away}"),
        ("acts that were acknowledged", f"{found['acts']}; without an event {many['acts_missing']}"),
        ("acts that were not", f"{found['unanswered']}; done all the same {found['unanswered_done']}"),
        ("records of the audit log", f"{found['records']}; without an event {many['records_missing']}"),
        ("told live, as a watcher saw it", f"{found['live']}; lost {many['live_lost']}, and {moment}"),
        ("events that came", f"{found['received']}; more than once, under one id {found['twice']}"),
        ("events under two ids", f"{many['renamed']}; others under one id {many['altered']}"),
        ("unknown to the audit log", f"{many['unknown']}; with a wrong signature {found['forged']}"),
        ("overtaken by a later act", f"{found['overtaken']}, in {found['subjects']} subjects"),
        ("waited when the receiver was back", f"{found['waiting']}; {last}"),
        ("the store at its largest", f"{found['store_bytes_most'] / 1e6:.1f} MB"),
        ("requests of a client meanwhile", f"{found['requests']}; answered {found['answered']}"),
    ):
        table.add_row(what, figure)
    return table


@click.command()
@click.option("--down", type=click.FloatRange(10, 3600), default=DOWN_S, show_default=True, help="Seconds.")
@click.option("--acts", type=click.FloatRange(0.1, 10), default=ACTS_PER_S, show_default=True, help="A second.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("loadtest/results/outage.json"))
def main(down: float, acts: float, json_path: Path) -> None:
    """Measure; exit 1 when an event is lost or has two ids, or when a client has no answer."""
    out = Console()
    try:
        with interrupt.raised():
            found = measure(down, acts, out)
    except (BenchError, RouterError) as error:
        raise click.ClickException(str(error)) from error
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.print(_table(found))
    out.print(f"written to {json_path}")
    if not _holds(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
