"""Trials: how they begin, are fed, end, outlive the process, and what a win does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.control.challenge import Challenges
from router.control.change import Draft
from router.control.contests import LOOK_S, SAVE_S, Contests
from router.control.lifecycle import Lifecycle
from router.control.records import Case, Change, Order
from router.core.access import Role
from router.core.split import Match
from router.core.standing import CaseKind
from router.core.vitals import Vitals
from router.core.warmup import Figures, Source
from router.errors import NotFound, NotReady, Refused
from tests.control.lifecycle_fakes import ADA, BOB, SIGNATURE, House, promoted, run, settled, stage, started

TOML = "[ledger]\nenabled = true\n[trial]\nwithin = 0.5\nmin_samples = 100\nmax_seconds = 3600\n"
OPERATOR = Order("ada", "look", Role.OPERATOR)


class World:
    """A house with a champion, a challenger and trials, by a clock of its own."""

    def __init__(self, root: Path) -> None:
        self.house = House(root, "m")
        self.ledger = self.house.ledger
        self.up = 50.0
        self.figures: dict[tuple[str, str, str], Figures] = {}
        self.vitals: dict[tuple[str, str], Vitals] = {}
        self.vitals_error: Exception | None = None
        self.acts: list[tuple[str, str, Order, str, bool]] = []
        self.act_error: Exception | None = None
        self.toml(TOML)

    def toml(self, text: str, *models: str) -> None:
        """Settings of the model."""
        for model in models or ("m",):
            self.house.toml(model, text)

    async def begin(self, **challenge: Any) -> None:
        """A server with a challenger, a shadow unless it is said otherwise."""
        self.lifecycle, self.workers = await started(self.house)
        await self.challenger("2", **(challenge or {"shadow": True}))

    async def challenger(self, number: str, model: str = "m", **challenge: Any) -> None:
        """One more."""
        self.house.put(model, int(number))
        await self.lifecycle.test(model, number, ADA)
        self.of(self.lifecycle)
        await self.challenges.challenge(model, number, ADA, **challenge)

    def of(self, lifecycle: Lifecycle) -> Contests:
        """The trials of a process."""
        self.lifecycle = lifecycle
        self.challenges = Challenges(lifecycle._changes)
        figures = lambda model, number, reference: self.figures.get((model, number, reference))  # noqa: E731
        self.contests = Contests(lifecycle._changes, self.ledger, figures, self._vitals, self._act, lambda: self.up)
        return self.contests

    async def _vitals(self) -> Mapping[tuple[str, str], Vitals]:
        if self.vitals_error is not None:
            raise self.vitals_error
        return self.vitals

    async def _act(self, model: str, number: str, order: Order, strategy: str, ask: bool) -> object:
        self.acts.append((model, number, order, strategy, ask))
        if self.act_error is not None:
            raise self.act_error
        return Case(7, CaseKind.REQUEST, model, number, "", order.actor, 0.0) if ask else None

    async def look(self, passes: float = LOOK_S) -> None:
        """After some seconds."""
        self.up += passes
        self.house.now += passes
        await self.contests.look()

    def case(self) -> Case:
        """As it is stored: the last one."""
        return self.house.every_case[max(self.house.every_case)]

    async def restart(self) -> None:
        """The controller alone ends, and comes back."""
        self.of(self.house.lifecycle())
        await self.lifecycle.start()
        for worker in self.workers:
            await self.lifecycle.join(worker)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing runs yet."""
    return World(tmp_path)


# ---- beginning ----


def test_a_trial_says_how_its_comparisons_come_about(world: World) -> None:
    """A case that is stored, an entry, an event; nothing that serves changes."""

    async def story() -> None:
        await world.begin()
        before = world.lifecycle.table
        watch = world.lifecycle.events.watch("m")
        await anext(watch)
        case = await world.contests.start("m", "2", BOB)
        assert case == world.case()
        assert (case.kind, case.model, case.number, case.actor, case.open) == (CaseKind.TRIAL, "m", "2", "bob", True)
        assert case.digest == world.house.records["m", "2"].digest
        assert case.body["how"].startswith("both versions run the same requests, version 2 as a shadow of version 1")
        assert case.body["how"].endswith("nothing has come true of this model so far")
        assert (
            case.body["text"]
            == "Nothing yet: of no request that both can be compared on has it come true what was right."
        )
        entry = world.house.entries[-1]
        assert (entry.action, entry.actor, entry.number, entry.after["case"]) == ("trial", "bob", "2", case.id)
        assert (await anext(watch)).text.startswith("version 2 is on trial against version 1: both versions run")
        assert world.lifecycle.table == before
        json.dumps(case.body, allow_nan=False)

    run(story())


def test_a_share_is_compared_unpaired(world: World) -> None:
    """Each request went to one of both; what route keys do to that is said."""

    async def story() -> None:
        world.ledger.answer(1, 0, 0)
        await world.begin(share=10)
        case = await world.contests.start("m", "2", BOB)
        assert case.body["paired"] is False
        assert case.body["how"].startswith("10 % of the requests are answered by version 2, by lot")
        assert "one route_key stay together" in case.body["how"]
        assert case.body["turn"] == 1

    run(story())


@pytest.mark.parametrize(
    ("toml", "challenge", "said"),
    [
        (
            "",
            {"shadow": True},
            "model 'm' keeps no ledger of its predictions, by which a trial is decided: write `[ledg",
        ),
        (
            TOML.replace("within = 0.5\n", ""),
            {"share": 10},
            "answer different requests with numbers: say under `[trial]`",
        ),
        (TOML, {"share": 100}, "has all requests, so the champion has none"),
        (TOML, {"share": 10, "matches": [Match("x-cohort", "beta", "2")]}, "has the callers with x-cohort = beta"),
        (TOML, {"matches": [Match("x-cohort", "beta", "2")]}, "has neither a share of the requests nor copies"),
    ],
)
def test_what_could_never_come_to_a_verdict_is_refused_at_the_start(
    world: World, toml: str, challenge: dict[str, Any], said: str
) -> None:
    """In words, with the mend; no case is opened."""

    async def story() -> None:
        world.toml(toml)
        await world.begin(**challenge)
        with pytest.raises(Refused) as refused:
            await world.contests.start("m", "2", ADA)
        assert said in str(refused.value)
        assert not world.house.every_case

    run(story())


def test_numbers_of_the_same_requests_need_no_distance(world: World) -> None:
    """The closer one is right."""

    async def story() -> None:
        world.toml(TOML.replace("within = 0.5\n", ""))
        await world.begin()
        assert (await world.contests.start("m", "2", ADA)).body["judge"] == "closer"

    run(story())


def test_versions_of_which_nobody_knows_what_they_predict_are_not_tried(world: World) -> None:
    """The line that says it is named."""

    async def story() -> None:
        await world.begin()
        route = world.lifecycle.table.routes["m"]
        silent = {number: replace(each, signature=type(SIGNATURE)((), ())) for number, each in route.versions.items()}
        table = replace(world.lifecycle.table, routes={"m": replace(route, versions=silent)})
        world.lifecycle._changes.swap.table = table
        with pytest.raises(Refused, match=r"says what its predictions are: name the output that holds them"):
            await world.contests.start("m", "2", ADA)

    run(story())


def test_only_a_challenger_is_tried_and_one_at_a_time(world: World) -> None:
    """Neither a second one, nor beside a canary."""

    async def story() -> None:
        await world.begin()
        world.house.put("m", 3)
        await world.lifecycle.test("m", "3", ADA)
        with pytest.raises(Refused, match=r"version 3 of model 'm' is ready, and only a challenger.*challenge m 3"):
            await world.contests.start("m", "3", ADA)
        with pytest.raises(Refused, match="version 1 of model 'm' is champion"):
            await world.contests.start("m", "1", ADA)
        with pytest.raises(NotFound, match="has no version '7'"):
            await world.contests.start("m", "7", ADA)
        await world.contests.start("m", "2", ADA)
        with pytest.raises(Refused, match=r"version 2 of model 'm' is on trial: `router trial m --stop` ends that"):
            await world.contests.start("m", "2", ADA)
        await world.contests.stop("m", ADA)
        canary(world, "3")
        await world.challenges.challenge("m", "2", ADA, shadow=True)
        with pytest.raises(Refused, match=r"version 3 of model 'm' is being promoted by canary"):
            await world.contests.start("m", "2", ADA)

    run(story())


def test_a_ledger_that_cannot_be_read_begins_no_trial(world: World) -> None:
    """It would begin anywhere."""

    async def story() -> None:
        await world.begin()
        world.ledger.error = NotReady("the ledger cannot be read: the disk fails")
        with pytest.raises(NotReady, match="the disk fails"):
            await world.contests.start("m", "2", ADA)
        assert not world.house.every_case

    run(story())


def canary(world: World, number: str) -> None:
    """One is under way."""
    registry = world.lifecycle._changes.registry
    case = Case(registry.next_case(), CaseKind.ROLLOUT, "m", number, "", "ada", world.house.now)
    world.house.save(Change(cases=(case,)))
    registry.put_cases([case])


# ---- a verdict ----


def test_a_challenger_that_is_better_wins(world: World) -> None:
    """Its trial ends with the interval in words, an entry, an event; it is ready, without copies and share."""

    async def story() -> None:
        await world.begin(shadow=True, share=5)
        case = await world.contests.start("m", "2", OPERATOR)
        watch = world.lifecycle.events.watch("m")
        await anext(watch)
        world.ledger.pair(90, 0.0, 0.0)
        world.ledger.pair(9, 1.0, 0.0)
        await world.look()
        assert world.case().body["text"].endswith("(99 rows compared). No verdict before 100 rows.")
        assert world.case().open
        world.ledger.pair(30, 1.0, 0.0)
        await world.look()
        ended = world.case()
        assert (ended.id, ended.state, ended.ended) == (case.id, "won", world.house.now)
        assert ended.body["text"].startswith(
            "Version 2 is better: of 100 requests version 2 has 30 more right than ver"
        )
        assert "in at most 1 of 100 trials" in ended.body["text"]
        assert 0 < ended.body["standing"]["low"] < 39 / 129 < ended.body["standing"]["high"]
        assert stage(world.lifecycle, "m", "2") == "ready"
        route = world.lifecycle.table.routes["m"]
        assert (route.shadows, route.split.shares, route.champion) == (frozenset(), {}, "1")
        entry = world.house.entries[-1]
        assert (entry.action, entry.actor, entry.after["verdict"]) == ("trial", "router", "won")
        events = [await anext(watch) for _ in range(3)]
        assert [each.facts["verdict"] for each in events if each.kind == "trial"] == ["won"]
        assert world.acts == []

    run(story())


def test_a_challenger_that_is_worse_loses(world: World) -> None:
    """The champion keeps its place."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(100, 0.0, 0.0)
        world.ledger.pair(40, 0.0, 1.0)
        await world.look()
        assert world.case().state == "kept"
        assert world.case().body["text"].startswith("Version 1 keeps its place, version 2 is worse: of 100 requests")
        assert stage(world.lifecycle, "m", "2") == "ready"

    run(story())


def test_answers_of_a_share_are_compared_too(world: World) -> None:
    """Each with those of the champion meanwhile."""

    async def story() -> None:
        await world.begin(share=50)
        await world.contests.start("m", "2", ADA)
        world.ledger.answer(120, 1.0, 0.2)
        await world.look()
        assert (world.case().state, world.case().body["standing"]["challenger_share"]) == ("won", 1.0)

    run(story())


def test_a_trial_without_a_winner_ends_when_its_time_is_over(world: World) -> None:
    """By the clock that never jumps; the other one may be set as one likes."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(200, 0.0, 0.0)
        world.house.now += 1e9
        await world.look()
        world.house.now -= 2e9
        await world.look(3500)
        assert world.case().open
        await world.look(100)
        assert world.case().state == "undecided"
        assert world.case().body["text"].startswith("Undecided after 60 minutes: of 100 requests version 2 has 0 more")

    run(story())


def test_nothing_that_comes_true_is_said_at_the_end(world: World) -> None:
    """Nobody is left to guess why."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        await world.look(3700)
        assert world.case().body["text"] == (
            "Undecided after 60 minutes: of no request that both can be compared on has it come true what was right."
        )

    run(story())


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (Figures(loaded=True, samples={Source.LIVE: 90}, errors=3), "it failed on 3 of 90 requests"),
        (Figures(loaded=True, ratios=tuple(50 if place == 144 else 0 for place in range(224))), "it takes 4.09 × the"),
    ],
)
def test_a_better_challenger_that_fails_or_dawdles_does_not_win(world: World, figures: Figures, said: str) -> None:
    """It is said what is better and what speaks against it; it is not promoted."""

    async def story() -> None:
        world.toml(TOML + 'on_win = "promote"\n')
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.figures["m", "2", "1"] = figures
        world.ledger.pair(120, 1.0, 0.0)
        await world.look()
        assert world.case().state == "held"
        assert world.case().body["text"].startswith("Version 2 is better: ")
        assert said in world.case().body["text"]
        assert world.acts == []

    run(story())


@pytest.mark.parametrize(
    ("champion", "challenger", "said"),
    [
        (Vitals(1000, 5), Vitals(1000, 27), "2.7 % of its requests failed, of the champion's 0.5 % (0.1 % more may"),
        (Vitals(1000), Vitals(1000, 0, 15), "1.5 % of its requests were answered by its fallback"),
        (Vitals(1000, 5, 5), Vitals(1000, 8, 9), ""),
        (Vitals(99, 0, 0, (0, 99)), Vitals(99, 0, 0, (0, 0, 99)), "it takes 2.00 × the champion's time in the median"),
        (Vitals(1000, 5), Vitals(1000, 6), ""),
    ],
)
def test_so_it_is_by_what_callers_had(world: World, champion: Vitals, challenger: Vitals, said: str) -> None:
    """Since the trial began; what was before does not count."""

    async def story() -> None:
        await world.begin(share=50)
        before = {("m", "1"): Vitals(10), ("m", "2"): Vitals(500, 500)}
        world.vitals = dict(before)
        await world.contests.start("m", "2", ADA)
        world.vitals = {("m", "1"): before["m", "1"] + champion, ("m", "2"): before["m", "2"] + challenger}
        world.ledger.answer(120, 1.0, 0.0)
        await world.look()
        assert world.case().state == ("held" if said else "won")
        assert said in world.case().body["text"]

    run(story())


def test_what_is_not_known_of_them_speaks_against_nobody(world: World) -> None:
    """Workers that are out of reach hold up no verdict; counters that began anew count as they are."""

    async def story() -> None:
        world.vitals = {("m", "1"): Vitals(10), ("m", "2"): Vitals(900)}
        await world.begin(share=50)
        await world.contests.start("m", "2", ADA)
        world.vitals = {("m", "1"): Vitals(20), ("m", "2"): Vitals(100, 50)}
        world.ledger.answer(120, 1.0, 0.0)
        await world.look()
        assert world.case().state == "held"
        await world.challenges.challenge("m", "2", ADA, share=50)
        world.vitals_error = NotReady("no worker answers")
        await world.contests.start("m", "2", ADA)
        world.ledger.answer(120, 1.0, 0.0)
        await world.look()
        assert world.case().state == "won"

    run(story())


# ---- what a win does ----


@pytest.mark.parametrize(
    ("on_win", "strategy", "asks", "outcome"),
    [
        ("promote", "canary", False, "It is promoted by canary."),
        ("promote", "swap", False, "It is promoted by swap."),
        ("ask", "canary", True, "Its promotion waits for approval: `router approve 7`."),
    ],
)
def test_a_winner_is_promoted_as_the_settings_say(
    world: World, on_win: str, strategy: str, asks: bool, outcome: str
) -> None:
    """In the name and by the role of whoever began the trial, with the verdict as the reason; once."""

    async def story() -> None:
        world.toml(TOML + f'on_win = "{on_win}"\nstrategy = "{strategy}"\n')
        await world.begin()
        case = await world.contests.start("m", "2", OPERATOR)
        world.ledger.pair(120, 1.0, 0.0)
        await world.look()
        await settled(lambda: not world.case().body["due"])
        await world.look()
        ((model, number, order, by, ask),) = world.acts
        assert (model, number, order.actor, order.role, by, ask) == ("m", "2", "ada", Role.OPERATOR, strategy, asks)
        assert order.reason.startswith(f"it won trial {case.id}: Version 2 is better")
        assert world.case().state == "won"
        assert world.case().body["text"].endswith(outcome)

    run(story())


def test_a_promotion_that_is_refused_is_told(world: World) -> None:
    """The winner is ready, and whoever reads of the trial learns why it is not more."""

    async def story() -> None:
        world.toml(TOML + 'on_win = "promote"\n')
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.act_error = Refused("model 'm' is frozen")
        world.ledger.pair(120, 1.0, 0.0)
        await world.look()
        await settled(lambda: not world.case().body["due"])
        assert world.case().body["outcome"] == "it was not promoted: model 'm' is frozen"
        assert stage(world.lifecycle, "m", "2") == "ready"

    run(story())


@pytest.mark.parametrize("meanwhile", ["nothing", "canary", "another champion", "champion"])
def test_a_winner_that_the_end_of_the_server_kept_waiting_is_promoted_then(world: World, meanwhile: str) -> None:
    """Where that has not happened already, and all is as it was."""

    async def story() -> None:
        world.toml(TOML + 'on_win = "promote"\n')
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(120, 1.0, 0.0)

        async def killed(*_: object) -> None:
            raise Killed

        world.contests._winners._act = killed
        await world.look()
        await settled(lambda: not world.case().open)
        if meanwhile == "canary":
            canary(world, "2")
        elif meanwhile == "another champion":
            await promoted(world.house, world.lifecycle, "m", version=3)
        elif meanwhile == "champion":
            await world.lifecycle.promote("m", "2", ADA)
        number = world.case().id if meanwhile != "canary" else world.case().id - 1
        assert world.house.every_case[number].body["due"] is True
        await world.restart()
        await world.look()
        await settled(lambda: not world.house.every_case[number].body["due"])
        said = {
            "nothing": "it is promoted by canary",
            "canary": "its canary is under way",
            "another champion": "it was not promoted, as the champion has changed",
            "champion": "it is the champion",
        }
        assert world.house.every_case[number].body["outcome"] == said[meanwhile]
        assert len(world.acts) == (meanwhile == "nothing")

    run(story())


class Killed(Exception):
    """In the place of the end of the process."""


# ---- other ends ----


def test_a_trial_is_stopped_by_hand(world: World) -> None:
    """It says how it stood; its challenger is ready. Without one there is nothing to stop."""

    async def story() -> None:
        await world.begin()
        with pytest.raises(NotFound, match=r"no trial of model 'm' is under way: `router trial m VERSION` begins one"):
            await world.contests.stop("m", BOB)
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(60, 1.0, 1.0)
        await world.look()
        case = await world.contests.stop("m", BOB)
        assert (case.state, case.open) == ("stopped", False)
        assert case.body["text"].startswith(
            f"Stopped by bob ({BOB.reason}). So far of 100 requests version 2 has 0 more"
        )
        assert stage(world.lifecycle, "m", "2") == "ready"
        assert (world.house.entries[-1].actor, world.house.entries[-1].after["verdict"]) == ("bob", "stopped")
        with pytest.raises(NotFound, match="unknown model 'x'"):
            await world.contests.stop("x", BOB)

    run(story())


async def another_champion(world: World) -> None:
    """Another version is promoted."""
    await promoted(world.house, world.lifecycle, "m", version=3)


async def champion(world: World) -> None:
    """The challenger is promoted by hand."""
    await world.lifecycle.promote("m", "2", BOB)


async def lost(world: World) -> None:
    """The challenger is lost by a worker."""
    changes = world.lifecycle._changes

    async def lose() -> None:
        draft = Draft()
        changes.lose(draft, changes.registry.record("m", "2"), "it cannot be read")
        await changes.commit(draft)

    await changes.turns.alone(lose)


async def broken(world: World) -> None:
    """The challenger hangs in the warm-up worker."""
    world.figures["m", "2", "1"] = Figures(failed="it hangs: a run has taken 31 s")


async def in_canary(world: World) -> None:
    """The challenger is promoted step by step."""
    canary(world, "2")


async def damaged(world: World) -> None:
    """What was stored cannot be read."""
    registry = world.lifecycle._changes.registry
    (case,) = registry.cases.values()
    registry.cases[case.id] = replace(case, body={**case.body, "trial": {"counts": "?"}})


@pytest.mark.parametrize(
    ("happens", "state", "said", "after"),
    [
        (another_champion, "undecided", "Undecided: the champion has changed, it is version 3 now. Nothing", "ready"),
        (champion, "undecided", "Undecided: version 2 is champion by order of bob. Nothing yet", "champion"),
        (lost, "broke", "Ended: version 2 is failed: it cannot be read. Nothing yet", "failed"),
        (broken, "broke", "Ended: version 2 broke as a shadow: it hangs: a run has taken 31 s. Nothing", "failed"),
        (in_canary, "undecided", "Undecided: version 2 is being promoted by canary, by order of ada.", "challenger"),
        (damaged, "undecided", "Undecided: the state of a trial is damaged: stop the trial and start it", "ready"),
    ],
)
def test_a_trial_that_cannot_go_on_ends(
    world: World, happens: Callable[[World], Any], state: str, said: str, after: str
) -> None:
    """With the reason; what became of the challenger otherwise stays so."""

    async def story() -> None:
        await world.begin()
        case = await world.contests.start("m", "2", ADA)
        await happens(world)
        await world.look()
        ended = world.house.every_case[case.id]
        assert (ended.open, ended.state) == (False, state)
        assert ended.body["text"].startswith(said)
        assert stage(world.lifecycle, "m", "2") == after
        assert world.lifecycle.table.routes["m"].shadows == frozenset() or after == "challenger"

    run(story())


def test_a_shadow_that_breaks_fails_without_a_trial_too(world: World) -> None:
    """Nobody has to look at it for that; the champion notices nothing."""

    async def story() -> None:
        await world.begin()
        world.figures["m", "2", "1"] = Figures(failed="it cannot be loaded")
        await world.look()
        assert stage(world.lifecycle, "m", "2") == "failed"
        assert world.lifecycle.table.routes["m"].champion == "1"
        assert world.house.records["m", "2"].reason == "it broke as a shadow: it cannot be loaded"

    run(story())


# ---- it outlives the process ----


@pytest.mark.parametrize("cold", [False, True])
def test_a_trial_goes_on_after_a_restart(world: World, cold: bool) -> None:
    """Of the controller alone, or of all processes: from what it had read, with the seconds that it had."""

    async def story() -> None:
        await world.begin()
        case = await world.contests.start("m", "2", ADA)
        world.ledger.pair(60, 1.0, 0.0)
        await world.look(1800)
        if cold:
            world.house.reboot()
            world.workers = [world.house.worker(index) for index in range(2)]
        world.up = 3.0
        await world.restart()
        assert world.lifecycle.table.routes["m"].shadows == {"2"}
        await world.look(0)
        assert world.ledger.asked[-1] == 1
        assert world.case().open
        world.ledger.pair(10, 0.0, 0.0)
        await world.look(SAVE_S)
        assert world.case().body["seconds"] == pytest.approx(1800 + SAVE_S)
        world.ledger.pair(50, 1.0, 0.0)
        await world.look()
        assert (world.case().id, world.case().state, world.case().body["standing"]["rows"]) == (case.id, "won", 120)

    run(story())


def test_what_cannot_be_stored_is_read_again(world: World) -> None:
    """Nothing counts twice, and nothing is lost; neither does a ledger that fails end anything."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(99, 1.0, 0.0)
        world.house.store_error = Refused("the disk is full")
        await world.look()
        world.house.store_error = None
        world.ledger.error = NotReady("the ledger cannot be read")
        await world.look()
        assert world.case().body["standing"]["rows"] == 0
        world.ledger.error = None
        await world.look()
        assert world.case().body["standing"]["rows"] == 99
        assert world.ledger.asked == [0, 0, 0]
        world.ledger.pair(1, 1.0, 0.0)
        world.house.store_error = Refused("the disk is full")
        await world.look()
        assert world.case().open
        world.house.store_error = None
        await world.look()
        assert (world.case().state, world.case().body["standing"]["rows"]) == ("won", 100)

    run(story())


def test_nothing_new_is_not_stored(world: World) -> None:
    """But the time that has passed, now and then; between two looks nothing is asked."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(10, 1.0, 0.0)
        await world.look()
        stored = world.case()
        await world.look()
        await world.look(0.5)
        assert world.case() is stored
        assert len(world.ledger.asked) == 2
        await world.look(SAVE_S)
        assert world.case().body["seconds"] == LOOK_S + LOOK_S + 0.5 + SAVE_S

    run(story())


def test_actuals_that_contradict_are_told(world: World) -> None:
    """Those of its time, also those before a restart."""

    async def story() -> None:
        world.ledger.contradicted["m"] = 5
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.contradicted["m"] = 7
        world.ledger.pair(10, 1.0, 0.0)
        await world.look()
        world.ledger.contradicted["m"] = 0
        await world.restart()
        await world.look()
        world.ledger.contradicted["m"] = 1
        await world.look()
        assert world.case().body["contradicting"] == 3
        assert (
            world.case()
            .body["text"]
            .endswith("3 actuals contradicted what had come true before; what came first counts.")
        )

    run(story())


def test_trials_of_several_models_do_not_hold_each_other_up(world: World) -> None:
    """The trouble of one is its own; what is new of all is stored at once."""

    async def story() -> None:
        world.house.put("n")
        world.toml(TOML, "n")
        await world.begin()
        await world.challenger("2", "n", shadow=True)
        first = await world.contests.start("m", "2", ADA)
        second = await world.contests.start("n", "2", ADA)
        world.ledger.pair(120, 1.0, 0.0)
        damaged_figures = world.contests._figures

        def figures(model: str, number: str, reference: str) -> Figures | None:
            if model == "m":
                raise ZeroDivisionError
            return damaged_figures(model, number, reference)

        world.contests._figures = figures
        await world.look()
        assert world.house.every_case[first.id].open
        assert world.house.every_case[second.id].state == "won"

    run(story())


def test_pages_follow_each_other(world: World) -> None:
    """What is more than is read at once comes with the next look, whatever had come true before it began."""

    async def story() -> None:
        world.ledger.pair(500, 0.0, 1.0)
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(10, 1.0, 0.0)
        await world.look()
        world.ledger.pair(10, 1.0, 0.0)
        await world.look()
        assert world.ledger.asked == [1, 2]
        assert world.case().body["standing"]["rows"] == 20

    run(story())
