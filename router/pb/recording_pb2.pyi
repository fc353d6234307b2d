from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetRecordingRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("model", "enabled", "folder", "written", "lost", "trouble")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    enabled: bool
    folder: str
    written: int
    lost: int
    trouble: str
    def __init__(self, model: _Optional[str] = ..., enabled: _Optional[bool] = ..., folder: _Optional[str] = ..., written: _Optional[int] = ..., lost: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...
