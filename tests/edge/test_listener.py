"""What listens at an address: real sockets that speak, keep silent, hang up or want certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from router.edge import listener as module
from router.edge.listener import Listener, listener
from tests.fake_inference import FakeServer, authority, serving
from tests.server import free_port

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@contextmanager
def answering(first_words: bytes) -> Iterator[str]:
    """A socket that says something to whoever comes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(64)
                    connection.sendall(first_words)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_grpc() -> None:
    """A server without TLS, also where TLS was meant."""
    with serving(FakeServer()) as target:
        assert listener(target) is Listener.PLAIN
        assert listener(target, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) is Listener.PLAIN


@pytest.mark.parametrize("where", ["nobody.invalid:1", "a..b:1"])
def test_nobody(where: str) -> None:
    """No such host, or no name at all."""
    assert listener(where) is Listener.NOBODY
    assert listener(f"127.0.0.1:{free_port()}") is Listener.NOBODY


def test_http() -> None:
    """A web server is told apart."""
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as target:
        assert listener(target) is Listener.WEB


@pytest.mark.parametrize("words", [b"", b"220 mail.example.org ESMTP\r\n", b"\0" * 8])
def test_something_else(words: bytes) -> None:
    """It hangs up, or says what no gRPC server says."""
    with answering(words) as target:
        assert listener(target) is Listener.OTHER


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stands still: the system takes the connection, and nothing comes."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        assert listener(target) is Listener.SILENT
        assert listener(target, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) is Listener.SILENT


@needs_openssl
def test_tls(tmp_path: Path) -> None:
    """Without a context certificates do not matter; with one they are verified."""
    credentials, certificate = authority(tmp_path)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    friend = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    friend.load_verify_locations(certificate)
    with serving(FakeServer(), credentials) as target:
        assert listener(target) is Listener.TLS
        assert listener(target, friend) is Listener.TLS
        assert listener(target, stranger) is Listener.UNTRUSTED


@needs_openssl
def test_tls_that_asks_for_a_certificate(tmp_path: Path) -> None:
    """Who shows one that the server trusts is let in."""
    _, certificate = authority(tmp_path)
    key = tmp_path / "key.pem"
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], certificate.read_bytes(), require_client_auth=True)
    friend = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    friend.load_verify_locations(certificate)
    with serving(FakeServer(), credentials) as target:
        assert listener(target) is Listener.MUTUAL_TLS
        assert listener(target, friend) is Listener.MUTUAL_TLS
        friend.load_cert_chain(certificate, key)
        assert listener(target, friend) is Listener.TLS
