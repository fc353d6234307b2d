"""Ports are claimed for real: addresses that cannot work are refused, those that can are kept from strangers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.app.ports import claim_ports
from router.app.refusal import Refused


@pytest.fixture
def taken() -> Iterator[int]:
    """The number of a port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]"])
def test_hosts_are_names_and_addresses_of_both_kinds(host: str) -> None:
    """The host stays as it was written, the port becomes a number, and nobody else gets the port."""
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    given, held = claim_ports({"grpc": f"{host}:0"})
    try:
        name, _, port = given["grpc"].rpartition(":")
        assert (name, int(port) > 0) == (host, True)
        with pytest.raises(Refused, match=f"port {port} on .* is taken"):
            claim_ports({"grpc": given["grpc"]})
    finally:
        for one in held:
            one.close()


@pytest.mark.parametrize(
    ("addresses", "line"),
    [
        (
            {"grpc": "127.0.0.1:8001", "http": "127.0.0.1:8001"},
            "--grpc 127.0.0.1:8001 and --http 127.0.0.1:8001 are the same address; give each a port of its own",
        ),
        (
            {"http": "127.0.0.1:8002", "admin": "0.0.0.0:8002"},
            "--http 127.0.0.1:8002 and --admin 0.0.0.0:8002 are the same address; give each a port of its own",
        ),
        ({"admin": "192.0.2.1:8003"}, "192.0.2.1 is not an address of this machine; choose another with --admin "),
        ({"grpc": "no-such-host.invalid:8001"}, "host no-such-host.invalid cannot be resolved ("),
        ({"grpc": "a..b:8001"}, "host a..b cannot be resolved (not a host name); choose another with --grpc "),
    ],
)
def test_addresses_that_cannot_work_are_refused(addresses: dict[str, str], line: str) -> None:
    """Equal addresses, a host that is not ours, a host that nobody knows: one line each, with the mend."""
    with pytest.raises(Refused) as refused:
        claim_ports(addresses)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("flag", ["grpc", "http"])
def test_connections_that_linger_do_not_refuse_a_port(flag: str) -> None:
    """A port on which an earlier server's connections stand in TIME_WAIT is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), 5)
        served, _ = listener.accept()
        served.close()  # who closes first keeps TIME_WAIT
        assert client.recv(1) == b""
        client.close()
    _, held = claim_ports({flag: f"127.0.0.1:{port}"})
    for one in held:
        one.close()


def test_a_port_that_is_about_to_be_free_is_waited_for(taken: int) -> None:
    """With patience (the workers of a killed server are still leaving) the port is asked for until time is over."""
    began = time.monotonic()
    with pytest.raises(Refused):
        claim_ports({"grpc": f"127.0.0.1:{taken}"}, patience_s=0.3)
    assert time.monotonic() - began >= 0.3
