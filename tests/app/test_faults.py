"""Models that are made to fail, on real servers: callers are answered all the same."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from router.app.board import worker_slot
from router.app.faults import fault_of
from router.client import InferenceError
from router.core.faults import Fault
from router.edge.admin_client import AdminClient
from router.errors import SettingsError
from tests.server import Server, eventually, pixels, put, router, running

WINE = {
    **{name: np.ones((1, 1), np.float32) for name in ("alcohol", "flavanoids", "proline")},
    "color": np.array([["red"]], dtype=object),
}
DEFAULT = """
[deadline]
sla_ms = 300

[fallback]
chain = ["default"]
default = { label = -1, probabilities = 0.0 }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`digits` has a default, `wine` promises nothing."""
    folder = tmp_path_factory.mktemp("faults")
    models = put(folder / "models", "digits", "wine")
    with (models / "digits/model.toml").open("a") as toml:
        toml.write(DEFAULT)
    with running(folder, models=models, allow_faults=True) as server:
        yield server


@pytest.fixture(autouse=True)
def healed(server: Server) -> Iterator[None]:
    """Each test leaves all models well."""
    yield
    with AdminClient(server.admin) as admin:
        for model in ("digits", "wine"):
            admin.set_faults(model, ())


def inject(server: Server, model: str, *faults: Fault) -> None:
    """In effect when it returns."""
    with AdminClient(server.admin) as admin:
        assert admin.set_faults(model, faults) == 1


@pytest.mark.parametrize("kind", ["hang", "hang_hard"])
def test_a_model_that_hangs_is_answered_for_by_its_default_before_the_deadline(server: Server, kind: str) -> None:
    """By the time that its settings allow; when the model is well again it answers itself."""
    client = server.client()

    def label() -> list[int]:
        found: list[int] = client.infer("digits", {"pixels": pixels()}, deadline=10)["label"].tolist()
        return found

    label()
    inject(server, "digits", Fault(kind=kind, ms=1000))
    assert [label() for _ in range(5)] == [[-1]] * 5
    inject(server, "digits")
    eventually(lambda: label() != [-1], "the model does not come back")


def test_an_error_is_told_and_nan_is_answered(server: Server) -> None:
    """As by a model that fails, or is broken in the middle; only the floating outputs change."""
    client = server.client()
    inject(server, "wine", Fault(kind="error"))
    with pytest.raises(InferenceError, match="a fault was injected"):
        client.infer("wine", WINE, deadline=10)
    inject(server, "wine", Fault(kind="nan"))
    ill = client.infer("wine", WINE, deadline=10)
    assert np.isnan(ill["probabilities"]).all()
    assert ill["label"].dtype == object
    inject(server, "wine")
    assert not np.isnan(client.infer("wine", WINE, deadline=10)["probabilities"]).any()


def test_a_shift_changes_the_numbers_of_one_version(server: Server) -> None:
    """Not those of another, and no text."""
    client = server.client()
    well = client.infer("wine", WINE, deadline=10)
    serving = well.version
    inject(server, "wine", Fault(kind="shift", by=3.0, version=str(int(serving) + 1)))
    assert (client.infer("wine", WINE, deadline=10)["probabilities"] == well["probabilities"]).all()
    inject(server, "wine", Fault(kind="shift", by=3.0, version=serving))
    ill = client.infer("wine", WINE, deadline=10)
    assert np.allclose(ill["probabilities"], well["probabilities"] + 3)
    assert ill["label"].tolist() == well["label"].tolist()


def test_the_server_says_that_it_can_be_made_to_fail(server: Server) -> None:
    """By its extensions."""
    assert "fault_injection" in server.client().metadata(deadline=10).extensions


def test_a_worker_that_comes_back_has_the_faults(server: Server) -> None:
    """From its first answer on."""
    inject(server, "wine", Fault(kind="error"))
    old = server.worker(0)
    os.kill(old, signal.SIGKILL)
    server.back(worker_slot(0), old)
    with pytest.raises(InferenceError, match="a fault was injected"):
        server.client(1).infer("wine", WINE, deadline=10)


def test_the_command_sets_shows_and_clears(server: Server) -> None:
    """As a table, or for programs."""
    admin = ("--admin", server.admin)
    assert router("faults", *admin).output == "nothing is made to go wrong\n"
    shown = router("faults", "wine", "--set", "kind=hang,share=0.5,ms=100", "--set", "kind=nan", *admin)
    assert shown.exit_code == 0, shown.output
    for word in ("wine", "hang", "0.5", "100 ms", "nan"):
        assert word in shown.output
    told = json.loads(router("faults", "--json", *admin).stdout)
    assert told["wine"][0] == {"kind": "hang", "share": 0.5, "ms": 100.0, "after_s": 0.0}
    assert router("faults", "wine", "--clear", *admin).output == "nothing is made to go wrong in wine\n"
    one = router("faults", "wine", "--set", "kind=error,share=0.05,version=2", "--set", "kind=shift,by=-1.5", *admin)
    assert [line.split()[1:6] for line in one.output.splitlines() if " wine " in line] == [
        ["wine", "│", "2", "│", "error"],
        ["wine", "│", "all", "│", "shift"],
    ]
    assert " -1.5 " in one.output
    told = json.loads(router("faults", "--json", *admin).stdout)
    assert told["wine"] == [
        {"kind": "error", "share": 0.05, "after_s": 0.0, "version": "2"},
        {"kind": "shift", "share": 1.0, "after_s": 0.0, "by": -1.5},
    ]
    router("faults", "wine", "--clear", *admin)
    refused = router("faults", "wine", "--set", "kind=nan,replica=7", *admin)
    assert refused.output == "Error: `faults.0.replica` = 7: by sessions.replicas the last is 0\n"


def test_settings_make_a_model_fail_only_where_that_is_allowed(tmp_path: Path) -> None:
    """From the start; elsewhere it is unavailable and says why, and nobody can make it fail."""
    models = put(tmp_path / "models", "wine", "digits")
    (models / "wine/model.toml").write_text('[faults]\nkind = "error"\n')
    with (
        running(tmp_path / "allowed", models=models, allow_faults=True) as server,
        pytest.raises(InferenceError, match="a fault was injected"),
    ):
        server.client().infer("wine", WINE, deadline=10)
    with running(tmp_path / "not", models=models) as server:
        assert "fault_injection" not in server.client().metadata(deadline=10).extensions
        with pytest.raises(InferenceError, match="--allow-faults"):
            server.client().infer("wine", WINE, deadline=10)
        refused = router("faults", "digits", "--clear", "--admin", server.admin)
        assert refused.exit_code == 1
        assert refused.output == (
            "Error: faults are not allowed here: start the server with --allow-faults, for tests only\n"
        )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hang", "--set 'hang': expected KEY=VALUE,…, for example kind=stall,share=0.01,ms=100"),
        ("kind=stall,ms=x", "--set 'kind=stall,ms=x': `ms` is a number"),
        ("kind=nan,kind=nan", "--set 'kind=nan,kind=nan': `kind` is given twice"),
        ("kind=sleepy", "--set 'kind=sleepy': `kind` = 'sleepy': it should be 'stall', 'hang', "),
        ("kind=nan,how=1", "--set 'kind=nan,how=1': unknown key `how`"),
        ("ms=1", "--set 'ms=1': `kind`"),
        ("kind=slow", "the kind `slow` needs `factor`"),
        ("kind=shift", "the kind `shift` needs `by`"),
        ("kind=shift,by=x", "--set 'kind=shift,by=x': `by` is a number"),
        ("kind=error,by=1", "the kind `error` takes no `by`: remove it"),
        ("kind=error,version=v2", "`version` = 'v2'"),
        ("kind=error,version=0", "`version` = '0'"),
        ("kind=error,share=nan", "`share` = nan: "),
    ],
)
def test_a_mistake_on_the_command_line_is_told(text: str, line: str) -> None:
    """Before any server is asked."""
    with pytest.raises(SettingsError) as raised:
        fault_of(text)
    assert line in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_change_names_its_model() -> None:
    """And is one thing or the other."""
    assert "name the MODEL" in router("faults", "--clear").output
    assert "give one of them" in router("faults", "m", "--clear", "--set", "kind=nan").output
