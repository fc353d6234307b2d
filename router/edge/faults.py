"""Faults as they travel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from router.core.faults import Fault
from router.model_settings import ModelSettings, fault_settings
from router.pb import faults_pb2 as pb


def to_messages(faults: Iterable[Fault]) -> list[pb.Fault]:
    """Faults as messages."""
    return [pb.Fault(**fault.model_dump(exclude_none=True)) for fault in faults]


def from_messages(messages: Iterable[pb.Fault]) -> tuple[Fault, ...]:
    """The faults in messages, which have been checked."""
    return tuple([Fault.model_validate(_table(message)) for message in messages])


def checked(model: str, messages: Iterable[pb.Fault], settings: ModelSettings) -> tuple[Fault, ...]:
    """The faults in messages, for a model of these settings. Raises SettingsError."""
    return fault_settings([_table(message) for message in messages], settings, f"model '{model}'")


def _table(message: pb.Fault) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
