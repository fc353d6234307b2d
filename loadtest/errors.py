"""Why a benchmark or a load test stops."""

from __future__ import annotations

import grpc


class BenchError(Exception):
    """The benchmark cannot go on, or its figures may not be believed. The text is for people: one line, and what a
    server printed last if one is to blame.
    """


class ScenarioError(Exception):
    """A scenario cannot be run as it stands: one line that names the key and the mend."""


class Lacking(Exception):
    """The server has not what the scenario is about: one line that names it."""


def said(error: grpc.RpcError) -> str:
    """Status and details of a call that failed, in one line."""
    # What grpc raises is a Call too; its stubs do not say so.
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    return f"{code().name}: {details()}" if code and details else repr(error)
