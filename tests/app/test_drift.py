"""`router drift` and `router reference`: what was found is shown, a table is taken, and what is wrong in it is said."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from router.app.cli import main
from router.app.drift_part import DriftPart
from router.app.reference import references
from router.app.reference_table import Table
from router.control.drift import Drift
from router.control.own_reference import own_reference
from router.core.drift_report import INPUTS
from router.core.observation import Observation
from router.core.reference_text import from_text
from router.core.table import Route, Version, VersionState
from router.core.tensor import DTYPES, Signature, TensorSpec
from router.edge.admin import serve_admin
from router.model_settings import ModelSettings
from tests.control.test_drift import Clock, Kept
from tests.fake_admin import FakeLifecycle
from tests.server import free_port

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("[b]kind[/]", "BYTES", (-1,))), (TensorSpec("y", "FP32", (-1, 2)),)
)
SETTINGS = {"window_s": 10, "min_samples": 100, "reference_rows": 300, "features": {"x": ["age", "<i>pay", "debt"]}}


def kinds(*values: bytes) -> Any:
    """Texts as workers send them."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


class Service:
    """An admin port with drift, for one model whose clock is moved by hand."""

    def __init__(self) -> None:
        self.lifecycle = FakeLifecycle()
        versions = {"1": Version("m", "1", "d", "/p", VersionState.READY, "", SIGNATURE)}
        settings = ModelSettings.model_validate({"drift": SETTINGS})
        self.lifecycle.table = type(self.lifecycle.table)(1, {"m": Route("m", "1", versions, settings)})
        self.clock, self.kept = Clock(), Kept()
        self.drift = Drift(lambda: self.lifecycle.table.routes, self.kept, self.lifecycle.events, self.clock)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.address = f"127.0.0.1:{free_port()}"
        self.rng = np.random.default_rng(3)
        self.server = self.run(self._serve())

    async def _serve(self) -> Any:
        from router.edge.admin import Admin
        from router.pb import admin_pb2 as pb
        from tests.fake_admin import FakeQuarantine, explain

        admin = Admin(self.lifecycle, pb.Status, explain, FakeQuarantine())  # type: ignore[arg-type]
        part = DriftPart(self.drift, lambda: self.lifecycle.table.routes)
        return await serve_admin(self.address, admin, others=[part.add_to])

    def run(self, work: Any) -> Any:
        """On the loop of the service."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def go(self, seconds: int, shift: float = 0.0, kind: bytes = b"b") -> None:
        """Traffic for so long."""

        async def work() -> None:
            for _ in range(seconds // 2):
                self.clock.now += 2
                x = self.rng.normal(size=(40, 3)).astype(np.float32)
                x[:, 1] += shift
                rows: tuple[Any, ...] = (("",) * 40, (0,) * 40, (0,) * 40)
                y = x[:, :2]
                inputs = {"x": x, "[b]kind[/]": kinds(*[b"a", kind] * 20)}
                self.drift.observed(Observation("m", "1", "champion", *rows, inputs, {"y": y}))
                await self.drift.tick()

        self.run(work())

    def router(self, *words: str) -> Result:
        """What a command says."""
        return CliRunner().invoke(main, list(words), env={"ROUTER_ADMIN": self.address, "COLUMNS": "200"})

    def end(self) -> None:
        """Nothing is left."""
        self.run(self.server.stop(0))
        self.drift.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def service() -> Iterator[Service]:
    """It knows model `m`."""
    made = Service()
    yield made
    made.end()


def test_what_has_drifted_is_shown(service: Service, tmp_path: Path) -> None:
    """In words, as a table, as bars; for programs as JSON; as a page in which names are text."""
    assert "unknown: drift of m: the reference is being made" in service.router("drift", "m").output
    service.go(60)
    told = service.router("drift", "m")
    assert told.exit_code == 0
    assert "green: drift of m: what comes is like the reference" in told.output
    service.go(30, shift=2.0, kind=b"<script>[red]")
    told = service.router("drift", "m")
    assert "red: drift of m: 4 of 7 features have drifted" in told.output
    assert "next: see whether what sends these values has changed" in told.output
    for words in ("<i>pay", "[b]kind[/]", "its mean went from", "reference and now"):
        assert words in told.output
    found = json.loads(service.router("drift", "m", "--json").output)
    assert (found["model"], found["status"], found["features"][0]["status"]) == ("m", "red", "red")
    every = json.loads(service.router("drift", "--json").output)["models"]
    assert [(each["model"], each["features"]) for each in every] == [("m", [])]
    assert "4 of 7 features" in service.router("drift").output
    page = tmp_path / "drift.html"
    assert service.router("drift", "m", "--all", "--html", str(page)).output == f"written to {page}\n"
    body = page.read_text().partition("</script><body>")[2]
    assert "&lt;i&gt;pay" in body
    assert "<script>[red]" not in body
    assert "<i>pay" not in body
    assert service.router("drift", "n").output == "Error: unknown model 'n'\n"
    assert service.router("drift", "--html", "f.html").exit_code == 2


def rows(count: int = 200) -> dict[str, Any]:
    """By feature."""
    rng = np.random.default_rng(4)
    numbers = {name: rng.normal(size=count) for name in ("age", "<i>pay", "debt")}
    return {**numbers, "[b]kind[/]": ["a", "b"] * (count // 2)}


def save(file: Path, table: dict[str, Any]) -> Path:
    """In the kind of file that its name says."""
    if file.suffix == ".csv":
        lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
        file.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    elif file.suffix == ".npz":
        np.savez(file, **table)
    else:
        parquet.write_table(pa.table(table), file)
    return file


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_a_table_becomes_the_reference(service: Service, tmp_path: Path, suffix: str) -> None:
    """Columns by feature; what is none of the model's is left out and named."""
    file = save(tmp_path / f"train.{suffix}", {**rows(), "label": list(range(200))})
    told = service.router("reference", "m", "--data", str(file), "--reason", "trained on it")
    assert told.output == (
        "note: left out, since m has no such feature: label\n"
        f"model 'm' is compared with 200 rows of train.{suffix}: 5 features\n"
    )
    assert service.kept.records["m", INPUTS].source == f"train.{suffix}"
    assert f"200 rows of train.{suffix}" in service.router("drift", "m").output
    assert service.kept.acts[0].reason == "trained on it"


def test_a_reference_may_be_written_for_a_version_to_come(service: Service, tmp_path: Path) -> None:
    """As the file that it brings; nothing changes now."""
    out = tmp_path / "2" / "reference" / "inputs.json"
    file = save(tmp_path / "t.npz", rows())
    told = service.router("reference", "m", "--data", str(file), "--out", str(out))
    assert told.output == f"written to {out}: 5 features of 200 rows\n"
    assert len(from_text(own_reference(tmp_path / "2")).features) == 5
    assert service.kept.records == {}
    assert own_reference(tmp_path / "3") == ""


def test_a_column_may_hold_a_whole_tensor(service: Service, tmp_path: Path) -> None:
    """As arrays, as lists; of outputs too."""
    x = np.random.default_rng(4).normal(size=(150, 3))
    table = {"x": x, "[b]kind[/]": np.array(["a"] * 150), "y": x[:, :2]}
    told = service.router("reference", "m", "--data", str(save(tmp_path / "t.npz", table)), "--json")
    assert json.loads(told.output) == {
        "model": "m", "file": "t.npz", "inputs": 5, "outputs": 2, "rows": 150, "notes": []
    }  # fmt: skip
    lists = {name: each.tolist() for name, each in table.items()}
    told = service.router("reference", "m", "--data", str(save(tmp_path / "t.parquet", lists)))
    assert told.output == "model 'm' is compared with 150 rows of t.parquet: 5 features and 2 of the outputs\n"


def test_outputs_are_taken_all_or_none(service: Service, tmp_path: Path) -> None:
    """Those of which the table has a part only are made of what is answered."""
    lifecycle, signature = service.lifecycle, SIGNATURE
    outputs = (*signature.outputs, TensorSpec("label", "INT64", (-1,)))
    versions = {"1": Version("m", "1", "d", "/p", VersionState.READY, "", Signature(signature.inputs, outputs))}
    route = Route("m", "1", versions, ModelSettings.model_validate({"drift": SETTINGS}))
    lifecycle.table = type(lifecycle.table)(2, {"m": route})
    file = save(tmp_path / "t.parquet", {**rows(), "label": list(range(200))})
    told = service.router("reference", "m", "--data", str(file))
    assert told.output.startswith("note: left out, since a reference of outputs needs all of them: label\n")
    assert list(service.kept.records) == [("m", INPUTS)]


def changed(**more: Any) -> dict[str, Any]:
    """A table with other columns; None: without it."""
    return {name: each for name, each in {**rows(), **more}.items() if each is not None}


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        (
            "a.csv",
            changed(debt=None),
            "a.csv has no column 'debt', one of 1 that 'x' lacks: add it, or leave it out with",
        ),
        ("a.csv", changed(age=["a"] * 200), "a.csv column 'age', row 1: 'a' is no number, and the model takes FP32"),
        ("a.npz", {"z": np.zeros(200)}, "a.npz has no column 'x', or columns age … debt; it has z: name the columns"),
        (
            "a.npz",
            {"x": np.zeros((200, 4))},
            "a.npz column 'x' has 4 values in a row, 'x' takes 3: is it another model's?",
        ),
        ("a.npz", rows(50), "a.npz has 50 rows: a reference needs at least 100"),
        ("a.npz", {"x": np.zeros((200, 3)), "z": np.zeros(3)}, "array 'z' has 3 rows and 'x' 200: all need the same"),
        (
            "a.parquet",
            {**rows(), "[b]kind[/]": [1] * 200},
            "column '[b]kind[/]' has numbers, and the model takes texts",
        ),
        ("a.parquet", {"x": [[1.0], [1.0, 2.0]] * 100}, "column 'x' has lists that are not of one length"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    service: Service, tmp_path: Path, name: str, table: dict[str, Any], said: str
) -> None:
    """In one line that names the column and the mend; the reference stays as it was."""
    told = service.router("reference", "m", "--data", str(save(tmp_path / name, table)))
    assert told.exit_code == 2
    assert said in told.output
    assert told.output.count("\n") == 1
    assert service.kept.records == {}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"x,x\n1,2\n", "a.csv has the column 'x' twice"),
        ("a.csv", b"x,z\n1,2\n3\n", "a.csv cannot be read: CSV parse error"),
        ("a.parquet", b"no parquet", "a.parquet cannot be read"),
        ("a.npz", b"PK\x03\x04", "a.npz"),
        ("a.txt", b"1 2", "a.txt: expected a file that ends in .csv, .npz or .parquet"),
    ],
)
def test_files_that_are_no_tables_are_refused(
    service: Service, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    """In one line."""
    file = tmp_path / name
    file.write_bytes(content)
    told = service.router("reference", "m", "--data", str(file))
    assert told.exit_code == 2
    assert said in told.output
    assert told.output.count("\n") == 1


def test_a_table_is_rounded_as_what_comes_is() -> None:
    """A number in a table has more digits than a half has, and a key of 64 bits may need all of them: the same rows,
    as they come, are no others."""
    values: dict[str, tuple[str, Any]] = {
        "half": ("FP16", np.full(300, 1000.3)),
        "brain": ("BF16", np.tile([0.1, 0.7], 150)),
        "single": ("FP32", np.round(np.linspace(0, 1, 300), 1)),
        "key": ("UINT64", np.tile(np.array([3, 2**63 + 2**40], np.uint64), 150)),
    }
    specs = tuple(TensorSpec(name, datatype, (-1,)) for name, (datatype, _) in values.items())
    version = Version("m", "1", "d", "/p", VersionState.READY, "", Signature(specs, ()))
    table = Table("t.npz", {name: each for name, (_, each) in values.items()}, 300)
    found, _ = references(table, Route("m", "1", {"1": version}), [])
    come = {name: each.astype(DTYPES[datatype]) for name, (datatype, each) in values.items()}
    assert (found.counted(found.layout.cells(come, 300)).bins == found.counts).all()
