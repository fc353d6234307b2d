"""A whole server and its webhook: the receiver is away and the controller is killed, and no act is lost."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from router.app.board import CONTROLLER
from router.core.signature import genuine
from tests.control.webhook_receiver import receiving, status
from tests.server import eventually, put, router, running

SECRET = b"a secret of tests"


@pytest.mark.story
def test_no_act_is_lost_while_the_receiver_is_away_and_the_controller_is_killed(tmp_path: Path) -> None:
    """Each comes under one id, signed, in CloudEvents' form; `router webhook` tells what waits and tries it."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with receiving() as receiver:
        config = tmp_path / "router.toml"
        config.write_text(f'[webhook]\nurl = "{receiver.url}"\nsecret_file = "{secret}"\nsource = "/story"\n')
        receiver.answer = status(503)
        models = put(tmp_path / "models", "digits")
        with running(tmp_path, models=models, config=config) as server:

            def say(*words: str, code: int = 0) -> str:
                told = router(*words, "--admin", server.admin)
                assert told.exit_code == code, told.output
                return told.output

            for number in range(3):
                say("freeze", "digits", "--reason", f"{number} before")
                say("thaw", "digits", "--reason", f"{number} before")
            receiver.until(lambda: len(receiver.events) > 0)
            assert "503" in say("webhook", "--test", code=1)
            pid = server.controller
            say("freeze", "digits", "--reason", "at the kill")
            os.kill(pid, signal.SIGKILL)
            server.back(CONTROLLER, pid)
            eventually(lambda: router("status", "--admin", server.admin).exit_code == 0)
            say("thaw", "digits", "--reason", "after the kill")
            eventually(lambda: json.loads(say("webhook", "--json"))["pending"] >= 8)
            receiver.answer = status(200)
            assert say("webhook", "--test").startswith("delivered: 200 after ")  # and what waits is sent
            eventually(lambda: json.loads(say("webhook", "--json"))["pending"] == 0, "events still wait")
            acts = [f"{number} before" for number in range(3) for _ in range(2)] + ["at the kill", "after the kill"]
            frozen = {
                event["id"]: event["data"]["facts"]["reason"]
                for event in receiver.events
                if event["type"] == "router.frozen"
            }
            assert sorted(frozen.values()) == sorted(acts)
            for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
                at = int(headers["x-router-signature"][2:].partition(",")[0])
                assert genuine(SECRET, headers["x-router-signature"], body, at)
            assert {event["source"] for event in receiver.events} == {"/story"}
        assert SECRET.decode() not in server.err + server.out + (server.state / "options.json").read_text()
