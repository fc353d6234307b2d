"""What must hold before a server starts: `serve` refuses at the first that does not, `doctor` shows them all."""

from __future__ import annotations

import ssl
from typing import Final

from router.app.refusal import Refused
from router.config import ServerSettings
from router.control.repository import named, scan
from router.edge.core_transport import supported
from router.errors import SettingsError


def check_transport(settings: ServerSettings) -> None:
    """Whether grpcio can carry the transport. Raises Refused."""
    if settings.transport == "core" and (reason := supported()):
        wrong, _, mend = reason.partition("; ")
        raise Refused(wrong, mend)


def check_repository(settings: ServerSettings) -> None:
    """Whether there is a repository, with the models that are to be loaded. Raises Refused."""
    if not settings.models.is_dir():
        raise Refused(f"the model repository {settings.models} is no directory", "name one with --models DIR")
    try:
        found = scan(settings.models)
    except SettingsError as error:
        raise Refused(str(error), "make it readable to this user, or name another with --models DIR") from error
    try:
        named(found, settings.load_models)
    except SettingsError as error:
        raise Refused(str(error), "correct --load-model (load_models)") from error


def check_tls(settings: ServerSettings) -> None:
    """Whether the certificate and its key can be used: gRPC would not say what is wrong. Raises Refused."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    mend = "give PEM files that belong together"
    for flag, path in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise Refused(f"{flag} {path} cannot be read: {error.strerror}", mend) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except ssl.SSLError as error:
        both = f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key}"
        reason = error.reason or "unreadable"
        raise Refused(f"{both} are not a certificate and its key in PEM ({reason})", mend) from error
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:  # an SSLError is one
            wrong = f"--tls-client-ca {settings.tls_client_ca} is no readable PEM file"
            raise Refused(wrong, "give the authority's certificate in PEM") from error


BEFORE_START: Final = (check_repository, check_tls, check_transport)
"""Those that the supervisor, which needs nothing but the standard library, cannot do itself."""
