"""The recordings service of the admin port: where the files are, and whether more come."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpc import aio

from router.control.recorded_schema import folder_of
from router.control.recording import Recorder
from router.edge import admin_words as words
from router.errors import NotFound
from router.model_settings import RecordingSettings
from router.pb import recording_pb2 as pb
from router.pb import recording_pb2_grpc

Context = aio.ServicerContext[Any, Any]


class RecordingService(recording_pb2_grpc.RecordingsServicer):
    """Answers from `recorder`. `settings` are those of the models that are served."""

    def __init__(self, recorder: Recorder, settings: Callable[[], Mapping[str, RecordingSettings]]) -> None:
        self._recorder = recorder
        self._settings = settings

    def add_to(self, server: aio.Server) -> None:
        """Add it to the admin port."""
        recording_pb2_grpc.add_RecordingsServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def GetRecording(self, request: pb.GetRecordingRequest, context: Context) -> pb.Recording:
        """Of one model."""
        model = words.model(request.model)
        settings = self._settings().get(model)
        if settings is None:
            raise NotFound(f"unknown model '{model[:200]}'")
        recorder = self._recorder
        return pb.Recording(
            model=model,
            enabled=settings.enabled,
            folder=str(folder_of(recorder.folder, model).absolute()),
            written=recorder.written[model],
            lost=recorder.lost[model],
            trouble=recorder.trouble,
        )
