"""`router diff` and `router apply`: a file in Git, and what a server makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.app.declared import apply, diff
from router.control.records import Order
from router.core.declared import LARGEST, declared
from router.core.difference import Action, Difference, Step
from tests.fake_admin import FakeLifecycle, Served, served

PROMOTE = Step(Action.PROMOTE, "a", "version 2 of model 'a' becomes [bold]champion[/]", "2")
FREEZE = Step(Action.FREEZE, "", "no promotions of any model")


class Declaring(FakeLifecycle):
    """Answers with what a test says; `texts` are those it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Difference(())
        self.texts: list[str] = []

    async def diff(self, text: str) -> Difference:
        """What was said."""
        self.texts.append(text)
        declared(text)
        return self.answer

    async def apply(self, text: str, order: Order) -> Difference:
        """The same."""
        self.orders.append(("apply", order))
        return await self.diff(text)

    def outcomes(self, *outcomes: str) -> None:
        """What becomes of both steps."""
        steps = [Step(each.action, each.model, each.text, each.number) for each in (PROMOTE, FREEZE)]
        self.answer = Difference(
            tuple(Step(s.action, s.model, s.text, s.number, outcome=o) for s, o in zip(steps, outcomes, strict=True))
        )


@pytest.fixture
def lifecycle() -> Declaring:
    """One that says that nothing differs."""
    return Declaring()


@pytest.fixture
def service(lifecycle: Declaring) -> Iterator[Served]:
    """A service of its own."""
    with served(lifecycle=lifecycle) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Something declared."""
    made = tmp_path / "models.toml"
    made.write_text("[models.a]\nchampion = 2\n")
    return made


def call(command: object, service: Served, *words: str | Path, stdin: str | bytes | None = None) -> Result:
    """What a command says."""
    arguments = [str(word) for word in words]
    return CliRunner().invoke(command, arguments, env={"ROUTER_ADMIN": service.address}, input=stdin)  # type: ignore[arg-type]


def test_nothing_differs(service: Served, lifecycle: Declaring, file: Path) -> None:
    """Exit code 0, in one line; the text reaches the server as it is, from a file or from standard input."""
    told = call(diff, service, file)
    assert (told.exit_code, told.output) == (0, "nothing is left to do\n")
    assert call(diff, service, "-", stdin="[models.b]\n").exit_code == 0
    assert lifecycle.texts == [file.read_text(), "[models.b]\n"]
    told = call(apply, service, file)
    assert (told.exit_code, told.output) == (0, "nothing to do (generation 7)\n")


def test_something_differs(service: Served, lifecycle: Declaring, file: Path) -> None:
    """Exit code 3, with a line for each step; words of others are not markup."""
    lifecycle.outcomes("", "")
    told = call(diff, service, file)
    assert told.exit_code == 3
    assert "promote  version 2 of model 'a' becomes [bold]champion[/]" in told.output
    assert "freeze   no promotions of any model" in told.output
    assert told.output.endswith("2 steps to what the file declares\n")
    told = call(diff, service, file, "--json")
    assert told.exit_code == 3
    assert [each["action"] for each in json.loads(told.output)["steps"]] == ["promote", "freeze"]


def test_what_is_on_its_way_is_no_difference(service: Served, lifecycle: Declaring, file: Path) -> None:
    """Exit code 0 for both commands: whoever applies in a loop has nothing to do."""
    lifecycle.outcomes("on its way: `router canary a` shows it", "waits until version 2 is champion")
    told = call(diff, service, file)
    assert told.exit_code == 0
    assert "on its way: `router canary a` shows it" in told.output
    assert told.output.endswith("nothing is left to do\n")
    told = call(apply, service, file)
    assert told.exit_code == 0
    assert told.output.endswith("2 on the way (generation 7)\n")


def test_a_file_is_applied(service: Served, lifecycle: Declaring, file: Path) -> None:
    """What was done and what is not yet; the reason goes along."""
    lifecycle.outcomes("done", "waits for approval: `router approve 7`")
    told = call(apply, service, file, "--reason", "release 12")
    assert told.exit_code == 0
    assert "waits for approval: `router approve 7`" in told.output
    assert told.output.endswith("1 step done, 1 on the way (generation 7)\n")
    assert lifecycle.orders[-1][1].reason == "release 12"
    assert json.loads(call(apply, service, file, "--json").output)["steps"][0]["outcome"] == "done"


def test_a_step_that_was_refused(service: Served, lifecycle: Declaring, file: Path) -> None:
    """Exit code 1, with the reason and what was not done."""
    lifecycle.outcomes("failed: version 2 needs 300 MB", "not done")
    told = call(apply, service, file)
    assert told.exit_code == 1
    assert "failed: version 2 needs 300 MB" in told.output
    assert told.output.endswith("1 refused, 1 not done (generation 7)\n")
    assert call(apply, service, file, "--json").exit_code == 1


@pytest.mark.parametrize("command", [diff, apply])
def test_a_file_that_cannot_be_applied(service: Served, lifecycle: Declaring, file: Path, command: object) -> None:
    """Exit code 1, with a line for each conflict."""
    lifecycle.answer = Difference((), ("[models.a] champion = 2: a trial is under way", "[models.b]: no such model"))
    told = call(command, service, file)
    assert told.exit_code == 1
    assert told.output.splitlines() == [
        "[models.a] champion = 2: a trial is under way",
        "[models.b]: no such model",
        "the file cannot be applied as it is: nothing was done",
    ]
    told = call(command, service, file, "--json")
    assert (told.exit_code, len(json.loads(told.output)["conflicts"])) == (1, 2)


@pytest.mark.parametrize("command", [diff, apply])
def test_what_is_no_declaration(service: Served, tmp_path: Path, command: object) -> None:
    """Exit code 2 with one line: a key that is misspelt, other bytes, too many of them, no file."""
    file = tmp_path / "models.toml"
    for content, line in (
        (b"[modles.a]", "Error: the file: unknown key `modles`; remove it or correct its spelling\n"),
        (b"[models", "Error: the file is not TOML: "),
        (b"\xff", "Error: models.toml cannot be read: is not UTF-8 text\n"),
        ("ü".encode() * LARGEST, "Error: models.toml is too large: 262144 bytes are the most\n"),
    ):
        file.write_bytes(content)
        told = call(command, service, file)
        assert told.exit_code == 2
        assert told.output.startswith(line), told.output
    assert "Error: standard input cannot be read: is" in call(command, service, "-", stdin=b"\xff").output
    assert call(command, service, tmp_path / "nothing").exit_code == 2
