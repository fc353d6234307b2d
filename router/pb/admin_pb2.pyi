from router.pb import faults_pb2 as _faults_pb2
from router.pb import story_pb2 as _story_pb2
from router.pb import table_pb2 as _table_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("version", "generation", "uptime_seconds", "transport", "model_control", "processes", "addresses", "models_dir", "ready")
    class AddressesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    MODEL_CONTROL_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    MODELS_DIR_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    version: str
    generation: int
    uptime_seconds: float
    transport: str
    model_control: str
    processes: _containers.RepeatedCompositeFieldContainer[Process]
    addresses: _containers.ScalarMap[str, str]
    models_dir: str
    ready: bool
    def __init__(self, version: _Optional[str] = ..., generation: _Optional[int] = ..., uptime_seconds: _Optional[float] = ..., transport: _Optional[str] = ..., model_control: _Optional[str] = ..., processes: _Optional[_Iterable[_Union[Process, _Mapping]]] = ..., addresses: _Optional[_Mapping[str, str]] = ..., models_dir: _Optional[str] = ..., ready: _Optional[bool] = ...) -> None: ...

class Process(_message.Message):
    __slots__ = ("name", "pid", "state", "resident_bytes", "restarts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    state: str
    resident_bytes: int
    restarts: int
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., state: _Optional[str] = ..., resident_bytes: _Optional[int] = ..., restarts: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("generation", "routes", "loading")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    generation: int
    routes: _containers.RepeatedCompositeFieldContainer[_table_pb2.Route]
    loading: bool
    def __init__(self, generation: _Optional[int] = ..., routes: _Optional[_Iterable[_Union[_table_pb2.Route, _Mapping]]] = ..., loading: _Optional[bool] = ...) -> None: ...

class ListFaultsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListFaultsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_faults_pb2.ModelFaults]
    def __init__(self, models: _Optional[_Iterable[_Union[_faults_pb2.ModelFaults, _Mapping]]] = ...) -> None: ...

class SetFaultsRequest(_message.Message):
    __slots__ = ("model", "faults")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    faults: _containers.RepeatedCompositeFieldContainer[_faults_pb2.Fault]
    def __init__(self, model: _Optional[str] = ..., faults: _Optional[_Iterable[_Union[_faults_pb2.Fault, _Mapping]]] = ...) -> None: ...

class SetFaultsResponse(_message.Message):
    __slots__ = ("workers",)
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    workers: int
    def __init__(self, workers: _Optional[int] = ...) -> None: ...

class SetFallbackRequest(_message.Message):
    __slots__ = ("model", "on")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ON_FIELD_NUMBER: _ClassVar[int]
    model: str
    on: bool
    def __init__(self, model: _Optional[str] = ..., on: _Optional[bool] = ...) -> None: ...

class SetFallbackResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class ListQuarantineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListQuarantineResponse(_message.Message):
    __slots__ = ("suspects",)
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    suspects: _containers.RepeatedCompositeFieldContainer[Suspect]
    def __init__(self, suspects: _Optional[_Iterable[_Union[Suspect, _Mapping]]] = ...) -> None: ...

class Suspect(_message.Message):
    __slots__ = ("fingerprint", "model", "version", "crashes", "last_seconds", "refused")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CRASHES_FIELD_NUMBER: _ClassVar[int]
    LAST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    model: str
    version: str
    crashes: int
    last_seconds: float
    refused: bool
    def __init__(self, fingerprint: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., crashes: _Optional[int] = ..., last_seconds: _Optional[float] = ..., refused: _Optional[bool] = ...) -> None: ...

class ClearQuarantineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClearQuarantineResponse(_message.Message):
    __slots__ = ("cleared",)
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    cleared: int
    def __init__(self, cleared: _Optional[int] = ...) -> None: ...
