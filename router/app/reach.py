"""How a server is reached, and why it was not: the address, TLS, and what was mixed up."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from router.app import pem
from router.app.mistake import Failed, Wrong
from router.client import Client, tls
from router.edge.address import address
from router.edge.listener import Listener, listener
from router.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Reach:
    """What `--target` and the flags of TLS say. Raises Wrong where they cannot be right."""

    target: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        try:
            address(self.target)
        except SettingsError as error:
            raise Wrong(f"--target {error}") from error
        pem.check_together(self.ca, self.cert, self.key, "--tls")

    def client(self) -> Client:
        """A client of the server. Raises Failed where TLS cannot come about: gRPC would only log why."""
        if self.ca is None:
            return Client(self.target)
        found = listener(self.target, self._context())
        if found not in {Listener.TLS, Listener.NOBODY, Listener.SILENT}:
            raise Failed(self._told(found))
        ca, key, cert = (path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        return Client(self.target, credentials=tls(ca, key, cert))

    def missed(self, words: str) -> str:
        """Why no answer came and how to mend it, by what listens there. `words` are gRPC's own."""
        return self._told(listener(self.target, self._context()), words)

    def _context(self) -> ssl.SSLContext | None:
        return None if self.ca is None else pem.context(self.ca, self.cert, self.key, "--tls")

    def _told(self, found: Listener, words: str = "") -> str:
        seen, mend = self._seen(found, words)
        return f"cannot reach {self.target}; {mend} ({seen})"

    def _seen(self, found: Listener, words: str) -> tuple[str, str]:
        match found:
            case Listener.NOBODY:
                return "nothing listens there", "start `router serve`, or name another server with --target"
            case Listener.WEB:
                return "that port answers HTTP", "this is not the inference port (8001): name that one with --target"
            case Listener.OTHER:
                return "that port does not speak gRPC", "name the inference port (8001) with --target"
            case Listener.PLAIN if self.ca is not None:
                return "it serves without TLS", "leave --tls-ca, --tls-cert and --tls-key out"
            case Listener.TLS if self.ca is None:
                return "it serves with TLS", "name the authority of its certificate (PEM) with --tls-ca FILE"
            case Listener.UNTRUSTED:
                return "its certificate is for another name or of another authority", "is its --tls-ca right?"
            case Listener.MUTUAL_TLS if self.cert is None:
                ca = "--tls-ca FILE, " if self.ca is None else ""
                return "it asks for a certificate of yours", f"give {ca}--tls-cert FILE and --tls-key FILE"
            case Listener.MUTUAL_TLS:
                return "it does not take your certificate", "is your --tls-cert of the authority that it trusts?"
            case Listener.PLAIN | Listener.TLS | Listener.SILENT:
                return words, "it is there and does not answer: is it an inference server, and does it stand still?"
