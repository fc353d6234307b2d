"""A table of routes with its lanes: what a worker answers from, and what it makes of each kind of request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import structlog

from router.core.contract import Contract, contract_of
from router.core.fallback import Reason, Step, check_default
from router.core.humility import Humility
from router.core.humility_terms import humility_of
from router.core.prediction import form_of, predicted
from router.core.question import Question
from router.core.request import Checked, Header, Parameters, Request, check, expected
from router.core.table import STANDBY, Route, Version, VersionState, VersionTable
from router.errors import InvalidRequest, NotFound, NotReady, RouterError
from router.serving.arms import Arms, Division
from router.serving.call import Reply
from router.serving.fallback import Answerer, Default, Failover, Fallback
from router.serving.lanes import Lane
from router.serving.memory import Asked, Memory, Store
from router.serving.plan import Encoder, EncoderFactory, Plan
from router.serving.predictions import Notes, Predictions
from router.serving.remote import Peer, Remote

log = structlog.get_logger()

Made = TypeVar("Made")
MAX_KEPT: Final = 1024
"""Plans and kinds of batches that a table keeps; when full, all are forgotten and made again."""
NO_PEERS: Final[Mapping[str, Peer]] = {}


class ServingTable:
    """A table of routes with its lanes: what a worker answers from while this generation is pinned."""

    def __init__(
        self,
        table: VersionTable,
        lanes: Mapping[tuple[str, str], Lane],
        encoder: EncoderFactory,
        store: Store | None = None,
        peers: Mapping[str, Peer] = NO_PEERS,
        predictions: Predictions | None = None,
    ) -> None:
        self.generation = table.generation
        self.routes = table.routes
        self.lanes = lanes
        self.plans: dict[Header, Plan] = {}
        """What was made of headers that come again. It goes with the table: a header holds no session."""
        self.arms: dict[Header, Arms[Plan]] = {}
        """The same, of headers whose requests are split between versions: which one answers, each request says."""
        self._encoder = encoder
        self._store = store
        self._peers = peers
        self._predictions = predictions
        for (model, _), lane in lanes.items():
            lane.settle(table.routes[model].settings)
        divisions = {route.model: self._division(route) for route in table.routes.values() if route.split}
        self._divisions = {model: division for model, division in divisions.items() if division is not None}
        self._unfit: dict[str, set[str]] = {}
        self._keys: dict[tuple[object, ...], object] = {}
        self._contracts: dict[tuple[str, str], Contract | None] = {}
        self._humility: dict[tuple[str, str], Humility | None] = {}
        self._defaults: dict[tuple[str, str], dict[str, np.ndarray[Any, Any]]] = {}

    def route(self, model: str) -> Route:
        """The route of a model. Raises NotFound."""
        route = self.routes.get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'" if model else "the request names no model")
        return route

    def lane(self, model: str, version: str) -> Lane:
        """The lane that answers for a model, or for the version that the caller names.

        Raises NotFound for what is unknown, NotReady for what is known but cannot answer.
        """
        route = self.route(model)
        number = route.number(version)
        if number is None and version == STANDBY:
            raise NotReady(f"model '{model}' has no standby")
        if number is None:
            reasons = "; ".join(f"version {v.number}: {v.reason}" for v in route.versions.values() if v.reason)
            raise NotReady(f"model '{model}' has no version that can answer" + (f" ({reasons})" if reasons else ""))
        known = route.versions.get(number)
        if known is None:
            have = ", ".join(route.versions)
            raise NotFound(f"model '{model}' has no version '{number[:200]}'; it has {have or 'none'}")
        lane = self.lanes.get((model, number))
        if lane is None or known.state is not VersionState.READY:
            raise NotReady(f"version {number} of model '{model}' cannot answer: {known.reason or known.state.value}")
        return lane

    def planned(self, request: Request, reply: Reply) -> Plan:
        """What to do with a request whose header has neither a plan nor arms. Raises a RouterError for the caller."""
        header = request.header
        division = None if header.version else self._divisions.get(header.model)
        if division is None:
            plan = self.plan(header)
            _keep(self.plans, header, plan)
            return plan
        if not header.kept:
            return self._plan_of_arm(header, division.arms(lambda number: number).of(request, reply))
        arms = division.arms(partial(self._plan_of_arm, header))
        _keep(self.arms, header, arms)
        return arms.of(request, reply)

    def plan(self, header: Header) -> Plan:
        """What the version that a header names, or the champion, does with its requests.

        Raises a RouterError for the caller.
        """
        lane = self.lane(header.model, header.version)
        champion = self.routes[header.model].champion == lane.version.number
        return self._plan_of(header, lane, "champion" if champion else "version")

    def _division(self, route: Route) -> Division | None:
        """How the requests of a model are split; None where the model or its champion runs nothing at all.

        What is split to a challenger that this worker cannot ask is the champion's.
        """
        champion = self.lanes.get((route.model, route.champion or ""))
        if champion is None or route.switched:
            return None
        ready = {number for number, each in route.versions.items() if each.state is VersionState.READY}
        challengers = {number for number in route.split.numbers & ready if (route.model, number) in self.lanes}
        return Division(route.model, route.split, challengers, champion.loop_cell, self.generation)

    def _plan_of_arm(self, header: Header, number: str | None) -> Plan:
        """The plan of a header that names no version, in the arm of a challenger or (None) of the champion.

        What the champion refuses is refused in all arms; what only a challenger cannot take is the champion's.
        """
        champion = self.lane(header.model, "")
        if number is not None:
            self._checked(header, champion)
            lane = self.lanes[header.model, number]
            try:
                return self._plan_of(header, lane, "challenger")
            except RouterError as error:
                self._tell_unfit(lane.version, error)
        return self._plan_of(header, champion, "champion")

    def _tell_unfit(self, version: Version, error: RouterError) -> None:
        """Say once that a challenger cannot do all that the champion does."""
        if version.number not in self._unfit.setdefault(version.model, set()):
            self._unfit[version.model].add(version.number)
            facts = {"model": version.model, "version": version.number, "reason": str(error)}
            log.warning("a challenger cannot take some requests: the champion answers them", **facts)

    def _plan_of(self, header: Header, lane: Lane, served_by: str) -> Plan:
        """A new plan."""
        route = self.routes[header.model]
        checked = self._checked(header, lane)
        memory = self._memory(header, lane, checked, route)
        fallback = self._fallback(header, lane, checked, route, memory)
        marks: Parameters = {"served_by": served_by, "degraded": False}
        remote = self._remote(header, lane, checked, route)
        notes = self._notes(lane, checked, route, served_by)
        return self._plan(header, lane, checked, marks, fallback, route, memory, remote, notes)

    @staticmethod
    def _checked(header: Header, lane: Lane) -> Checked:
        try:
            return check(header, lane.version.signature)
        except InvalidRequest as error:
            raise InvalidRequest(f"model '{header.model}': {error}") from None

    def _plan(
        self,
        header: Header,
        lane: Lane,
        checked: Checked,
        marks: Parameters,
        fallback: Fallback,
        route: Route,
        memory: Memory | None = None,
        remote: Remote | None = None,
        notes: Notes | None = None,
    ) -> Plan:
        """A plan whose replies carry the marks."""
        version = lane.version
        key: object = None
        given = {feed.name for feed in checked.feeds}
        own_weights = any(spec.optional and spec.name in given for spec in version.signature.inputs)
        if checked.rows and checked.rows <= version.batching.max_size > 1 and not own_weights:
            kinds = tuple([(feed.name, feed.shape[1:]) for feed in checked.feeds])
            same = (lane, kinds, tuple([spec.name for spec in checked.outputs]), header.model, *marks.values())
            if len(self._keys) >= MAX_KEPT:
                self._keys.clear()
            key = self._keys.setdefault(same, same)
        encoder = self._encode(header, version.number, marks, checked)
        hedge = self._encode(header, version.number, {**marks, "served_by": "hedge"}, checked)
        contract, deadline = self._contract(version), route.settings.deadline
        return Plan(
            lane,
            checked,
            key,
            encoder,
            fallback,
            deadline,
            route.switched,
            contract,
            hedge,
            memory,
            self.generation,
            str(marks["served_by"]),
            remote,
            notes,
            self._humble(version),
        )

    def _notes(self, lane: Lane, checked: Checked, route: Route, served_by: str) -> Notes | None:
        """What is written down for the ledger; nothing where the caller does not ask for what is predicted."""
        settings, version = route.settings.ledger, lane.version
        spec = predicted(settings, version.signature.outputs)
        if self._predictions is None or not settings.enabled or spec is None or spec not in checked.outputs:
            return None
        form, position = form_of(spec), checked.outputs.index(spec)
        if form is None:
            return None
        about = (route.model, version.number, self.generation, served_by, settings.sample)
        return Notes(self._predictions, position, form, *about)

    def _contract(self, version: Version) -> Contract | None:
        key = (version.model, version.number)
        if key not in self._contracts:
            self._contracts[key] = contract_of(self.routes[version.model].settings.contract, version.signature)
        return self._contracts[key]

    def _humble(self, version: Version) -> Humility | None:
        """The humility rules of a version; None where its model has none."""
        settings = self.routes[version.model].settings.humility
        if not settings.rules:
            return None
        key = (version.model, version.number)
        if key not in self._humility:
            self._humility[key] = humility_of(settings, version.signature)
        return self._humility[key]

    def _encode(self, header: Header, number: str, marks: Parameters, checked: Checked) -> Encoder:
        known: dict[str, bool | int | float | str] = {"model_version": number, "generation": self.generation}
        return self._encoder(header.model, number, {**marks, **known}, checked.outputs)

    def _remote(self, header: Header, lane: Lane, checked: Checked, route: Route) -> Remote | None:
        """The model on another server that has a slow run's second attempt. Which version it runs is not for us to
        say."""
        peer = self._peers.get(route.settings.hedge.target or "")
        if peer is None:
            return None
        version = lane.version
        humility = self._humble(version)
        specs = {spec.name: spec for spec in version.signature.outputs}
        looked_at = () if humility is None else humility.outputs
        more = [specs[name] for name in looked_at if specs[name] not in checked.outputs]
        wanted = replace(checked, outputs=(*checked.outputs, *more))
        outputs = expected(wanted, version.signature, rows=version.batching.max_size > 1)
        marks: Parameters = {"served_by": "hedge", "degraded": False, "remote": True}
        return Remote(peer, peer.target.words(checked, outputs), self._encode(header, "", marks, checked))

    # ---- what answers when the model does not ----

    def _fallback(self, header: Header, lane: Lane, checked: Checked, route: Route, memory: Memory | None) -> Fallback:
        chain = route.settings.fallback.chain
        if not chain:
            return lane.no_fallback
        first: list[Answerer] = []
        then: list[Answerer] = []
        failover: Failover | None = None
        for step in chain:
            if step == "failover":
                failover = self._failover(header, route)
            elif step == "cached":
                if memory is not None:
                    (first if failover is None else then).append(memory)
            else:
                (first if failover is None else then).append(self._default(header, lane, checked, route))
        return Fallback(lane.stats, lane.clock, first, failover, then)

    def _failover(self, header: Header, route: Route) -> Failover:
        model, _, number = str(route.settings.fallback.failover).partition(":")
        inner = Header(model, number, header.inputs, header.outputs)
        made: dict[Reason, Plan] = {}

        def plan(reason: Reason) -> Plan:
            if reason not in made:
                lane = self.lane(model, number)
                marks = degraded(Step.FAILOVER, reason) | {"served_model": model}
                checked = self._checked(inner, lane)
                made[reason] = self._plan(header, lane, checked, marks, lane.no_fallback, route)
            return made[reason]

        return plan

    def _memory(self, header: Header, lane: Lane, checked: Checked, route: Route) -> Memory | None:
        fallback, fresh_s = route.settings.fallback, route.settings.answers.serve_fresh_s
        cached = "cached" in fallback.chain
        if self._store is None or not (cached or fresh_s):
            return None
        max_age_s = fallback.cached_max_age_s if cached else 0.0
        shortest_s = min([age for age in (max_age_s, fresh_s) if age])
        rules = route.settings.humility.model_dump_json() if route.settings.humility.rules else ""
        versions = [lane.version]
        if fallback.cached_other_versions:
            others = [each for each in route.versions.values() if each.signature == lane.version.signature]
            versions += [each for each in reversed(others) if each is not lane.version]
        asked = [
            Asked(Question(version, checked, shortest_s, rules), self._cached_encoder(header, version, lane, checked))
            for version in versions
        ]
        return Memory(self._store, asked, max_age_s, fresh_s)

    def _cached_encoder(
        self, header: Header, version: Version, lane: Lane, checked: Checked
    ) -> Callable[[Reason | None], Encoder]:
        made: dict[Reason | None, Encoder] = {}

        def encoder(reason: Reason | None) -> Encoder:
            if reason not in made:
                marks: Parameters = {"served_by": Step.CACHED.value, "degraded": False}
                if reason is not None:
                    marks = degraded(Step.CACHED, reason)
                if version is not lane.version:
                    marks = {**marks, "other_version": True}
                made[reason] = self._encode(header, version.number, marks, checked)
            return made[reason]

        return encoder

    def _default(self, header: Header, lane: Lane, checked: Checked, route: Route) -> Default:
        key = (header.model, lane.version.number)
        if key not in self._defaults:
            self._defaults[key] = check_default(route.settings.fallback.default, lane.version.signature)
        made: dict[Reason, Encoder] = {}

        def encoder(reason: Reason) -> Encoder:
            if reason not in made:
                made[reason] = self._encode(header, lane.version.number, degraded(Step.DEFAULT, reason), checked)
            return made[reason]

        return Default(self._defaults[key], checked.outputs, encoder)


def _keep(made: dict[Header, Made], header: Header, of: Made) -> None:
    """Keep what was made of a header that comes again."""
    if header.kept:
        if len(made) >= MAX_KEPT:
            made.clear()
        made[header] = of


def degraded(step: Step, reason: Reason) -> dict[str, bool | str]:
    """The marks of an answer that is not the model's."""
    return {"served_by": step.value, "degraded": True, "fallback_reason": reason.value}
