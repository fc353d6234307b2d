"""`router health`: how models do, for people, programs and browsers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from router.app import health as command
from router.app.health_page import page
from router.app.health_text import bars, overview, rate, whole
from router.errors import NotReady
from router.pb.health_report_pb2 import Budget, Figures, GetHealthRequest, HealthReport, Minute, ModelHealth
from router.pb.health_report_pb2 import VersionHealth as Version
from tests.rendering import rendered
from tests.server import Load, eventually, put, router, running

HOSTILE = "[red]<b>evil</b>\x1b[31m"


def figures(seconds: float = 60.0, **more: Any) -> Figures:
    """Of a window."""
    return Figures(
        seconds=seconds, requests=600, per_second=10.0, failures={"BACKEND": 30, "OTHER": 0}, error_rate=0.05,
        attainment=0.95, p50_seconds=0.001, p99_seconds=0.0123, p999_seconds=0.5, hedges_sent=4, hedges_won=3,
        mean_queue_seconds=0.0002, runs=300, mean_rows=2.0, late=2, **more,
    )  # fmt: skip


def report(name: str = "m") -> HealthReport:
    """One model that does badly, one that nobody asks."""
    version = Version(
        number="3",
        role="champion",
        level="red",
        level_seconds=90.0,
        windows=[figures(60.0), figures(300.0), figures(3600.0)],
        budget=Budget(left=-3.0, burn_5m=50.0, burn_1h=40.0),
        pending=7,
        minutes=[*([Minute(per_second=0.0)] * 58), Minute(per_second=4.0), Minute(per_second=8.0, p99_seconds=0.02)],
    )
    ill = ModelHealth(
        model=name, level="red", reasons=["5.00% of 600 requests failed", f"of {name}"],
        next_steps=[f"router explain {name} --last 20"], target_ms=20.0, availability=0.999, five_minutes=figures(),
        budget=version.budget, versions=[version],
    )  # fmt: skip
    rests = ModelHealth(model="a rests", level="green", reasons=["no request since the controller started"])
    return HealthReport(seconds=1.7e9, known_seconds=7200.0, workers_resident_bytes=123_000_000, models=[rests, ill])


def test_a_line_for_each_model_the_worst_first() -> None:
    """Figures of the last 5 minutes; what is not known is a dash, and drift is a column only where somebody looks."""
    shown = rendered(overview(report()))
    lines = [line for line in shown.splitlines() if "│" in line]
    assert [cell.strip() for cell in lines[0].split("│")[1:-1]] == [
        "m", "red", "10", "5.0 %", "0 %", "12.3 ms", "95.0 %", "spent 4 times",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[1].split("│")[1:-1]] == ["a rests", "green", "0", *["–"] * 5]
    assert shown.splitlines()[-3:] == ["m: 5.00% of 600 requests failed", "m: of m", "next: router health m"]
    assert "drift" not in shown
    with_drift = report()
    with_drift.models[0].drift = "yellow"
    shown = rendered(overview(with_drift))
    assert shown.splitlines()[-2:] == ["a rests: its drift is yellow", "next: router drift a rests"]
    assert "there are no models" in rendered(overview(HealthReport()))


def test_a_narrow_terminal_has_the_most_important_figures() -> None:
    """In lines of their own length; what there is no room for `router health MODEL` tells."""
    made = report()
    made.models[1].drift = made.models[1].accuracy = "red"
    lines = rendered(overview(made), width=80).splitlines()
    (row,) = [line for line in lines if line.startswith("│ m ")]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["m", "red", "red", "red", "10", "5.0 %", "12.3 ms"]
    made.models[1].versions[0].minutes[-1].p99_seconds = 0.000425
    told = rendered(*whole(made, made.models[1]), width=80).splitlines()
    assert len([line for line in told if line.endswith((" ≤ 8", " ≤ 0.425 ms"))]) == 2


def test_all_of_one_model() -> None:
    """Why, what next, a column for each window, the budget, the last hour."""
    made = report()
    shown = rendered(*whole(made, made.models[1]))
    for words in (
        "m is red", "next: router explain m --last 20", "99.9 % of the requests are to be answered within 20 ms",
        "version 3 (champion): red, for 2 minutes", "1 minute", "5 minutes", "1 hour", "failed, backend",
        "12.3 ms", "3 / 4", "error budget of a day: spent 4 times; it burns 50 times", "7 requests wait or run",
        "the last hour, by the minute", "▁▅█ ≤ 8", "≤ 20 ms", "workers take 123 MB",
    ):  # fmt: skip
        assert words in shown, words
    assert "failed, other" not in shown
    assert "no request since" in rendered(*whole(made, ModelHealth(versions=[Version(number="1")])))


def test_words_of_others_are_text() -> None:
    """Neither markup of the terminal nor control characters nor tags of a page act."""
    made = report(HOSTILE)
    for shown in (rendered(overview(made)), rendered(*whole(made, made.models[1]))):
        assert "[red]<b>evil</b> [31m" in shown
        assert "\x1b[31m" not in shown
    assert "<b>evil" not in page(made)
    assert "&lt;b&gt;evil" in page(made)


def test_a_page_with_charts() -> None:
    """Tables of all windows, the rate and the p99 of the last hour, the target."""
    made = report()
    made.models[1].drift = "red"
    text = page(made)
    for words in ("Health of 2 models", "p99 of the time to an answer", "Requests a second", "5 minutes"):
        assert words in text
    assert "http-equiv" not in text
    assert "5.00% of 600 requests failed<br>of m<br><b>Next:</b> <code>router explain m --last 20</code>" in text
    assert "<b>Next:</b> <code>router drift m</code>" in text
    assert "There are no models." in page(HealthReport())


def test_bars_are_from_nothing_to_the_most() -> None:
    """What is not known is a gap; nothing at all is the lowest bar."""
    assert bars([0.0, 4.0, 8.0, float("nan")]) == "▁▅█ "
    assert bars([0.0, 0.0]) == "▁▁"
    assert bars([]) == ""
    assert [rate(each) for each in (0.0, 0.00025, 0.25, 0.9995, 1.0)] == [
        "0 %",
        "0.025 %",
        "25.0 %",
        "99.950 %",
        "100 %",
    ]


class Client:
    """Answers like a server, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def other(self, _: object, method: str, request: GetHealthRequest) -> HealthReport:
        """The report."""
        assert method == "GetHealth"
        self.asked.append(request.model)
        if self.error is not None:
            raise self.error
        made = report()
        if request.model:
            del made.models[0]
        return made


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """In the place of a connection."""
    made = Client()
    monkeypatch.setattr("router.app.admin_reach.AdminReach.client", lambda *_: made)
    return made


def said(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(command.health, list(words))


def test_the_command(client: Client, tmp_path: Path) -> None:
    """All models, one, JSON, a page."""
    assert "a rests" in said().output
    assert "next: router explain" in said("m").output
    made = json.loads(said("m", "--json").output)
    assert made["models"][0]["versions"][0]["windows"][0]["p99_seconds"] == 0.0123
    assert made["models"][0]["five_minutes"]["failures"] == {"BACKEND": 30, "OTHER": 0}
    assert said("m", "--html", str(tmp_path / "x.html")).output == f"written to {tmp_path / 'x.html'}\n"
    assert "Health: m" in (tmp_path / "x.html").read_text()
    assert client.asked == ["", "m", "m", "m"]


@pytest.mark.usefixtures("client")
def test_it_is_shown_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of JSON each; until Ctrl-C or the end of its time."""
    clock = [0.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(command.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    lines = said("m", "--watch", "--for", "2.5", "--json").output.splitlines()
    assert [json.loads(line)["models"][0]["level"] for line in lines] == ["red"] * 4
    assert "m is red" in said("m", "--watch", "--for", "1").output


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("m", "--for", "3"), 2, "--for SECONDS goes with --watch"),
        (("m", "--watch", "--html", "x.html"), 2, "--html FILE is written once"),
        (("m", "--html", "/nowhere/x.html"), 1, "/nowhere/x.html cannot be written"),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], code: int, told: str) -> None:
    """With what is to be done."""
    result = said(*words)
    assert (result.exit_code, told in result.output) == (code, True)


def test_no_answer_is_told_in_one_line(client: Client) -> None:
    """As the server says it."""
    client.error = NotReady("the server starts: ask again")
    result = said()
    assert (result.exit_code, result.output) == (1, "Error: the server starts: ask again\n")


@pytest.mark.story
def test_a_model_that_fails_is_red_and_says_why(tmp_path: Path) -> None:
    """In a real server: requests are counted, a fault is seen within seconds, metrics tell it too."""
    put(tmp_path / "models", "digits")
    with running(tmp_path, models=tmp_path / "models", allow_faults=True) as server, Load(server, callers=2) as load:
        load.more(300)
        well = eventually(lambda: _asked(server, 100), "no requests are counted")
        assert (well["level"], well["versions"][0]["role"]) == ("green", "champion")
        assert router("faults", "digits", "--set", "kind=error", "--admin", server.admin).exit_code == 0
        ill = eventually(lambda: made if (made := _asked(server, 1))["level"] == "red" else None, "it is not red")
        assert ill is not None
        assert "requests failed" in ill["reasons"][0]
        assert ill["next_steps"][0] == "router explain digits --last 20"
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'router_health_status{model="digits"} 2.0' in metrics
        assert 'router_error_budget_left{model="digits"} -' in metrics


def _asked(server: Any, least: int) -> dict[str, Any]:
    result = router("health", "digits", "--json", "--admin", server.admin)
    assert result.exit_code == 0, result.output
    (model,) = json.loads(result.output)["models"]
    found: dict[str, Any] = model
    return found if found.get("five_minutes", {}).get("requests", 0) >= least else {}
