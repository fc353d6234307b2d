from router.pb import faults_pb2 as _faults_pb2
from router.pb import inference_pb2 as _inference_pb2
from router.pb import story_pb2 as _story_pb2
from router.pb import table_pb2 as _table_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FromWorker(_message.Message):
    __slots__ = ("joined", "prepared", "telemetry", "question", "take_back", "told")
    JOINED_FIELD_NUMBER: _ClassVar[int]
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    TAKE_BACK_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    joined: Joined
    prepared: Prepared
    telemetry: Telemetry
    question: Question
    take_back: TakeBack
    told: Told
    def __init__(self, joined: _Optional[_Union[Joined, _Mapping]] = ..., prepared: _Optional[_Union[Prepared, _Mapping]] = ..., telemetry: _Optional[_Union[Telemetry, _Mapping]] = ..., question: _Optional[_Union[Question, _Mapping]] = ..., take_back: _Optional[_Union[TakeBack, _Mapping]] = ..., told: _Optional[_Union[Told, _Mapping]] = ...) -> None: ...

class ToWorker(_message.Message):
    __slots__ = ("prepare", "retire", "ask_telemetry", "bind", "answer", "set_faults", "ask_stories")
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    RETIRE_FIELD_NUMBER: _ClassVar[int]
    ASK_TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    BIND_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SET_FAULTS_FIELD_NUMBER: _ClassVar[int]
    ASK_STORIES_FIELD_NUMBER: _ClassVar[int]
    prepare: Prepare
    retire: Retire
    ask_telemetry: AskTelemetry
    bind: Bind
    answer: Answer
    set_faults: _faults_pb2.ModelFaults
    ask_stories: AskStories
    def __init__(self, prepare: _Optional[_Union[Prepare, _Mapping]] = ..., retire: _Optional[_Union[Retire, _Mapping]] = ..., ask_telemetry: _Optional[_Union[AskTelemetry, _Mapping]] = ..., bind: _Optional[_Union[Bind, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., set_faults: _Optional[_Union[_faults_pb2.ModelFaults, _Mapping]] = ..., ask_stories: _Optional[_Union[AskStories, _Mapping]] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ("worker", "pid", "incarnation")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    worker: int
    pid: int
    incarnation: str
    def __init__(self, worker: _Optional[int] = ..., pid: _Optional[int] = ..., incarnation: _Optional[str] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: _table_pb2.Table
    def __init__(self, table: _Optional[_Union[_table_pb2.Table, _Mapping]] = ...) -> None: ...

class Prepared(_message.Message):
    __slots__ = ("generation", "refusals")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, generation: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("model", "version", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Retire(_message.Message):
    __slots__ = ("before_generation",)
    BEFORE_GENERATION_FIELD_NUMBER: _ClassVar[int]
    before_generation: int
    def __init__(self, before_generation: _Optional[int] = ...) -> None: ...

class Bind(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AskTelemetry(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: int
    def __init__(self, question: _Optional[int] = ...) -> None: ...

class Telemetry(_message.Message):
    __slots__ = ("question", "models", "gauges", "resident_bytes", "loop_taken")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOOP_TAKEN_FIELD_NUMBER: _ClassVar[int]
    question: int
    models: _containers.RepeatedCompositeFieldContainer[_inference_pb2.ModelStatistics]
    gauges: _containers.RepeatedCompositeFieldContainer[ModelGauges]
    resident_bytes: int
    loop_taken: int
    def __init__(self, question: _Optional[int] = ..., models: _Optional[_Iterable[_Union[_inference_pb2.ModelStatistics, _Mapping]]] = ..., gauges: _Optional[_Iterable[_Union[ModelGauges, _Mapping]]] = ..., resident_bytes: _Optional[int] = ..., loop_taken: _Optional[int] = ...) -> None: ...

class ModelGauges(_message.Message):
    __slots__ = ("model", "version", "pending", "lane", "failures", "load_ns", "request_buckets", "request_ns", "fallbacks", "hung", "breakers_open", "breakers_opened", "hedges_sent", "hedges_won", "hedges_refused")
    class FailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class HedgesRefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LOAD_NS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_NS_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    HUNG_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_OPEN_FIELD_NUMBER: _ClassVar[int]
    BREAKERS_OPENED_FIELD_NUMBER: _ClassVar[int]
    HEDGES_SENT_FIELD_NUMBER: _ClassVar[int]
    HEDGES_WON_FIELD_NUMBER: _ClassVar[int]
    HEDGES_REFUSED_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    pending: int
    lane: str
    failures: _containers.ScalarMap[str, int]
    load_ns: int
    request_buckets: _containers.RepeatedScalarFieldContainer[int]
    request_ns: int
    fallbacks: _containers.RepeatedCompositeFieldContainer[Fallback]
    hung: int
    breakers_open: int
    breakers_opened: int
    hedges_sent: int
    hedges_won: int
    hedges_refused: _containers.ScalarMap[str, int]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., pending: _Optional[int] = ..., lane: _Optional[str] = ..., failures: _Optional[_Mapping[str, int]] = ..., load_ns: _Optional[int] = ..., request_buckets: _Optional[_Iterable[int]] = ..., request_ns: _Optional[int] = ..., fallbacks: _Optional[_Iterable[_Union[Fallback, _Mapping]]] = ..., hung: _Optional[int] = ..., breakers_open: _Optional[int] = ..., breakers_opened: _Optional[int] = ..., hedges_sent: _Optional[int] = ..., hedges_won: _Optional[int] = ..., hedges_refused: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Fallback(_message.Message):
    __slots__ = ("step", "reason", "count", "ns")
    STEP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    NS_FIELD_NUMBER: _ClassVar[int]
    step: str
    reason: str
    count: int
    ns: int
    def __init__(self, step: _Optional[str] = ..., reason: _Optional[str] = ..., count: _Optional[int] = ..., ns: _Optional[int] = ...) -> None: ...

class AskStories(_message.Message):
    __slots__ = ("question", "wanted")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    question: int
    wanted: _story_pb2.ExplainRequest
    def __init__(self, question: _Optional[int] = ..., wanted: _Optional[_Union[_story_pb2.ExplainRequest, _Mapping]] = ...) -> None: ...

class Told(_message.Message):
    __slots__ = ("question", "stories")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    STORIES_FIELD_NUMBER: _ClassVar[int]
    question: int
    stories: _story_pb2.Stories
    def __init__(self, question: _Optional[int] = ..., stories: _Optional[_Union[_story_pb2.Stories, _Mapping]] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("id", "method", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    method: str
    message: bytes
    def __init__(self, id: _Optional[int] = ..., method: _Optional[str] = ..., message: _Optional[bytes] = ...) -> None: ...

class TakeBack(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("id", "code", "detail", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    code: int
    detail: str
    message: bytes
    def __init__(self, id: _Optional[int] = ..., code: _Optional[int] = ..., detail: _Optional[str] = ..., message: _Optional[bytes] = ...) -> None: ...
