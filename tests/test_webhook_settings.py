"""`[webhook]` of router.toml: what is wrong with it is told in one line, and no secret stands in that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router.config import server_settings
from router.control.news import CHATTER, FROM_AUDIT, OWN
from router.errors import SettingsError
from router.webhook_settings import EventKind, WebhookSettings

HOW = 'url = "https://hooks.example/x"\n'


def made(folder: Path, text: str) -> WebhookSettings:
    """The table, from a file."""
    (folder / "router.toml").write_text(f"[webhook]\n{text}", encoding="utf-8")
    return server_settings(folder / "router.toml", {}).webhook


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    """Without a url nothing is sent."""
    assert made(tmp_path, "") == WebhookSettings()
    given = made(tmp_path, f'{HOW}secret_env = "HOOK"\nevents = ["drift", "champion"]\nkeep_s = 60')
    assert (given.url, given.secret_env, given.events) == ("https://hooks.example/x", "HOOK", ("drift", "champion"))
    assert (given.keep_s, given.timeout_s, given.source, given.ca_file) == (60.0, 10.0, "/router", None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('url = "ftp://x"', "`webhook.url`: expected http://HOST or https://HOST, with a port and a path as needed"),
        ('url = "https://user:pass@x/"', "`webhook.url`: a url here holds neither a name and password nor a fragment"),
        ('url = "https://x/#here"', "`webhook.url`: a url here holds neither"),
        ('url = "https://x:99999/"', "`webhook.url`: expected http://HOST"),
        ('url = "https://[::1/"', "`webhook.url`: expected http://HOST"),
        ('url = "https:///x"', "`webhook.url`: expected http://HOST"),
        ('url = "http://x\\n.example"', "`webhook.url`: expected http://HOST"),
        (HOW, "`webhook`: `url` in [webhook] goes with one of `secret_file` and `secret_env`: events are signed"),
        (f'{HOW}secret_env = "A"\nsecret_file = "b"', "`webhook`: `url` in [webhook] goes with one of"),
        (f'{HOW}secret_env = "A B"', "`webhook.secret_env` = 'A B': "),
        (f'{HOW}secret = "0123456789abcdef"', "unknown key `webhook.secret`; remove it or correct its spelling"),
        ('events = ["drfit"]', "`webhook.events.0` = 'drfit': it should be 'accuracy', 'act', "),
        ("timeout_s = 0", "`webhook.timeout_s` = 0: "),
        ("timeout_s = 61", "`webhook.timeout_s` = 61: "),
        ("keep_s = inf", "`webhook.keep_s` = inf: "),
        ('source = "a b"', "`webhook.source` = 'a b': "),
    ],
)
def test_a_mistake_names_the_key_and_no_secret(tmp_path: Path, text: str, line: str) -> None:
    """And not the url either, which may be one."""
    with pytest.raises(SettingsError) as refused:
        made(tmp_path, text)
    told = str(refused.value)
    assert told.startswith(f"{tmp_path}/router.toml: {line}")
    assert told.isprintable()
    assert not any(secret in told for secret in ("user:pass", "0123456789", "hooks.example"))


def test_every_kind_that_is_told_can_be_named() -> None:
    """As the program's text has them; those of `hello` and of tests are of the moment."""
    told = set[str]()
    for path in (Path(router.__file__).parent / "control").glob("*.py"):
        told |= set(re.findall(r"events\.tell\(\s*\"([a-z_]+)\"", path.read_text(encoding="utf-8")))
    assert len(told) > 12
    assert told | FROM_AUDIT | CHATTER | {OWN, "recording"} <= set(get_args(EventKind))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(max_size=12) | st.from_regex(r"https?://[!-~]{0,20}"))
def test_any_url_is_taken_or_refused_in_one_line(url: str) -> None:
    """What is taken can be asked."""
    import httpx

    from router.edge.webhook_service import shown

    try:
        WebhookSettings(url=url, secret_env="A")
    except ValueError:
        return
    if url:
        assert httpx.URL(url).host
        assert shown(url).isprintable()
