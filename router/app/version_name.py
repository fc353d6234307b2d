"""The names of models and versions on the command line: `MODEL:VERSION` or `MODEL VERSION`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from router.app.admin_reach import ADMIN, AdminReach
from router.app.mistake import Failed
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import ListVersionsResponse, ModelVersions

COMPLETE_S: Final = 0.5
"""Who presses the tab key waits no longer for a server."""

_HARMLESS: Final = re.compile(r"[\w.@+-]+")
"""Names that a shell takes as they are."""


def parted(model: str, version: str) -> tuple[str, str]:
    """Model and version, however they were written; the version is empty where none was. Raises click.UsageError for a
    version of no model."""
    if version or ":" not in model:
        return model, version
    before, _, after = model.rpartition(":")
    if not before:
        raise click.UsageError(f"{model[:80]!r} names no model: MODEL:VERSION is meant, such as digits:2")
    return before, after


def both(model: str, version: str) -> tuple[str, str]:
    """The same where a version is needed. Raises click.UsageError without one."""
    model, version = parted(model, version)
    if not model or not version:
        raise click.UsageError("name a version: MODEL VERSION or MODEL:VERSION, such as digits:2")
    return model, version


def number(client: AdminClient, model: str, version: str) -> str:
    """The number that a role or an alias stands for now. Raises Failed where none has it, RouterError."""
    if version.isdecimal():
        return version
    (view,) = client.versions(model).models
    named = _names(view)
    if version not in named:
        there = [f"{each.number} ({each.stage})" for each in view.versions[:10]]
        there += [f"{name} ({of})" for name, of in view.aliases.items()]
        raise Failed(f"model '{model}' has no version, role or alias '{version}'; there is {', '.join(there)}")
    return named[version]


def _names(view: ModelVersions) -> dict[str, str]:
    """All names but numbers, by what they stand for now."""
    named = dict(view.aliases)
    if view.versions:
        named["latest"] = view.versions[0].number
    challengers = [each.number for each in view.versions if each.stage == "challenger"]
    if len(challengers) == 1:  # of several nobody knows which one is meant
        named["challenger"] = challengers[0]
    named |= {role: of for role, of in (("champion", view.champion), ("standby", view.standby)) if of}
    return named


# ---- completion: the running server is asked, and nothing is said where there is none ----


def _known(ctx: click.Context, model: str = "") -> ListVersionsResponse:
    given = ctx.params.get
    reach = AdminReach(
        given("admin_target") or ADMIN,
        given("admin_token") or "",
        given("admin_ca"),
        given("admin_cert"),
        given("admin_key"),
    )
    try:
        with reach.client(COMPLETE_S) as client:
            return client.versions(model)
    except Exception:  # noqa: BLE001  # a shell that completes a line has no place for errors
        return ListVersionsResponse()


def _complete_model(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    model, colon, _rest = incomplete.rpartition(":")
    if colon:
        return [
            CompletionItem(f"{model}:{name}", help=about) for name, about in _versions(ctx, model) if _fits(name, _rest)
        ]
    models = _known(ctx).models
    return [CompletionItem(view.model) for view in models if _fits(view.model, incomplete)]


def _complete_version(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    return [
        CompletionItem(name, help=about)
        for name, about in _versions(ctx, ctx.params.get("model") or "")
        if _fits(name, incomplete)
    ]


def _complete_share(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    return [
        CompletionItem(f"{name}=", help=about)
        for name, about in _versions(ctx, ctx.params.get("model") or "")
        if about in {"ready", "challenger"} and _fits(name, incomplete)
    ]


def _complete_request(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
    open_cases = [each for view in _known(ctx).models for each in view.cases if each.kind == "request"]
    return [
        CompletionItem(str(each.id), help=f"{each.model} {each.version}")
        for each in open_cases
        if str(each.id).startswith(incomplete)
    ]


def _versions(ctx: click.Context, model: str) -> list[tuple[str, str]]:
    found = [(each.number, each.stage) for view in _known(ctx, model).models for each in view.versions]
    return found if model else []


def _fits(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete) and _HARMLESS.fullmatch(name) is not None


def _some_name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not value:
        raise click.BadParameter("it is empty: name a model (`router models` lists them)")
    return value


model_argument = click.argument("model", shell_complete=_complete_model, callback=_some_name)
any_model_argument = click.argument("model", default="", metavar="[MODEL]", shell_complete=_complete_model)
case_argument = click.argument("case", type=click.IntRange(min=1), metavar="ID", shell_complete=_complete_request)
version_argument = click.argument("version", default="", metavar="[VERSION]", shell_complete=_complete_version)


def shares_argument(kind: click.ParamType[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Any number of `VERSION=PERCENT`."""
    return click.argument("shares", nargs=-1, type=kind, metavar="[VERSION=PERCENT]…", shell_complete=_complete_share)
