"""Settings: whatever is wrong with them is told in one line that names the flag, or the key and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.config import POLICY, TABLES, PolicySettings, ServerSettings, flag, options, server_settings
from router.errors import SettingsError
from router.model_settings import ModelSettings, model_settings, remote_address


def refusal(config: Path | None = None, **flags: Any) -> str:
    """The line."""
    with pytest.raises(SettingsError) as refused:
        server_settings(config, flags)
    line = str(refused.value)
    assert line.isprintable()
    return line


def in_file(folder: Path, text: str, **flags: Any) -> str:
    """The line about a file of this text, without the file's folder."""
    (folder / "router.toml").write_text(text, encoding="utf-8")
    return refusal(folder / "router.toml", **flags).replace(f"{folder}/", "")


def test_flags_go_before_the_file_which_goes_before_the_defaults(tmp_path: Path) -> None:
    """Key by key."""
    (tmp_path / "router.toml").write_text('[server]\ngrpc = "[::1]:1"\nhttp = "localhost:2"\ngrace_s = 3')
    made = server_settings(tmp_path / "router.toml", {"grpc": "127.0.0.1:0"})
    assert (made.grpc, made.http, made.grace_s, made.spin_us) == ("127.0.0.1:0", "localhost:2", 3.0, 50)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server = 3", "router.toml: `server` = 3: expected a table, that is a line [server] above the keys"),
        ("[[server]]", "router.toml: `server` = [{}]: expected a table, that is a line [server] above the keys"),
        (
            "[serve]",
            "router.toml: unknown table [serve]; known are [server], [tokens.NAME], [access], [policy.LEVEL], ",
        ),
        (
            "grpc = 1",
            "router.toml: unknown table [grpc]; known are [server], [tokens.NAME], [access], [policy.LEVEL], ",
        ),
        (
            '"a\\nb\\u001b" = 1',
            "router.toml: unknown table [a\\nb\\x1b]; known are [server], [tokens.NAME], [access], [policy.LEVEL], ",
        ),
        ("[server]\nspeed = 3", "router.toml: [server]: unknown key `speed`; remove it or correct its spelling"),
        ("[server]\nworkers = 0", "router.toml: [server]: `workers` = 0: it should be greater than or equal to 1"),
        ("[server]\ngrpc = 8001", "router.toml: [server]: `grpc` = 8001: it should be a valid string"),
        ('[server]\nload_models = "x"', "router.toml: [server]: `load_models` = 'x': it should be a valid tuple"),
        ('[server]\nstate = "a\\u0000b"', "router.toml: [server]: `state` = "),
        ("[server]\ntls_client_ca = 'x'", "--tls-client-ca (tls_client_ca) needs --tls-cert and --tls-key"),
        ("[server]\nload_models = ['x']", "--load-model (load_models) goes with --model-control explicit"),
        ("[server", "router.toml is not TOML: "),
        ("a = " + "[" * 5000, "router.toml is not TOML: nested too deeply"),
        ("a = " + "9" * 5000, "router.toml is not TOML: "),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_key(tmp_path: Path, text: str, line: str) -> None:
    """With what was given and what is allowed."""
    assert in_file(tmp_path, text).startswith(line)


def test_a_mistake_on_the_command_line_names_the_flag_and_no_file(tmp_path: Path) -> None:
    """Also beside a file that is right, and before one that is wrong at the same key."""
    assert refusal(grpc="x") == "--grpc 'x': expected HOST:PORT, for example 127.0.0.1:8001 or [::1]:8001"
    assert in_file(tmp_path, "[server]\nworkers = 1", drain_delay_s=-1.0).startswith("--drain-delay -1.0: ")
    assert in_file(tmp_path, "[server]\nmax_message_mib = 0", max_message_mib=4000).startswith("--max-message 4000: ")
    assert in_file(tmp_path, "[server]\nworkers = 0", grpc="127.0.0.1:1").startswith("router.toml: [server]: `workers`")
    assert refusal(tls_cert="x.pem").startswith("--tls-cert and --tls-key (tls_cert, tls_key) go together")


HASH = "a" * 64
TOKEN = f"[tokens.ada]\nrole = 'operator'\nsha256 = '{HASH}'\n"
TLS = "admin_tls_cert = 'c'\nadmin_tls_key = 'k'\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[tokens.ada]\nrole = 'boss'", "router.toml: `tokens.ada.role` = 'boss': it should be 'viewer', 'operator', "),
        ("[tokens.ada]\nrole = 'admin'", "router.toml: `tokens.ada.sha256`: field required"),
        (TOKEN + "password = 1", "router.toml: unknown key `tokens.ada.password`"),
        ("tokens = 3", "router.toml: `tokens` = 3: it should be a valid dictionary"),
        (TOKEN.replace("ada", "local"), "router.toml: `tokens.local` = 'local': the audit log has this name"),
        (TOKEN.replace("ada", '"a\\nb"'), "router.toml: `tokens.a\\nb` = "),
        (
            TOKEN + TOKEN.replace("ada", "bob"),
            "[tokens.bob] is the token of [tokens.ada]: make each name one of its own",
        ),
        ("[access]\ntokens = 3", "router.toml: unknown key `access.tokens`"),
        ("[access.certificates]\nada = 'x'", "router.toml: `access.certificates.ada` = 'x': it should be 'viewer', "),
        (
            "[access.certificates]\nada = 'viewer'",
            "[access.certificates] names certificates that nobody is asked for: ",
        ),
        ("[server]\ntokens = {}", "router.toml: [server]: unknown key `tokens`; [tokens] is a table of its own"),
        (
            "[server]\nadmin_tls_key = 'x'",
            "--admin-tls-cert and --admin-tls-key (admin_tls_cert, admin_tls_key) go tog",
        ),
        (
            "[server]\nadmin_tls_client_ca = 'x'",
            "--admin-tls-client-ca (admin_tls_client_ca) needs --admin-tls-cert and --admin-tls-key (admin_tls_cert, ",
        ),
        (
            f"[server]\n{TLS}admin_tls_client_ca = 'x'",
            "--admin-tls-client-ca (admin_tls_client_ca) is given, and nobody has a role: `router token create` makes",
        ),
    ],
)
def test_a_mistake_about_who_may_what(tmp_path: Path, text: str, line: str) -> None:
    """Nobody is let in by a mistake, and nobody is locked out by one that was not told."""
    assert in_file(tmp_path, text).startswith(line)


def test_a_token_in_the_place_of_its_hash_is_not_told(tmp_path: Path) -> None:
    """The line may be seen by others."""
    line = in_file(tmp_path, TOKEN.replace(HASH, "rt_secret"))
    assert line == (
        "router.toml: `tokens.ada.sha256`: expected 64 hexadecimal digits, as `router token create` prints them"
        " (not the token)"
    )


@pytest.mark.parametrize("admin", ["0.0.0.0:8003", "[::]:1", "192.0.2.7:8003", "example.org:8003", "8.8.8.8:0"])
def test_an_admin_port_that_others_reach_needs_credentials(tmp_path: Path, admin: str) -> None:
    """It is refused without a token and without certificates that have a role; TLS alone proves nobody."""
    line = in_file(tmp_path, f"[server]\n{TLS}", admin=admin)
    assert line.startswith(f"--admin (admin) {admin} can be reached from other machines and is open to everybody: ")
    assert "`router token create` makes a token" in line
    (tmp_path / "router.toml").write_text(TOKEN)
    made = server_settings(tmp_path / "router.toml", {"admin": admin})
    assert made.guarded
    assert made.tokens["ada"].role == "operator"
    (tmp_path / "router.toml").write_text(
        f"[server]\n{TLS}admin_tls_client_ca = 'ca'\n[access.certificates]\n'ada.example' = 'approver'"
    )
    assert server_settings(tmp_path / "router.toml", {"admin": admin}).access.certificates == {
        "ada.example": "approver"
    }


@pytest.mark.parametrize("admin", ["127.0.0.1:8003", "localhost:8003", "[::1]:8003", "127.9.9.9:0"])
def test_an_admin_port_of_this_machine_may_be_open(admin: str) -> None:
    """Whoever can run programs here reaches it."""
    assert not server_settings(None, {"admin": admin}).guarded


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[policy.high]\npromote = 'viewer'",
            "router.toml: `policy.high.promote` = 'viewer': it should be 'operator', 'approver' or 'admin'",
        ),
        ("[policy.high]\npromote = 3", "router.toml: `policy.high.promote` = 3: it should be 'operator', "),
        ("[policy.high]\napprovals = -1", "router.toml: `policy.high.approvals` = -1: it should be greater than or "),
        ("[policy.high]\napprovals = 11", "router.toml: `policy.high.approvals` = 11: it should be less than or "),
        ("[policy.high]\napprovals = 1.5", "router.toml: `policy.high.approvals` = 1.5: it should be a valid integer"),
        ("[policy.high]\nexpires_s = 0", "router.toml: `policy.high.expires_s` = 0: it should be greater than 0"),
        ("[policy.high]\nexpires_s = inf", "router.toml: `policy.high.expires_s` = inf: it should be "),
        ("[policy.high]\nexpires_s = nan", "router.toml: `policy.high.expires_s` = nan: it should be "),
        (
            "[policy.low]\noverride = 'operator'",
            "router.toml: `policy.low.override` = 'operator': it should be 'approver' or 'admin'",
        ),
        (
            "[policy.low]\napprovers = 2",
            "router.toml: unknown key `policy.low.approvers`; remove it or correct its spelling",
        ),
        (
            "[policy.highest]\napprovals = 2",
            "router.toml: `policy.highest` = 'highest': it should be 'low', 'moderate', 'high' or 'critical'",
        ),
        ("policy = 3", "router.toml: `policy` = 3: it should be a valid dictionary"),
        ("[policy]\nhigh = 1", "router.toml: `policy.high` = 1: it should be a valid dictionary"),
        (
            "[importance]\ndigits = 'highest'",
            "router.toml: `importance.digits` = 'highest': it should be 'low', 'moderate', 'high' or 'critical'",
        ),
        ("[importance]\ndigits = 2", "router.toml: `importance.digits` = 2: it should be 'low', "),
        ("[importance.digits]\nlevel = 'low'", "router.toml: `importance.digits` = {'level': 'low'}: it should be "),
        ("[server]\npolicy = {}", "router.toml: [server]: unknown key `policy`; [policy] is a table of its own"),
        (
            "[server]\nimportance = {}",
            "router.toml: [server]: unknown key `importance`; [importance] is a table of its own",
        ),
    ],
)
def test_a_mistake_about_who_approves(tmp_path: Path, text: str, line: str) -> None:
    """A level, a role or a number that there cannot be: one line with the key, its value and what is allowed."""
    assert in_file(tmp_path, text).startswith(line)


def test_a_policy_is_that_of_its_level_but_for_what_its_table_says(tmp_path: Path) -> None:
    """Key by key: a table that says when requests expire does not say that nobody need approve. It is handed on so."""
    (tmp_path / "router.toml").write_text(
        "[policy.critical]\nexpires_s = 60\n[policy.low]\napprovals = 3\n[importance]\ndigits = 'critical'"
    )
    made = server_settings(tmp_path / "router.toml", {})
    assert made.policy == {
        "critical": PolicySettings(promote="approver", approvals=2, expires_s=60, override="admin"),
        "low": PolicySettings(approvals=3),
    }
    assert made.importance == {"digits": "critical"}
    assert ServerSettings.model_validate(made.model_dump(mode="json")) == made


def test_the_more_depends_on_a_model_the_more_must_agree() -> None:
    """Without any table; whoever asks is never among them."""
    assert [(level, rule.promote, rule.approvals, rule.override) for level, rule in POLICY.items()] == [
        ("low", "operator", 0, "approver"),
        ("moderate", "operator", 0, "approver"),
        ("high", "operator", 1, "approver"),
        ("critical", "approver", 2, "admin"),
    ]


@pytest.mark.parametrize(
    "table",
    [
        "[tokens.ada]\nrole = 'admin'",
        "[access.certificates]\nada = 'admin'",
        "[policy.high]\napprovals = 0",
        "[importance]\na = 'low'",
        "[retraining.a]\ncommand = ['train']",
    ],
)
def test_a_model_gives_nobody_a_role(tmp_path: Path, table: str) -> None:
    """Roles stand in the server's file only, and who must approve: a model's files may come from somebody else."""
    (tmp_path / "model.toml").write_text(table)
    with pytest.raises(SettingsError, match=r"unknown key `(tokens|access|policy|importance|retraining)`"):
        model_settings(tmp_path / "model.toml")


@pytest.mark.parametrize("port", ["", "x", "-1", "65536", "٨٠٠١", "８００１", "¹", "1_0", "+1", " 1", "9" * 5000])
def test_a_port_is_written_in_plain_digits(port: str) -> None:
    """Everything else is refused."""
    assert "expected HOST:PORT" in refusal(grpc=f"127.0.0.1:{port}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, a directory, or no text."""
    assert "No such file" in refusal(tmp_path / "none.toml")
    assert "Is a directory" in refusal(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    assert "not UTF-8" in refusal(tmp_path / "bytes.toml")


VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200) | st.just("\udcff"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*ServerSettings.model_fields, "", "a\n\x1b"]), VALUES, max_size=4))
def test_any_settings_are_taken_or_refused_in_one_line(flags: dict[str, Any]) -> None:
    """Whatever the values, and what is taken can be handed on to the processes."""
    told = ""
    try:
        made = server_settings(None, flags)
    except SettingsError as error:
        told = str(error)
    else:
        assert ServerSettings.model_validate(made.model_dump(mode="json")) == made
    assert told.isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=80) | st.text(alphabet="[]{}=.,\"'\n#ver 1", max_size=40).map(str.encode))
def test_any_file_is_taken_or_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """As settings of the server and of a model."""
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    for read in (lambda: server_settings(path, {}), lambda: model_settings(path)):
        told = ""
        try:
            read()
        except SettingsError as error:
            told = str(error)
        assert told.isprintable()


@pytest.mark.parametrize("versions", ["3", '"newest"', "[0]", "[true]", "[[1]]", "{}", "[1.5]"])
def test_versions_are_a_rule_or_a_list(tmp_path: Path, versions: str) -> None:
    """One line says what is allowed."""
    (tmp_path / "model.toml").write_text(f"versions = {versions}")
    with pytest.raises(SettingsError, match=r'^model\.toml: `versions` = .*expected "latest", "all" or a list of'):
        model_settings(tmp_path / "model.toml")
    assert ModelSettings.model_validate({"versions": [1, 3]}).versions == (1, 3)


@pytest.mark.parametrize(
    "target", ["host:1/m", "grpc://host/m", "grpc://host:0/m", "grpc://host:65536/m", "grpc://h:1/"]
)
def test_a_malformed_remote_target_is_refused(target: str, tmp_path: Path) -> None:
    """Key, value and what is allowed, in one line."""
    (tmp_path / "model.toml").write_text(f"[hedge]\ntarget = '{target}'")
    with pytest.raises(SettingsError, match="grpc://HOST:PORT/MODEL") as refused:
        model_settings(tmp_path / "model.toml")
    assert "hedge.target" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("target", "parts"), [("h:1/m", ("h:1", "m")), ("[::1]:65535/a:b", ("[::1]:65535", "a:b"))])
def test_a_remote_target_has_an_address_and_a_model(target: str, parts: tuple[str, str]) -> None:
    """As they stand in the URL."""
    settings = ModelSettings.model_validate({"hedge": {"target": f"grpc://{target}"}})
    assert remote_address(settings.hedge.target or "") == parts


def test_every_key_has_a_flag_of_its_own() -> None:
    """The unit is left out, what may be repeated is in the singular."""
    flags = {flag(key) for key in options()}
    assert len(flags) == len(options()) == len(ServerSettings.model_fields) - len(TABLES)
    assert {
        "--admin-tls-client-ca",
        "--grace",
        "--drain-delay",
        "--max-message",
        "--spin",
        "--load-model",
        "--models",
    } <= flags


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ('kind = "slow"', "model.toml: `faults.0` = {'kind': 'slow'}: the kind `slow` needs `factor`"),
        ('kind = "stall"', "model.toml: `faults.0` = {'kind': 'stall'}: the kind `stall` needs `ms`"),
        ('kind = "nan"\nms = 1', "the kind `nan` takes no `ms`: remove it"),
        ('kind = "hang"\nfactor = 2', "the kind `hang` takes no `factor`: remove it"),
        ('kind = "sleepy"', "model.toml: `faults.0.kind` = 'sleepy': it should be 'stall', 'hang', "),
        ('kind = "error"\nshare = 1.5', "model.toml: `faults.0.share` = 1.5: "),
        ('kind = "error"\nshare = nan', "model.toml: `faults.0.share` = nan: "),
        ('kind = "error"\nreplica = 1', "`faults.0.replica` = 1: by sessions.replicas the last is 0"),
        ('kind = "error"\nhow = 1', "model.toml: unknown key `faults.0.how`"),
    ],
)
def test_a_mistake_in_a_fault_is_told(tmp_path: Path, table: str, line: str) -> None:
    """With the key, what was given and what is allowed."""
    path = tmp_path / "model.toml"
    path.write_text(f"[faults]\n{table}")
    with pytest.raises(SettingsError) as refused:
        model_settings(path)
    assert line in str(refused.value)
    assert str(refused.value).isprintable()


def test_faults_are_one_table_or_several(tmp_path: Path) -> None:
    """A hang without a time lasts for ever; nothing is wrong without a table."""
    path = tmp_path / "model.toml"
    path.write_text('[faults]\nkind = "hang"\nshare = 0.5')
    (one,) = model_settings(path).faults
    assert (one.kind, one.share, one.ms) == ("hang", 0.5, None)
    path.write_text('[[faults]]\nkind = "nan"\n[[faults]]\nkind = "slow"\nfactor = 3\nafter_s = 5')
    assert [each.kind for each in model_settings(path).faults] == ["nan", "slow"]
    assert not ModelSettings().faults


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("limit_s = 0", "model.toml: `gates.limit_s` = 0: "),
        ("memory_limit_mib = 1", "model.toml: `gates.memory_limit_mib` = 1: "),
        ("metrics = ['accuracy', 'accuracy']", "each stands there once"),
        ("metrics = ['f1']", "model.toml: `gates.metrics.0` = 'f1': it should be 'accuracy', 'log_loss', 'mae', "),
        ("classes = ['a', 'a']", "model.toml: `gates.classes` = ['a', 'a']: each stands there once"),
        ("margins = { accuracy = -0.1 }", "model.toml: `gates.margins.accuracy` = -0.1: "),
        ("slowdown = 1", "model.toml: `gates.slowdown` = 1: "),
        ("agreement = 1.5", "model.toml: `gates.agreement` = 1.5: "),
        ("exam = 'here'", "model.toml: unknown key `gates.exam`"),
    ],
)
def test_gates_are_set_within_reason(tmp_path: Path, table: str, said: str) -> None:
    """Each key names itself, its value and what is allowed; the defaults ask for nothing."""
    path = tmp_path / "model.toml"
    path.write_text(f"[gates]\n{table}\n")
    with pytest.raises(SettingsError) as caught:
        model_settings(path)
    assert said in str(caught.value)
    path.write_text("[gates]\nmetrics = ['auc']\nmargins = { auc = 0.02 }\nrequired = { auc = 0.8 }\n")
    assert model_settings(path).gates.margins == {"auc": 0.02}
