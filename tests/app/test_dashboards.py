"""The dashboard and the alert rules: every metric that they name is one that a router tells, under that name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from router.edge import families
from router.edge.http import HealthGauge, ServerFacts, _Figures
from router.pb.link_pb2 import Telemetry
from tests.edge.test_families import Drifting, Measured
from tests.edge.test_http import figures
from tests.server import router

FILES = Path(__file__).parents[2] / "router" / "dashboards"
DASHBOARD = json.loads((FILES / "grafana.json").read_text(encoding="utf-8"))
RULES = [rule for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
NAME = re.compile(r"\b(?:router|nv)_[a-z0-9_]+\b")
BOUNDED = {
    "model", "version", "reason", "step", "why", "outcome", "process", "rule", "then", "le",
}  # fmt: skip
"""Labels, of each of which there are no more values than models, versions, processes, rules or words of ours."""


def told() -> list[Metric]:
    """All families of the collector, each with a sample."""
    message = Telemetry()
    message.MergeFrom(figures())
    message.observations.add(model="digits", looked=3, recorded=2, missed=1)
    more = [
        *families.drift({"digits": Drifting(2, 0.5)}),
        *families.accuracy(
            [Measured("digits", "2", "labels", 0.75, True), Measured("price", "3", "numbers", 12.5, False)]
        ),
        *families.retraining({"digits": True}, {("digits", "done"): 3}),
        *families.webhook(7, 1, 40, 2.5),
    ]
    health = [HealthGauge("digits", 1, 0.99, 0.5)]
    return list(_Figures(message, ServerFacts(1, {"worker-0": True}, {"worker-0": 0}), health, more).collect())


TOLD = {family.name: family for family in told()}


def names(family: Metric) -> set[str]:
    """The names of a family's series, whether it has any now or not."""
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
    return {family.name + end for end in ends}


SERIES = {name: family for family in TOLD.values() for name in names(family)}


def panels() -> Iterator[dict[str, Any]]:
    """All but rows."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> Iterator[str]:
    """All that the dashboard asks Prometheus."""
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


ASKED = [*queries(), *(rule["expr"] for rule in RULES)]


@pytest.mark.parametrize("query", dict.fromkeys(ASKED))
def test_what_is_asked_for_is_told(query: str) -> None:
    """Each name is a series of the collector, and what stands in braces, `by` or `on` are labels that it has."""
    named = NAME.findall(query)
    assert named
    assert set(named) <= set(SERIES), query
    known = {label for name in named for label in labels(SERIES[name])} | {"le", "job", "instance"}
    for braces in re.findall(r"\{(.*?)\}", query):
        assert set(re.findall(r"(\w+)\s*[=!]~?", braces)) <= known, query
    for grouped in re.findall(r"\b(?:by|on) \((.*?)\)", query):
        assert {label.strip() for label in grouped.split(",")} <= known, query
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")


def labels(family: Metric) -> set[str]:
    """That its samples have."""
    return {label for sample in family.samples for label in sample.labels}


@pytest.mark.parametrize("query", dict.fromkeys(ASKED))
def test_counters_are_asked_for_their_rate_and_gauges_are_not(query: str) -> None:
    """The rate of a gauge is no figure, and neither is a counter itself."""
    for found in NAME.finditer(query):
        family = SERIES[found.group()]
        counts = family.type in {"counter", "histogram"} or family.name.endswith(("_us", "_count", "_success"))
        counts = (counts or family.name == "nv_inference_request_failure") and "pending" not in family.name
        before = query[: found.start()].rstrip()
        assert before.endswith(("rate(", "increase(")) == counts or before.endswith(("changes(", "label_values(")), (
            query
        )


def test_every_metric_has_help_and_a_unit_where_one_belongs() -> None:
    """Times in seconds, sizes in bytes; a counter ends in `_total`; names that others gave stay as they are."""
    for family in TOLD.values():
        assert len(family.documentation) > 10, family.name
        assert re.fullmatch("[a-z_]+", family.name)
        if family.name.startswith("nv_"):
            continue
        words = family.documentation.lower()
        if words.startswith(("time from", "age of")):
            assert family.name.endswith("_seconds")
        if words.startswith("memory"):
            assert family.name.endswith("_bytes")
        assert not family.name.endswith(("_ms", "_us", "_mib", "_percent"))
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name


def test_labels_are_bounded() -> None:
    """None of them is a request, a feature, a caller or any other thing of which there is no end."""
    assert {label for family in TOLD.values() for label in labels(family)} <= BOUNDED


def test_the_dashboard_is_whole() -> None:
    """Rows as people look for them; panels have a place of their own, a title, a unit and the chosen data source."""
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Service health", "Latency", "Fallback and hedges", "Versions", "Drift", "Accuracy", "Retraining", "Processes",
    ]  # fmt: skip
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels overlap"
    assert max(x for x, _ in cells) == 23
    for panel in panels():
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert DASHBOARD["schemaVersion"] >= 39
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "instance", "model"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """A summary, a description with a command or a place to look, and how urgent it is; templates are closed."""
    assert re.fullmatch("Router[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch("[0-9]+[smh]", rule.get("for", "1m"))
    summary, told = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert len(summary) < 120
    assert "`router " in told or "panel" in told or "row" in told
    for text in (summary, told):
        assert text.count("{{") == text.count("}}")
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= {"model", "version", "outcome", "process", "instance"}


def test_an_alert_names_commands_that_there_are() -> None:
    """As they are called."""
    from router.app.cli import main

    said = {word for rule in RULES for word in re.findall(r"`router (\w+)", rule["annotations"]["description"])}
    assert said
    assert said <= set(main.commands)


def test_alerts_differ() -> None:
    """Each name once."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_files_are_put_where_somebody_wants_them(tmp_path: Path) -> None:
    """The same bytes as in the package, in a folder that is made; a folder that cannot be is told in one line."""
    done = router("dashboards", "--write", str(tmp_path / "new/folder"))
    assert done.exit_code == 0
    for name in ("grafana.json", "alerts.yml"):
        assert (tmp_path / "new/folder" / name).read_bytes() == (FILES / name).read_bytes()
        assert name in done.output
    (tmp_path / "file").write_text("")
    wrong = router("dashboards", "--write", str(tmp_path / "file" / "below"))
    assert wrong.exit_code != 0
    assert "cannot be written" in wrong.output
    assert wrong.output.count("\n") == 1
