from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetAccuracyRequest(_message.Message):
    __slots__ = ("model", "version", "since_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    since_seconds: float
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., since_seconds: _Optional[float] = ...) -> None: ...

class ResetBaselineRequest(_message.Message):
    __slots__ = ("model", "version", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResetBaselineResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class ModelAccuracy(_message.Message):
    __slots__ = ("model", "champion", "status", "text", "next_step", "now", "since_seconds", "versions", "actuals", "reading")
    class ActualsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SINCE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ACTUALS_FIELD_NUMBER: _ClassVar[int]
    READING_FIELD_NUMBER: _ClassVar[int]
    model: str
    champion: str
    status: str
    text: str
    next_step: str
    now: float
    since_seconds: float
    versions: _containers.RepeatedCompositeFieldContainer[VersionAccuracy]
    actuals: _containers.ScalarMap[str, int]
    reading: bool
    def __init__(self, model: _Optional[str] = ..., champion: _Optional[str] = ..., status: _Optional[str] = ..., text: _Optional[str] = ..., next_step: _Optional[str] = ..., now: _Optional[float] = ..., since_seconds: _Optional[float] = ..., versions: _Optional[_Iterable[_Union[VersionAccuracy, _Mapping]]] = ..., actuals: _Optional[_Mapping[str, int]] = ..., reading: _Optional[bool] = ...) -> None: ...

class VersionAccuracy(_message.Message):
    __slots__ = ("version", "role", "kind", "status", "text", "said", "rows", "delay_seconds", "figures", "points", "classes", "confusion", "classes_since", "more_classes", "baseline", "decline")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DELAY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_FIELD_NUMBER: _ClassVar[int]
    CLASSES_SINCE_FIELD_NUMBER: _ClassVar[int]
    MORE_CLASSES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    version: str
    role: str
    kind: str
    status: str
    text: str
    said: int
    rows: int
    delay_seconds: float
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    classes: _containers.RepeatedCompositeFieldContainer[ClassFigures]
    confusion: _containers.RepeatedCompositeFieldContainer[Cell]
    classes_since: float
    more_classes: bool
    baseline: Baseline
    decline: Seen
    def __init__(self, version: _Optional[str] = ..., role: _Optional[str] = ..., kind: _Optional[str] = ..., status: _Optional[str] = ..., text: _Optional[str] = ..., said: _Optional[int] = ..., rows: _Optional[int] = ..., delay_seconds: _Optional[float] = ..., figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., classes: _Optional[_Iterable[_Union[ClassFigures, _Mapping]]] = ..., confusion: _Optional[_Iterable[_Union[Cell, _Mapping]]] = ..., classes_since: _Optional[float] = ..., more_classes: _Optional[bool] = ..., baseline: _Optional[_Union[Baseline, _Mapping]] = ..., decline: _Optional[_Union[Seen, _Mapping]] = ...) -> None: ...

class Figure(_message.Message):
    __slots__ = ("name", "value", "low", "high")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    low: float
    high: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("begin", "width_seconds", "said", "rows", "value", "low", "high")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    WIDTH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    begin: float
    width_seconds: float
    said: int
    rows: int
    value: float
    low: float
    high: float
    def __init__(self, begin: _Optional[float] = ..., width_seconds: _Optional[float] = ..., said: _Optional[int] = ..., rows: _Optional[int] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ClassFigures(_message.Message):
    __slots__ = ("label", "actual", "said", "precision", "recall", "f1")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_FIELD_NUMBER: _ClassVar[int]
    label: str
    actual: int
    said: int
    precision: float
    recall: float
    f1: float
    def __init__(self, label: _Optional[str] = ..., actual: _Optional[int] = ..., said: _Optional[int] = ..., precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1: _Optional[float] = ...) -> None: ...

class Cell(_message.Message):
    __slots__ = ("truth", "said", "count")
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    truth: str
    said: str
    count: int
    def __init__(self, truth: _Optional[str] = ..., said: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("origin", "requests", "value", "limit")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    origin: str
    requests: int
    value: float
    limit: float
    def __init__(self, origin: _Optional[str] = ..., requests: _Optional[int] = ..., value: _Optional[float] = ..., limit: _Optional[float] = ...) -> None: ...

class Seen(_message.Message):
    __slots__ = ("since", "requests", "value")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    since: float
    requests: int
    value: float
    def __init__(self, since: _Optional[float] = ..., requests: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
