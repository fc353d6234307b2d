"""Loads and unloads that clients ask for on the inference port: who may, and under which name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from router.control.records import Order
from router.core.access import NOBODY, Actor, Caller, Register, Role, digest
from router.edge.access import PENALTY_S, Doorkeeper
from router.edge.repository_service import RepositoryService
from router.errors import Denied, InvalidRequest, Refused, RouterError, Unauthenticated
from router.pb import inference_pb2 as pb

LOAD, UNLOAD = "RepositoryModelLoad", "RepositoryModelUnload"
TOKENS = Register({digest(f"rt_{role.word}"): Actor(role.word, role) for role in Role})


class FakeLifecycle:
    """Remembers."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []

    async def load(self, model: str, order: Order) -> None:
        """A load."""
        self.done.append(("load", model, order.actor))

    async def unload(self, model: str, order: Order) -> None:
        """An unload."""
        self.done.append(("unload", model, order.actor))


class House:
    """The service on fakes."""

    def __init__(self, register: Register, explicit: bool = True) -> None:
        self.lifecycle = FakeLifecycle()
        self.waits: list[float] = []
        lifecycle: Any = self.lifecycle
        nobody: Any = None
        self.service = RepositoryService(lifecycle, nobody, explicit, Doorkeeper(register, sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def ask(self, method: str, caller: Caller, model: str = "digits") -> bytes:
        """The answer."""
        kind: Any = pb.RepositoryModelLoadRequest if method == LOAD else pb.RepositoryModelUnloadRequest
        return asyncio.run(self.service.answer(method, kind(model_name=model).SerializeToString(), caller))

    def error(self, method: str, caller: Caller, model: str = "digits") -> RouterError:
        """The error."""
        with pytest.raises(RouterError) as error:
            self.ask(method, caller, model)
        return error.value


@pytest.mark.parametrize("method", [LOAD, UNLOAD])
def test_with_tokens_an_operator_loads_and_unloads(method: str) -> None:
    """Under the token's name; lower roles and strangers do not, and nothing has happened."""
    house = House(TOKENS)
    for role in Role:
        caller = Caller(digest(f"rt_{role.word}"), ("some certificate",))
        if role >= Role.OPERATOR:
            assert house.ask(method, caller) == b""
        else:
            assert isinstance(house.error(method, caller), Denied)
    act = "load" if method == LOAD else "unload"
    assert house.lifecycle.done == [(act, "digits", role) for role in ("operator", "approver", "admin")]
    for caller in (NOBODY, Caller(digest("rt_wrong"))):
        error = house.error(method, caller)
        assert isinstance(error, Unauthenticated)
        assert f"{method} needs the role operator" in str(error)
    assert len(house.lifecycle.done) == 3
    assert house.waits == [PENALTY_S] * 2


def test_a_certificate_of_this_port_gives_no_role() -> None:
    """Its authority says who may ask for answers."""
    house = House(Register(certificates={"ada": Actor("ada", Role.ADMIN)}))
    assert isinstance(house.error(LOAD, Caller(names=("ada",))), Unauthenticated)
    assert not house.lifecycle.done


def test_without_tokens_whoever_asks_loads_and_unloads() -> None:
    """As `client`, or under the name that a certificate proves."""
    house = House(Register())
    house.ask(LOAD, NOBODY)
    house.ask(UNLOAD, Caller(digest("rt_any"), ("ada,localhost",)))
    assert house.lifecycle.done == [("load", "digits", "client"), ("unload", "digits", "ada,localhost")]


def test_what_cannot_be_done_is_told_to_those_who_may() -> None:
    """A server that loads by itself; a request that names nothing."""
    may, may_not = Caller(digest("rt_admin")), Caller(digest("rt_viewer"))
    house = House(TOKENS, explicit=False)
    assert isinstance(house.error(LOAD, may), Refused)
    assert isinstance(house.error(LOAD, may_not), Denied)
    assert isinstance(House(TOKENS).error(LOAD, may, ""), InvalidRequest)
