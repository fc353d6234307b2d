"""Signatures: what the secret's owner sent just now is genuine, nothing else is."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from router.core.signature import TOLERANCE_S, genuine, signed

SECRET = b"0123456789abcdef"


def test_the_header_is_what_the_documentation_says() -> None:
    """`t.body` under HMAC-SHA256, so that a receiver needs three lines of any language."""
    digest = hmac.new(SECRET, b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signed(SECRET, 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={digest}"


@given(body=st.binary(max_size=200), late=st.floats(-TOLERANCE_S, TOLERANCE_S))
def test_what_was_signed_is_genuine_within_the_tolerance(body: bytes, late: float) -> None:
    """Whatever the body is; later, earlier, under another secret or with another body it is not."""
    header = signed(SECRET, 1_700_000_000, body)
    assert genuine(SECRET, header, body, 1_700_000_000 + late)
    assert not genuine(SECRET, header, body, 1_700_000_000 + TOLERANCE_S + 1)
    assert not genuine(SECRET, header, body, 1_700_000_000 - TOLERANCE_S - 1)
    assert not genuine(SECRET + b"x", header, body, 1_700_000_000)
    assert not genuine(SECRET, header, body + b" ", 1_700_000_000)


@given(st.text(max_size=60) | st.from_regex(r"t=\d{0,20},v1=[0-9a-zé]{0,64}"))
def test_no_other_header_is_genuine(header: str) -> None:
    """And none makes the check fail."""
    assert not genuine(SECRET, header, b"body", 1_700_000_000)
