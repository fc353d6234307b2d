"""How a connection is made: TLS, limits, options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc

MAX_MESSAGE_BYTES: Final = 64 << 20

_LONGEST_S: Final = 1e9


def tls(ca: bytes | None = None, key: bytes | None = None, certificate: bytes | None = None) -> grpc.ChannelCredentials:
    """Credentials for `Client(…, credentials=…)`, from PEM texts.

    `ca` says whose servers are trusted (default: the authorities that gRPC ships); `key` and `certificate` are this
    client's own, for servers that ask for them.
    """
    return grpc.ssl_channel_credentials(ca, key, certificate)


def channel_options(
    max_message_bytes: int, options: Sequence[tuple[str, int | str]] | Mapping[str, int | str]
) -> list[tuple[str, Any]]:
    """gRPC's arguments of a channel: ours, overridden by those given."""
    limits = {
        "grpc.max_send_message_length": max_message_bytes,
        "grpc.max_receive_message_length": max_message_bytes,
    }
    return list((limits | dict(options)).items())


def seconds(deadline: float | None) -> float | None:
    """A deadline that gRPC understands: it would take `nan`, `inf` and what is too large for "at once"."""
    if deadline is None or deadline < _LONGEST_S:
        return deadline
    raise ValueError(f"deadline {deadline}: give seconds below {_LONGEST_S:g}, or None to wait for as long as it takes")
