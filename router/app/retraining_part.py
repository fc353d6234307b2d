"""Retraining as a part of the controller: what hears of declines, what begins runs, and its admin service."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path

from grpc import aio

from router.app.monitoring import Looking
from router.config import RetrainingSettings
from router.control.retraining import Life, Retraining
from router.control.retraining_command import Commands
from router.control.retraining_files import StateFiles
from router.edge import families
from router.edge.retraining_service import RetrainingService


class RetrainingPart(Looking):
    """Of one server. `state` is its state directory."""

    def __init__(self, life: Life, policies: Mapping[str, RetrainingSettings], state: Path) -> None:
        self.retraining = Retraining(life, policies, StateFiles(state), Commands())

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """Both go on until they are cancelled: a command that runs is ended then."""
        return self.retraining.listen(), self.retraining.work()

    def add_to(self, server: aio.Server) -> None:
        """Its service."""
        RetrainingService(self.retraining).add_to(server)

    async def figures(self) -> Iterable[families.Family]:
        """What runs, and how runs have ended."""
        return families.retraining(self.retraining.running, self.retraining.outcomes)
