"""The watch over the health of models: what workers report, second by second, and what is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.control.events import Event
from router.control.health import HealthWatch
from router.control.health_counts import DAY_M, WIDTH, Counts, Figures
from router.core.health import Count, Level
from router.core.table import Route, Version, VersionState
from router.model_settings import HealthSettings, ModelSettings

KEY = ("m", "1")


def version(model: str, number: str, **more: Any) -> Version:
    """One that is loaded."""
    return Version(model, number, "", "", **{"state": VersionState.READY, **more})


def route(model: str = "m", *numbers: str, **more: Any) -> Route:
    """The first number is champion."""
    numbers = numbers or ("1",)
    return Route(model, numbers[0], {each: version(model, each) for each in numbers}, **more)


class House:
    """A watch with a clock that is turned by hand, and one worker's counters."""

    def __init__(self, *routes: Route, most: int = 8) -> None:
        self.now = 1000.5
        self.routes = {each.model: each for each in routes or (route(),)}
        self.told: list[Event] = []
        self.totals: dict[tuple[str, str], np.ndarray[Any, Any]] = {}
        self.gauges: dict[tuple[str, str], tuple[int, int, int]] = {}
        self.counts = Counts(lambda: self.now, most)
        self.watch = HealthWatch(lambda: self.routes, self.counts, self, lambda: self.now)  # type: ignore[arg-type]
        self.report("w")

    def tell(self, kind: str, model: str, number: str, text: str, **facts: str) -> None:
        """What the watch tells."""
        self.told.append(Event(self.now, kind, model, number, text, facts))

    def count(self, key: tuple[str, str] = KEY, **counts: int) -> None:
        """Add to the counters; answers took some 1 ms."""
        row = self.totals.setdefault(key, np.zeros(WIDTH, np.int64))
        for name, count in counts.items():
            row[Count[name.upper()]] += count
        row[len(Count) + 10] += counts.get("answered", 0)

    def report(self, worker: str = "w") -> None:
        """The worker sends its figures."""
        keys = tuple(self.totals)
        rows = np.array([self.totals[key] for key in keys], np.int64).reshape(-1, WIDTH)
        gauges = np.array([self.gauges.get(key, (0, 0, 0)) for key in keys], np.int64).reshape(-1, 3)
        self.counts.reported(worker, Figures(keys, rows, gauges, 1000))

    def second(self, key: tuple[str, str] = KEY, **counts: int) -> None:
        """A second in which so much was done."""
        self.count(key, **counts)
        self.report()
        self.now += 1
        self.watch.look()

    def seconds(self, count: int, **counts: int) -> None:
        """Several."""
        for _ in range(count):
            self.second(**counts)

    @property
    def levels(self) -> list[tuple[str, str, str]]:
        """Model, number and status of all that was told."""
        return [(each.model, each.number, each.facts["status"]) for each in self.told]

    def minute(self, key: tuple[str, str] = KEY) -> list[int]:
        """The counts of the last minute."""
        seen = self.counts.seen(key)
        assert seen is not None
        return list(seen.minute.counts)


@pytest.fixture
def house() -> House:
    """One model."""
    return House()


def test_a_worker_s_first_figures_are_where_it_begins(house: House) -> None:
    """What it had done before this controller came does not count; a version that comes later begins at 0."""
    house.count(answered=500)
    house.report("other")
    house.second()
    assert house.counts.seen(KEY) is not None  # it came to the known worker, whole
    assert house.minute()[Count.ANSWERED] == 500
    late = House()
    late.count(answered=500)
    late.report("unknown till now")
    late.now += 1
    late.watch.look()
    assert late.counts.seen(KEY) is None


def test_counters_that_fall_begin_anew(house: House) -> None:
    """What lies between is unknown and counts as nothing; from there on it counts again."""
    house.second(answered=100)
    house.totals[KEY][:] = 0
    house.second(answered=30)
    house.second(answered=7)
    assert house.minute()[Count.ANSWERED] == 107


def test_a_worker_that_comes_back_counts_once(house: House) -> None:
    """One that was cut off has the same counters; its gauges count only while it is there."""
    house.gauges[KEY] = (3, 0, 0)
    house.second(answered=100)
    assert house.counts.seen(KEY).pending == 3  # type: ignore[union-attr]
    house.counts.left("w")
    house.now += 1
    house.watch.look()
    assert house.counts.seen(KEY).pending == 0  # type: ignore[union-attr]
    assert house.counts.resident_bytes == 0
    house.second(answered=50)
    assert house.minute()[Count.ANSWERED] == 150


def test_windows_move_on(house: House) -> None:
    """What is older than a window has left it, whether requests come or not, and the day's budget remembers."""
    house.seconds(3, answered=10, backend=2)
    house.seconds(60)
    seen = house.counts.seen(KEY)
    assert seen is not None
    assert (seen.minute.requests, seen.five.requests, seen.hour.requests) == (0, 36, 36)
    assert (seen.day.requests, seen.day.bad) == (36, 6)
    house.seconds(240)
    seen = house.counts.seen(KEY)
    assert seen is not None
    assert (seen.five.requests, seen.hour.requests, seen.day.bad) == (0, 36, 6)


def test_a_pause_of_the_process_is_made_up_for(house: House) -> None:
    """The seconds in between had nothing; what came is the last one's."""
    house.second(answered=10)
    house.count(answered=5)
    house.report()
    house.now += 40
    house.watch.look()
    assert house.minute()[Count.ANSWERED] == 15
    house.now += 30
    house.watch.look()
    assert house.minute()[Count.ANSWERED] == 5
    house.now += 100_000
    house.watch.look()
    assert house.counts.seen(KEY) is None or house.minute()[Count.ANSWERED] == 0


def test_a_change_is_told_once_and_its_end_too(house: House) -> None:
    """With status, reason and what to do; not again and again."""
    house.seconds(5, answered=100)
    house.seconds(20, answered=90, backend=40)
    assert house.levels in ([("m", "1", "yellow"), ("m", "1", "red")], [("m", "1", "red")])
    worst = house.told[-1]
    assert worst.kind == "health"
    assert worst.text.startswith("health is red: ")
    assert "requests failed" in worst.text
    assert worst.facts["next_steps"] == "router explain m --last 20"
    assert int(worst.facts["failed"]) > 0
    house.told.clear()
    house.seconds(400, answered=2000)
    assert house.levels[-1] == ("m", "1", "green")
    assert house.told[-1].text == "health is green: all is well again"
    assert len(house.told) <= 2


def test_a_level_that_is_about_to_end_says_why_it_is_told_still(house: House) -> None:
    """Nothing that is found now is red: the reason is that it has not been so for long."""
    house.seconds(5, backend=100)
    house.seconds(30, answered=2000)
    found = house.watch.health("m")
    assert found is not None
    assert (found.level, found.versions[0].status.level) == (Level.RED, Level.YELLOW)
    assert found.status.reasons[0].startswith("red until all has been better for 30 seconds: it has been for 1")
    assert found.versions[0].status.reasons == found.status.reasons
    house.seconds(30, answered=2000)
    found = house.watch.health("m")
    assert found is not None
    assert found.level is Level.YELLOW
    assert "until all has been better" not in found.status.reasons[0]


def test_a_version_that_goes_while_it_is_ill_is_told_once_more(house: House) -> None:
    """Whoever was alarmed learns that it serves no more."""
    house.seconds(5, backend=100)
    assert house.levels[-1] == ("m", "1", "red")
    house.routes = {"m": route("m", "2")}
    house.second()
    assert house.levels[-1] == ("m", "1", "green")
    assert "serves no more" in house.told[-1].text


def test_a_model_that_cannot_serve_is_red() -> None:
    """With the reason of the version; one that nobody asked for is not, one that is switched off is yellow."""
    broken = Route("b", None, {"1": version("b", "1", state=VersionState.UNAVAILABLE, reason="broken file")})
    resting = Route("r", None, {"1": version("r", "1", state=VersionState.UNAVAILABLE, left_out=True)})
    house = House(broken, resting, route("s", switched=True))
    house.seconds(2)
    assert sorted(house.levels) == [("b", "", "red"), ("s", "", "yellow")]
    assert "no version answers: broken file" in house.told[0].text
    found = house.watch.health("b")
    assert found is not None
    assert (found.level, found.status.next_steps, found.seen) == (Level.RED, ("router versions b",), None)
    assert house.watch.health("s").status.next_steps[0] == "router fallback off s"  # type: ignore[union-attr]


def test_what_people_are_told_of_a_model() -> None:
    """The sum of its versions, each with its role and its last hour; reasons name the version where there are two."""
    house = House(route("m", "1", "2", standby="2", settings=ModelSettings(health=HealthSettings(target_ms=5.0))))
    house.second(answered=600)
    for _ in range(3):
        house.second(("m", "2"), backend=100, answered=100)
    found = house.watch.health("m", history=True)
    assert found is not None
    assert [(each.number, each.role, each.level) for each in found.versions] == [
        ("1", "champion", Level.GREEN),
        ("2", "standby", Level.RED),
    ]
    assert (found.level, found.target_ms) == (Level.RED, 5.0)
    assert found.status.reasons[0].startswith("version 2: 50.00% of 600 requests failed")
    assert found.seen is not None
    assert found.seen.minute.requests == 1200
    first = found.versions[0]
    assert (len(first.rates), first.rates[-1], first.p99s[0]) == (60, 10.0, None)
    assert first.p99s[-1] is not None
    assert house.watch.health("nobody") is None
    assert house.watch.models() == ["m"]


def test_there_is_room_for_so_many_versions_and_the_idle_ones_give_way() -> None:
    """Those that have requests now are kept; what was refused a place gets one later."""
    house = House(route("m", "1"), most=2)
    house.second(("a", "1"), answered=1)
    house.second(("b", "1"), answered=1)
    house.second(("c", "1"), answered=1)
    assert house.counts.seen(("c", "1")) is None
    house.now += 61
    house.watch.look()
    house.second(("c", "1"), answered=4)
    assert house.minute(("c", "1"))[Count.ANSWERED] == 4
    assert house.counts.seen(("a", "1")) is None
    assert house.minute(("b", "1"))[Count.ANSWERED] == 0


def test_thousands_of_versions_without_a_place_are_turned_away_at_once() -> None:
    """Where there is no room for one there is none for the next: it is not looked for again and again."""
    asked = 0

    def clock() -> float:
        nonlocal asked
        asked += 1
        return 1000.0

    counts = Counts(clock, 2)
    keys = tuple((f"m{number}", "1") for number in range(5000))
    rows, gauges = np.zeros((5000, WIDTH), np.int64), np.zeros((5000, 3), np.int64)
    counts.reported("w", Figures(keys, rows, gauges))
    asked = 0
    counts.reported("w", Figures(keys, rows + 1, gauges))
    assert asked < 10
    assert counts.seen(keys[1]) is not None
    assert counts.seen(keys[2]) is None


def test_what_is_gone_for_an_hour_falls_out_and_what_serves_after_a_day() -> None:
    """Its place is empty when another gets it."""
    house = House(route("m", "1"), most=1)
    house.second(answered=10)
    house.now += 3700
    house.watch.look()
    assert house.counts.seen(KEY) is not None
    house.routes = {}
    house.now += 1
    house.watch.look()
    assert house.counts.seen(KEY) is None
    house.second(("n", "1"), answered=3)
    assert house.minute(("n", "1"))[Count.ANSWERED] == 3
    assert house.counts.seen(("n", "1")).day.requests == 3  # type: ignore[union-attr]
    house.routes = {"n": route("n")}
    house.now += 60 * DAY_M + 10
    house.watch.look()
    assert house.counts.seen(("n", "1")) is None


def test_many_workers_that_come_and_go_are_forgotten(house: House) -> None:
    """Their figures do not add up in memory."""
    for number in range(200):
        house.report(f"w{number}")
        house.counts.left(f"w{number}")
    assert len(house.counts._workers) <= 66
