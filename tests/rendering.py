"""What a terminal would show, as text."""

from __future__ import annotations

import io
import re

from rich.console import Console, RenderableType


def rendered(*parts: RenderableType) -> str:
    """On a wide terminal, without the colours; whatever else would act on the terminal stays."""
    out = Console(file=io.StringIO(), width=220, force_terminal=True, color_system="standard")
    for part in parts:
        out.print(part)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())  # type: ignore[attr-defined]
