"""What operators see of the webhook on the admin port, by `router webhook`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result
from grpc import aio

from router.app.cli import main
from router.control.outbox_rows import FAILED, Queue, Row
from router.core.delivery import Answer
from router.edge.admin_guard import Guard
from router.edge.webhook_service import WebhookService, shown
from router.pb import webhook_pb2_grpc
from tests.server import free_port

TAKEN = Answer(204)
HOSTILE = "[red]x[/]\x1b[2J\u202e\n</script>"
EMPTY = Queue(0, 0, 0, 0, 0.0, 0.0, 0.0, "", ())
TROUBLE = Queue(
    1,
    1,
    120,
    3,
    1.7e9,
    1.7e9,
    1.7e9 + 5,
    f"410 Gone {HOSTILE}",
    (
        Row(1, "id 1", "drift", HOSTILE, HOSTILE, 1.7e9, "{}", FAILED, 8, 8, 0.0, HOSTILE),
        Row(2, "id 2", "health", "digits", "2", 1.7e9, "{}"),
    ),
)


class FakeOutbox:
    """Remembers."""

    def __init__(self, queue: Queue) -> None:
        self.found = queue
        self.woken = 0

    def queue(self, last: int) -> Queue:
        """As given."""
        assert last >= 1
        return self.found

    def again(self) -> int:
        """Three."""
        return 3

    def wake(self) -> None:
        """Counted."""
        self.woken += 1


@contextmanager
def served(outbox: FakeOutbox | None, answer: Answer = TAKEN) -> Iterator[str]:
    """The service alone on a port; gives its address."""
    address, loop = f"127.0.0.1:{free_port()}", asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Any:
        server = aio.server(interceptors=[Guard()])
        service = WebhookService(outbox, "https://hooks/…", ("drift", "champion"), lambda: ("a test", answer, 0.035))
        webhook_pb2_grpc.add_WebhookServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        server.add_insecure_port(address)
        await server.start()
        return server

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    server = run(begin())
    try:
        yield address
    finally:
        run(server.stop(0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def router(address: str, *words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(main, ["webhook", "--admin", address, *words])


def test_the_queue_is_shown_and_names_are_text() -> None:
    """What waits, what was given up and why; nothing of it acts on the terminal."""
    with served(FakeOutbox(TROUBLE)) as address:
        told = router(address)
        assert told.exit_code == 0
        assert told.output.splitlines()[0] == "https://hooks/…, events: drift, champion"
        assert "1 pending (the oldest for " in told.output
        assert "120 delivered, 1 given up, 3 dropped" in told.output
        assert "last error" in told.output
        assert "[red]x[/]" in told.output
        assert all(c.isprintable() or c == "\n" for c in told.output)
        whole = json.loads(router(address, "--json").output)
        assert (whole["configured"], whole["failed"], whole["events"][0]["model"]) == (True, 1, HOSTILE)


def test_a_test_says_what_came_back() -> None:
    """Delivered, and what waits is sent; or why not, with exit code 1."""
    outbox = FakeOutbox(EMPTY)
    with served(outbox) as address:
        told = router(address, "--test")
        assert (told.exit_code, told.output) == (0, "delivered: 204 after 35 ms, event a test\n")
        assert json.loads(router(address, "--test", "--json").output)["status"] == 204
        assert outbox.woken == 2
    with served(outbox, Answer(401, f"401 Unauthorized: {HOSTILE}")) as address:
        told = router(address, "--test")
        assert told.exit_code == 1
        assert told.output.startswith("Error: the test event a test was not delivered: 401 Unauthorized: [red]x[/]")
        assert told.output.removesuffix("\n").isprintable()
        assert router(address, "--test", "--json").exit_code == 1
    assert outbox.woken == 2


def test_what_was_given_up_is_sent_once_more() -> None:
    """How many there were."""
    with served(FakeOutbox(EMPTY)) as address:
        assert router(address, "--retry").output == "3 events wait again\n"
        assert json.loads(router(address, "--retry", "--json").output) == {"events": 3}
        assert router(address, "--retry", "--test").exit_code == 2


def test_without_a_webhook_that_is_said() -> None:
    """With the mend."""
    with served(None) as address:
        for words in ((), ("--test",), ("--retry",)):
            told = router(address, *words)
            assert told.exit_code == 1
            assert told.output.startswith("Error: no webhook is configured: give [webhook] a url")
        assert json.loads(router(address, "--json").output)["configured"] is False


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://hooks.example/services/T0/secret", "https://hooks.example/…"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080?token=secret", "http://[::1]:8080/…"),
        ("https://hooks.example", "https://hooks.example"),
    ],
)
def test_of_a_url_the_place_is_shown(url: str, seen: str) -> None:
    """Its path may be a secret."""
    assert shown(url) == seen
