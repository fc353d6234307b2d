"""The webhook as a part of the controller: hears all events, has them delivered, answers for the queue."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING

from grpc import aio

from router.app.monitoring import Looking
from router.control.cloud_event import Told, body
from router.control.courier import Clocks
from router.control.database import Database
from router.control.events import Events
from router.control.news import OWN, News
from router.control.outbox import Outbox
from router.control.outbox_rows import OutboxRows
from router.core.delivery import Answer
from router.edge import families
from router.edge.webhook_service import WebhookService, shown
from router.pb import webhook_pb2_grpc
from router.webhook_settings import WebhookSettings

if TYPE_CHECKING:
    from router.edge.webhook_post import WebhookPost


def new_id() -> str:
    """One that nobody else gives."""
    return str(uuid.uuid4())


def opened(settings: WebhookSettings) -> Callable[[], WebhookPost]:
    """What makes a way to the receiver, for one thread each. Raises SettingsError."""
    from router.edge.webhook_post import WebhookPost, secret_of  # noqa: PLC0415  # for those who have a webhook

    secret = secret_of(settings.secret_file, settings.secret_env, os.environ.get)
    made = functools.partial(WebhookPost, settings.url, secret, settings.timeout_s, settings.ca_file)
    made()  # says what is wrong with the authority's file
    return made


class WebhookPart(Looking):
    """Without a url it only says so. Raises SettingsError."""

    def __init__(self, settings: WebhookSettings, database: Database, events: Events) -> None:
        self._settings = settings
        self._events = events
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: Outbox | None = None
        if not settings.url:
            return
        self._post = opened(settings)
        self._outbox = Outbox(
            OutboxRows(database),
            News(settings.events),
            self._post(),
            settings.source,
            settings.keep_s,
            Clocks(time.time, time.monotonic),
            random.random,
            new_id,
            self._tell,
        )
        events.follow(self._outbox.take)

    def begin(self) -> None:
        """What is recorded from now on is told. Blocks."""
        if self._outbox is not None:
            self._outbox.begin()

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """Keep and send, until it is cancelled; what was told is written down then."""
        return () if self._outbox is None else (self._run(self._outbox),)

    def add_to(self, server: aio.Server) -> None:
        """What waits, and whether the receiver answers."""
        service = WebhookService(self._outbox, shown(self._settings.url), self._settings.events, self._attempt)
        webhook_pb2_grpc.add_WebhookServicer_to_server(service, server)  # type: ignore[no-untyped-call]

    async def figures(self) -> Iterable[families.Family]:
        """What waits. Raises RouterError."""
        if self._outbox is None:
            return ()
        queue = await asyncio.to_thread(self._outbox.queue, 0)
        age = max(0.0, time.time() - queue.oldest) if queue.oldest else 0.0
        return families.webhook(queue.pending, queue.failed, queue.delivered, age)

    async def _run(self, outbox: Outbox) -> None:
        self._loop = asyncio.get_running_loop()
        outbox.start()
        try:
            await self._loop.create_future()
        finally:
            await asyncio.to_thread(outbox.close)  # it waits for the store

    def _tell(self, line: str) -> None:
        """On a thread of the outbox."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.tell, OWN, "", "", line)

    def _attempt(self) -> tuple[str, Answer, float]:
        """An event for a test, on a thread of its own."""
        name, began, post = new_id(), time.monotonic(), self._post()
        told = Told(name, time.time(), "test", text="an operator asked whether events arrive here")
        try:
            answer = post(name, body(told, self._settings.source).encode())
        finally:
            post.close()
        return name, answer, time.monotonic() - began
