"""`router recordings`: what is recorded of a model, and its rows as training data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeVar

import click
import numpy as np
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Failed, Wrong
from router.app.roomy import Roomy
from router.app.terminal import NOTHING, console, json_option, moment, print_json, say, size, text
from router.app.version_name import model_argument
from router.control.recorded import RecordedFile, Recordings
from router.errors import InvalidRequest
from router.pb.recording_pb2 import GetRecordingRequest, Recording
from router.pb.recording_pb2_grpc import RecordingsStub

Value = TypeVar("Value")

NEWEST: Final = 20
"""Files that are shown, where not all are asked for."""
ALL: Final = 108
"""Columns of a terminal for all that is known of a file in its line."""


@click.command()
@model_argument
@click.option(
    "--export",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all rows as training data: .npz or .parquet.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Read the recordings in this folder, such as a copy; no server is asked.",
)
@click.option("--all", "everything", is_flag=True, help=f"All files, not the newest {NEWEST}.")
@admin_option
@json_option
def recordings(
    model: str, target: Path | None, folder: Path | None, everything: bool, reach: AdminReach, as_json: bool
) -> None:
    """Show the files in which requests to MODEL, their answers and what came true are recorded.

    `[recording] enabled = true` in model.toml has them recorded. What came true is joined when the files are read.
    """
    about = Recording(model=model, folder=str(folder)) if folder is not None else _asked(reach, model)
    found = Recordings(Path(about.folder))
    if target is not None:
        say(_export(found, target))
    if target is None or as_json:
        files = _read(lambda: found.files() if Path(about.folder).is_dir() else [])
        _show(about, files, everything=everything, as_json=as_json, known=folder is None)
    for name in found.damaged:
        click.echo(f"left out: {text(name).plain} is damaged", err=True)


def _asked(reach: AdminReach, model: str) -> Recording:
    with reach.asked() as client:
        answer: Recording = client.other(RecordingsStub, "GetRecording", GetRecordingRequest(model=model))
    return answer


def _read(work: Callable[[], Value]) -> Value:
    """Raises Failed where the folder cannot be read."""
    try:
        return work()
    except OSError as error:
        raise Failed(f"the recordings cannot be read ({error.strerror}): may you read the server's files?") from error


def _nothing(about: Recording, *, known: bool) -> None:
    if not known:
        say(f"there are no recordings in {about.folder}: files that begin with rows- and end with .parquet are meant")
    elif not about.enabled:
        say(f"nothing is recorded of {about.model}: set `enabled = true` under [recording] in its model.toml")
    else:
        say(
            f"no file is there yet: of {about.model} one is written every `rotate_s`; on another machine than the"
            f" server's, copy {about.folder} and give it as --folder"
        )


def _show(about: Recording, files: list[RecordedFile], *, everything: bool, as_json: bool, known: bool) -> None:
    rows = [each for each in files if each.name.startswith("rows-")]
    if as_json:
        print_json(
            {
                "model": about.model,
                "enabled": about.enabled,
                "folder": about.folder,
                "written": about.written,
                "lost": about.lost,
                "trouble": about.trouble,
                "rows": sum(each.rows for each in rows),
                "nbytes": sum(each.nbytes for each in files),
                "files": [{key: value for key, value in asdict(each).items() if value is not None} for each in files],
            }
        )
        return
    if not files:
        _nothing(about, known=known)
        _pauses(about)
        return
    shown = files if everything else files[-NEWEST:]
    console().print(Roomy(ALL, _table(shown), _in_short(shown)))
    if len(shown) < len(files):
        say(f"{len(files) - len(shown)} older files: --all shows them")
    say(f"{sum(each.rows for each in rows)} rows in {size(sum(each.nbytes for each in files))}, in {about.folder}")
    if known:
        lost = f", {about.lost} found no room" if about.lost else ""
        say(f"since the controller began {about.written} rows were written{lost}")
    if known and not about.enabled:
        say("no more is recorded: `enabled = true` under [recording] in its model.toml is missing")
    _pauses(about)


def _pauses(about: Recording) -> None:
    if about.trouble:
        say(f"recording pauses: {about.trouble}")


def _table(files: Sequence[RecordedFile]) -> Table:
    """A line a file."""
    made = Table()
    made.add_column("file", overflow="fold")
    made.add_column("rows", justify="right")
    made.add_column("size", justify="right")
    made.add_column("from")
    made.add_column("to")
    for each in files:
        made.add_row(text(each.name), _count(each), size(each.nbytes), _at(each.first), _at(each.last))
    return made


def _in_short(files: Sequence[RecordedFile]) -> Table:
    """Without lines and ends, so that names are whole on a narrow terminal."""
    made = Table(box=None, pad_edge=False)
    made.add_column("file", overflow="fold")
    made.add_column("rows", justify="right", no_wrap=True)
    made.add_column("size", justify="right", no_wrap=True)
    made.add_column("from", no_wrap=True)
    for each in files:
        made.add_row(text(each.name), _count(each), size(each.nbytes), _at(each.first))
    return made


def _count(file: RecordedFile) -> str:
    return "damaged" if file.damaged else str(file.rows)


def _at(seconds: float | None) -> str:
    return NOTHING if seconds is None else moment(seconds)


def _export(found: Recordings, target: Path) -> str:
    """Write all rows to a file, as a whole or not at all; what was written."""
    kind = target.suffix.lower()
    half = target.with_name(target.name + ".part")
    try:
        if kind == ".npz":
            arrays = _read(found.arrays)
            with half.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are names of arrays
            rows = len(arrays["id"])
        elif kind == ".parquet":
            from pyarrow import parquet  # noqa: PLC0415  # only here

            table = _read(found.table)
            parquet.write_table(table, half)
            rows = table.num_rows
        else:
            raise Wrong(f"{target.name}: give a .npz or a .parquet file")
        os.replace(half, target)
    except InvalidRequest as error:
        raise Failed(str(error)) from error
    except OSError as error:
        half.unlink(missing_ok=True)
        raise Failed(f"{target} cannot be written ({error.strerror}): name a file in a folder of yours") from error
    return f"{rows} rows written to {target}"
