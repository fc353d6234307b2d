"""The ports of a server: resolved, kept apart from each other, and held so that no stranger gets them.

SO_REUSEPORT lets several workers share one port; it would also let a second server onto it unseen. Standard library
only: it is a part of the supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import combinations
from typing import Any

from router.app.refusal import Refused

_KNOCK_S = 0.1

_Target = tuple[socket.AddressFamily, tuple[Any, ...]]


def _targets(flag: str, address: str) -> list[_Target]:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        wrong = f"host {host} cannot be resolved ({reason})"
        raise Refused(wrong, f"choose another with --{flag} HOST:PORT") from error
    return list(dict.fromkeys((family, target) for family, _, _, _, target in found))


def _overlap(ours: list[_Target], theirs: list[_Target]) -> bool:
    for _, one in ours:
        for _, other in theirs:
            hosts = [ip_address(target[0].partition("%")[0]) for target in (one, other)]
            if one[1] == other[1] != 0 and (hosts[0] == hosts[1] or any(host.is_unspecified for host in hosts)):
                return True
    return False


def _bound(family: socket.AddressFamily, target: tuple[Any, ...], *options: int) -> socket.socket:
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            held.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as gRPC binds [::]
        held.bind(target)
    except BaseException:
        held.close()
        raise
    return held


def _reserved(family: socket.AddressFamily, target: tuple[Any, ...], *, shared: bool) -> socket.socket:
    """A socket that keeps the port and never listens, so that no connection ever comes to it."""
    if shared:
        # Without SO_REUSEADDR the probe of another server sees it even before our workers listen. Connections that
        # linger from a program that did not share its port forbid that.
        with contextlib.suppress(OSError):
            return _bound(family, target, socket.SO_REUSEPORT)
    return _bound(family, target, socket.SO_REUSEPORT, socket.SO_REUSEADDR)


def _reserve(targets: list[_Target], *, shared: bool) -> tuple[int, list[socket.socket]]:
    """The port, and a socket on each address of the host that this machine has. Raises OSError."""
    held: list[socket.socket] = []
    port, missing = targets[0][1][1], None
    try:
        for family, target in targets:
            try:
                # SO_REUSEPORT would let us onto a port that another server of ours has: ask without it first.
                with _bound(family, (target[0], port, *target[2:]), socket.SO_REUSEADDR) as probe:
                    port = probe.getsockname()[1]
                held.append(_reserved(family, (target[0], port, *target[2:]), shared=shared))
            except OSError as error:
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                missing = error  # `localhost` has an IPv6 address where the machine has no IPv6
        if not held and missing is not None:
            raise missing
    except BaseException:
        for reserved in held:
            reserved.close()
        raise
    return port, held


def claim_ports(addresses: Mapping[str, str], patience_s: float = 0.0) -> tuple[dict[str, str], list[socket.socket]]:
    """The addresses with their real port numbers, and sockets that keep them, for as long as they stay open.

    `addresses` maps a flag (grpc, http, admin) to HOST:PORT; port 0 asks for a free one. Children bind beside the
    sockets: with SO_REUSEPORT on the `grpc` address, with it or with SO_REUSEADDR on the others. A taken port is
    asked for again for `patience_s`. Raises Refused.
    """
    wanted = {flag: _targets(flag, address) for flag, address in addresses.items()}
    for one, other in combinations(wanted, 2):
        if _overlap(wanted[one], wanted[other]):
            both = f"--{one} {addresses[one]} and --{other} {addresses[other]}"
            raise Refused(f"{both} are the same address", "give each a port of its own")
    given, held = {}, list[socket.socket]()
    until = time.monotonic() + patience_s
    try:
        # Those that want a free port last: it must not be one that another asks for by number.
        for flag, targets in sorted(wanted.items(), key=lambda item: item[1][0][1][1] == 0):
            host, _, port = addresses[flag].rpartition(":")
            number, sockets = _reserve_or_refuse(flag, host, int(port), targets, until)
            held += sockets
            given[flag] = f"{host}:{number}"
    except BaseException:
        for reserved in held:
            reserved.close()
        raise
    return {flag: given[flag] for flag in addresses}, held


def _reserve_or_refuse(
    flag: str, host: str, port: int, targets: list[_Target], until: float
) -> tuple[int, list[socket.socket]]:
    choose = f"choose another with --{flag} HOST:PORT"
    tries = 20 if port == 0 else 1  # a free port of one address may be taken on the host's next
    while True:
        tries -= 1
        try:
            return _reserve(targets, shared=flag == "grpc")
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                if tries > 0:
                    continue
                if time.monotonic() < until:
                    time.sleep(_KNOCK_S)
                    continue
                raise Refused(f"port {port} on {host} is taken by another program", f"stop it or {choose}") from error
            if error.errno in {errno.EACCES, errno.EPERM}:
                raise Refused(f"port {port} on {host} is not allowed to this user", choose) from error
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise Refused(f"{host} is not an address of this machine", choose) from error
            raise Refused(f"port {port} on {host} cannot be bound ({error.strerror})", choose) from error
