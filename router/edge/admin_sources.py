"""What the admin service answers from: the parts of the controller as it sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from router.control.acts import Acts
from router.control.events import Events
from router.control.ledger import Submitted
from router.control.ledger_file import Actual
from router.control.records import AuditRecord, Case, Order, Swapped
from router.core.audit import Verified
from router.core.gate import Report
from router.errors import NotReady


class Step(Protocol):
    """One act on the way to what a file declares. `outcome` is empty while it is only planned."""

    @property
    def action(self) -> str:
        """A word for it."""

    @property
    def model(self) -> str:
        """Whose; empty: all of them."""

    @property
    def number(self) -> str:
        """Of the version, empty where it is not about one."""

    @property
    def text(self) -> str:
        """A line for a person."""

    @property
    def outcome(self) -> str:
        """What became of it."""


class Plan(Protocol):
    """What a file declares, against what is."""

    @property
    def steps(self) -> Sequence[Step]:
        """In their order."""

    @property
    def conflicts(self) -> Sequence[str]:
        """Why it cannot be applied; nothing is done then."""


class Lifecycle(Acts, Protocol):
    """Versions and what may be done with them. Every method raises RouterErrors; what served goes on then."""

    @property
    def started(self) -> bool:
        """Whether there is a first table."""

    @property
    def events(self) -> Events:
        """What happens."""

    async def load(self, model: str, number: str, order: Order) -> None:
        """Serve a version, or what the policy chooses."""

    async def unload(self, model: str, number: str, order: Order) -> None:
        """Serve a version no more, or the whole model."""

    async def test(self, model: str, number: str, order: Order) -> Report:
        """Put a version through its gates."""

    async def warm(self, model: str, number: str, order: Order) -> Report:
        """Run a version beside the champion until there is a verdict."""

    async def rollback(self, model: str, number: str, order: Order, expected: str = "") -> Swapped | Case:
        """Go back to a version; the empty number is the standby. A canary that is under way is undone."""

    async def stop_rollout(self, model: str, order: Order) -> Case:
        """Undo a canary that is under way."""

    async def approve(self, number: int, /, order: Order, digest: str = "") -> Case:
        """Agree to what was asked for, of the version with this digest where one is given."""

    async def reject(self, number: int, /, order: Order) -> Case:
        """Do not agree."""

    async def start_trial(self, model: str, number: str, order: Order) -> Case:
        """Find out whether a challenger is better than the champion."""

    async def stop_trial(self, model: str, order: Order) -> Case:
        """End a trial without a verdict."""

    async def diff(self, text: str) -> Plan:
        """What a file declares, against what is."""

    async def apply(self, text: str, order: Order) -> Plan:
        """Make it so."""

    async def evidence(self, model: str, number: str) -> Mapping[str, object]:
        """All that is known of why a version serves, or does not, as plain JSON."""


class Database(Protocol):
    """What was kept. The methods block and raise RouterErrors."""

    def reports(self, model: str, number: str, kind: str, last: int) -> Sequence[Report]:
        """Newest first; an empty number or kind is all of them, `last` 0 the newest of each kind of each version."""

    def cases(self, model: str, number: str, kind: str, last: int) -> Sequence[Case]:
        """Newest first, open and ended; an empty model, number or kind is all of them, `last` 0 is no limit."""

    def audit(self, model: str, last: int) -> Sequence[AuditRecord]:
        """The newest acts, oldest of them first; an empty model is all of them."""

    def verify(self, head: str) -> Verified:
        """Follow the chain of hashes, up to a `head` that was noted outside where there is one."""


class Ledger(Protocol):
    """Predictions, and what came true for them."""

    async def submit(self, model: str, actuals: Sequence[Actual]) -> Submitted:
        """Join actuals to predictions."""


def begun(lifecycle: Lifecycle) -> Lifecycle:
    """The same, where there is a first table. Raises NotReady."""
    if not lifecycle.started:
        raise NotReady("the server has just started and tries its models: ask again")
    return lifecycle
