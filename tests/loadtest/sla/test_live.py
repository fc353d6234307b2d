"""The result in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from loadtest.sla.live import show
from tests.loadtest.sla.test_page import document


def test_notes_are_shown() -> None:
    """Below the figures that they are about."""
    out = io.StringIO()
    show(Console(file=out, width=80, markup=False), {**document(), "notes": ["phase [x] ended early"]})
    assert "\nnote: phase [x] ended early\n" in out.getvalue()
