"""A whole server whose trainings fail in every way, whose recordings are damaged, and that is told what is not so."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from router.app.board import CONTROLLER
from router.control.recorded_schema import FOLDER
from tests.control.webhook_receiver import receiving
from tests.server import Load, Server, eventually, put, router, running

SETTINGS = """
[ledger]
enabled = true
output = "label"
[recording]
enabled = true
share = 1
rotate_s = 1
"""
TRAINER = """
case $(cat "$MODE") in
fails) echo 'no data'; exit 3;;
hangs) trap '' TERM; echo 'for ever'; while :; do sleep 1; done;;
floods) yes | head -c 18000000; exit 4;;
copies) cp -r "$ROUTER_MODEL_DIR/1/." "$ROUTER_OUTPUT_DIR";;
sleeps) exec sleep 60;;
esac
"""
TRAININGS = {
    "fails": r"failed\): the command failed, exit code 3: no data",
    "hangs": r"timeout\): the command was ended after 2 s \(timeout_s\): for ever",
    "floods": r"failed\): the command failed, exit code 4: y",
    "copies": r"same\): the same model: its files are those of version 1, so it is not taken",
}


def refused(*words: str, server: Server) -> str:
    """What a command says that is refused, in one line."""
    told = router(*words, "--admin", server.admin)
    assert told.exit_code != 0, told.output
    assert told.output.count("\n") == 1, told.output
    return told.output


@pytest.mark.story
def test_whatever_goes_wrong_is_told_once_and_serving_goes_on(tmp_path: Path) -> None:
    """One event or one line each; every request that is sent meanwhile is answered."""
    (tmp_path / "train.sh").write_text(TRAINER)
    mode, secret, config = tmp_path / "mode", tmp_path / "secret", tmp_path / "router.toml"
    secret.write_text("a secret of tests")
    words = ["/usr/bin/env", f"MODE={mode}", "sh", f"{tmp_path}/train.sh"]
    policy = f"[retraining.digits]\ncommand = {words}\ntimeout_s = 2\n"
    never = tmp_path / "never.toml"
    never.write_text(f'{policy}schedule = "0 0 31 2 *"\n')
    said = router("serve", "--config", str(never), "--models", str(tmp_path / "none"))
    assert (said.exit_code, said.output.count("\n")) == (1, 1), said.output
    assert (
        "`retraining.digits.schedule` = '0 0 31 2 *': it never fires: no such day is in any of its months; "
        in said.output
    )
    models = put(tmp_path / "models", "digits:1")
    with (models / "digits/model.toml").open("a") as settings:
        settings.write(SETTINGS)
    with receiving() as receiver:
        hook = f'[webhook]\nurl = "{receiver.url}"\nsecret_file = "{secret}"\n'
        config.write_text(f'{policy}{hook}events = ["retraining", "recording", "actuals"]\n')
        expected: list[str] = []

        def told() -> list[str]:
            """What came. One that arrives as the controller is killed comes once more under its id."""
            return [*{event["id"]: event["data"]["text"] for event in receiver.events}.values()]

        def comes(*patterns: str) -> None:
            """These events are the next, and there are no others."""
            expected.extend(patterns)
            receiver.until(lambda: len(told()) >= len(expected))
            assert len(told()) == len(expected), told()
            for text, pattern in zip(told(), expected, strict=True):
                assert re.fullmatch(pattern, text), (text, pattern)

        with running(tmp_path, models=models, config=config) as server, Load(server, 1) as load:
            recordings = server.state / FOLDER / "digits"
            for number, (how, end) in enumerate(TRAININGS.items(), 1):
                mode.write_text(how)
                begun = router("retrain", "digits", "--reason", f"it {how}", "--admin", server.admin)
                assert begun.exit_code == 0, begun.output
                flood = rf"the output of retraining {number} is a flood, 16 MiB so far: it is read slowly from now on"
                comes(
                    rf"retraining {number} begins \(hand: it {how}\)",
                    *([flood] if how == "floods" else []),
                    rf"retraining {number} has ended \({end}",
                )
            eventually(lambda: any(recordings.glob("rows-*.parquet")))
            (recordings / "rows-0.parquet").write_bytes(b"garbage")
            comes(r"a file of the recordings cannot be read: rows-0\.parquet \(damaged\); whoever reads them leaves .*")
            recordings.rename(tmp_path / "aside")
            recordings.touch()
            comes(r"recording pauses: File exists; let the server write into the folder `recordings` of .*")
            recordings.unlink()
            comes("recording goes on")
            (tmp_path / "other.csv").write_text("a,b\n" + "1,2\n" * 200)
            line = refused("reference", "digits", "--data", str(tmp_path / "other.csv"), server=server)
            assert "other.csv has no column 'pixels', or columns pixels[0] … pixels[63]; it has a, b" in line
            (tmp_path / "truths.csv").write_text("request_id,truth\nr1,cat\n")
            line = refused("actuals", "digits", str(tmp_path / "truths.csv"), server=server)
            assert "actuals[0] (request 'r1'): the truth is 'cat': expected an integer" in line
            comes(r"actuals: 1 refused: actuals\[0\] \(request 'r1'\): the truth is 'cat': expected an integer.*")
            mode.write_text("sleeps")
            assert router("retrain", "digits", "--reason", "it sleeps", "--admin", server.admin).exit_code == 0
            comes(r"retraining 5 begins \(hand: it sleeps\)")
            pid = server.controller
            os.kill(pid, signal.SIGKILL)
            server.back(CONTROLLER, pid)
            comes(
                r"retraining 5 has ended \(interrupted\): interrupted: the controller had ended"
                r"(, and 1 of its processes was ended)?"
            )
            load.more()
            (recordings / "rows-1.parquet").write_bytes(b"garbage")
            comes(r"a file of the recordings cannot be read: rows-1\.parquet \(damaged\); .*")
        assert load.failed == []
        assert len(told()) == len(expected)
