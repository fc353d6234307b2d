"""Messages as objects for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message


def plain(value: Any) -> Any:
    """A message with all its fields, those without a value too. Numbers are numbers: protobuf's own JSON makes text
    of 64-bit integers."""
    if isinstance(value, Message):
        return {
            field.name: plain(getattr(value, field.name))
            for field in value.DESCRIPTOR.fields
            if not field.has_presence or value.HasField(field.name)
        }
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, str | bool | int | float):
        return value
    return [plain(each) for each in value]
