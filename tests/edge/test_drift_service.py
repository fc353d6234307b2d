"""The drift service: what cannot be right is refused, by field; before there is a table nothing is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from router.control.records import Order
from router.core.drift_report import INPUTS, FeatureDrift, ModelDrift, ReferenceInfo
from router.core.table import Route
from router.edge.drift_service import DriftService
from router.edge.error_details import BadField
from router.errors import NotReady
from router.pb import drift_pb2 as pb


class FakeDrift:
    """One model with one feature; what is set is remembered."""

    def __init__(self) -> None:
        self.came: list[tuple[str, Mapping[str, str], str, Order]] = []

    async def report(self, model: str = "") -> list[ModelDrift]:
        """The same for all."""
        feature = FeatureDrift(
            "x", INPUTS, False, "red", "moved", "window", 9, 2.0, 0.5, 0.1, labels=("a",), now=(1.0,)
        )
        return [ModelDrift(model or "m", "red", "x moved", "look", (ReferenceInfo(INPUTS, "live", 5),), (feature,), 9)]

    async def set_reference(self, model: str, bodies: Mapping[str, str], source: str, order: Order) -> dict[str, int]:
        """Remember."""
        self.came.append((model, bodies, source, order))
        return dict.fromkeys(bodies, 3)


def asked(method: str, request: Any, drift: FakeDrift, routes: Mapping[str, Route] | None) -> Any:
    """The answer."""
    return asyncio.run(getattr(DriftService(drift, lambda: routes), method)(request, None))


def test_a_model_is_told_with_its_features_and_all_models_without() -> None:
    """Figures that there are not are left out."""
    drift, routes = FakeDrift(), {"m": Route("m", "1", {})}
    (one,) = asked("GetDrift", pb.GetDriftRequest(model="m"), drift, routes).models
    assert (one.status, one.yellow, one.red, one.observed) == ("red", 0.1, 0.2, 9)
    (feature,) = one.features
    assert (feature.name, feature.psi, list(feature.labels), list(feature.now)) == ("x", 0.5, ["a"], [1.0])
    assert not feature.HasField("wasserstein")
    (every,) = asked("GetDrift", pb.GetDriftRequest(), drift, routes).models
    assert not every.features


def test_a_reference_is_handed_over() -> None:
    """The sides that came, with who and why."""
    drift = FakeDrift()
    request = pb.SetReferenceRequest(model="m", inputs="{}", source="f.csv", reason="  new data ")
    assert asked("SetReference", request, drift, {}).inputs == 3
    ((model, bodies, source, order),) = drift.came
    assert (model, bodies, source, order.reason) == ("m", {INPUTS: "{}"}, "f.csv", "new data")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.SetReferenceRequest(inputs="{}", source="f"), "model"),
        (pb.SetReferenceRequest(model="m" * 300, inputs="{}", source="f"), "model"),
        (pb.SetReferenceRequest(model="m", source="f"), "inputs"),
        (pb.SetReferenceRequest(model="m", inputs="{}"), "source"),
        (pb.SetReferenceRequest(model="m", inputs="{}", source="f" * 201), "source"),
        (pb.SetReferenceRequest(model="m", inputs="{}", source="f", reason="a\nb"), "reason"),
    ],
)
def test_what_cannot_be_right_is_refused(request_: pb.SetReferenceRequest, field: str) -> None:
    """With the field; nothing is set."""
    drift = FakeDrift()
    with pytest.raises(BadField) as refused:
        asked("SetReference", request_, drift, {})
    assert refused.value.field == field
    assert drift.came == []


@pytest.mark.parametrize(
    ("method", "request_"), [("GetDrift", pb.GetDriftRequest()), ("SetReference", pb.SetReferenceRequest())]
)
def test_a_server_that_starts_answers_later(method: str, request_: Any) -> None:
    """There is nothing to say yet."""
    with pytest.raises(NotReady):
        asked(method, request_, FakeDrift(), None)
