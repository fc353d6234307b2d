"""The model repository on disk: which models and versions there are, what is asked of them, and how they serve.

    <root>/<model>/<positive integer>/model.onnx
    <root>/<model>/model.toml      the owner's settings, optional
    <root>/<model>/config.pbtxt    the same for repositories made for Triton, optional

Each setting of model.toml goes before that of config.pbtxt, which goes before the default.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from router.control.artefact import shown
from router.control.inspection import Request, Result
from router.control.triton_config import PBTXT, DeclaredTensor, tensors, triton_config
from router.core.table import Batching, Version, VersionState
from router.core.tensor import ANY, Signature, TensorSpec
from router.errors import ModelBroken, SettingsError
from router.model_settings import ModelSettings, model_settings
from router.pb.model_config_pb2 import ModelConfig
from router.settings import explain

MODEL_FILE: Final = "model.onnx"
TOML: Final = "model.toml"
SETTINGS_LIMIT_BYTES: Final = 1 << 20

_SUFFIX: Final = ".onnx"
_NUMBER: Final = re.compile(r"[1-9][0-9]*")
_NOT_MODELS: Final = frozenset({"lost+found"})
_BATCH_LIMIT: Final = 4096
_WAIT_LIMIT_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version's directory. `reason` says why it is not to be loaded; empty: it is to be tried.

    `left_out`: by the owner's choice, and nothing is wrong with it.
    """

    number: str
    directory: Path
    reason: str = ""
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model's directory. `reason` is set if nothing in it can be served; `versions` are sorted, oldest first."""

    name: str
    reason: str = ""
    versions: Mapping[str, FoundVersion] = field(default_factory=dict)
    folder: Path | None = None
    latest: bool = False
    """Of its versions only the newest is asked for."""
    settings: ModelSettings = field(default_factory=ModelSettings)
    """model.toml over config.pbtxt over the defaults."""
    filename: str = MODEL_FILE
    never_joined: str = ""
    """Why rows of different callers are not joined, if the owner says so."""
    inputs: tuple[DeclaredTensor, ...] = ()
    outputs: tuple[DeclaredTensor, ...] = ()
    declared: str = ""
    """The text of config.pbtxt."""

    def request(self, number: str) -> Request:
        """What the inspector has to try of one version."""
        batch = self.settings.batch
        return Request(
            self.name,
            number,
            self.versions[number].directory,
            self.filename,
            Batching(batch.max_size, batch.max_wait_us),
            batch.rows_independent,
            self.never_joined,
            self.settings.sessions.providers,
        )

    def chosen(self) -> list[str]:
        """The versions that the owner wants served, newest first."""
        return [version.number for version in reversed(list(self.versions.values())) if not version.reason]

    def older(self) -> list[str]:
        """Those that may begin where none of the chosen can: with the newest alone asked for, the ones before it."""
        return [
            version.number for version in reversed(list(self.versions.values())) if version.left_out and self.latest
        ]

    def version(self, result: Result) -> Version:
        """A version as it serves, by what its trial showed. Raises ModelBroken with the reason why it cannot."""
        if not result.ok:
            raise ModelBroken(result.reason)
        reason = contradiction(self, result.signature)
        if reason:
            raise ModelBroken(reason)
        return Version(
            self.name,
            result.number,
            result.digest,
            str(self.versions[result.number].directory / self.filename),
            VersionState.READY,
            "",
            result.signature,
            result.batching,
            self.settings.sessions.intra_op_threads,
            result.file_bytes,
            self.declared,
        )

    @property
    def exam(self) -> Path | None:
        """The operator's exam, where there is one."""
        return self.folder / "exam" if self.folder is not None and (self.folder / "exam").is_dir() else None


def scan(root: Path, allow_faults: bool = False) -> Mapping[str, FoundModel]:
    """All models below `root` by name. What is wrong with one of them becomes its reason.

    `allow_faults`: settings may make a model fail.

    Raises SettingsError only if the repository itself cannot be read.
    """
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        raise SettingsError(f"the model repository cannot be read: {error.strerror}") from error
    place, home = Path(os.path.abspath(root)), os.path.realpath(root)
    found: dict[str, FoundModel] = {}
    for entry in names:
        if entry.startswith(".") or entry in _NOT_MODELS:
            continue
        try:
            name = _model_name(entry)
            model = _model(place / entry, name, home, allow_faults)
        except ModelBroken as error:
            name = shown(entry, 255)
            model = FoundModel(name, str(error))
        except OSError as error:
            model = FoundModel(name, f"its directory cannot be read: {error.strerror}")
        if model is not None and (name not in found or found[name].reason):
            found[name] = model
    return found


def named(found: Mapping[str, FoundModel], wanted: Collection[str]) -> set[str]:
    """The names of the models that are wanted; `*` stands for all. Raises SettingsError for one that is not there."""
    if "*" in wanted:
        return set(found)
    for name in sorted(set(wanted) - set(found)):
        raise SettingsError(f"the model repository holds no model '{shown(name, 200)}'")
    return set(wanted)


def contradiction(found: FoundModel, signature: Signature) -> str:
    """Where config.pbtxt says something else than the model; empty where it does not."""
    sides: tuple[tuple[str, Sequence[DeclaredTensor], Sequence[TensorSpec]], ...] = (
        ("input", found.inputs, signature.inputs),
        ("output", found.outputs, signature.outputs),
    )
    for side, declared, real in sides:
        by_name = {spec.name: spec for spec in real}
        for tensor in declared:
            what = f"{side} `{shown(tensor.name)}`"
            spec = by_name.get(tensor.name)
            if spec is None:
                has = ", ".join(f"`{shown(name)}`" for name in list(by_name)[:8]) or "none"
                return f"{PBTXT} declares {what}, which the model does not have; it has {has}"
            if tensor.datatype not in {"", spec.datatype}:
                return f"{PBTXT} declares {what} as {tensor.datatype}; the model says {spec.datatype}"
            if not any(_fits(shape, spec.shape) for shape in tensor.shapes):
                return f"{PBTXT} declares {what} as {list(tensor.shapes[0])}; the model says {list(spec.shape)}"
    return ""


def _fits(declared: tuple[int, ...], real: tuple[int, ...]) -> bool:
    return len(declared) == len(real) and all(a == b or ANY in {a, b} for a, b in zip(declared, real, strict=True))


def _model_name(entry: str) -> str:
    """A directory's name as a model's name. Raises ModelBroken."""
    if any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in entry):
        raise ModelBroken("its name holds control characters")
    if any(unicodedata.category(c) == "Cs" for c in entry):
        raise ModelBroken("its name is not UTF-8")
    if not entry.isprintable():  # unassigned, private, invisible: nobody could tell it from another name
        raise ModelBroken("its name holds characters that cannot be shown")
    return entry


def _model(directory: Path, name: str, home: str, allow_faults: bool) -> FoundModel | None:
    """One model's directory; None for what is no model. Raises OSError and ModelBroken if it cannot be looked at."""
    if not directory.is_dir():
        if not name.endswith(_SUFFIX):
            return None
        place = f"`{shown(name.removesuffix(_SUFFIX))}/1/{MODEL_FILE}`"
        return FoundModel(name, f"it is a file where a model's folder belongs: move it to {place}")
    if not _within(directory, home):
        raise ModelBroken("its directory is a symbolic link that leaves the model repository")
    entries = os.listdir(directory)
    numbers = sorted((entry for entry in entries if _NUMBER.fullmatch(entry) and (directory / entry).is_dir()), key=int)
    missing = "" if numbers else _without_version(directory, name, entries)
    if not numbers and not missing and not {TOML, PBTXT} & set(entries):
        return None
    text = ""
    try:
        _settings_text(directory / TOML)
        toml = model_settings(directory / TOML)
        if toml.faults and not allow_faults:
            raise SettingsError(f"{TOML}: `faults` makes it fail: remove it, or start the server with --allow-faults")
        text = _settings_text(directory / PBTXT)
        config = triton_config(text, name) if PBTXT in entries else None
        settings = _settled(toml, config)
        chosen, rule = _choice(toml, config, numbers)
        inputs, outputs = tensors(config)
    except (ModelBroken, SettingsError) as error:
        broken = {number: FoundVersion(number, directory / number, str(error)) for number in numbers}
        return FoundModel(name, str(error), broken, directory, declared=text)
    versions = {}
    for number in sorted({*numbers, *chosen}, key=int):
        reason = ""
        if number not in chosen:
            reason = f"not loaded: {rule}"
        elif number not in numbers:
            reason = f"there is no such directory, and {rule}"
        elif not _within(directory / number, home):
            reason = "its directory is a symbolic link that leaves the model repository"
        else:
            reason = _settings_of_its_own(directory / number)
        versions[number] = FoundVersion(number, directory / number, reason, left_out=number not in chosen)
    return FoundModel(
        name,
        "" if versions else missing or f"it has no version: put one at `{shown(name)}/1/{MODEL_FILE}`",
        versions,
        directory,
        rule.split(" = ")[1].startswith("latest"),
        settings,
        (config.default_model_filename if config else "") or MODEL_FILE,
        _never_joined(toml, config, settings),
        inputs,
        outputs,
        text,
    )


def _without_version(directory: Path, name: str, entries: Sequence[str]) -> str:
    """What is wrong with a directory that looks as if it were to be a model; empty for any other."""
    place = f"`{shown(name)}/1/{MODEL_FILE}`"
    if not entries:
        return f"it has no version, its folder is empty: put one at {place}"
    for loose in sorted(entries):
        if loose.endswith(_SUFFIX):
            if _NUMBER.fullmatch(name):
                return "it looks like a version, not like a model: start the server with --models on the folder above"
            return f"it has no version: move `{shown(f'{name}/{loose}')}` to {place}"
    for folder in sorted(entries):
        with contextlib.suppress(OSError):
            if any(file.endswith(_SUFFIX) for file in os.listdir(directory / folder)):
                return f"it has no version, which is a folder named 1, 2, …: rename `{shown(f'{name}/{folder}')}`"
    return ""


def _settings_of_its_own(version: Path) -> str:
    """What is wrong with a version that brings settings: they are the operator's, never the trainer's."""
    for name in (TOML, PBTXT):
        if os.path.lexists(version / name):
            return f"{name} stands in the version's directory, where no setting counts: move it up to the model's"
    return ""


def _within(path: Path, home: str) -> bool:
    return os.path.commonpath((home, os.path.realpath(path))) == home


def _settings_text(path: Path) -> str:
    """A settings file's text; empty where there is none. Raises ModelBroken for what is no such file."""
    if not os.path.lexists(path):
        return ""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would never end
            raise ModelBroken(f"{path.name} is not a regular file")
        if about.st_size > SETTINGS_LIMIT_BYTES:
            raise ModelBroken(f"{path.name} has {about.st_size} bytes; at most {SETTINGS_LIMIT_BYTES} are read")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelBroken(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelBroken(f"{path.name} cannot be read: it is not UTF-8 text") from error


def _settled(toml: ModelSettings, config: ModelConfig | None) -> ModelSettings:
    """The settings of model.toml over those of config.pbtxt. Raises SettingsError."""
    said = toml.model_dump(exclude_unset=True)
    batch: dict[str, object] = {}
    if config is not None:
        if config.max_batch_size > 0:
            batch = {"max_size": min(config.max_batch_size, _BATCH_LIMIT), "rows_independent": True}
        wait_us = config.dynamic_batching.max_queue_delay_microseconds
        if wait_us:
            batch["max_wait_us"] = min(wait_us, _WAIT_LIMIT_US)
    try:
        return ModelSettings.model_validate({**said, "batch": {**batch, **said.get("batch", {})}})
    except ValidationError as error:
        raise SettingsError(explain(error, PBTXT)) from error


def _never_joined(toml: ModelSettings, config: ModelConfig | None, settings: ModelSettings) -> str:
    """Why rows are never joined, if the owner says so by a size."""
    if settings.batch.max_size == 1:
        where = TOML if "max_size" in toml.batch.model_fields_set else PBTXT
        return f"the owner says that at most 1 row goes into a run ({where})"
    silent = not {"max_size", "rows_independent"} & toml.batch.model_fields_set
    if config is not None and config.max_batch_size == 0 and silent:
        return f"{PBTXT} says max_batch_size 0"
    return ""


def _choice(toml: ModelSettings, config: ModelConfig | None, numbers: Sequence[str]) -> tuple[set[str], str]:
    """The numbers that are to be loaded, and the rule by which, as the owner wrote it. Raises ModelBroken."""
    policy = config.version_policy if config is not None else None
    kind = policy.WhichOneof("policy_choice") if policy is not None else None
    if "versions" in toml.model_fields_set or policy is None or kind is None:
        if toml.versions == "latest":
            return set(numbers[-1:]), "versions = latest"
        if toml.versions == "all":
            return set(numbers), "versions = all"
        return {str(number) for number in toml.versions}, f"versions = {list(toml.versions)}"
    if kind == "all":
        return set(numbers), "version_policy = all"
    if kind == "latest":
        count = max(1, policy.latest.num_versions)
        return set(numbers[-count:]), f"version_policy = latest {count}"
    listed = list(policy.specific.versions)
    if any(number < 1 for number in listed):
        raise ModelBroken(f"{PBTXT}: version_policy names version {min(listed)}; versions are 1 or more")
    return {str(number) for number in listed}, f"version_policy = specific {listed}"
