"""Retraining: what begins a run, how it ends, what is kept of it, and what outlives the controller."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.config import RetrainingSettings
from router.control.events import Event
from router.control.records import Case, Order
from router.control.retraining import AT_ONCE, TROUBLE_S, Retraining
from router.control.retraining_command import Ended, Flooded, Job
from router.control.retraining_files import StateFiles
from router.core.gate import Outcome, Report, Verdict
from router.core.lineage import HYPERPARAMETER_PREFIX, LINEAGE, RETRAINED
from router.core.retraining import Trigger
from router.core.standing import CaseKind
from router.errors import Conflict, NotFound, NotReady, Refused
from tests.control.lifecycle_fakes import House, champions, run, settled, stage, started

BOB = Order("bob", "the data have moved")
COMMAND = {"command": ["train", "--well"]}


class FakeRunner:
    """Runs nothing: each run waits at its gate, then does what it is told and ends so."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.ends = Ended()
        self.floods = 0
        self.cancelled: list[str] = []
        self.left: list[tuple[str, str]] = []
        self.open = True
        """New gates are."""
        self.does: Callable[[Path], object] = self.writes("fresh")

    @staticmethod
    def writes(content: str, name: str = "model.onnx") -> Callable[[Path], object]:
        """What a command that writes one file does."""
        return lambda output: (output / name).write_text(content)

    async def run(self, job: Job, flooded: Flooded) -> Ended:
        """At its gate."""
        self.jobs.append(job)
        gate = self.gates.setdefault(job.environment["ROUTER_RUN_ID"], asyncio.Event())
        if self.open:
            gate.set()
        if self.floods:
            flooded(self.floods)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(job.environment["ROUTER_RUN_ID"])
            raise
        self.does(Path(job.environment["ROUTER_OUTPUT_DIR"]))
        return self.ends

    def end_left(self, name: str, value: str) -> int:
        """Two."""
        self.left.append((name, value))
        return 2


class Family(House):
    """Its gates find of every version that it is its parent trained anew."""

    def test(self, *given: Any, **named: Any) -> Report:
        """With a lineage."""
        report = super().test(*given, **named)
        facts = {"path": RETRAINED, "parent": "1", f"{HYPERPARAMETER_PREFIX}alpha": "0.5"}
        return replace(
            report, outcomes=(*report.outcomes, Outcome(LINEAGE, Verdict.PASS, "the same graph", facts=facts))
        )


class World:
    """A server with models of one version, a policy each, and a clock that is set."""

    def __init__(self, root: Path, *models: str) -> None:
        self.house = Family(root, *(models or ("a",)))
        self.house.warmth.set()
        self.root = root
        self.runner = FakeRunner()
        self.files = StateFiles(root / "state")
        self.told: list[Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, policies: Mapping[str, Mapping[str, Any]] | None = None, **policy: Any) -> None:
        """Start it; the policy is that of `a`."""
        self.policies = {
            model: RetrainingSettings.model_validate(each)
            for model, each in ({"a": policy} if policies is None else policies).items()
        }
        self.life, self.crew = await started(self.house)
        self._retraining()

    def _retraining(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.retraining = Retraining(self.life, self.policies, self.files, self.runner, lambda: self.house.now)
        self.tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self.retraining.listen())]

    async def _listen(self) -> None:
        async for event in self.life.events.watch():
            if event.kind == "retraining":
                self.told.append(event)

    async def again(self) -> None:
        """The controller was killed, and is started again; workers serve on."""
        await asyncio.sleep(0)
        self.life = self.house.lifecycle()
        await self.life.start()
        for worker in self.crew:
            await self.life.join(worker)
        self._retraining()

    async def look(self, seconds: float = 0.0) -> None:
        """Later."""
        self.house.now += seconds
        await asyncio.sleep(0.001)
        await self.retraining.look()

    async def decline(self, kind: str = "drift", status: str = "red", number: str = "1") -> None:
        """What a monitor tells."""
        await asyncio.sleep(0.001)
        self.life.events.tell(kind, "a", number, f"{kind} is {status}", status=status)
        await asyncio.sleep(0.001)

    def runs(self, model: str = "a") -> list[Case]:
        """Newest first."""
        return self.house.cases(model, "", CaseKind.RETRAINING)

    @property
    def last(self) -> Case:
        """The newest run of `a`."""
        return self.runs()[0]

    async def over(self) -> Case:
        """The newest run, once it has ended."""
        await settled(lambda: bool(self.runs()) and not self.last.open)
        await asyncio.sleep(0.005)  # what follows from its end
        return self.last


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One model."""
    return World(tmp_path)


# ---- what begins a run ----


def test_a_decline_begins_a_run_that_ends_with_a_version(world: World) -> None:
    """The command knows what it needs; its version has its lineage; everything is told; the champion serves on."""

    async def test() -> None:
        await world.begin(**COMMAND, on_drift="red", timeout_s=60, then="test")
        (world.root / "state/recordings/a").mkdir(parents=True)
        (world.root / "state/recordings/a/x.parquet").touch()
        await world.decline()
        await world.look()
        case = await world.over()
        (job,) = world.runner.jobs
        assert (job.command, job.timeout_s) == (("train", "--well"), 60.0)
        assert job.environment == {
            "ROUTER_MODEL": "a",
            "ROUTER_PARENT_VERSION": "1",
            "ROUTER_TRIGGER": "drift",
            "ROUTER_RUN_ID": "1",
            "ROUTER_MODEL_DIR": str(world.house.root / "a"),
            "ROUTER_RECORDINGS": str(world.root / "state/recordings/a"),
            "ROUTER_OUTPUT_DIR": str(world.root / "state/retraining/a/1/output"),
        }
        parent = world.house.records["a", "1"].digest
        assert (case.state, case.number, case.actor) == ("done", "2", "router")
        assert case.digest == world.house.records["a", "2"].digest
        known = {name: case.body[name] for name in ("trigger", "why", "parent", "parent_digest", "lineage", "declared")}
        assert known == {
            "trigger": "drift",
            "why": "drift is red",
            "parent": "1",
            "parent_digest": parent,
            "lineage": "retrained",
            "declared": {"alpha": "0.5"},
        }
        assert len(case.body["window"]) == 2
        await settled(lambda: len(world.told) == 3)
        assert [(event.facts["state"], event.number) for event in world.told] == [
            ("running", "1"),
            ("brought", "2"),
            ("done", "2"),
        ]
        assert champions(world.life) == {"a": "1"}
        assert stage(world.life, "a", "2") == "ready"
        (shown,) = await world.retraining.shown("a")
        assert [each.fate for each in shown.runs] == ["ready"]
        assert world.retraining.outcomes == {("a", "done"): 1}

    run(test())


@pytest.mark.parametrize("kind", ["drift", "accuracy", "health"])
def test_each_decline_has_its_line(world: World, kind: str) -> None:
    """Only that of the champion, only as bad as the line says."""

    async def test() -> None:
        await world.begin(**COMMAND, **{f"on_{kind}": "red"})
        await world.decline(kind, "yellow")
        await world.decline(kind, "red", number="7")
        await world.decline({"drift": "health"}.get(kind, "drift"), "red")
        await world.look()
        assert not world.runs()
        await world.decline(kind, "red")
        await world.look()
        assert (await world.over()).body["trigger"] == kind

    run(test())


def test_a_schedule_fires_by_the_clock(world: World) -> None:
    """At its minute, once; what fell due while no server ran is not made up for."""

    async def test() -> None:
        world.house.now = 86_400.0 * 100 + 60
        await world.begin(**COMMAND, schedule="0 3 * * *", min_interval_s=0)
        await world.look()
        (shown,) = await world.retraining.shown()
        assert shown.next == 86_400.0 * 100 + 3 * 3600
        await world.look(3 * 3600 - 61)
        assert not world.runs()
        await world.look(1)
        assert (await world.over()).body["trigger"] == "schedule"
        await world.look(60)
        assert len(world.runs()) == 1
        await world.again()
        await world.look(3 * 86_400)
        assert len(world.runs()) == 1
        (shown,) = await world.retraining.shown()
        assert shown.next == 86_400.0 * 104 + 3 * 3600

    run(test())


def test_the_interval_is_kept_though_the_controller_begins_anew(world: World) -> None:
    """The decline waits, and is shown."""

    async def test() -> None:
        await world.begin(**COMMAND, on_drift="red", min_interval_s=100)
        await world.retraining.begin("a", BOB)
        await world.over()
        await world.again()
        await world.decline()
        await world.look(60)
        (shown,) = await world.retraining.shown("a")
        assert (dict(shown.asks), shown.rests_s, len(world.runs())) == ({Trigger.DRIFT: "drift is red"}, 40.0, 1)
        await world.look(40)
        await settled(lambda: len(world.runs()) == 2)

    run(test())


def test_a_run_by_hand_is_in_the_audit_log(world: World) -> None:
    """With who and why, at once, whatever the interval."""

    async def test() -> None:
        await world.begin(**COMMAND, min_interval_s=1e6)
        for _ in range(2):
            await world.retraining.begin("a", BOB)
            await world.over()
            world.runner.does = world.runner.writes("fresher")
        acts = [entry for entry in world.house.entries if entry.action == "retrain" and entry.actor == "bob"]
        assert [(each.reason, each.after["trigger"]) for each in acts] == [("the data have moved", "hand")] * 2

    run(test())


def test_one_at_a_time(world: World) -> None:
    """Of a model; a decline that comes meanwhile asks for the next."""

    async def test() -> None:
        await world.begin(**COMMAND, on_drift="red", min_interval_s=0)
        world.runner.open = False
        case = await world.retraining.begin("a", BOB)
        assert world.retraining.running == {"a": True}
        with pytest.raises(Conflict, match="retraining 1 of model 'a' is under way, begun by bob"):
            await world.retraining.begin("a", BOB)
        await world.decline()
        await world.look()
        assert len(world.runs()) == 1
        await settled(lambda: bool(world.runner.gates))
        world.runner.open = True
        world.runner.gates[str(case.id)].set()
        await world.over()
        world.runner.does = world.runner.writes("fresher")
        await world.look()
        assert (await world.over()).body["trigger"] == "drift"
        assert world.retraining.running == {"a": False}

    run(test())


def test_commands_of_many_models_take_turns(tmp_path: Path) -> None:
    """So many at once; the others are due until it is their turn."""

    async def test() -> None:
        names = [f"m{i}" for i in range(AT_ONCE + 2)]
        world = World(tmp_path, *names)
        world.house.now = 86_400.0
        await world.begin({name: {**COMMAND, "schedule": "* * * * *", "min_interval_s": 0} for name in names})
        world.runner.open = False
        await world.look()
        await world.look(60)
        await settled(lambda: len(world.runner.jobs) == AT_ONCE)
        with pytest.raises(Refused, match="other models are being retrained now"):
            await world.retraining.begin(names[-1], BOB)
        world.runner.gates["1"].set()
        await settled(lambda: world.retraining.outcomes.total() == 1)
        await world.look()
        await settled(lambda: len(world.runner.jobs) == AT_ONCE + 1)
        await world.retraining.close()

    run(test())


def test_what_cannot_begin_is_told(world: World) -> None:
    """No such model, no policy, nothing to stop."""

    async def test() -> None:
        await world.begin({})
        with pytest.raises(NotFound, match="unknown model 'b'"):
            await world.retraining.begin("b", BOB)
        with pytest.raises(Refused, match=r"no policy of retraining: write \[retraining\.a\] into router\.toml"):
            await world.retraining.begin("a", BOB)
        with pytest.raises(NotFound, match="no retraining of model 'a' is under way"):
            await world.retraining.stop("a", BOB)
        (shown,) = await world.retraining.shown("a")
        assert (shown.settings, shown.runs) == (None, ())

    run(test())


# ---- how it ends ----


@pytest.mark.parametrize(
    ("ends", "writes", "state", "text"),
    [
        (Ended(error="No such file or directory"), None, "unstarted", "the command cannot be started: train: No such"),
        (Ended(3, tail=b"begun\nno data\n"), None, "failed", "the command failed, exit code 3: no data"),
        (Ended(-9), None, "failed", "the command failed, signal SIGKILL"),
        (Ended(-15, timed_out=True), None, "timeout", "the command was ended after 3600 s (timeout_s)"),
        (Ended(), None, "empty", "the command ended well and brought nothing"),
        (Ended(), ("x", "notes.txt"), "empty", "the command ended well and brought 1 file, but no model.onnx"),
        (Ended(), ("x", "config.pbtxt"), "empty", "the command ended well and brought 1 file, but no model.onnx"),
        (Ended(), ("weights of a 1", "model.onnx"), "same", "the same model: its files are those of version 1"),
    ],
)
def test_what_brings_no_version_is_told_once(
    world: World, ends: Ended, writes: tuple[str, str] | None, state: str, text: str
) -> None:
    """With the reason; nothing is left but the last of the output, and the champion serves on."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.ends = ends
        world.runner.does = world.runner.writes(*writes) if writes else lambda output: None  # noqa: ARG005
        await world.retraining.begin("a", BOB)
        case = await world.over()
        assert (case.state, case.number) == (state, "")
        assert case.body["text"].startswith(text)
        await settled(lambda: len(world.told) == 2)
        assert world.told[-1].text == f"retraining 1 has ended ({state}): {case.body['text']}"
        assert champions(world.life) == {"a": "1"}
        assert not (world.root / "state/retraining/a/1/output").exists()
        assert sorted(path.name for path in (world.house.root / "a").iterdir()) == ["1"]

    run(test())


@pytest.mark.parametrize("step", ["begin", "place"])
@pytest.mark.parametrize(("number", "state"), [(errno.ENOSPC, "full"), (errno.EACCES, "failed")])
def test_a_disk_that_takes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, number: int, state: str
) -> None:
    """Before the command or after it."""

    async def test() -> None:
        await world.begin(**COMMAND)

        def broken(*_: object) -> None:
            raise OSError(number, {errno.ENOSPC: "No space left on device", errno.EACCES: "Permission denied"}[number])

        monkeypatch.setattr(world.files, step, broken)
        await world.retraining.begin("a", BOB)
        case = await world.over()
        assert case.state == state
        assert ("No space left" in case.body["text"]) == (state == "full")
        assert champions(world.life) == {"a": "1"}

    run(test())


def test_a_flood_is_an_event_and_no_end(world: World) -> None:
    """The version comes all the same."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.floods = 20 << 20
        await world.retraining.begin("a", BOB)
        assert (await world.over()).state == "done"
        floods = [event.text for event in world.told if "flood" in event.facts]
        assert floods == ["the output of retraining 1 is a flood, 20 MiB so far: it is read slowly from now on"]

    run(test())


def test_a_version_that_its_gates_reject(world: World) -> None:
    """The run says why; a decline that goes on asks for another, after the interval."""

    async def test() -> None:
        await world.begin(**COMMAND, on_drift="red", min_interval_s=100)
        world.house.failing["a/2"] = "the exam: worse"
        await world.decline()
        await world.look()
        case = await world.over()
        assert (case.state, case.number, case.body["text"]) == (
            "rejected",
            "2",
            "version 2 has failed: exam: the exam: worse",
        )
        (shown,) = await world.retraining.shown("a")
        assert (shown.runs[0].fate, dict(shown.asks)) == ("rejected", {Trigger.DRIFT: "drift is red"})
        world.runner.does = world.runner.writes("better")
        await world.look(100)
        case = await world.over()
        assert (case.state, case.number) == ("done", "3")
        await world.look(1000)
        assert len(world.runs()) == 2

    run(test())


@pytest.mark.parametrize(("then", "fate"), [("warm", "ready"), ("challenge", "challenger"), ("promote", "champion")])
def test_its_version_goes_as_far_as_is_wanted(world: World, then: str, fate: str) -> None:
    """Whatever the model's settings want of other new versions."""

    async def test() -> None:
        house = '[lifecycle]\non_new_version = "test"\npromote_by = "swap"\n[ledger]\nenabled = true\n'
        world.house.toml("a", house)
        await world.begin(**COMMAND, then=then)
        await world.retraining.begin("a", BOB)
        assert (await world.over()).state == "done"
        (shown,) = await world.retraining.shown("a")
        assert shown.runs[0].fate == fate
        assert [each[1] for each in world.house.tested] == ["1", "2"]

    run(test())


def test_a_run_is_stopped_by_hand(world: World) -> None:
    """Its command ends; the act is in the audit log."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: bool(world.runner.jobs))
        ended = await world.retraining.stop("a", Order("eve", "too long"))
        assert (ended.state, ended.body["text"], world.runner.cancelled) == (
            "stopped",
            "stopped by eve (too long)",
            ["1"],
        )
        assert [entry.actor for entry in world.house.entries if entry.action == "retrain"] == ["bob", "eve"]
        assert world.retraining.running == {"a": False}

    run(test())


def test_what_is_in_its_gates_is_not_stopped(world: World) -> None:
    """It is a version like any other by then."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.house.go_on.clear()
        world.house.trying.clear()
        await world.retraining.begin("a", BOB)
        await settled(world.house.trying.is_set)
        with pytest.raises(Refused, match="retraining 1 has brought version 2, which is being t"):
            await world.retraining.stop("a", BOB)
        world.house.go_on.set()
        assert (await world.over()).state == "done"

    run(test())


def test_whoever_goes_away_leaves_what_was_asked_for(world: World) -> None:
    """The run that begins has its command, the run that is stopped its end."""

    async def test() -> None:
        await world.begin(**COMMAND)
        await world.look()
        asking = asyncio.ensure_future(world.retraining.begin("a", BOB))
        await asyncio.sleep(0)
        asking.cancel()
        assert (await world.over()).state == "done"
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: len(world.runner.jobs) == 2)
        asking = asyncio.ensure_future(world.retraining.stop("a", BOB))
        await asyncio.sleep(0)
        asking.cancel()
        assert (await world.over()).state == "stopped"

    run(test())


def test_a_run_that_ends_while_it_is_stopped_has_one_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own, which is stored and told; whoever wanted to stop it learns that it was too late."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: bool(world.runner.jobs))
        world.runner.ends = Ended(1)
        real, ends = world.life.retrainings.end, 0

        async def end(*given: Any) -> Case | None:
            nonlocal ends
            ends += 1
            return await real(*given)

        monkeypatch.setattr(world.life.retrainings, "end", end)
        async with world.life._turns.lock:
            world.runner.gates["1"].set()
            await settled(lambda: ends == 1)  # it waits for its turn
            stopping = asyncio.ensure_future(world.retraining.stop("a", BOB))
            await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="retraining 1 ended by itself meanwhile: `router retrain a` tells how"):
            await stopping
        await settled(lambda: len(world.told) == 2)
        assert (world.last.state, world.told[-1].facts["state"]) == ("failed", "failed")
        assert world.retraining.outcomes == {("a", "failed"): 1}

    run(test())


def test_what_is_being_put_into_the_repository_is_not_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tidies up behind it: the version is there, and is tried like any other."""

    async def test() -> None:
        await world.begin(**COMMAND)
        real, placing, go_on = world.files.place, threading.Event(), threading.Event()

        def slow(*given: Any) -> int:
            placing.set()
            assert go_on.wait(10)
            return real(*given)

        monkeypatch.setattr(world.files, "place", slow)
        await world.retraining.begin("a", BOB)
        await settled(placing.is_set)
        stopping = asyncio.ensure_future(world.retraining.stop("a", BOB))
        await asyncio.sleep(0.01)
        go_on.set()
        with pytest.raises(Refused, match="retraining 1 has brought version 2"):
            await stopping
        assert (await world.over()).state == "done"
        await settled(lambda: len(world.told) == 3)
        assert [event.facts["state"] for event in world.told] == ["running", "brought", "done"]

    run(test())


def test_trouble_of_one_model_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is said once, however often it is tried."""

    async def test() -> None:
        world = World(tmp_path, "a", "b")
        world.house.now = 86_400.0
        await world.begin({"a": {"webhook": True}, "b": {**COMMAND, "schedule": "* * * * *", "min_interval_s": 0}})
        await world.retraining.begin("a", BOB)
        world.house.put("a", 2)
        await world.life.refresh()

        tried = 0

        async def refused(_: Case) -> Case:
            nonlocal tried
            tried += 1
            raise Refused("the change was not made: the disk is full")

        with monkeypatch.context() as patched, capture_logs() as said:
            patched.setattr(world.life.retrainings, "put", refused)
            for _ in range(3):
                await world.look()
            assert tried == 1
            await world.look(60)
            assert tried == 2
        assert [len(world.runs(model)) for model in "ab"] == [1, 1]
        assert len([line for line in said if line["event"] == "a retraining cannot go on"]) == 1
        await world.look(TROUBLE_S)
        await settled(lambda: not world.runs("a")[0].open)
        await world.retraining.close()

    run(test())


def test_a_clock_that_was_set_back_is_the_clock_of_the_schedule(world: World) -> None:
    """What would have been due by the wrong one is not waited for."""

    async def test() -> None:
        world.house.now = 86_400.0 * 100
        await world.begin(**COMMAND, schedule="0 3 * * *", min_interval_s=0)
        await world.look()
        await world.look(-86_400.0 * 50)
        (shown,) = await world.retraining.shown()
        assert shown.next == 86_400.0 * 50 + 3 * 3600

    run(test())


# ---- others train ----


@pytest.mark.parametrize("policy", [{"webhook": True}, {}])
def test_others_train_and_their_version_is_taken(world: World, policy: dict[str, Any]) -> None:
    """The next that comes, with its lineage, as far as is wanted."""

    async def test() -> None:
        await world.begin(**policy, on_drift="red", then="test", timeout_s=100)
        await world.decline()
        await world.look()
        assert (world.last.state, world.last.body["action"]) == ("asked", "webhook" if policy else "event")
        await settled(lambda: bool(world.told))
        assert world.told[0].facts["action"] == world.last.body["action"]
        world.house.put("a", 5)
        await world.life.refresh()
        await world.look(99)
        case = await world.over()
        assert (case.state, case.number, case.body["lineage"]) == ("done", "5", "retrained")
        assert not world.runner.jobs

    run(test())


def test_others_who_bring_nothing_are_not_waited_for_for_ever(world: World) -> None:
    """Nor stopped from bringing it later."""

    async def test() -> None:
        await world.begin(webhook=True, timeout_s=100)
        await world.retraining.begin("a", BOB)
        await world.look(99)
        assert world.last.open
        await world.look(1)
        case = await world.over()
        assert (case.state, case.body["text"]) == ("timeout", "no new version has come within 100 s")

    run(test())


# ---- what outlives the controller ----


def test_a_run_under_way_when_the_controller_was_killed_is_interrupted(world: World) -> None:
    """Its processes are ended, by the folder that only they know; its folder goes; another may begin."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: bool(world.runner.jobs))
        await world.again()
        await world.look()
        case = await world.over()
        assert case.state == "interrupted"
        assert case.body["text"] == "interrupted: the controller had ended, and 2 of its processes were ended"
        assert world.runner.left == [("ROUTER_OUTPUT_DIR", str(world.root / "state/retraining/a/1/output"))]
        world.runner.open = True
        await world.retraining.begin("a", BOB)
        assert (await world.over()).state == "done"

    run(test())


def test_a_version_that_was_in_the_repository_goes_on(world: World) -> None:
    """Though its gates were broken off; the run ends as if nothing had been."""

    async def test() -> None:
        await world.begin(**COMMAND, then="warm")
        world.house.go_on.clear()
        world.house.trying.clear()
        await world.retraining.begin("a", BOB)
        await settled(world.house.trying.is_set)
        await world.retraining.close()
        world.house.go_on.set()
        await settled(lambda: stage(world.life, "a", "2") == "ready")
        assert world.last.state == "brought"
        await world.again()
        await world.look()
        case = await world.over()
        assert (case.state, case.number) == ("done", "2")

    run(test())


def test_others_are_still_waited_for(world: World) -> None:
    """The time goes on as it was."""

    async def test() -> None:
        await world.begin(webhook=True, timeout_s=100)
        await world.retraining.begin("a", BOB)
        await world.again()
        await world.look(99)
        assert world.last.open
        world.house.put("a", 2)
        await world.life.refresh()
        await world.look()
        assert (await world.over()).number == "2"

    run(test())


def test_the_controller_that_stops_ends_its_commands(world: World) -> None:
    """Their runs are told to be interrupted when it is back."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: bool(world.runner.jobs))

        async def pause(_: float) -> None:
            await asyncio.Event().wait()

        working: Coroutine[Any, Any, None] = world.retraining.work(pause)
        task = asyncio.ensure_future(working)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.runner.cancelled == ["1"]
        assert world.last.open
        with pytest.raises(NotReady, match="the server stops"):
            await world.retraining.begin("a", BOB)

    run(test())


def test_an_end_that_cannot_be_stored_is_owed(world: World) -> None:
    """The store is full: the run is over all the same, and that is stored with the next change."""

    async def test() -> None:
        await world.begin(**COMMAND)
        world.runner.open = False
        await world.retraining.begin("a", BOB)
        await settled(lambda: bool(world.runner.jobs))
        world.house.store_error = Refused("the change was not made: the disk is full")
        world.runner.ends = Ended(1)
        world.runner.gates["1"].set()
        await settled(lambda: not world.retraining.running["a"])
        assert world.last.open
        world.house.store_error = None
        await world.life.freeze("a", True, BOB)
        assert world.last.state == "failed"

    run(test())
