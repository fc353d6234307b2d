"""The alert rules, tried by Prometheus's `promtool`: each fires on what it is for, and on nothing healthy.

Needs Debian's package `prometheus`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus import promtool

FILE = Path(__file__).parents[2] / "router" / "dashboards" / "alerts.yml"
RULES: dict[str, Any] = {
    rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
}
HOSTILE = """<b>{{ $value }}</b> "x"\\ 'y' %s"""
"""A model's name."""
SUCCESS, FAILURE = "nv_inference_request_success", "nv_inference_request_failure"
FALLBACK, BUCKET = "router_fallback_total", "router_request_seconds_bucket"
BACKEND, CANCELED = {"reason": "BACKEND"}, {"reason": "CANCELED"}
SLOW = {"step": "default", "reason": "slow"}


@dataclass(frozen=True, slots=True)
class Series:
    """Of a router, a value a minute in promtool's notation: `0+6x30` are 31 values, each 6 more than the one before."""

    name: str
    values: str
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str | None = "digits"
    version: str | None = "3"

    def written(self) -> dict[str, str]:
        """For promtool."""
        all_labels = {"job": "router", "instance": "r:8002", **self.labels}
        all_labels |= {key: value for key, value in (("model", self.model), ("version", self.version)) if value}
        told = ",".join(f"{key}={quoted(value)}" for key, value in all_labels.items())
        return {"series": f"{self.name}{{{told}}}", "values": self.values}


def quoted(text: str) -> str:
    """As PromQL writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Case:
    """What happens, minutes from the beginning. `summary` None: the alert is silent then."""

    alert: str
    what: str
    series: tuple[Series, ...]
    minutes: int
    summary: str | None = None
    labels: tuple[str, ...] = ("job", "model")
    values: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """For promtool."""
        expected = []
        if self.summary is not None:
            known = {"job": "router", "instance": "r:8002", "model": "digits", "version": "3", **self.values}
            labels = {name: known[name] for name in self.labels}
            rule = RULES[self.alert]
            expected = [
                {
                    "exp_labels": {**labels, "severity": rule["labels"]["severity"]},
                    "exp_annotations": {
                        "summary": self.summary,
                        "description": filled(rule["annotations"]["description"], labels),
                    },
                }
            ]
        return {
            "name": f"{self.alert}: {self.what}",
            "interval": "1m",
            "input_series": [each.written() for each in self.series],
            "alert_rule_test": [
                {"alertname": self.alert, "eval_time": f"{self.minutes}m", "exp_alerts": expected},
            ],
        }


def filled(text: str, labels: Mapping[str, str]) -> str:
    """A description for these labels: it names no figure."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found.group(1)], text)


def of_model(name: str, values: str, **more: Any) -> Series:
    """A series without a version."""
    return Series(name, values, version=None, **more)


def of_server(name: str, values: str, **labels: str) -> Series:
    """A series of no model."""
    return Series(name, values, labels, None, None)


def served(answered: int, failed: int, minutes: int, reason: Mapping[str, str] = BACKEND) -> tuple[Series, ...]:
    """So many requests a minute."""
    return (
        Series(SUCCESS, f"0+{answered}x{minutes}"),
        Series(FAILURE, f"0+{failed}x{minutes}", reason),
    )


def timed(values: str, minutes: int, last: int) -> tuple[Series, ...]:
    """Answers that all take between 131 and 524 ms; their number a minute is `last`."""
    return (
        Series(BUCKET, f"0x{minutes}", {"le": "0.131072"}),
        Series(BUCKET, values, {"le": "0.524288"}),
        Series(BUCKET, values, {"le": "+Inf"}),
        Series(SUCCESS, f"0+{last}x{minutes}"),
    )


FAST, SLOWLY = "RouterErrorBudgetBurnsFast", "RouterErrorBudgetBurnsSlowly"
FIRING = (
    Case(FAST, "six in a hundred fail", served(940, 60, 40), 40, "digits fails 6% of its requests"),
    Case(
        FAST,
        "six in a hundred fail, most others are answered by the fallback",
        (*served(40, 60, 40), Series(FALLBACK, "0+900x40", SLOW)),
        40,
        "digits fails 6% of its requests",
    ),
    Case(SLOWLY, "one in a hundred fails", served(990, 10, 60), 60, "digits fails 1% of its requests, for hours"),
    Case("RouterLatencyHigh", "half a second", timed("0+600x20", 20, 600), 20, "p99 of digits is 520.4ms"),
    Case(
        "RouterLateAnswers",
        "one in twenty is late",
        (Series(SUCCESS, "0+600x30"), Series("router_late_answers_total", "0+30x30")),
        30,
        "5% of the answers of digits come later than promised",
    ),
    Case(
        "RouterFallbackShareHigh",
        "one in ten",
        (Series(SUCCESS, "0+900x20"), Series(FALLBACK, "0+100x20", SLOW)),
        20,
        "10% of the answers of digits are not the model's",
    ),
    Case(
        "RouterModelRed",
        "a model whose name is markup",
        (of_model("router_health_status", "0 0 2x10", model=HOSTILE),),
        10,
        f"{HOSTILE} is not well",
        ("job", "instance", "model"),
        {"model": HOSTILE},
    ),
    Case(
        "RouterErrorBudgetSpent",
        "overspent",
        (of_model("router_error_budget_left", "0.5 -0.5x30"),),
        20,
        "digits has no error budget left for today",
        ("job", "instance", "model"),
    ),
    Case(
        "RouterBreakerOpen",
        "two sessions",
        (Series("router_breakers_open", "0 2x10"),),
        10,
        "2 sessions of digits 3 are not asked any more",
        ("job", "instance", "model", "version"),
    ),
    Case(
        "RouterDriftRed",
        "drift",
        (of_model("router_drift_status", "0 1 2x10"),),
        6,
        "What comes to digits is not what it was made for",
        ("job", "instance", "model"),
    ),
    Case(
        "RouterAccuracyRed",
        "a decline",
        (Series("router_accuracy_declined", "0 0 1x10"),),
        6,
        "digits 3 is right less often than it was",
        ("job", "instance", "model", "version"),
    ),
    Case(
        "RouterPredictionsLost",
        "ten a minute",
        (of_model("router_predictions_total", "0+10x20", labels={"outcome": "lost"}),),
        15,
        "Predictions of digits are not kept: 100 in ten minutes",
    ),
    Case(
        "RouterRetrainingFailed",
        "the first that has failed",
        (of_model("router_retraining_runs_total", "0x10 1x20", labels={"outcome": "failed"}),),
        20,
        "Retraining digits has ended: failed",
        ("job", "model", "outcome"),
        {"outcome": "failed"},
    ),
    Case(
        "RouterUnreachable",
        "it was stopped",
        (of_server("up", "1x5 0x20"), of_server("router_generation", "7x5 _x20")),
        20,
        "r:8002 tells no metrics any more",
        ("job", "instance"),
    ),
    Case(
        "RouterProcessDown",
        "a worker",
        (of_server("router_process_serving", "1 0x5", process="worker-1"),),
        5,
        "worker-1 of r:8002 does not serve",
        ("job", "instance", "process"),
        {"process": "worker-1"},
    ),
    Case(
        "RouterProcessRestarts",
        "four times",
        (of_server("router_process_restarts_total", "0 1 2 3 4x10", process="worker-0"),),
        10,
        "worker-0 of r:8002 was started again 4 times",
        ("job", "instance", "process"),
        {"process": "worker-0"},
    ),
    Case(
        "RouterHungThreads",
        "six",
        (of_server("router_hung_threads", "0 6x20"),),
        15,
        "6 threads of r:8002 are in runs that were given up",
        ("job", "instance"),
    ),
    Case(
        "RouterWebhookBacklog",
        "a receiver that is away",
        (of_server("router_webhook_waiting_events", "0 250x20"),),
        15,
        "250 events wait for the webhook of r:8002",
        ("job", "instance"),
    ),
)
SILENT = (
    Case(FAST, "callers gave up", served(500, 500, 40, CANCELED), 40),
    Case(SLOWLY, "callers gave up", served(500, 500, 60, CANCELED), 60),
    Case(FAST, "one in a hundred fails", served(990, 10, 60), 60),
    Case(
        FAST, "a lone failure of a model that few ask", (*served(1, 0, 40), Series(FAILURE, "0x30 1x10", BACKEND)), 34
    ),
    Case(SLOWLY, "the same", (*served(1, 0, 60), Series(FAILURE, "0x30 1x30", BACKEND)), 50),
    Case(FAST, "it is over", (Series(SUCCESS, "0+940x70"), Series(FAILURE, "0+60x40 2400x30", BACKEND)), 55),
    Case("RouterLatencyHigh", "a request every two seconds", timed("0+30x20", 20, 30), 20),
    Case(
        "RouterLateAnswers", "nobody asks", (Series(SUCCESS, "9x30"), Series("router_late_answers_total", "3x30")), 30
    ),
    Case("RouterModelRed", "two minutes", (of_model("router_health_status", "0 2 2 1x10"),), 8),
    Case("RouterUnreachable", "another program", (of_server("up", "1x5 0x10"),), 10),
    Case("RouterUnreachable", "a restart", (of_server("up", "1x5 0 1x10"), of_server("router_generation", "7x16")), 7),
    Case(
        "RouterRetrainingFailed",
        "ends that ask nobody for anything",
        tuple(
            of_model("router_retraining_runs_total", "0x9 1x9", labels={"outcome": end})
            for end in ("done", "stopped", "same", "interrupted")
        ),
        15,
    ),
)
HEALTHY = (
    *served(10_000, 1, 70),
    Series(FAILURE, "0+500x70", CANCELED),
    Series(FALLBACK, "0+100x70", SLOW),
    Series(BUCKET, "0+9990x70", {"le": "0.131072"}),
    Series(BUCKET, "0+10000x70", {"le": "0.524288"}),
    Series(BUCKET, "0+10000x70", {"le": "+Inf"}),
    Series("router_late_answers_total", "0+10x70"),
    Series("router_breakers_open", "0x30 1 0x39"),
    Series("router_accuracy_declined", "0x70"),
    of_model("router_health_status", "0x50 1x20"),
    of_model("router_error_budget_left", "1-0.005x70"),
    of_model("router_drift_status", "0x50 1x20"),
    of_model("router_predictions_total", "0x70", labels={"outcome": "lost"}),
    of_model("router_predictions_total", "0+10000x70", labels={"outcome": "kept"}),
    of_model("router_retraining_runs_total", "0x40 1x30", labels={"outcome": "done"}),
    of_model("router_retraining_runs_total", "0x70", labels={"outcome": "failed"}),
    of_server("up", "1x70"),
    of_server("router_generation", "3x40 4x30"),
    *(of_server("router_process_serving", "1x70", process=name) for name in ("worker-0", "worker-1", "controller")),
    of_server("router_process_restarts_total", "0x40 1x30", process="worker-0"),
    of_server("router_hung_threads", "2x70"),
    of_server("router_webhook_waiting_events", "7x70"),
)
"""Seventy minutes of a server that somebody promotes a version on, with a worker that died once."""


@pytest.mark.story
def test_the_rules_are_rules() -> None:
    """By the words of promtool, which finds nothing to complain about."""
    checked = promtool("check", "rules", str(FILE))
    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in checked.stdout


@pytest.mark.story
def test_each_alert_fires_on_what_it_is_for_and_on_nothing_else(tmp_path: Path) -> None:
    """With the very words that somebody is woken up with; none is heard while all is well."""
    assert {case.alert for case in FIRING} == set(RULES)
    quiet = [{"alertname": name, "eval_time": f"{at}m", "exp_alerts": []} for name in RULES for at in (35, 70)]
    healthy = {
        "name": "all is well",
        "interval": "1m",
        "input_series": [each.written() for each in HEALTHY],
        "alert_rule_test": quiet,
    }
    file = tmp_path / "alerts_test.yml"
    tests = [healthy, *(case.written() for case in (*FIRING, *SILENT))]
    file.write_text(yaml.safe_dump({"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": tests}))
    tried = promtool("test", "rules", str(file))
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.parametrize("name", ["promtool", "prometheus"])
def test_what_is_missing_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails: nobody takes a test for passed that was not run."""
    from tests.prometheus import tool

    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match=f"{name} is not installed: on Debian, apt install prometheus"):
        tool(name)
