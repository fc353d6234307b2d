"""What happens during a run: actions of the scenario, each at its instant, on a thread of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.errors import BenchError
from loadtest.sla import admin_call
from loadtest.sla.scenario import (
    AdminAction,
    FaultAction,
    ModelAction,
    ProcessAction,
    PublishAction,
    Scenario,
    ShellAction,
)
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
            return f"admin {action.call}"
        case FaultAction():
            kinds = ", ".join(fault.kind for fault in action.faults)
            return f"fault {action.model}: {kinds or 'none any more'}"
        case _:
            return f"shell {action.command}"[:60]


def perform(action: Any, subject: Subject, abandoned: threading.Event) -> str:
    """Do it; what is to be told. Raises when it cannot be done, or when it is `abandoned` before it has ended."""
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
            return admin_call.call(action, subject.admin, CALL_S)
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
        do: Callable[[Any, Subject, threading.Event], str] = perform,
    ) -> None:
        self._actions = scenario.timeline
        self._subject = subject
        self._start = 0.0
        self._clock = clock
        self._do = do
        self._over = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        self.deeds: list[Deed] = []

    def begin(self, start: float) -> None:
        """Start the thread. `start` is an instant of the clock in seconds."""
        self._start = start
        self._thread.start()

    def end(self, patience: float = CALL_S) -> None:
        """Begin nothing more, and give what is being done `patience` seconds to end.

        Actions whose time has come and that were not done are deeds too: ones that failed.
        """
        self._over.set()
        if not self._thread.ident:
            return
        ended = self._clock() - self._start
        self._thread.join(patience)
        self._abandoned.set()
        self._thread.join(ABANDON_S)
        for action in self._actions[len(self.deeds) :]:
            if action.at <= ended:
                why = (
                    "not done when the run ended: it or an action before it takes too long; move it or lengthen a phase"
                )
                self.deeds.append(Deed(label(action), action.at, ended, ended, ok=False, detail=why))

    def _run(self) -> None:
        for action in self._actions:
            if self._over.wait(max(0.0, self._start + action.at - self._clock())):
                return
            self.do(action)

    def do(self, action: Any) -> None:
        """Do one action now, and remember what came of it."""
        began = self._clock() - self._start
        try:
            detail, ok = self._do(action, self._subject, self._abandoned), True
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told and the next action has its turn
            detail, ok = " ".join(str(error).split()) or type(error).__name__, False
        self.deeds.append(Deed(label(action), action.at, began, self._clock() - self._start, ok, detail))
