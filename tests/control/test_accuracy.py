"""Accuracy from a real ledger: figures, a decline told once, baselines that stay, and what cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import aio
from structlog.testing import capture_logs

from router.app.accuracy_page import write
from router.app.accuracy_part import AccuracyPart
from router.app.accuracy_text import shown
from router.control.accuracy import Accuracy
from router.control.baseline_rows import BaselineRecord
from router.control.baselines import MOST, baseline_of
from router.control.events import Event
from router.control.records import Entry, Order
from router.core.exam import EXAM
from router.core.gate import Outcome, Report, Verdict
from router.edge.accuracy_service import AccuracyService, to_message
from router.edge.error_details import BadField
from router.errors import InvalidRequest, NotFound, NotReady, Refused, RouterError
from router.model_settings import ModelSettings
from router.pb.accuracy_pb2 import GetAccuracyRequest
from tests.control.test_ledger import DAY, World, played
from tests.rendering import rendered


class Kept:
    """Baselines in memory; `broken`: the store takes nothing, `unreadable`: it gives nothing."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], BaselineRecord] = {}
        self.broken = self.unreadable = False
        self.writes = 0
        self.acts: list[Entry] = []

    def load(self) -> Sequence[BaselineRecord]:
        """All."""
        if self.unreadable:
            raise RouterError("the disk is gone")
        return list(self.records.values())

    def tell(self, act: Entry) -> None:
        """For the audit log."""
        if self.broken:
            raise Refused("the disk is full")
        self.acts.append(act)

    def keep(self, records: Collection[BaselineRecord], gone: Collection[tuple[str, str]]) -> None:
        """Each by its version."""
        if self.broken:
            raise Refused("the disk is full")
        self.writes += 1
        for key in gone:
            self.records.pop(key, None)
        self.records |= {(each.model, each.number): each for each in records}


def watched(world: World, kept: Kept | None = None) -> Accuracy:
    """As after a start of the controller."""
    return Accuracy(world.ledger, lambda: world.routes, world.events, kept or Kept(), clock=world.clock.time)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A ledger in a folder; the models need few requests for a baseline."""
    made = World(tmp_path)
    for name, route in made.routes.items():
        tables = route.settings.model_dump()
        tables["accuracy"]["baseline_requests"] = 100
        made.routes[name] = replace(route, settings=ModelSettings.model_validate(tables))
    return iter([made])


async def come_true(world: World, name: str, count: int, wrong: int) -> None:
    """So many requests, of which one in `wrong` is wrong; half a minute passes."""
    ids = [f"{name} {place}" for place in range(count)]
    await world.keep(*[world.said(each, 3) for each in ids])
    await world.submit(*[(each, 4 if place % wrong == 0 else 3) for place, each in enumerate(ids)])
    world.clock.passes(30)


async def looked(accuracy: Accuracy) -> None:
    """Until there is nothing more."""
    while await accuracy.look():
        pass


async def told(world: World, accuracy: Accuracy, story: list[tuple[str, int, int]]) -> list[Event]:
    """What is told of accuracy while that comes true."""
    heard: list[Event] = []
    began = asyncio.Event()

    async def listen() -> None:
        async for event in world.events.watch():
            began.set()
            heard.append(event)

    listening = asyncio.ensure_future(listen())
    await began.wait()
    for part in story:
        await come_true(world, *part)
        await looked(accuracy)
    await asyncio.sleep(0)
    listening.cancel()
    return [each for each in heard if each.kind == "accuracy"]


def test_a_decline_is_told_once_and_again_after_a_restart(world: Iterator[World]) -> None:
    """With its figures; the way back is told too. Who reads the file anew finds the same, and says that it is old."""
    here = next(world)

    async def story() -> None:
        accuracy = watched(here)
        await looked(accuracy)
        red = await told(here, accuracy, [("a", 300, 25), ("b", 300, 25), ("c", 300, 2), ("d", 60, 2)])
        assert [(each.model, each.number, each.facts["status"]) for each in red] == [("m", "1", "red")]
        assert float(red[0].facts["accuracy"]) < float(red[0].facts["limit_accuracy"]) < 0.96
        assert red[0].text.startswith("version 1 is right less often than it was: ")
        again = watched(here)
        (old,) = await told(here, again, [("e", 1, 1)])
        assert (old.facts["status"], old.facts["again"]) == ("red", "yes")
        assert old.text.endswith(" (as it was found before)")
        assert "again" not in red[0].facts
        seen = await again.of("m", "", 3600)
        assert (seen.finding.status, seen.versions[0].sums[0], seen.versions[0].sums[1]) == ("red", 961, 961)
        assert "router drift m" in seen.step
        (back,) = await told(here, again, [("f", 3000, 30)])
        assert back.facts["status"] == "green"
        (measured,) = again.measured
        assert (measured.model, measured.version, measured.declined) == ("m", "1", False)
        assert {each.name for each in await AccuracyPart(again).figures()} >= {"router_actuals"}

    played(here, story)


def test_what_is_missing_late_or_contradicts_is_counted(world: Iterator[World], tmp_path: Path) -> None:
    """And shown, with words of others as text."""
    here = next(world)

    async def story() -> None:
        accuracy = watched(here)
        await here.keep(here.said("old", 3, ago=90_000))
        await here.keep(*[here.said(f"a{n}", 3) for n in range(10)])
        await here.submit(("a1", 3), ("a2", 4), ("nobody", 1), ("old", 3))
        await here.submit(("a1", 5), ("a2", 4))
        with pytest.raises(InvalidRequest, match="expected an integer"):
            await here.submit(("a3", "seven"), ("a4", 3))
        await looked(accuracy)
        seen = await accuracy.of("m", "1", 86_400)
        wanted = {"joined": 2, "unknown": 1, "repeated": 1, "contradicting": 1, "late": 1, "refused": 2}
        assert dict(seen.heard) == wanted
        message = to_message(seen)
        (version,) = message.versions
        assert (version.said, version.rows, version.role, version.figures[0].name) == (10, 2, "champion", "accuracy")
        message.versions[0].classes[0].label = "[red]<b>"
        text = rendered(*shown(message))
        assert "[red]<b>" in text
        assert "2 joined, 1 unknown, 1 repeated, 1 contradicting, 1 late, 2 refused" in text
        write(message, tmp_path / "page.html")
        assert "[red]<b>" not in (tmp_path / "page.html").read_text()

    played(here, story)


def test_numbers_and_versions_apart(world: Iterator[World]) -> None:
    """A shadow has figures of its own."""
    here = next(world)

    async def story() -> None:
        accuracy = watched(here)
        form = here.said("x").form.NUMBER
        await here.keep(
            *[here.said(f"n{n}", 1.5, form=form) for n in range(4)],
            *[here.said(f"n{n}", 3.0, form=form, version="2", served_by="mirror") for n in range(4)],
            model="number",
        )
        await here.submit(*[(f"n{n}", 2.0) for n in range(4)], model="number")
        await looked(accuracy)
        two, one = to_message(await accuracy.of("number", "", 600)).versions
        assert [(each.version, each.figures[0].name, each.figures[0].value) for each in (one, two)] == [
            ("1", "mae", 0.5),
            ("2", "mae", 1.0),
        ]
        rendered(*shown(to_message(await accuracy.of("number", "", 600))))

    played(here, story)


def test_what_cannot_be_asked(world: Iterator[World]) -> None:
    """One line each; a model without a ledger says how to get one."""
    here = next(world)

    async def story() -> None:
        accuracy = watched(here)
        with pytest.raises(NotFound, match="unknown model"):
            await accuracy.of("nobody", "", 60)
        with pytest.raises(Refused, match=r"\[ledger\]"):
            await accuracy.of("off", "", 60)
        with pytest.raises(InvalidRequest, match="15 are the most"):
            await accuracy.of("m", "", 1e9)
        with pytest.raises(NotFound, match="no prediction of version 7"):
            await accuracy.of("m", "7", 60)
        service = AccuracyService(accuracy)
        for since in (-1.0, float("nan")):
            with pytest.raises(BadField):
                await service.GetAccuracy(GetAccuracyRequest(model="m", since_seconds=since), None)  # type: ignore[arg-type]
        nothing = await service.GetAccuracy(GetAccuracyRequest(model="m"), None)  # type: ignore[arg-type]
        assert (nothing.status, "router actuals m" in nothing.next_step) == ("unknown", True)
        assert "none" in rendered(*shown(nothing))
        AccuracyPart(accuracy).add_to(aio.server())

    played(here, story)


# ---- what it is compared with ----


def settings_of(world: World, model: str = "m", **accuracy: object) -> None:
    """Somebody edits the model's settings."""
    route = world.routes[model]
    tables = route.settings.model_dump()
    tables["accuracy"] |= accuracy
    world.routes[model] = replace(route, settings=ModelSettings.model_validate(tables))


async def forgets(world: World) -> None:
    """The ledger lets go of all that it has."""
    world.clock.passes(3 * DAY)
    await world.ledger.tidy()


def test_a_baseline_stays_when_the_ledger_has_forgotten_what_it_was_taken_from(world: Iterator[World]) -> None:
    """After a restart a version is compared with its first requests, not with the oldest that are left."""
    here, kept = next(world), Kept()

    async def story() -> None:
        first = watched(here, kept)
        await come_true(here, "good", 100, 50)
        await looked(first)
        record = kept.records["m", "1"]
        assert (record.requests, record.loss, record.wanted, record.since) == (100, 0.02, 100, 0.0)
        await forgets(here)
        again = watched(here, kept)
        await looked(again)
        (red,) = await told(here, again, [("bad", 400, 3)])
        assert (red.facts["status"], red.facts["baseline_accuracy"]) == ("red", "0.98")
        assert "98.0 % right of its first 100 requests" in red.text
        assert kept.writes == 1
        assert kept.records["m", "1"] == record

    played(here, story)


def test_what_made_a_baseline_is_not_compared_with_it_after_a_restart(world: Iterator[World]) -> None:
    """While it is still in the ledger; the same is found as without a restart."""
    here, kept = next(world), Kept()

    async def story() -> None:
        first = watched(here, kept)
        for name in "abc":
            await come_true(here, name, 60, 2)
            await looked(first)
        again = watched(here, kept)
        await looked(again)
        both = [await each.of("m", "1", 3600) for each in (first, again)]
        assert both[0].finding == both[1].finding
        assert both[0].versions[0].sums.tolist() == both[1].versions[0].sums.tolist()
        assert kept.writes == 1

    played(here, story)


def test_another_number_of_requests_makes_another_baseline_of_what_comes_then(world: Iterator[World]) -> None:
    """It is told, by the running controller and by one that begins anew; half of one outlives a restart too."""
    here, kept = next(world), Kept()

    async def story() -> None:
        accuracy = watched(here, kept)
        await come_true(here, "a", 100, 50)
        await looked(accuracy)
        settings_of(here, baseline_requests=60)
        anew, *_ = await told(here, accuracy, [("b", 40, 4)])
        assert anew.text == (
            "version 1 is compared with the first 60 requests that come true from now on:"
            " `accuracy.baseline_requests` was 100"
        )
        assert (anew.facts["status"], anew.facts["baseline"]) == ("green", "anew")
        assert (await accuracy.of("m", "", 60)).finding.gathered == 40
        again = watched(here, kept)
        assert not await told(here, again, [("c", 20, 4)])
        seen = await again.of("m", "", 60)
        assert seen.finding.baseline is not None
        assert (seen.finding.baseline.requests, seen.finding.baseline.loss) == (60, 0.25)
        assert "75.0 % right of the first 60 requests after 2023-11-14 22:" in seen.text
        settings_of(here, baseline_requests=30)
        later = watched(here, kept)
        (begun,) = await told(here, later, [("d", 10, 2)])
        assert begun.text.endswith("`accuracy.baseline_requests` was 60")
        assert (await later.of("m", "", 60)).finding.gathered == 0  # what was there before is not of its future
        await come_true(here, "e", 30, 3)
        await looked(later)
        assert kept.records["m", "1"].loss == pytest.approx(1 / 3)

    played(here, story)


def test_other_files_and_another_output_make_another_baseline(world: Iterator[World]) -> None:
    """What was said of files that are gone, or in another output, says nothing of these."""
    here, kept = next(world), Kept()

    def becomes(digest: str, output: str | None = None) -> None:
        route = here.routes["m"]
        tables = route.settings.model_dump()
        tables["ledger"]["output"] = output
        versions = {"1": replace(route.versions["1"], digest=digest)}
        here.routes["m"] = replace(route, versions=versions, settings=ModelSettings.model_validate(tables))

    async def story() -> None:
        becomes("one")
        accuracy = watched(here, kept)
        await come_true(here, "a", 100, 50)
        await looked(accuracy)
        becomes("")  # while its files are looked at
        assert not await told(here, accuracy, [("b", 1, 2)])
        becomes("two")
        (files,) = await told(here, accuracy, [("c", 1, 2)])
        assert files.text.endswith("from now on: its files are others than before")
        becomes("two", "label")
        (output,) = await told(here, accuracy, [("d", 1, 2)])
        assert output.text.endswith("from now on: `ledger.output` was not set")

    played(here, story)


def test_a_setting_that_says_exam_is_followed(world: Iterator[World]) -> None:
    """At once where there is one, and back again; where there is none the first requests go on."""
    here, kept = next(world), Kept()
    exams: list[Report] = []

    async def story() -> None:
        accuracy = Accuracy(
            here.ledger, lambda: here.routes, here.events, kept, lambda *_: exams, clock=here.clock.time
        )
        await come_true(here, "a", 100, 50)
        await looked(accuracy)
        settings_of(here, baseline="exam")
        assert not await told(here, accuracy, [("b", 1, 2)])
        settings_of(here, baseline="first")
        await looked(accuracy)
        figures = {"rows": 500.0, "accuracy_share": 0.9}
        exams.append(Report("test", "m", "1", "", (Outcome(EXAM, Verdict.PASS, "", figures=figures),), 1.0, 1.0))
        settings_of(here, baseline="exam")
        (exam,) = await told(here, accuracy, [("c", 1, 2)])
        assert exam.text == "version 1 is compared with its exam: `accuracy.baseline` was 'first'"
        with pytest.raises(Refused, match="is compared with its exam: test it again"):
            await accuracy.begin_anew("m", "1", Order("ada"))
        settings_of(here, baseline="exam", baseline_requests=77)  # none of these are of an exam
        assert not await told(here, accuracy, [("d", 1, 2)])
        settings_of(here, baseline="first", baseline_requests=100)
        (first,) = await told(here, accuracy, [("e", 1, 2)])
        assert first.text == "version 1 is compared with its first requests: `accuracy.baseline` was 'exam'"
        assert (await accuracy.of("m", "", 60)).finding.baseline == baseline_of(kept.records["m", "1"])

    played(here, story)


def test_somebody_wants_another_baseline(world: Iterator[World]) -> None:
    """It is taken from what comes true from then on; a decline that was found counts no more. The audit log knows."""
    here, kept = next(world), Kept()

    async def story() -> None:
        accuracy = watched(here, kept)
        with pytest.raises(NotFound, match="no prediction of version 1 is kept"):
            await accuracy.begin_anew("m", "", Order("ada"))
        await come_true(here, "a", 100, 50)
        await looked(accuracy)
        accuracy._whole = False
        with pytest.raises(NotReady, match="still being read"):
            await accuracy.begin_anew("m", "", Order("ada"))
        await looked(accuracy)
        (red,) = await told(here, accuracy, [("b", 400, 3)])
        assert red.facts["status"] == "red"
        kept.broken = True
        with pytest.raises(Refused, match="the disk is full"):
            await accuracy.begin_anew("m", "", Order("ada", "the world is another one"))
        assert (await accuracy.of("m", "", 60)).finding.status == "red"
        kept.broken = False
        text = await accuracy.begin_anew("m", "", Order("ada", "the world is another one"))
        assert text == "version 1 is compared with the first 100 requests that come true from now on: ada wanted it"
        (act,) = kept.acts
        assert (act.actor, act.action, act.model, act.number) == ("ada", "baseline", "m", "1")
        assert (act.reason, act.before) == ("the world is another one", {"requests": 100, "loss": 0.02})
        assert kept.records["m", "1"].requests == 0
        again = watched(here, kept)
        assert not await told(here, again, [("c", 150, 3)])
        seen = (await again.of("m", "", 60)).finding
        assert seen.baseline is not None
        assert (seen.status, seen.baseline.requests, seen.baseline.loss) == ("green", 100, 0.34)
        with pytest.raises(Refused, match=r"\[ledger\]"):
            await accuracy.begin_anew("off", "", Order("ada"))

    played(here, story)


def test_a_store_that_fails_costs_no_baseline(world: Iterator[World]) -> None:
    """It counts, one line is logged, and it is written when it can be; nothing is read before the store can be."""
    here, kept = next(world), Kept()

    async def story() -> None:
        kept.broken = kept.unreadable = True
        accuracy = watched(here, kept)
        await come_true(here, "a", 100, 50)
        with pytest.raises(RouterError, match="the disk is gone"):
            await accuracy.look()
        kept.unreadable = False
        with capture_logs() as logs:
            await looked(accuracy)
            await looked(accuracy)
        assert [line["event"] for line in logs] == ["baselines of the accuracy count and are not kept yet"]
        assert (await accuracy.of("m", "", 60)).finding.status == "green"
        assert not kept.records
        kept.broken = False
        await looked(accuracy)
        assert kept.records["m", "1"].requests == 100

    played(here, story)


def test_baselines_of_what_is_gone_go(world: Iterator[World]) -> None:
    """Of versions without a directory, of models, and of more versions than anybody looks back at; others stay."""
    here, kept = next(world), Kept()
    record = BaselineRecord("m", "1", "", "", "labels", 100, 1, 1, 0.0, 100, 0.1, 0.2, 5.0)
    for model, number in (("m", "1"), ("m", "9"), ("gone", "1"), ("off", "1")):
        kept.records[model, number] = replace(record, model=model, number=number)
    many = {str(each): here.routes["text"].versions["1"] for each in range(100)}
    here.routes["text"] = replace(here.routes["text"], versions=many)
    for number in range(100):
        kept.records["text", str(number)] = replace(record, model="text", number=str(number), made=float(number))

    async def story() -> None:
        await looked(watched(here, kept))
        left = sorted(key for key in kept.records if key[0] != "text")
        assert left == [("m", "1"), ("off", "1")]
        assert sorted(int(key[1]) for key in kept.records if key[0] == "text") == list(range(100 - MOST, 100))

    played(here, story)
