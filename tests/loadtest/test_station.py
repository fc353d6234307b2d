"""The address of a receiver: it is there in one manner or another, or nobody is."""

from __future__ import annotations

import socket
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from loadtest.receiver import Manner
from loadtest.servers import free_port
from loadtest.station import Station


def test_a_receiver_comes_and_goes_at_one_address(tmp_path: Path) -> None:
    """What came to the one before is not forgotten; while nobody is there a connection is refused."""
    with Station(tmp_path) as station:
        target = urlsplit(station.url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((target.hostname, target.port or 0), timeout=5)
        assert not station.comes(within=0)
        for manner, status in ((Manner.FAILS, 500), (Manner.TAKES, 204)):
            station.be(manner)
            connection = HTTPConnection(target.netloc, timeout=20)
            connection.request("POST", target.path, b'{"id":"1"}', {"x-router-event": "1"})
            assert connection.getresponse().status == status
            connection.close()
        station.be(None)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((target.hostname, target.port or 0), timeout=5)
        assert [each.manner for each in station.arrivals()] == [Manner.FAILS, Manner.TAKES]
    assert station.secret.stat().st_mode & 0o077 == 0


def test_ports_are_below_those_of_outgoing_connections() -> None:
    """Or one of them could take the address while nobody is there."""
    assert free_port() < 32_768
