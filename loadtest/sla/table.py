"""What all tables of a scenario have in common."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

MOST_WAIT_S: Final = 600.0
"""Of a deadline, of a command, of a call."""


class Table(BaseModel):
    """Keys that nobody knows are mistakes, and so are numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
