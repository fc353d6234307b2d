"""What happens during a run: actions of the scenario, each at its instant, on a thread of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format

from loadtest.errors import BenchError
from loadtest.sla.scenario import (
    AdminAction,
    FaultAction,
    ModelAction,
    ProcessAction,
    PublishAction,
    Scenario,
    ShellAction,
)
from loadtest.sla.subject import Subject, run_shell
from router.client import Client, InferenceError

SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "continue": signal.SIGCONT,
    "hang_up": signal.SIGHUP,
}
CALL_S: Final = 30.0


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
            return f"fault {action.fault} {'on' if action.on else 'off'}"
        case _:
            return f"shell {action.command}"[:60]


def perform(action: Any, subject: Subject) -> str:
    """Do it; what is to be told. Raises BenchError or OSError when it cannot be done."""
    match action:
        case ProcessAction():
            pid = subject.started_pid if action.what == "supervisor" else subject.process(action.what)
            os.kill(pid, SIGNALS[action.do])
            return f"process {pid}"
        case PublishAction():
            return _publish(action, subject)
        case ModelAction():
            with Client(subject.target) as client:
                (client.load if action.do == "load" else client.unload)(action.model, deadline=CALL_S)
            return ""
        case AdminAction():
            return _administer(action, subject)
        case ShellAction():
            environment = {**os.environ, "TARGET": subject.target, "ADMIN": subject.admin, "HTTP": subject.http}
            return run_shell(action.command, environment, action.within)
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


def _administer(action: AdminAction, subject: Subject) -> str:
    import grpc  # noqa: PLC0415

    from router.pb import admin_pb2, admin_pb2_grpc  # noqa: PLC0415

    method = admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods_by_name[action.call]
    kind = getattr(admin_pb2, method.input_type.name)
    try:
        request = json_format.ParseDict(action.request, kind())
        with grpc.insecure_channel(subject.admin) as channel:
            stub: Any = admin_pb2_grpc.AdminStub(channel)  # type: ignore[no-untyped-call]
            answer = getattr(stub, action.call)(request, timeout=CALL_S)
    except json_format.ParseError as error:
        raise BenchError(f"the request does not fit: {error}") from None
    except grpc.RpcError as error:
        raise BenchError(f"{error.code().name}: {error.details()}") from None
    return json_format.MessageToJson(answer, indent=None)[:200]


class Timeline:
    """The actions of a run. `start` is an instant of `clock` in seconds."""

    def __init__(
        self,
        scenario: Scenario,
        subject: Subject,
        start: float,
        clock: Callable[[], float] = time.monotonic,
        do: Callable[[Any, Subject], str] = perform,
    ) -> None:
        self._actions = sorted(scenario.action, key=lambda action: action.at)
        self._subject = subject
        self._start = start
        self._clock = clock
        self._do = do
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        self.deeds: list[Deed] = []

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Do nothing more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(CALL_S)

    def _run(self) -> None:
        for action in self._actions:
            if self._over.wait(max(0.0, self._start + action.at - self._clock())):
                return
            self.do(action)

    def do(self, action: Any) -> None:
        """Do one action now, and remember what came of it."""
        began = self._clock() - self._start
        try:
            detail, ok = self._do(action, self._subject), True
        except (BenchError, InferenceError, OSError) as error:
            detail, ok = " ".join(str(error).split()), False
        self.deeds.append(Deed(label(action), action.at, began, self._clock() - self._start, ok, detail))
