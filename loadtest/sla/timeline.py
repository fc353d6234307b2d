"""What happens during a run: actions of the scenario, each at its instant.

Actions that are about the same thing (a model, a process) wait for each other, and for nothing else: a warm-up that
takes minutes does not delay what is done to another model meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest.errors import BenchError
from loadtest.sla import admin_call
from loadtest.sla.actions import AdminAction, FaultAction, ModelAction, ProcessAction, PublishAction, ShellAction
from loadtest.sla.admin_call import Done
from loadtest.sla.scenario import Scenario
from loadtest.sla.shell import run_shell
from loadtest.sla.subject import Subject
from router.client import Client
from router.edge.admin_client import AdminClient

SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "continue": signal.SIGCONT,
    "hang_up": signal.SIGHUP,
}
CALL_S: Final = 30.0
ABANDON_S: Final = 2.0
"""For what is being done to notice that nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Deed:
    """An action that was done: seconds since the start, and what came of it."""

    label: str
    due: float
    began: float
    ended: float
    ok: bool
    detail: str
    generation: int = 0
    """That serves since, where that was told."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What was measured by it."""


def label(action: Any) -> str:
    """An action in a few words."""
    match action:
        case ProcessAction():
            return f"{action.do} {action.what}"
        case PublishAction():
            return f"publish {action.model}:{action.version}"
        case ModelAction():
            return f"{action.do} {action.model}"
        case AdminAction():
            return f"{action.call} {_about(action)}".rstrip()
        case FaultAction():
            kinds = ", ".join(fault.kind for fault in action.faults)
            return f"fault {action.model}: {kinds or 'none any more'}"
        case _:
            return f"shell {action.command}"[:60]


def _about(action: AdminAction) -> str:
    return str(action.request.get("model", ""))


def lane(action: Any) -> str:
    """What an action is about: those about the same wait for each other."""
    match action:
        case ProcessAction():
            return f"process {action.what}"
        case AdminAction():
            return f"model {_about(action)}"
        case ShellAction():
            return f"shell {action.command}"
        case _:
            return f"model {action.model}"


def perform(action: Any, subject: Subject, abandoned: threading.Event) -> Done | str:
    """Do it; what came of it. Raises when it cannot be done, or when it is `abandoned` before it has ended."""
    match action:
        case ProcessAction():
            pid = subject.process(action.what)
            os.kill(pid, SIGNALS[action.do])
            return f"process {pid}"
        case PublishAction():
            return _publish(action, subject)
        case ModelAction():
            with Client(subject.target) as client:
                (client.load if action.do == "load" else client.unload)(action.model, deadline=CALL_S)
            return ""
        case AdminAction():
            return admin_call.call(action, subject.admin, abandoned)
        case FaultAction():
            with AdminClient(subject.admin) as admin:
                workers = admin.set_faults(action.model, action.faults)
            return f"in {workers} of the workers"
        case ShellAction():
            # `router` is that of this installation.
            path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
            addresses = {"TARGET": subject.target, "ADMIN": subject.admin, "HTTP": subject.http}
            environment = {**os.environ, **addresses, "PATH": path}
            return run_shell(action.command, environment, action.within, abandoned)
        case _:
            raise BenchError(f"the server has no way to {label(action)}")


def _publish(action: PublishAction, subject: Subject) -> str:
    assert subject.withheld is not None
    assert subject.repository is not None
    kept = subject.withheld / action.model / action.version
    if not kept.is_dir():
        raise BenchError(f"version {action.version} of {action.model} was not withheld: see `server.versions`")
    kept.rename(subject.repository / action.model / action.version)
    os.kill(subject.started_pid, signal.SIGHUP)
    return "the repository is looked at again"


class Timeline:
    """The actions of a run."""

    def __init__(
        self,
        scenario: Scenario,
        subject: Subject,
        clock: Callable[[], float] = time.monotonic,
        do: Callable[[Any, Subject, threading.Event], Done | str] = perform,
    ) -> None:
        self._scheduled = scenario.timeline
        lanes: dict[str, list[Any]] = {}
        for action in self._scheduled:
            lanes.setdefault(lane(action), []).append(action)
        self._lanes = lanes
        self._subject = subject
        self._start = 0.0
        self._clock = clock
        self._do = do
        self._over = threading.Event()
        self._abandoned = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"timeline: {name}", daemon=True) for name in lanes
        ]
        self._done: dict[str, list[Deed]] = {name: [] for name in lanes}

    @property
    def deeds(self) -> list[Deed]:
        """What was done so far, in the order in which it was begun."""
        return sorted((deed for done in self._done.values() for deed in done), key=lambda deed: deed.began)

    def begin(self, start: float) -> None:
        """Start the threads. `start` is an instant of the clock in seconds."""
        self._start = start
        for thread in self._threads:
            thread.start()

    def end(self, patience: float = CALL_S) -> None:
        """Begin nothing more, and give what is being done `patience` seconds to end.

        Actions whose time has come and that were not done are deeds too: ones that failed.
        """
        self._over.set()
        if not any(thread.ident for thread in self._threads):
            return
        ended = self._clock() - self._start
        self._join(patience)
        self._abandoned.set()
        self._join(ABANDON_S)
        for name, actions in self._lanes.items():
            done = self._done[name]
            for action in actions[len(done) :]:
                if action.at <= ended:
                    why = (
                        "not done when the run ended: it or an action before it takes too long; move it or lengthen a"
                        " phase"
                    )
                    done.append(Deed(label(action), action.at, ended, ended, ok=False, detail=why))

    def _join(self, patience: float) -> None:
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, name: str) -> None:
        for action in self._lanes[name]:
            if self._over.wait(max(0.0, self._start + action.at - self._clock())):
                return
            self.do(action)

    def do(self, action: Any) -> None:
        """Do one action now, and remember what came of it."""
        began = self._clock() - self._start
        try:
            done, ok = self._do(action, self._subject, self._abandoned), True
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told and the next action has its turn
            done, ok = " ".join(str(error).split()) or type(error).__name__, False
        if isinstance(done, str):
            done = Done(done)
        ended = self._clock() - self._start
        deed = Deed(label(action), action.at, began, ended, ok, done.detail, done.generation, done.figures)
        self._done[lane(action)].append(deed)
