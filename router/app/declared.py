"""`router diff` and `router apply`: what a file declares of the models, for Git."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from router.app.admin_reach import AdminReach, admin_option
from router.app.mistake import Wrong
from router.app.order import reason_option
from router.app.terminal import console, json_option, print_json, say, text
from router.control.declared import DONE, FAILED, NOT_DONE
from router.core.declared import LARGEST
from router.pb.admin_pb2 import ApplyResponse, ApplyStep

DIFFERS: Final = 3
"""The exit code of a difference."""

file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), metavar="FILE"
)


@click.command(
    epilog="Exit code 0: nothing differs, or what does is on its way. 1: the file cannot be applied, or no server"
    " answers. 2: a mistake on the command line or in the file. 3: something differs."
)
@file_argument
@admin_option
@json_option
def diff(file: Path, reach: AdminReach, as_json: bool) -> None:
    """Show what `router apply FILE` would do, without doing it. FILE is TOML; - is standard input.

    A file names what it is about, the rest is left alone: `frozen`, and under [models.NAME] `champion`, `strategy`
    (swap, canary), `importance`, `frozen`, `fallback`, `aliases`, `challengers`.
    """
    declared = read(file)
    with reach.asked() as client:
        found = client.diff(declared)
    differs = [each for each in found.steps if not each.outcome]
    if as_json:
        print_json(found)
    elif not _told(found):
        say(f"{_steps(len(differs))} to what the file declares" if differs else "nothing is left to do")
    if found.conflicts:
        raise SystemExit(1)
    if differs:
        raise SystemExit(DIFFERS)


@click.command(
    epilog="Exit code 0: it is so, or on its way. 1: the file cannot be applied, a step was refused, or no server"
    " answers. 2: a mistake on the command line or in the file."
)
@file_argument
@reason_option
@admin_option
@json_option
def apply(file: Path, reason: str, reach: AdminReach, as_json: bool) -> None:
    """Bring models to what FILE declares, step by step: `router diff FILE` shows first what would be done.

    FILE is TOML; - is standard input. A file that fights with a canary or a trial that is under way is refused whole.
    The audit log has the SHA-256 of the file. Applied again it does nothing.
    """
    declared = read(file)
    with reach.asked() as client:
        done = client.apply(declared, reason)
    outcomes = Counter(each.outcome.partition(":")[0] for each in done.steps)
    refused = bool(outcomes[FAILED] or done.conflicts)
    if as_json:
        print_json(done)
    elif not _told(done):
        late = len(done.steps) - outcomes[DONE] - outcomes[FAILED] - outcomes[NOT_DONE]
        parts = [f"{_steps(outcomes[DONE])} done"] if outcomes[DONE] else []
        parts += [f"{late} on the way"] if late else []
        parts += [f"1 refused, {outcomes[NOT_DONE]} not done"] if outcomes[FAILED] else []
        told = ", ".join(parts) or "nothing to do"
        say(f"{told} (generation {done.generation})")
    if refused:
        raise SystemExit(1)


def read(file: Path) -> str:
    """The text of a file, or of standard input. Raises Wrong."""
    name = "standard input" if str(file) == "-" else file.name
    try:
        with click.open_file(str(file), "rb") as stream:
            content: bytes = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Wrong(f"{name} is too large: {LARGEST} bytes are the most")
        return content.decode("utf-8")
    except OSError as error:
        raise Wrong(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Wrong(f"{name} cannot be read: is not UTF-8 text") from error


def _told(found: ApplyResponse) -> bool:
    """Print the steps, or why there are none; whether that was all that there is to say."""
    for conflict in found.conflicts:
        console().print(text(conflict, "red"))
    if found.conflicts:
        say("the file cannot be applied as it is: nothing was done")
        return True
    if found.steps:
        console().print(shown(found.steps))
    return False


def shown(steps: Sequence[ApplyStep]) -> Table:
    """A line for each step, with what became of it if something has."""
    made = Table(show_header=False, box=None, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    made.add_column(overflow="fold")
    for each in steps:
        made.add_row(text(each.action), text(each.text), text(each.outcome, _style(each.outcome)))
    return made


def _style(outcome: str) -> str:
    if outcome == DONE:
        return "green"
    return "red" if outcome == NOT_DONE or outcome.startswith(FAILED) else "yellow"


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
