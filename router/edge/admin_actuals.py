"""What came true for earlier predictions, as it arrives on the admin port."""

from __future__ import annotations

from router.control.ledger_file import Actual
from router.edge import admin_words as words
from router.edge.admin_sources import Ledger, Lifecycle
from router.edge.error_details import BadField
from router.errors import NotReady, Refused
from router.pb import admin_pb2 as pb


class Actuals:
    """Hands actuals to the ledger. Raises RouterErrors; then none of a call was taken."""

    def __init__(self, lifecycle: Lifecycle, ledger: Ledger | None) -> None:
        self._lifecycle = lifecycle
        self._ledger = ledger

    async def submit(self, request: pb.SubmitActualsRequest) -> pb.SubmitActualsResponse:
        """Join them to their predictions."""
        model = words.model(request.model)
        if not self._lifecycle.started:
            raise NotReady("the server has just started and tries its models: ask again")
        if self._ledger is None:
            raise Refused("this server keeps no ledger of predictions")
        if not request.actuals:
            raise BadField("actuals", "the request holds no actuals")
        self._lifecycle.versions(model)
        actuals = [_actual(each, f"actuals[{place}]") for place, each in enumerate(request.actuals)]
        done = await self._ledger.submit(model, actuals)
        return pb.SubmitActualsResponse(joined=done.joined, unknown=done.unknown, already=done.already, late=done.late)


def _actual(message: pb.Actual, place: str) -> Actual:
    """What the message says; whether that can be true of the model is for the ledger to know. Raises BadField."""
    which = message.WhichOneof("truth")
    if which is None:
        raise BadField(f"{place}.truth", f"{place} says nothing: give `label`, `value` or `text`")
    return Actual(message.request_id, message.row, getattr(message, which))
