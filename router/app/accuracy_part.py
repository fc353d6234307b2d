"""Whether models are still right, as a part of the controller."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable

from grpc import aio

from router.app.monitoring import Looking
from router.control.accuracy import Accuracy
from router.edge import families
from router.edge.accuracy_service import AccuracyService


class AccuracyPart(Looking):
    """Reads what came true, and answers on the admin port."""

    def __init__(self, accuracy: Accuracy) -> None:
        self._accuracy = accuracy
        self._service = AccuracyService(accuracy)

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """Look at the ledger every few seconds."""
        return (self._accuracy.run(),)

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""
        self._service.add_to(server)

    async def figures(self) -> Iterable[families.Family]:
        """Of versions that serve, and what became of actuals by model."""
        heard = [
            ((model, outcome), float(count))
            for model, outcomes in self._accuracy.heard.items()
            for outcome, count in sorted(outcomes.items())
        ]
        return (
            *families.accuracy(self._accuracy.measured),
            families.Family(
                "counter",
                "router_actuals",
                "What came true, as submitted: joined, unknown, repeated, contradicting, late, or refused",
                ("model", "outcome"),
                heard,
            ),
        )
