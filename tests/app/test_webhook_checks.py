"""Before a server starts: whether its webhook can be used at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.app.checks import check_webhook
from router.app.doctor import Finding, Grade, _webhook
from router.app.refusal import Refused
from router.config import ServerSettings
from router.webhook_settings import WebhookSettings


def given(**webhook: object) -> ServerSettings:
    """A server with this webhook."""
    return ServerSettings(webhook=WebhookSettings.model_validate(webhook))


def test_a_server_without_a_webhook_needs_none() -> None:
    """Nothing is looked at."""
    check_webhook(ServerSettings())
    assert list(_webhook(ServerSettings())) == []


def test_a_secret_that_is_not_there_keeps_a_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong and the mend, apart from each other; doctor shows the same."""
    missing = given(url="https://hooks.example/x", secret_file=tmp_path / "secret")
    with pytest.raises(Refused) as refused:
        check_webhook(missing)
    assert refused.value.wrong == f"[webhook] secret_file {tmp_path}/secret cannot be read: No such file or directory"
    assert refused.value.mend == "name a file with the secret"
    assert [finding.grade for finding in _webhook(missing)] == [Grade.BAD]
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(Refused, match="secret_env HOOK_SECRET is not set"):
        check_webhook(given(url="https://hooks.example/x", secret_env="HOOK_SECRET"))


def test_doctor_says_where_events_go_and_whether_in_the_clear(tmp_path: Path) -> None:
    """To this machine they may; the path of the url is not shown."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    for url, finding in (
        (
            "https://hooks.example/x",
            Finding(Grade.GOOD, "webhook", "events are signed and go to https://hooks.example/…"),
        ),
        ("http://127.0.0.1:8080", Finding(Grade.GOOD, "webhook", "events are signed and go to http://127.0.0.1:8080")),
        (
            "http://hooks.example/x",
            Finding(
                Grade.WARNING,
                "webhook",
                "events go to http://hooks.example/… in the clear",
                "give a url that begins with https://",
            ),
        ),
    ):
        assert list(_webhook(given(url=url, secret_file=secret))) == [finding]
