"""A version's files: which of them may be read, and the digest that names them.

A version directory is written by whoever trains. Nothing in it may lead outside of it: every file that a load would
read is looked at before the load, the weights that a model keeps beside itself (external data) included.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from router.errors import ModelBroken

DATA_DIRECTORIES: Final = frozenset({"golden", "exam", "reference"})
"""Sub-directories with data *about* the model. They are no part of the digest, so no weights may lie in them."""

COMPLETE: Final = "READY"
"""An empty file of this name says that a version has been copied as a whole. It is no part of it either."""

MODEL_LIMIT_BYTES: Final = 2**31 - 1
"""A protobuf message cannot be larger; bigger models keep their weights in files beside it."""

_CHUNK_BYTES: Final = 1 << 20
_IN_MEMORY_MARK: Final = "*"
# ONNX Runtime takes "*/_ORT_MEM_ADDR_/*" in the place of a file for an address in its own memory.

_ELEMENT_BITS: Final[dict[int, int]] = {
    **dict.fromkeys((25, 26), 2),  # UINT2, INT2
    **dict.fromkeys((21, 22, 23), 4),  # UINT4, INT4, FLOAT4E2M1
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # UINT8, INT8, BOOL, the kinds of float8
    **dict.fromkeys((4, 5, 10, 16), 16),  # UINT16, INT16, FLOAT16, BFLOAT16
    **dict.fromkeys((1, 6, 12), 32),  # FLOAT, INT32, UINT32
    **dict.fromkeys((7, 11, 13, 14), 64),  # INT64, DOUBLE, UINT64, COMPLEX64
    15: 128,  # COMPLEX128
}
"""Bits of one element by TensorProto.DataType, for those that may lie in a file of their own."""


def shown(text: str | bytes, limit: int = 80) -> str:
    """A name out of somebody else's file, fit for a message: one line, no control characters, not endless.

    The format's reader gives bytes where a name is not UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    safe = "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else f"\\u{ord(c):04x}" for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def digest(directory: Path) -> str:
    """SHA-256 (hex) over the sorted relative names and the contents of a version's files.

    Every file counts (the model, its external data, whatever else lies there), except those in DATA_DIRECTORIES and
    COMPLETE.
    A symbolic link counts by its text, and the file it leads to, which must be in the directory too, by itself.
    Raises ModelBroken where a link leaves the directory, for devices and pipes, and for what cannot be read.
    """
    total = hashlib.sha256()
    for name in _names(directory):
        total.update(_framed(os.fsencode(name)))
        path = directory / name
        if path.is_symlink():
            inside(directory, name)
            total.update(b"link" + _framed(os.fsencode(path.readlink())))
        else:
            total.update(b"file" + _content(directory, name))
    return total.hexdigest()


def stamp(directory: Path) -> tuple[tuple[str, int, int, int, int], ...]:
    """What `digest` would read, without reading it: name, inode, bytes, times of change. Raises ModelBroken.

    Two equal stamps mean that nobody wrote in between; a writer that works in place shows here.
    """
    seen = []
    for name in _names(directory):
        try:
            about = (directory / name).lstat()
        except OSError as error:
            raise ModelBroken(f"`{shown(name)}` cannot be read: {error.strerror}") from error
        seen.append((name, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return tuple(seen)


def complete(directory: Path) -> bool:
    """Whether whoever copied the version has said that it is whole."""
    return (directory / COMPLETE).is_file()


def inside(directory: Path, name: str) -> Path:
    """Where `name`, relative to the version's directory, really lies. Raises ModelBroken if that is outside.

    Every step of the way counts: a link out and back again is refused as well.
    """
    home = os.path.realpath(directory)
    real = home
    for depth in range(1, len(PurePosixPath(name).parts) + 1):
        step = str(PurePosixPath(*PurePosixPath(name).parts[:depth]))
        real = os.path.realpath(os.path.join(home, step))
        if os.path.commonpath((home, real)) != home:
            raise ModelBroken(f"`{shown(step)}` is a symbolic link that leaves the version's directory")
    return Path(real)


def readable_file(directory: Path, name: str) -> os.stat_result:
    """Looks at a file that a load would read: a regular one, inside, under one name only. Raises ModelBroken."""
    what = f"`{shown(name)}`"
    try:
        about = inside(directory, name).lstat()
    except FileNotFoundError as error:
        raise ModelBroken(f"there is no {what} in the version's directory") from error
    except OSError as error:
        raise ModelBroken(f"{what} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(about.st_mode):
        raise ModelBroken(f"{what} is a directory; expected a file")
    if not stat.S_ISREG(about.st_mode):
        raise ModelBroken(f"{what} is not a regular file")
    if about.st_nlink != 1:
        raise ModelBroken(f"{what} is a hard link (it has {about.st_nlink} names); copy the file instead")
    return about


def read_model(model_path: Path) -> Any:
    """The `onnx.ModelProto` in a file, external data not loaded. Raises ModelBroken.

    A hostile file can take long here or take the process with it: call it in the trial process only.
    """
    import onnx  # noqa: PLC0415 - the controller makes digests only, and need not pay for it
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    name = f"`{shown(model_path.name)}`"
    about = readable_file(model_path.parent, model_path.name)
    if about.st_size == 0:
        raise ModelBroken(f"{name} is not an ONNX model: the file is empty")
    if about.st_size > MODEL_LIMIT_BYTES:
        raise ModelBroken(
            f"{name} has {about.st_size} bytes, the format allows {MODEL_LIMIT_BYTES}; save it with external data"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(model_path.read_bytes())
    except DecodeError as error:
        raise ModelBroken(f"{name} is not an ONNX model, or it was cut short") from error
    except OSError as error:
        raise ModelBroken(f"{name} cannot be read: {error.strerror}") from error
    if not model.HasField("graph"):
        raise ModelBroken(f"{name} is not an ONNX model: it holds no graph")
    return model


def check_external_data(model_path: Path) -> None:
    """Whether everything that a load of this model would read lies in its directory. Raises ModelBroken."""
    external_files(read_model(model_path), model_path.parent)


def external_files(model: Any, directory: Path) -> tuple[str, ...]:
    """The names, relative to `directory`, of the files with a model's external data, each looked at.

    All tensors count wherever they hang: initialisers, sparse ones, attributes, nested graphs, functions, training.
    Raises ModelBroken for a name that is absolute, climbs or leads out by a link; for hard links, directories, devices
    and pipes; for a file that is missing or shorter than the model says.
    """
    sizes: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location != 1 and not tensor.external_data:
            continue
        what = f"the weights of `{shown(tensor.name)}`" if tensor.name else "the weights of an unnamed tensor"
        entries: dict[str, str] = {}
        for entry in tensor.external_data:
            if entry.key in entries:
                raise ModelBroken(f"{what} have two entries for `{shown(entry.key)}`")
            if not isinstance(entry.value, str):
                raise ModelBroken(f"{what} have a `{shown(entry.key)}` that is not UTF-8 text")
            entries[entry.key] = entry.value
        name = _location(entries.get("location", ""), what)
        if name not in sizes:
            try:
                sizes[name] = readable_file(directory, name).st_size
            except ModelBroken as error:
                raise ModelBroken(f"{what} are missing or not allowed: {error}") from error
            _counted(directory, name, what)
        _extent(tensor, entries, sizes[name], f"{what} in `{shown(name)}`")
    return tuple(sorted(sizes))


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto under a message. Without recursion, and without unpacking the tensors' own contents."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if current.DESCRIPTOR.name == "TensorProto":
            yield current
            continue
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else (value,))


def _location(location: str, what: str) -> str:
    """A relative name in the plainest spelling."""
    if not location:
        raise ModelBroken(f"{what} are said to be in another file, which is not named")
    if location.startswith("/"):
        raise ModelBroken(f"{what} are named by an absolute path; only files in the version's directory are allowed")
    if ".." in location.split("/"):
        raise ModelBroken(f"{what} are in `{shown(location)}`, which leaves the version's directory")
    parts = PurePosixPath(location).parts
    if not parts or "\0" in location or parts[0] == _IN_MEMORY_MARK:
        raise ModelBroken(f"{what} are in `{shown(location)}`, which is not the name of a file")
    return str(PurePosixPath(*parts))


def _counted(directory: Path, name: str, what: str) -> None:
    """Weights must be part of the digest, under the name they are read by and where they really lie."""
    real = inside(directory, name).relative_to(os.path.realpath(directory))
    for path in (PurePosixPath(name), real):
        if path.parts[0] in DATA_DIRECTORIES:
            raise ModelBroken(f"{what} are in `{path.parts[0]}/`, which is for data about the model")


def _extent(tensor: Any, entries: dict[str, str], file_bytes: int, what: str) -> None:
    """Whether the tensor's bytes lie within the file."""
    numbers = {"offset": 0, "length": -1}
    for key in numbers:
        if key in entries:
            text = entries[key]
            if not (text.isascii() and text.isdigit() and len(text) < 20):
                raise ModelBroken(f"{what}: `{key}` is `{shown(text)}`; expected a number of bytes")
            numbers[key] = int(text)
    if any(size < 0 for size in tensor.dims):
        raise ModelBroken(f"{what} have a negative dimension")
    bits = _ELEMENT_BITS.get(tensor.data_type)
    if bits is None:
        raise ModelBroken(f"{what} are of a type that cannot lie in a file of its own")
    need = -(-math.prod(tensor.dims) * bits // 8)
    length = numbers["length"] if "length" in entries else need
    if length < need:
        raise ModelBroken(f"{what} need {need} bytes, the model says {length}")
    if numbers["offset"] + length > file_bytes:
        raise ModelBroken(f"{what} end at byte {numbers['offset'] + length}, the file has {file_bytes}")


def _names(directory: Path) -> list[str]:
    """Relative names of all files and links below, sorted; linked directories are named, not entered."""
    found: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(directory / below) as entries:
                for entry in entries:
                    name = f"{below}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        if below or entry.name not in DATA_DIRECTORIES:
                            waiting.append(name + "/")
                    elif below or entry.name != COMPLETE:
                        found.append(name)
        except OSError as error:
            where = f"`{shown(below)}`" if below else "the version's directory"
            raise ModelBroken(f"{where} cannot be read: {error.strerror}") from error
    return sorted(found)


def _framed(text: bytes) -> bytes:
    """With its length before it, so that two different lists of names never read the same."""
    return len(text).to_bytes(8, "big") + text


def _content(directory: Path, name: str) -> bytes:
    """The length and SHA-256 of one file. Never waits for a pipe, never follows a link that appears meanwhile."""
    what = f"`{shown(name)}`"
    try:
        handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelBroken(f"{what} cannot be read: {error.strerror}") from error
    with open(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelBroken(f"{what} is not a regular file")
        content, length = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        try:
            while count := file.readinto(buffer):
                content.update(buffer[:count])
                length += count
        except OSError as error:
            raise ModelBroken(f"{what} cannot be read: {error.strerror}") from error
    return length.to_bytes(8, "big") + content.digest()
