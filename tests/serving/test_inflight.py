"""What a worker runs is there to be read after its death, and what crashed two workers is known from then on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.core.fingerprint import SAMPLE, names, of_elements, of_version
from router.errors import Refused
from router.serving.inflight import LEFT, PLACE, PLACES, REGION, InFlight, leave, mapped, region, running, wipe
from router.serving.quarantine import MOST, Quarantine
from tests.serving.fakes import World, request, table, values, version


def test_what_runs_is_read_by_another_mapping(tmp_path: Path) -> None:
    """Several runs at once, of one call or many; each region is its worker's alone, and is empty after the last."""
    own, theirs = (mapped(tmp_path / "running", 2 * REGION) for _ in range(2))
    inflight = InFlight(region(own, 1))
    one, many = [7], [8, 9]
    first, second = inflight.began(one), inflight.began(many)
    assert sorted(running(region(theirs, 1))) == [7, 8, 9]
    assert running(region(theirs, 0)) == []
    inflight.ended(second, len(many))
    assert running(region(theirs, 1)) == [7]
    inflight.ended(first, len(one))
    assert running(region(theirs, 1)) == []
    inflight.began(one)
    wipe(region(own, 1))
    assert running(region(theirs, 1)) == []


def test_more_than_there_is_room_for_is_left_out() -> None:
    """A larger batch shows its first calls, and a run too many none; nothing is written where it does not belong."""
    words = memoryview(bytearray(REGION * 8)).cast("Q")
    inflight = InFlight(words)
    large = list(range(1, PLACE + 9))
    places = [inflight.began(large) for _ in range(PLACES + 1)]
    assert len(running(words)) == REGION
    for place in places:
        inflight.ended(place, len(large))
    assert running(words) == []
    assert inflight.began([1]) >= 0


@given(st.lists(st.lists(st.integers(1, 50), max_size=5), max_size=30))
def test_two_crashes_refuse(crashes: list[list[int]]) -> None:
    """Each crash counts once for each request in it, however often that request was in the run."""
    quarantine = Quarantine.__new__(Quarantine)
    quarantine._words = memoryview(bytearray((8 + 4 * MOST) * 8)).cast("Q")
    for second, fingerprints in enumerate(crashes):
        quarantine.crashed(fingerprints, second)
    counts = {each: sum(each in fingerprints for fingerprints in crashes) for each in range(1, 51)}
    assert {each.fingerprint: each.crashes for each in quarantine.suspects()} == {k: n for k, n in counts.items() if n}
    assert {each.fingerprint for each in quarantine.refused()} == {k for k, n in counts.items() if n > 1}


def test_the_list_is_bounded_kept_and_cleared(tmp_path: Path) -> None:
    """The oldest go first, but what is refused goes last; it is there again when the file is opened anew."""
    quarantine = Quarantine(tmp_path / "quarantine")
    assert quarantine.crashed([5], 1) == 0
    assert quarantine.crashed([5], 2) == 1
    quarantine.crashed(range(100, 100 + MOST), 3)
    again = Quarantine(tmp_path / "quarantine")
    assert len(again.suspects()) == MOST
    assert [each.fingerprint for each in again.refused()] == [5]
    before = quarantine.revision
    again.ask_to_forget()
    assert not quarantine.forgotten
    quarantine.forget()
    assert again.forgotten
    assert again.suspects() == []
    assert again.revision != before


def test_a_refused_request_is_not_run() -> None:
    """It is told why; others of the model are answered."""
    world = World()
    inflight = world.inflight
    seen: list[int] = []
    world.session.during = lambda: seen.extend(running(inflight._words))
    world.send(1)
    world.work()
    inflight.refused = frozenset(seen)
    (refused, other) = world.send(1), world.send(2)
    world.work()
    assert isinstance(refused.error, Refused)
    assert "two crashes of a worker (model 'm' version 1)" in str(refused.error)
    assert values(other) == [4]
    assert running(inflight._words) == []


def test_the_executor_shows_what_it_runs_too() -> None:
    """Joined calls of one run, and nothing once it has returned."""
    world = World(inline=False)
    seen: list[int] = []
    world.session.during = lambda: seen.extend(running(world.inflight._words))
    for value in (1, 2):
        world.send(value)
    world.work()
    assert len(set(seen)) == 2
    assert running(world.inflight._words) == []


def test_a_process_that_goes_by_itself_says_so() -> None:
    """Where what it runs is noted; a version is not taken for that."""
    words = memoryview(bytearray(REGION * 8)).cast("Q")
    InFlight(words).began([of_version(version("1"))])
    leave(words)
    assert running(words) == [LEFT]
    assert not names(LEFT, version("1"))


def test_a_fingerprint_tells_inputs_and_versions_apart() -> None:
    """Also inputs that are large and differ anywhere that is looked at; the version can be found again."""
    plan = table(1, {"1": World().lane}).plan(request(1).header)
    known = plan.fingerprint(request(1).elements)
    assert known == plan.fingerprint(request(1, request_id="again").elements)
    assert known != plan.fingerprint(request(3).elements)
    assert names(known, version("1"))
    assert not names(known, version("2"))
    assert of_version(version("1")) != of_version(version("2"))
    large = np.zeros(SAMPLE, np.float32)
    other = large.copy()
    other[-1] = 1
    assert of_elements([memoryview(large).cast("B")], 0) == of_elements([large], 0) != of_elements([other], 0)
    texts = np.array([b"a", b"b"], object)
    assert of_elements([texts], 0) != of_elements([texts[::-1]], 0)
