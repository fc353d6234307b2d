from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetWebhookRequest(_message.Message):
    __slots__ = ("last",)
    LAST_FIELD_NUMBER: _ClassVar[int]
    last: int
    def __init__(self, last: _Optional[int] = ...) -> None: ...

class Outbox(_message.Message):
    __slots__ = ("configured", "target", "kinds", "pending", "failed", "delivered", "dropped", "oldest_seconds", "last_delivered_seconds", "last_error_seconds", "last_error", "events")
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_DELIVERED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    configured: bool
    target: str
    kinds: _containers.RepeatedScalarFieldContainer[str]
    pending: int
    failed: int
    delivered: int
    dropped: int
    oldest_seconds: float
    last_delivered_seconds: float
    last_error_seconds: float
    last_error: str
    events: _containers.RepeatedCompositeFieldContainer[Undelivered]
    def __init__(self, configured: _Optional[bool] = ..., target: _Optional[str] = ..., kinds: _Optional[_Iterable[str]] = ..., pending: _Optional[int] = ..., failed: _Optional[int] = ..., delivered: _Optional[int] = ..., dropped: _Optional[int] = ..., oldest_seconds: _Optional[float] = ..., last_delivered_seconds: _Optional[float] = ..., last_error_seconds: _Optional[float] = ..., last_error: _Optional[str] = ..., events: _Optional[_Iterable[_Union[Undelivered, _Mapping]]] = ...) -> None: ...

class Undelivered(_message.Message):
    __slots__ = ("id", "kind", "model", "version", "told_seconds", "state", "tries", "next_try_seconds", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOLD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    model: str
    version: str
    told_seconds: float
    state: str
    tries: int
    next_try_seconds: float
    error: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., told_seconds: _Optional[float] = ..., state: _Optional[str] = ..., tries: _Optional[int] = ..., next_try_seconds: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

class TestWebhookRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TestWebhookResponse(_message.Message):
    __slots__ = ("delivered", "status", "error", "took_seconds", "id")
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TOOK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    delivered: bool
    status: int
    error: str
    took_seconds: float
    id: str
    def __init__(self, delivered: _Optional[bool] = ..., status: _Optional[int] = ..., error: _Optional[str] = ..., took_seconds: _Optional[float] = ..., id: _Optional[str] = ...) -> None: ...

class RetryWebhookRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RetryWebhookResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: int
    def __init__(self, events: _Optional[int] = ...) -> None: ...
