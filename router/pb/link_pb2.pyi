from router.pb import faults_pb2 as _faults_pb2
from router.pb import inference_pb2 as _inference_pb2
from router.pb import observation_pb2 as _observation_pb2
from router.pb import story_pb2 as _story_pb2
from router.pb import table_pb2 as _table_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FromWorker(_message.Message):
    __slots__ = ("joined", "prepared", "telemetry", "question", "take_back", "told", "predictions", "handed_over", "retired", "preloaded", "warmed", "observations")
    JOINED_FIELD_NUMBER: _ClassVar[int]
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    TAKE_BACK_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    HANDED_OVER_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    PRELOADED_FIELD_NUMBER: _ClassVar[int]
    WARMED_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    joined: Joined
    prepared: Prepared
    telemetry: Telemetry
    question: Question
    take_back: TakeBack
    told: Told
    predictions: Predictions
    handed_over: HandedOver
    retired: Retired
    preloaded: Preloaded
    warmed: Warmed
    observations: _observation_pb2.Observations
    def __init__(self, joined: _Optional[_Union[Joined, _Mapping]] = ..., prepared: _Optional[_Union[Prepared, _Mapping]] = ..., telemetry: _Optional[_Union[Telemetry, _Mapping]] = ..., question: _Optional[_Union[Question, _Mapping]] = ..., take_back: _Optional[_Union[TakeBack, _Mapping]] = ..., told: _Optional[_Union[Told, _Mapping]] = ..., predictions: _Optional[_Union[Predictions, _Mapping]] = ..., handed_over: _Optional[_Union[HandedOver, _Mapping]] = ..., retired: _Optional[_Union[Retired, _Mapping]] = ..., preloaded: _Optional[_Union[Preloaded, _Mapping]] = ..., warmed: _Optional[_Union[Warmed, _Mapping]] = ..., observations: _Optional[_Union[_observation_pb2.Observations, _Mapping]] = ...) -> None: ...

class ToWorker(_message.Message):
    __slots__ = ("prepare", "retire", "ask_telemetry", "bind", "answer", "set_faults", "ask_stories", "kept", "ask_predictions", "preload", "set_mirrors", "set_warmings", "came_true")
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    RETIRE_FIELD_NUMBER: _ClassVar[int]
    ASK_TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    BIND_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SET_FAULTS_FIELD_NUMBER: _ClassVar[int]
    ASK_STORIES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    ASK_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    PRELOAD_FIELD_NUMBER: _ClassVar[int]
    SET_MIRRORS_FIELD_NUMBER: _ClassVar[int]
    SET_WARMINGS_FIELD_NUMBER: _ClassVar[int]
    CAME_TRUE_FIELD_NUMBER: _ClassVar[int]
    prepare: Prepare
    retire: Retire
    ask_telemetry: AskTelemetry
    bind: Bind
    answer: Answer
    set_faults: _faults_pb2.ModelFaults
    ask_stories: AskStories
    kept: Kept
    ask_predictions: AskPredictions
    preload: Preload
    set_mirrors: Mirrors
    set_warmings: Warmings
    came_true: CameTrue
    def __init__(self, prepare: _Optional[_Union[Prepare, _Mapping]] = ..., retire: _Optional[_Union[Retire, _Mapping]] = ..., ask_telemetry: _Optional[_Union[AskTelemetry, _Mapping]] = ..., bind: _Optional[_Union[Bind, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., set_faults: _Optional[_Union[_faults_pb2.ModelFaults, _Mapping]] = ..., ask_stories: _Optional[_Union[AskStories, _Mapping]] = ..., kept: _Optional[_Union[Kept, _Mapping]] = ..., ask_predictions: _Optional[_Union[AskPredictions, _Mapping]] = ..., preload: _Optional[_Union[Preload, _Mapping]] = ..., set_mirrors: _Optional[_Union[Mirrors, _Mapping]] = ..., set_warmings: _Optional[_Union[Warmings, _Mapping]] = ..., came_true: _Optional[_Union[CameTrue, _Mapping]] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ("worker", "pid", "incarnation", "role")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    worker: int
    pid: int
    incarnation: str
    role: str
    def __init__(self, worker: _Optional[int] = ..., pid: _Optional[int] = ..., incarnation: _Optional[str] = ..., role: _Optional[str] = ...) -> None: ...

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

class Preload(_message.Message):
    __slots__ = ("question", "route")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    question: int
    route: _table_pb2.Route
    def __init__(self, question: _Optional[int] = ..., route: _Optional[_Union[_table_pb2.Route, _Mapping]] = ...) -> None: ...

class Preloaded(_message.Message):
    __slots__ = ("question", "refusals")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    question: int
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, question: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Retire(_message.Message):
    __slots__ = ("before_generation",)
    BEFORE_GENERATION_FIELD_NUMBER: _ClassVar[int]
    before_generation: int
    def __init__(self, before_generation: _Optional[int] = ...) -> None: ...

class Retired(_message.Message):
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
    __slots__ = ("question", "models", "gauges", "resident_bytes", "loop_taken", "predictions", "mirrors", "observations")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOOP_TAKEN_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MIRRORS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    question: int
    models: _containers.RepeatedCompositeFieldContainer[_inference_pb2.ModelStatistics]
    gauges: _containers.RepeatedCompositeFieldContainer[ModelGauges]
    resident_bytes: int
    loop_taken: int
    predictions: _containers.RepeatedCompositeFieldContainer[PredictionFigures]
    mirrors: _containers.RepeatedCompositeFieldContainer[MirrorFigures]
    observations: _containers.RepeatedCompositeFieldContainer[ObservationFigures]
    def __init__(self, question: _Optional[int] = ..., models: _Optional[_Iterable[_Union[_inference_pb2.ModelStatistics, _Mapping]]] = ..., gauges: _Optional[_Iterable[_Union[ModelGauges, _Mapping]]] = ..., resident_bytes: _Optional[int] = ..., loop_taken: _Optional[int] = ..., predictions: _Optional[_Iterable[_Union[PredictionFigures, _Mapping]]] = ..., mirrors: _Optional[_Iterable[_Union[MirrorFigures, _Mapping]]] = ..., observations: _Optional[_Iterable[_Union[ObservationFigures, _Mapping]]] = ...) -> None: ...

class PredictionFigures(_message.Message):
    __slots__ = ("model", "kept", "lost")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    model: str
    kept: int
    lost: int
    def __init__(self, model: _Optional[str] = ..., kept: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class ObservationFigures(_message.Message):
    __slots__ = ("model", "looked", "recorded", "missed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LOOKED_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    model: str
    looked: int
    recorded: int
    missed: int
    def __init__(self, model: _Optional[str] = ..., looked: _Optional[int] = ..., recorded: _Optional[int] = ..., missed: _Optional[int] = ...) -> None: ...

class ModelGauges(_message.Message):
    __slots__ = ("model", "version", "pending", "lane", "failures", "load_ns", "request_buckets", "request_ns", "fallbacks", "hung", "breakers_open", "breakers_opened", "hedges_sent", "hedges_won", "hedges_refused", "keyless", "doubted", "late")
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
    KEYLESS_FIELD_NUMBER: _ClassVar[int]
    DOUBTED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
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
    keyless: int
    doubted: _containers.RepeatedCompositeFieldContainer[Doubted]
    late: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., pending: _Optional[int] = ..., lane: _Optional[str] = ..., failures: _Optional[_Mapping[str, int]] = ..., load_ns: _Optional[int] = ..., request_buckets: _Optional[_Iterable[int]] = ..., request_ns: _Optional[int] = ..., fallbacks: _Optional[_Iterable[_Union[Fallback, _Mapping]]] = ..., hung: _Optional[int] = ..., breakers_open: _Optional[int] = ..., breakers_opened: _Optional[int] = ..., hedges_sent: _Optional[int] = ..., hedges_won: _Optional[int] = ..., hedges_refused: _Optional[_Mapping[str, int]] = ..., keyless: _Optional[int] = ..., doubted: _Optional[_Iterable[_Union[Doubted, _Mapping]]] = ..., late: _Optional[int] = ...) -> None: ...

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

class Doubted(_message.Message):
    __slots__ = ("rule", "then", "rows")
    RULE_FIELD_NUMBER: _ClassVar[int]
    THEN_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    then: str
    rows: int
    def __init__(self, rule: _Optional[str] = ..., then: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

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

class Predictions(_message.Message):
    __slots__ = ("number", "model", "version", "generation", "served_by", "form", "ids", "rows", "at_ns", "integers", "texts", "numbers", "scores")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SERVED_BY_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    number: int
    model: str
    version: str
    generation: int
    served_by: str
    form: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    rows: _containers.RepeatedScalarFieldContainer[int]
    at_ns: _containers.RepeatedScalarFieldContainer[int]
    integers: _containers.RepeatedScalarFieldContainer[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    numbers: _containers.RepeatedScalarFieldContainer[float]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, number: _Optional[int] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., generation: _Optional[int] = ..., served_by: _Optional[str] = ..., form: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., rows: _Optional[_Iterable[int]] = ..., at_ns: _Optional[_Iterable[int]] = ..., integers: _Optional[_Iterable[int]] = ..., texts: _Optional[_Iterable[str]] = ..., numbers: _Optional[_Iterable[float]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class AskPredictions(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: int
    def __init__(self, question: _Optional[int] = ...) -> None: ...

class HandedOver(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: int
    def __init__(self, question: _Optional[int] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("id", "method", "message", "token", "identity")
    ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    id: int
    method: str
    message: bytes
    token: str
    identity: str
    def __init__(self, id: _Optional[int] = ..., method: _Optional[str] = ..., message: _Optional[bytes] = ..., token: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

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

class Mirrors(_message.Message):
    __slots__ = ("mirrors",)
    MIRRORS_FIELD_NUMBER: _ClassVar[int]
    mirrors: _containers.RepeatedCompositeFieldContainer[Mirror]
    def __init__(self, mirrors: _Optional[_Iterable[_Union[Mirror, _Mapping]]] = ...) -> None: ...

class Mirror(_message.Message):
    __slots__ = ("model", "versions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    versions: _containers.RepeatedCompositeFieldContainer[MirrorPart]
    def __init__(self, model: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[MirrorPart, _Mapping]]] = ...) -> None: ...

class MirrorPart(_message.Message):
    __slots__ = ("number", "fraction", "max_per_s")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_S_FIELD_NUMBER: _ClassVar[int]
    number: str
    fraction: float
    max_per_s: float
    def __init__(self, number: _Optional[str] = ..., fraction: _Optional[float] = ..., max_per_s: _Optional[float] = ...) -> None: ...

class MirrorFigures(_message.Message):
    __slots__ = ("model", "offered", "sent", "dropped")
    class DroppedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    model: str
    offered: int
    sent: int
    dropped: _containers.ScalarMap[str, int]
    def __init__(self, model: _Optional[str] = ..., offered: _Optional[int] = ..., sent: _Optional[int] = ..., dropped: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Warmings(_message.Message):
    __slots__ = ("warmings",)
    WARMINGS_FIELD_NUMBER: _ClassVar[int]
    warmings: _containers.RepeatedCompositeFieldContainer[Warming]
    def __init__(self, warmings: _Optional[_Iterable[_Union[Warming, _Mapping]]] = ...) -> None: ...

class Warming(_message.Message):
    __slots__ = ("run", "number", "route", "source", "count", "purpose", "share", "max_per_s", "alone")
    RUN_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MAX_PER_S_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    run: str
    number: str
    route: _table_pb2.Route
    source: str
    count: int
    purpose: str
    share: float
    max_per_s: float
    alone: bool
    def __init__(self, run: _Optional[str] = ..., number: _Optional[str] = ..., route: _Optional[_Union[_table_pb2.Route, _Mapping]] = ..., source: _Optional[str] = ..., count: _Optional[int] = ..., purpose: _Optional[str] = ..., share: _Optional[float] = ..., max_per_s: _Optional[float] = ..., alone: _Optional[bool] = ...) -> None: ...

class CameTrue(_message.Message):
    __slots__ = ("model", "truths")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TRUTHS_FIELD_NUMBER: _ClassVar[int]
    model: str
    truths: _containers.RepeatedCompositeFieldContainer[Truth]
    def __init__(self, model: _Optional[str] = ..., truths: _Optional[_Iterable[_Union[Truth, _Mapping]]] = ...) -> None: ...

class Truth(_message.Message):
    __slots__ = ("request_id", "row", "integer", "number", "text")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    row: int
    integer: int
    number: float
    text: str
    def __init__(self, request_id: _Optional[str] = ..., row: _Optional[int] = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class Warmed(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[WarmedVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[WarmedVersion, _Mapping]]] = ...) -> None: ...

class WarmedVersion(_message.Message):
    __slots__ = ("run", "source", "loaded", "failed", "seconds", "samples", "rows", "errors", "broken", "first_error", "times", "champion_times", "ratios", "outputs", "running_seconds", "exhausted", "accuracy", "missed", "rested_seconds", "replayed", "left_out")
    class SamplesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RUN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_ERROR_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_TIMES_FIELD_NUMBER: _ClassVar[int]
    RATIOS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    RESTED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    run: str
    source: str
    loaded: bool
    failed: str
    seconds: float
    samples: _containers.ScalarMap[str, int]
    rows: int
    errors: int
    broken: int
    first_error: str
    times: _containers.RepeatedScalarFieldContainer[int]
    champion_times: _containers.RepeatedScalarFieldContainer[int]
    ratios: _containers.RepeatedScalarFieldContainer[int]
    outputs: _containers.RepeatedCompositeFieldContainer[WarmedOutput]
    running_seconds: float
    exhausted: bool
    accuracy: WarmedAccuracy
    missed: int
    rested_seconds: float
    replayed: str
    left_out: str
    def __init__(self, run: _Optional[str] = ..., source: _Optional[str] = ..., loaded: _Optional[bool] = ..., failed: _Optional[str] = ..., seconds: _Optional[float] = ..., samples: _Optional[_Mapping[str, int]] = ..., rows: _Optional[int] = ..., errors: _Optional[int] = ..., broken: _Optional[int] = ..., first_error: _Optional[str] = ..., times: _Optional[_Iterable[int]] = ..., champion_times: _Optional[_Iterable[int]] = ..., ratios: _Optional[_Iterable[int]] = ..., outputs: _Optional[_Iterable[_Union[WarmedOutput, _Mapping]]] = ..., running_seconds: _Optional[float] = ..., exhausted: _Optional[bool] = ..., accuracy: _Optional[_Union[WarmedAccuracy, _Mapping]] = ..., missed: _Optional[int] = ..., rested_seconds: _Optional[float] = ..., replayed: _Optional[str] = ..., left_out: _Optional[str] = ...) -> None: ...

class WarmedOutput(_message.Message):
    __slots__ = ("name", "kind", "compared", "agreed", "absolute", "relative", "apart", "elements", "within")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    APART_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    compared: int
    agreed: int
    absolute: _containers.RepeatedScalarFieldContainer[int]
    relative: _containers.RepeatedScalarFieldContainer[int]
    apart: float
    elements: int
    within: float
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., compared: _Optional[int] = ..., agreed: _Optional[int] = ..., absolute: _Optional[_Iterable[int]] = ..., relative: _Optional[_Iterable[int]] = ..., apart: _Optional[float] = ..., elements: _Optional[int] = ..., within: _Optional[float] = ...) -> None: ...

class WarmedAccuracy(_message.Message):
    __slots__ = ("joined", "champion_right", "version_right", "only_champion", "only_version")
    JOINED_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_RIGHT_FIELD_NUMBER: _ClassVar[int]
    VERSION_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_CHAMPION_FIELD_NUMBER: _ClassVar[int]
    ONLY_VERSION_FIELD_NUMBER: _ClassVar[int]
    joined: int
    champion_right: int
    version_right: int
    only_champion: int
    only_version: int
    def __init__(self, joined: _Optional[int] = ..., champion_right: _Optional[int] = ..., version_right: _Optional[int] = ..., only_champion: _Optional[int] = ..., only_version: _Optional[int] = ...) -> None: ...
