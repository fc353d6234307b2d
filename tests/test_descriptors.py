"""Our messages and services against those of another client library of the protocol, field by field."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from router.pb import inference_pb2, model_config_pb2

PYTHON = Path(__file__).parents[1] / ".venv-triton/bin/python"
DESCRIBE = """
import json

def field(f):
    repeated = f.is_repeated if hasattr(f, "is_repeated") else f.label == FieldDescriptor.LABEL_REPEATED
    kind = f.message_type.full_name if f.message_type else f.enum_type.full_name if f.enum_type else f.type
    oneof = f.containing_oneof.name if f.containing_oneof else ""
    return [f.number, kind, bool(repeated), oneof]

def message(m, into):
    into[m.full_name] = {f.name: field(f) for f in m.fields}
    for nested in m.nested_types:
        message(nested, into)

def describe(files):
    messages, enums, services = {}, {}, {}
    for file in files:
        for m in file.message_types_by_name.values():
            message(m, messages)
        for service in file.services_by_name.values():
            services[service.full_name] = {
                m.name: [m.input_type.full_name, m.output_type.full_name, m.client_streaming, m.server_streaming]
                for m in service.methods
            }
        for e in file.enum_types_by_name.values():
            enums[e.full_name] = {v.name: v.number for v in e.values}
        todo = list(file.message_types_by_name.values())
        while todo:
            m = todo.pop()
            todo += m.nested_types
            for e in m.enum_types:
                enums[e.full_name] = {v.name: v.number for v in e.values}
    return {"messages": messages, "enums": enums, "services": services}
"""
THEIRS = """
from tritonclient.grpc import model_config_pb2, service_pb2
print(json.dumps(describe([service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR])))
"""
OMITTED = ("SharedMemory", "TraceSetting", "LogSettings")
"""Methods that answer UNIMPLEMENTED: they have no messages here."""


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """What the other library says."""
    if not (PYTHON.parents[1] / "installed").exists():
        pytest.skip("`make .venv-triton/installed` makes the other library's environment")
    done = subprocess.run(
        [str(PYTHON), "-c", DESCRIBE + THEIRS], capture_output=True, text=True, timeout=60, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    """What we say."""
    names: dict[str, Any] = {}
    exec(DESCRIBE, names)
    described = names["describe"]([inference_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR])
    said: dict[str, Any] = json.loads(json.dumps(described))
    return said


def test_messages_are_the_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Each message that we have has the same fields: name, number, type, repeated or not, oneof. None is missing."""
    assert len(ours["messages"]) > 50
    assert set(ours["messages"]) <= set(theirs["messages"])
    different = {
        (name, field)
        for name, fields in ours["messages"].items()
        for field in {*fields, *theirs["messages"][name]}
        if fields.get(field) != theirs["messages"][name].get(field)
    }
    assert not different


def test_enums_are_the_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Names and numbers."""
    assert ours["enums"]
    for name, values in ours["enums"].items():
        assert values == theirs["enums"][name], name


def test_services_are_the_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Methods, their messages and which side streams; what we leave out is shared memory, traces and logs."""
    (service,) = ours["services"]
    mine, other = ours["services"][service], theirs["services"][service]
    for name, shape in mine.items():
        assert shape == other[name], name
    assert all(any(part in name for part in OMITTED) for name in set(other) - set(mine))


def test_every_message_of_a_method_is_there(ours: dict[str, Any]) -> None:
    """Types that fields and methods name are described too."""
    known = set(ours["messages"]) | set(ours["enums"])
    for fields in ours["messages"].values():
        assert {kind for _, kind, _, _ in fields.values() if isinstance(kind, str)} <= known
