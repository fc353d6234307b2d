"""What parts of the controller tell of models beside the workers' figures, ready to be made metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from router.core.retraining import ENDS


class Family(NamedTuple):
    """Figures of one name. Each sample has a value for each label. A counter's name has no `_total`: it gets it."""

    kind: Literal["gauge", "counter"]
    name: str
    text: str
    labels: tuple[str, ...] = ()
    samples: Sequence[tuple[tuple[str, ...], float]] = ()


class Drifting(Protocol):
    """A model: `level` 0 green, 1 yellow, 2 red; the highest index of its features."""

    @property
    def level(self) -> int:
        """Of its status."""

    @property
    def psi(self) -> float:
        """Population stability index."""


class Measured(Protocol):
    """A version. `value` is None where nothing came true of late."""

    @property
    def model(self) -> str:
        """Its model."""

    @property
    def version(self) -> str:
        """Its number."""

    @property
    def kind(self) -> str:
        """Of its predictions: `numbers` or `labels`."""

    @property
    def value(self) -> float | None:
        """The accuracy, or the mean absolute error."""

    @property
    def declined(self) -> bool:
        """Whether it has."""


def drift(now: Mapping[str, Drifting]) -> Iterator[Family]:
    """By model: no more than are served."""
    yield Family(
        "gauge",
        "router_drift_status",
        "Whether what comes is what the model was made for: 0 green, 1 yellow, 2 red",
        ("model",),
        [((model,), float(each.level)) for model, each in sorted(now.items())],
    )
    yield Family(
        "gauge",
        "router_drift_psi",
        "Highest population stability index of a model's inputs and outputs",
        ("model",),
        [((model,), each.psi) for model, each in sorted(now.items())],
    )


def accuracy(measured: Iterable[Measured]) -> Iterator[Family]:
    """By model and version: those that serve."""
    known = list(measured)
    labels = ("model", "version")
    for number, name, text in (
        (False, "router_accuracy_ratio", "Share (0 to 1) of the predictions of the last hour that came true"),
        (True, "router_mean_absolute_error", "Of the numbers of the last hour, in the unit of the prediction"),
    ):
        samples = [
            ((each.model, each.version), each.value)
            for each in known
            if (each.kind == "numbers") is number and each.value is not None
        ]
        yield Family("gauge", name, text, labels, samples)
    yield Family(
        "gauge",
        "router_accuracy_declined",
        "1 while a version is right less often than its baseline",
        labels,
        [((each.model, each.version), float(each.declined)) for each in known],
    )


def retraining(running: Mapping[str, bool], outcomes: Mapping[tuple[str, str], int]) -> Iterator[Family]:
    """By model with a policy; the outcomes are a fixed few.

    All are told from the beginning: of a counter that is first seen at 1, Prometheus knows no increase.
    """
    yield Family(
        "gauge",
        "router_retraining_running",
        "1 while a run is under way",
        ("model",),
        [((model,), float(on)) for model, on in sorted(running.items())],
    )
    known = {(model, str(end)): 0 for model in running for end in ENDS} | dict(outcomes)
    yield Family(
        "counter",
        "router_retraining_runs",
        "Runs that have ended, by how",
        ("model", "outcome"),
        [(key, float(count)) for key, count in sorted(known.items())],
    )


def webhook(waiting: int, given_up: int, delivered: int, oldest_seconds: float) -> Iterator[Family]:
    """Of the whole server. `oldest_seconds` is the age of the oldest event that waits, 0 without any."""
    for name, text, value in (
        ("router_webhook_waiting_events", "Events that wait for the webhook", float(waiting)),
        ("router_webhook_failed_events", "Events that were given up and can be sent again", float(given_up)),
        ("router_webhook_oldest_seconds", "Age of the oldest event that waits", oldest_seconds),
    ):
        yield Family("gauge", name, text, (), [((), value)])
    yield Family(
        "counter",
        "router_webhook_delivered_events",
        "Events that the receiver has taken",
        (),
        [((), float(delivered))],
    )
