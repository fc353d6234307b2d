from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fault(_message.Message):
    __slots__ = ("kind", "share", "ms", "factor", "after_s", "replica", "version", "by")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    AFTER_S_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    share: float
    ms: float
    factor: float
    after_s: float
    replica: int
    version: str
    by: float
    def __init__(self, kind: _Optional[str] = ..., share: _Optional[float] = ..., ms: _Optional[float] = ..., factor: _Optional[float] = ..., after_s: _Optional[float] = ..., replica: _Optional[int] = ..., version: _Optional[str] = ..., by: _Optional[float] = ...) -> None: ...

class ModelFaults(_message.Message):
    __slots__ = ("model", "faults")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    def __init__(self, model: _Optional[str] = ..., faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ...) -> None: ...
