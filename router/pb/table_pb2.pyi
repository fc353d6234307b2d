from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dimension(_message.Message):
    __slots__ = ("size", "symbol")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    size: int
    symbol: str
    def __init__(self, size: _Optional[int] = ..., symbol: _Optional[str] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("name", "datatype", "shape", "optional")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedCompositeFieldContainer[Dimension]
    optional: bool
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[_Union[Dimension, _Mapping]]] = ..., optional: _Optional[bool] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    outputs: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, inputs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class Batching(_message.Message):
    __slots__ = ("max_size", "max_wait_us", "decided_by")
    MAX_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_US_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    max_size: int
    max_wait_us: int
    decided_by: str
    def __init__(self, max_size: _Optional[int] = ..., max_wait_us: _Optional[int] = ..., decided_by: _Optional[str] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("number", "digest", "path", "state", "reason", "signature", "batching", "intra_op_threads", "file_bytes", "declared", "left_out")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    BATCHING_FIELD_NUMBER: _ClassVar[int]
    INTRA_OP_THREADS_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    number: str
    digest: str
    path: str
    state: str
    reason: str
    signature: Signature
    batching: Batching
    intra_op_threads: int
    file_bytes: int
    declared: str
    left_out: bool
    def __init__(self, number: _Optional[str] = ..., digest: _Optional[str] = ..., path: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., batching: _Optional[_Union[Batching, _Mapping]] = ..., intra_op_threads: _Optional[int] = ..., file_bytes: _Optional[int] = ..., declared: _Optional[str] = ..., left_out: _Optional[bool] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("model", "champion", "versions", "settings", "switched", "standby", "aliases", "split", "shadows")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    SWITCHED_FIELD_NUMBER: _ClassVar[int]
    STANDBY_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SHADOWS_FIELD_NUMBER: _ClassVar[int]
    model: str
    champion: str
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    settings: str
    switched: bool
    standby: str
    aliases: _containers.ScalarMap[str, str]
    split: Split
    shadows: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., champion: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ..., settings: _Optional[str] = ..., switched: _Optional[bool] = ..., standby: _Optional[str] = ..., aliases: _Optional[_Mapping[str, str]] = ..., split: _Optional[_Union[Split, _Mapping]] = ..., shadows: _Optional[_Iterable[str]] = ...) -> None: ...

class Split(_message.Message):
    __slots__ = ("intervals", "matches")
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    intervals: _containers.RepeatedCompositeFieldContainer[Interval]
    matches: _containers.RepeatedCompositeFieldContainer[Match]
    def __init__(self, intervals: _Optional[_Iterable[_Union[Interval, _Mapping]]] = ..., matches: _Optional[_Iterable[_Union[Match, _Mapping]]] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high", "number")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    low: int
    high: int
    number: str
    def __init__(self, low: _Optional[int] = ..., high: _Optional[int] = ..., number: _Optional[str] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ("key", "value", "number")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    number: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., number: _Optional[str] = ...) -> None: ...

class Table(_message.Message):
    __slots__ = ("generation", "routes")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, generation: _Optional[int] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...
