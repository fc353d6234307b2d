"""Structured logs: lines for a person at a terminal, JSON for everything else."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog


def configure(log_format: Literal["auto", "console", "json"], process: str) -> None:
    """Send the logs of this process to standard error, those of libraries too; every line names the process."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        # Plain tracebacks: others show what stands in variables, and that may be somebody's secret.
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )

    def named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "process": process}

    processors: list[structlog.typing.Processor] = [
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if console:
        processors.append(harmless)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    libraries = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter
    libraries.setFormatter(
        formatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *processors],
            processors=[formatter.remove_processors_meta, renderer],
        )
    )
    logging.getLogger().addHandler(libraries)


def harmless(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Texts of others at a terminal: a control character is shown, and does nothing. JSON escapes them by itself."""
    return {name: _shown(value, lines=name == "exception") for name, value in event.items()}


def _shown(value: Any, *, lines: bool = False) -> Any:
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(c if c.isprintable() or (lines and c == "\n") else repr(c)[1:-1] for c in value)
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value
