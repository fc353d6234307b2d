"""The server under test: one that the harness starts and stops, or one that is named."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
import tomli_w

from loadtest.errors import BenchError, Lacking, ScenarioError
from loadtest.servers import Place, Server, ServerSpec, free_port, started
from loadtest.sla import admin_call, made_models
from loadtest.sla.actions import AdminAction, FaultAction, ProcessAction, PublishAction
from loadtest.sla.scenario import Scenario, ServerTable
from router import client
from router.app.board import CONTROLLER, Board, warmup_slot, worker_slot
from router.app.bundled import bundled
from router.client import Client, InferenceError, ModelMetadata
from router.edge.inference import EXTENSIONS, FAULT_INJECTION

BUNDLED: Final = bundled()
ASK_S: Final = 5.0
NEEDS_OWN: Final = frozenset({"kill", "stop", "continue", "hang_up", "publish", "admin", "fault"})
"""Actions that nobody may do to somebody else's server."""
ALLOW_FAULTS: Final = "--allow-faults"
NEEDS: Final = {"fault": FAULT_INJECTION, "load": "model_repository", "unload": "model_repository"}
"""Actions and the features of the server that they stand on."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Where it listens. `repository`, `state` and `admin` are known of a server that the harness has started."""

    target: str
    title: str
    repository: Path | None = None
    withheld: Path | None = None
    state: Path | None = None
    admin: str = ""
    http: str = ""
    started_pid: int = 0
    workers: int = 0
    features: frozenset[str] = field(default_factory=frozenset)

    @property
    def ours(self) -> bool:
        """Whether the harness has started it, and may do what it likes with it."""
        return bool(self.started_pid)

    @property
    def who(self) -> str:
        """What people know it by: an address only where they have named it."""
        return self.title if self.repository is not None else f"the server at {self.target}"

    def process(self, name: str) -> int:
        """The process id of `worker-0`, `controller`, `supervisor`. Raises BenchError when there is none now.

        It stands on the board of the server: the controller, which could tell it too, may be the one that stands still.
        """
        if name == "supervisor":
            return self.started_pid
        assert self.state is not None
        slot = CONTROLLER if name == "controller" else worker_slot(int(name.removeprefix("worker-")))
        pid = Board.open(self.state / "board").slot(slot).pid
        if not pid:
            raise BenchError(f"no process {name!r} runs now")
        return pid

    def processes(self) -> dict[str, int]:
        """The process ids of all that run now, by name, the warm-up worker's too."""
        assert self.state is not None
        board = Board.open(self.state / "board")
        slots = {f"worker-{index}": worker_slot(index) for index in range(self.workers)}
        slots |= {"controller": CONTROLLER, "warm-up": warmup_slot(self.workers)}
        pids = {name: board.slot(slot).pid for name, slot in slots.items()} | {"supervisor": self.started_pid}
        return {name: pid for name, pid in pids.items() if pid}

    def metadata(self, model: str, version: str) -> ModelMetadata:
        """What the server says of a model. Raises ScenarioError when it does not know it."""
        with Client(self.target) as asking:
            try:
                return asking.model_metadata(model, version, deadline=ASK_S)
            except InferenceError as error:
                raise ScenarioError(f"{self.who} cannot answer for {model!r}: {error}") from None


@contextmanager
def named(target: str) -> Iterator[Subject]:
    """A server that runs already. Raises ScenarioError when nobody answers."""
    yield Subject(target, target, features=_features(target))


@contextmanager
def up(spec: ServerSpec, repository: Path, scenario: Scenario) -> Iterator[tuple[Server, frozenset[str]]]:
    """A server that is started for the models of a scenario, and its features.

    Raises Lacking when it has not what the scenario requires, ScenarioError when it does not start or its models are
    not ready.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(started(spec, repository, ()))
            features = _features(f"127.0.0.1:{server.port}")
            # Before its models are ready: settings for what it has not may keep them from that.
            check_required(scenario, features, spec.title)
            server.wait_ready(tuple(dict.fromkeys(mix.model for mix in scenario.mix)))
        except BenchError as error:
            raise ScenarioError(" ".join(str(error).split())) from None
        yield server, features


@contextmanager
def peer(spec: ServerSpec, repository: Path, scenario: Scenario) -> Iterator[Subject]:
    """One of several servers that are started on the same models."""
    with up(spec, repository, scenario) as (server, features):
        yield Subject(f"127.0.0.1:{server.port}", spec.title, repository, features=features)


@contextmanager
def own(scenario: Scenario) -> Iterator[Subject]:
    """A server as the scenario's `[server]` says; ended on leaving, with nothing left behind."""
    table = scenario.server
    flags = {FAULT_INJECTION} if ALLOW_FAULTS in table.flags else set()
    check_required(scenario, frozenset(EXTENSIONS) | flags, "this router")
    with TemporaryDirectory(prefix="sla-") as folder:
        repository, withheld = Path(folder) / "models", Path(folder) / "withheld"
        lay_out(table, repository, withheld, scenario)
        ports = {name: f"127.0.0.1:{free_port()}" for name in ("http", "admin")}
        state = Path(folder) / "state"
        title = f"router, {table.workers} worker" + ("s" if table.workers > 1 else "")
        spec = ServerSpec("own", title, _commands(table, state, ports))
        with up(spec, repository, scenario) as (server, features):
            target = f"127.0.0.1:{server.port}"
            yield Subject(
                target, title, repository, withheld, state, ports["admin"], ports["http"], server.pids[0],
                table.workers, features,
            )  # fmt: skip


def lay_out(table: ServerTable, repository: Path, withheld: Path, scenario: Scenario) -> None:
    """A copy of the models, with the scenario's settings over their own, and without the versions to come later.

    Raises ScenarioError when the scenario names models or versions that are not there.
    """
    if table.models == "made":
        made_models.make(repository, scenario)
    else:
        source = BUNDLED if table.models == "bundled" else Path(table.models)
        if not source.is_dir():
            raise ScenarioError(f"`server.models` names {table.models!r}, which is no folder")
        shutil.copytree(source, repository, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    have = sorted(path.name for path in repository.iterdir() if path.is_dir())
    for model in {mix.model for mix in scenario.mix} | set(table.versions) | set(table.settings):
        if model not in have:
            raise ScenarioError(f"the scenario names the model {model!r}; there are {', '.join(have)}")
    for model, settings in table.settings.items():
        path = repository / model / "model.toml"
        before = tomllib.loads(path.read_text()) if path.exists() else {}
        path.write_text(tomli_w.dumps(_laid_over(before, settings)))
    withheld.mkdir()
    for model, versions in table.versions.items():
        numbers = [path for path in (repository / model).iterdir() if path.name.isdigit()]
        missing = set(versions) - {path.name for path in numbers}
        if missing:
            raise ScenarioError(f"`server.versions` names version {min(missing)} of {model}, which is not there")
        for path in numbers:
            if path.name not in versions:
                (withheld / model).mkdir(exist_ok=True)
                path.rename(withheld / model / path.name)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _commands(table: ServerTable, state: Path, ports: Mapping[str, str]) -> Any:
    def commands(place: Place) -> list[list[str]]:
        words = [sys.executable, "-m", "router.app.cli", "serve", "--models", str(place.models)]
        words += ["--grpc", f"127.0.0.1:{place.port}", "--http", ports["http"], "--admin", ports["admin"]]
        words += ["--workers", str(table.workers), "--state", str(state), "--log-format", "json"]
        if table.answers_mib is not None:
            words += ["--answers", str(table.answers_mib)]
        return [[*words, *table.flags]]

    return commands


def _features(target: str) -> frozenset[str]:
    with Client(target) as asking:
        try:
            return frozenset(asking.metadata(deadline=ASK_S).extensions)
        except client.InferenceError as error:
            if error.code is grpc.StatusCode.UNIMPLEMENTED:  # a server of few words
                return frozenset()
            raise ScenarioError(f"no server of the protocol answers at {target}: {error}") from None


def check_required(scenario: Scenario, features: frozenset[str], who: str) -> None:
    """Raise Lacking when what the scenario `requires` is not among the features."""
    for feature in scenario.requires:
        if feature not in features:
            have = ", ".join(sorted(features)) or "nothing to tell"
            raise Lacking(f"the scenario needs {feature!r}, which {who} does not have; it has {have}")


def check_features(scenario: Scenario, subject: Subject) -> None:
    """Raise Lacking when the server has not what the scenario needs, ScenarioError when an action cannot be meant so.

    Called before any load is sent.
    """
    check_required(scenario, subject.features, subject.who)
    for number, action in enumerate(scenario.action):
        if not subject.ours and action.do in NEEDS_OWN:
            raise Lacking(f"action {number} ({action.do}) needs a server that the harness starts: leave --target out")
        needed = NEEDS.get(action.do)
        if needed is not None and needed not in subject.features:
            mend = f': set server.flags = ["{ALLOW_FAULTS}"]' if needed == FAULT_INJECTION else ""
            raise Lacking(f"action {number} ({action.do}) needs {needed!r}, which the server does not have{mend}")
        match action:
            case ProcessAction():
                names = ["supervisor", "controller", *(f"worker-{each}" for each in range(scenario.server.workers))]
                if action.what not in names:
                    raise ScenarioError(f"`action[{number}].what` = {action.what!r}: there are {', '.join(names)}")
            case PublishAction():
                assert subject.withheld is not None
                if not (subject.withheld / action.model / action.version).is_dir():
                    raise ScenarioError(
                        f"`action[{number}]`: version {action.version} of {action.model} does not wait to be published:"
                        " see `server.versions`, which names those that are there at the start"
                    )
            case FaultAction():
                assert subject.repository is not None
                if not (subject.repository / action.model).is_dir():
                    raise ScenarioError(f"`action[{number}].model` = {action.model!r}: the server has no such model")
            case AdminAction():
                admin_call.check(number, action)
