from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("id", "model", "last")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    last: int
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., last: _Optional[int] = ...) -> None: ...

class Stories(_message.Message):
    __slots__ = ("stories", "kept", "oldest_unix_ns")
    STORIES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    stories: _containers.RepeatedCompositeFieldContainer[Story]
    kept: int
    oldest_unix_ns: int
    def __init__(self, stories: _Optional[_Iterable[_Union[Story, _Mapping]]] = ..., kept: _Optional[int] = ..., oldest_unix_ns: _Optional[int] = ...) -> None: ...

class Story(_message.Message):
    __slots__ = ("id", "model", "version", "generation", "worker", "kept_as", "received_unix_ns", "took_ms", "deadline_ms", "reserve_ms", "rows", "expected", "run", "hedge", "served_by", "served_model", "fallback_reason", "cause", "status", "humility")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    KEPT_AS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    RESERVE_MS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    HEDGE_FIELD_NUMBER: _ClassVar[int]
    SERVED_BY_FIELD_NUMBER: _ClassVar[int]
    SERVED_MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HUMILITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    version: str
    generation: int
    worker: int
    kept_as: str
    received_unix_ns: int
    took_ms: float
    deadline_ms: float
    reserve_ms: float
    rows: int
    expected: Expected
    run: Run
    hedge: Run
    served_by: str
    served_model: str
    fallback_reason: str
    cause: str
    status: str
    humility: str
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., generation: _Optional[int] = ..., worker: _Optional[int] = ..., kept_as: _Optional[str] = ..., received_unix_ns: _Optional[int] = ..., took_ms: _Optional[float] = ..., deadline_ms: _Optional[float] = ..., reserve_ms: _Optional[float] = ..., rows: _Optional[int] = ..., expected: _Optional[_Union[Expected, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., hedge: _Optional[_Union[Run, _Mapping]] = ..., served_by: _Optional[str] = ..., served_model: _Optional[str] = ..., fallback_reason: _Optional[str] = ..., cause: _Optional[str] = ..., status: _Optional[str] = ..., humility: _Optional[str] = ...) -> None: ...

class Expected(_message.Message):
    __slots__ = ("wait_ms", "behind")
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    wait_ms: float
    behind: int
    def __init__(self, wait_ms: _Optional[float] = ..., behind: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("waited_ms", "took_ms", "over", "calls", "rows", "session", "lane", "loop_taken", "hedging")
    WAITED_MS_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    LOOP_TAKEN_FIELD_NUMBER: _ClassVar[int]
    HEDGING_FIELD_NUMBER: _ClassVar[int]
    waited_ms: float
    took_ms: float
    over: bool
    calls: int
    rows: int
    session: int
    lane: str
    loop_taken: bool
    hedging: Hedging
    def __init__(self, waited_ms: _Optional[float] = ..., took_ms: _Optional[float] = ..., over: _Optional[bool] = ..., calls: _Optional[int] = ..., rows: _Optional[int] = ..., session: _Optional[int] = ..., lane: _Optional[str] = ..., loop_taken: _Optional[bool] = ..., hedging: _Optional[_Union[Hedging, _Mapping]] = ...) -> None: ...

class Hedging(_message.Message):
    __slots__ = ("sent", "why", "delay_ms", "share", "target")
    SENT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    sent: bool
    why: str
    delay_ms: float
    share: float
    target: str
    def __init__(self, sent: _Optional[bool] = ..., why: _Optional[str] = ..., delay_ms: _Optional[float] = ..., share: _Optional[float] = ..., target: _Optional[str] = ...) -> None: ...
