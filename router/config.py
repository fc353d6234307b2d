"""Validated settings of the server: `router.toml`, flags."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from router.errors import SettingsError


def _address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:8001 or [::1]:8001")
    return value


Address = Annotated[str, AfterValidator(_address)]
"""HOST:PORT; port 0 asks for a free one."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Settings):
    """What `router serve` is told, by flags or by the table `[server]` of `router.toml`."""

    models: Path = Path("models")
    grpc: Address = "127.0.0.1:8001"
    http: Address = "127.0.0.1:8002"
    admin: Address = "127.0.0.1:8003"
    workers: int = Field(default_factory=lambda: min(len(os.sched_getaffinity(0)), 4), ge=1, le=64)
    transport: Literal["core", "aio"] = "core"
    state: Path = Path(".router")
    model_control: Literal["none", "explicit"] = "none"
    load_models: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    max_message_mib: int = Field(64, ge=1, le=2047)
    spin_us: int = Field(50, ge=0, le=1000)
    """How long a worker looks for the next call before it sleeps; 0 switches it off."""
    grace_s: float = Field(10.0, ge=0, le=3600)
    """A stop waits this long for calls in flight."""
    drain_delay_s: float = Field(0.0, ge=0, le=3600)
    """Between NOT_SERVING and the stop: time for load balancers to look away."""
    log_format: Literal["auto", "console", "json"] = "auto"

    @model_validator(mode="after")
    def _tls_is_whole(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self

    @field_validator("admin")
    @classmethod
    def _admin_is_local(cls, value: str) -> str:
        host = value.rpartition(":")[0].strip("[]")
        if host != "localhost":
            try:
                local = ipaddress.ip_address(host).is_loopback
            except ValueError:
                local = False
            if not local:
                raise ValueError(
                    "admin is open to whoever reaches it: choose an address of this machine, 127.0.0.1:PORT"
                )
        return value


def explain(error: ValidationError, where: str) -> str:
    """One line that names the key, the value and what is allowed."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key `{key}`; remove it or correct its spelling"
    message = first["msg"].removeprefix("Value error, ")
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    return f"{where}: `{key}`{value}: {message[0].lower()}{message[1:]}"


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises SettingsError with one line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SettingsError(f"{what} cannot be read: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{what} is not TOML: {error}") from error


def server_settings(config: Path | None, flags: dict[str, Any]) -> ServerSettings:
    """Flags over the file's `[server]` over the defaults. Raises SettingsError with one line."""
    tables = read_toml(config, str(config)) if config else {}
    unknown = set(tables) - {"server"}
    if unknown:
        raise SettingsError(f"{config}: unknown table [{min(unknown)}]; [server] is known")
    try:
        return ServerSettings.model_validate({**tables.get("server", {}), **flags})
    except ValidationError as error:
        raise SettingsError(explain(error, str(config) if config else "command line")) from error
