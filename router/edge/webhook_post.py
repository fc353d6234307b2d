"""Events to a webhook by HTTP POST: signed, with bounds on everything that comes back."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from router import __version__
from router.control.cloud_event import CONTENT_TYPE
from router.core.delivery import Answer
from router.core.signature import HEADER, SHORTEST, signed
from router.errors import SettingsError

ANSWER: Final = 4096
"""Bytes of an answer that are read; the connection of a longer one is closed."""
SHOWN: Final = 100
"""Characters of an answer that are shown where it is a refusal."""


class WebhookPost:
    """One receiver. For one thread, on which it blocks; connections are kept from one event to the next.

    The certificate of the receiver is verified against the system's authorities, or those in the file `ca` (PEM).
    Redirects are not followed, proxies and passwords of the environment are not used. Raises SettingsError.
    """

    def __init__(
        self,
        url: str,
        secret: bytes,
        timeout_s: float,
        ca: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._clock = clock
        self._context = trusted(ca)
        self._runner: asyncio.Runner | None = None
        self._client: httpx.AsyncClient | None = None

    def __call__(self, name: str, body: bytes) -> Answer:
        """Send an event under its id `name`. Raises nothing: what goes wrong is in the answer."""
        if self._runner is None or self._client is None:
            # A loop of its own: only there a time limit holds for the whole exchange, however slowly bytes come.
            self._runner = asyncio.Runner()
            self._client = httpx.AsyncClient(
                verify=self._context, timeout=self._timeout_s, follow_redirects=False, trust_env=False
            )
        return self._runner.run(self._sent(self._client, name, body))

    def close(self) -> None:
        """End the connections; on the thread that called."""
        if self._runner is not None and self._client is not None:
            self._runner.run(self._client.aclose())
            self._runner.close()
        self._runner = self._client = None

    async def _sent(self, client: httpx.AsyncClient, name: str, body: bytes) -> Answer:
        headers = {
            "content-type": CONTENT_TYPE,
            "user-agent": f"inference-router/{__version__}",
            "accept-encoding": "identity",
            "x-router-event": name,
            HEADER: signed(self._secret, int(self._clock()), body),
        }
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                words = b""
                async for part in answer.aiter_raw():  # raw: a small answer cannot become a large one
                    words += part[:ANSWER]
                    if len(words) >= ANSWER:
                        break
                return _answer(answer, words)
        except (TimeoutError, httpx.TimeoutException):
            return Answer(0, f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            return Answer(0, f"no answer: {_reason(error)}")


def _answer(answer: httpx.Response, words: bytes) -> Answer:
    error = ""
    if not answer.is_success:
        said = " ".join(words[:SHOWN].decode("utf-8", "replace").split())
        error = f"{answer.status_code} {answer.reason_phrase[:40]}".strip() + (f": {said}" if said else "")
        if answer.is_redirect:
            error = f"{answer.status_code}: it points elsewhere, and that is not followed; give the url it points to"
    return Answer(answer.status_code, error, answer.headers.get("retry-after", ""))


def _reason(error: Exception) -> str:
    inner: BaseException = error
    while (before := inner.__cause__ or inner.__context__) is not None:
        inner = before
    while isinstance(inner, BaseExceptionGroup):  # of a host with several addresses
        inner = inner.exceptions[-1]
    if isinstance(inner, ssl.SSLError):
        return f"TLS: {getattr(inner, 'verify_message', '') or inner.reason or 'it failed'}"
    if isinstance(inner, OSError) and inner.strerror:
        return os.strerror(inner.errno) if inner.errno and inner.errno > 0 else inner.strerror
    return str(error) or type(error).__name__


def trusted(ca: Path | None) -> ssl.SSLContext:
    """Whose receivers are trusted: the system's authorities, or those in a file. Raises SettingsError."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # an SSLError is one
        raise SettingsError(
            f"[webhook] ca_file {ca} is no readable PEM file; give the authority's certificate"
        ) from error


def secret_of(file: Path | None, variable: str, environment: Callable[[str], str | None]) -> bytes:
    """The secret that signs, from a file or a variable of the environment, without blanks around it.

    Raises SettingsError, which never holds it.
    """
    if file is not None:
        where = f"[webhook] secret_file {file}"
        try:
            secret = file.read_bytes().strip()
        except OSError as error:
            raise SettingsError(f"{where} cannot be read: {error.strerror}; name a file with the secret") from error
    else:
        where = f"[webhook] secret_env {variable}"
        given = environment(variable)
        if given is None:
            raise SettingsError(f"{where} is not set; the variable is to hold the secret")
        secret = given.strip().encode("utf-8", "surrogateescape")
    if len(secret) < SHORTEST:
        raise SettingsError(
            f"{where} holds {len(secret)} bytes; at least {SHORTEST} are meant, such as `openssl rand -hex 32` gives"
        )
    return secret
