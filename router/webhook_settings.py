"""Validated settings of the webhook: `[webhook]` of `router.toml`."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from router.settings import File, Settings

EventKind = Literal[
    "accuracy", "act", "actuals", "alias", "challenge", "champion", "course", "drift", "fallback", "frozen", "gate",
    "health", "importance", "marked", "moved", "progress", "recording", "request", "retraining", "rollout", "split",
    "swapped", "trial", "webhook",
]  # fmt: skip
"""What happens to models and versions. `act`: whatever the audit log holds that is of no other kind."""


class WebhookSettings(Settings):
    """`[webhook]`: where events go. Without a `url` nowhere; with one, a secret signs them."""

    url: str = ""
    """http:// or https://; what it holds beside the host is shown to nobody."""
    secret_file: File | None = None
    """Holds the secret that signs, at least 16 bytes."""
    secret_env: str = Field("", pattern="^([A-Za-z_][A-Za-z0-9_]{0,99})?$")
    """Or the variable of the environment that does."""
    ca_file: File | None = None
    """The authority of the receiver's certificate (PEM), where it is none of the system's."""
    events: tuple[EventKind, ...] = ()
    """Kinds; none: all but `actuals` and `progress`."""
    source: str = Field("/router", min_length=1, max_length=200, pattern="^[!-~]+$")
    """What events say they come from: another one for each server that has the same receiver."""
    timeout_s: float = Field(10.0, gt=0, le=60, allow_inf_nan=False)
    """From the beginning of a try to the last byte of its answer."""
    keep_s: float = Field(259_200.0, ge=60, le=2_592_000, allow_inf_nan=False)
    """What could not be delivered for so long is dropped."""

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, value: str) -> str:
        if not value:
            return value
        wrong = "expected http://HOST or https://HOST, with a port and a path as needed"
        if not re.fullmatch("[!-~]{1,2000}", value):
            raise ValueError(wrong)
        try:
            parts = urlsplit(value)
            known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is none, half an IPv6 address
            raise ValueError(wrong) from None
        if not known:
            raise ValueError(wrong)
        if "@" in parts.netloc or parts.fragment:
            raise ValueError("a url here holds neither a name and password nor a fragment: events are signed instead")
        return value

    @model_validator(mode="after")
    def _is_signed(self) -> WebhookSettings:
        if self.url and (self.secret_file is None) == (not self.secret_env):
            raise ValueError("`url` in [webhook] goes with one of `secret_file` and `secret_env`: events are signed")
        return self
