"""The page of metrics as Prometheus's own `promtool` reads it, and as its formats say."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_in
from prometheus_client.parser import text_string_to_metric_families as families_in

from router.core.retraining import ENDS
from router.edge import families
from router.edge.http import HealthGauge, ServerFacts, _Figures
from router.pb.link_pb2 import Telemetry
from tests.edge.test_families import Drifting, Measured
from tests.hostile import HOSTILE, filled
from tests.prometheus import complaints


def registry(name: str) -> CollectorRegistry:
    """Everything that there is to tell, with this name wherever one belongs."""
    more = [
        *families.drift({name: Drifting(2, 0.5)}),
        *families.accuracy([Measured(name, name, kind, 0.75, True) for kind in ("labels", "numbers")]),
        *families.retraining({name: True}, {(name, name): 3}),
        *families.webhook(7, 1, 40, 2.5),
    ]
    facts = ServerFacts(1, {name: True}, {name: 2})
    made = CollectorRegistry(auto_describe=False)
    made.register(_Figures(filled(Telemetry(), name), facts, [HealthGauge(name, 2, 0.5, -1.0)], more))
    return made


@pytest.mark.story
def test_names_and_units_are_as_prometheus_wants_them() -> None:
    """But for those that others gave, which dashboards know so; a hostile name is a value and nothing more."""
    for name in ("digits", HOSTILE):
        assert complaints(generate_latest(registry(name)).decode()) == []


def test_a_hostile_name_comes_back_as_it_was() -> None:
    """In both formats, and every other value of a label too: no line begins or ends in it."""
    for told in (
        families_in(generate_latest(registry(HOSTILE)).decode()),
        openmetrics_in(openmetrics(registry(HOSTILE)).decode()),
    ):
        samples = [sample for family in told for sample in family.samples]
        assert len(samples) > 40
        for sample in samples:
            ours = {"sent", "won", "kept", "lost", "looked", "recorded", "missed", "+Inf"}
            assert set(sample.labels.values()) <= {HOSTILE, *ours, *map(str, ENDS)}, sample
