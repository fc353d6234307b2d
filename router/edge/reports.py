"""Reports of tests and warm-ups as they travel."""

from __future__ import annotations

from collections.abc import Iterable

from router.core.gate import Distribution, Outcome, Report, Verdict
from router.pb import admin_pb2 as pb


def to_message(report: Report) -> pb.Report:
    """A report as a message."""
    return pb.Report(
        kind=report.kind,
        model=report.model,
        version=report.number,
        digest=report.digest,
        champion=report.champion,
        champion_digest=report.champion_digest,
        exam_digest=report.exam_digest,
        passed=report.passed,
        seconds=report.began,
        took_seconds=report.took_s,
        outcomes=[_outcome(each) for each in report.outcomes],
        distributions=[
            pb.Distribution(name=each.name, unit=each.unit, bounds=each.bounds, counts=each.counts)
            for each in report.distributions
        ],
    )


def _outcome(outcome: Outcome) -> pb.Outcome:
    return pb.Outcome(
        gate=outcome.gate,
        verdict=outcome.verdict.value,
        blocks=outcome.blocks,
        reason=outcome.reason,
        figures=outcome.figures,
        facts=outcome.facts,
    )


def from_message(message: pb.Report) -> Report:
    """The report in a message. Raises ValueError for a verdict that nobody knows."""
    outcomes = tuple(
        Outcome(each.gate, Verdict(each.verdict), each.reason, each.blocks, dict(each.figures), dict(each.facts))
        for each in message.outcomes
    )
    return Report(
        message.kind,
        message.model,
        message.version,
        message.digest,
        outcomes,
        message.seconds,
        message.took_seconds,
        message.champion,
        message.champion_digest,
        message.exam_digest,
        tuple(Distribution(d.name, d.unit, tuple(d.bounds), tuple(d.counts)) for d in message.distributions),
    )


def summaries(reports: Iterable[Report]) -> list[pb.ReportSummary]:
    """What of each report is shown beside its version."""
    return [pb.ReportSummary(kind=each.kind, passed=each.passed, seconds=each.began) for each in reports]
