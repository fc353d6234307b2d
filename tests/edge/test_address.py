"""HOST:PORT of a server to ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.edge.address import address
from router.errors import SettingsError


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8001", "localhost:1", "[::1]:65535", "gpu-7.example.org:8001", "grpc_1:80"]
)
def test_an_address(text: str) -> None:
    """Names, IPv4, and IPv6 in brackets."""
    assert address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "foo", ":8001", "host:", "host:0", "host:65536", "host:99999", "host:x", "a b:1", "::1:8001", "[::1:8001",
        "http://host:80", "user@host:80", "host:80/", "host:80\n", "unix:/x", "host:٣",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """Before a connection is tried, with an example of what is right."""
    with pytest.raises(SettingsError, match=r"is no address: expected HOST:PORT, such as 127\.0\.0\.1:8001"):
        address(text)


@given(st.text(max_size=20))
def test_any_text(text: str) -> None:
    """It is an address or it is refused, in one line."""
    try:
        address(text)
    except SettingsError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
