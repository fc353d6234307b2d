"""One tree of errors. Each class names the gRPC status that a caller sees.

A message is for a person: what was wrong, what was expected, what came. It never holds a path, an address of
memory or a traceback.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Status(IntEnum):
    """The gRPC status codes, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RouterError(Exception):
    """The root. `status` is what a gRPC caller sees, `retry_after_ms` goes out as a push-back if it is set."""

    status: ClassVar[Status] = Status.INTERNAL
    retry_after_ms: int | None = None


class InvalidRequest(RouterError):
    """The caller's message cannot be understood or does not fit the model."""

    status = Status.INVALID_ARGUMENT


class NotFound(RouterError):
    """No such model, version or method."""

    status = Status.NOT_FOUND


class NotReady(RouterError):
    """Known, but it cannot answer now."""

    status = Status.UNAVAILABLE


class Overloaded(RouterError):
    """The queue is full; the caller may come back after `retry_after_ms`."""

    status = Status.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class TooLate(RouterError):
    """The deadline passed before an answer could be given."""

    status = Status.DEADLINE_EXCEEDED


class Cancelled(RouterError):
    """The caller went away."""

    status = Status.CANCELLED


class Unimplemented(RouterError):
    """A method of the protocol that this server does not offer."""

    status = Status.UNIMPLEMENTED


class Refused(RouterError):
    """Not allowed in the state that the server is in."""

    status = Status.FAILED_PRECONDITION


class Doubted(Refused):
    """The model has answered, and a rule of its owner says that this answer is not to be trusted."""


class Conflict(RouterError):
    """Somebody else was first; the message says who and what."""

    status = Status.ABORTED


class Unauthenticated(RouterError):
    """Who asks is not known."""

    status = Status.UNAUTHENTICATED


class Denied(RouterError):
    """Who asks is known and may not do this."""

    status = Status.PERMISSION_DENIED


class NoRoom(RouterError):
    """Memory or disk would not suffice; the message has the figures."""

    status = Status.RESOURCE_EXHAUSTED


class ModelFailed(RouterError):
    """The run of a model failed."""

    status = Status.INTERNAL


class EmptyInput(ModelFailed):
    """The run failed, and an input had no elements: some models answer that, this one cannot."""

    status = Status.INVALID_ARGUMENT


class SettingsError(RouterError):
    """A setting is wrong; the message names the key, the value and what is allowed."""

    status = Status.INVALID_ARGUMENT


class ModelBroken(RouterError):
    """A version's files cannot be served; the message says why."""

    status = Status.FAILED_PRECONDITION


class InternalError(RouterError):
    """A fault of ours. The caller learns no more than that; the log has the details."""

    def __init__(self) -> None:
        super().__init__("the server failed on this request; its log has the details")
