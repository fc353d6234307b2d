"""A version on copies gives way: it rests, and lets go of what it does not need. How an observation is judged."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.warmup import Purpose
from router.model_settings import ModelSettings
from router.serving.candidate import PAIRS
from router.version_settings import WarmupSettings
from tests.serving.test_candidate import World, copy


def test_where_cores_are_scarce_it_rests_after_each_run() -> None:
    """Longer than it ran, the champion's run beside it included; while there are enough of them, not at all."""
    with World() as world:
        world.ran(copy([1]), copy([2]))
        assert world.rests == []
    with World() as world:
        world.waits = True
        world.ran(copy([1]))
        figures = world.ran(copy([2]))
        assert world.rests == pytest.approx([0.006 * 19] * 2)  # 1 ms and 2 ms, and as long without a core
        assert figures.rested_s == pytest.approx(sum(world.rests))


@pytest.mark.parametrize(("purpose", "rests"), [(Purpose.SHADOW, [0.4, 1.4]), (Purpose.CONTROL, [0.0, 0.05])])
def test_an_observation_rests_no_longer_than_leaves_it_its_least(purpose: Purpose, rests: list[float]) -> None:
    """Two requests a second, twenty of a control, however long its runs are: here they take 0.1 s."""
    with World(purpose=purpose) as world:
        world.waits = True
        world.session.during = lambda: world.passes(49_000_000)
        world.reference.during = lambda: world.passes(1_000_000)
        world.ran(copy([1]))
        world.ran(copy([1], [2], [3]))
        assert world.rests == pytest.approx([each for each in rests if each])


def test_a_warm_up_rests_no_longer_than_leaves_it_a_verdict_in_time() -> None:
    """However scarce cores are."""
    hurried = ModelSettings(warmup=WarmupSettings(min_samples=1000, min_seconds=0, max_seconds=0.001))
    with World(settings=hurried) as world:
        world.waits = True
        world.ran(copy([1]))
        assert world.rests == []


def test_numbers_of_an_observation_are_judged_by_how_much_they_vary() -> None:
    """The champion's; of a control, which is the old champion, its own. A warm-up without a tolerance judges none."""
    untold = ModelSettings()
    spread = np.arange(1, 9, dtype=np.float32)

    def agreed(purpose: Purpose, factor: float) -> tuple[int, int]:
        with World(lambda feeds: [feeds["x"] * factor], settings=untold, purpose=purpose) as world:
            (output,) = world.ran(copy(spread)).outputs
            return output.compared, output.agreed

    assert agreed(Purpose.WARM_UP, 2) == (0, 0)
    assert agreed(Purpose.SHADOW, 2) == agreed(Purpose.CONTROL, 2) == (8, 8)
    assert agreed(Purpose.SHADOW, 3) == (8, 1)  # 2x varies by 4.9: what is 1.2 apart agrees
    assert agreed(Purpose.CONTROL, 3) == (8, 1)  # 3x by 7.3: 1.8
    assert agreed(Purpose.CONTROL, 0) == (8, 0)


def test_an_observation_lets_go_of_the_champion_once_times_are_known() -> None:
    """Its memory is not needed for longer; what it said comes with each copy."""
    with World(purpose=Purpose.SHADOW) as world:
        world.candidate._pairs = PAIRS
        world.ran(copy([1]))
        assert world.reference.rows == []
        assert world.candidate._reference is None
    with World() as world:
        world.candidate._pairs = PAIRS
        world.ran(copy([1]))
        assert world.candidate._reference is not None  # what is recorded may have no outputs
