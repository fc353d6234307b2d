"""`router doctor`: what would go wrong if a server were started here, and how to mend it."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rich.table import Table

from router.app.access import open_doors
from router.app.approvers import needy, shortages
from router.app.checks import check_repository, check_tls, check_transport, check_webhook
from router.app.policies import idle
from router.app.ports import claim_ports
from router.app.refusal import Refused
from router.app.state import examine as check_state
from router.app.terminal import text
from router.config import ServerSettings, local
from router.control.database import FILE, Database
from router.control.examiner import Progress
from router.control.inspection import Inspector
from router.control.policy import fitted
from router.control.records import Stored, VersionRecord
from router.control.registry import route_of
from router.control.repository import FoundModel, scan
from router.core.gate import named
from router.core.table import Route, Version, VersionState, VersionTable
from router.core.version import SERVING, Stage
from router.edge.tables import from_text, to_text
from router.edge.webhook_service import shown
from router.errors import ModelBroken, SettingsError

MEMORY_PER_FILE_BYTE = 2.0
"""A loaded model takes about twice its file: the weights, and what kernels prepack of them."""
MEMORY_PER_WORKER = 120 << 20


class Grade(Enum):
    """How bad a finding is."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` says what to do unless it is good."""

    grade: Grade
    what: str
    found: str
    mend: str = ""


def examine(settings: ServerSettings, progress: Progress = lambda done, of, upcoming: None) -> Iterator[Finding]:  # noqa: ARG005
    """Look at everything that a server with these settings would need; `progress` is told of the models tried."""
    yield from _software(settings)
    yield from _ports(settings)
    yield from _state(settings)
    yield from _tls(settings)
    yield from _webhook(settings)
    yield from _access(settings)
    yield from _approvals(settings)
    yield from _policies(settings)
    yield from _models(settings, progress)
    yield from _machine(settings)
    if settings.allow_faults:
        allowed = "whoever reaches the admin port can make models fail"
        yield Finding(Grade.WARNING, "faults", allowed, "only for tests: leave --allow-faults out elsewhere")
    if shutil.which("h2load"):
        yield Finding(Grade.GOOD, "h2load", "found (for `make bench`)")
    else:
        mend = "only for `make bench`: install the Debian package nghttp2-client"
        yield Finding(Grade.WARNING, "h2load", "missing", mend)


def _software(settings: ServerSettings) -> Iterator[Finding]:
    yield Finding(Grade.GOOD, "Python", platform.python_version())
    try:
        check_transport(settings.model_copy(update={"transport": "core"}))
    except Refused as refused:
        grade = Grade.BAD if settings.transport == "core" else Grade.WARNING
        yield Finding(grade, "grpcio", refused.wrong, refused.mend)
    else:
        yield Finding(Grade.GOOD, "grpcio", f"{version('grpcio')} carries the core transport")
    yield Finding(Grade.GOOD, "onnxruntime", version("onnxruntime"))
    if platform.system() != "Linux":
        yield Finding(Grade.BAD, "system", platform.system(), "run it on Linux: it needs SO_REUSEPORT and /proc")


def _ports(settings: ServerSettings) -> Iterator[Finding]:
    addresses = {"grpc": settings.grpc, "http": settings.http, "admin": settings.admin}
    free = True
    for flag, address in addresses.items():
        if refused := _claim({flag: address}):
            free = False
            yield Finding(Grade.BAD, f"port {flag}", refused.wrong, refused.mend)
        else:
            yield Finding(Grade.GOOD, f"port {flag}", f"{address} is free")
    if free and (refused := _claim(addresses)):
        yield Finding(Grade.BAD, "ports", refused.wrong, refused.mend)


def _claim(addresses: Mapping[str, str]) -> Refused | None:
    """What a server would say that wants these; they are given back at once."""
    try:
        _, held = claim_ports(addresses)
    except Refused as refused:
        return refused
    for each in held:
        each.close()
    return None


def _state(settings: ServerSettings) -> Iterator[Finding]:
    directory = settings.state
    try:
        check_state(directory)
        _stored(directory)
    except Refused as refused:
        yield Finding(Grade.BAD, "state directory", refused.wrong, refused.mend)
        return
    except SettingsError as error:
        wrong, _, mend = str(error).partition("; ")
        yield Finding(Grade.BAD, "state directory", wrong, mend)
        return
    nearest = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if free < 100 << 20:
        found, mend = f"{free >> 20} MiB free on its disk", "a change of table needs disk: free some"
        yield Finding(Grade.WARNING, "state directory", found, mend)
    else:
        yield Finding(Grade.GOOD, "state directory", f"{directory}, {free >> 30} GiB free")


def _tls(settings: ServerSettings) -> Iterator[Finding]:
    used = [each for each in (settings.tls_cert, settings.admin_tls_cert) if each is not None]
    if not used:
        return
    try:
        check_tls(settings)
    except Refused as refused:
        yield Finding(Grade.BAD, "TLS", refused.wrong, refused.mend)
    else:
        yield Finding(Grade.GOOD, "TLS", f"{' and '.join(map(str, used))}: each belongs with its key")


def _webhook(settings: ServerSettings) -> Iterator[Finding]:
    if not settings.webhook.url:
        return
    try:
        check_webhook(settings)
    except Refused as refused:
        yield Finding(Grade.BAD, "webhook", refused.wrong, refused.mend)
        return
    where = shown(settings.webhook.url)
    if where.startswith("http://") and not local(f"{urlsplit(settings.webhook.url).hostname}:0"):
        yield Finding(
            Grade.WARNING, "webhook", f"events go to {where} in the clear", "give a url that begins with https://"
        )
    else:
        yield Finding(Grade.GOOD, "webhook", f"events are signed and go to {where}")


def _access(settings: ServerSettings) -> Iterator[Finding]:
    if settings.guarded:
        known = f"{len(settings.tokens)} by token, {len(settings.access.certificates)} by certificate"
        yield Finding(Grade.GOOD, "access", f"only who has a role may change anything: {known}")
    for door in open_doors(settings):
        yield Finding(Grade.WARNING, "access", door.what, door.mend)


def _approvals(settings: ServerSettings) -> Iterator[Finding]:
    declared: Mapping[str, str] = {}
    with contextlib.suppress(SettingsError):  # told as a finding of its own
        declared = _stored(settings.state).importance
    short = shortages(settings, declared)
    for each in short:
        yield Finding(Grade.WARNING, "approvals", each.what, each.mend)
    if not short and (levels := needy(settings, declared)):
        yield Finding(Grade.GOOD, "approvals", f"those known here are enough for importance {', '.join(levels)}")


def _policies(settings: ServerSettings) -> Iterator[Finding]:
    """Those of models that are there: an empty repository is a finding of its own."""
    there: Mapping[str, FoundModel] = {}
    with contextlib.suppress(SettingsError):  # told with the models
        there = scan(settings.models, settings.allow_faults) if settings.models.is_dir() else {}
    found = list(idle(settings, there)) if there else []
    for each in found:
        yield Finding(Grade.WARNING, each.of, each.what, each.mend)
    if settings.retraining and there and not any(each.of.startswith("retraining ") for each in found):
        models = ", ".join(map(named, sorted(settings.retraining)))
        yield Finding(Grade.GOOD, "retraining", f"has a policy for {models}")


def _models(settings: ServerSettings, progress: Progress) -> Iterator[Finding]:
    try:
        check_repository(settings)
    except Refused as refused:
        yield Finding(Grade.BAD, "models", refused.wrong, refused.mend)
        return
    found = scan(settings.models, settings.allow_faults)
    if not found:
        mend = "nothing would be served: put a model at NAME/1/model.onnx below it"
        yield Finding(Grade.WARNING, "models", f"{settings.models} holds no model", mend)
        return
    ready: list[Version] = []
    for each in fitted({each.model: each for each in _tried(settings, list(found.values()), progress)}).values():
        yield from _model(each)
        ready += (version for version in each.versions.values() if version.state is VersionState.READY)
    yield _memory(settings, ready)
    yield from _threads(found.values())


def _stored(state: Path) -> Stored:
    """What a server would go on from; nothing is made. Raises SettingsError."""
    if not (state / FILE).exists():
        return Stored(VersionTable(0, {}))
    database = Database(state / FILE, to_text, from_text)
    try:
        return database.load()
    finally:
        database.close()


def _tried(settings: ServerSettings, found: Sequence[FoundModel], progress: Progress) -> Iterator[Route]:
    """The routes that a server would make, each version that would serve tried in a child process as the server does.

    Their gates are not tried.
    """
    stored = {}
    with contextlib.suppress(SettingsError):  # told as a finding of its own
        stored = dict(_stored(settings.state).records)
    wanted = {model.name: _would_serve(model, stored) for model in found}
    of, done = sum(len(records) for records in wanted.values()), 0
    with contextlib.ExitStack() as at_exit:
        memory = settings.state  # what is found out spares the server the trial; but a doctor makes no directory
        if not memory.is_dir():
            memory = Path(at_exit.enter_context(tempfile.TemporaryDirectory()))
        inspector = at_exit.enter_context(Inspector(memory))
        for model in found:
            versions: dict[str, Version] = {}
            records = wanted[model.name]
            for number, record in list(records.items()):
                request = model.request(number)
                progress(done, of, request)
                (result,) = inspector.inspect([request])
                try:
                    versions[number] = model.version(result)
                except ModelBroken as error:
                    records[number] = replace(record, stage=Stage.FAILED, reason=str(error))
                done += 1
            if not any(each.stage is Stage.CHAMPION for each in records.values()) and versions:
                newest = max(versions, key=int)
                records[newest] = replace(records[newest], stage=Stage.CHAMPION)
            yield route_of(model, None, records.values(), versions)
        progress(done, of, None)


def _would_serve(model: FoundModel, stored: Mapping[tuple[str, str], VersionRecord]) -> dict[str, VersionRecord]:
    """The versions of a model that a server would load: those that are stored, else those that are asked for."""
    kept = {
        number: record
        for (name, number), record in stored.items()
        if name == model.name and record.stage in SERVING and number in model.versions
    }
    return kept or {number: VersionRecord(model.name, number, "", Stage.READY) for number in reversed(model.chosen())}


def _model(tried: Route) -> Iterator[Finding]:
    """What a server would list of one model."""
    what = f"model {tried.model}"
    if tried.champion is not None:
        yield Finding(Grade.GOOD, what, f"version {tried.champion} would answer")
    broken: dict[str, list[str]] = {}
    for number, each in tried.versions.items():
        if each.state is not VersionState.READY and not each.left_out:
            broken.setdefault(each.reason, []).append(number)
    for reason, numbers in broken.items():
        versions = f"version {', '.join(numbers)}: " if numbers != [""] else ""
        yield Finding(Grade.WARNING, what, f"{versions}{reason}", "correct it, or it will be listed as UNAVAILABLE")


def _memory(settings: ServerSettings, ready: Sequence[Version]) -> Finding:
    weights = sum(version.file_bytes for version in ready)
    needed = int(weights * MEMORY_PER_FILE_BYTE + MEMORY_PER_WORKER) * settings.workers
    available = psutil.virtual_memory().available
    text = (
        f"{len(ready)} versions, {weights / 1e6:.1f} MB on disk: about {needed / 1e9:.2f} GB in"
        f" {settings.workers} workers, {available / 1e9:.1f} GB available"
    )
    if needed > available:
        return Finding(Grade.BAD, "memory", text, "serve fewer versions, or run fewer --workers")
    return Finding(Grade.GOOD, "memory", text)


def _threads(found: Iterable[FoundModel]) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    for model in found:
        threads = model.settings.sessions.intra_op_threads
        if threads > cores:
            text, mend = f"intra_op_threads = {threads} on {cores} cores", "lower it in model.toml to what there is"
            yield Finding(Grade.WARNING, f"model {model.name}", text, mend)


def _machine(settings: ServerSettings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    found = f"{settings.workers} workers on {cores} cores"
    if settings.workers > cores:
        mend = "more workers than cores make each other wait: choose fewer with --workers"
        yield Finding(Grade.WARNING, "cores", found, mend)
    else:
        yield Finding(Grade.GOOD, "cores", found)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        yield Finding(Grade.WARNING, "open files", f"at most {soft}", "each connection needs one: raise `ulimit -n`")
    else:
        yield Finding(Grade.GOOD, "open files", f"at most {soft}")


def report(findings: list[Finding]) -> Table:
    """The findings as a table."""
    table = Table()
    for heading in ("", "what", "found", "mend"):
        table.add_column(heading, overflow="fold")
    marks = {Grade.GOOD: "[green]✓[/]", Grade.WARNING: "[yellow]![/]", Grade.BAD: "[red]✗[/]"}
    for finding in findings:
        table.add_row(marks[finding.grade], *(text(words) for words in (finding.what, finding.found, finding.mend)))
    return table


def as_object(findings: list[Finding]) -> dict[str, object]:
    """The findings for programs: `good` unless one of them is bad."""
    listed = [{**asdict(finding), "grade": finding.grade.value} for finding in findings]
    return {"good": not any(finding.grade is Grade.BAD for finding in findings), "findings": listed}
