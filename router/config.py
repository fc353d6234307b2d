"""Validated settings of the server: `router.toml`, flags."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from router.errors import SettingsError
from router.settings import File, Settings, explain, read_toml, shown
from router.webhook_settings import WebhookSettings


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:8001 or [::1]:8001")
    return value


Address = Annotated[str, AfterValidator(_address)]
"""HOST:PORT; port 0 asks for a free one."""
RoleName = Literal["viewer", "operator", "approver", "admin"]
"""A later one may do all that an earlier one may."""

_RESERVED: Final = ("router", "local", "client")


def _name(value: str) -> str:
    if not 0 < len(value) <= 80 or not value.isprintable():
        raise ValueError("a name has 1 to 80 characters that can be printed")
    if value in _RESERVED:
        raise ValueError("the audit log has this name for acts of nobody in particular: choose another")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""Of somebody who acts, as the audit log tells it."""


class TokenSettings(Settings):
    """`[tokens.NAME]`: who has this token acts as NAME."""

    role: RoleName
    sha256: str
    """Of the token, 64 hexadecimal digits; the token itself is not kept."""

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, value: str) -> str:
        if not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError("expected 64 hexadecimal digits, as `router token create` prints them (not the token)")
        return value


class AccessSettings(Settings):
    """`[access]`: names in certificates of the admin port's `admin_tls_client_ca`, and their roles."""

    certificates: dict[Name, RoleName] = Field({})


ImportanceName = Literal["low", "moderate", "high", "critical"]
"""How much depends on a model."""


class PolicySettings(Settings):
    """`[policy.LEVEL]`: who may promote models of this importance. A key that is left out is that of `POLICY`."""

    promote: Literal["operator", "approver", "admin"] = "operator"
    """The lowest role that may promote, or ask for it."""
    approvals: int = Field(0, ge=0, le=10)
    """So many others with the role of an approver must agree; whoever asked does not count."""
    expires_s: float = Field(86_400.0, gt=0, le=31_536_000, allow_inf_nan=False)
    """A request that is not approved within so long is void."""
    override: Literal["approver", "admin"] = "approver"
    """The lowest role that may go against the gates, with a reason."""


POLICY: Final[Mapping[str, PolicySettings]] = {
    "low": PolicySettings(),
    "moderate": PolicySettings(),
    "high": PolicySettings(approvals=1),
    "critical": PolicySettings(promote="approver", approvals=2, override="admin"),
}
"""What holds for models of an importance, the least first, where its table does not say otherwise."""


CronLine = Annotated[str, Field(min_length=1, max_length=200)]
"""Minute, hour, day of the month, month, day of the week."""
Decline = Literal["yellow", "red"]
"""From which status on."""


def _cron() -> Any:
    """What knows of cron, for those who have a schedule only."""
    from router import schedule  # noqa: PLC0415

    return schedule


class RetrainingSettings(Settings):
    """`[retraining.MODEL]`: when a model is trained anew, by whom, and what becomes of the version that comes back.

    With neither `command` nor `webhook` there is only an event, for whoever watches.
    """

    schedule: CronLine | None = None
    """Five fields of cron, such as `0 3 * * *`; what fell due while no server ran is not made up for."""
    timezone: str = "UTC"
    """Of the schedule, such as Europe/Berlin."""
    on_drift: Decline | None = None
    """When what comes is no longer what the model was made for,"""
    on_accuracy: Decline | None = None
    """when what it says comes true less often,"""
    on_health: Decline | None = None
    """when its service declines."""
    min_interval_s: float = Field(3600.0, ge=0, le=31_536_000, allow_inf_nan=False)
    """From the beginning of one run to the next that begins by itself; what declines sooner waits until then."""
    command: tuple[Annotated[str, Field(max_length=4096)], ...] = Field((), max_length=256)
    """A program and its arguments; no shell reads them. It writes model.onnx, and what belongs to it, into the folder
    that ROUTER_OUTPUT_DIR names."""
    timeout_s: float = Field(3600.0, ge=1, le=604_800, allow_inf_nan=False)
    """The command is ended then; without one, a new version of the model is waited for so long."""
    webhook: bool = False
    """Others train: who hears of the event is to put a new version into the repository."""
    then: Literal["test", "warm", "challenge", "promote"] = "test"
    """How far the new version goes by itself: as `[lifecycle] on_new_version`, which this goes before."""

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and not value[0].strip():
            raise ValueError("the first is the program, and it is empty")
        if any("\0" in each for each in value):
            raise ValueError("an argument holds no NUL character")
        return value

    @field_validator("schedule")
    @classmethod
    def _fires(cls, value: str | None) -> str | None:
        if value is not None and (wrong := _cron().wrong_line(value)):
            raise ValueError(wrong)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if wrong := _cron().wrong_zone(value):
            raise ValueError(wrong)
        return value

    @field_validator("webhook")
    @classmethod
    def _has_one_action(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("command"):
            raise ValueError("`command` and `webhook` are two ways to train: give one of them")
        return value


class ServerSettings(Settings):
    """What `router serve` is told, by flags or by the table `[server]` of a file. The descriptions are its help."""

    models: File = Field(Path("models"), description="The model repository.")
    grpc: Address = Field("127.0.0.1:8001", description="Inference.")
    http: Address = Field("127.0.0.1:8002", description="Metrics and health.")
    admin: Address = Field(
        "127.0.0.1:8003", description="Admin gRPC; beyond this machine only with tokens or certificates."
    )
    workers: int = Field(
        default_factory=lambda: min(len(os.sched_getaffinity(0)), 4),
        ge=1,
        le=64,
        description="Worker processes; by default as many as there are cores, at most 4.",
    )
    transport: Literal["core", "aio"] = Field(
        "core", description="core: grpcio's completion queue. aio: public API only, at a fifth of the capacity."
    )
    state: File = Field(Path(".router"), description="The state directory, one server's alone.")
    model_control: Literal["none", "explicit"] = Field(
        "none", description="none: every model is served. explicit: those that clients load."
    )
    load_models: tuple[str, ...] = Field(
        (), description="With explicit control: what is loaded at the start; * is all."
    )
    tls_cert: File | None = Field(None, description="The server's certificate (PEM).")
    tls_key: File | None = Field(None, description="Its key (PEM).")
    tls_client_ca: File | None = Field(
        None, description="Only clients with a certificate of this authority (PEM) are served."
    )
    admin_tls_cert: File | None = Field(None, description="The admin port's certificate (PEM).")
    admin_tls_key: File | None = Field(None, description="Its key (PEM).")
    admin_tls_client_ca: File | None = Field(
        None,
        description="Admin only with a certificate of this authority (PEM); `[access.certificates]` has the roles.",
    )
    max_message_mib: int = Field(64, ge=1, le=2047, description="The largest request or answer.")
    answers_mib: int = Field(
        64, ge=4, le=1 << 20, description="Disk for remembered answers, where a model asks for them (`model.toml`)."
    )
    ledger_mib: int = Field(
        256, ge=8, le=1 << 20, description="Disk for predictions, where a model keeps a ledger of them (`model.toml`)."
    )
    spin_us: int = Field(
        50, ge=0, le=1000, description="How long a worker looks for the next call before it sleeps; 0: not at all."
    )
    grace_s: float = Field(10.0, ge=0, le=3600, description="A stop waits so long for calls in flight.")
    drain_delay_s: float = Field(
        0.0, ge=0, le=3600, description="From NOT_SERVING to the stop: time for load balancers to look away."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people at a terminal, JSON elsewhere."
    )

    allow_faults: bool = Field(
        False, description="Models may be made to fail, by model.toml or `router faults`. For tests only."
    )

    tokens: dict[Name, TokenSettings] = Field({}, description="Who may do what with a bearer token.")
    access: AccessSettings = Field(AccessSettings(), description="Who may do what with a certificate.")
    policy: dict[ImportanceName, PolicySettings] = Field({}, description="Who may promote models of an importance.")
    importance: dict[str, ImportanceName] = Field({}, description="How important models are; low, if not named.")
    retraining: dict[str, RetrainingSettings] = Field({}, description="When models are trained anew, and by whom.")
    webhook: WebhookSettings = Field(WebhookSettings(), description="Where events go.")

    @field_validator("policy", mode="before")
    @classmethod
    def _policy_is_of_its_level(cls, value: object) -> object:
        """Whoever only changes when requests expire has not said that nobody need approve."""
        if not isinstance(value, dict):
            return value
        return {
            level: {**POLICY[level].model_dump(), **table} if level in POLICY and isinstance(table, dict) else table
            for level, table in value.items()
        }

    @model_validator(mode="after")
    def _tls_is_whole(self) -> ServerSettings:
        for port, cert, key, ca in (
            ("", self.tls_cert, self.tls_key, self.tls_client_ca),
            ("admin_", self.admin_tls_cert, self.admin_tls_key, self.admin_tls_client_ca),
        ):
            of_cert, of_key, of_ca = (f"{port}tls_{each}" for each in ("cert", "key", "client_ca"))
            if (cert is None) != (key is None):
                both = f"{flag(of_cert)} and {flag(of_key)} ({of_cert}, {of_key})"
                raise ValueError(f"{both} go together: give both or neither")
            if ca is not None and cert is None:
                raise ValueError(
                    f"{flag(of_ca)} ({of_ca}) needs {flag(of_cert)} and {flag(of_key)} ({of_cert}, {of_key})"
                )
        return self

    @model_validator(mode="after")
    def _loads_are_asked_for(self) -> ServerSettings:
        if self.load_models and self.model_control != "explicit":
            raise ValueError(
                "--load-model (load_models) goes with --model-control explicit: without it every model is served"
            )
        return self

    @model_validator(mode="after")
    def _tokens_differ(self) -> ServerSettings:
        known: dict[str, str] = {}
        for name, token in self.tokens.items():
            other = known.setdefault(token.sha256, name)
            if other != name:
                raise ValueError(f"[tokens.{name}] is the token of [tokens.{other}]: make each name one of its own")
        return self

    @model_validator(mode="after")
    def _admin_is_guarded(self) -> ServerSettings:
        asked = self.admin_tls_client_ca is not None
        if self.access.certificates and not asked:
            raise ValueError(
                "[access.certificates] names certificates that nobody is asked for:"
                " give --admin-tls-client-ca (admin_tls_client_ca)"
            )
        if self.guarded or (local(self.admin) and not asked):
            return self
        mend = "`router token create` makes a token, [access.certificates] names certificates"
        if asked:
            raise ValueError(f"--admin-tls-client-ca (admin_tls_client_ca) is given, and nobody has a role: {mend}")
        raise ValueError(
            f"--admin (admin) {self.admin} can be reached from other machines and is open to everybody: {mend};"
            " or choose an address of this machine, 127.0.0.1:PORT"
        )

    @property
    def guarded(self) -> bool:
        """Whether anybody has a role, so that who has none may do nothing."""
        return bool(self.tokens or self.access.certificates)


TABLES: Final = ("tokens", "access", "policy", "importance", "retraining", "webhook")
"""Keys of the settings that are tables of the file beside `[server]`; all others have a flag."""


def options() -> dict[str, FieldInfo]:
    """The keys of `[server]`, which have flags."""
    return {key: field for key, field in ServerSettings.model_fields.items() if key not in TABLES}


def local(address: str) -> bool:
    """Whether only this machine reaches an address."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def flag(key: str) -> str:
    """The option of `router serve` for a key of `[server]`: without its unit, in the singular what may be repeated."""
    name = re.sub("_(s|us|mib)$", "", key).replace("load_models", "load_model")
    return "--" + name.replace("_", "-")


def server_settings(config: Path | None, flags: dict[str, Any]) -> ServerSettings:
    """Flags over the file's `[server]` over the defaults. Raises SettingsError with one line."""
    return settings_in(read_toml(config, str(config)) if config else {}, config, flags)


def settings_in(tables: Mapping[str, Any], config: Path | None, flags: dict[str, Any]) -> ServerSettings:
    """The same for tables that have been read, of the file `config`. Raises SettingsError with one line."""
    unknown = set(tables) - {"server", *TABLES}
    if unknown:
        raise SettingsError(
            f"{config}: unknown table [{shown(min(unknown))}]; known are [server], [tokens.NAME], [access],"
            " [policy.LEVEL], [importance], [retraining.MODEL] and [webhook]"
        )
    table = tables.get("server", {})
    if not isinstance(table, dict):
        raise SettingsError(
            f"{config}: `server` = {shown(repr(table))}: expected a table, that is a line [server] above the keys"
        )
    for key in TABLES:
        if key in table:
            raise SettingsError(f"{config}: [server]: unknown key `{key}`; [{key}] is a table of its own")
    beside = {key: tables[key] for key in TABLES if key in tables}
    try:
        return ServerSettings.model_validate({**table, **beside, **flags})
    except ValidationError as error:
        where = f"{config}: [server]" if config else "command line"
        if error.errors()[0]["loc"][:1] in {(key,) for key in TABLES}:
            where = str(config)
        raise SettingsError(explain(error, where, {key: flag(key) for key in flags})) from error
