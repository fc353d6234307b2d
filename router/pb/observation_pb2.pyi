from router.pb import mirror_pb2 as _mirror_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Observations(_message.Message):
    __slots__ = ("observed",)
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    observed: _containers.RepeatedCompositeFieldContainer[Observed]
    def __init__(self, observed: _Optional[_Iterable[_Union[Observed, _Mapping]]] = ...) -> None: ...

class Observed(_message.Message):
    __slots__ = ("model", "number", "served_by", "ids", "ends_ns", "took_ns", "rows", "inputs", "outputs", "recorded", "missed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SERVED_BY_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    ENDS_NS_FIELD_NUMBER: _ClassVar[int]
    TOOK_NS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    model: str
    number: str
    served_by: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    ends_ns: _containers.RepeatedScalarFieldContainer[int]
    took_ns: _containers.RepeatedScalarFieldContainer[int]
    rows: _containers.RepeatedScalarFieldContainer[int]
    inputs: _containers.RepeatedCompositeFieldContainer[_mirror_pb2.Tensor]
    outputs: _containers.RepeatedCompositeFieldContainer[_mirror_pb2.Tensor]
    recorded: bool
    missed: int
    def __init__(self, model: _Optional[str] = ..., number: _Optional[str] = ..., served_by: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., ends_ns: _Optional[_Iterable[int]] = ..., took_ns: _Optional[_Iterable[int]] = ..., rows: _Optional[_Iterable[int]] = ..., inputs: _Optional[_Iterable[_Union[_mirror_pb2.Tensor, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_mirror_pb2.Tensor, _Mapping]]] = ..., recorded: _Optional[bool] = ..., missed: _Optional[int] = ...) -> None: ...
