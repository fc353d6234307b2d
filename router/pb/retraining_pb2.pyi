from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrainRequest(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StopRetrainingRequest(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListRetrainingsRequest(_message.Message):
    __slots__ = ("model", "last")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    model: str
    last: int
    def __init__(self, model: _Optional[str] = ..., last: _Optional[int] = ...) -> None: ...

class ListRetrainingsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model", "policy", "next_seconds", "asks", "rests_seconds", "runs")
    class AsksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    NEXT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    RESTS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    model: str
    policy: Policy
    next_seconds: float
    asks: _containers.ScalarMap[str, str]
    rests_seconds: float
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    def __init__(self, model: _Optional[str] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., next_seconds: _Optional[float] = ..., asks: _Optional[_Mapping[str, str]] = ..., rests_seconds: _Optional[float] = ..., runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("schedule", "timezone", "on_drift", "on_accuracy", "on_health", "min_interval_seconds", "command", "timeout_seconds", "webhook", "then")
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    ON_DRIFT_FIELD_NUMBER: _ClassVar[int]
    ON_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ON_HEALTH_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    THEN_FIELD_NUMBER: _ClassVar[int]
    schedule: str
    timezone: str
    on_drift: str
    on_accuracy: str
    on_health: str
    min_interval_seconds: float
    command: _containers.RepeatedScalarFieldContainer[str]
    timeout_seconds: float
    webhook: bool
    then: str
    def __init__(self, schedule: _Optional[str] = ..., timezone: _Optional[str] = ..., on_drift: _Optional[str] = ..., on_accuracy: _Optional[str] = ..., on_health: _Optional[str] = ..., min_interval_seconds: _Optional[float] = ..., command: _Optional[_Iterable[str]] = ..., timeout_seconds: _Optional[float] = ..., webhook: _Optional[bool] = ..., then: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("id", "model", "state", "text", "trigger", "why", "actor", "began_seconds", "ended_seconds", "action", "then", "parent", "parent_digest", "first_recorded_seconds", "last_recorded_seconds", "declared", "declared_parent", "lineage", "lineage_reason", "version", "digest", "fate", "took_seconds", "exit_code", "output", "output_bytes")
    class DeclaredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    BEGAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    THEN_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PARENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FIRST_RECORDED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_RECORDED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    DECLARED_PARENT_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_REASON_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    TOOK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    model: str
    state: str
    text: str
    trigger: str
    why: str
    actor: str
    began_seconds: float
    ended_seconds: float
    action: str
    then: str
    parent: str
    parent_digest: str
    first_recorded_seconds: float
    last_recorded_seconds: float
    declared: _containers.ScalarMap[str, str]
    declared_parent: str
    lineage: str
    lineage_reason: str
    version: str
    digest: str
    fate: str
    took_seconds: float
    exit_code: int
    output: _containers.RepeatedScalarFieldContainer[str]
    output_bytes: int
    def __init__(self, id: _Optional[int] = ..., model: _Optional[str] = ..., state: _Optional[str] = ..., text: _Optional[str] = ..., trigger: _Optional[str] = ..., why: _Optional[str] = ..., actor: _Optional[str] = ..., began_seconds: _Optional[float] = ..., ended_seconds: _Optional[float] = ..., action: _Optional[str] = ..., then: _Optional[str] = ..., parent: _Optional[str] = ..., parent_digest: _Optional[str] = ..., first_recorded_seconds: _Optional[float] = ..., last_recorded_seconds: _Optional[float] = ..., declared: _Optional[_Mapping[str, str]] = ..., declared_parent: _Optional[str] = ..., lineage: _Optional[str] = ..., lineage_reason: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., fate: _Optional[str] = ..., took_seconds: _Optional[float] = ..., exit_code: _Optional[int] = ..., output: _Optional[_Iterable[str]] = ..., output_bytes: _Optional[int] = ...) -> None: ...
