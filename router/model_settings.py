"""Validated settings of a model: `model.toml` beside its versions. They are the operator's, never the trainer's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from router.config import explain, read_toml
from router.errors import SettingsError

CPU: Final = "CPUExecutionProvider"

_NEEDS: Final = {"stall": "ms", "gil": "ms", "burn": "ms", "slow": "factor", "shift": "by"}
_TAKES: Final = {**_NEEDS, "hang": "ms", "hang_hard": "ms"}
"""Kinds of faults and their measures."""
_REMOTE: Final = re.compile(r"grpc://(?P<address>[^/\s]+:\d{1,5})/(?P<model>[^/\s]+)")

Number = Annotated[float, Field(allow_inf_nan=False)]
Value = bool | int | Number | str
Bounds = float | Annotated[tuple[float, ...], Field(min_length=1, max_length=4096)]
Category = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)]
_RULES: Final = {
    "uncertain": (("output",), ("low", "high", "margin")),
    "outlying": (("input",), ("low", "high", "feature")),
    "low_observation": (("input", "known"), ("feature",)),
}
"""Kinds of humility rules: the keys that each needs, and those that it takes beside them."""


def remote_address(target: str) -> tuple[str, str]:
    """`HOST:PORT` and model of a `grpc://HOST:PORT/MODEL`."""
    match = _REMOTE.fullmatch(target)
    assert match is not None, "the settings have been validated"
    return match["address"], match["model"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeadlineSettings(_Settings):
    """`[deadline]`: by when callers have their answer, and what has to be left of that time for its way back."""

    sla_ms: Number | None = Field(None, gt=0, le=3_600_000)
    """Every request has this long at most, whatever its caller allows."""
    reserve_ms: Number = Field(3.0, ge=0, le=10_000)
    """An answer leaves so long before the deadline; longer where answers were measured to need longer."""


class HedgeSettings(_Settings):
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


class SessionsSettings(_Settings):
    """`[sessions]`: how a version is loaded."""

    replicas: int = Field(1, ge=1, le=16)
    """Sessions of one version side by side, in each worker."""
    intra_op_threads: int = Field(1, ge=1, le=256)
    providers: tuple[str, ...] = Field((CPU,), min_length=1)
    """ONNX Runtime's execution providers, the first that can run a node does."""


class BatchSettings(_Settings):
    """`[batch]`: how rows of different callers share a run."""

    max_size: int = Field(32, ge=1, le=4096)
    max_wait_us: int = Field(0, ge=0, le=1_000_000)
    rows_independent: bool | None = None
    """The owner's word; without it the graph and trial runs decide."""


class FallbackSettings(_Settings):
    """`[fallback]`: what answers where the model cannot, in this order."""

    chain: tuple[Literal["failover", "cached", "default"], ...] = ()
    failover: str | None = None
    """`MODEL` or `MODEL:VERSION` of the same signature."""
    cached_max_age_s: Number = Field(3600.0, gt=0, le=31_536_000)
    cached_other_versions: bool = False
    """Whether an answer of another version of this model will do; the reply names that version."""
    default: dict[str, Value | list[Any]] = {}
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


class AnswersSettings(_Settings):
    """`[answers]`: what remembered answers may do while the model is well."""

    serve_fresh_s: Number = Field(0.0, ge=0, le=31_536_000)
    """An answer at most this old is given without a run; 0 switches that off."""


class PromiseSettings(_Settings):
    """`[contract.outputs.NAME]`: what one output promises of each of its elements."""

    finite: bool = True
    """No NaN, no infinity."""
    low: Number | None = None
    high: Number | None = None
    labels: tuple[int | str, ...] | None = None
    """All that may come."""


class ContractSettings(_Settings):
    """`[contract]`: what outputs promise; an answer that breaks it is a failure. Floating outputs are to be finite."""

    rows: bool = False
    """One row of output for each row of input."""
    outputs: dict[str, PromiseSettings] = {}


class LifecycleSettings(_Settings):
    """`[lifecycle]`: what becomes of versions."""

    on_new_version: Literal["none", "test", "warm", "challenge", "promote"] = "none"
    """What is done by itself with a version that appears: nothing, its gates, or gates and warm-up. challenge: then it
    is on trial against the champion. promote: then it is promoted, if it is its parent trained anew (what is not is a
    new model, and has to challenge)."""
    challenge_share: Number = Field(0.0, ge=0, le=50)
    """Percent of the requests that it answers when it challenges by itself; 0: it is a shadow, on copies."""
    promote_by: Literal["swap", "canary"] = "canary"
    """How it is promoted by itself."""
    initial_champion: int | None = Field(None, ge=1)
    """Which version begins, where nothing is stored; without it the newest whose blocking gates pass."""
    promote_needs: Literal["test", "warm"] = "test"
    """What a version must have passed before it may be promoted."""
    rollback_window_s: Number = Field(3600.0, ge=0, le=31_536_000)
    """The champion before stays loaded for so long, so that a rollback is one flip."""


Gate = Literal["signature", "smoke", "exam", "contract", "batch invariance", "speed", "memory", "robustness"]
"""Those that block."""
Metric = Literal["accuracy", "log_loss", "mae", "rmse", "auc"]
"""What an exam is graded by. Accuracy and AUC grow with what is good, the others are errors."""


class GatesSettings(_Settings):
    """`[gates]`: what a version must pass before any live traffic sees it."""

    limit_s: Number = Field(60.0, ge=1, le=86_400)
    """All gates of one version together, the start of their process included."""
    memory_limit_mib: int | None = Field(None, ge=16, le=1 << 24)
    """What they may take; without it 1024 and four times the files of the two versions."""
    metrics: tuple[Metric, ...] = ()
    """Of the exam. Empty: accuracy for whole numbers and texts as labels, the mean absolute error for others."""
    output: str | None = None
    """The output that holds the label or the value; without it the first that can."""
    scores: str | None = None
    """The output that holds a share for each class; without it the first that can."""
    classes: tuple[int | str, ...] = ()
    """The labels in the order of the columns of `scores`; without it 0, 1, 2, …"""
    margins: dict[Metric, Annotated[Number, Field(ge=0)]] = {}
    """By how much the champion may be better: accuracy and AUC in shares (0.015), errors relative to its own (0.05)."""
    required: dict[Metric, Number] = {}
    """Without regard to the champion: accuracy and AUC at least, errors at most."""
    agreement: Number = Field(0.9, ge=0, le=1)
    """Below this share of answers of the same class as the champion's there is a warning."""
    difference: Number = Field(0.25, ge=0)
    """So does a mean difference of values above so many of the champion's standard deviations."""
    rtol: Number | None = Field(None, ge=0)
    """Of the golden outputs; without it by their datatype, 1e-4 for FP32."""
    atol: Number | None = Field(None, ge=0)
    """The same; without it by their datatype and size, 1e-5 of the largest for FP32."""
    slowdown: Number = Field(2.5, gt=1, le=1000)
    """How many times the champion's time a run may take."""
    growth_mib: Number = Field(32.0, gt=0, le=1 << 20)
    """How much more memory it may hold after a thousand runs."""
    warn_only: tuple[Gate, ...] = ()
    """Gates whose fail is told and keeps no version from serving."""

    @field_validator("metrics", "classes")
    @classmethod
    def _stand_there_once(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) != len(value):
            raise ValueError("each stands there once")
        return value


class WarmupSettings(_Settings):
    """`[warmup]`: a version beside the champion, on copies of live requests, before it may serve."""

    fraction: Number = Field(1.0, gt=0, le=1)
    """Of the champion's runs so many are copied,"""
    max_per_s: Number = Field(100.0, gt=0, le=1_000_000)
    """but of no more than so many requests a second in each worker."""
    min_samples: int = Field(500, ge=1, le=1_000_000)
    """The verdict comes when so many requests have been run,"""
    min_seconds: Number = Field(30.0, ge=0, le=86_400)
    """for so long at least."""
    max_seconds: Number = Field(600.0, gt=0, le=604_800)
    """Live requests are waited for so long. Recorded ones and synthetic input then make up for those that are missing;
    where there was not one live request after `min_seconds`, they do so at once."""
    max_error_rate: Number = Field(0.001, ge=0, le=1)
    """Share of the requests that may fail or break the contract, all of which the champion has answered."""
    min_agreement: Number = Field(0.95, ge=0, le=1)
    """Share of the rows for which a label, the largest score or, within `tolerance`, a number is the champion's."""
    tolerance: Number | None = Field(None, ge=0, le=1000)
    """A number agrees that differs from the champion's by at most this share of it. Without it numbers are compared
    and not judged."""
    max_latency_ratio: Number = Field(3.0, gt=0, le=1000)
    """Median of the time for a run, as a multiple of the champion's for the same rows."""
    max_accuracy_drop: Number = Field(0.01, ge=0, le=1)
    """Where it has come true what was right: how much less often than the champion it may be right."""

    @model_validator(mode="after")
    def _times_are_in_order(self) -> WarmupSettings:
        if self.max_seconds < self.min_seconds:
            raise ValueError(
                f"`max_seconds` = {self.max_seconds:g}: at least `min_seconds`, which is {self.min_seconds:g}"
            )
        return self


class LedgerSettings(_Settings):
    """`[ledger]`: which predictions are kept, to be joined to what came true."""

    enabled: bool = False
    output: str | None = None
    """The output that holds the prediction: a label, a score for each class, or a number; by default the first."""
    sample: Number = Field(1.0, gt=0, le=1)
    """Of the requests that have an id."""
    keep_s: Number = Field(604_800.0, gt=0, le=31_536_000)
    """What came true may be submitted for so long."""


class TrialSettings(_Settings):
    """`[trial]`: how a challenger is found to be better than the champion, or not."""

    alpha: Number = Field(0.01, gt=0, le=0.2)
    """The risk that a challenger that is no better wins, over the whole trial, however often it is looked at."""
    margin: Number = Field(0.0, ge=0, lt=1)
    """By how much, in shares of the requests, it must be better to be worth a change."""
    min_samples: int = Field(500, ge=1, le=100_000_000)
    """Rows of which it came true what was right, before there is a verdict."""
    max_seconds: Number = Field(1_209_600.0, gt=0, le=31_536_000)
    """When there is no winner by then, the trial ends undecided."""
    within: Number | None = Field(None, ge=0)
    """For numbers: so close to what came true is right. Needed where champion and challenger answer different requests;
    where both run the same ones, the closer one is right, without it."""
    on_win: Literal["notify", "promote", "ask"] = "notify"
    """notify: people are told. promote: it is promoted, by `strategy`. ask: the same, once somebody has approved."""
    strategy: Literal["swap", "canary"] = "canary"
    fraction: Number = Field(1.0, gt=0, le=1)
    """Of the champion's runs so many are copied to a shadow,"""
    max_per_s: Number = Field(100.0, gt=0, le=1_000_000)
    """but of no more than so many requests a second in each worker."""
    max_error_rate: Number = Field(0.001, ge=0, le=1)
    """A challenger that fails more often, beyond what the champion does, does not win,"""
    max_latency_ratio: Number = Field(1.5, gt=0, le=1000)
    """nor one whose median run takes longer than so many times the champion's."""


class CanarySettings(_Settings):
    """`[canary]`: how a new champion gets its share, step by step, and what sends it back."""

    steps: tuple[Annotated[Number, Field(gt=0, le=100)], ...] = Field((5.0, 25.0, 50.0, 100.0), min_length=1)
    """Percent of the requests. At 100 the `control` stays with the old champion until the last bake is over."""
    bake_seconds: Number = Field(300.0, ge=0, le=604_800)
    """Each step is watched for so long at least,"""
    min_requests: int = Field(200, ge=0, le=100_000_000)
    """until it has answered so many requests, and the old champion 30 at least, or as many if that is less: of its own
    share, and of copies, where agreement is wanted (`min_agreement` above 0) and its outputs can be judged;"""
    max_seconds: Number = Field(86_400.0, gt=0, le=31_536_000)
    """where that takes longer than this in all, the canary goes back."""
    check_seconds: Number = Field(5.0, ge=0.2, le=3600)
    """How often both are compared."""
    control: Number = Field(5.0, gt=0, le=50)
    """Percent of the requests that the old champion answers in the last step, and of the new one's runs that are copied
    to it in all steps, so that both are seen at the same time and on the same inputs."""
    alpha: Number = Field(0.01, gt=0, le=0.2)
    """The risk that a version as good as the old champion is sent back, over the whole canary."""
    max_error_rate: Number = Field(0.002, ge=0, le=1)
    """Beyond what the old champion has at the same time, as the following: share of requests that fail or break the
    contract,"""
    max_fallback_rate: Number = Field(0.002, ge=0, le=1)
    """share that something else answers,"""
    max_p99_ratio: Number = Field(1.3, ge=1, le=1000)
    """p99 of the time to an answer, as a multiple of the old champion's."""
    min_agreement: Number = Field(0.9, ge=0, le=1)
    """Share of the rows of the same inputs on which both agree, as in `[warmup]`: same label, or number within
    `tolerance`."""
    tolerance: Number | None = Field(None, ge=0, le=1000)
    """Without it, a number agrees that is within a quarter of the standard deviation of the old champion's numbers."""

    @property
    def room(self) -> float:
        """Percent of the requests without which a canary cannot begin: its first step, and what stays with the old
        champion."""
        return min(self.steps[0] + self.control, 100.0)

    @model_validator(mode="after")
    def _steps_rise(self) -> CanarySettings:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1] != 100:
            raise ValueError(f"`steps` = {list(self.steps)}: they rise, and the last one is 100")
        return self


class HealthSettings(_Settings):
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


class DriftSettings(_Settings):
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
    features: dict[str, tuple[str, ...]] = {}
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


class AccuracySettings(_Settings):
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


class RecordingSettings(_Settings):
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


class HumilityRuleSettings(_Settings):
    """`[[humility.rules]]`: which predictions are not to be trusted, and what is done about them."""

    name: str = Field(pattern="^[a-z0-9_-]{1,40}$")
    """As replies and metrics say it."""
    kind: Literal["uncertain", "outlying", "low_observation"]
    """`uncertain`: the top score in a row of `output` is below `low`, or with `high` from `low` to `high`, or leads the
    second one by less than `margin`. `outlying`: an element of `input` is below `low` or above `high`, or is NaN.
    `low_observation`: one is not among the `known`."""
    output: str | None = None
    input: str | None = None
    low: Bounds | None = None
    high: Bounds | None = None
    """Of `outlying` also a list, with a bound for each element of a row; -inf and inf bound nothing."""
    margin: Number | None = Field(None, gt=0)
    known: tuple[Category, ...] | None = Field(None, min_length=1, max_length=4096)
    """Whole numbers or texts: all that has been seen often enough."""
    feature: int | None = Field(None, ge=0)
    """Of `outlying` and `low_observation`: only this element of each row is looked at, counted from 0."""
    then: Literal["override", "error", "note"] = "note"
    """`override`: the caller gets the values of `override` instead. `error`: an error. `note`: it is only marked."""
    override: dict[str, Value | list[Any]] = {}
    """For each output that is overridden a value that is repeated, or the values of one row."""

    @field_validator("low", "high")
    @classmethod
    def _are_numbers(cls, value: Bounds | None) -> Bounds | None:
        if value is not None and any(math.isnan(each) for each in (value if isinstance(value, tuple) else (value,))):
            raise ValueError("nan: a bound is a number")
        return value

    @field_serializer("low", "high", when_used="json")
    def _as_json(self, value: Bounds | None) -> Any:
        """JSON knows no infinity; its name is read back."""
        if isinstance(value, tuple):
            return [str(each) if math.isinf(each) else each for each in value]
        return str(value) if value is not None and math.isinf(value) else value

    @model_validator(mode="after")
    def _is_whole(self) -> HumilityRuleSettings:
        needs, takes = _RULES[self.kind]
        for key in ("output", "input", "low", "high", "margin", "known", "feature"):
            given = getattr(self, key) is not None
            if key in needs and not given:
                raise ValueError(f"the kind `{self.kind}` needs `{key}`")
            if given and key not in (*needs, *takes):
                raise ValueError(f"the kind `{self.kind}` takes no `{key}`: remove it")
        if (self.then == "override") != bool(self.override):
            raise ValueError('then = "override" and values in `override` go together: give both, or neither')
        if self.kind == "uncertain":
            self._check_scores()
        elif self.kind == "outlying":
            self._check_bounds()
        return self

    def _check_scores(self) -> None:
        if self.low is None and self.high is not None:
            raise ValueError("`high` alone says nothing of doubt: give `low` too")
        if self.low is None and self.margin is None:
            raise ValueError("the kind `uncertain` needs `low`, `low` and `high`, or `margin`: else it can never fire")
        for key, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, tuple) or (bound is not None and math.isinf(bound)):
                raise ValueError(f"`{key}` of the kind `uncertain` is one number")
        if self.low is not None and self.high is not None and self.low > self.high:  # type: ignore[operator]
            raise ValueError(f"`low` = {self.low}: at most `high`, which is {self.high}")

    def _check_bounds(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("the kind `outlying` needs `low`, `high` or both: else it can never fire")
        lows = self.low if isinstance(self.low, tuple) else (-math.inf if self.low is None else self.low,)
        highs = self.high if isinstance(self.high, tuple) else (math.inf if self.high is None else self.high,)
        if self.feature is not None and max(len(lows), len(highs)) > 1:
            raise ValueError("with `feature` there is one element: its bounds are single numbers")
        if len(lows) > 1 and len(highs) > 1 and len(lows) != len(highs):
            raise ValueError(f"`low` has {len(lows)} bounds and `high` has {len(highs)}: one for each element of a row")
        if all(math.isinf(each) for each in (*lows, *highs)):
            raise ValueError("-inf and inf bound nothing: it can never fire")
        many = max(len(lows), len(highs))
        for low, high in zip(lows * (many // len(lows)), highs * (many // len(highs)), strict=True):
            if low > high or low == math.inf or high == -math.inf:
                raise ValueError(f"`low` = {low}: at most `high`, which is {high}")


class HumilitySettings(_Settings):
    """`[humility]`: predictions that are not to be trusted."""

    rules: tuple[HumilityRuleSettings, ...] = Field((), max_length=32)

    @field_validator("rules")
    @classmethod
    def _names_differ(cls, value: tuple[HumilityRuleSettings, ...]) -> tuple[HumilityRuleSettings, ...]:
        names = [rule.name for rule in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules are named '{twice}': replies and metrics could not tell them apart")
        return value


class FaultSettings(_Settings):
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


class ModelSettings(_Settings):
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
