"""Validated settings of what becomes of versions: how they are tested, warmed, tried against the champion and baked.

Tables of `model.toml`, from a version's first gate to the last step of its canary.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from router.settings import Number, Settings


class LifecycleSettings(Settings):
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


class GatesSettings(Settings):
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
    margins: dict[Metric, Annotated[Number, Field(ge=0)]] = Field({})
    """By how much the champion may be better: accuracy and AUC in shares (0.015), errors relative to its own (0.05)."""
    required: dict[Metric, Number] = Field({})
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


class WarmupSettings(Settings):
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


class TrialSettings(Settings):
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


class CanarySettings(Settings):
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
