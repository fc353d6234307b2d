from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetDriftRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetDriftResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelDrift]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelDrift, _Mapping]]] = ...) -> None: ...

class ModelDrift(_message.Message):
    __slots__ = ("model", "status", "reason", "next_step", "references", "features", "observed", "missed", "windows", "notes", "yellow", "red")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    YELLOW_FIELD_NUMBER: _ClassVar[int]
    RED_FIELD_NUMBER: _ClassVar[int]
    model: str
    status: str
    reason: str
    next_step: str
    references: _containers.RepeatedCompositeFieldContainer[ReferenceInfo]
    features: _containers.RepeatedCompositeFieldContainer[FeatureDrift]
    observed: int
    missed: int
    windows: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    yellow: float
    red: float
    def __init__(self, model: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., next_step: _Optional[str] = ..., references: _Optional[_Iterable[_Union[ReferenceInfo, _Mapping]]] = ..., features: _Optional[_Iterable[_Union[FeatureDrift, _Mapping]]] = ..., observed: _Optional[int] = ..., missed: _Optional[int] = ..., windows: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ..., yellow: _Optional[float] = ..., red: _Optional[float] = ...) -> None: ...

class ReferenceInfo(_message.Message):
    __slots__ = ("side", "source", "rows", "wanted", "made_seconds", "actor", "version")
    SIDE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    MADE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    side: str
    source: str
    rows: int
    wanted: int
    made_seconds: float
    actor: str
    version: str
    def __init__(self, side: _Optional[str] = ..., source: _Optional[str] = ..., rows: _Optional[int] = ..., wanted: _Optional[int] = ..., made_seconds: _Optional[float] = ..., actor: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class FeatureDrift(_message.Message):
    __slots__ = ("name", "side", "category", "status", "reason", "horizon", "rows", "seconds", "psi", "floor", "jensen_shannon", "wasserstein", "missing", "missing_before", "unseen", "unseen_before", "mean", "mean_before", "deviation", "deviation_before", "labels", "before", "now")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    JENSEN_SHANNON_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MISSING_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MEAN_BEFORE_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_FIELD_NUMBER: _ClassVar[int]
    DEVIATION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    side: str
    category: bool
    status: str
    reason: str
    horizon: str
    rows: int
    seconds: float
    psi: float
    floor: float
    jensen_shannon: float
    wasserstein: float
    missing: float
    missing_before: float
    unseen: float
    unseen_before: float
    mean: float
    mean_before: float
    deviation: float
    deviation_before: float
    labels: _containers.RepeatedScalarFieldContainer[str]
    before: _containers.RepeatedScalarFieldContainer[float]
    now: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., side: _Optional[str] = ..., category: _Optional[bool] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., horizon: _Optional[str] = ..., rows: _Optional[int] = ..., seconds: _Optional[float] = ..., psi: _Optional[float] = ..., floor: _Optional[float] = ..., jensen_shannon: _Optional[float] = ..., wasserstein: _Optional[float] = ..., missing: _Optional[float] = ..., missing_before: _Optional[float] = ..., unseen: _Optional[float] = ..., unseen_before: _Optional[float] = ..., mean: _Optional[float] = ..., mean_before: _Optional[float] = ..., deviation: _Optional[float] = ..., deviation_before: _Optional[float] = ..., labels: _Optional[_Iterable[str]] = ..., before: _Optional[_Iterable[float]] = ..., now: _Optional[_Iterable[float]] = ...) -> None: ...

class SetReferenceRequest(_message.Message):
    __slots__ = ("model", "inputs", "outputs", "source", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: str
    outputs: str
    source: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[str] = ..., outputs: _Optional[str] = ..., source: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SetReferenceResponse(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: int
    outputs: int
    def __init__(self, inputs: _Optional[int] = ..., outputs: _Optional[int] = ...) -> None: ...
