"""What must hold before a server starts: `serve` refuses at the first that does not, `doctor` shows them all."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
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
    """Whether certificates and their keys can be used: gRPC would not say what is wrong. Raises Refused."""
    _check_pem("--tls", settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    _check_pem("--admin-tls", settings.admin_tls_cert, settings.admin_tls_key, settings.admin_tls_client_ca)


def check_webhook(settings: ServerSettings) -> None:
    """Whether events can be signed and their receiver trusted; it is not asked. Raises Refused."""
    given = settings.webhook
    if not given.url:
        return
    from router.edge.webhook_post import secret_of, trusted  # noqa: PLC0415  # for those who have one

    try:
        secret_of(given.secret_file, given.secret_env, os.environ.get)
        trusted(given.ca_file)
    except SettingsError as error:
        wrong, _, mend = str(error).partition("; ")
        raise Refused(wrong, mend) from error


def _check_pem(flag: str, certificate: Path | None, key: Path | None, client_ca: Path | None) -> None:
    if certificate is None or key is None:
        return
    mend = "give PEM files that belong together"
    for name, path in ((f"{flag}-cert", certificate), (f"{flag}-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise Refused(f"{name} {path} cannot be read: {error.strerror}", mend) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        both = f"{flag}-cert {certificate} and {flag}-key {key}"
        reason = error.reason or "unreadable"
        raise Refused(f"{both} are not a certificate and its key in PEM ({reason})", mend) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:  # an SSLError is one
            wrong = f"{flag}-client-ca {client_ca} is no readable PEM file"
            raise Refused(wrong, "give the authority's certificate in PEM") from error


BEFORE_START: Final = (check_repository, check_tls, check_webhook, check_transport)
"""Those that the supervisor, which needs nothing but the standard library, cannot do itself."""
