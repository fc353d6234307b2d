"""The front door of promotions: what waits for others, what they agree to, and what becomes of it; on fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from router.config import PolicySettings
from router.control.approvals import Approvals
from router.control.change import Draft
from router.control.consent import Consent
from router.control.database import FILE, Database
from router.control.lifecycle import Lifecycle
from router.control.records import Case, Order, Swapped
from router.control.succession import Succession
from router.core.access import Role
from router.core.standing import CaseKind
from router.edge.tables import from_text, to_text
from router.errors import Conflict, Denied, InvalidRequest, NoRoom, NotFound, Refused, RouterError
from tests.control.crash_fakes import Crash, Process
from tests.control.lifecycle_fakes import House, champions, promoted, run, settled, stages, started

ADA = Order("ada", "it is better", Role.OPERATOR)
BOB, CARL = Order("bob", "I have looked", Role.APPROVER), Order("carl", "so have I", Role.APPROVER)
EVE = Order("eve", "let me", Role.OPERATOR)
DAY = 86_400.0


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


@dataclass
class Door:
    """Approvals over a lifecycle, with a clock for each kind of time; `fails` is what carrying out ends with."""

    house: House
    lifecycle: Lifecycle
    policy: dict[str, PolicySettings] = field(default_factory=dict)
    importance: dict[str, str] = field(default_factory=lambda: {"a": "high"})
    seconds: float = 50.0
    database: Database | None = None
    fails: Exception | None = None
    gate: asyncio.Event | None = None
    carried: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        changes = self.lifecycle._changes
        planning = self.lifecycle._planning
        self.succession = Succession(changes, planning, self.lifecycle._examination)
        self.consent = Consent(changes.registry, self.policy, self.importance, self._champions)
        self.approvals = Approvals(
            changes,
            self.consent,
            self._promote,
            self._canary,
            self.database.cases if self.database is not None else self.house.cases,
            lambda record, override: planning.obstacles(record, override=override),
            lambda: self.seconds,
        )
        self.promote, self.approve = self.approvals.promote, self.approvals.approve
        self.reject, self.look = self.approvals.reject, self.approvals.look

    def _champions(self, model: str) -> list[str]:
        mine = [each for each in self.house.entries if each.model == model]
        return [each.number for each in mine if each.after.get("champion") == each.number]

    def loads(self) -> None:
        """Loads come to this door too."""
        demand = self.lifecycle._demand
        demand._promotions, demand._unapproved = self.approvals, self.consent.asked

    async def _promote(self, *asked: Any) -> Swapped:
        self.carried.append(asked[:-1])
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return await self.succession.promote(*asked)

    async def _canary(
        self, model: str, number: str, order: Order, expected: str, override: bool, _digest: str = ""
    ) -> Case:
        self.carried.append((model, number, order, expected, override, "canary"))
        changes = self.lifecycle._changes
        id_ = changes.registry.next_case()
        case = Case(id_, CaseKind.ROLLOUT, model, number, "", order.actor, changes.clock())
        await changes.turns.alone(lambda: changes.commit(Draft(cases={id_: case})))
        return case

    async def asked(self, number: str = "2", order: Order = ADA, **more: Any) -> Case:
        """A request for version `number` of a."""
        made = await self.promote("a", number, order, **more)
        assert isinstance(made, Case)
        return made

    def passes(self, seconds: float) -> None:
        """Time goes by, on both clocks."""
        self.seconds += seconds
        self.house.now += seconds


async def door(house: House, *versions: int, **more: Any) -> Door:
    """Approvals of a server that serves; `versions` of a are ready."""
    lifecycle, _ = await started(house)
    for number in versions or (2,):
        house.put("a", number)
        await lifecycle.test("a", str(number), ADA)
    return Door(house, lifecycle, **more)


def acts(house: House) -> list[tuple[str, str]]:
    """Who did what, since the versions were tested."""
    return [(each.action, each.actor) for each in house.entries if each.action not in {"began", "test", "verdict"}]


def kept(house: House, case: Case) -> Case:
    """The case as it is stored."""
    return house.every_case[case.id]


async def untouched(work: Any, door: Door, error: type[RouterError], line: str) -> None:
    """An order is refused with this line, and nothing has changed: not what is stored, nor who answers."""
    house = door.house
    was = (dict(house.every_case), list(house.entries), dict(house.records), champions(door.lifecycle))
    with pytest.raises(error) as refused:
        await work
    assert line in str(refused.value)
    assert str(refused.value).isprintable()
    assert (dict(house.every_case), list(house.entries), dict(house.records), champions(door.lifecycle)) == was


# ---- asking ----


@pytest.mark.parametrize("level", ["low", "moderate"])
def test_what_needs_nobody_else_is_done_at_once(house: House, level: str) -> None:
    """A promotion, or a canary: no request is made."""

    async def test() -> None:
        made = await door(house, importance={"a": level})
        rollout = await made.promote("a", "2", ADA, "1", canary=True)
        assert isinstance(rollout, Case)
        assert rollout.kind is CaseKind.ROLLOUT
        swapped = await made.promote("a", "2", ADA, "1")
        assert isinstance(swapped, Swapped)
        assert champions(made.lifecycle)["a"] == "2"
        assert made.carried == [("a", "2", ADA, "1", False, "canary"), ("a", "2", ADA, "1", False)]
        assert acts(house) == [("promote", "ada")]

    run(test())


@pytest.mark.parametrize("canary", [False, True])
def test_what_others_must_agree_to_waits(house: House, canary: bool) -> None:
    """The champion is untouched; the request is stored, recorded and told, with all that it is bound to."""

    async def test() -> None:
        made = await door(house)
        watching = made.lifecycle.events.watch("a")
        await anext(watching)
        was = made.lifecycle.table
        case = await made.asked(canary=canary)
        assert not made.carried
        assert made.lifecycle.table.generation == was.generation
        assert champions(made.lifecycle)["a"] == "1"
        assert (case.kind, case.number, case.actor, case.state, case.open) == (
            CaseKind.REQUEST, "2", "ada", "open", True,
        )  # fmt: skip
        assert kept(house, case) == case
        body = case.body
        assert (body["strategy"], body["expected"], body["override"]) == ("canary" if canary else "swap", "1", False)
        assert (body["requester"], body["role"], body["reason"]) == ("ada", "operator", "it is better")
        assert (body["approvals"], body["given"], body["expires"]) == (1, [], house.now + DAY)
        assert body["digest"] == case.digest == house.records["a", "2"].digest
        assert body["shown"]["reports"][0]["verdicts"]["exam"] == "pass"
        assert acts(house) == [("request", "ada")]
        entry = house.entries[-1]
        assert (entry.reason, entry.number, entry.before) == ("it is better", "2", {"champion": "1"})
        assert (entry.after["request"], entry.after["evidence"]) == (case.id, body["evidence"])
        event = await anext(watching)
        assert (event.kind, event.number, event.facts["request"]) == ("request", "2", str(case.id))
        assert event.text == f"request {case.id} waits for approval, it has 0 of 1 approval: `router approve {case.id}`"

    run(test())


def test_whoever_asks_again_has_the_same_request(house: House) -> None:
    """Whoever it is, and it tells how many agree; a request for something else is refused until that one is over."""

    async def test() -> None:
        made = await door(house, 2, 3, importance={"a": "critical"})
        case = await made.asked(order=BOB)
        agreed = await made.approve(case.id, CARL)
        assert await made.asked(order=CARL) == agreed
        assert len(agreed.body["given"]) == 1
        line = f"request {case.id} of 'bob' waits for approval, to have version 2 of model 'a' promoted: `router reject"
        await untouched(made.promote("a", "3", BOB), made, Conflict, line)
        await untouched(made.promote("a", "2", BOB, canary=True), made, Conflict, line)
        await made.reject(case.id, CARL)
        other = await made.asked("3", BOB)
        assert other.id > case.id

    run(test())


def test_who_may_not_ask(house: House) -> None:
    """By the rule of the model's importance, which the line names; an override needs its role, and a reason."""

    async def test() -> None:
        made = await door(house, importance={"a": "critical"})
        viewer = Order("eve", "", Role.VIEWER)
        line = "needs the role approver, and 'ada' is operator: [policy.critical] promote = \"approver\", which holds"
        await untouched(made.promote("a", "2", ADA), made, Denied, line)
        await untouched(made.promote("b", "1", viewer), made, Denied, '[policy.low] promote = "operator"')
        line = "'bob' is approver: [policy.critical] override = \"admin\""
        await untouched(made.promote("a", "2", BOB, override=True), made, Denied, line)
        admin = Order("root", "", Role.ADMIN)
        await untouched(made.promote("a", "2", admin, override=True), made, InvalidRequest, "needs a reason")

    run(test())


def test_nobody_is_asked_in_vain(house: House) -> None:
    """What could not be carried out is refused when it is asked for: a version that is not there, has not passed, is
    the champion; a frozen model; a champion that is another."""

    async def test() -> None:
        made = await door(house)
        house.put("a", 3)
        await made.lifecycle.refresh()
        await untouched(made.promote("a", "9", ADA), made, NotFound, "has no version '9'; it has 3, 2, 1")
        await untouched(made.promote("z", "1", ADA), made, NotFound, "unknown model 'z'")
        await untouched(made.promote("a", "3", ADA), made, Refused, "has not been tested: `router test a 3` first")
        await untouched(made.promote("a", "1", ADA), made, Refused, "is its champion already")
        await untouched(made.promote("a", "2", ADA, "3"), made, Conflict, "is version 1, not 3: look again")
        await made.lifecycle.freeze("a", True, BOB)
        await untouched(made.promote("a", "2", ADA), made, Refused, "`router thaw a` allows promotions again")

    run(test())


def test_nobody_is_asked_while_a_canary_is_under_way(house: House) -> None:
    """Its end comes first; but whoever is sure enough of its candidate may ask to have it promoted at once."""

    async def test() -> None:
        made = await door(house, 2, 3)
        await made._canary("a", "2", ADA, "1", False)
        line = "version 2 of model 'a' is being promoted by canary: wait for its end, or `router canary a --stop`"
        await untouched(made.promote("a", "3", ADA), made, Conflict, line)
        await untouched(made.promote("a", "2", ADA, canary=True), made, Conflict, line)
        assert (await made.approve((await made.asked()).id, BOB)).state == "approved"
        assert champions(made.lifecycle)["a"] == "2"

    run(test())


def test_a_declared_importance_goes_before_the_configured_one(house: House) -> None:
    """At the next order, both ways; a request that is open needs as many as the higher of both."""

    async def test() -> None:
        made = await door(house, 2, 3, policy={"low": PolicySettings(approvals=0)})
        case = await made.asked()
        registry = made.lifecycle._registry
        registry.importance = {"a": "critical"}
        agreed = await made.approve(case.id, BOB)
        assert agreed.open
        assert agreed.body["approvals"] == 2
        registry.importance = {"a": "low"}
        swapped = await made.promote("a", "3", ADA)
        assert isinstance(swapped, Swapped)
        await made.look()
        assert kept(house, case).state == "void"

    run(test())


def test_so_many_as_somebody_wants_must_agree(house: House) -> None:
    """Also where the policy asks for nobody: a trial that is to ask first does."""

    async def test() -> None:
        made = await door(house, importance={})
        case = await made.asked(order=Order("router", "version 2 has won"), at_least=1)
        assert case.body["approvals"] == 1
        assert (await made.approve(case.id, Order("local", "", Role.ADMIN))).state == "approved"
        assert champions(made.lifecycle)["a"] == "2"

    run(test())


# ---- agreeing ----


def test_the_last_approval_carries_it_out(house: House) -> None:
    """In the name of whoever asked, against the champion of then; all of it stands in the audit log."""

    async def test() -> None:
        made = await door(house, importance={"a": "critical"})
        case = await made.asked(order=replace(BOB, actor="ben"))
        first = await made.approve(case.id, BOB, case.digest)
        assert first.open
        assert champions(made.lifecycle)["a"] == "1"
        assert first.body["given"] == [{"actor": "bob", "seconds": house.now, "reason": "I have looked"}]
        done = await made.approve(case.id, CARL, case.digest[:12])
        assert (done.state, done.open) == ("approved", False)
        assert done.body["outcome"] == "approved by bob, carl: version 2 answers"
        assert kept(house, case) == done
        assert champions(made.lifecycle)["a"] == "2"
        assert made.carried == [("a", "2", Order("ben", "I have looked", Role.APPROVER), "1", False)]
        assert acts(house) == [
            ("request", "ben"), ("approve", "bob"), ("approve", "carl"), ("promote", "ben"), ("request", "ben"),
        ]  # fmt: skip
        approve = house.entries[-3]
        assert approve.after == {
            "request": case.id, "given": 2, "approvals": 2, "requester": "ben",
            "digest": case.digest, "evidence": case.body["evidence"],
        }  # fmt: skip
        assert house.entries[-1].after["state"] == "approved"
        assert not made.lifecycle._registry.cases

    run(test())


def test_an_approved_canary_begins(house: House) -> None:
    """The request is over then; the rollout is a case of its own."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked(canary=True)
        done = await made.approve(case.id, BOB)
        (rollout,) = made.lifecycle._registry.cases.values()
        assert (done.state, done.body["outcome"]) == ("approved", f"approved by bob: canary {rollout.id} has begun")
        assert made.carried == [("a", "2", ADA, "1", False, "canary")]

    run(test())


@pytest.mark.parametrize(
    ("order", "digest", "error", "line"),
    [
        (ADA, "", Denied, "needs the role approver, and 'ada' is operator"),
        (replace(ADA, role=Role.ADMIN), "", Denied, "was made by 'ada', and nobody approves what they asked for"),
        (Order("eve", "", Role.VIEWER), "", Denied, "needs the role approver, and 'eve' is viewer"),
        (BOB, "", Conflict, "'bob' has approved request 1 already: it has 1 of 2 approvals"),
        (CARL, "f" * 64, Refused, "not ffffffffffff…: look at it again"),
    ],
)
def test_a_word_that_does_not_count(
    house: House, order: Order, digest: str, error: type[RouterError], line: str
) -> None:
    """The requester's, a lower role's, the same person's again, of another digest: nothing has changed."""

    async def test() -> None:
        made = await door(house, policy={"high": PolicySettings(approvals=2)})
        case = await made.asked()
        await made.approve(case.id, BOB)
        await untouched(made.approve(case.id, order, digest), made, error, line)
        assert (await made.approve(case.id, CARL)).state == "approved"

    run(test())


def test_a_request_that_is_not_there(house: House) -> None:
    """Never was, is over, or is something else: the line says which are open."""

    async def test() -> None:
        made = await door(house)
        await untouched(made.approve(1, BOB), made, NotFound, "there is no open request 1: none is open (`router cases")
        case = await made.asked()
        await untouched(made.reject(9, BOB), made, NotFound, f"there is no open request 9: open are {case.id} (")
        await made.approve(case.id, BOB)
        await untouched(made.approve(case.id, CARL), made, NotFound, "there is no open request 1: none is open")

    run(test())


# ---- what voids a request ----


async def retested(made: Door) -> None:
    """There is a new report of version 2."""
    made.house.now += 1
    await made.lifecycle.test("a", "2", BOB)


async def trial_over(made: Door) -> None:
    """A trial of version 2 has ended since."""
    made.house.every_case[90] = Case(90, CaseKind.TRIAL, "a", "2", "", "bob", 1.0, 2.0, "won")


async def files_changed(made: Door) -> None:
    """Version 2 is of other files by now."""
    registry = made.lifecycle._registry
    registry.put([replace(registry.records["a", "2"], digest="f" * 64)])


async def another_champion(made: Door) -> None:
    """Somebody has gone to another version."""
    await made.succession.promote("a", "3", BOB)


@pytest.mark.parametrize(
    ("happens", "line"),
    [
        (retested, "the evidence of version 2 of model 'a' has changed: ask again"),
        (trial_over, "the evidence of version 2 of model 'a' has changed: ask again"),
        (files_changed, "the files of version 2 of model 'a' have changed: ask again"),
        (another_champion, "the champion of 'a' is version 3, and was version 1 when this was asked for: ask again"),
    ],
)
def test_what_was_not_shown_is_not_approved(house: House, happens: Callable[[Door], Any], line: str) -> None:
    """New evidence, other files, another champion: the request is void, and it can be asked for anew."""

    async def test() -> None:
        made = await door(house, 2, 3)
        case = await made.asked()
        await happens(made)
        was = champions(made.lifecycle)
        with pytest.raises(Refused) as refused:
            await made.approve(case.id, BOB)
        assert str(refused.value) == f"request {case.id} is void: {line}"
        assert (kept(house, case).state, kept(house, case).body["outcome"]) == ("void", line)
        assert not made.carried
        assert champions(made.lifecycle) == was
        assert house.entries[-1].after == {"request": case.id, "state": "void", "outcome": line}
        again = await made.asked()
        assert again.id > case.id
        assert (await made.approve(again.id, BOB)).state == "approved"

    run(test())


def test_whoever_asks_again_after_a_change_has_a_new_request(house: House) -> None:
    """The old one is void; so it is where somebody asks for another version."""

    async def test() -> None:
        made = await door(house, 2, 3)
        first = await made.asked()
        await retested(made)
        second = await made.asked()
        assert (kept(house, first).state, second.open) == ("void", True)
        await retested(made)
        third = await made.asked("3")
        assert (kept(house, second).state, third.number) == ("void", "3")
        assert [case.id for case in made.lifecycle._registry.cases.values()] == [third.id]

    run(test())


def test_what_is_still_under_way_is_no_evidence(house: House) -> None:
    """A trial that begins after the request changes nothing that was shown; its end does."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.every_case[90] = Case(90, CaseKind.TRIAL, "a", "2", "", "bob", 1.0, body={"samples": 3})
        assert (await made.approve(case.id, BOB)).state == "approved"

    run(test())


# ---- carrying out ----


def test_what_cannot_be_carried_out_ends_refused(house: House) -> None:
    """The approver is told why; it can be asked for again. What somebody else was faster at is void."""

    async def test() -> None:
        made = await door(house)
        for error, state, said in (
            (NoRoom("version 2 needs 2 GB"), "refused", "approved by bob, and not carried out: version 2 needs 2 GB"),
            (Refused("it is frozen"), "refused", "approved by bob, and not carried out: it is frozen"),
            (Conflict("the champion is another"), "void", "the champion is another"),
            (KeyError("oops"), "refused", "not carried out: the server failed, its log has the details"),
        ):
            made.fails = error
            case = await made.asked()
            done = await made.approve(case.id, BOB)
            assert done.state == state
            assert said in done.body["outcome"]
            assert kept(house, case) == done
            assert champions(made.lifecycle)["a"] == "1"
        made.fails = None
        assert (await made.approve((await made.asked()).id, BOB)).state == "approved"

    run(test())


def test_what_stands_in_the_way_is_told_before_the_last_approval(house: House) -> None:
    """It counts once that is out of the way: the request stands."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        await made.lifecycle.freeze("a", True, BOB)
        line = f"request {case.id} cannot be carried out now: model 'a' is frozen: `router thaw a`"
        await untouched(made.approve(case.id, BOB), made, Refused, line)
        await made.lifecycle.freeze("a", False, BOB)
        assert (await made.approve(case.id, BOB)).state == "approved"

    run(test())


def test_against_the_gates_others_must_agree_as_well(house: House) -> None:
    """A version that has failed: the role of the level, a reason, and the approvals; bound to its files."""

    async def test() -> None:
        made = await door(house)
        house.put("a", 3)
        house.failing["a/3"] = "too slow"
        await made.lifecycle.test("a", "3", ADA)
        await untouched(made.promote("a", "3", ADA, override=True), made, Denied, '[policy.high] override = "approver"')
        case = await made.asked("3", BOB, override=True)
        assert case.digest
        assert case.body["shown"]["reports"][-1]["verdicts"]["exam"] == "fail"
        house.put("a", 3, "other weights")
        with pytest.raises(Refused, match="the files of version 3 of model 'a' have changed: ask again"):
            await made.approve(case.id, CARL)
        again = await made.asked("3", BOB, override=True)
        done = await made.approve(again.id, CARL)
        assert done.state == "approved", done.body["outcome"]
        assert champions(made.lifecycle)["a"] == "3"

    run(test())


@pytest.mark.parametrize("canary", [False, True])
def test_files_that_change_after_the_last_approval_are_not_promoted(house: House, canary: bool) -> None:
    """Though it is another's turn meanwhile: what is loaded is what was agreed to, or the request is void."""

    async def test() -> None:
        lifecycle, _ = await started(house, importance={"a": "high"})
        house.put("a", 2)
        await lifecycle.refresh()
        case = await lifecycle.promote("a", "2", BOB, override=True, canary=canary)
        assert isinstance(case, Case)
        turns = 0
        alone = lifecycle._turns.alone

        async def late(change: Callable[[], Any]) -> Any:
            nonlocal turns
            turns += 1
            if turns == 2:  # the first is that of the approval
                house.put("a", 2, "other weights")
            return await alone(change)

        lifecycle._turns.alone = late  # type: ignore[method-assign]
        done = await lifecycle.approve(case.id, CARL)
        assert (done.state, done.digest) == ("void", case.digest)
        assert f"and {case.digest[:12]}… was agreed to: ask again" in done.body["outcome"]
        assert champions(lifecycle)["a"] == "1"
        assert house.records["a", "2"].stage == "found"
        again = await lifecycle.promote("a", "2", BOB, override=True, canary=canary)
        assert isinstance(again, Case)
        assert (await lifecycle.approve(again.id, CARL)).state == "approved"

    run(test())


def test_while_it_is_carried_out_nothing_else_happens_to_it(house: House) -> None:
    """No other word counts, nobody ends it, and time does not; the approver who goes away stops nothing."""

    async def test() -> None:
        made = await door(house)
        made.gate = asyncio.Event()
        case = await made.asked()
        approving = asyncio.ensure_future(made.approve(case.id, BOB))
        await settled(lambda: bool(made.carried))
        line = f"request {case.id} has all its approvals, and is being carried out"
        await untouched(made.approve(case.id, CARL), made, Conflict, line)
        await untouched(made.reject(case.id, ADA), made, Conflict, line)
        made.passes(2 * DAY)
        await made.look()
        approving.cancel()
        made.gate.set()
        await settled(lambda: not kept(house, case).open)
        assert kept(house, case).state == "approved"
        assert len(made.carried) == 1

    run(test())


def test_an_end_that_cannot_be_stored_is_stored_later(house: House) -> None:
    """The promotion is done and told; the case is over, and the store has that with the next change."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        save = house.save

        def full(change: Any) -> None:
            if change.table is None and any(not each.open for each in change.cases):
                raise Refused("the disk is full")
            save(change)

        house.save = full  # type: ignore[method-assign]
        done = await made.approve(case.id, BOB)
        assert done.state == "approved"
        assert champions(made.lifecycle)["a"] == "2"
        assert kept(house, case).open
        house.save = save  # type: ignore[method-assign]
        await made.lifecycle._changes.pay()
        assert kept(house, case) == done

    run(test())


def test_an_approval_that_cannot_be_stored_is_none(house: House) -> None:
    """It is refused, and counts when it is given again."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.store_error = Refused("the change was not made: the disk is full")
        with pytest.raises(Refused, match="the disk is full"):
            await made.approve(case.id, BOB)
        house.store_error = None
        assert kept(house, case) == case
        assert (await made.approve(case.id, BOB)).state == "approved"

    run(test())


# ---- ending ----


@pytest.mark.parametrize("order", [BOB, ADA, replace(ADA, role=Role.ADMIN)])
def test_a_request_is_ended_by_an_approver_or_taken_back(house: House, order: Order) -> None:
    """With the reason; the champion is as it was."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        await untouched(made.reject(case.id, EVE), made, Denied, "to end it needs the role approver, and 'eve' is oper")
        done = await made.reject(case.id, replace(order, reason="not on a Friday"))
        how = "taken back" if order.actor == "ada" else "rejected"
        assert (done.state, done.body["outcome"]) == ("rejected", f"{how} by '{order.actor}': not on a Friday")
        assert kept(house, case) == done
        assert (house.entries[-1].action, house.entries[-1].actor) == ("reject", order.actor)
        assert champions(made.lifecycle)["a"] == "1"

    run(test())


# ---- time ----


def test_a_request_expires(house: House) -> None:
    """It does not count any more from that instant on, and ends at the next look; then it can be asked for anew."""

    async def test() -> None:
        made = await door(house, policy={"high": PolicySettings(approvals=1, expires_s=60)})
        case = await made.asked()
        made.passes(59.9)
        await made.look()
        assert kept(house, case).open
        made.passes(0.1)
        await untouched(made.approve(case.id, BOB), made, Refused, f"request {case.id} is void: it has expired: ask a")
        await made.look()
        assert (kept(house, case).state, kept(house, case).body["outcome"]) == ("void", "it has expired: ask again")
        again = await made.asked()
        assert (await made.approve(again.id, BOB)).state == "approved"

    run(test())


def test_a_clock_that_is_set_back_makes_no_request_last_longer(house: House) -> None:
    """The time that has passed here counts as well."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.now -= 10 * DAY
        made.seconds += DAY
        await untouched(made.approve(case.id, BOB), made, Refused, "it has expired: ask again")
        await made.look()
        assert kept(house, case).state == "void"

    run(test())


def test_a_clock_that_is_set_forward_ends_no_request(house: House) -> None:
    """Nobody's word counts while it says so, and it does again when it is right; whoever asks again has a new one."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.now += 10 * DAY
        await made.look()
        await untouched(made.approve(case.id, BOB), made, Refused, "it has expired: ask again")
        house.now -= 10 * DAY
        await made.look()
        assert kept(house, case).open
        house.now += 10 * DAY
        again = await made.asked()
        assert (kept(house, case).state, again.id > case.id) == ("void", True)
        assert (await made.approve(again.id, BOB)).state == "approved"

    run(test())


def test_many_looks_cost_nothing_where_nothing_is_due(house: House) -> None:
    """Nothing is stored, and nobody's turn is taken."""

    async def test() -> None:
        made = await door(house)
        await made.look()
        case = await made.asked()
        entries = len(house.entries)
        async with made.lifecycle._turns.lock:
            await asyncio.wait_for(made.look(), 1)
        assert len(house.entries) == entries
        assert kept(house, case).open

    run(test())


# ---- restarts ----


async def restarted(house: House, made: Door, *, cold: bool) -> Door:
    """Another controller, or after a start of the whole server one that begins from what is stored."""
    if cold:
        house.reboot()
    lifecycle = house.lifecycle()
    await lifecycle.start()
    if not cold:
        for worker in house.processes.values():
            await lifecycle.join(worker)
    return Door(house, lifecycle, made.policy, made.importance, seconds=3.0)


@pytest.mark.parametrize("cold", [False, True])
def test_a_request_outlives_the_process(house: House, cold: bool) -> None:
    """With who has agreed, and with the time that it has left."""

    async def test() -> None:
        made = await door(house, policy={"high": PolicySettings(approvals=2)})
        case = await made.asked()
        await made.approve(case.id, BOB)
        house.now += DAY - 10
        again = await restarted(house, made, cold=cold)
        await again.look()
        await untouched(again.approve(case.id, BOB), again, Conflict, "'bob' has approved request")
        assert (await again.approve(case.id, CARL)).state == "approved"
        assert champions(again.lifecycle)["a"] == "2"

    run(test())


@pytest.mark.parametrize(("passed", "state"), [(5.0, "open"), (11.0, "void")])
def test_what_was_left_when_the_process_ended_is_left(house: House, passed: float, state: str) -> None:
    """By the server's clock first, and from then on by the time that passes."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.now += DAY - 10
        again = await restarted(house, made, cold=False)
        await again.look()
        again.seconds += passed
        await again.look()
        assert kept(house, case).state == state

    run(test())


def test_a_clock_that_was_set_back_over_a_restart_gives_no_more_than_the_whole_time(house: House) -> None:
    """No request lasts for ever."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.now -= 100 * DAY
        again = await restarted(house, made, cold=False)
        await again.look()
        assert kept(house, case).open
        again.seconds += DAY
        await again.look()
        assert kept(house, case).state == "void"

    run(test())


def test_what_expired_while_nobody_looked_is_void(house: House) -> None:
    """At the first look of the next process."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked()
        house.now += DAY
        again = await restarted(house, made, cold=True)
        await untouched(again.approve(case.id, BOB), again, Refused, "it has expired")
        await again.look()
        assert kept(house, case).state == "void"

    run(test())


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("canary", [False, True])
def test_a_crash_between_the_last_approval_and_its_end(house: House, done: bool, canary: bool) -> None:
    """What was approved is carried out by the next process, once, also where it had been done before the crash."""

    async def test() -> None:
        made = await door(house)
        case = await made.asked(canary=canary)
        approved = replace(case, body={**case.body, "given": [{"actor": "bob", "seconds": 1.0, "reason": ""}]})
        if done:
            await (made._canary if canary else made.succession.promote)("a", "2", ADA, "1", False)
        house.every_case[case.id] = approved  # it was stored, and then the process was killed
        again = await restarted(house, made, cold=False)
        await again.look()
        await again.look()
        await settled(lambda: not kept(house, case).open)
        assert kept(house, case).state == "approved"
        assert len(again.carried) == (0 if done else 1)
        assert done or again.carried[0][2] == ADA
        if not canary:
            assert champions(again.lifecycle)["a"] == "2"

    run(test())


@pytest.mark.parametrize(
    ("canary", "steps"), [*((False, at) for at in range(1, 13)), *((True, at) for at in range(1, 7))]
)
def test_a_controller_that_is_killed_while_it_is_approved(
    house: House, tmp_path: Path, steps: int, canary: bool
) -> None:
    """At any step: an approval that was not stored is given again, one that was is carried out by the next controller;
    the promotion is made once, and the request ends once."""

    async def test(database: Database) -> None:
        first = Process(house, database)
        crew = [house.worker(index) for index in range(2)]
        lifecycle = await first.start(*crew)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
        case = await Door(house, lifecycle, database=database).asked(canary=canary)
        made = Door(house, lifecycle, database=database)
        first.steps, first.dies_in = [], steps
        acknowledged = False
        with suppress(Crash):
            acknowledged = not (await made.approve(case.id, BOB)).open
        await first.end()
        assert len(first.steps) == steps
        second = Process(house, database)
        again = Door(house, await second.start(*crew), database=database)
        await again.look()
        (stored,) = [each for each in database.cases(kind="request") if each.id == case.id]
        if stored.open and not stored.body["given"]:
            assert not acknowledged
            await again.approve(case.id, BOB)
        await settled(lambda: not database.cases(kind="request")[0].open)
        await again.look()
        (ended,) = database.cases(kind="request")
        assert (ended.state, [each["actor"] for each in ended.body["given"]]) == ("approved", ["bob"])
        acts = [(each.entry.action, each.entry.actor) for each in database.audit("a")]
        assert acts.count(("approve", "bob")) == 1
        assert acts.count(("request", "ada")) == 2, "it began, and it ended"
        assert acts.count(("promote", "ada")) == (0 if canary else 1)
        assert len(database.cases(kind="rollout")) == (1 if canary else 0)
        assert champions(again.lifecycle)["a"] == ("1" if canary else "2")
        assert database.verify().whole
        await second.end()

    made = Database(tmp_path / FILE, to_text, from_text)
    made.open()
    with closing(made):
        run(test(made))


def test_a_request_that_cannot_be_read_stands_in_nobodys_way(house: House) -> None:
    """It ends at a look, with the reason; other requests are looked after all the same."""

    async def test() -> None:
        made = await door(house, importance={"a": "high", "b": "high"})
        house.put("b", 2)
        await made.lifecycle.test("b", "2", ADA)
        other = await made.promote("b", "2", ADA)
        case = await made.asked()
        assert isinstance(other, Case)
        torn = replace(case, body={"strategy": 3})
        made.lifecycle._registry.put_cases([torn])
        with pytest.raises(RouterError, match="a request for version 2 of model 'a' cannot be read"):
            await made.approve(case.id, BOB)
        await made.look()
        ended = kept(house, case)
        assert (ended.state, ended.body["strategy"]) == ("void", 3)
        assert "cannot be read" in ended.body["outcome"]
        assert (await made.asked()).open
        assert kept(house, other).open

    run(test())


# ---- ways back ----


def test_a_way_back_needs_nobody(house: House) -> None:
    """A rollback is done at once, whatever the model's importance; a request that is open then is void."""

    async def test() -> None:
        made = await door(house, 2, 3, importance={"a": "critical"})
        await promoted(house, made.lifecycle, "b")
        await made.succession.promote("a", "2", BOB)
        case = await made.asked("3", BOB)
        await made.succession.rollback("a", "", ADA)
        await made.look()
        assert stages(made.lifecycle, "a") == {"3": "ready", "2": "standby", "1": "champion"}
        assert kept(house, case).state == "void"
        assert "the champion of 'a' is version 1, and was version 2" in kept(house, case).body["outcome"]

    run(test())


def test_a_version_that_has_never_been_champion_is_no_way_back(house: House) -> None:
    """Where others must agree to a promotion, it is not to be had by the name of a rollback."""

    async def test() -> None:
        made = await door(house, 2, 3)
        line = (
            "version 2 of model 'a' is no way back: it has never been the champion, and others must agree to that"
            " ([policy.high] approvals = 1, which holds where router.toml has no other): `router promote a 2`"
        )
        await untouched(made.consent.check_way_back("a", "2"), made, Refused, line)
        await untouched(made.consent.check_way_back("a", "9"), made, NotFound, "has no version '9'")
        await made.approve((await made.asked()).id, BOB)
        await made.approve((await made.asked("3")).id, BOB)
        for number in ("1", "2", "3"):
            await made.consent.check_way_back("a", number)
        house.put("b", 2)
        await made.lifecycle.test("b", "2", ADA)
        await made.consent.check_way_back("b", "2")

    run(test())


def test_a_load_is_no_way_around_approvals(house: House) -> None:
    """A newer version that a load would bring waits like any other; its champion serves on."""

    async def test() -> None:
        made = await door(house)
        made.loads()
        with pytest.raises(Refused) as refused:
            await made.lifecycle.load("a", order=ADA)
        (case,) = made.lifecycle._registry.cases.values()
        assert str(refused.value) == (
            f"model 'a' cannot be loaded; version 1 serves on: version 2 waits for approval: `router approve {case.id}`"
        )
        assert champions(made.lifecycle)["a"] == "1"
        assert (await made.approve(case.id, BOB)).state == "approved"
        await made.lifecycle.load("a", order=ADA)
        assert champions(made.lifecycle)["a"] == "2"

    run(test())


def test_an_unload_and_a_load_bring_back_a_champion_that_was_approved(house: House) -> None:
    """Not a newer version; a model that has never served begins with the newest, as any other."""

    async def test() -> None:
        made = await door(house, 2, 3)
        made.loads()
        await made.approve((await made.asked()).id, BOB)
        await made.lifecycle.unload("a", "", ADA)
        await made.lifecycle.load("a", order=ADA)
        assert champions(made.lifecycle)["a"] == "2"
        await made.lifecycle.unload("a", "", ADA)
        for number in (1, 2):
            house.drop("a", number)
        with pytest.raises(Refused, match="cannot be loaded: version 3: it has never been the champion, and others"):
            await made.lifecycle.load("a", order=ADA)
        made.importance["c"] = "high"
        house.put("c", 7)
        await made.lifecycle.load("c", order=ADA)
        assert champions(made.lifecycle)["c"] == "7"

    run(test())


# ---- the whole house ----


def test_the_front_door_is_where_promotions_come_in(house: House) -> None:
    """A lifecycle with a policy: promotions, loads, rollbacks and shares ask for the same approvals, and time ends
    requests."""

    async def test() -> None:
        lifecycle, _ = await started(house, importance={"a": "high"})
        for number in (2, 3):
            house.put("a", number)
            await lifecycle.test("a", str(number), ADA)
        case = await lifecycle.promote("a", "2", ADA)
        assert isinstance(case, Case)
        with pytest.raises(Conflict, match="request 1 of 'ada' waits for approval, to have version 2"):
            await lifecycle.load("a", order=ADA)
        with pytest.raises(Refused, match="version 2 of model 'a' is no way back"):
            await lifecycle.rollback("a", "2", ADA)
        with pytest.raises(Refused, match="would have 60 % of its requests"):
            await lifecycle.challenge("a", "2", ADA, share=60.0)
        assert champions(lifecycle)["a"] == "1"
        assert (await lifecycle.approve(case.id, BOB)).state == "approved"
        assert champions(lifecycle)["a"] == "2"
        await lifecycle.rollback("a", "", ADA)
        await lifecycle.rollback("a", "2", ADA)
        late = await lifecycle.promote("a", "3", ADA, canary=True)
        assert isinstance(late, Case)
        house.up += DAY
        await lifecycle.look()
        assert kept(house, late).state == "void"
        assert champions(lifecycle) == {"a": "2", "b": "1"}

    run(test())


def test_an_approved_canary_goes_to_its_end_by_itself(house: House) -> None:
    """It was agreed to once: the promotion at its end asks nobody again."""

    async def test() -> None:
        house.toml("a", "[canary]\nsteps = [50, 100]\nbake_seconds = 0\nmin_requests = 0\n")
        lifecycle, _ = await started(house, importance={"a": "high"})
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        case = await lifecycle.promote("a", "2", ADA, canary=True)
        assert isinstance(case, Case)
        done = await lifecycle.approve(case.id, BOB)
        assert "has begun" in done.body["outcome"]
        for _ in range(20):
            house.up += 5
            house.now += 5
            await lifecycle.look_at_canaries()
        assert champions(lifecycle)["a"] == "2"

    run(test())
