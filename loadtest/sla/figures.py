"""From what became of every request to figures: percentiles, counts, seconds, and what happened around an action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from loadtest.sla.records import Mark, Records, State

CODES: Final[dict[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
LEAST_US, MOST_US, DIGITS = 1, 3_600_000_000, 3
"""Range and precision of histograms: a microsecond to an hour, three digits."""
LAGGED_SHARE: Final = 0.05
"""A run with more marked seconds than this is not valid."""
AROUND_S: Final = 2.0
SLICES: Final = 20
MANY: Final = 20
"""More generations than that are counted as one."""

Mask = npt.NDArray[np.bool_]
DEADLINE_EXCEEDED: Final = 4
CLIENTS_OWN: Final = "DEADLINE_EXCEEDED (client's own)"
EMPTY: Final = "INTERNAL (OK without a message)"
NEVER: Final = "no answer"
UNSENT: Final = "not sent"


def histogram(seconds: npt.NDArray[np.float64]) -> HdrHistogram:
    """Latencies in an HDR histogram of microseconds (Tene, HdrHistogram)."""
    made = HdrHistogram(LEAST_US, MOST_US, DIGITS)
    values, counts = np.unique(np.clip(np.round(seconds * 1e6), LEAST_US, MOST_US).astype(np.int64), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        made.record_value(value, count)
    return made


def quantile(hist: HdrHistogram, share: float) -> float:
    """Seconds that a share of the values do not exceed."""
    return float(hist.get_value_at_percentile(share * 100)) / 1e6


@dataclass(frozen=True, slots=True)
class Latencies:
    """Percentiles in seconds of what was answered OK; `count` of them."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, seconds: npt.NDArray[np.float64]) -> Latencies:
        """Of a set of times; zeros where there are none."""
        if not len(seconds):
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        hist = histogram(seconds)
        found = {name: quantile(hist, share) for name, share in QUANTILES.items()}
        return cls(count=len(seconds), mean=float(seconds.mean()), max=float(seconds.max()), **found)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of requests. `errors` by code, the client's own deadline apart from the server's.

    `told` counts those that had an answer or an error within the deadline, whose clock starts at the real send; the
    client's own deadline is neither.
    """

    due: int
    unsent: int
    answered: int
    errors: dict[str, int]
    sources: dict[str, int]
    versions: dict[str, int]
    generations: dict[str, int]
    late: int
    told: int
    degraded: int
    checked: int
    wrong: int
    duplicates: int
    misdirected: int
    older_generation: int


class Figures:
    """All that can be asked of the records of a run. `deadline` is in seconds."""

    def __init__(self, records: Records, deadline: float) -> None:
        self.records = records
        self.deadline = deadline
        self.used: Mask = records.used
        state = records["state"]
        self.done: Mask = self.used & (state == State.DONE)
        self.ok: Mask = self.done & (records["code"] == 0)
        self.latency: npt.NDArray[np.float64] = (records["done"] - records["due"]) / 1e9
        """From the intended send."""
        self.service: npt.NDArray[np.float64] = (records["done"] - records["sent"]) / 1e9
        """From the real send."""
        self.lag: npt.NDArray[np.float64] = (records["sent"] - records["due"]) / 1e9
        self.older: Mask = self._older()

    def _older(self) -> Mask:
        """Answers of an older generation than one that was here before their request was sent."""
        records = self.records
        told = self.ok & (records["generation"] > 0)
        found = np.zeros(len(records), bool)
        places = np.flatnonzero(told)
        if len(places):
            by_end = places[np.argsort(records["done"][places], kind="stable")]
            ends = records["done"][by_end]
            newest = np.maximum.accumulate(records["generation"][by_end])
            before = np.searchsorted(ends, records["sent"][places], side="left") - 1
            floor = np.where(before >= 0, newest[np.maximum(before, 0)], 0)
            found[places] = records["generation"][places] < floor
        return found

    def cut(self, start: float, end: float) -> Figures:
        """The requests that were due from `start` up to `end` (seconds), as figures of their own. Copies nothing."""
        first, last = np.searchsorted(self.records["due"], (start * 1e9, end * 1e9))
        part = object.__new__(Figures)
        part.records = Records(
            {name: each[first:last] for name, each in self.records.columns.items()}, self.records.sources
        )
        part.deadline = self.deadline
        for name in ("used", "done", "ok", "latency", "service", "lag", "older"):
            setattr(part, name, getattr(self, name)[first:last])
        return part

    def within(self, start: float, end: float) -> Mask:
        """The requests that were due from `start` up to `end` (seconds)."""
        due = self.records["due"]
        return self.used & (due >= start * 1e9) & (due < end * 1e9)

    def aftermath(self, start: float, end: float) -> dict[str, float | None]:
        """What an event at `start` led to, up to `end`: seconds from it to the last request that failed, and to the
        last one that was answered otherwise than asked (by when these were due); None where none was.
        """
        mask = self.within(start, end)
        failed = mask & ~self.ok
        degraded = mask & ((self.records["marks"] & Mark.DEGRADED) > 0)
        return {"last_failed": self._last(failed, start), "last_degraded": self._last(degraded, start)}

    def _last(self, mask: Mask, start: float) -> float | None:
        due = self.records["due"][mask]
        return float(due.max()) / 1e9 - start if len(due) else None

    def measured(self, spans: Iterable[Any]) -> Mask:
        """The requests of the measured phases."""
        mask = np.zeros(len(self.records), bool)
        for span in spans:
            if span.measured:
                mask |= self.within(span.start, span.end)
        return mask

    def latencies(self, mask: Mask) -> Latencies:
        """From the intended send."""
        return Latencies.of(self.latency[mask & self.ok])

    def service_times(self, mask: Mask) -> Latencies:
        """From the real send."""
        return Latencies.of(self.service[mask & self.ok])

    def counts(self, mask: Mask) -> Counts:
        """What became of these requests."""
        records = self.records
        ok = mask & self.ok
        marks = records["marks"]
        errors: Counter[str] = Counter()
        failed = mask & self.done & ~self.ok
        own = failed & ((marks & Mark.OWN_DEADLINE) > 0)
        errors[CLIENTS_OWN] = int(own.sum())
        empty = failed & ((marks & Mark.EMPTY) > 0)
        errors[EMPTY] = int(empty.sum())
        for code, count in zip(*np.unique(records["code"][failed & ~own & ~empty], return_counts=True), strict=True):
            errors[CODES.get(int(code), str(code))] += int(count)
        errors[NEVER] = int((mask & (records["state"] == State.OPEN)).sum())
        sources: Counter[str] = Counter()
        versions: Counter[str] = Counter()
        for number, count in zip(*np.unique(records["source"][ok], return_counts=True), strict=True):
            source = records.sources[int(number)]
            sources[source.served_by or "unnamed"] += int(count)
            versions[source.version or "unnamed"] += int(count)

        def marked(mark: Mark) -> int:
            return int((mask & ((marks & mark) > 0)).sum())

        unsent = mask & ((records["state"] == State.UNSENT) | (records["state"] == State.DUE))
        return Counts(
            due=int(mask.sum()),
            unsent=int(unsent.sum()),
            answered=int(ok.sum()),
            errors={name: count for name, count in errors.most_common() if count},
            sources=dict(sources),
            versions=dict(versions),
            generations=_generations(records["generation"][ok]),
            late=int((ok & (self.latency > self.deadline)).sum()),
            told=int((mask & self.done & ~own & ~empty & (self.service <= self.deadline)).sum()),
            degraded=marked(Mark.DEGRADED),
            checked=marked(Mark.CHECKED),
            wrong=marked(Mark.WRONG | Mark.MISDIRECTED),
            duplicates=marked(Mark.DUPLICATE),
            misdirected=marked(Mark.MISDIRECTED),
            older_generation=int((mask & self.older).sum()),
        )

    def seconds(self, end: float, most_lag: float) -> list[dict[str, Any]]:
        """One row a second of intended time: what was due, what came of it, how late the sender was.

        A second is marked as lagged when one send in a hundred was more than `most_lag` seconds late.
        """
        rows = []
        for second in range(int(np.ceil(round(end, 6)))):
            part = self.cut(second, second + 1)
            sent = part.used & (part.records["state"] != State.UNSENT) & (part.records["state"] != State.DUE)
            lag = float(np.quantile(part.lag[sent], 0.99)) if sent.any() else 0.0
            times, counts = part.latencies(part.used), part.counts(part.used)
            rows.append(
                {
                    "second": second,
                    "due": counts.due,
                    "answered": counts.answered,
                    "unsent": counts.unsent,
                    "errors": counts.errors,
                    "sources": counts.sources,
                    "p50": times.p50,
                    "p99": times.p99,
                    "p999": times.p999,
                    "lag_p99": lag,
                    "lagged": lag > most_lag,
                }
            )
        return rows

    def slices(self, mask: Mask) -> list[str]:
        """The latencies in histograms of `SLICES` stretches of equal time: blocks to resample, whole when added."""
        places = np.flatnonzero(mask & self.ok)
        if not len(places):
            return []
        due = self.records["due"][places]
        edges = np.linspace(due.min(), due.max() + 1, SLICES + 1)
        numbers = np.searchsorted(edges, due, side="right") - 1
        return [
            histogram(self.latency[places[numbers == number]]).encode().decode()
            for number in range(SLICES)
            if (numbers == number).any()
        ]

    def curve(self, mask: Mask) -> list[tuple[float, float]]:
        """The percentile curve: pairs of share (0–1) and seconds, denser towards 1."""
        times = self.latency[mask & self.ok]
        if not len(times):
            return []
        hist = histogram(times)
        return [
            (item.percentile_level_iterated_to / 100, item.value_iterated_to / 1e6)
            for item in hist.get_percentile_iterator(10)
        ]


def _generations(told: npt.NDArray[Any]) -> dict[str, int]:
    """How many answers there are of each generation; of many as `first–last` together. 0: they do not say."""
    numbers, counts = np.unique(told, return_counts=True)
    each = {str(number): int(count) for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)}
    if len(each) <= MANY:
        return each
    silent = {"0": each.pop("0")} if "0" in each else {}
    first, *_, last = each
    return {**silent, f"{first}–{last}": sum(each.values())}


def parts(figures: Figures, mask: Mask | None = None) -> dict[str, Any]:
    """Latencies and counts of some of the requests, or of all, for programs."""
    chosen = figures.used if mask is None else mask
    return {"latency": asdict(figures.latencies(chosen)), "counts": asdict(figures.counts(chosen))}
