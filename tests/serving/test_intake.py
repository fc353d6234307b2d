"""Copies for several versions of a model: who gets which, who waits, and what is missed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from router.core.mirrored import MirroredRun
from router.core.table import Version
from router.core.warmup import Purpose
from router.serving.candidate import MAX_WAITING
from router.serving.intake import Intake
from tests.server import eventually
from tests.serving.fakes import version
from tests.serving.test_candidate import CHAMPION, World, copy

CANDIDATE = version("2")


class Several:
    """Some versions on copies of a model's runs. Where a gate is shut, their first run waits at it."""

    def __init__(self, *champions: Version) -> None:
        self.chance = 0.0
        self.gates = [threading.Event() for _ in champions]
        self.worlds = [
            World(candidate=version(str(5 + index)), champion=champion, purpose=Purpose.SHADOW)
            for index, champion in enumerate(champions)
        ]
        self.candidates = [world.candidate for world in self.worlds]
        self.intake = Intake(lambda: self.candidates, lambda: self.chance)

    def __enter__(self) -> Several:
        for world, gate in zip(self.worlds, self.gates, strict=True):
            world.__enter__()
            world.session.during = lambda gate=gate: gate.wait(10) and None
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self.gates:
            gate.set()
        for world in self.worlds:
            world.__exit__()

    def bring(self, runs: Sequence[MirroredRun], now: float = 0.0) -> threading.Thread:
        """A worker brings copies, on a thread of its own."""
        thread = threading.Thread(target=lambda: [self.intake.put(run, now) for run in runs])
        thread.start()
        return thread

    def totals(self) -> list[int]:
        """Requests that each has run."""
        return [candidate.figures().total for candidate in self.candidates]

    def missed(self) -> list[int]:
        """And missed."""
        return [candidate.figures().missed for candidate in self.candidates]


MORE = [copy([number]) for number in range(MAX_WAITING + 10)]


def test_who_brings_too_much_waits() -> None:
    """Until there is room: nothing is lost, and nothing piles up."""
    with Several(CHAMPION) as several:
        thread = several.bring(MORE)
        (candidate,) = several.candidates
        eventually(lambda: candidate.full)
        thread.join(0)
        assert thread.is_alive()
        several.gates[0].set()
        thread.join(10)
        assert eventually(lambda: several.totals() == [len(MORE)])
        assert several.missed() == [0]


def test_stopping_lets_go_of_who_waits() -> None:
    """Its copies are for nobody."""
    with Several(CHAMPION) as several:
        thread = several.bring(MORE)
        (candidate,) = several.candidates
        eventually(lambda: candidate.full)
        assert not candidate.stop(0)
        thread.join(10)
        assert not thread.is_alive()


def test_a_slow_one_holds_up_nobody() -> None:
    """The others have their copies, and it misses them; that is counted."""
    with Several(CHAMPION, CHAMPION) as several:
        several.gates[0].set()
        thread = several.bring(MORE)
        assert eventually(lambda: several.totals()[0] == len(MORE))
        thread.join(10)
        missed = len(MORE) - MAX_WAITING
        assert several.missed()[1] in (missed, missed - 1)  # one of them may be being run
        several.gates[1].set()
        eventually(lambda: several.totals()[1] == len(MORE) - several.missed()[1])


def test_while_all_have_too_much_nothing_is_read() -> None:
    """What is lost then is lost where copies are made; the first to have room sets the pace."""
    with Several(CHAMPION, CHAMPION) as several:
        thread = several.bring(MORE)
        eventually(lambda: all(candidate.full for candidate in several.candidates))
        thread.join(0)
        assert thread.is_alive()
        assert several.missed() in ([0, 0], [1, 0], [0, 1])  # as the one began its first run before the other
        several.gates[1].set()
        thread.join(10)
        assert eventually(lambda: several.totals()[1] == len(MORE) - several.missed()[1])


def test_copies_go_to_those_whose_reference_made_them() -> None:
    """A control has those of a canary's candidate, a shadow the champion's; neither is held up by the other."""
    with Several(CHAMPION, CANDIDATE) as several:
        several.gates[1].set()
        several.bring([*MORE, copy([1], champion="2"), copy([1], champion="9")]).join(10)
        assert eventually(lambda: several.totals()[1] == 1)
        assert several.missed()[0] >= len(MORE) - MAX_WAITING - 1
        assert several.missed()[1] == 0


def test_a_smaller_part_is_a_part_of_the_larger() -> None:
    """Shadows of a model are compared on the same inputs."""
    with Several(CHAMPION, CHAMPION) as several:
        several.candidates[0].share, several.candidates[1].share = 0.5, 0.25
        for gate in several.gates:
            gate.set()
        for several.chance in (0.1, 0.2, 0.3, 0.4, 0.6, 0.9):
            several.intake.put(copy([several.chance]), 0.0)
        eventually(lambda: several.totals() == [4, 2])
        ran = [[float(feeds["x"][0]) for feeds in world.session.runs] for world in several.worlds]
        assert ran == [pytest.approx([0.1, 0.2, 0.3, 0.4]), pytest.approx([0.1, 0.2])]


def test_each_keeps_its_own_rate() -> None:
    """Where another one has more; what is beyond is not missed, it was not wanted."""
    with Several(CHAMPION, CHAMPION) as several:
        several.candidates[1].max_per_s = 20
        for gate in several.gates:
            gate.set()
        several.bring([copy([1])] * 10, now=1.0).join(10)
        several.bring([copy([1], [2], [3])], now=1.1).join(10)
        several.bring([copy([1])], now=1.15).join(10)
        several.bring([copy([1])], now=1.25).join(10)
        eventually(lambda: several.totals() == [15, 6])
        assert several.missed() == [0, 0]
        several.candidates.pop()
        several.bring([copy([1])], now=1.3).join(10)
        eventually(lambda: several.totals() == [16])
