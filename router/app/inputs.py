"""Which source feeds which input of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from router.app.conversion import Array, described, fit
from router.app.mistake import Wrong
from router.app.sources import NoSource, read
from router.client import ModelMetadata, TensorMetadata


def gather(signature: ModelMetadata, texts: tuple[str, ...], notes: list[str]) -> dict[str, Array]:
    """The arrays that go out, in the model's own datatypes and shapes. `texts` are `[NAME=]SOURCE`. Raises Wrong."""
    tensors = {tensor.name: tensor for tensor in signature.inputs}
    found: dict[str, Any] = {}
    for text in texts:
        for name, value in _named(text, signature, tensors, notes):
            if name in found:
                raise Wrong(f"input {name!r} is given twice: give each input once")
            found[name] = value
    if missing := [tensor for name, tensor in tensors.items() if name not in found]:
        wanted = described(missing)
        raise Wrong(f"{signature.name} needs {wanted}; give it with --input {missing[0].name}=FILE")
    return {name: fit(tensors[name], value, notes) for name, value in found.items()}


def _named(
    text: str, signature: ModelMetadata, tensors: Mapping[str, TensorMetadata], notes: list[str]
) -> Iterator[tuple[str, Any]]:
    """The inputs that one `[NAME=]SOURCE` gives."""
    name, equals, source = text.partition("=")
    if equals and name in tensors:
        yield name, _one(name, read(source, notes))
        return
    try:
        value = read(text, notes)
    except NoSource as error:
        if not equals:
            raise
        known = described(signature.inputs)
        raise Wrong(
            f"{signature.name} has no input {name[:80]!r}, and there is no file {text[:200]!r}; it has {known}"
        ) from error
    if isinstance(value, Mapping):
        yield from _matching(value, signature, notes).items()
    elif len(tensors) == 1:
        yield next(iter(tensors)), value
    else:
        raise Wrong(f"say which input {text[:40]!r} is for: NAME=…; the inputs are {described(signature.inputs)}")


def _matching(values: Mapping[str, Any], signature: ModelMetadata, notes: list[str]) -> dict[str, Any]:
    """Those of a file's arrays that are inputs: `input:NAME` before NAME, or the only array for the only input."""
    marked = {name.removeprefix("input:"): value for name, value in values.items() if name.startswith("input:")}
    values = marked or values
    names = {tensor.name for tensor in signature.inputs}
    if not names & values.keys() and len(names) == len(values) == 1:
        (only,) = values.values()
        return {next(iter(names)): only}
    if ignored := sorted(values.keys() - names):
        if not names & values.keys():
            raise Wrong(
                f"none of {', '.join(ignored)} is an input of {signature.name}; it has {described(signature.inputs)}"
            )
        notes.append(f"ignored {', '.join(ignored)}: no input of {signature.name}")
    return {name: value for name, value in values.items() if name in names}


def _one(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    for key in (f"input:{name}", name):
        if key in value:
            return value[key]
    if len(value) == 1:
        return next(iter(value.values()))
    raise Wrong(f"there is no {name!r} among {', '.join(sorted(value))}")
