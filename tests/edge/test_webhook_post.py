"""Events by HTTP POST: signed, and whatever comes back is bounded and told in one line."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from router.core.signature import genuine
from router.edge.webhook_post import ANSWER, WebhookPost, secret_of
from router.errors import SettingsError
from tests.control.webhook_receiver import Receiver, receiving, status
from tests.server import certificates, free_port

SECRET = b"0123456789abcdef"
BODY = b'{"id":"7"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real server."""
    with receiving() as made:
        yield made


def post(url: str, timeout_s: float = 10.0, **more: Any) -> Any:
    """One try."""
    with closing(WebhookPost(url, SECRET, timeout_s, **more)) as sender:
        return sender("7", BODY)


def test_an_event_is_sent_as_it_is_and_signed(receiver: Receiver) -> None:
    """CloudEvents' structured form; the receiver can check that it is genuine. The connection is kept."""
    with closing(WebhookPost(receiver.url, SECRET, 10.0, clock=lambda: 1_700_000_000.9)) as sender:
        assert sender("7", BODY).status == 204
        assert sender("7", BODY).status == 204
    headers = receiver.headers[0]
    assert receiver.bodies == [BODY, BODY]
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["x-router-event"] == "7"
    assert genuine(SECRET, headers["x-router-signature"], BODY, 1_700_000_001.0)
    assert "expect" not in headers


def test_what_a_receiver_refuses_is_told_in_one_line(receiver: Receiver) -> None:
    """Status, reason and the beginning of what it says."""
    receiver.answer = status(422, b"no\nsuch\x1b[2J kind" + b"x" * 1000, retry_after="7")
    answer = post(receiver.url)
    assert (answer.status, answer.retry_after) == (422, "7")
    assert answer.error.startswith("422 Unprocessable")
    assert "no such" in answer.error
    assert len(answer.error) < 200


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """Whoever can answer for a receiver is not to choose another one."""
    receiver.answer = status(307, location=receiver.url)
    assert post(receiver.url).error == "307: it points elsewhere, and that is not followed; give the url it points to"
    receiver.answer = status(302, location=receiver.url)
    assert post(receiver.url).status == 302
    assert len(receiver.events) == 2


def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    """Some kilobytes of it are; then the connection is closed. A packed one is not unpacked."""
    gone = threading.Event()

    def endless(handler: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:  # noqa: ARG001
        handler.send_response(200)
        handler.send_header("content-encoding", "gzip")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * ANSWER)
        except OSError:
            handler.close_connection = True
            gone.set()

    receiver.answer = endless
    assert post(receiver.url).status == 200
    assert gone.wait(10)


def test_a_receiver_that_is_slow_in_small_steps_is_left_in_time() -> None:
    """The limit is for the whole exchange, not for each byte of it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        over = threading.Event()

        def drip() -> None:
            taken, _ = listening.accept()
            with closing(taken):
                try:
                    taken.sendall(b"HTTP/1.1 200 OK\r\nx-long: ")
                    while not over.wait(0.01):
                        taken.sendall(b"x")
                except OSError:
                    pass

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        answer = post(f"http://127.0.0.1:{listening.getsockname()[1]}/", 0.1)
        over.set()
        thread.join(10)
    assert (answer.status, answer.error) == (0, "no answer within 0.1 s")


def test_where_nobody_listens_there_is_no_answer() -> None:
    """The reason is the system's."""
    answer = post(f"http://127.0.0.1:{free_port()}/")
    assert (answer.status, answer.error) == (0, "no answer: Connection refused")


def test_what_is_no_http_is_no_answer() -> None:
    """Whatever listens there: one line."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def speak() -> None:
            taken, _ = listening.accept()
            with closing(taken):
                taken.recv(4096)
                taken.sendall(b"\x1b[2J\r\n\r\n")

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        answer = post(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join(10)
    assert answer.status == 0
    assert answer.error.startswith("no answer: ")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """Nothing is sent to such a receiver; it is, where its authority is named."""
    import ssl

    with receiving() as receiver:
        key, certificate = certificates(tmp_path, "DNS:localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        url = f"https://localhost:{receiver.port}/hook"
        answer = post(url)
        assert answer.status == 0
        assert answer.error.startswith("no answer: TLS: self")
        assert receiver.events == []
        assert post(url, ca=certificate).status == 204
        wrong = post(url.replace("localhost", "127.0.0.1"), ca=certificate)
        assert wrong.error.startswith("no answer: TLS: IP address mismatch")


def test_the_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """Without the line break that editors leave; a refusal names the place and never the secret."""
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    assert secret_of(file, "", {}.get) == SECRET
    assert secret_of(None, "HOOK", {"HOOK": SECRET.decode()}.get) == SECRET
    for given, variable, environment, line in (
        (tmp_path / "nowhere", "", {}, "cannot be read: No such file or directory; name a file with the secret"),
        (None, "HOOK", {}, "[webhook] secret_env HOOK is not set; the variable is to hold the secret"),
        (None, "HOOK", {"HOOK": "short"}, "[webhook] secret_env HOOK holds 5 bytes; at least 16 are meant"),
    ):
        with pytest.raises(SettingsError) as refused:
            secret_of(given, variable, environment.get)
        assert line in str(refused.value)
        assert "short" not in str(refused.value)


def test_an_authority_that_is_none_is_told(tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"ca_file .*ca\.pem is no readable PEM file; give the authority's"):
        WebhookPost("https://localhost/", SECRET, 1.0, tmp_path / "ca.pem")


def test_what_came_is_json_for_the_receiver(receiver: Receiver) -> None:
    """Bytes are sent as they were kept."""
    post(receiver.url)
    assert json.loads(receiver.bodies[0]) == {"id": "7"}
    assert abs(int(receiver.headers[0]["x-router-signature"][2:].partition(",")[0]) - time.time()) < 60
