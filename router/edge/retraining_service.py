"""Retraining on the admin port."""

# ruff: noqa: N802  # methods have the protocol's names

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from grpc import aio

from router.config import RetrainingSettings
from router.control.records import Case, Order
from router.control.retraining import RUNS, Run, Shown
from router.edge import admin_words as words
from router.edge.access import actor_of
from router.pb import retraining_pb2 as pb
from router.pb import retraining_pb2_grpc

MOST: Final = 200
"""Runs of a model in one answer, where one is named; of all models there are RUNS each."""

Context = aio.ServicerContext[Any, Any]


class Retrainings(Protocol):
    """What is asked. All of it raises RouterErrors."""

    async def begin(self, model: str, order: Order) -> Case:
        """Train a model anew."""

    async def stop(self, model: str, order: Order) -> Case:
        """End what is under way."""

    async def shown(self, model: str = "", last: int = RUNS) -> Sequence[Shown]:
        """How it stands."""


class RetrainingService(retraining_pb2_grpc.RetrainingServicer):
    """Methods raise RouterErrors: `serve_admin` puts a guard around them."""

    def __init__(self, retrainings: Retrainings) -> None:
        self._retrainings = retrainings

    def add_to(self, server: aio.Server) -> None:
        """Have the admin port answer it."""
        retraining_pb2_grpc.add_RetrainingServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def Retrain(self, request: pb.RetrainRequest, context: Context) -> pb.Run:
        """Begin a run by hand."""
        model, order = words.model(request.model), words.order(actor_of(context), request.reason)
        return _run(Run(await self._retrainings.begin(model, order), ""))

    async def StopRetraining(self, request: pb.StopRetrainingRequest, context: Context) -> pb.Run:
        """End the run that is under way."""
        model, order = words.model(request.model), words.order(actor_of(context), request.reason)
        return _run(Run(await self._retrainings.stop(model, order), ""))

    async def ListRetrainings(
        self,
        request: pb.ListRetrainingsRequest,
        context: Context,  # noqa: ARG002  # the protocol's
    ) -> pb.ListRetrainingsResponse:
        """Policies and runs."""
        model = words.any_model(request.model)
        last = min(request.last or RUNS, MOST if model else RUNS)
        made = []
        for each in await self._retrainings.shown(model, last):
            made.append(_model(each))
            await asyncio.sleep(0)  # of many models: what else the loop has to do goes on
        return pb.ListRetrainingsResponse(models=made)


def _model(shown: Shown) -> pb.Model:
    return pb.Model(
        model=shown.model,
        policy=_policy(shown.settings) if shown.settings is not None else None,
        next_seconds=shown.next or 0.0,
        asks={str(trigger): why for trigger, why in shown.asks.items()},
        rests_seconds=shown.rests_s,
        runs=[_run(each) for each in shown.runs],
    )


def _policy(settings: RetrainingSettings) -> pb.Policy:
    return pb.Policy(
        schedule=settings.schedule or "",
        timezone=settings.timezone,
        on_drift=settings.on_drift or "",
        on_accuracy=settings.on_accuracy or "",
        on_health=settings.on_health or "",
        min_interval_seconds=settings.min_interval_s,
        command=settings.command,
        timeout_seconds=settings.timeout_s,
        webhook=settings.webhook,
        then=settings.then,
    )


def _run(run: Run) -> pb.Run:
    """A run as a message. What its body does not say is left out: it may be of another release."""
    case, body = run.case, run.case.body
    window, declared = body.get("window"), body.get("declared")
    seen = [each for each in window if isinstance(each, int | float)] if isinstance(window, list) else []
    output = body.get("output")
    return pb.Run(
        id=case.id,
        model=case.model,
        state=case.state,
        text=_word(body, "text"),
        trigger=_word(body, "trigger"),
        why=_word(body, "why"),
        actor=case.actor,
        began_seconds=case.began,
        ended_seconds=case.ended,
        action=_word(body, "action"),
        then=_word(body, "then"),
        parent=_word(body, "parent"),
        parent_digest=_word(body, "parent_digest"),
        first_recorded_seconds=seen[0] if len(seen) == 2 else 0.0,
        last_recorded_seconds=seen[1] if len(seen) == 2 else 0.0,
        declared={str(name): str(value) for name, value in declared.items()} if isinstance(declared, Mapping) else {},
        declared_parent=_word(body, "declared_parent"),
        lineage=_word(body, "lineage"),
        lineage_reason=_word(body, "lineage_reason"),
        version=case.number,
        digest=case.digest,
        fate=run.fate,
        took_seconds=_number(body, "took_s"),
        exit_code=int(_number(body, "exit_code")),
        output=[str(line) for line in output] if isinstance(output, list) else [],
        output_bytes=int(_number(body, "output_bytes")),
    )


def _word(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _number(body: Mapping[str, Any], key: str) -> float:
    value = body.get(key)
    return value if isinstance(value, int | float) else 0.0
