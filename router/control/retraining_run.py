"""One run of a retraining command, from an empty folder to a version in the repository, or to the reason why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from router.config import RetrainingSettings
from router.control.aside import Aside
from router.control.recording_disk import DISK_FULL
from router.control.records import Case
from router.control.repository import FoundModel
from router.control.retraining_cases import RetrainingCases
from router.control.retraining_command import MARK, Ended, Job, Runner
from router.control.retraining_files import Files
from router.control.retraining_lineage import output_lines
from router.core.retraining import State
from router.errors import ModelBroken

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class End:
    """Why a run brings no version. `text` is one line for a person; `case` has what is known of the command."""

    case: Case
    state: State
    text: str


class Trainings:
    """Runs commands, and puts what they bring into the repository. `clock` gives seconds since 1970."""

    def __init__(
        self,
        cases: RetrainingCases,
        files: Files,
        runner: Runner,
        aside: Aside,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cases = cases
        self._files = files
        self._runner = runner
        self._aside = aside
        self._clock = clock

    async def run(self, case: Case, settings: RetrainingSettings, found: FoundModel) -> Case | End:
        """The case once its version is there, with its number and digest; or how the run ends. Raises RouterError.

        Cancelling it ends the command.
        """
        model = case.model
        if found.folder is None:
            return End(case, State.FAILED, "the model's directory is gone")
        try:
            recordings, _ = await self._aside.do(self._files.recordings, model)
            output = await self._aside.finish(self._files.begin, model, case.id)
        except OSError as error:
            return End(case, *_unwritten("no folder can be made for it", error))
        environment = {
            "ROUTER_MODEL": model,
            "ROUTER_PARENT_VERSION": str(case.body["parent"]),
            "ROUTER_TRIGGER": str(case.body["trigger"]),
            "ROUTER_RUN_ID": str(case.id),
            "ROUTER_MODEL_DIR": str(found.folder.absolute()),
            "ROUTER_RECORDINGS": str(recordings),
            MARK: str(output),
        }
        began, tail = self._clock(), b""
        try:
            job = Job(settings.command, environment, settings.timeout_s)
            ended = await self._runner.run(job, lambda count: self._flooded(case, count))
            tail = ended.tail
            told = {"took_s": self._clock() - began, "output": output_lines(tail), "output_bytes": ended.output_bytes}
            known = replace(case, body={**case.body, **told, "exit_code": ended.code})
            if (wrong := _verdict(ended, settings)) is not None:
                return End(known, *wrong)
            return await self._placed(known, found.folder, found.filename)
        finally:
            await self._tidied(case, tail)

    async def _placed(self, case: Case, folder: Path, filename: str) -> Case | End:
        """Make a version of what was brought."""
        model, loop = case.model, asyncio.get_running_loop()
        made: list[Case] = []
        try:
            brought = await self._aside.do(self._files.brought, model, case.id, filename)
            if not brought.files:
                nothing = "the command ended well and brought nothing: it is to write into $ROUTER_OUTPUT_DIR"
                return End(case, State.EMPTY, nothing)
            if not brought.model:
                files = f"{brought.files} file{'s' if brought.files > 1 else ''}"
                return End(case, State.EMPTY, f"the command ended well and brought {files}, but no {filename}")
            if twin := await self._aside.do(self._cases.twin, model, brought.digest):
                same = f"the same model: its files are those of version {twin}, so it is not taken"
                return End(case, State.SAME, same)

            def taken(number: int) -> None:
                """Durable before the version has its name: whoever finds it knows where it comes from."""
                body = {**case.body, "text": "its version goes through its gates"}
                named = replace(case, number=str(number), digest=brought.digest, state=State.BROUGHT, body=body)
                made[:] = [asyncio.run_coroutine_threadsafe(self._cases.put(named), loop).result()]

            number = int(next(iter(self._cases.versions(model)), "0")) + 1
            await self._aside.finish(self._files.place, model, case.id, folder, number, taken)
        except ModelBroken as error:
            return End(case, State.FAILED, f"what the command brought is no version: {error}")
        except OSError as error:
            return End(case, *_unwritten("what the command brought cannot be put into the repository", error))
        return made[0]

    async def _tidied(self, case: Case, tail: bytes) -> None:
        try:
            await self._aside.finish(self._files.end, case.model, case.id, tail)
        except OSError as error:
            log.warning("the output of a retraining is not kept", retraining=case.id, reason=error.strerror)

    def _flooded(self, case: Case, count: int) -> None:
        text = f"the output of retraining {case.id} is a flood, {count >> 20} MiB so far: it is read slowly from now on"
        self._cases.tell(case, text, flood=count)


def _verdict(ended: Ended, settings: RetrainingSettings) -> tuple[State, str] | None:
    """How a run ends whose command did not end well; None where it did."""
    said = f": {last}" if (last := ended.last_line()) else ""
    if ended.error:
        return State.UNSTARTED, f"the command cannot be started: {settings.command[0][:200]}: {ended.error}"
    if ended.timed_out:
        return State.TIMEOUT, f"the command was ended after {settings.timeout_s:g} s (timeout_s){said}"
    if ended.code:
        return State.FAILED, f"the command failed, {ended.how()}{said}"
    return None


def _unwritten(what: str, error: OSError) -> tuple[State, str]:
    full = error.errno in DISK_FULL
    mend = "; free some room, and another run may begin" if full else ""
    return State.FULL if full else State.FAILED, f"{what}: {error.strerror or type(error).__name__}{mend}"
