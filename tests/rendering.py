"""What a terminal would show, as text."""

from __future__ import annotations

import io
import re

from rich.console import Console, RenderableType


def rendered(*parts: RenderableType, width: int = 220) -> str:
    """On a terminal so wide, without the colours; whatever else would act on the terminal stays."""
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    for part in parts:
        out.print(part)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())  # type: ignore[attr-defined]
