"""The prediction ledger: what models said, joined to what came true.

Workers hand their predictions over (`serving/predictions`); whoever learns what came true submits it by the request's
id. All that touches the file (`control/ledger_file`) happens on one thread of the ledger's own; the event loop never
waits for the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

import structlog

from router.control.events import Events
from router.control.ledger_file import Actual, Found, LedgerFile
from router.control.ledger_news import Marks, News
from router.control.ledger_schema import Joined
from router.control.ledger_since import Page
from router.control.ledger_submission import REFUSED, Submitted, checked, counted, submitted, told
from router.control.ledger_trouble import FAILED, OtherLayout, beyond_repair, move_aside, reason_of
from router.core.prediction import Form, Prediction, Score, form_of, predicted
from router.core.table import Route
from router.errors import InvalidRequest, NotFound, NotReady, Refused
from router.model_settings import LedgerSettings

__all__ = ["Actual", "Joined", "Ledger", "Submitted"]

log = structlog.get_logger()

FILE: Final = "ledger.db"
"""The file's name in the state directory."""
MOST_ACTUALS: Final = 10_000
"""In one submission."""
MOST_ROWS: Final = 1 << 18
"""Predictions that wait for the disk."""
AT_ONCE: Final = 1 << 14
"""Predictions that are written together."""
RETRY_S: Final = 1.0
"""A disk that takes nothing is tried again so often."""
PATIENCE_S: Final = 1.0
"""Workers have so long to hand over what they have."""
STOP_S: Final = 2.0
TIDY_S: Final = 60.0
"""How often what is too old is let go."""
KEPT_FOR: Final = 2
"""Times as long as actuals may come a prediction is kept: what is late can be told from what is unknown."""
JUMP_S: Final = 60.0
BELIEVED_S: Final = 600.0
"""After the clock of the calendar has jumped so far, nothing is let go by age for so long: it may jump back."""

Value = TypeVar("Value")


class Clock(Protocol):
    """Of the calendar (since 1970) and of this machine, both in seconds."""

    def time(self) -> float:
        """Jumps when it is set."""

    def monotonic(self) -> float:
        """Never jumps."""


class Several(Protocol):
    """Predictions that can be counted before they are looked at."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Prediction]: ...


class _Waiting(NamedTuple):
    """Predictions of a model that are to be written, and who is told when they are."""

    model: str
    predictions: Several
    kept: Callable[[], None]


class Ledger:
    """The ledger of one server. Used on the event loop; the file is made when the first prediction comes.

    `routes` are those that serve now. `ask` has the workers hand over what they have, and returns when it was taken.
    `came_true` hears of all actuals that were joined. `max_bytes` bound the file. A file that cannot be used costs
    predictions, nothing else.
    """

    def __init__(
        self,
        path: Path,
        routes: Callable[[], Mapping[str, Route]],
        max_bytes: int,
        ask: Callable[[], Awaitable[None]] | None = None,
        events: Events | None = None,
        came_true: Callable[[str, Sequence[Actual]], None] = lambda model, actuals: None,  # noqa: ARG005
        clock: Clock = time,
        retry_s: float = RETRY_S,
    ) -> None:
        self._path = path
        self._routes = routes
        self._max_bytes = max_bytes
        self._ask = ask
        self._events = events
        self._came_true = came_true
        self._clock = clock
        self._retry_s = retry_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._file: LedgerFile | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._writer: asyncio.Task[None] | None = None
        self._trouble = ""
        self._closing = asyncio.Event()
        self._closed = False
        self._drift = clock.time() - clock.monotonic()
        self._believed_at = clock.monotonic()
        self.lost: dict[str, int] = {}
        """Predictions that could not be kept, by model."""
        self.contradicted: dict[str, int] = {}
        """Actuals that said something else than what had been joined, by model."""
        self.heard: dict[str, Counter[str]] = {}
        """What became of actuals since this process began, by model; see `ledger_submission.OUTCOMES`."""

    # ---- predictions ----

    def take(self, model: str, predictions: Several, kept: Callable[[], None] = lambda: None) -> None:
        """Have predictions written soon. Returns at once.

        `kept` is called when they are written, which a kill of the process does not undo; or when they are given up,
        which is counted.
        """
        if self._waiting_rows + len(predictions) > MOST_ROWS:
            self._lose(model, len(predictions), "more come than the disk takes")
            kept()
            return
        self._waiting.append(_Waiting(model, predictions, kept))
        self._waiting_rows += len(predictions)
        if self._writer is None:
            self._writer = asyncio.ensure_future(self._write_all())

    def _lose(self, model: str, count: int, why: str) -> None:
        if model not in self.lost:
            log.warning("predictions are lost", model=model, reason=why)
        self.lost[model] = self.lost.get(model, 0) + count

    async def _write_all(self) -> None:
        """Write until nothing waits. What the disk does not take waits for it."""
        try:
            while self._waiting:
                batch: list[_Waiting] = []
                rows = 0
                for each in self._waiting:
                    if batch and rows + len(each.predictions) > AT_ONCE:
                        break
                    batch.append(each)
                    rows += len(each.predictions)
                if not await self._write(batch):
                    if self._closing.is_set():
                        return
                    await self._pause(self._retry_s)
                    continue
                for each in batch:
                    self._waiting.popleft()
                    self._waiting_rows -= len(each.predictions)
                    each.kept()
        finally:
            self._writer = None

    async def _write(self, batch: Sequence[_Waiting]) -> bool:
        """Whether it is written, or never will be."""
        try:
            await self._do(lambda file: file.keep([(each.model, list(each.predictions)) for each in batch]))
        except FAILED as error:
            why, _ = reason_of(error)
            if why != self._trouble:
                log.warning("predictions wait: the ledger cannot be written", reason=why)
            self._trouble = why
            return False
        except Exception:  # a fault of ours: these are lost, others shall not be
            log.exception("predictions could not be kept")
            for each in batch:
                if each.predictions:
                    self._lose(each.model, len(each.predictions), "a fault of this program")
        else:
            if self._trouble:
                log.info("predictions are kept again")
            self._trouble = ""
        return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    # ---- what came true ----

    async def submit(self, model: str, actuals: Sequence[Actual]) -> Submitted:
        """Join what came true to the predictions; on the disk when this returns.

        All that was answered before is known, also when its prediction is still on its way. Raises NotFound (no such
        model), Refused (it keeps no ledger), InvalidRequest (a truth of the wrong kind, or too many at once), NotReady
        (the file cannot be written now). When it raises, nothing was joined.
        """
        settings, form = self._about(model)
        if len(actuals) > MOST_ACTUALS:
            raise InvalidRequest(f"{len(actuals)} actuals at once: send at most {MOST_ACTUALS} in one call")
        heard = self.heard.setdefault(model, Counter())
        try:
            given = [checked(place, each, form) for place, each in enumerate(actuals)]
            found = await self._join(model, given, settings, alone=False)
        except InvalidRequest as error:
            heard[REFUSED] += len(actuals)
            self._said(model, f"actuals: {len(actuals)} refused: {error}", refused=len(actuals))
            raise
        if found.unknown:
            await self._gather()
            more = await self._join(model, found.unknown, settings, alone=True)
            found = more.after(found)
        done = submitted(found)
        heard.update(counted(found))
        self.contradicted[model] = self.contradicted.get(model, 0) + len(found.contradicting)
        if found.joined:
            try:
                self._came_true(model, found.joined)
            except Exception:  # a fault of ours: it is joined all the same
                log.exception("who is to hear what came true does not", model=model)
        self._said(model, told(done), joined=done.joined, unknown=len(done.unknown))
        return done

    def _said(self, model: str, text: str, **facts: object) -> None:
        if self._events is not None:
            self._events.tell("actuals", model, "", text, 0, **facts)

    def _about(self, model: str) -> tuple[LedgerSettings, Form | None]:
        """The settings of a model's ledger, and what its predictions are; None where no version says it."""
        route = self._routes().get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'")
        settings = route.settings.ledger
        if not settings.enabled:
            raise Refused(
                f"model '{model}' keeps no ledger of its predictions: set `enabled = true` under [ledger] in its"
                " model.toml, and have the server look at it again"
            )
        champion = route.versions.get(route.champion or "")
        spec = None if champion is None else predicted(settings, champion.signature.outputs)
        return settings, None if spec is None else form_of(spec)

    async def _join(self, model: str, actuals: list[Actual], settings: LedgerSettings, *, alone: bool) -> Found:
        now_ns, keep_ns = round(self._clock.time() * 1e9), round(settings.keep_s * 1e9)
        try:
            return await self._do(lambda file: file.join(model, actuals, now_ns, keep_ns, alone=alone))
        except FAILED as error:
            raise NotReady(f"the ledger cannot be written: {'; '.join(reason_of(error))}") from error

    async def _gather(self) -> None:
        """Have what is on its way written, if that is possible soon."""
        if self._ask is not None:
            await self._ask()
        written = asyncio.Event()
        self.take("", (), written.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await written.wait()

    # ---- what is known ----

    async def accuracy(self, model: str, number: str, since: float) -> Score:
        """How right a version was, of what it predicted after an instant (seconds since 1970) and what came true.

        Raises NotReady.
        """
        return await self._look(lambda file: file.accuracy(model, number, round(since * 1e9)), Score(number))

    async def joined(self, model: str, since: float, most: int = 100_000) -> list[Joined]:
        """The newest `most` predictions after an instant for which something came true, oldest of them first.

        Where a mirror ran a request too, its prediction is another one with the same request and row. Raises NotReady.
        """
        return await self._look(lambda file: file.joined(model, round(since * 1e9), most), [])

    async def last_turn(self, model: str) -> int:
        """From where `since` gives only what comes true from now on. Raises NotReady."""
        return await self._look(lambda file: file.last_turn(model), 0)

    async def since(
        self, model: str, champion: str, challenger: str, after: int, most: int, *, paired: bool, file: int = 0
    ) -> Page:
        """What came true after a turn of two versions, of about `most` predictions: see `ledger_since`. Raises
        NotReady."""
        versions = (champion, challenger)
        nothing = Page(after, [], [])
        return await self._look(
            lambda known: known.since(model, versions, after, most, paired=paired, file=file), nothing
        )

    async def news(self, models: frozenset[str], marks: Marks, most: int) -> News:
        """What happened since, of about `most` predictions: see `ledger_news`. Raises NotReady."""
        return await self._look(lambda file: file.news(models, marks, most), News(marks, {}, {}))

    async def used_bytes(self) -> int:
        """How much of the file is in use. Raises NotReady."""
        return await self._look(lambda file: file.used_bytes, 0)

    async def _look(self, work: Callable[[LedgerFile], Value], nothing: Value) -> Value:
        if self._file is None and not self._path.exists():
            return nothing
        try:
            return await self._do(work)
        except FAILED as error:
            raise NotReady(f"the ledger cannot be read: {'; '.join(reason_of(error))}") from error

    # ---- the file ----

    async def _do(self, work: Callable[[LedgerFile], Value]) -> Value:
        if self._closed:
            raise NotReady("the server stops: ask it when it is back")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._with_file, work))

    def _with_file(self, work: Callable[[LedgerFile], Value]) -> Value:
        """On the ledger's thread. A file that nothing can mend is moved aside, and another one begun."""
        try:
            return work(self._opened())
        except (OtherLayout, *FAILED) as error:
            why = beyond_repair(error)
            if not why:
                raise
            self._let_go()
            move_aside(self._path, why)
            return work(self._opened())

    def _opened(self) -> LedgerFile:
        if self._file is None:
            self._file = LedgerFile(self._path, self._max_bytes)
        return self._file

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    async def run(self) -> None:
        """Let go of what is too old, now and then, until the ledger is closed."""
        while not self._closing.is_set():
            await self._pause(TIDY_S)
            try:
                await self.tidy()
            except FAILED as error:
                log.warning("the ledger cannot be tidied", reason=reason_of(error)[0])
            except Exception:  # a fault of ours: the controller goes on
                log.exception("the ledger cannot be tidied")

    async def tidy(self) -> None:
        """Let go of what is too old. Raises one of FAILED."""
        if self._closing.is_set() or (self._file is None and not self._path.exists()) or not self._clock_is_believed():
            return
        routes = self._routes()
        now = self._clock.time()
        for model in await self._do(lambda file: file.models):
            settings = routes[model].settings.ledger if model in routes else LedgerSettings()
            before_ns = round((now - KEPT_FOR * settings.keep_s) * 1e9)
            while await self._do(lambda file, model=model, before=before_ns: file.expire(model, before)):  # type: ignore[misc]
                pass

    def _clock_is_believed(self) -> bool:
        monotonic = self._clock.monotonic()
        drift = self._clock.time() - monotonic
        jumped, self._drift = drift - self._drift, drift
        if abs(jumped) > JUMP_S:
            log.warning("the clock has jumped: for a while no prediction is too old", seconds=round(jumped))
            self._believed_at = monotonic + BELIEVED_S
        return monotonic >= self._believed_at

    async def close(self) -> None:
        """Write what waits, if it can be written, and let go of the file."""
        self._closing.set()
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=STOP_S)
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown(wait=False)
