"""A real Prometheus scrapes a real server: what the dashboard asks for is there, and what the alerts look at.

Needs Debian's package `prometheus`.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from router.client import InferenceError
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Actual
from tests import slow_models
from tests.app.test_dashboards import ASKED, NAME, RULES, panels
from tests.prometheus import Prometheus, complaints, scraping
from tests.server import MODELS, Server, eventually, pixels, router, starting

HOSTILE = """<i>a<i> "b"\\ {c="d"} # HELP 'e' $f"""
"""A model's directory may be named so."""
TOML = {
    "digits": """
[ledger]
enabled = true
output = "label"
[accuracy]
baseline_requests = 30
[drift]
window_s = 1
min_samples = 50
max_per_s = 1000
reference_rows = 100
[[humility.rules]]
name = "torn"
kind = "uncertain"
output = "probabilities"
margin = 1.5
then = "note"
""",
    "twice": '[ledger]\nenabled = true\noutput = "y"\n',
    "stood-in": "[fallback]\nchain = ['default']\ndefault = { y = [0.0] }\n",
}
FAILS = "picky"
ROUTER_TOML = """
[webhook]
url = "http://127.0.0.1:9/"
secret_env = "HOOK"
[retraining.digits]
schedule = "0 3 1 1 *"
"""
RARE = {"Slow runs without a second attempt"}
"""Panels of what happens only now and then."""
DUE = {"RouterErrorBudgetBurnsFast": FAILS, "RouterModelRed": FAILS, "RouterFallbackShareHigh": "stood-in"}
"""Alerts of which one model gives reason, beside those that hang on how fast this machine is."""


def lay_out(models: Path) -> None:
    """Models that serve well, one that fails and one that is stood in for."""
    shutil.copytree(MODELS / "digits", models / "digits")
    shutil.copytree(MODELS / "digits" / "1", models / HOSTILE / "1")
    for model in ("twice", "stood-in", FAILS):
        made = slow_models.scale(2.0) if model == "twice" else slow_models.picky()
        slow_models.save(made, models, model)
    for model, text in TOML.items():
        (models / model / "model.toml").write_text(text)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server of these models: more than most tests have, each to be tried first."""
    with starting(folder, models=folder / "models", config=folder / "router.toml") as server:
        eventually(lambda: server.serving, "does not serve in time", 60)
        yield server


@contextmanager
def traffic(server: Server) -> Iterator[None]:
    """Some hundred requests a second until the end, what came true of them, and a failure now and then."""
    over = threading.Event()
    told: list[BaseException] = []

    def send() -> None:
        x, client = np.ones(1, np.float32), server.client()
        nowhere = {"x": x, "i": np.array([9])}
        with AdminClient(server.admin) as admin:
            turn = 0
            while not over.wait(0.01):
                turn += 1
                label = client.infer("digits", {"pixels": pixels()}, id=f"d{turn}", deadline=5)["label"]
                client.infer("twice", {"x": x}, id=f"t{turn}", deadline=5)
                client.infer(HOSTILE, {"pixels": pixels()}, deadline=5)
                client.infer("stood-in", nowhere, deadline=5)
                with pytest.raises(InferenceError):
                    client.infer(FAILS, nowhere, deadline=5)
                if turn % 20 == 0:
                    admin.submit_actuals("digits", [Actual(request_id=f"d{turn - 10}", label=int(label[0]))])
                    admin.submit_actuals("twice", [Actual(request_id=f"t{turn - 10}", value=2.5)])

    def kept() -> None:
        try:
            send()
        except BaseException as error:  # noqa: BLE001  # told by the test
            told.append(error)

    thread = threading.Thread(target=kept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(15)
    assert not told, told


def asked(query: str, models: str = ".*", servers: str = ".*") -> str:
    """A query as Grafana sends it, with these chosen."""
    return query.replace("$instance", servers).replace("$model", models).replace("$__rate_interval", "5s")


def chosen(*names: str) -> str:
    """As Grafana writes the names of what was chosen into a query."""
    escaped = [re.sub(r"[\\^$*+?.()|[\]{}]", r"\\\\\g<0>", name) for name in names]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


@pytest.mark.story
def test_prometheus_sees_what_dashboard_and_alerts_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each panel draws something, each alert's figures are there, the right ones are due; no name breaks a page."""
    monkeypatch.setenv("HOOK", "a secret of sixteen bytes")
    lay_out(tmp_path / "models")
    (tmp_path / "router.toml").write_text(ROUTER_TOML)
    assert router("dashboards", "--write", str(tmp_path)).exit_code == 0
    queries = {(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]}
    with (
        serving(tmp_path) as server,
        scraping(tmp_path, server.addresses["http"], tmp_path / "alerts.yml") as prometheus,
        traffic(server),
    ):

        def empty() -> set[str]:
            return {title for title, query in queries if not prometheus.drawn(asked(query))}

        def due(rule: str) -> set[str]:
            return {found.get("model", "") for found in prometheus.now(exprs[rule])}

        exprs = {rule["alert"]: rule["expr"] for rule in RULES}
        with suppress(AssertionError):
            eventually(lambda: empty() <= RARE, bound_s=20)
        assert empty() - RARE == set(), "panels that draw nothing"
        eventually(lambda: all(model in due(rule) for rule, model in DUE.items()), "an alert is not due", 10)
        assert {rule for rule in exprs if due(rule) & {"digits", "twice"}} == set(), "of models that do well"
        _choices_are_found(prometheus, server.addresses["http"])
        for _, query in queries:  # with some of them chosen
            prometheus.drawn(asked(query, chosen("digits", "stood-in"), chosen(server.addresses["http"])))
        names = set(prometheus.ask("label/__name__/values"))
        assert {name for query in ASKED for name in NAME.findall(query)} - names <= {"router_hedges_refused_total"}
        _rules_are_looked_at(prometheus, exprs)
        page = httpx.get(f"{server.url}/metrics", timeout=5).text
        assert complaints(page) == []
        assert prometheus.log == ""


def _choices_are_found(prometheus: Prometheus, server: str) -> None:
    """By the queries that fill the dashboard's lists; names are as they are."""
    found = {}
    for query in ASKED:
        if listed := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
            found[listed[2]] = prometheus.ask(f"label/{listed[2]}/values", **{"match[]": asked(listed[1])})
    assert found == {"instance": [server], "model": sorted([*TOML, FAILS, HOSTILE])}


def _rules_are_looked_at(prometheus: Prometheus, exprs: dict[str, str]) -> None:
    """Each second, all of them, without a fault."""
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(exprs)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
