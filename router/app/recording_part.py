"""Recording as a part of the controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path

from grpc import aio

from router.app.monitoring import Looking
from router.control.events import Events
from router.control.ledger_file import Actual
from router.control.recorded_schema import FOLDER
from router.control.recording import Recorder
from router.core.observation import Observation
from router.core.table import Route
from router.edge.families import Family
from router.edge.recording_service import RecordingService
from router.model_settings import RecordingSettings


class RecordingPart(Looking):
    """Records below the state directory what the routes' settings ask for."""

    def __init__(self, state: Path, routes: Callable[[], Mapping[str, Route]], events: Events) -> None:
        self._routes = routes
        self._events = events
        self._loop: asyncio.AbstractEventLoop | None = None
        self.recorder = Recorder(state / FOLDER, self._settings, self._told)
        self._service = RecordingService(self.recorder, self._settings)

    def _settings(self) -> Mapping[str, RecordingSettings]:
        return {model: route.settings.recording for model, route in self._routes().items()}

    def _told(self, model: str, line: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.tell, "recording", model, "", line)

    def observed(self, observation: Observation) -> None:
        """Rows came by."""
        if observation.recorded:
            self.recorder.put(observation)

    def came_true(self, model: str, actuals: Sequence[Actual]) -> None:
        """It has come true what was right."""
        self.recorder.came_true(model, actuals)

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """What goes on until it is cancelled."""
        return (self._record(),)

    async def _record(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.recorder.start()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Write what there is."""
        await asyncio.to_thread(self.recorder.stop)

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""
        self._service.add_to(server)

    async def figures(self) -> Iterable[Family]:
        """Rows in files, and rows that are not, by model."""
        samples = [
            ((model, outcome), float(counted[model]))
            for outcome, counted in (("written", self.recorder.written), ("lost", self.recorder.lost))
            for model, settings in self._settings().items()
            if settings.enabled or counted[model]
        ]
        return (
            Family(
                "counter",
                "router_recorded_rows",
                "Rows of recordings: written to files, or lost for want of room",
                ("model", "outcome"),
                samples,
            ),
            Family(
                "gauge",
                "router_recording_paused",
                "1 while the disk takes no recordings",
                (),
                (((), float(bool(self.recorder.trouble))),),
            ),
        )
