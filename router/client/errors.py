"""What is raised when there is no usable answer."""

from __future__ import annotations

from typing import ClassVar, cast

import grpc


class InferenceError(Exception):
    """The server refused, or no usable answer came.

    `code` is the gRPC status. `retry_after_ms` is set when the server says when to come back (it was too busy).
    `request_id` is the id of the request within a stream, if the server sent it along.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, retry_after_ms: int | None = None, request_id: str = ""
    ) -> None:
        super().__init__(code, message, retry_after_ms, request_id)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class Unavailable(InferenceError):
    """The server cannot be reached, or the model is known and cannot answer now."""


class DeadlineExceeded(InferenceError):
    """No answer in time.

    `by_client` is True when this side gave up waiting, and False when the server itself said that it was too late.
    The wire has one code for both: they are told apart by the text, which is the gRPC core's own when it was the
    call's deadline that ended it ("Deadline Exceeded"; on a stream, "Stream removed (Deadline Exceeded)").
    """

    CLIENT_TEXTS: ClassVar = frozenset({"Deadline Exceeded", "Stream removed (Deadline Exceeded)"})

    @property
    def by_client(self) -> bool:
        """Whether it was this side that stopped waiting."""
        return self.message in self.CLIENT_TEXTS


def error_of(error: grpc.RpcError) -> InferenceError:
    """gRPC's error as one of these."""
    call = cast("grpc.Call", error)
    code = call.code()
    kind = {grpc.StatusCode.UNAVAILABLE: Unavailable, grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded}
    retry_after_ms = None
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms" and isinstance(value, str) and value.isdecimal():
            retry_after_ms = int(value)
    return kind.get(code, InferenceError)(code, call.details() or "the server gave no reason", retry_after_ms)


def malformed(why: str) -> InferenceError:
    """The error for an answer that makes no sense."""
    return InferenceError(grpc.StatusCode.INTERNAL, f"malformed answer: {why}")
