"""What is shown in one of two ways, by the room that there is: tables of figures are not to be folded."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


@dataclass(frozen=True, slots=True)
class Roomy:
    """`wide` where there are so many `columns` of characters, else `narrow`, which is made for 80."""

    columns: int
    wide: RenderableType
    narrow: RenderableType

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """As rich asks for it."""
        yield self.wide if options.max_width >= self.columns else self.narrow
