"""An admin service for tests: a real gRPC server before a lifecycle that only remembers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from click.testing import CliRunner, Result

from router.app.cli import main
from router.control.events import Events
from router.control.ledger import Submitted
from router.control.ledger_file import Actual
from router.control.records import (
    AuditRecord,
    Case,
    Entry,
    ModelView,
    Order,
    PromotionPlan,
    Swapped,
    VersionRecord,
)
from router.core.audit import Verified
from router.core.fingerprint import of_version
from router.core.gate import Distribution, Outcome, Report, Verdict
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import Route, Version, VersionState, VersionTable
from router.core.version import Stage
from router.edge.admin import Admin, serve_admin
from router.errors import Conflict, NoRoom, NotFound, Refused
from router.pb import admin_pb2 as pb
from router.pb.story_pb2 import ExplainRequest, Stories, Story
from router.serving.quarantine import Suspect
from tests.fake_challenges import FakeChallenges
from tests.server import free_port

HEAD = "ab" * 32
GATES = (
    Outcome("signature", Verdict.PASS, "as the champion's", blocks=True),
    Outcome("exam", Verdict.PASS, "not worse", True, {"accuracy": 0.9712, "rows": 2000.0}, {"metric": "accuracy"}),
    Outcome("speed", Verdict.WARN, "p99 is [bold]near[/] its limit", False, {"p99_ms": 9.5}),
    Outcome("consistency", Verdict.SKIP, "no champion"),
)
TIMES = Distribution("difference", "ms", (-float("inf"), 0.0, 1.0, 2.0, 4.0, float("inf")), (0, 120, 30, 0, 2))


def report(model: str, number: str, kind: str = "test", passed: bool = True) -> Report:
    """With figures that are no numbers, and words that look like markup."""
    bad = Outcome("contract", Verdict.FAIL, "NaN in [red]y[/]", True, {"worst": float("nan")})
    outcomes = GATES if passed else (*GATES, bad)
    distributions = (TIMES,) if kind == "warm" else ()
    return Report(kind, model, number, "d" * 64, outcomes, 1.7e9, 2.5, "1", "c" * 64, "e" * 64, distributions)


class FakeLifecycle(FakeChallenges):
    """Two models: `a` with the versions 1 (champion), 2 and 3, and `b`. Version 3 of `a` fails whatever
    it is put through.

    A change waits while `gate` is closed.
    """

    def __init__(self, started: bool = True) -> None:
        super().__init__()
        self.started = started
        self.events = Events()
        self.gate = threading.Event()
        self.gate.set()
        self.waits = threading.Event()
        self.orders: list[tuple[str, Order]] = []
        self.switched: list[tuple[str, bool]] = []
        self.frozen: frozenset[str] = frozenset()
        self.records = {
            (model, number): VersionRecord(model, number, f"{number}" * 64, stage, "first", 1.7e9, "ada")
            for model, number, stage in (
                ("b", "1", Stage.CHAMPION),
                ("a", "3", Stage.FOUND),
                ("a", "2", Stage.READY),
                ("a", "1", Stage.CHAMPION),
            )
        }
        self.table = VersionTable(7, {name: self._route(name, "1", None) for name in ("b", "a")})

    @staticmethod
    def _route(name: str, champion: str, standby: str | None, **more: Any) -> Route:
        numbers = {number for number in (champion, standby) if number}
        versions = {number: Version(name, number, "d", "/p", VersionState.READY) for number in sorted(numbers)}
        return Route(name, champion, versions, standby=standby, **more)

    def _find(self, model: str, number: str = "") -> Route:
        if model not in self.table.routes:
            raise NotFound(f"unknown model '{model[:200]}'")
        if number and (model, number) not in self.records:
            raise NotFound(f"model '{model}' has no version {number[:50]}")
        return self.table.routes[model]

    async def _wait(self, what: str, order: Order) -> None:
        self.orders.append((what, order))
        while not self.gate.is_set():
            self.waits.set()
            await asyncio.sleep(0.001)

    def versions(self, model: str = "") -> Sequence[ModelView]:
        """As the table has it."""
        if model:
            self._find(model)
        return [
            ModelView(
                name,
                tuple(record for (of, _), record in self.records.items() if of == name),
                route.aliases,
                name in self.frozen or EVERYTHING in self.frozen,
                route.champion,
                route.standby,
                route.split,
                route.shadows,
                tuple([each for each in self.cases.values() if each.model == name and each.open]),
            )
            for name, route in self.table.routes.items()
            if model in ("", name)
        ]

    async def load(self, model: str, number: str = "", order: Order = Order()) -> None:  # noqa: B008
        """Version 3 does not fit."""
        self._find(model, number)
        await self._wait("load", order)
        if number == "3":
            raise NoRoom("version 3 needs 300 MB, 200 MB are free")

    async def unload(self, model: str, number: str = "", order: Order = Order()) -> None:  # noqa: B008
        """The champion stays while it is one."""
        route = self._find(model, number)
        await self._wait("unload", order)
        if number == route.champion:
            raise Refused(f"version {number} is champion: promote another first")

    async def test(self, model: str, number: str, order: Order) -> Report:
        """Tells its way."""
        return await self._try("test", model, number, order)

    async def warm(self, model: str, number: str, order: Order) -> Report:
        """Tells its way."""
        return await self._try("warm", model, number, order)

    async def _try(self, kind: str, model: str, number: str, order: Order) -> Report:
        self._find(model, number)
        self.events.tell("moved", model, number, f"version {number} is {kind}ed", stage=kind)
        self.events.tell("progress", model, number, "samples 1 of 2", samples=1)
        await self._wait(kind, order)
        self.events.tell("gate", model, number, "exam: pass", gate="exam")
        return report(model, number, kind, number != "3")

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """Version 3 is in its own way."""
        route = self._find(model, number)
        obstacles = ("version 3 has [bold]not[/] passed its gates",) if number == "3" else ()
        evidence = (report(model, number),) if number == "2" else ()
        moves = ("all requests go from version 1 to version 2",)
        back = f"router rollback {model}"
        return PromotionPlan(
            model,
            number,
            obstacles,
            evidence,
            3_000_000,
            2_500_000_000,
            route.champion,
            route.standby,
            "1",
            moves,
            back,
        )

    async def promote(
        self,
        model: str,
        number: str,
        order: Order,
        expected: str = "",
        override: bool = False,
        canary: bool = False,
    ) -> Swapped | Case:
        """Version 3 needs an override."""
        route = self._find(model, number)
        if expected and expected != route.champion:
            raise Conflict(f"ada made version {route.champion} champion of '{model}' before: look again")
        if number == "3" and not override:
            raise Refused("version 3 has not passed its gates")
        if model in self.frozen or EVERYTHING in self.frozen:
            raise Refused(f"promotions of '{model}' are frozen")
        strategy = "canary" if canary else "swap"
        if model in self.asks:
            return self.opened(CaseKind.REQUEST, model, number, order, strategy=strategy, approvals=1, given=[])
        if canary:
            await self._wait("canary", order)
            return self.opened(CaseKind.ROLLOUT, model, number, order)
        return await self._swap("promote", model, number, order)

    async def rollback(self, model: str, number: str, order: Order, expected: str = "") -> Swapped:  # noqa: ARG002
        """To the standby, if there is one."""
        route = self._find(model, number)
        if not number and route.standby is None:
            raise Refused(f"model '{model}' has no standby: name a version")
        return await self._swap("rollback", model, number or str(route.standby), order)

    async def _swap(self, what: str, model: str, number: str, order: Order) -> Swapped:
        await self._wait(what, order)
        was = self.table.routes[model].champion
        generation = self.table.generation + 1
        self._put(generation, model, champion=number, standby=was)
        self.events.tell("swapped", model, number, f"generation {generation} serves", generation)
        return Swapped(generation, model, number, was, was, 0.034)

    def _put(self, generation: int, model: str, **changed: Any) -> None:
        route = replace(self.table.routes[model], **changed)
        self.table = VersionTable(generation, {**self.table.routes, model: route})

    async def freeze(self, model: str, on: bool, order: Order) -> None:
        """One or all."""
        if model:
            self._find(model)
        await self._wait("freeze", order)
        self.frozen = self.frozen | {model} if on else self.frozen - {model}

    async def set_alias(self, model: str, alias: str, number: str, order: Order) -> int:
        """Keep it."""
        route = self._find(model, number)
        await self._wait("alias", order)
        aliases = {name: of for name, of in route.aliases.items() if name != alias}
        self._put(self.table.generation + 1, model, aliases={**aliases, alias: number} if number else aliases)
        return self.table.generation

    async def set_fallback(self, model: str, on: bool, order: Order = Order()) -> None:  # noqa: B008
        """Remember; `b` has none."""
        if model == "b":
            raise Refused("model 'b' has no fallback")
        self.orders.append(("fallback", order))
        self.switched.append((model, on))


class FakeDatabase:
    """Some reports, and two records of the audit log; `broken`: its second was changed."""

    def __init__(self, lifecycle: FakeLifecycle) -> None:
        self._lifecycle = lifecycle

    broken = False
    kept = (report("a", "2"), report("a", "3", "warm", passed=False))

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> Sequence[Report]:
        """Those that fit."""
        found = [
            each
            for each in self.kept
            if each.model == model and number in ("", each.number) and kind in ("", each.kind)
        ]
        return found[:last] if last else found

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> Sequence[Case]:
        """Those of the lifecycle."""
        fits = [
            each
            for each in reversed(self._lifecycle.cases.values())
            if model in ("", each.model) and number in ("", each.number) and kind in ("", each.kind)
        ]
        return fits[:last] if last else fits

    def audit(self, model: str = "", last: int = 100) -> Sequence[AuditRecord]:
        """Those that fit."""
        acts = (
            Entry(1.7e9, "ada", "promote", "a", "2", "[bold]better[/]", {"champion": "1"}, {"champion": "2", "x": 1}),
            Entry(1.7e9, "bob", "freeze", EVERYTHING, "", "holidays"),
        )
        found = [AuditRecord(place + 1, act, "00" * 32, HEAD) for place, act in enumerate(acts)]
        return [each for each in found if model in ("", each.entry.model) or not each.entry.model][-last:]

    def verify(self, head: str = "") -> Verified:
        """Whole, unless it is told otherwise."""
        if head and head != HEAD:
            return Verified(False, 2, HEAD, "the head that was noted is not in the log")
        return Verified(not self.broken, 2, HEAD, "record 2 was changed" if self.broken else "")


class FakeLedger:
    """Knows request `r`."""

    def __init__(self) -> None:
        self.came: list[Actual] = []

    async def submit(self, model: str, actuals: Sequence[Actual]) -> Submitted:  # noqa: ARG002
        """Remember."""
        self.came += actuals
        known = [each for each in actuals if each.request_id == "r"]
        return Submitted(len(known), tuple([each.request_id for each in actuals if each.request_id != "r"]))


class FakeQuarantine:
    """Two suspects, forgotten as soon as it is asked for."""

    forgotten = True

    def __init__(self) -> None:
        known = of_version(FakeLifecycle().table.routes["a"].versions["1"]) | 5
        self._suspects = [Suspect(known, 2, 9), Suspect(7, 1, 8)]

    def suspects(self) -> list[Suspect]:
        """All of them."""
        return self._suspects

    def ask_to_forget(self) -> None:
        """Forget them."""
        self._suspects = []


async def explain(wanted: ExplainRequest) -> Stories:
    """One story of request `a` to model `m`."""
    fits = wanted.id in ("", "a") and wanted.model in ("", "m")
    return Stories(stories=[Story(id="a", model="m")] if fits else [], kept=9)


class Served:
    """A service that runs in a thread. `stop` may be called early."""

    def __init__(self, lifecycle: FakeLifecycle, *more: Any, access: Any = None, credentials: Any = None) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.lifecycle = lifecycle
        self.database = FakeDatabase(lifecycle)
        self.ledger = FakeLedger()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        admin = Admin(
            lifecycle,
            lambda: pb.Status(version="9", ready=True),
            explain,
            FakeQuarantine(),  # type: ignore[arg-type]
            *(more or (None,)),
            database=self.database,
            ledger=self.ledger,
        )
        self._server = self.run(serve_admin(self.address, admin, access, credentials))

    def run(self, work: Any) -> Any:
        """On the loop of the service."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def router(self, *words: str, **environment: str) -> Result:
        """What a command says of this service."""
        return CliRunner().invoke(main, list(words), env={"ROUTER_ADMIN": self.address, **environment})

    def stop(self, grace_s: float = 0) -> None:
        """The port is closed."""
        self.run(self._server.stop(grace_s))

    def end(self) -> None:
        """Nothing is left."""
        self.lifecycle.gate.set()
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@contextmanager
def served(*more: Any, lifecycle: FakeLifecycle | None = None, **options: Any) -> Iterator[Served]:
    """A service that answers."""
    service = Served(lifecycle or FakeLifecycle(), *more, **options)
    try:
        yield service
    finally:
        service.end()
