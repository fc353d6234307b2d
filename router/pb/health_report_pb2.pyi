from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetHealthRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class HealthReport(_message.Message):
    __slots__ = ("seconds", "known_seconds", "workers_resident_bytes", "models")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    known_seconds: float
    workers_resident_bytes: int
    models: _containers.RepeatedCompositeFieldContainer[ModelHealth]
    def __init__(self, seconds: _Optional[float] = ..., known_seconds: _Optional[float] = ..., workers_resident_bytes: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelHealth, _Mapping]]] = ...) -> None: ...

class ModelHealth(_message.Message):
    __slots__ = ("model", "level", "reasons", "next_steps", "target_ms", "availability", "five_minutes", "budget", "drift", "accuracy", "versions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    TARGET_MS_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    FIVE_MINUTES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    level: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    next_steps: _containers.RepeatedScalarFieldContainer[str]
    target_ms: float
    availability: float
    five_minutes: Figures
    budget: Budget
    drift: str
    accuracy: str
    versions: _containers.RepeatedCompositeFieldContainer[VersionHealth]
    def __init__(self, model: _Optional[str] = ..., level: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., next_steps: _Optional[_Iterable[str]] = ..., target_ms: _Optional[float] = ..., availability: _Optional[float] = ..., five_minutes: _Optional[_Union[Figures, _Mapping]] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., drift: _Optional[str] = ..., accuracy: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[VersionHealth, _Mapping]]] = ...) -> None: ...

class VersionHealth(_message.Message):
    __slots__ = ("number", "role", "level", "level_seconds", "reasons", "next_steps", "windows", "budget", "pending", "hung", "breakers_open", "idle_seconds", "minutes")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    HUNG_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_OPEN_FIELD_NUMBER: _ClassVar[int]
    IDLE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    number: str
    role: str
    level: str
    level_seconds: float
    reasons: _containers.RepeatedScalarFieldContainer[str]
    next_steps: _containers.RepeatedScalarFieldContainer[str]
    windows: _containers.RepeatedCompositeFieldContainer[Figures]
    budget: Budget
    pending: int
    hung: int
    breakers_open: int
    idle_seconds: float
    minutes: _containers.RepeatedCompositeFieldContainer[Minute]
    def __init__(self, number: _Optional[str] = ..., role: _Optional[str] = ..., level: _Optional[str] = ..., level_seconds: _Optional[float] = ..., reasons: _Optional[_Iterable[str]] = ..., next_steps: _Optional[_Iterable[str]] = ..., windows: _Optional[_Iterable[_Union[Figures, _Mapping]]] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., pending: _Optional[int] = ..., hung: _Optional[int] = ..., breakers_open: _Optional[int] = ..., idle_seconds: _Optional[float] = ..., minutes: _Optional[_Iterable[_Union[Minute, _Mapping]]] = ...) -> None: ...

class Figures(_message.Message):
    __slots__ = ("seconds", "requests", "per_second", "failures", "error_rate", "fallbacks", "fallback_rate", "late", "attainment", "p50_seconds", "p99_seconds", "p999_seconds", "fresh", "hedges_sent", "hedges_won", "mean_queue_seconds", "runs", "mean_rows", "breakers_opened")
    class FailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    ERROR_RATE_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_RATE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    ATTAINMENT_FIELD_NUMBER: _ClassVar[int]
    P50_SECONDS_FIELD_NUMBER: _ClassVar[int]
    P99_SECONDS_FIELD_NUMBER: _ClassVar[int]
    P999_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    HEDGES_SENT_FIELD_NUMBER: _ClassVar[int]
    HEDGES_WON_FIELD_NUMBER: _ClassVar[int]
    MEAN_QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    MEAN_ROWS_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_OPENED_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    requests: int
    per_second: float
    failures: _containers.ScalarMap[str, int]
    error_rate: float
    fallbacks: int
    fallback_rate: float
    late: int
    attainment: float
    p50_seconds: float
    p99_seconds: float
    p999_seconds: float
    fresh: int
    hedges_sent: int
    hedges_won: int
    mean_queue_seconds: float
    runs: int
    mean_rows: float
    breakers_opened: int
    def __init__(self, seconds: _Optional[float] = ..., requests: _Optional[int] = ..., per_second: _Optional[float] = ..., failures: _Optional[_Mapping[str, int]] = ..., error_rate: _Optional[float] = ..., fallbacks: _Optional[int] = ..., fallback_rate: _Optional[float] = ..., late: _Optional[int] = ..., attainment: _Optional[float] = ..., p50_seconds: _Optional[float] = ..., p99_seconds: _Optional[float] = ..., p999_seconds: _Optional[float] = ..., fresh: _Optional[int] = ..., hedges_sent: _Optional[int] = ..., hedges_won: _Optional[int] = ..., mean_queue_seconds: _Optional[float] = ..., runs: _Optional[int] = ..., mean_rows: _Optional[float] = ..., breakers_opened: _Optional[int] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("left", "burn_5m", "burn_1h", "burn_30m", "burn_6h")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    BURN_5M_FIELD_NUMBER: _ClassVar[int]
    BURN_1H_FIELD_NUMBER: _ClassVar[int]
    BURN_30M_FIELD_NUMBER: _ClassVar[int]
    BURN_6H_FIELD_NUMBER: _ClassVar[int]
    left: float
    burn_5m: float
    burn_1h: float
    burn_30m: float
    burn_6h: float
    def __init__(self, left: _Optional[float] = ..., burn_5m: _Optional[float] = ..., burn_1h: _Optional[float] = ..., burn_30m: _Optional[float] = ..., burn_6h: _Optional[float] = ...) -> None: ...

class Minute(_message.Message):
    __slots__ = ("per_second", "p99_seconds")
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    P99_SECONDS_FIELD_NUMBER: _ClassVar[int]
    per_second: float
    p99_seconds: float
    def __init__(self, per_second: _Optional[float] = ..., p99_seconds: _Optional[float] = ...) -> None: ...
