"""What the admin service answers from: the parts of the controller as it sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from router.control.events import Events
from router.control.ledger import Submitted
from router.control.ledger_file import Actual
from router.control.records import AuditRecord, ModelView, Order, PromotionPlan, Swapped
from router.core.audit import Verified
from router.core.gate import Report
from router.core.table import VersionTable


class Lifecycle(Protocol):
    """Versions and what may be done with them. Every method raises RouterErrors; what served goes on then."""

    @property
    def table(self) -> VersionTable:
        """What serves."""

    @property
    def started(self) -> bool:
        """Whether there is a first table."""

    @property
    def events(self) -> Events:
        """What happens."""

    @property
    def frozen(self) -> frozenset[str]:
        """Models that may not be promoted; the empty name among them: none may."""

    def versions(self, model: str = "") -> Sequence[ModelView]:
        """All models, or one."""

    async def load(self, model: str, number: str, order: Order) -> None:
        """Serve a version, or what the policy chooses."""

    async def unload(self, model: str, number: str, order: Order) -> None:
        """Serve a version no more, or the whole model."""

    async def test(self, model: str, number: str, order: Order) -> Report:
        """Put a version through its gates."""

    async def warm(self, model: str, number: str, order: Order) -> Report:
        """Run a version beside the champion until there is a verdict."""

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """What a promotion would do."""

    async def promote(
        self, model: str, number: str, order: Order, expected: str = "", override: bool = False
    ) -> Swapped:
        """Make a version champion, if the champion is still the `expected` one."""

    async def rollback(self, model: str, number: str, order: Order, expected: str = "") -> Swapped:
        """Go back to a version; the empty number is the standby."""

    async def freeze(self, model: str, on: bool, order: Order) -> None:
        """Stop promotions of a model, or of all, or let them go on."""

    async def set_alias(self, model: str, alias: str, number: str, order: Order) -> int:
        """Point an alias at a version, or remove it; gives the generation that serves then."""

    async def set_fallback(self, model: str, on: bool, order: Order) -> None:
        """Switch a model to its fallback, or back."""


class Database(Protocol):
    """What was kept. The methods block and raise RouterErrors."""

    def reports(self, model: str, number: str, kind: str, last: int) -> Sequence[Report]:
        """Newest first; an empty number or kind is all of them, `last` 0 the newest of each kind of each version."""

    def audit(self, model: str, last: int) -> Sequence[AuditRecord]:
        """The newest acts, oldest of them first; an empty model is all of them."""

    def verify(self, head: str) -> Verified:
        """Follow the chain of hashes, up to a `head` that was noted outside where there is one."""


class Ledger(Protocol):
    """Predictions, and what came true for them."""

    async def submit(self, model: str, actuals: Sequence[Actual]) -> Submitted:
        """Join actuals to predictions."""
