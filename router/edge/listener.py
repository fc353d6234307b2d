"""What listens at an address. Asked when a call has failed: gRPC's words do not say what the caller has mixed up."""

from __future__ import annotations

import socket
import ssl
from enum import Enum, auto
from typing import Final

PATIENCE_S: Final = 2.0
"""How long a listener may take for one step."""

_SETTINGS: Final = 4
_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
"""How HTTP/2 begins; whoever speaks it answers with settings of its own."""


class Listener(Enum):
    """What was found."""

    NOBODY = auto()
    SILENT = auto()
    """It takes connections and says nothing."""
    PLAIN = auto()
    """HTTP/2, so possibly gRPC, without TLS."""
    TLS = auto()
    MUTUAL_TLS = auto()
    """It hangs up on who shows no certificate that it likes."""
    UNTRUSTED = auto()
    """TLS, with a certificate that the caller has no reason to trust."""
    WEB = auto()
    """HTTP/1, with or without TLS."""
    OTHER = auto()


def listener(where: str, context: ssl.SSLContext | None = None) -> Listener:
    """Ask HOST:PORT whether it speaks HTTP/2, with and without TLS; a few `PATIENCE_S` at most.

    With a `context`, whose TLS the caller means to use, that is tried first, and certificates are verified.
    """
    host, _, port = where.rpartition(":")
    place = (host.strip("[]"), int(port))
    try:
        if context is not None:
            found = _secured(place, context)
            return _greeted(place) if found is Listener.OTHER else found
        found = _greeted(place)
        return _secured(place, _trusting()) if found is Listener.OTHER else found
    except (OSError, UnicodeError):  # refused, unreachable, no such host, no name that can be looked up
        return Listener.NOBODY


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whoever answers is told nothing
    return context


def _greeted(place: tuple[str, int]) -> Listener:
    with socket.create_connection(place, PATIENCE_S) as connection:
        try:
            connection.sendall(_HELLO)
            return _heard(connection.recv(64))
        except TimeoutError:
            return Listener.SILENT
        except OSError:  # it hung up
            return Listener.OTHER


def _secured(place: tuple[str, int], context: ssl.SSLContext) -> Listener:
    context.set_alpn_protocols(["h2"])
    shaken = False
    with socket.create_connection(place, PATIENCE_S) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=place[0]) as secured:
                shaken = True
                secured.sendall(_HELLO)
                answer = secured.recv(64)
        except TimeoutError:
            return Listener.SILENT
        except ssl.SSLCertVerificationError:
            return Listener.UNTRUSTED
        except OSError as error:  # TLS 1.3 asks for the certificate after the handshake, TLS 1.2 in it
            asked = shaken or "ALERT_HANDSHAKE_FAILURE" in (getattr(error, "reason", None) or "")
            return Listener.MUTUAL_TLS if asked else Listener.OTHER
    if not answer:
        return Listener.MUTUAL_TLS
    found = _heard(answer)
    return Listener.TLS if found is Listener.PLAIN else found


def _heard(answer: bytes) -> Listener:
    if answer.startswith(b"HTTP/1"):
        return Listener.WEB
    return Listener.PLAIN if answer[3:4] == bytes((_SETTINGS,)) else Listener.OTHER
