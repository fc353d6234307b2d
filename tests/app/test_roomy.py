"""On a terminal of 80 columns figures, times and states are whole; on a wide one all that is known stands in a line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Group, RenderableType
from rich.text import Text

from router.app import recordings, retrain, webhook
from router.app.drift_text import shown as drift
from router.app.roomy import Roomy
from router.app.terminal import moment
from router.control.recorded import RecordedFile
from router.pb import retraining_pb2, webhook_pb2
from router.pb.drift_pb2 import FeatureDrift, ModelDrift
from tests.rendering import rendered

NOW = 1.795938e9
CUT = "…"


def drifted() -> RenderableType:
    """One feature that has moved, one that has not."""
    moved = "its mean went from 11.81 to 6.966 (-0.98 standard deviations); index 4.08 over 15 s (300 rows)"
    features = [
        FeatureDrift(name="pixels[60]", side="inputs", status="red", psi=4.083, floor=0.143, jensen_shannon=0.698,
                     wasserstein=0.98, reason=moved, labels=["missing", "below 8.5", "from 8.5"],
                     before=[0.0, 0.4, 0.6], now=[0.0, 0.9, 0.1]),
        FeatureDrift(name="label", side="outputs", status="green", psi=0.1, floor=0.2, reason="as the reference"),
    ]  # fmt: skip
    return Group(*drift(ModelDrift(model="m", status="red", reason="1 of 2 features has drifted", features=features)))


def retrained() -> RenderableType:
    """One run, with all that there is to tell of it."""
    run = retraining_pb2.Run(
        id=12, model="m", state="interrupted", text="the controller had ended", trigger="accuracy", why="it declined",
        actor="router", began_seconds=NOW, ended_seconds=NOW + 60, parent="11", parent_digest="a" * 64, version="12",
        digest="b" * 64, first_recorded_seconds=NOW - 900, last_recorded_seconds=NOW, lineage="retrained",
        fate="was champion, stands by", output=["trained on 900 rows"],
    )  # fmt: skip
    return Group(*retrain.shown(retraining_pb2.Model(model="m", policy=retraining_pb2.Policy(), runs=[run])))


def waiting() -> RenderableType:
    """An event that waits for its receiver."""
    event = webhook_pb2.Undelivered(
        id="cfa93d59-9521-4a20-b189-487bced8a3e4", kind="retraining", model="m", version="12", told_seconds=NOW,
        state="pending", tries=17, next_try_seconds=NOW + 299, error="503 Service Unavailable: down for maintenance",
    )  # fmt: skip
    return Roomy(webhook.ALL, webhook._table([event], NOW), webhook._in_short([event], NOW))


def recorded() -> RenderableType:
    """A file of rows."""
    file = RecordedFile("rows-1795938375162-000001.parquet", rows=12_345, nbytes=5_790, first=NOW, last=NOW + 3)
    return Roomy(recordings.ALL, recordings._table([file]), recordings._in_short([file]))


@pytest.mark.parametrize(
    ("made", "both", "wide", "narrow"),
    [
        (drifted, ("pixels[60]", "4.083", "0.143", "0.698", "its mean went from 11.81 to 6.966"), "as the ref", "]: "),
        (retrained, (moment(NOW), "interrupted", "accuracy", "aaaaaaaaaaaa", "bbbbbbbbbbbb"), "data until", "parent  "),
        (waiting, (moment(NOW), "retraining", "pending", "17", "in 4 min 59 s"), "503 Service", "tries"),
        (recorded, ("rows-1795938375162-000001.parquet", "12345", "5.79 kB", moment(NOW)), moment(NOW + 3), "size  "),
    ],
)
def test_tables_have_two_forms(
    made: Callable[[], RenderableType], both: tuple[str, ...], wide: str, narrow: str
) -> None:
    """The narrow one leaves out what is less important, and folds no figure, time or state."""
    for width, own in ((80, narrow), (180, wide)):
        told = rendered(made(), width=width)
        assert max(map(len, told.splitlines())) <= width
        assert CUT not in told
        for words in (*both, own):
            assert words in told, (width, words, told)
    assert wide not in rendered(made(), width=80)


def test_the_form_goes_by_the_room() -> None:
    """To the character."""
    shown = Roomy(81, Text("wide"), Text("narrow"))
    assert [rendered(shown, width=width) for width in (80, 81)] == ["narrow\n", "wide\n"]
