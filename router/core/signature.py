"""That an event comes from whoever has the secret, and just now: a header beside the body that it covers.

`t=<seconds since 1970>,v1=<HMAC-SHA256>` of the text `<t>.<body>` with the secret, in hexadecimal digits (RFC 2104).
The instant is covered too, so that whoever has seen a message cannot send it again a day later.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

HEADER: Final = "X-Router-Signature"
TOLERANCE_S: Final = 300.0
"""A receiver should take nothing that is older, or newer."""
SHORTEST: Final = 16
"""Bytes of a secret; a shorter one could be found by trying."""


def signed(secret: bytes, seconds: int, body: bytes) -> str:
    """The header's value for a body that is sent at `seconds` since 1970."""
    return f"t={seconds},v1={_digest(secret, str(seconds), body)}"


def genuine(secret: bytes, header: str, body: bytes, now: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a body came from whoever has the secret, within the tolerance of `now`: what a receiver does."""
    parts = dict(each.partition("=")[::2] for each in header.split(","))
    at, given = parts.get("t", ""), parts.get("v1", "")
    if not (at.isascii() and at.isdigit() and len(at) <= 12) or not given.isascii():
        return False
    return hmac.compare_digest(_digest(secret, at, body), given) and abs(now - int(at)) <= tolerance_s


def _digest(secret: bytes, at: str, body: bytes) -> str:
    return hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
