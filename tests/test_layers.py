"""Imports go one way: a package may import what stands before it, and foreign libraries have their places."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROUTER = Path(__file__).parents[1] / "router"
ROWS = (
    ("errors", "settings", "schedule", "pb"),
    ("humility_settings", "version_settings", "webhook_settings"),
    ("config", "model_settings"),
    ("core",),
    ("serving",),
    ("control",),
    ("edge",),
    ("app",),
)
"""A row may import itself and the rows before it."""
STANDARD_ONLY = (
    *(f"app.{name}" for name in ("supervisor", "board", "child", "ports", "refusal", "state", "watch", "crashes")),
    "serving.inflight",
    "serving.quarantine",
)
"""Small and up at once: they import the standard library and each other."""
CLIENT_MAY = {"router.pb", "router.core.tensor", "router.errors"}
PLACES = {
    "cronsim": ("schedule",),
    "grpc": (
        "edge.",
        "client",
        "pb.",
        "app.monitoring",
        "app.recording_part",
        "app.outbox",
        "app.health_part",
        "app.retraining_part",
        "app.drift_part",
        "app.accuracy_part",
    ),
    "grpc_health": ("edge.",),
    "grpc_reflection": ("edge.",),
    "grpc_status": ("edge.",),
    "lmdb": ("serving.answer_file", "serving.answers"),
    "onnxruntime": ("serving.session", "app.inspect"),
    "plotly": (
        "app.accuracy_page",
        "app.drift_page",
        "app.health_page",
        "app.report_page",
        "app.evidence_page",
        "app.evidence_charts",
    ),
    "prometheus_client": ("edge.http",),
    "httpx": ("edge.webhook_post",),
    "starlette": ("edge.http",),
    "uvicorn": ("edge.http",),
    "watchfiles": ("control.repository_watch",),
    "alembic": ("control.migrations",),
    "sqlalchemy": (
        "control.reference_rows",
        "control.baseline_rows",
        "control.drift_rows",
        "control.ended_cases",
        "control.database",
        "control.ledger_",
        "control.outbox_rows",
        "control.schema",
        "control.migrations",
    ),
    "sqlite3": (
        "control.database",
        "control.ledger_",
    ),
}
NOT_IN_CORE = {
    "asyncio", "concurrent", "datetime", "grpc", "io", "multiprocessing", "onnx", "onnxruntime", "os", "pathlib",
    "queue", "random", "selectors", "signal", "socket", "structlog", "subprocess", "sys", "tempfile", "threading",
    "time", "uvloop",
}  # fmt: skip
"""`core` decides and does nothing: no I/O, no clock, no thread."""


def modules() -> list[str]:
    """All modules below `router`, without that name in front; generated stubs left out."""
    found = []
    for path in sorted(ROUTER.rglob("*.py")):
        name = ".".join(path.relative_to(ROUTER).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__" and not name.startswith("pb."):
            found.append(name)
    return found


def imports(module: str) -> Iterator[str]:
    """Everything that a module imports, anywhere in it, by full name. `if TYPE_CHECKING` counts too."""
    path = ROUTER / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                # `from router.pb import x_pb2` names a module, `from router.errors import X` does not.
                inner = ROUTER.parent / Path(*full.split("."))
                is_module = inner.with_suffix(".py").exists() or inner.is_dir()
                yield full if is_module else str(node.module)


def row(module: str) -> int | None:
    """The row that a module stands in; None for the client, which stands apart."""
    top = module.split(".", maxsplit=1)[0]
    return next((number for number, names in enumerate(ROWS) if top in names), None)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    """Its own row or an earlier one; nothing imports the client but the command line."""
    for name in imports(module):
        if not name.startswith("router."):
            continue
        inner = name.removeprefix("router.")
        if module.split(".", maxsplit=1)[0] == "client":
            assert name in CLIENT_MAY or name.startswith(("router.pb", "router.client")), f"{module} imports {name}"
        elif inner.split(".")[0] == "client":
            assert module.startswith("app."), f"{module} imports the client"
            assert inner == "client", f"{module} imports the inside of the client"
        else:
            ours, theirs = row(module), row(inner)
            assert ours is not None, f"{module} stands in no row"
            assert theirs is not None, f"{name} stands in no row"
            assert theirs <= ours, f"{module} imports {name}, which stands after it"


@pytest.mark.parametrize("module", modules())
def test_foreign_libraries_have_their_places(module: str) -> None:
    """grpc at the edge, ONNX Runtime in the session and in the trial process, and so on."""
    for name in imports(module):
        places = PLACES.get(name.split(".")[0])
        assert places is None or any(module.startswith(place) for place in places), f"{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in modules() if module.startswith("core")])
def test_core_is_pure(module: str) -> None:
    """No I/O, no clock, no thread, no wire, no runtime."""
    assert not {name.split(".")[0] for name in imports(module)} & NOT_IN_CORE


@pytest.mark.parametrize("module", STANDARD_ONLY)
def test_the_supervisor_is_small(module: str) -> None:
    """The standard library, its own few modules and the version of the package."""
    import sys

    for name in imports(module):
        ours = name in {"router", "router.app", *(f"router.{each}" for each in STANDARD_ONLY)}
        assert ours or name.split(".")[0] in sys.stdlib_module_names, f"{module} imports {name}"
