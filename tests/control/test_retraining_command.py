"""Commands with real processes: how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from router.control.retraining_command import TAIL_BYTES, Commands, Ended, Job
from tests.control.lifecycle_fakes import run, settled


def sh(script: str, timeout_s: float = 10.0, **environment: str) -> Job:
    """A tiny program."""
    return Job(("/bin/sh", "-c", script), environment, timeout_s)


async def ended(job: Job, commands: Commands | None = None) -> Ended:
    """How it ends."""
    return await (commands or Commands()).run(job, lambda count: None)  # noqa: ARG005


def alive(mark: str) -> list[int]:
    """Processes with this in their environment."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get("MARK") == mark and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def mark() -> str:
    """By which the processes of a test are known."""
    return uuid.uuid4().hex


def test_a_command_that_ends_well() -> None:
    """With what it was given, behind all others, and with both of its outputs."""

    async def test() -> None:
        made = await ended(sh("echo out $WORD; echo err >&2; until test $(nice) = 10; do :; done; nice", WORD="x"))
        assert (made.code, made.error, made.timed_out) == (0, "", False)
        assert made.tail == b"out x\nerr\n10\n"
        assert made.output_bytes == len(made.tail)

    run(test())


def test_a_command_is_behind_what_is_served_where_sessions_share_the_cores() -> None:
    """There a nice value counts within a session only; elsewhere there is nothing to set."""

    async def test() -> None:
        script = "for i in $(seq 200); do grep -q 'nice 10$' /proc/self/autogroup && break; sleep 0.01; done"
        made = await ended(sh(f"test ! -e /proc/self/autogroup || {{ {script}; grep 'nice' /proc/self/autogroup; }}"))
        assert made.code == 0
        assert made.tail.strip().endswith(b"nice 10") or not Path("/proc/self/autogroup").exists()

    run(test())


def test_a_command_that_fails() -> None:
    """The exit code and the last line say why; a signal has its name; control characters are told, not sent."""

    async def test() -> None:
        made = await ended(sh("echo begun; printf 'no \\033[31mdata\\n\\n'; exit 3"))
        assert (made.how(), made.last_line()) == ("exit code 3", "no \\u001b[31mdata")
        made = await ended(sh("kill -9 $$"))
        assert (made.how(), made.last_line()) == ("signal SIGKILL", "")

    run(test())


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/no/such/program",), "No such file or directory"),
        (("/",), "Permission denied"),
        (("a" * 5000,), "File name too long"),
    ],
)
def test_a_command_that_cannot_be_started(command: tuple[str, ...], reason: str) -> None:
    """The reason of the system."""

    async def test() -> None:
        assert (await ended(Job(command, {}, 1.0))).error == reason

    run(test())


def test_a_command_that_hangs_is_ended_with_all_that_it_started(mark: str) -> None:
    """It is asked first, and killed where it does not listen."""

    async def test() -> None:
        commands = Commands(grace_s=0.1)
        made = await ended(sh("trap '' TERM; sleep 60 & echo on; while :; do sleep 60; done", 0.2, MARK=mark), commands)
        assert (made.timed_out, made.code, made.tail) == (True, -9, b"on\n")
        made = await ended(sh("sleep 60", 0.1, MARK=mark), Commands())
        assert (made.timed_out, made.code) == (True, -15)
        assert not alive(mark)

    run(test())


def test_what_a_command_leaves_behind_is_ended(mark: str) -> None:
    """Though it holds the output open."""

    async def test() -> None:
        made = await ended(sh("sleep 60 & echo done", MARK=mark))
        assert (made.code, made.tail, alive(mark)) == (0, b"done\n", [])

    run(test())


def test_what_it_leaves_behind_in_a_group_of_its_own_is_ended(mark: str, tmp_path: Path) -> None:
    """By the folder that only they know."""

    async def test() -> None:
        there = tmp_path / "there"
        script = f"setsid sh -c 'touch {there}; sleep 60' & until test -e {there}; do :; done"
        made = await ended(sh(script, MARK=mark, ROUTER_OUTPUT_DIR=str(tmp_path)))
        assert (made.code, alive(mark)) == (0, [])

    run(test())


def test_a_server_that_has_many_files_open_hears_its_command() -> None:
    """More than 1024, where `select` ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2048), hard), hard))
    try:
        with contextlib.ExitStack() as files:
            for _ in range(1100):
                files.enter_context(open(os.devnull, "rb"))
            made = asyncio.run(ended(sh("echo heard")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (made.error, made.tail) == ("", b"heard\n")


def test_a_flood_is_told_once_and_taken_slowly() -> None:
    """The last 64 KiB are kept, whatever comes."""

    async def test() -> None:
        told: list[int] = []
        commands = Commands(grace_s=0.1, flood_bytes=1 << 20)
        made = await commands.run(sh("yes flood", 0.3), told.append)
        assert made.timed_out
        assert len(told) == 1
        assert told[0] > 1 << 20
        assert made.output_bytes < 32 << 20
        assert len(made.tail) == TAIL_BYTES
        assert made.last_line().startswith("flood")

    run(test())


def test_whoever_is_cancelled_ends_its_command(mark: str, tmp_path: Path) -> None:
    """Before the cancellation has come to its end."""

    async def test() -> None:
        there = tmp_path / "there"
        task = asyncio.ensure_future(ended(sh(f"touch {there}; sleep 60", MARK=mark)))
        await settled(there.exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(mark)

    run(test())


def test_what_an_earlier_controller_left_is_ended_by_its_environment(mark: str, tmp_path: Path) -> None:
    """Only that, whatever processes there are; also what has left its group."""

    async def test() -> None:
        there = tmp_path / "there"
        script = f"import os,time; os.fork() or os.setsid(); open({str(there)!r},'a').write('x'); time.sleep(60)"
        words = (sys.executable, "-S", "-c", script)
        process = await asyncio.create_subprocess_exec(*words, env={**os.environ, "MARK": mark})
        other = await asyncio.create_subprocess_exec("sleep", "60", env={**os.environ, "MARK": mark + "0"})
        await settled(lambda: there.exists() and there.read_text() == "xx")
        assert await asyncio.to_thread(Commands().end_left, "MARK", mark) == 2
        assert not alive(mark)
        assert len(alive(mark + "0")) == 1
        other.kill()
        await asyncio.gather(process.wait(), other.wait())
        assert await asyncio.to_thread(Commands().end_left, "MARK", mark) == 0

    run(test())
