"""Certificates and keys in files, for a client's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import click

from router.app.mistake import Wrong

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


def check_together(ca: Path | None, cert: Path | None, key: Path | None, flag: str) -> None:
    """Whether the options `{flag}-ca`, `{flag}-cert` and `{flag}-key` go together. Raises Wrong."""
    if (cert is None) != (key is None):
        raise Wrong(f"{flag}-cert and {flag}-key go together: give both or neither")
    if cert is not None and ca is None:
        raise Wrong(f"{flag}-cert and {flag}-key need {flag}-ca FILE: the authority of the server's certificate (PEM)")


def context(ca: Path, cert: Path | None, key: Path | None, flag: str) -> ssl.SSLContext:
    """TLS as gRPC does it. Raises Wrong for files that cannot be used: gRPC would only log why."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as gRPC does
    try:
        made.load_verify_locations(ca)
    except OSError as error:
        raise Wrong(f"{flag}-ca {ca} is no readable certificate: give a PEM file") from error
    if cert is not None:
        try:
            made.load_cert_chain(cert, key, password="")
        except OSError as error:
            raise Wrong(
                f"{flag}-cert {cert} and {flag}-key {key} are not a certificate and its key: give PEM files that belong"
                " together"
            ) from error
    return made
