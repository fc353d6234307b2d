"""The command `infer`: ask a model from the command line, with arrays from files or typed by hand."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

import click

from router.app.answer import as_object, show
from router.app.conversion import described
from router.app.inputs import gather
from router.app.mistake import Failed, Wrong, one_line
from router.app.pem import PEM
from router.app.reach import Reach
from router.app.seconds import Seconds
from router.client import Client, DeadlineExceeded, InferenceError, ModelMetadata, Unavailable

ASK_S: Final = 10.0
"""How long the question for the model's signature may take, seconds."""


@click.command()
@click.argument("model")
@click.option("-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="Where an input comes from.")
@click.option("--version", default="", metavar="V", help="Ask this version; the server chooses otherwise.")
@click.option("--target", default="127.0.0.1:8001", show_default=True, metavar="HOST:PORT", help="The server.")
@click.option("--deadline", type=Seconds(), metavar="SECONDS", help="Wait no longer.")
@click.option("--id", "request_id", default="", metavar="ID", help="Name the request: `router explain ID` tells of it.")
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="Ask for this output only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--tls-ca", type=PEM, help="Use TLS and trust the authority in this PEM file.")
@click.option("--tls-cert", type=PEM, help="Your certificate (PEM), for servers that ask for it.")
@click.option("--tls-key", type=PEM, help="Its key (PEM).")
def infer(
    *,
    model: str,
    inputs: tuple[str, ...],
    version: str,
    target: str,
    deadline: float | None,
    request_id: str,
    outputs: tuple[str, ...],
    as_json: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Ask MODEL and print its answer.

    FILE is .npy, .npz (arrays by name), .json (lists, or an object of lists by name), .csv or .txt (numbers), `-` for
    JSON from standard input, or the JSON itself: --input 'x=[[1,2],[3,4]]'. NAME may be left out when the model has
    one input. Values are converted to the model's datatype when nothing is lost but precision; a missing batch
    dimension is added.
    """
    for word in (model, version, *outputs):
        _utf8(word)
    reach = Reach(target, tls_ca, tls_cert, tls_key)
    with reach.client() as client:
        signature = _signature(client, reach, model, version)
        notes: list[str] = []
        arrays = gather(signature, inputs, notes)
        _known(outputs, signature)
        for note in notes:
            click.echo(one_line(note), err=True)
        start = time.perf_counter()
        try:
            reply = client.infer(
                model, arrays, version=version, outputs=outputs or None, id=request_id, deadline=deadline
            )
        except InferenceError as error:
            if isinstance(error, DeadlineExceeded) and error.by_client:
                raise Failed(f"no answer within {deadline:g} s; a longer --deadline may help") from error
            raise Failed(_words(client, reach, error)) from error
        took_ms = (time.perf_counter() - start) * 1e3
    if as_json:
        utf8 = (sys.stdout.encoding or "").lower() == "utf-8"
        click.echo(json.dumps(as_object(reply, took_ms), ensure_ascii=not utf8))
    else:
        show(reply, took_ms)


def _utf8(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise Wrong(f"{word[:80]!r} is not UTF-8 text: names are") from error


def _signature(client: Client, reach: Reach, model: str, version: str) -> ModelMetadata:
    try:
        return client.model_metadata(model, version, deadline=ASK_S)
    except InferenceError as error:
        if isinstance(error, DeadlineExceeded) and error.by_client:
            raise Failed(reach.missed(f"no answer within {ASK_S:g} s")) from error
        if error.code.name == "UNIMPLEMENTED":
            raise Failed(
                f"{reach.target} speaks gRPC, but this is not the inference port (8001): name that one with --target"
            ) from error
        raise Failed(_words(client, reach, error) + _instead(client, error)) from error


def _words(client: Client, reach: Reach, error: InferenceError) -> str:
    if isinstance(error, Unavailable) and not _lives(client):
        return reach.missed(error.message)
    if error.retry_after_ms is not None:
        return f"{error}; try again in {error.retry_after_ms} ms"
    return str(error)


def _lives(client: Client) -> bool:
    """Whether it was the server that said UNAVAILABLE, and not gRPC that found none."""
    try:
        return client.live(deadline=ASK_S)
    except InferenceError:
        return False


def _instead(client: Client, error: InferenceError) -> str:
    """What there is, for a model or version that there is not."""
    if error.code.name != "NOT_FOUND":
        return ""
    try:
        models = client.index(deadline=ASK_S)
    except InferenceError:
        return ""  # not every server keeps an index; the first error says enough
    return "; there is " + ", ".join(f"{m.name} {m.version} ({m.state})" for m in models) if models else ""


def _known(outputs: tuple[str, ...], signature: ModelMetadata) -> None:
    names = {tensor.name for tensor in signature.outputs}
    for name in outputs:
        if names and name not in names:
            raise Wrong(f"{signature.name} has no output {name!r}; it has {described(signature.outputs)}")
