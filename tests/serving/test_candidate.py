"""A version on copies of live runs: what is run, compared and counted, and that no more than a few wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from router.core.bake import compared
from router.core.fingerprint import of_version
from router.core.histogram import RATIOS
from router.core.mirrored import MirroredCall, MirroredRun
from router.core.request import InputHeader
from router.core.table import Version
from router.core.tensor import ANY, TensorSpec, encode_bytes
from router.core.warmup import Accuracy, Figures, Purpose, Source
from router.errors import ModelBroken, ModelFailed
from router.model_settings import ContractSettings, ModelSettings
from router.pb.inference_pb2 import ModelInferRequest
from router.serving.candidate import LOOK_S, MAX_WAITING, Candidate
from router.serving.core_time import CoreTime
from router.serving.inflight import REGION, InFlight, running
from router.version_settings import WarmupSettings
from tests.server import eventually
from tests.serving.fakes import Array, FakeSession, doubled, version

CHAMPION = version("1")
LABELLED = (TensorSpec("label", "INT64", (ANY,)),)


def copy(*callers: Sequence[float], outputs: Mapping[str, Array] | None = None, champion: str = "1") -> MirroredRun:
    """A run of the champion, y = 2x, for callers with these numbers; their ids are "0", "1", …"""
    calls = tuple(
        MirroredCall(
            ModelInferRequest(id=str(index)).SerializeToString(),
            (InputHeader("x", "FP32", (len(numbers),)),),
            (memoryview(np.array(numbers, np.float32).tobytes()),),
        )
        for index, numbers in enumerate(callers)
    )
    if outputs is None:
        outputs = {"y": np.array([2 * number for numbers in callers for number in numbers], np.float32)}
    return MirroredRun("m", champion, calls, outputs, 0.002)


class FakeCoreTime(CoreTime):
    """Of a world's time, all of which its thread has a core, or waits for one."""

    def __init__(self, world: World) -> None:
        self.world = world
        super().__init__()

    def now(self) -> int:
        """Nanoseconds with a core."""
        return self.world.now

    def spent(self) -> tuple[int, int]:
        """With a core, and without one."""
        return self.world.now, self.world.lost


class World:
    """A version that is warmed, with fakes around it."""

    def __init__(
        self,
        function: Callable[[Mapping[str, Array]], list[Array]] = doubled,
        candidate: Version | None = None,
        champion: Version | None = CHAMPION,
        settings: ModelSettings | None = None,
        purpose: Purpose = Purpose.WARM_UP,
        *,
        beside: bool = True,
    ) -> None:
        self.loaded: list[str] = []
        self.words = memoryview(bytearray(REGION * 8)).cast("Q")
        self.now = 0
        self.lost = 0
        self.waits = False
        """Whether the thread waits for a core as long as it has one."""
        self.rests: list[float] = []
        self.session, self.reference = FakeSession(function), FakeSession()
        self.session.during = lambda: self.passes(1_000_000)
        self.reference.during = lambda: self.passes(2_000_000)
        self.broken = ""
        self.version = candidate or version("2")
        settings = settings or ModelSettings(warmup=WarmupSettings(tolerance=0.01))
        self.candidate = Candidate(
            self.version,
            champion,
            settings,
            self.load,
            InFlight(self.words),
            lambda: FakeCoreTime(self),
            purpose=purpose,
            wait=lambda _, seconds: self.rests.append(seconds),
            beside=beside,
        )

    def passes(self, nanoseconds: int) -> None:
        """Time passes."""
        self.now += nanoseconds
        self.lost += nanoseconds if self.waits else 0

    def load(self, wanted: Version) -> FakeSession:
        """A session of either version."""
        if self.broken == wanted.number:
            raise ModelBroken("its file is broken")
        self.loaded.append(wanted.number)
        return self.session if wanted is self.version else self.reference

    def __enter__(self) -> World:
        self.candidate.start()
        eventually(lambda: self.candidate.figures().loaded or self.candidate.figures().failed)
        self.session.runs.clear()
        self.reference.runs.clear()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.candidate.stop(10)

    def ran(self, *runs: MirroredRun) -> Figures:
        """The figures when these live copies have been run too."""
        before, more = self.candidate.figures().total, sum(len(run.calls) for run in runs)
        for run in runs:
            self.candidate.put(run)
        return eventually(lambda: self.at_least(before + more))

    def at_least(self, total: int) -> Figures | None:
        """The figures, once so many requests have been run and nothing is."""
        figures = self.candidate.figures()
        return figures if figures.total >= total and not figures.running_s else None


def test_copies_are_run_together_and_compared() -> None:
    """As the champion ran them; rows, agreement, the champion's time."""
    with World() as world:
        figures = world.ran(copy([1], [2, 3]), copy([4]))
        assert world.session.rows == [3, 1]
        assert (figures.samples[Source.LIVE], figures.rows, figures.errors, figures.broken) == (3, 4, 0, 0)
        (output,) = figures.outputs
        assert (output.name, output.compared, output.agreed) == ("y", 4, 4)
        assert sum(figures.times) == sum(figures.champion_times) == 2
        assert not any(running(world.words))


def test_the_champion_runs_beside_it_by_turns() -> None:
    """On the same input; half the champion's time is a ratio of a half."""
    with World() as world:
        order: list[str] = []
        world.session.during = lambda: (order.append("version"), world.passes(1_000_000))[0]
        world.reference.during = lambda: (order.append("champion"), world.passes(2_000_000))[0]
        figures = world.ran(copy([1]), copy([2]))
        assert order == ["champion", "version", "version", "champion"]
        assert world.reference.rows == [1, 1]
        assert figures.ratios[RATIOS.place(0.5)] == 2


def test_without_a_session_of_the_champion_times_are_not_compared() -> None:
    """It is told in the log; all else goes on."""
    world = World()
    world.broken = "1"
    with capture_logs() as logs, world:
        figures = world.ran(copy([1]))
        assert sum(figures.ratios) == 0
        assert figures.outputs[0].agreed == 1
    assert "the champion cannot be run beside it" in [line["event"] for line in logs]


def test_a_version_that_cannot_be_loaded_says_why() -> None:
    """Nothing is run."""
    world = World()
    world.broken = "2"
    with world:
        assert world.candidate.figures().failed == "its file is broken"
        assert not world.candidate.figures().loaded


def test_a_fault_of_ours_is_told_as_one() -> None:
    """It would look like a version that does nothing."""
    world = World()
    world.load = lambda _: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    world.candidate._load = world.load
    with capture_logs() as logs, world:
        assert "ZeroDivisionError" in world.candidate.figures().failed
    assert [line["event"] for line in logs] == ["a warm-up failed"]


def picky(feeds: Mapping[str, Array]) -> list[Array]:
    """Fails on 13."""
    if 13 in feeds["x"]:
        raise ModelFailed("unlucky")
    return doubled(feeds)


def test_one_bad_request_fails_alone() -> None:
    """The others of its run are run again, each for itself, and compared with their own rows."""
    with World(picky) as world:
        figures = world.ran(copy([1], [13], [2, 3]))
        assert world.session.rows == [4, 1, 1, 2]
        assert (figures.total, figures.errors, figures.first_error) == (3, 1, "unlucky")
        assert (figures.outputs[0].compared, figures.outputs[0].agreed) == (3, 3)
        assert sum(figures.champion_times) == 0  # the champion did not run them so


def test_a_version_whose_rows_may_not_be_joined_runs_each_call_alone() -> None:
    """Whatever the champion did."""
    with World(candidate=version("2", max_size=1)) as world:
        figures = world.ran(copy([1], [2]))
        assert world.session.rows == [1, 1]
        assert figures.outputs[0].agreed == 2


def test_another_answer_is_counted() -> None:
    """By row."""
    with World(lambda feeds: [feeds["x"] * np.where(feeds["x"] > 2, 3, 2).astype(np.float32)]) as world:
        figures = world.ran(copy([1], [2], [3]))
        assert (figures.outputs[0].compared, figures.outputs[0].agreed) == (3, 2)
        assert (figures.errors, figures.broken) == (0, 0)


def test_a_broken_contract_and_another_shape_are_no_answers() -> None:
    """By call, where rows are to be told apart; such outputs are not compared."""
    promised = ModelSettings(contract=ContractSettings(), warmup=WarmupSettings(tolerance=0))
    with World(lambda feeds: [np.where(feeds["x"] == 2, np.nan, feeds["x"] * 2)], settings=promised) as world:
        figures = world.ran(copy([1], [2], [3]))
        assert (figures.total, figures.broken) == (3, 1)
        assert figures.first_error == "output 'y' has nan, which is not finite"
        assert figures.outputs[0].compared == 0
    with World(lambda feeds: [feeds["x"][None]]) as world:
        figures = world.ran(copy([1, 2]))
        assert (figures.broken, figures.first_error) == (1, "output 'y' has shape [1, 2], the champion's [2]")


def test_of_a_control_what_cannot_be_compared_does_not_agree() -> None:
    """By call, where rows are to be told apart: a candidate is judged by nothing else there. Requests count on."""
    promised = ModelSettings(contract=ContractSettings(), warmup=WarmupSettings(tolerance=0))
    control = Purpose.CONTROL
    for_two = lambda feeds: [np.where(feeds["x"] == 2, np.nan, feeds["x"] * 2)]  # noqa: E731
    with World(for_two, settings=promised, purpose=control) as world:
        figures = world.ran(copy([1], [2, 5], [3]))
        assert (figures.total, compared(figures).requests) == (3, 3)
        assert figures.first_error == "output 'y' has nan, which is not finite"
        assert (figures.outputs[0].compared, figures.outputs[0].agreed) == (4, 2)
    with World(purpose=control) as world:
        figures = world.ran(copy([1, 2], outputs={"y": np.zeros((1, 2), np.float32)}), copy([3]))
        assert (figures.total, compared(figures).requests) == (2, 2)
        assert figures.first_error == "output 'y' has shape [1, 2], the champion's [2]"
        assert (figures.outputs[0].compared, figures.outputs[0].agreed) == (3, 1)


def test_what_the_champion_takes_must_be_taken() -> None:
    """An input that the version does not know, or an output that it does not give."""
    other = version("2", inputs=(TensorSpec("z", "FP32", (ANY,)),))
    world = World(candidate=other)
    world.session.function = lambda _: [np.zeros(1, np.float32)]
    with world:
        figures = world.ran(copy([1]))
        assert figures.errors == 1
        assert figures.first_error.startswith("it does not take what the champion takes: unknown input 'x'")
    with World() as world:
        figures = world.ran(copy([1], outputs={"old": np.zeros(1, np.float32)}))
        assert (figures.broken, figures.first_error) == (1, "output 'old' is missing")


def test_texts_are_run_as_texts() -> None:
    """Their raw form is taken apart again; one that is cut off is an error, not a crash."""
    texts = (TensorSpec("x", "BYTES", (ANY,)),)
    candidate = version("2", inputs=texts, outputs=(TensorSpec("y", "BYTES", (ANY,)),))
    with World(lambda feeds: [feeds["x"]], candidate, champion=CHAMPION) as world:
        said = np.array(["ü", "b"], object)

        def run(raw: bytes) -> MirroredRun:
            call = MirroredCall(b"", (InputHeader("x", "BYTES", (2,)),), (memoryview(raw),))
            return MirroredRun("m", "1", (call,), {"y": said}, 0.001)

        assert world.ran(run(encode_bytes(said))).outputs[0].agreed == 2
        figures = world.ran(run(encode_bytes(said)[:-1]))
        assert figures.errors == 1


def test_copies_of_another_version_are_not_for_it() -> None:
    """The champion has changed meanwhile. Nor is any before it is loaded, or when that has failed."""
    with World() as world:
        assert world.candidate.takes(copy([1]))
        assert not world.candidate.takes(copy([1], champion="7"))
    world = World()
    assert not world.candidate.takes(copy([1]))
    world.broken = "2"
    with world:
        assert not world.candidate.takes(copy([1]))


def test_live_copies_come_before_what_is_replayed() -> None:
    """When the source has no more, that is told."""
    with World() as world:
        gate = threading.Event()
        world.session.during = lambda: gate.wait(10) and None
        recorded = iter([copy([10]), copy([11], outputs={})])
        world.candidate.replay(Source.RECORDED, recorded)
        eventually(lambda: world.session.runs)
        world.candidate.put(copy([1]))
        gate.set()
        eventually(lambda: world.candidate.figures().exhausted)
        assert [feeds["x"].tolist() for feeds in world.session.runs] == [[10], [1], [11]]
        figures = world.candidate.figures()
        assert (figures.samples[Source.RECORDED], figures.samples[Source.LIVE]) == (2, 1)
        assert figures.outputs[0].agreed == 3  # where no outputs came the champion beside it said them


def test_who_brings_copies_does_not_wait_for_what_is_read_from_the_disk() -> None:
    """A source may take its time; another source that is wanted meanwhile takes its place."""
    with World() as world:
        gate, asked = threading.Event(), threading.Event()

        def slow() -> Iterator[MirroredRun]:
            asked.set()
            assert gate.wait(10)
            yield copy([10])
            raise AssertionError("nobody wants more of it")

        world.candidate.replay(Source.RECORDED, slow())
        assert asked.wait(10)
        assert world.candidate.put(copy([1]))
        world.candidate.replay(Source.SYNTHETIC, iter([copy([20])]))
        gate.set()
        eventually(lambda: world.candidate.figures().exhausted)
        assert [feeds["x"].tolist() for feeds in world.session.runs] == [[10], [1], [20]]


def test_what_waits_is_bounded() -> None:
    """What comes beyond that is not taken; as soon as one has been run there is room again."""
    with World() as world:
        gate = threading.Event()
        world.session.during = lambda: gate.wait(10) and None
        assert world.candidate.put(copy([1]))
        eventually(lambda: world.session.runs)
        taken = [world.candidate.put(copy([number])) for number in range(MAX_WAITING + 2)]
        assert taken == [True] * MAX_WAITING + [False] * 2
        assert world.candidate.full
        world.candidate.wait_for_room(0)
        gate.set()
        eventually(lambda: not world.candidate.full)
        assert eventually(lambda: world.at_least(MAX_WAITING + 1)).total == MAX_WAITING + 1
        world.candidate.wait_for_room(LOOK_S)  # nothing waits: it returns


def test_one_large_run_waits_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one does not."""
    monkeypatch.setattr("router.serving.candidate.MAX_WAITING_BYTES", 4)
    with World() as world:
        gate = threading.Event()
        world.session.during = lambda: gate.wait(10) and None
        assert world.candidate.put(copy([1]))
        eventually(lambda: world.session.runs)
        assert [world.candidate.put(copy([1, 2, 3])) for _ in range(2)] == [True, False]
        gate.set()
        eventually(lambda: world.at_least(2))


def test_a_run_is_stopped_with_its_version() -> None:
    """If it can be stopped."""
    world = World()
    with world:
        gate = threading.Event()
        world.session.during = lambda: gate.wait(10) and None
        world.candidate.put(copy([1]))
        eventually(lambda: world.session.runs)
        assert not world.candidate.stop(0)
        assert [stop.terminate for stop in world.candidate._stops] == [True, True]
        assert not world.candidate.takes(copy([1]))
        gate.set()


def test_what_runs_is_noted_for_whoever_comes_after() -> None:
    """Of each call of the run its fingerprint, which names the version; while it is loaded, that."""
    world = World()
    seen: list[list[int]] = []
    world.session.during = lambda: seen.append(running(world.words))
    with world:
        assert seen.pop() == [of_version(world.version)]
        world.ran(copy([1], [2]))
        (marks,) = seen
        assert len(set(marks)) == 2
        assert {mark >> 32 for mark in marks} == {of_version(world.version) >> 32}
        assert running(world.words) == []


def test_whoever_runs_is_the_one_that_is_noted() -> None:
    """The champion too, while it is loaded and while it runs beside the version; and how long that takes is told."""
    world = World()
    seen: list[set[int]] = []
    times: list[bool] = []

    def look() -> None:
        seen.append({mark >> 32 << 32 for mark in running(world.words)})
        times.append(world.candidate.figures().running_s > 0)

    world.session.during = world.reference.during = look
    with world:
        world.ran(copy([1], [2]))
        world.ran(copy([3]))
    ours, theirs = {of_version(world.version)}, {of_version(CHAMPION)}
    assert seen == [ours, theirs, theirs, ours, ours, theirs]
    assert all(times)
    assert running(world.words) == []


def test_a_run_of_the_champion_is_stopped_too() -> None:
    """It may hang as any other."""
    world = World()
    with world:
        gate = threading.Event()
        world.reference.during = lambda: gate.wait(10) and None
        world.candidate.put(copy([1]))
        eventually(lambda: world.reference.runs)
        assert not world.candidate.stop(0)
        assert all(stop.terminate for stop in world.reference.stops)
        assert world.reference.stops[-1] is not None
        gate.set()


def test_the_champion_is_not_run_beside_it_where_that_is_not_wanted() -> None:
    """It has crashed the process: outputs are compared all the same."""
    world = World(beside=False)
    with world:
        figures = world.ran(copy([1]))
        assert world.loaded == ["2"]
        assert (sum(figures.ratios), figures.outputs[0].agreed) == (0, 1)


def test_a_run_that_goes_on_is_told() -> None:
    """How long it has taken so far."""
    with World() as world:
        gate = threading.Event()
        world.session.during = lambda: gate.wait(10) and None
        world.candidate.put(copy([1]))
        eventually(lambda: world.candidate.figures().running_s > 0)
        gate.set()
        eventually(lambda: world.candidate.figures().total == 1)


def test_what_came_true_is_joined_by_the_request_s_id() -> None:
    """To what both versions said of that row."""
    candidate = version("2", outputs=LABELLED)
    with World(lambda feeds: [(feeds["x"] + 1).astype(np.int64)], candidate) as world:
        world.ran(copy([1], [5, 6], outputs={"label": np.array([1, 6, 7])}))
        tally = world.candidate.tally
        assert tally.came_true("0", 0, 1)
        assert tally.came_true("1", 1, "7")
        assert not tally.came_true("1", 2, 7)
        assert not tally.came_true("stranger", 0, 7)
        assert tally.accuracy() == Accuracy(2, 2, 1, 1, 0)


def test_an_observation_keeps_nothing_for_what_may_come_true() -> None:
    """Nobody asks it: the ledger knows what both said."""
    candidate = version("2", outputs=LABELLED)
    with World(lambda feeds: [feeds["x"].astype(np.int64)], candidate, purpose=Purpose.SHADOW) as world:
        world.ran(copy([1], outputs={"label": np.array([1])}))
        assert not world.candidate.tally.came_true("0", 0, 1)


@pytest.fixture(autouse=True)
def _no_threads_stay() -> Iterator[None]:
    """Every candidate's thread ends with its test."""
    yield
    assert not [each for each in threading.enumerate() if each.name.startswith("warm-")]
