"""Tables and who changes them: starting, joining, refreshing, on fakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.control.lifecycle import Lifecycle
from router.core.table import VersionState, VersionTable
from router.core.tensor import Signature, TensorSpec
from router.errors import NotFound, Refused, RouterError, SettingsError
from tests.control.lifecycle_fakes import SIGNATURE, FakeWorker, House, champions, run, settled, started


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- starting ----


def test_the_first_table_is_stored_before_the_word_names_it(house: House) -> None:
    """Stored, then named; workers that knocked early wait until then; the trials are given back."""

    async def test() -> None:
        lifecycle = house.lifecycle()
        early = house.worker()
        joining = asyncio.ensure_future(lifecycle.join(early))
        await asyncio.sleep(0.01)
        assert not joining.done()
        assert not lifecycle.started
        await lifecycle.start()
        assert lifecycle.started
        await joining
        assert house.events == ["stored 1", "word 1", "worker 0 prepares 1"]
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        assert house.closed == 1

    run(test())


def test_a_restart_with_nothing_new_keeps_the_generation(house: House) -> None:
    """The stored table serves; with something new the next generation does."""

    async def test() -> None:
        await house.lifecycle().start()
        house.word = 0  # a new board
        again = house.lifecycle()
        await again.start()
        assert again.table.generation == house.word == 1
        house.word = 0
        house.put("a", 2)
        more = house.lifecycle()
        await more.start()
        assert (house.word, champions(more)["a"]) == (2, "2")

    run(test())


def test_a_new_controller_goes_on_with_what_is_stored(house: House) -> None:
    """It looks at nothing anew: the repository may have changed, that is a later decision."""

    async def test() -> None:
        await started(house)
        house.put("a", 2)
        again = house.lifecycle()
        await again.start()
        assert champions(again)["a"] == "1"
        assert house.word == 1

    run(test())


def test_a_table_stored_but_not_yet_named_serves_after_a_crash(house: House) -> None:
    """Everybody that serves has prepared it, so the new controller may name it."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        house.word = 1  # as if the word had not been written
        again = house.lifecycle()
        await again.start()
        assert house.word == 2
        assert all(2 in worker.prepared for worker in crew)

    run(test())


def test_a_store_that_was_put_back_never_takes_the_word_back(house: House) -> None:
    """The next table is newer than what serves, and who serves without it is ended."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        for version in (2, 3):
            house.put("a", version)
            await lifecycle.refresh()
        house.stored = VersionTable(0, {})
        again = house.lifecycle()
        await again.start()
        assert house.word == again.table.generation == 4
        assert sorted(house.fenced) == [0, 1]

    run(test())


@pytest.mark.parametrize("error", [RouterError, OSError])
def test_a_store_that_cannot_be_read_ends_the_start(house: House, error: type[Exception]) -> None:
    """With the mend."""
    house.store_error = error("it cannot be read")
    with pytest.raises(SettingsError, match=r"table\.json"):
        run(house.lifecycle().start())


def test_load_model_must_exist(house: House) -> None:
    """A name that is not there ends the start; `*` stands for all that is."""
    with pytest.raises(SettingsError, match="'c'"):
        run(house.lifecycle("a", "c", explicit=True).start())
    every = house.lifecycle("*", explicit=True)
    run(every.start())
    assert champions(every) == {"a": "1", "b": "1"}


# ---- the swap ----


def test_a_swap_prepares_everywhere_then_stores_then_flips(house: House) -> None:
    """In this order, and only then older tables may go."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        assert sorted(house.events[:2]) == ["worker 0 prepares 2", "worker 1 prepares 2"]
        assert house.events[2:] == ["stored 2", "word 2"]
        assert [worker.retired for worker in crew] == [[2], [2]]
        house.events.clear()
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"

    run(test())


def test_nothing_is_visible_while_a_worker_prepares(house: House) -> None:
    """One slow worker holds the flip for all."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[1].gate = asyncio.Event()
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await crew[1].at_gate.wait()
        await settled(lambda: crew[0].prepared[-1] == 2)
        assert (house.word, champions(lifecycle)["a"], house.stored.generation) == (1, "1", 1)
        crew[1].gate.set()
        await change
        assert (house.word, champions(lifecycle)["a"]) == (2, "2")

    run(test())


@pytest.mark.parametrize("policy", ["latest", "all"])
def test_what_a_worker_refuses_is_left_out(house: House, policy: str) -> None:
    """The champion stays, the refused version is listed with its reason, the rest of the change happens."""

    async def test() -> None:
        (house.root / "a" / "model.toml").write_text(f'versions = "{policy}"')
        lifecycle, crew = await started(house)
        crew[1].refuses["a/2"] = "no memory"
        house.put("a", 2)
        house.put("b", 2)
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "2"}
        refused = lifecycle.table.routes["a"].versions["2"]
        assert (refused.state, refused.reason) == (VersionState.UNAVAILABLE, "no memory")
        assert all(house.word in worker.prepared for worker in crew)

    run(test())


@pytest.mark.parametrize("policy", ["latest", "all"])
def test_a_broken_newest_version_leaves_the_champion(house: House, policy: str) -> None:
    """It is listed with its reason; when it goes, nothing has changed for callers."""

    async def test() -> None:
        (house.root / "a" / "model.toml").write_text(f'versions = "{policy}"')
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.broken.add("a/2")
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "1"
        assert lifecycle.table.routes["a"].versions["1"].state is VersionState.READY
        assert lifecycle.table.routes["a"].versions["2"].reason == "it is broken"
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "1"
        house.drop("a", 1)
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] is None

    run(test())


def test_all_refused_versions_leave_a_model_without_champion(house: House) -> None:
    """Its reason is told; the others serve."""

    async def test() -> None:
        lifecycle = house.lifecycle()
        await lifecycle.start()
        worker = house.worker()
        worker.refuses["a/1"] = "no memory"
        await lifecycle.join(worker)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        assert house.word == house.stored.generation > 1
        assert house.open == {0}

    run(test())


def test_a_worker_that_dies_while_preparing_does_not_stop_a_change(house: House) -> None:
    """The others go on; when it comes back it prepares what serves then."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[1].gate = asyncio.Event()
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await crew[1].at_gate.wait()
        crew[1].die(lifecycle)
        await change
        assert house.word == 2
        assert house.fenced == []
        back = house.worker(1)
        await lifecycle.join(back)
        assert back.prepared == [2]

    run(test())


def test_a_worker_that_loses_its_link_only_is_ended(house: House) -> None:
    """Its process serves on with the old table: it must not when the new one is named."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[1].gone = True
        house.put("a", 2)
        await lifecycle.refresh()
        assert house.fenced == [1]
        assert house.word == 2

    run(test())


def test_a_change_waits_for_workers_that_serve_but_have_not_joined(house: House) -> None:
    """As when the controller has just been started again."""

    async def test() -> None:
        _, crew = await started(house)
        again = house.lifecycle()
        await again.start()
        house.put("a", 2)
        change = asyncio.ensure_future(again.refresh())
        await again.join(crew[0])
        await asyncio.sleep(0.05)
        assert house.word == 1
        await again.join(crew[1])
        await change
        assert house.word == 2
        assert all(2 in worker.prepared for worker in crew)

    run(test())


def test_workers_that_never_come_are_ended(house: House) -> None:
    """Patience has an end: then the change happens without them."""

    async def test() -> None:
        _, crew = await started(house)
        again = house.lifecycle(patience_s=0.02)
        await again.start()
        await again.join(crew[0])
        house.put("a", 2)
        await again.refresh()
        assert house.fenced == [1]
        assert house.word == 2

    run(test())


def test_a_join_in_the_middle_of_a_change_waits_for_its_end(house: House) -> None:
    """It then prepares what serves."""

    async def test() -> None:
        lifecycle, crew = await started(house, workers=1)
        crew[0].gate = asyncio.Event()
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await crew[0].at_gate.wait()
        late = house.worker(1)
        joining = asyncio.ensure_future(lifecycle.join(late))
        await asyncio.sleep(0.02)
        assert late.prepared == []
        crew[0].gate.set()
        await change
        await joining
        assert late.prepared == [2]
        assert house.open == {0, 1}

    run(test())


def test_a_join_does_not_wait_for_trials(house: House) -> None:
    """A version that takes minutes to try keeps no worker from coming back."""

    async def test() -> None:
        import threading

        lifecycle, _ = await started(house, workers=1)
        trying, go_on = threading.Event(), threading.Event()
        usual = house.inspect

        def slow(requests: Iterable[Request]) -> Iterator[Result]:
            trying.set()
            assert go_on.wait(10)
            yield from usual(requests)

        house.inspect = slow  # type: ignore[method-assign]
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await settled(trying.is_set)
        late = house.worker(1)
        await lifecycle.join(late)
        assert late.prepared == [1]
        go_on.set()
        await change
        assert late.prepared == [1, 2]

    run(test())


def test_a_worker_that_cannot_load_what_serves_changes_it_for_all(house: House) -> None:
    """Its files may have changed on disk: they are tried anew, and all workers serve the same."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        late = house.worker(2)
        usual = late.prepare

        async def prepare(table: VersionTable) -> Sequence[Refusal]:
            stale = table.routes["a"].versions["1"].digest == "d"
            late.refuses = {"a/1": "its files have changed"} if stale else {}
            return await usual(table)

        late.prepare = prepare  # type: ignore[method-assign]
        house.digest = "other"
        await lifecycle.join(late)
        assert champions(lifecycle)["a"] == "1"
        assert lifecycle.table.routes["a"].versions["1"].digest == "other"
        assert all(worker.prepared[-1] == house.word == 2 for worker in [*crew, late])

    run(test())


def test_workers_that_never_agree_give_a_change_up(house: House) -> None:
    """Nothing has changed then, and the next change is possible."""

    async def test() -> None:
        lifecycle, crew = await started(house, workers=1)

        async def contrary(_: VersionTable) -> Sequence[Refusal]:
            return [Refusal("b", "1", "no")]

        usual, crew[0].prepare = crew[0].prepare, contrary  # type: ignore[method-assign]
        house.put("a", 2)
        with pytest.raises(Refused, match="nothing has changed"):
            await lifecycle.refresh()
        assert (house.word, champions(lifecycle)["a"]) == (1, "1")
        crew[0].prepare = usual  # type: ignore[method-assign]
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_full_disk_changes_nothing(house: House) -> None:
    """The change is refused with the reason; serving goes on; the next one has a number of its own."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        house.store_error = OSError(28, "No space left on device")
        with pytest.raises(Refused, match="No space left"):
            await lifecycle.refresh()
        assert (house.word, champions(lifecycle)["a"], house.stored.generation) == (1, "1", 1)
        assert all(worker.retired == [] for worker in crew)
        house.store_error = None
        await lifecycle.refresh()
        assert (house.word, champions(lifecycle)["a"]) == (3, "2")

    run(test())


def test_a_fault_of_a_worker_changes_nothing(house: House) -> None:
    """An error that nobody foresaw comes out, and nothing has changed."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[0].fails = ValueError("a fault")
        house.put("a", 2)
        with pytest.raises(ValueError, match="a fault"):
            await lifecycle.refresh()
        assert house.word == 1
        crew[0].fails = None
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_repository_that_cannot_be_read_changes_nothing(house: House) -> None:
    """What served goes on."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.root.rename(house.root.with_name("gone"))
        with pytest.raises(RouterError, match="cannot be read"):
            await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}

    run(test())


def test_a_change_is_brought_to_its_end_when_its_caller_goes_away(house: House) -> None:
    """Between storing and naming there is no way out."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[0].gate = asyncio.Event()
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await crew[0].at_gate.wait()
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        crew[0].gate.set()
        await settled(lambda: house.word == 2)
        assert house.stored.generation == 2

    run(test())


def test_a_worker_that_dies_while_it_joins(house: House) -> None:
    """Whoever waits learns it, and nobody counts on it."""

    async def test() -> None:
        lifecycle, _ = await started(house, workers=1)
        late = house.worker(1)
        late.gate = asyncio.Event()
        joining = asyncio.ensure_future(lifecycle.join(late))
        await late.at_gate.wait()
        late.die(lifecycle)
        with pytest.raises(ConnectionError):
            await joining
        house.put("a", 2)
        await lifecycle.refresh()
        assert house.word == 2

    run(test())


# ---- settings that do not fit ----

MISFIT = '[fallback]\nchain = ["default"]\ndefault = { z = 1.0 }\n'
DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'
TO_B = '[fallback]\nchain = ["failover"]\nfailover = "b"\n'


def settings(house: House, model: str, toml: str) -> None:
    """A model.toml."""
    (house.root / model / "model.toml").write_text(toml)


def why(lifecycle: Lifecycle, model: str, version: str = "1") -> str:
    """The reason of a version."""
    return lifecycle.table.routes[model].versions[version].reason


def test_settings_that_do_not_fit_are_refused_at_the_start_and_at_a_refresh(house: House) -> None:
    """The model has no champion and its reason is stored; the others serve; mended, it is back."""

    async def test() -> None:
        settings(house, "a", MISFIT)
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        assert "`fallback.default` names the unknown output 'z'" in why(lifecycle, "a")
        assert house.stored == lifecycle.table
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"
        settings(house, "a", DEFAULT)
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        settings(house, "a", TO_B)
        settings(house, "b", TO_B.replace('"b"', '"a"'))
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": None, "b": None}
        assert "a → b → a" in why(lifecycle, "a")

    run(test())


def test_a_new_version_that_its_settings_do_not_fit_leaves_the_champion(house: House) -> None:
    """As one that is broken does."""

    async def test() -> None:
        settings(house, "a", DEFAULT)
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.signatures["a/2"] = Signature(SIGNATURE.inputs, (TensorSpec("z", "FP32", (-1,)),))
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "1"
        assert "`fallback.default` names the unknown output 'y'" in why(lifecycle, "a", "2")

    run(test())


def test_a_load_whose_settings_do_not_fit_says_why(house: House) -> None:
    """A failover that is not loaded will do; one that is loaded and takes something else will not."""

    async def test() -> None:
        settings(house, "a", TO_B)
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.load("a")
        assert champions(lifecycle) == {"a": "1", "b": None}
        await lifecycle.load("b")
        await lifecycle.unload("b")
        assert champions(lifecycle) == {"a": "1", "b": None}
        settings(house, "a", MISFIT)
        with pytest.raises(Refused, match=r"fallback\.default"):
            await lifecycle.load("a")
        assert champions(lifecycle)["a"] is None

    run(test())


def test_a_worker_that_joins_changes_nothing_of_that(house: House) -> None:
    """It refuses the version that stood in: whom the failover named is still there, merely not loaded."""

    async def test() -> None:
        settings(house, "a", TO_B)
        lifecycle, _ = await started(house)
        worker = house.worker(2)
        worker.refuses["b/1"] = "no memory"
        await lifecycle.join(worker)
        assert champions(lifecycle) == {"a": "1", "b": None}

    run(test())


# ---- the fallback switch ----


def test_the_switch_survives_until_it_is_switched_back(house: House) -> None:
    """A refresh, changed settings, a new controller and a restart of all leave it; each turn is one new table."""

    async def test() -> None:
        settings(house, "a", DEFAULT)
        lifecycle, crew = await started(house)
        await lifecycle.set_fallback("a", True)
        assert house.events[-2:] == ["stored 2", "word 2"]
        assert all(2 in worker.prepared for worker in crew)
        house.events.clear()
        await lifecycle.set_fallback("a", True)
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"
        house.put("a", 2)
        await lifecycle.refresh()
        assert lifecycle.table.routes["a"].switched
        assert not lifecycle.table.routes["b"].switched
        again = house.lifecycle()
        await again.start()
        assert again.table.routes["a"].switched, "a new controller"
        house.word = 0
        house.open.clear()
        fresh = house.lifecycle()
        await fresh.start()
        assert fresh.table.routes["a"].switched, "everything was started again"
        settings(house, "a", "")
        await fresh.refresh()
        assert fresh.table.routes["a"].switched, "nothing is run unasked"
        await fresh.set_fallback("a", False)
        assert not fresh.table.routes["a"].switched

    run(test())


def test_the_switch_is_refused_where_nothing_could_answer(house: House) -> None:
    """A model without a chain, and one that nobody knows; nothing has changed."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        with pytest.raises(Refused, match=r"model 'a' has no fallback to switch to: set `fallback\.chain`"):
            await lifecycle.set_fallback("a", True)
        await lifecycle.set_fallback("a", False)
        for on in (True, False):
            with pytest.raises(NotFound, match="unknown model 'nothing'"):
                await lifecycle.set_fallback("nothing", on)
        assert house.events == []

    run(test())


# ---- explicit control ----


def test_nothing_serves_until_it_is_loaded(house: House) -> None:
    """Then it does, by one change, and unloading takes it away; what is there is listed all the time."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        assert champions(lifecycle) == {"a": None, "b": None}
        await lifecycle.load("a")
        assert champions(lifecycle) == {"a": "1", "b": None}
        house.put("a", 2)
        house.put("c")
        await lifecycle.load("b")
        assert champions(lifecycle) == {"a": "1", "b": "1", "c": None}, "a load concerns its model"
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "2", "b": "1", "c": None}
        await lifecycle.unload("a")
        await lifecycle.unload("a")
        assert champions(lifecycle) == {"a": None, "b": "1", "c": None}
        assert lifecycle.table.routes["a"].versions["2"].reason == "unloaded"
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] is None
        for ask in (lifecycle.load, lifecycle.unload):
            with pytest.raises(NotFound):
                await ask("nothing")

    run(test())


def test_a_load_that_fails_says_why(house: House) -> None:
    """A model that did not serve is listed with the reason; one that did serves on as it was."""

    async def test() -> None:
        lifecycle, crew = await started(house, explicit=True)
        house.broken.add("a/1")
        with pytest.raises(Refused, match="it is broken"):
            await lifecycle.load("a")
        assert lifecycle.table.routes["a"].versions["1"].reason == "it is broken"
        await lifecycle.load("b")
        generation = house.word
        house.put("b", 2)
        house.broken.add("b/2")
        with pytest.raises(Refused, match="serves on"):
            await lifecycle.load("b")
        assert (champions(lifecycle)["b"], house.word) == ("1", generation)
        house.broken.clear()
        crew[0].refuses["b/2"] = "no memory"
        with pytest.raises(Refused, match=r"version 1 serves on.*no memory"):
            await lifecycle.load("b")
        assert champions(lifecycle)["b"] == "1"
        crew[0].refuses["a/1"] = "no memory"
        with pytest.raises(Refused, match="no memory"):
            await lifecycle.load("a")
        assert champions(lifecycle)["a"] is None

    run(test())


def test_changes_happen_one_after_another(house: House) -> None:
    """Many at once: each generation is stored and named once, in order, and all of them happen."""

    async def test() -> None:
        for number in range(8):
            house.put(f"m{number}")
        lifecycle, crew = await started(house, explicit=True)
        await asyncio.gather(
            *(lifecycle.load(f"m{number}") for number in range(8)),
            *(lifecycle.refresh() for _ in range(3)),
            lifecycle.unload("a"),
        )
        await asyncio.gather(*(lifecycle.unload(f"m{number}") for number in range(0, 8, 2)))
        expected = {f"m{number}": ("1" if number % 2 else None) for number in range(8)}
        assert champions(lifecycle) == {"a": None, "b": None, **expected}
        stored = [event for event in house.events if event.startswith("stored")]
        words = [event for event in house.events if event.startswith("word")]
        assert [event.split()[1] for event in stored] == [event.split()[1] for event in words]
        assert len(words) == len(set(words)) == 12
        assert all(worker.prepared[-1] == house.word for worker in crew)

    run(test())


def test_a_new_controller_knows_what_was_loaded(house: House) -> None:
    """Also what was unloaded although the command line named it."""

    async def test() -> None:
        lifecycle = house.lifecycle("a", explicit=True)
        await lifecycle.start()
        worker = house.worker()
        await lifecycle.join(worker)
        await lifecycle.load("b")
        await lifecycle.unload("a")
        again = house.lifecycle("a", explicit=True)
        await again.start()
        await again.join(worker)
        await again.refresh()
        assert champions(again) == {"a": None, "b": "1"}

    run(test())
