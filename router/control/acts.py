"""What may be done with versions, for whoever does it in somebody's name: the admin service, a file that is applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from router.control.records import Case, ModelView, Order, PromotionPlan, Swapped
from router.core.split import Match
from router.core.table import VersionTable


class Acts(Protocol):
    """The lifecycle, as far as all of them know it. Every method raises RouterErrors; what served goes on then."""

    @property
    def table(self) -> VersionTable:
        """What serves."""

    @property
    def frozen(self) -> frozenset[str]:
        """Models that may not be promoted; the empty name among them: none may."""

    def versions(self, model: str = "") -> Sequence[ModelView]:
        """All models, or one."""

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """What a promotion would do."""

    async def promote(
        self,
        model: str,
        number: str,
        order: Order,
        expected: str = "",
        override: bool = False,
        canary: bool = False,
    ) -> Swapped | Case:
        """Make a version champion, if the champion is still the `expected` one; or begin what is to make it so."""

    async def challenge(
        self,
        model: str,
        number: str,
        order: Order,
        share: float = 0.0,
        shadow: bool = False,
        matches: Sequence[Match] = (),
    ) -> int:
        """Make a version a challenger, or another one of it; gives the generation that serves then."""

    async def split(
        self, model: str, shares: Mapping[str, float], matches: Sequence[Match] | None, order: Order
    ) -> int:
        """Divide a model's requests; `matches` None: they stay. Gives the generation that serves then."""

    async def withdraw(self, model: str, number: str, order: Order) -> int:
        """Make a challenger one no longer; gives the generation that serves then."""

    async def freeze(self, model: str, on: bool, order: Order) -> None:
        """Stop promotions of a model, or of all, or let them go on."""

    async def set_alias(self, model: str, alias: str, number: str, order: Order) -> int:
        """Point an alias at a version, or remove it; gives the generation that serves then."""

    async def set_fallback(self, model: str, on: bool, order: Order) -> None:
        """Switch a model to its fallback, or back."""
