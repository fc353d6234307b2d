"""The webhook for operators: what waits for it, what was given up, and whether it answers."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from grpc import aio

from router.control.outbox_rows import Queue, Row
from router.core.delivery import Answer, Fate, fate
from router.errors import Refused
from router.pb import webhook_pb2 as pb
from router.pb import webhook_pb2_grpc

SHOWN: Final = 20
MOST: Final = 1000
"""Events that are shown, at most."""

Context = aio.ServicerContext[Any, Any]


class Outbox(Protocol):
    """What the service knows of it. Methods block and raise RouterErrors."""

    def queue(self, last: int) -> Queue:
        """How it is."""

    def again(self) -> int:
        """Send once more what was given up."""

    def wake(self) -> None:
        """The receiver answers."""


Try = Callable[[], tuple[str, Answer, float]]
"""Sends an event for a test: its id, the answer, seconds. Blocks."""


class WebhookService(webhook_pb2_grpc.WebhookServicer):
    """Answers from the `outbox`; without one, no webhook is configured. Methods raise RouterErrors."""

    def __init__(self, outbox: Outbox | None, target: str, kinds: Sequence[str], attempt: Try) -> None:
        self._outbox = outbox
        self._target = target
        self._kinds = tuple(kinds)
        self._attempt = attempt
        self._testing = asyncio.Lock()

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Context) -> pb.Outbox:
        """What waits."""
        if self._outbox is None:
            return pb.Outbox()
        queue = await asyncio.to_thread(self._outbox.queue, min(request.last or SHOWN, MOST))
        return pb.Outbox(
            configured=True,
            target=self._target,
            kinds=self._kinds,
            pending=queue.pending,
            failed=queue.failed,
            delivered=queue.delivered,
            dropped=queue.dropped,
            oldest_seconds=queue.oldest,
            last_delivered_seconds=queue.last_delivered,
            last_error_seconds=queue.last_error,
            last_error=queue.error,
            events=[_undelivered(row) for row in queue.rows],
        )

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Context) -> pb.TestWebhookResponse:
        """One event, now."""
        outbox = self._there()
        if self._testing.locked():
            raise Refused("the webhook is being tried by somebody else: wait for what it says")
        async with self._testing:
            name, answer, took = await asyncio.to_thread(self._attempt)
        delivered = fate(answer.status) is Fate.DELIVERED
        if delivered:
            outbox.wake()
        return pb.TestWebhookResponse(
            delivered=delivered, status=answer.status, error=answer.error[:500], took_seconds=took, id=name
        )

    async def RetryWebhook(self, request: pb.RetryWebhookRequest, context: Context) -> pb.RetryWebhookResponse:
        """What was given up waits again."""
        return pb.RetryWebhookResponse(events=await asyncio.to_thread(self._there().again))

    def _there(self) -> Outbox:
        if self._outbox is None:
            raise Refused("no webhook is configured: give [webhook] a url in the file of --config, and start again")
        return self._outbox


def _undelivered(row: Row) -> pb.Undelivered:
    return pb.Undelivered(
        id=row.event,
        kind=row.kind,
        model=row.model,
        version=row.number,
        told_seconds=row.told,
        state=row.state,
        tries=row.tries,
        next_try_seconds=row.next_try,
        error=row.error,
    )


def shown(url: str) -> str:
    """Where a url leads, without what may be secret in it: its path and its query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" + ("/…" if parts.path.strip("/") or parts.query else "")
