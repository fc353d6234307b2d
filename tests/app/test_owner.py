"""What the owner of a model sees of a real server: is it still right, what is recorded, how it is trained anew."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.server import BOUND_S, MODELS, ROUTER, Server, environment, eventually, pixels, put, router, running

SETTINGS = """
[ledger]
enabled = true
[accuracy]
baseline_requests = 30
[recording]
enabled = true
share = 1
rotate_s = 1
"""
TRAINER = """
import os, pathlib, shutil, sys, time
what = pathlib.Path(sys.argv[1]).read_text()
print("the trainer was told to", what, flush=True)
if what == "hang":
    time.sleep(600)
if what == "fail":
    sys.exit(4)
shutil.copytree(sys.argv[2], os.environ["ROUTER_OUTPUT_DIR"], dirs_exist_ok=True)
"""


class Owner:
    """Of `digits`, at a terminal."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.admin = server.admin
        self._server = server
        self._folder = folder
        self._asked = 0

    def says(self, *words: str, code: int = 0) -> str:
        """What a command tells, in one line; it must end with this code."""
        told = router(*words, "--admin", self.admin)
        assert told.exit_code == code, told.output
        return " ".join(told.output.split())

    def knows(self, *words: str) -> Any:
        """The same as JSON."""
        return json.loads(self.says(*words, "--json"))

    def come_true(self, count: int, off: int) -> str:
        """So many are asked, and what is right is `off` from what was answered."""
        lines = ["request_id,truth"]
        for _ in range(count):
            self._asked += 1
            name = f"r{self._asked}"
            reply = self._server.client().infer("digits", {"pixels": pixels()}, id=name, deadline=10)
            lines.append(f"{name},{(int(reply['label'][0]) + off) % 10}")
        table = self._folder / "true.csv"
        table.write_text("\n".join(lines) + "\n")
        return self.says("actuals", "digits", str(table))

    def follows(self, *words: str) -> subprocess.Popen[str]:
        """What is said by a command of its own, which has its time."""
        command = [str(ROUTER), *words, "--admin", self.admin]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd=self._folder
        )


def with_no_data(owner: Owner) -> None:
    """Each command tells what is missing and what to do; what there cannot be is one line."""
    unknown = owner.says("accuracy", "digits")
    assert unknown.startswith("unknown, digits: version 1 has no baseline yet: 0 of 30 requests came true or did not")
    assert "next: say what came true, by the ids of requests: `router actuals digits FILE`" in unknown
    assert "no file is there yet" in owner.says("recordings", "digits")
    drift = owner.says("drift", "digits")
    assert "the reference is being made of what comes: 0 of 1000 rows" in drift
    assert "`router reference digits --data FILE` sets one now" in drift
    policy = owner.says("retrain", "digits")
    assert "`router retrain digits --reason WHY` has it trained now there have been no runs" in policy
    assert "wine has no policy of retraining" in owner.says("retrain", "wine")
    for words, code, told in (
        ("accuracy nobody", 1, "unknown model 'nobody'"),
        ("accuracy wine", 1, "model 'wine' keeps no ledger of its predictions"),
        ("accuracy digits --version 9", 1, "no prediction of version 9 is kept; of these some are: none"),
        ("accuracy digits --since 20d", 2, "20 days back: more than 0 are meant, and 15 are the most"),
        ("retrain digits --follow", 1, "no retraining of digits is under way: `router retrain digits --reason WHY`"),
        ("retrain digits --stop", 1, "no retraining of model 'digits' is under way"),
        ("retrain wine --reason x", 1, "model 'wine' has no policy of retraining"),
        ("retrain nobody", 1, "unknown model 'nobody'"),
        ("webhook", 1, "no webhook is configured"),
    ):
        said = owner.says(*words.split(), code=code)
        assert said.startswith("Error: "), said
        assert told in said, said


def as_it_becomes_wrong(owner: Owner, page: Path) -> None:
    """First it is right, then it is not: the figures, the page, the next step; other commands tell of it too."""
    assert owner.come_true(60, off=0) == "model 'digits': 60 of 60 actuals joined"
    eventually(lambda: owner.knows("accuracy", "digits")["status"] == "green", "there is no baseline")
    owner.come_true(120, off=1)
    red = eventually(lambda: made if (made := owner.knows("accuracy", "digits"))["status"] == "red" else None)
    assert red is not None
    (version,) = red["versions"]
    assert (version["version"], version["role"], version["said"], version["rows"]) == ("1", "champion", 180, 180)
    assert red["next_step"].endswith("`router retrain digits --reason WHY` has a new version trained")
    told = owner.says("accuracy", "digits:champion")
    assert told.startswith("red, digits: version 1 is right less often than it was: ")
    assert "actuals since the controller began: 180 joined" in told
    assert owner.says("accuracy", "digits", "--html", str(page)) == f"written to {page}"
    assert "<title>Accuracy of digits</title>" in page.read_text(encoding="utf-8")
    ill = "digits: its accuracy is red next: router accuracy digits"
    eventually(lambda: ill in owner.says("health"), "health does not tell of it")
    eventually(lambda: owner.knows("recordings", "digits")["rows"] >= 100, "little is recorded")


def that_is_stopped(owner: Owner, what: Path) -> None:
    """By hand, its command too; whoever follows it learns of its end, with an exit code."""
    what.write_text("hang")
    with owner.follows("retrain", "digits", "--reason", "a new scanner", "--follow") as follower:
        eventually(lambda: [each["state"] for each in owner.knows("retrain", "digits")["runs"]] == ["running"])
        assert "retraining 1 of model 'digits' is under way" in owner.says("retrain", "digits", "--reason", "x", code=1)
        assert "`router retrain digits --follow` tells how retraining 1 goes" in owner.says("retrain", "digits")
        ended = "retraining 1 of digits has ended: stopped by local (a mistake)"
        assert owner.says("retrain", "digits", "--stop", "--reason", "a mistake") == ended
        told, _ = follower.communicate(timeout=BOUND_S)
    assert follower.returncode == 3, told
    assert told.splitlines()[-1] == "retraining 1 of digits: stopped, stopped by local (a mistake)"
    over = owner.says("retrain", "digits", "--follow", code=1)
    assert "(the last, 1, has ended: stopped, stopped by local (a mistake))" in over


def in_turn(told: str, of: Sequence[str]) -> bool:
    """Whether these follow one another."""
    at = 0
    for word in of:
        at = told.find(word, at)
        if at < 0:
            return False
        at += len(word)
    return True


def that_fails_and_one_that_is_done(owner: Owner, what: Path) -> None:
    """Both are followed to their ends: the story, the last line, the exit code; then the runs with their lineage."""
    what.write_text("fail")
    failed = owner.says("retrain", "digits", "--reason", "again", "--follow", code=3)
    assert in_turn(failed, ("✗ digits 1: retraining 2 has ended (failed)", "retraining 2 of digits: failed", "code 4"))
    what.write_text("bring")
    assert owner.says("retrain", "digits", "--reason", "at last").startswith("retraining 3 of digits has begun: ")
    done = owner.knows("retrain", "digits", "--follow")
    assert (done["id"], done["state"], done["version"], done["parent"]) == (3, "done", "2", "1")
    told = owner.says("retrain", "digits")
    assert "`router report digits:2` shows its gates, `router promote digits:2` makes it champion" in told
    assert in_turn(told, ("retraining 3, the newest", "at last", "the trainer was told to bring"))
    states = [each["state"] for each in owner.knows("retrain", "digits", "--last", "2")["runs"]]
    assert states == ["done", "failed"]


@pytest.mark.story
def test_an_owner_sees_a_decline_and_has_the_model_trained_anew(tmp_path: Path) -> None:
    """One server: with no data, as it becomes wrong, three runs of retraining, and when the server is down."""
    models = put(tmp_path / "models", "digits:1", "wine")
    with (models / "digits/model.toml").open("a") as settings:
        settings.write(SETTINGS)
    what, trainer, config = tmp_path / "what", tmp_path / "trainer.py", tmp_path / "router.toml"
    trainer.write_text(TRAINER)
    command = json.dumps([sys.executable, str(trainer), str(what), str(MODELS / "digits/2")])
    config.write_text(f"[retraining.digits]\ncommand = {command}\ntimeout_s = 60\n")
    with running(tmp_path, models=models, config=config) as server:
        owner = Owner(server, tmp_path)
        with_no_data(owner)
        as_it_becomes_wrong(owner, tmp_path / "accuracy.html")
        that_is_stopped(owner, what)
        that_fails_and_one_that_is_done(owner, what)
    for words in ("accuracy digits", "drift digits", "health", "retrain digits --follow", "recordings digits"):
        assert "nothing listens at" in owner.says(*words.split(), code=1)
