"""Recorded runs on disk: bounded, whole, and no more than a line in the log where the disk does not take them."""

from __future__ import annotations

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router.serving.samples import Samples


def test_what_was_kept_comes_back_in_order(tmp_path: Path) -> None:
    """Also to the next process; models do not mix, whatever their names."""
    samples = Samples(tmp_path / "samples", "a/../b")
    assert list(samples.messages()) == []
    samples.add(b"one")
    samples.add(b"")
    samples.add(b"three")
    assert list(Samples(tmp_path / "samples", "a/../b").messages()) == [b"one", b"", b"three"]
    assert list(Samples(tmp_path / "samples", "b").messages()) == []
    assert {path.parent for path in tmp_path.rglob("*.newer")} == {tmp_path / "samples"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.newer")} == {0o600}


@given(st.lists(st.binary(max_size=40), max_size=60))
def test_the_newest_stay(messages: list[bytes]) -> None:
    """Never more than the room that there is, and at least a half of it where so much came."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        samples = Samples(Path(folder) / "s", "m", most=200)
        for message in messages:
            samples.add(message)
        kept = list(samples.messages())
        assert kept == messages[len(messages) - len(kept) :]
        assert sum(path.stat().st_size for path in Path(folder).rglob("*.*er")) <= 200
        if len(kept) < len(messages):
            assert sum(len(message) + 4 for message in kept) > 100 - 44


def test_a_message_that_was_cut_off_ends_its_file(tmp_path: Path) -> None:
    """The process died in the middle."""
    samples = Samples(tmp_path, "m")
    samples.add(b"whole")
    samples.add(b"cut off")
    (file,) = tmp_path.glob("*.newer")
    file.write_bytes(file.read_bytes()[:-3])
    assert list(samples.messages()) == [b"whole"]
    file.write_bytes(b"\xff\xff\xff\xffabc")
    assert list(samples.messages()) == []


def test_one_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    """It would push all others out."""
    samples = Samples(tmp_path, "m", most=100)
    samples.add(b"small")
    samples.add(bytes(60))
    assert list(samples.messages()) == [b"small"]


def test_a_disk_that_takes_nothing_ends_the_recording(tmp_path: Path) -> None:
    """With one line."""
    (tmp_path / "samples").write_text("a file where the folder belongs")
    samples = Samples(tmp_path / "samples", "m")
    with capture_logs() as logs:
        samples.add(b"one")
        samples.add(b"two")
    assert [line["event"] for line in logs] == ["requests are recorded no more"]


def test_one_in_so_long_is_kept(tmp_path: Path) -> None:
    """Of all that come, whoever brings them."""
    samples = Samples(tmp_path, "m")
    for now, every_s in ((0.0, 1.0), (0.5, 1.0), (0.99, 0.1), (1.0, 0.1), (1.05, 0.1), (1.1, 1.0)):
        samples.offer(str(now).encode(), now, every_s)
    assert list(samples.messages()) == [b"0.0", b"1.0", b"1.1"]


def test_several_may_bring_runs_at_once(tmp_path: Path) -> None:
    """The newer file makes way under none of them: recording goes on, and every message is whole."""
    samples = Samples(tmp_path, "m", most=2000)
    start = threading.Barrier(4)

    def bring(name: str) -> None:
        start.wait(10)
        for number in range(100):
            samples.add(f"{name} {number:03}".encode() * 10)

    with capture_logs() as logs:
        threads = [threading.Thread(target=bring, args=(name,)) for name in "abcd"]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert logs == []
    kept = list(samples.messages())
    assert len(kept) > 10
    assert {len(message) for message in kept} == {50}
