"""What is done while a scenario's load is sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from loadtest.sla.table import MOST_WAIT_S, Table
from loadtest.sla.units import Duration
from router.core.faults import Fault


class _Action(Table):
    at: Duration
    """Since the start, or since that of the `phase`."""
    phase: str = ""
    every: Duration | None = Field(None, gt=0)
    """Done again and again, so long after each other."""
    until: Duration | None = None
    """No more from then on, counted as `at` is; without it, to the end."""


class ProcessAction(_Action):
    """A signal to a process of the server: `kill`, `stop` (SIGSTOP), `continue`, `hang_up` (look at the repository)."""

    do: Literal["kill", "stop", "continue", "hang_up"]
    what: str = "supervisor"
    """`worker-0`, `controller`, `supervisor`."""


class PublishAction(_Action):
    """A version that was left out at the start is put into the repository, and the server looks at it again."""

    do: Literal["publish"]
    model: str
    version: str


class ModelAction(_Action):
    """`load` or `unload` by the protocol."""

    do: Literal["load", "unload"]
    model: str


class AdminAction(_Action):
    """A call of the admin service: `call` is its method, `request` its message.

    It has `within` to be answered. What is ABORTED, since it came in the way of another change, is tried again.
    """

    do: Literal["admin"]
    call: str
    request: dict[str, Any] = Field(default_factory=dict)
    within: Duration = Field(30.0, gt=0, le=MOST_WAIT_S)


class FaultAction(_Action):
    """A model is made to fail, or to be well again: `faults` as in its `model.toml`, in the place of those before."""

    do: Literal["fault"]
    model: str
    faults: tuple[Fault, ...] = ()


class ShellAction(_Action):
    """A command of the operator: the server's addresses are in its environment, this installation in its path."""

    do: Literal["shell"]
    command: str
    within: Duration = Field(30.0, gt=0, le=MOST_WAIT_S)


Action = Annotated[
    ProcessAction | PublishAction | ModelAction | AdminAction | FaultAction | ShellAction, Field(discriminator="do")
]
