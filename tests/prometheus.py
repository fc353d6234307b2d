"""Prometheus and its `promtool`, of Debian's package: they read what a router tells, and its alert rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.server import eventually, free_port

STOP_S = 20.0
LINT = 3
"""The exit code of promtool where it finds a name or a unit wrong."""
GIVEN = "nv_"
"""Triton gave these: `_us`, `_secs` and a gauge that ends in `_count` stay what dashboards know."""


def tool(name: str) -> str:
    """Where a program of the package is; one that is missing fails the test."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: on Debian, apt install prometheus"
    return found


def promtool(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says, with `given` on its standard input."""
    command = [tool("promtool"), *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def complaints(page: str) -> list[str]:
    """What `promtool check metrics` has against a page of metrics, but for names that others gave."""
    checked = promtool("check", "metrics", given=page)
    assert checked.returncode in {0, LINT}, checked.stderr
    return [line for line in checked.stderr.splitlines() if not line.startswith(GIVEN)]


class Prometheus:
    """A server that scrapes. `log` is what it has written."""

    def __init__(self, url: str, log: Path) -> None:
        self._http = httpx.Client(base_url=url, timeout=10)
        self._log = log

    @property
    def log(self) -> str:
        """Its warnings and errors so far."""
        return self._log.read_text(encoding="utf-8")

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of its HTTP API; an error or a warning fails the test."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        assert not answer.get("warnings"), (parameters, answer)
        return answer["data"]

    def now(self, expression: str) -> list[dict[str, str]]:
        """The labels of what an expression finds now."""
        return [each["metric"] for each in self.ask("query", query=expression)["result"]]

    def drawn(self, expression: str, seconds: int = 30) -> list[dict[str, str]]:
        """The labels of what a panel would draw of the last seconds."""
        now = float(self.ask("query", query="time()")["result"][0])
        found = self.ask("query_range", query=expression, start=now - seconds, end=now, step=1)
        return [each["metric"] for each in found["result"]]

    def close(self) -> None:
        """Hang up."""
        self._http.close()


@contextmanager
def scraping(folder: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes HOST:PORT every second and looks at these rules as often; stopped at the end."""
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "router", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = [
        tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder)
    made = Prometheus(f"http://{address}", log)

    def up() -> bool:
        assert process.poll() is None, f"Prometheus has ended: {made.log}"
        return made.ready

    try:
        eventually(up, f"Prometheus does not answer: {log}")
        yield made
    finally:
        made.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
