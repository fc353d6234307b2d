"""What happens in the server while a command waits: a line for each event, and one that moves for progress."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeVar

from rich.console import Console
from rich.status import Status as Line
from rich.text import Text

from router.app.mistake import one_line
from router.app.terminal import text
from router.edge.admin_client import AdminClient
from router.errors import RouterError, Status
from router.pb.admin_pb2 import Event

HELLO_S: Final = 2.0
"""A command that cannot watch does what it was asked to all the same, without a story."""
LATE_S: Final = 0.2
"""An event that was told before the answer may come after it, on a stream of its own."""
POLL_S: Final = 1.0
"""What goes on in the server for long is asked for so often, whether events come or not."""
GONE_S: Final = 30.0
"""A controller that has gone is back within seconds; one that is not back by then is not waited for."""

COLOURS: Final = {
    "swapped": "bold green",
    "champion": "bold green",
    "gate": "cyan",
    "trial": "cyan",
    "rollout": "cyan",
    "retraining": "cyan",
    "course": "cyan",
    "request": "magenta",
    "accuracy": "yellow",
    "drift": "yellow",
    "health": "yellow",
    "fallback": "yellow",
    "frozen": "yellow",
    "recording": "yellow",
    "refused": "red",
    "marked": "red",
    "progress": "dim",
}
"""Of kinds of events."""
WELL, WORSE, BAD, GOES_ON = ("✓", "green"), ("!", "yellow"), ("✗", "bold red"), ("↻", "cyan")
STATUSES: Final = {"green": WELL, "yellow": WORSE, "red": BAD}
"""The mark before an event of drift, accuracy or health, and its colour, by the status that it tells."""
STATES: Final = {"running": GOES_ON, "asked": GOES_ON, "brought": GOES_ON, "done": WELL, "stopped": WORSE}
"""The same of a retraining; in any other state it has come to nothing."""

Answer = TypeVar("Answer")


class Story:
    """Tells events with the seconds since it began to watch, by the server's clock; nothing where `silent`.

    What only moves on (`progress`) is one line of a terminal that changes, and is left out elsewhere.
    """

    def __init__(self, first: str, *, silent: bool = False) -> None:
        self._console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)
        self._silent = silent
        self._began: float | None = None
        live = not silent and self._console.is_terminal
        self._line = Line(text(first), console=self._console) if live else None

    def __enter__(self) -> Self:
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.stop()

    def tell(self, event: Event) -> None:
        """One event."""
        if self._began is None:
            self._began = event.seconds
        if self._silent or event.kind == "hello":
            return
        if event.kind != "progress":
            after = Text(f"{event.seconds - self._began:8.3f} s  ", "dim")
            self._console.print(after + told(event), soft_wrap=True)
        elif self._line is not None:
            self._line.update(text(line(event)))


def line(event: Event) -> str:
    """An event in one line, without its time."""
    about = " ".join(part for part in (event.model, event.version) if part)
    words = event.text or ", ".join(f"{name}: {value}" for name, value in sorted(event.facts.items())) or event.kind
    return one_line(f"{about}: {words}" if about else words)


def told(event: Event) -> Text:
    """The same in its colour; how a model does and how a retraining goes has a mark, too, for who sees no colours."""
    mark, colour = "", COLOURS.get(event.kind, "")
    if event.kind == "retraining" and event.facts.get("state"):
        mark, colour = STATES.get(event.facts["state"], BAD)
    elif event.kind in {"accuracy", "drift", "health"}:
        mark, colour = STATUSES.get(event.facts.get("status", ""), (mark, colour))
    return text(f"{mark} {line(event)}" if mark else line(event), colour)


def follow(client: AdminClient, model: str, act: Callable[[], Answer], story: Story) -> Answer:
    """Do something that takes its time and tell meanwhile what happens to the model.

    Raises what `act` raises, and KeyboardInterrupt at once: what was asked for goes on in the server.
    """
    answer = _followed(client, model, act, story, lambda _: False)
    assert answer is not None, "nothing ends it before its answer"
    return answer[0]


def begun(client: AdminClient, model: str, version: str, act: Callable[[], object], story: Story) -> None:
    """The same, until something has happened to the version: it goes on in the server. Raises what `act` raises."""
    _followed(client, model, act, story, lambda event: (event.model, event.version) == (model, version))


def until(client: AdminClient, model: str, ended: Callable[[], Answer | None], story: Story) -> Answer:
    """Tell what happens to the model until `ended`, which is asked again and again, gives an answer.

    A controller that begins anew meanwhile is waited for. Raises what `ended` raises, and KeyboardInterrupt.
    """
    came: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    _watching(client, model, came)
    _hello(came, story)
    gone: float | None = None
    with story:
        while True:
            asked = time.monotonic()
            try:
                answer = ended()
            except RouterError as error:
                gone = asked if gone is None else gone
                if error.status is not Status.UNAVAILABLE or asked - gone > GONE_S:
                    raise
            else:
                if answer is not None:
                    break
                if gone is not None:  # it is back, and tells its events on a stream of its own
                    gone = None
                    _watching(client, model, came)
            _told_for(asked + POLL_S, came, story)
        _rest(came, story)
    return answer


def _told_for(until: float, came: queue.SimpleQueue[Event | None], story: Story) -> None:
    """Tell events up to the first that may change something, or until then."""
    with contextlib.suppress(queue.Empty):
        while (left := until - time.monotonic()) > 0:
            event = came.get(timeout=left)
            assert event is not None, "nobody says that this is the end"
            story.tell(event)
            if event.kind not in {"hello", "progress"}:
                return


def _watching(client: AdminClient, model: str, came: queue.SimpleQueue[Event | None]) -> None:
    """Have events come in from now on, on a thread of its own."""

    def watch() -> None:
        with contextlib.suppress(RouterError, ValueError):  # ValueError: the connection was closed meanwhile
            for event in client.watch(model):
                came.put(event)
        came.put(Event(kind="hello", seconds=time.time()))  # nobody waits for a stream that could not begin

    threading.Thread(target=watch, daemon=True).start()


def _followed(
    client: AdminClient, model: str, act: Callable[[], Answer], story: Story, enough: Callable[[Event], bool]
) -> tuple[Answer] | None:
    came: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    ended: list[Answer | BaseException] = []

    def do() -> None:
        try:
            ended.append(act())
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits
            ended.append(error)
        came.put(None)

    _watching(client, model, came)
    _hello(came, story)
    with story:
        threading.Thread(target=do, daemon=True).start()
        while (event := came.get()) is not None:
            story.tell(event)
            if enough(event):
                break
        _rest(came, story)
    if not ended:
        return None
    (answer,) = ended
    if isinstance(answer, BaseException):
        raise answer
    return (answer,)


def _hello(came: queue.SimpleQueue[Event | None], story: Story) -> None:
    """Wait until events come: whatever happens from now on is told."""
    with contextlib.suppress(queue.Empty):
        if (hello := came.get(timeout=HELLO_S)) is not None:
            story.tell(hello)


def _rest(came: queue.SimpleQueue[Event | None], story: Story) -> None:
    until = time.monotonic() + LATE_S
    with contextlib.suppress(queue.Empty):
        while (event := came.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            story.tell(event)
            if time.monotonic() > until:  # in a busy server there is always one more
                return
