"""A scenario: what is sent, when, what happens meanwhile, what must hold. Written in TOML, checked before any load."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator, ValidationError, model_validator

from loadtest.errors import ScenarioError
from loadtest.sla.actions import (
    Action,
    AdminAction,
    FaultAction,
    ProcessAction,
    PublishAction,
    ShellAction,
)
from loadtest.sla.changes import change
from loadtest.sla.table import MOST_WAIT_S, Table
from loadtest.sla.units import Duration, PartOf, Rate, RateOrPart, Share
from router.core.faults import Fault

SHIPPED: Final = Path(__file__).parents[1] / "scenarios"
MOST_SECONDS: Final = 4 * 3600.0
MOST_REQUESTS: Final = 10_000_000
MOST_PER_SENDER: Final = 20_000.0
"""Requests/s that nobody's sender process keeps up with."""
MOST_TIMES: Final = 2000
"""An action is repeated."""
MOST_BURSTS: Final = 100_000
LEAST_BURST_S: Final = 0.001
MOST_WEIGHT: Final = 1e6
QUICK_SECONDS: Final = 20.0
LEAST_LOOK_S: Final = 20e-6
MOST_LOOK_S: Final = 0.01


def _parameter(value: object) -> object:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("a parameter is a text, a finite number, true or false")


Parameter = Annotated[bool | int | float | str, PlainValidator(_parameter)]


class ServerTable(Table):
    """`[server]`: the server that is started when no target is named.

    `models` is `bundled`, a folder, or `made`: the models of the benchmark, `pace`, whose runs take as long as a
    request says, and where the mix has them `scores`, whose answers are long, and `heavy`, of 300 MB, each in the
    versions that the scenario speaks of. `versions` says which versions of a model are there at the start; `settings`
    is laid over `model.toml`.
    """

    models: str = "bundled"
    workers: int = Field(2, ge=1, le=64)
    answers_mib: int | None = Field(None, ge=4, le=1 << 20)
    """Of its memory of answers; its default where this is left out."""
    flags: tuple[str, ...] = ()
    versions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Mix(Table):
    """`[[mix]]`: one kind of request. `keys` of `zipf` draws few of the `inputs` often (exponent `skew`)."""

    model: str
    version: str = ""
    weight: float = Field(1.0, gt=0, le=MOST_WEIGHT)
    rows: int = Field(1, ge=1, le=4096)
    input: str = "random"
    """`random` by signature, `golden` (the version's own files), or the path of a recording: the folder in which a
    server records the model, or a .npz."""
    inputs: int = Field(64, ge=1, le=10_000)
    keys: Literal["uniform", "zipf"] = "uniform"
    skew: float = Field(1.1, gt=0.0, le=5)
    values: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """For an input by name: the values to draw its elements from."""
    parameters: dict[str, Parameter] = Field(default_factory=dict)


class _Phase(Table):
    name: str
    lasts: Duration = Field(gt=0)
    measured: bool = True
    """Whether the verdict looks at it: not at a warm-up."""
    against: str = ""
    """The phase with which its latencies are compared, by model."""
    at_most: float | None = Field(None, gt=0)
    """So many times the p99 of that phase may the p99 of each model be."""


class _Open(_Phase):
    rate: RateOrPart
    spacing: Literal["even", "poisson"] = "even"


class Constant(_Open):
    """So many requests a second, evenly or at random (`poisson`)."""

    arrivals: Literal["constant", "poisson"]


class Ramp(_Open):
    """From `rate` to `to`, growing evenly."""

    arrivals: Literal["ramp"]
    to: RateOrPart


class Step(_Open):
    """From `rate` to `to` in `steps` levels of equal length."""

    arrivals: Literal["step"]
    to: RateOrPart
    steps: int = Field(4, ge=2, le=1000)


class Bursts(_Open):
    """`rate` for the time `on`, then `quiet_rate` for the time `off`, and again."""

    arrivals: Literal["bursts"]
    on: Duration = Field(ge=LEAST_BURST_S)
    off: Duration = Field(ge=LEAST_BURST_S)
    quiet_rate: Rate = 0.0


class Replay(_Phase):
    """The instants of a trace: one number a line, seconds since its start; `speed` 2 is twice as fast."""

    arrivals: Literal["replay"]
    trace: Path
    speed: float = Field(1.0, gt=0)


class Closed(_Phase):
    """So many callers that each wait for their answer before they ask again. It hides queueing, and says so."""

    arrivals: Literal["closed"]
    in_flight: int = Field(ge=1, le=4096)


Phase = Annotated[Constant | Ramp | Step | Bursts | Replay | Closed, Field(discriminator="arrivals")]


class Limits(Table):
    """What must hold over the measured phases. A line that is left out is not judged."""

    p50: Duration | None = None
    p99: Duration | None = None
    p999: Duration | None = None
    max: Duration | None = None
    availability: Share | None = None
    """Of the requests that were due, at least this share has an answer."""
    told: Share | None = None
    """Of the requests that were due, at least this share has an answer or an error within the deadline, whose clock
    starts at the real send; the client's own deadline is neither."""
    degraded: Share | None = None
    late: Share | None = None
    remembered: Share | None = None
    """Of what one ideal memory of the server's size would have answered, at least this share is answered from memory:
    see `remembered`."""
    age: Duration | None = None
    """At most so old may an answer from memory be."""
    throughput: RateOrPart | None = None
    """So many requests a second are answered within the deadline."""
    wrong: int | None = Field(None, ge=0)
    duplicates: int | None = Field(None, ge=0)
    older_generation: int | None = Field(None, ge=0)
    after: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """By model: its p99 for two seconds after a flip, and after a retirement, is at most so many times the p99 of the
    stretches of the same phase in which nothing is done."""
    resident: Share | None = None
    """Over the last third of the run the memory of each worker stays within this share of itself."""


class Scenario(Table):
    """The whole. `check` is the share of answers that is compared with what a reference gives."""

    title: str
    seed: int = Field(1, ge=0, lt=1 << 64)
    deadline: Duration = Field(1.0, gt=0, le=MOST_WAIT_S)
    connections: int = Field(4, ge=1, le=256)
    senders: int = Field(1, ge=1, le=16)
    check: Share = 0.02
    look: Duration = Field(100e-6, ge=LEAST_LOOK_S, le=MOST_LOOK_S)
    """So often the sender looks for answers while some are awaited: so exactly latencies are known. It costs the sender
    of a core what it would have for the server, where both are on one machine."""
    lag: Duration = 0.005
    """A second in which one send in a hundred was later than this is marked: there the sender measured itself."""
    requires: tuple[str, ...] = ()
    """Features of the server without which the scenario says nothing; named as in its metadata's extensions."""
    server: ServerTable = ServerTable()
    mix: tuple[Mix, ...] = Field(min_length=1, max_length=64)
    phase: tuple[Phase, ...] = Field(min_length=1, max_length=64)
    action: tuple[Action, ...] = ()
    sla: Limits = Limits()

    @model_validator(mode="after")
    def _is_possible(self) -> Scenario:
        if self.seconds > MOST_SECONDS:
            raise ValueError(f"the phases last {self.seconds:.0f} s together, at most {MOST_SECONDS:.0f} are run")
        for number, each in enumerate(self.phase):
            self._check_peak(number, each)
            if isinstance(each, Bursts) and (many := each.lasts / (each.on + each.off)) > MOST_BURSTS:
                raise ValueError(
                    f"phase {number} has {many:.0f} bursts, at most {MOST_BURSTS} are sent: lengthen `on` or `off`"
                )
            if isinstance(each, Closed) and each.in_flight < self.senders:
                raise ValueError(
                    f"phase {number} has `in_flight` = {each.in_flight}, fewer than the {self.senders} senders: each"
                    " needs a caller"
                )
            if each.against and each.against not in self._names:
                raise ValueError(f"phase {number} has `against` = {each.against!r}: there are {', '.join(self._names)}")
            if each.at_most is not None and not each.against:
                raise ValueError(f"phase {number} has `at_most` without `against`: name the phase it is compared with")
        if self.sla.remembered is not None and (len(self.mix) > 1 or self.server.answers_mib is None):
            raise ValueError(
                "`sla.remembered` needs `server.answers_mib`, the size of the memory, and a single kind of request"
            )
        closed = [each.name for each in self.phase if isinstance(each, Closed)]
        for part in self.parts:
            if part.phase not in closed or self._names.count(part.phase) != 1:
                there = ", ".join(closed) or "none"
                raise ValueError(
                    f"a rate is {str(part)!r}, which must be of one closed phase with a name of its own:"
                    f" there are {there}"
                )
        for number, action in enumerate(self.action):
            self._check_action(number, action)
        return self

    def _check_peak(self, number: int, phase: Phase) -> None:
        if (most := peak(phase)) > MOST_PER_SENDER * self.senders:
            raise ValueError(
                f"phase {number} asks for {most:.0f}/s, {self.senders} senders manage at most"
                f" {MOST_PER_SENDER * self.senders:.0f}/s: lower its rate or raise `senders`"
            )

    def _check_action(self, number: int, action: Action) -> None:
        if action.phase and self._names.count(action.phase) != 1:
            there = ", ".join(self._names)
            raise ValueError(f"action {number} has `phase` = {action.phase!r}, which must name one: there are {there}")
        begins, ends = self._bounds(action)
        if action.at >= ends - begins:
            what = f"phase {action.phase!r} ends" if action.phase else "the phases end"
            raise ValueError(f"action {number} is due at {action.at:g} s, {what} at {ends - begins:g} s")
        if action.every is None and action.until is not None:
            raise ValueError(f"action {number} has `until` without `every`: give both, or neither")
        if action.every is not None and (many := (ends - begins) / action.every) > MOST_TIMES:
            raise ValueError(
                f"action {number} would be done {many:.0f} times, at most {MOST_TIMES} are: raise its `every`"
            )

    @property
    def _names(self) -> list[str]:
        return [each.name for each in self.phase]

    def _bounds(self, action: Action) -> tuple[float, float]:
        """When what an action counts from begins and ends, in seconds since the start."""
        if not action.phase:
            return 0.0, self.seconds
        place = self._names.index(action.phase)
        begins = sum(each.lasts for each in self.phase[:place])
        return begins, begins + self.phase[place].lasts

    @property
    def timeline(self) -> tuple[Action, ...]:
        """All actions in their order, each repetition an action of its own."""
        done = []
        for action in self.action:
            begins, ends = self._bounds(action)
            if action.until is not None:
                ends = min(begins + action.until, ends)
            at, times = begins + action.at, 0
            while at < ends or not times:
                done.append(action.model_copy(update={"at": at, "phase": "", "every": None, "until": None}))
                if action.every is None:
                    break
                times += 1
                at = begins + action.at + times * action.every
        return tuple(sorted(done, key=lambda action: action.at))

    @property
    def seconds(self) -> float:
        """How long all phases take."""
        return sum(each.lasts for each in self.phase)

    @property
    def parts(self) -> list[PartOf]:
        """The rates that are parts of others."""
        return [*self._asked, *([self.sla.throughput] if isinstance(self.sla.throughput, PartOf) else [])]

    @property
    def _asked(self) -> list[PartOf]:
        """Those at which phases send."""
        rates = [getattr(phase, name, None) for phase in self.phase for name in _RATES]
        return [rate for rate in rates if isinstance(rate, PartOf)]

    @property
    def calibrating(self) -> list[Scenario]:
        """The closed phases whose rate has to be known before the schedule can be drawn, each by itself."""
        names = {rate.phase for rate in self._asked}
        phases = [each for each in self.phase if each.name in names]
        alone: dict[str, Any] = {"measured": True, "against": "", "at_most": None}
        return [
            self.model_copy(update={"phase": (each.model_copy(update=alone),), "action": (), "sla": Limits()})
            for each in phases
        ]

    def settled(self, shown: Mapping[str, float]) -> Scenario:
        """The same with the rates of its phases in requests/s, from those that closed phases have shown, by name.

        Raises ScenarioError when the senders do not manage them.
        """
        phases = []
        for number, each in enumerate(self.phase):
            rates = {name: getattr(each, name) for name in _RATES if hasattr(each, name)}
            found = {name: rate.share * shown[rate.phase] for name, rate in rates.items() if isinstance(rate, PartOf)}
            phases.append(each.model_copy(update=found))
            try:
                self._check_peak(number, phases[-1])
            except ValueError as error:
                raise ScenarioError(str(error)) from None
        return self.model_copy(update={"phase": tuple(phases)})

    @property
    def load_seconds(self) -> float:
        """How long load is sent: all phases, and before them those that rates are parts of."""
        return self.seconds + sum([each.seconds for each in self.calibrating])

    @property
    def closed(self) -> bool:
        """Whether some measured phase hides queueing."""
        return any(isinstance(each, Closed) and each.measured for each in self.phase)

    def quick(self) -> Scenario:
        """The same in at most `QUICK_SECONDS` of load: phases, bursts and actions move together."""
        scale = min(1.0, QUICK_SECONDS / self.load_seconds)
        if scale == 1.0:
            return self
        phases = []
        for each in self.phase:
            lengths = ("lasts", "on", "off") if isinstance(each, Bursts) else ("lasts",)
            phases.append(each.model_copy(update={name: getattr(each, name) * scale for name in lengths}))
        actions = [
            each.model_copy(
                update={
                    "at": each.at * scale,
                    "every": each.every and each.every * scale,
                    "until": each.until and each.until * scale,
                }
            )
            for each in self.action
        ]
        return self.model_copy(update={"phase": tuple(phases), "action": tuple(actions)})


_RATES: Final = ("rate", "to")


def peak(phase: Any) -> float:
    """The highest rate of a phase in requests/s; 0 where nothing says it yet."""
    return max(known(getattr(phase, name, 0.0)) for name in (*_RATES, "quiet_rate"))


def known(rate: float | PartOf) -> float:
    """Requests/s; 0 where nothing says it yet."""
    return 0.0 if isinstance(rate, PartOf) else rate


def parse(text: str, where: str, changes: Sequence[str] = ()) -> Scenario:
    """The scenario in a text, with `changes` laid over it. Raises ScenarioError: one line, the key and the mend."""
    try:
        table = tomllib.loads(text)
        change(table, changes)
        return Scenario.model_validate(table)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{where} is not TOML: {error}") from None
    except ValidationError as error:
        raise ScenarioError(_explain(error, where)) from None


def load(name: str, changes: Sequence[str] = ()) -> Scenario:
    """A shipped scenario by its name, or one in a file, with `changes` laid over it. Raises ScenarioError."""
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        path = SHIPPED / f"{name}.toml"
        if not path.exists():
            near = difflib.get_close_matches(name, shipped(), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(shipped())}"
            raise ScenarioError(f"no scenario is called {name!r}: {hint} (or name a .toml file)")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ScenarioError(f"the scenario {path} cannot be read: {reason}") from None
    return parse(text, path.name, changes)


def shipped() -> list[str]:
    """The names of the scenarios that come with the harness."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _explain(error: ValidationError, where: str) -> str:
    # A misspelt key is missing too; the spelling is what helps.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place: list[str] = []
    for part in first["loc"]:
        if isinstance(part, int):
            place[-1] += f"[{part}]"
        # Pydantic names the branch of a union too; nobody has written that.
        elif not (place and place[-1].endswith("]") and part in _BRANCHES):
            place.append(str(part))
    key = ".".join(place) or "scenario"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _KEYS, 1)
        return f"{where}: unknown key `{key}`: " + (f"did you mean `{near[0]}`?" if near else "remove it")
    if first["type"] == "union_tag_invalid":
        context = first.get("ctx", {})
        return f"{where}: `{key}`: {context.get('tag')!r} is unknown; one of {context.get('expected_tags')} is meant"
    if first["type"] == "union_tag_not_found":
        return f"{where}: `{key}` needs `{'arrivals' if 'phase' in key else 'do'}`"
    if first["type"] == "missing":
        return f"{where}: `{key}` is missing"
    message = first["msg"].removeprefix("Value error, ")
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return f"{where}: `{key}`{value}: {message[0].lower()}{message[1:]}"


_BRANCHES: Final = {
    "constant", "poisson", "ramp", "step", "bursts", "replay", "closed",
    "kill", "stop", "continue", "hang_up", "publish", "load", "unload", "admin", "fault", "shell",
}  # fmt: skip
_KEYS: Final = sorted(
    {
        name
        for table in (Scenario, ServerTable, Mix, Ramp, Step, Bursts, Replay, Closed, Limits)
        for name in table.model_fields
    }
    | {
        name
        for table in (ProcessAction, PublishAction, AdminAction, FaultAction, ShellAction, Fault)
        for name in table.model_fields
    }
)
