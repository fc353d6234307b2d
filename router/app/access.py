"""Who may do what, from the settings: the register, the admin port's TLS, and what is open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.config import ServerSettings, local
from router.core.access import Actor, Register, Role
from router.edge.transport import Credentials
from router.errors import SettingsError


def register_of(settings: ServerSettings) -> Register:
    """Who is known, by token and by certificate."""
    return Register(
        {token.sha256: Actor(name, _role(token.role)) for name, token in settings.tokens.items()},
        {name: Actor(name, _role(role)) for name, role in settings.access.certificates.items()},
    )


def _role(word: str) -> Role:
    return Role[word.upper()]


def admin_credentials(settings: ServerSettings) -> Credentials | None:
    """TLS of the admin port; None without. Raises SettingsError.

    It has files of its own: an authority that says who may ask for answers does not say who may change what answers.
    """
    return credentials(settings.admin_tls_cert, settings.admin_tls_key, settings.admin_tls_client_ca)


def credentials(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Credentials | None:
    """The texts of PEM files; None without a certificate. Raises SettingsError."""
    if certificate is None or key is None:
        return None
    try:
        return Credentials(key.read_bytes(), certificate.read_bytes(), client_ca.read_bytes() if client_ca else None)
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """What anybody may do, or overhear, who reaches a port, and what closes it. As a text it is one line."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


def open_doors(settings: ServerSettings) -> list[OpenDoor]:
    """All of them. They are said at the start."""
    doors = []
    loads = settings.model_control == "explicit" and not local(settings.grpc)
    if not settings.guarded:
        what = f"the admin port {settings.admin} is open to every program on this machine"
        doors.append(OpenDoor(what, "`router token create NAME --role admin --config FILE` closes it"))
        if loads:
            what = f"whoever reaches {settings.grpc} may load and unload models"
            doors.append(OpenDoor(what, "`router token create NAME --role operator --config FILE` closes that"))
    elif settings.tokens:
        if settings.admin_tls_cert is None and not local(settings.admin):
            what = f"tokens come to the admin port {settings.admin} in the clear"
            doors.append(OpenDoor(what, "give --admin-tls-cert and --admin-tls-key, unless TLS ends in front of it"))
        if settings.tls_cert is None and loads:
            what = f"tokens for loads and unloads come to {settings.grpc} in the clear"
            doors.append(OpenDoor(what, "give --tls-cert and --tls-key, unless TLS ends in front of it"))
    return doors
