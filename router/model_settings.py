"""Validated settings of a model: `model.toml` beside its versions. They are the operator's, never the trainer's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from router.errors import SettingsError
from router.humility_settings import HumilitySettings
from router.settings import Number, Settings, Value, explain, read_toml
from router.version_settings import CanarySettings, GatesSettings, LifecycleSettings, TrialSettings, WarmupSettings

CPU: Final = "CPUExecutionProvider"

_NEEDS: Final = {"stall": "ms", "gil": "ms", "burn": "ms", "slow": "factor", "shift": "by"}
_TAKES: Final = {**_NEEDS, "hang": "ms", "hang_hard": "ms"}
"""Kinds of faults and their measures."""
_REMOTE: Final = re.compile(r"grpc://(?P<address>[^/\s]+:\d{1,5})/(?P<model>[^/\s]+)")


def remote_address(target: str) -> tuple[str, str]:
    """`HOST:PORT` and model of a `grpc://HOST:PORT/MODEL`."""
    match = _REMOTE.fullmatch(target)
    assert match is not None, "the settings have been validated"
    return match["address"], match["model"]


class DeadlineSettings(Settings):
    """`[deadline]`: by when callers have their answer, and what has to be left of that time for its way back."""

    sla_ms: Number | None = Field(None, gt=0, le=3_600_000)
    """Every request has this long at most, whatever its caller allows."""
    reserve_ms: Number = Field(3.0, ge=0, le=10_000)
    """An answer leaves so long before the deadline; longer where answers were measured to need longer."""


class HedgeSettings(Settings):
    """`[hedge]`: a second attempt where the first is slow."""

    enabled: bool = True
    """Where there is a second target: another replica, the failover model, or `target`."""
    budget: Number = Field(0.02, ge=0, le=1)
    """Extra runs, as a share of all."""
    min_delay_ms: Number = Field(1.0, ge=0, le=60_000)
    target: str | None = None
    """Another server of the protocol: `grpc://HOST:PORT/MODEL`."""

    @field_validator("target")
    @classmethod
    def _is_remote(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = _REMOTE.fullmatch(value)
        if match is None or not 0 < int(match["address"].rpartition(":")[2]) < 2**16:
            raise ValueError("expected grpc://HOST:PORT/MODEL")
        return value


class SessionsSettings(Settings):
    """`[sessions]`: how a version is loaded."""

    replicas: int = Field(1, ge=1, le=16)
    """Sessions of one version side by side, in each worker."""
    intra_op_threads: int = Field(1, ge=1, le=256)
    providers: tuple[str, ...] = Field((CPU,), min_length=1)
    """ONNX Runtime's execution providers, the first that can run a node does."""


class BatchSettings(Settings):
    """`[batch]`: how rows of different callers share a run."""

    max_size: int = Field(32, ge=1, le=4096)
    max_wait_us: int = Field(0, ge=0, le=1_000_000)
    rows_independent: bool | None = None
    """The owner's word; without it the graph and trial runs decide."""


class FallbackSettings(Settings):
    """`[fallback]`: what answers where the model cannot, in this order."""

    chain: tuple[Literal["failover", "cached", "default"], ...] = ()
    failover: str | None = None
    """`MODEL` or `MODEL:VERSION` of the same signature."""
    cached_max_age_s: Number = Field(3600.0, gt=0, le=31_536_000)
    cached_other_versions: bool = False
    """Whether an answer of another version of this model will do; the reply names that version."""
    default: dict[str, Value | list[Any]] = Field({})
    """For each output a value that is repeated, or the values of one row."""

    @model_validator(mode="after")
    def _is_whole(self) -> FallbackSettings:
        if len(set(self.chain)) != len(self.chain):
            raise ValueError("each step of the chain stands there once")
        for step, given in (("failover", self.failover is not None), ("default", bool(self.default))):
            if step in self.chain and not given:
                raise ValueError(f"the chain names `{step}`: set fallback.{step} too")
            if given and step not in self.chain:
                raise ValueError(f"`{step}` is set but not used: add it to the chain, or remove it")
        return self


class AnswersSettings(Settings):
    """`[answers]`: what remembered answers may do while the model is well."""

    serve_fresh_s: Number = Field(0.0, ge=0, le=31_536_000)
    """An answer at most this old is given without a run; 0 switches that off."""


class PromiseSettings(Settings):
    """`[contract.outputs.NAME]`: what one output promises of each of its elements."""

    finite: bool = True
    """No NaN, no infinity."""
    low: Number | None = None
    high: Number | None = None
    labels: tuple[int | str, ...] | None = None
    """All that may come."""


class ContractSettings(Settings):
    """`[contract]`: what outputs promise; an answer that breaks it is a failure. Floating outputs are to be finite."""

    rows: bool = False
    """One row of output for each row of input."""
    outputs: dict[str, PromiseSettings] = Field({})


class LedgerSettings(Settings):
    """`[ledger]`: which predictions are kept, to be joined to what came true."""

    enabled: bool = False
    output: str | None = None
    """The output that holds the prediction: a label, a score for each class, or a number; by default the first."""
    sample: Number = Field(1.0, gt=0, le=1)
    """Of the requests that have an id."""
    keep_s: Number = Field(604_800.0, gt=0, le=31_536_000)
    """What came true may be submitted for so long."""


class HealthSettings(Settings):
    """`[health]`: when a model is well."""

    target_ms: Number | None = Field(None, gt=0, le=3_600_000)
    """An answer is in time that takes no longer; without it `deadline.sla_ms`, without both every answer is."""
    availability: Number = Field(0.999, gt=0, lt=1)
    """Share of the requests that are to be answered in time; the rest is the error budget."""
    min_requests: int = Field(100, ge=1, le=1_000_000)
    """With fewer in a minute, 5 minutes are judged, then an hour; with fewer in that, none of the following is."""
    max_error_rate: Number = Field(0.01, ge=0, le=1)
    """Share of the requests that may fail: above it the model is yellow, above five times as much or a half, red."""
    max_fallback_rate: Number = Field(0.05, ge=0, le=1)
    """The same of those that something else answers."""
    calm_s: Number = Field(30.0, ge=0, le=86_400)
    """All has to be better for so long before it is told that it is."""
    idle_s: Number = Field(3600.0, ge=60, le=86_400)
    """After so long without a request that is told; the model stays green."""


class DriftSettings(Settings):
    """`[drift]`: whether what comes is still what the model was made for."""

    enabled: bool = True
    """What it costs is bounded by `max_per_s`, and a look that nobody has asked for is the one that finds something."""
    max_per_s: Number = Field(20.0, gt=0, le=10_000)
    """Rows that are looked at, a second in each worker."""
    reference_rows: int = Field(1000, ge=100, le=100_000)
    """So many rows of the champion are the reference, where `router reference` has set none."""
    window_s: Number = Field(15.0, ge=1, le=3600)
    """A window takes so long,"""
    min_samples: int = Field(200, ge=50, le=100_000)
    """and longer until it has so many rows. Two windows in a row make a warning."""
    yellow: Number = Field(0.1, gt=0, le=10)
    """From this population stability index on something has shifted,"""
    red: Number = Field(0.2, gt=0, le=10)
    """from this one on a lot has. Below what chance alone may do with so few rows nothing is said."""
    features: dict[str, tuple[str, ...]] = Field({})
    """Names for the elements of inputs, in their order: `features = { x = ["age", "income"] }`."""
    ignore: tuple[str, ...] = ()
    """Features, or whole tensors, that are not looked at."""

    @field_validator("features")
    @classmethod
    def _names_are_names(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        names = [name for each in value.values() for name in each]
        if any(not name or len(name) > 100 for name in names):
            raise ValueError("a name has 1 to 100 characters")
        if len(set(names)) != len(names):
            raise ValueError("each name stands there once")
        return value

    @model_validator(mode="after")
    def _red_is_above_yellow(self) -> DriftSettings:
        if self.red < self.yellow:
            raise ValueError(f"`red` = {self.red:g}: at least `yellow`, which is {self.yellow:g}")
        return self


class AccuracySettings(Settings):
    """`[accuracy]`: whether what it says still comes true. Needs `[ledger]`."""

    baseline: Literal["first", "exam"] = "first"
    """What a version is compared with: itself, on its first requests of which it came true what was right, or what its
    exam showed when it was tested; where there was no exam, the first requests."""
    baseline_requests: int = Field(1000, ge=30, le=1_000_000)
    """So many of these."""
    max_drop: Number = Field(0.02, gt=0, le=1)
    """How many more of its labels may be wrong, as a share,"""
    max_rise: Number = Field(0.2, gt=0, le=1000)
    """and by what part of the baseline the mean absolute error of its numbers may be greater, till it is a decline."""


class RecordingSettings(Settings):
    """`[recording]`: requests and answers that are kept."""

    enabled: bool = False
    share: Number = Field(0.01, gt=0, le=1)
    """Of the runs of champion and challengers so many are recorded,"""
    max_per_s: Number = Field(50.0, gt=0, le=1000)
    """but no more than so many rows a second in each worker."""
    redact: tuple[str, ...] = ()
    """Inputs and outputs whose values are not kept: numbers are 0 instead, truth values false, texts empty."""
    max_mib: int = Field(256, ge=1, le=1 << 20)
    """All files of the model together; the oldest go first."""
    rotate_s: Number = Field(300.0, ge=1, le=86_400)
    """A file is finished after so long,"""
    rotate_mib: Number = Field(16.0, ge=0.01, le=1024)
    """or when it holds so much."""
    keep_s: Number = Field(2_592_000.0, ge=60, le=315_360_000)
    """Files that are older than this go."""


class FaultSettings(Settings):
    """`[[faults]]`: how a model is made to fail. Only a server that is started with --allow-faults does it."""

    kind: Literal["stall", "hang", "hang_hard", "gil", "burn", "error", "nan", "slow", "shift"]
    """`stall` sleeps for `ms`, then runs. `hang` waits for `ms`, or for ever, unless its run is ended; `hang_hard`
    cannot be ended. `gil` computes for `ms` and holds the interpreter, `burn` lets go of it. `error` fails, `nan`
    answers NaN wherever an output is floating, `slow` takes `factor` times as long,
    `shift` adds `by` to every number, and to a whole number its nearest whole."""
    share: Number = Field(1.0, gt=0, le=1)
    """Of the runs of each session."""
    ms: Number | None = Field(None, gt=0, le=3_600_000)
    factor: Number | None = Field(None, gt=1, le=1000)
    after_s: Number = Field(0.0, ge=0, le=86_400)
    """All is well for so long."""
    replica: int | None = Field(None, ge=0, le=15)
    """Only this session of each version, by its number from 0; not the one that takes its place when it hangs."""
    version: str | None = Field(None, pattern="^[1-9][0-9]{0,17}$")
    """Only this version."""
    by: Number | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> FaultSettings:
        for key in ("ms", "factor", "by"):
            given = getattr(self, key) is not None
            if _NEEDS.get(self.kind) == key and not given:
                raise ValueError(f"the kind `{self.kind}` needs `{key}`")
            if given and _TAKES.get(self.kind) != key:
                raise ValueError(f"the kind `{self.kind}` takes no `{key}`: remove it")
        return self


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _versions(value: object) -> object:
    numbers = isinstance(value, list | tuple) and all(type(each) is int and each >= 1 for each in value)
    if not numbers and value not in ("latest", "all"):
        raise ValueError('expected "latest", "all" or a list of version numbers, for example [1, 3]')
    return value


class ModelSettings(Settings):
    """All of `model.toml`."""

    versions: Annotated[Literal["latest", "all"] | tuple[int, ...], BeforeValidator(_versions)] = "latest"
    deadline: DeadlineSettings = DeadlineSettings()
    hedge: HedgeSettings = HedgeSettings()
    sessions: SessionsSettings = SessionsSettings()
    batch: BatchSettings = BatchSettings()
    fallback: FallbackSettings = FallbackSettings()
    answers: AnswersSettings = AnswersSettings()
    contract: ContractSettings | None = None
    """None: nothing is promised, as for a model without a model.toml."""
    lifecycle: LifecycleSettings = LifecycleSettings()
    gates: GatesSettings = GatesSettings()
    warmup: WarmupSettings = WarmupSettings()
    ledger: LedgerSettings = LedgerSettings()
    trial: TrialSettings = TrialSettings()
    canary: CanarySettings = CanarySettings()
    health: HealthSettings = HealthSettings()
    drift: DriftSettings = DriftSettings()
    accuracy: AccuracySettings = AccuracySettings()
    recording: RecordingSettings = RecordingSettings()
    humility: HumilitySettings = HumilitySettings()
    faults: Annotated[tuple[FaultSettings, ...], BeforeValidator(_listed)] = ()
    """One table, or several."""

    @model_validator(mode="after")
    def _faulty_replicas_are_there(self) -> ModelSettings:
        for number, fault in enumerate(self.faults):
            if fault.replica is not None and fault.replica >= self.sessions.replicas:
                last = self.sessions.replicas - 1
                raise ValueError(
                    f"`faults.{number}.replica` = {fault.replica}: by sessions.replicas the last is {last}"
                )
        return self


def model_settings(path: Path) -> ModelSettings:
    """The settings in a `model.toml`; the defaults where there is none. Raises SettingsError."""
    if not path.exists():
        return ModelSettings()
    tables = read_toml(path, "model.toml")
    try:
        return ModelSettings.model_validate({"contract": {}, **tables})
    except ValidationError as error:
        raise SettingsError(explain(error, "model.toml")) from error


def fault_settings(tables: Sequence[object], settings: ModelSettings, where: str) -> tuple[FaultSettings, ...]:
    """Faults for a model of these settings. Raises SettingsError with one line."""
    try:
        sessions = settings.sessions.model_dump()
        return ModelSettings.model_validate({"sessions": sessions, "faults": list(tables)}).faults
    except ValidationError as error:
        raise SettingsError(explain(error, where)) from error
