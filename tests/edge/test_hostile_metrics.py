"""Metrics of models with any name can be parsed, and give the name back."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from router.edge import http
from router.edge.families import Family
from router.pb.link_pb2 import Telemetry
from tests.hostile import HOSTILE, filled

NAMES = {"model", "version", "feature", "process", "rule"}


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("", plain), ("application/openmetrics-text; version=1.0.0", openmetrics)],
    ids=["plain", "open"],
)
@settings(max_examples=40)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example(HOSTILE)
@example("a" * 10_240)
@example("\\")
@example("\\n")
@example("\n")
@example('"} 1\nforged{a="')
@example("\r")
@example("\x85\u2028")
@example("# EOF\n")
def test_a_scrape_with_any_name_gives_the_name_back(accept: str, parse: object, name: str) -> None:
    """Every label that holds it, in both formats; nothing of it becomes a line or a sample of its own."""
    figures: Telemetry = filled(Telemetry(), name)
    facts = http.ServerFacts(1, {name: True}, {name: 2})
    registry = CollectorRegistry(auto_describe=False)
    health = [http.HealthGauge(name, 1, 0.5, 0.5)]
    more = [Family("gauge", "router_more", "More", ("model", "feature"), [((name, name), 1.0)])]
    registry.register(http._Figures(figures, facts, health, more))
    encode, _ = choose_encoder(accept)
    text = encode(registry).decode("utf-8", "strict")
    samples = [sample for family in parse(text) for sample in family.samples]  # type: ignore[operator]
    found = [sample.labels[label] for sample in samples for label in NAMES & set(sample.labels)]
    assert len(found) > 20
    assert set(found) == {name}
