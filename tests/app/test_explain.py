"""`router explain`: the story of a request as a person reads it, and over a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.app.cli import main
from router.app.explain import tell
from router.pb.story_pb2 import Expected, Hedging, Run, Story
from tests.server import MODELS, router, running

ABOUT = {"id": "r1", "model": "m", "version": "2", "generation": 5, "received_unix_ns": 1234 * 10**6}


def text(**about: object) -> str:
    """A story in one line."""
    return " ".join(" ".join(tell(Story(**ABOUT, **about))).split())  # type: ignore[arg-type]


def run(**about: object) -> Run:
    """A run of 4 ms that began 1.2 ms after receipt."""
    figures = {"waited_ms": 1.2, "took_ms": 4, "over": True, "calls": 1, "rows": 1, "session": 1, "lane": "executor"}
    return Run(**figures | about)  # type: ignore[arg-type]


def test_a_hedged_request() -> None:
    """From receipt to answer, in the order of events."""
    shown = text(
        deadline_ms=50,
        reserve_ms=3,
        expected=Expected(wait_ms=0.5, behind=3),
        run=run(over=False, calls=2, rows=3, hedging=Hedging(sent=True, delay_ms=2.1, share=0.98, target="session 2")),
        hedge=run(took_ms=1.3, session=2),
        served_by="hedge",
        took_ms=4.6,
        kept_as="hedged",
    )
    parts = (
        "request 'r1' to m version 2 (generation 5, worker 0) received",
        ":01.234, 50 ms to the deadline, 3 ms reserve",
        "waited 1.2 ms (0.5 ms expected, 3 others before it)",
        "had run 4 ms on session 1 (executor), 3 rows with 1 other request, and ran on",
        "the run took longer than 2.1 ms (98 % of runs do not): hedged on session 2",
        "the hedge ran 1.3 ms on session 2",
        "answered by hedge after 4.6 ms",
    )
    places = [shown.find(part) for part in parts]
    assert -1 not in places, shown
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"run": run(hedging=Hedging(why="the budget is spent"))}, "not hedged, the budget is spent"),
        ({"run": run(loop_taken=True)}, "another thread took over the loop"),
        ({"served_by": "champion", "took_ms": 9, "kept_as": "slow"}, "answered by champion after 9 ms, which is slow"),
        ({"served_by": "failover", "served_model": "spare"}, "answered by failover 'spare' after"),
        ({"served_by": "cached", "fallback_reason": "failed", "cause": "no"}, "failed: no · answered by cached"),
        ({"served_by": "cached", "took_ms": 0.1}, "needed no run: a fresh answer was remembered · answered by cached"),
        ({"served_by": "failover", "fallback_reason": "slow"}, "the model did not answer: slow"),
        ({"status": "RESOURCE_EXHAUSTED", "expected": Expected(wait_ms=80, behind=9)}, "never ran: 80 ms expected, 9"),
        ({"status": "RESOURCE_EXHAUSTED", "took_ms": 0.1}, "refused with RESOURCE_EXHAUSTED after 0.1 ms"),
        (
            {"run": run(), "served_by": "champion", "humility": "far,torn"},
            "not to be trusted by the rules far, torn · answered by champion",
        ),
        ({"status": "CANCELLED", "took_ms": 123.4}, "the caller went away after 123 ms"),
    ],
)
def test_what_else_may_happen(about: dict[str, object], said: str) -> None:
    """Each has its words."""
    assert said in text(**about)


def test_what_a_caller_wrote_is_shown_as_text() -> None:
    """Control characters of an id never reach the terminal."""
    lines = tell(Story(id="a\x1b[31m\nb", model="m", cause="x\ny"))
    assert all(line.isprintable() for line in lines)


def test_nothing_to_look_for() -> None:
    """One line with the mend."""
    done = CliRunner().invoke(main, ["explain"])
    assert done.exit_code == 2
    assert "--last N" in done.stderr


def test_a_request_is_explained(tmp_path: Path) -> None:
    """`router infer --id`, then `router explain`, whichever worker it was."""
    with running(tmp_path, workers=2) as server:
        asked = router(
            "infer", "digits", "--input", str(MODELS / "digits" / "image.npy"), "--id", "r1", "--target", server.grpc
        )
        assert asked.exit_code == 0, asked.stderr
        shown = router("explain", "r1", "--admin", server.admin)
        assert shown.exit_code == 0, shown.stderr
        assert "request 'r1' to digits version 2" in shown.stdout
        assert "answered by champion" in shown.stdout
        (story,) = json.loads(router("explain", "--last", "5", "digits", "--json", "--admin", server.admin).stdout)[
            "stories"
        ]
        assert story["id"] == "r1"
        unknown = router("explain", "r2", "--admin", server.admin)
        assert unknown.exit_code == 1
        assert unknown.stderr.startswith("Error: no story of request 'r2' is kept: each worker keeps its newest 4096")
        assert unknown.stderr.count("\n") == 1
