"""The model repository: real directories are scanned, and routes made of what trials showed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from router.control.inspection import Request, Result
from router.control.records import VersionRecord
from router.control.registry import route_of
from router.control.repository import FoundModel, scan
from router.core.table import Batching, Route, VersionState
from router.core.tensor import Signature, TensorSpec
from router.core.version import Stage
from router.errors import ModelBroken, SettingsError
from router.model_settings import ModelSettings, model_settings

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 3), ("N", None)),), (TensorSpec("y", "FP32", (-1, 2), ("N", None)),)
)


def repository(root: Path, files: dict[str, str]) -> Path:
    """Files by their names below `root`; a name that ends in `/` makes an empty directory."""
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return root


def model(root: Path, *versions: int, toml: str | None = None, pbtxt: str | None = None) -> FoundModel:
    """A repository with one model `m`, scanned."""
    files = {f"m/{number}/model.onnx": "" for number in versions}
    files |= {"m/model.toml": toml} if toml is not None else {}
    files |= {"m/config.pbtxt": pbtxt} if pbtxt is not None else {}
    return scan(repository(root, files))["m"]


def requests(found: FoundModel) -> tuple[Request, ...]:
    """What the trials of the versions that the owner wants are asked."""
    return tuple(found.request(number) for number in found.chosen())


def route(found: FoundModel, results: dict[str, Result]) -> Route:
    """The route that these trials make: what can be served is ready, the newest of it the champion."""
    versions, records = {}, {}
    for number, result in results.items():
        try:
            versions[number] = found.version(result)
            records[number] = VersionRecord(found.name, number, result.digest, Stage.READY)
        except ModelBroken as error:
            records[number] = VersionRecord(found.name, number, result.digest, Stage.FAILED, str(error))
    if versions:
        newest = max(versions, key=int)
        records[newest] = replace(records[newest], stage=Stage.CHAMPION)
    return route_of(found, None, records.values(), versions)


def wanted(found: FoundModel) -> list[str]:
    """The numbers to be tried."""
    return found.chosen()


def tried(found: FoundModel, *broken: str) -> dict[str, Result]:
    """Results as if all requests had been tried."""
    return {
        number: Result(found.name, number, ok=False, reason="it is broken")
        if number in broken
        else Result(found.name, number, ok=True, digest="d", signature=SIGNATURE)
        for number in found.chosen()
    }


def test_faults_are_refused_where_they_are_not_allowed(tmp_path: Path) -> None:
    """All versions are unavailable, with what to do."""
    found = model(tmp_path, 1, toml='[faults]\nkind = "error"')
    assert not requests(found)
    assert found.reason == "model.toml: `faults` makes it fail: remove it, or start the server with --allow-faults"
    allowed = scan(tmp_path, allow_faults=True)["m"]
    assert wanted(allowed) == ["1"]
    assert [fault.kind for fault in allowed.settings.faults] == ["error"]


def leaves(model: type[BaseModel], where: str = "") -> Iterator[str]:
    """A line for every key of model.toml, with some value."""
    for key, field in model.model_fields.items():
        inner = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
        table = next((each for each in inner if issubclass(each, BaseModel)), None)
        if table is None:
            yield f"{where}{key} = 1"
        else:
            yield from leaves(table, f"{where}{key}.")


class TestVersionDirectory:
    """A version is the trainer's; settings are the operator's."""

    @pytest.mark.parametrize("line", list(leaves(ModelSettings)))
    def test_no_setting_counts_there(self, tmp_path: Path, line: str) -> None:
        """The version that brings any is not loaded and says so; another one is, as if nothing had been said."""
        root = repository(tmp_path, {"m/1/model.onnx": "", "m/2/model.onnx": "", "m/1/model.toml": line})
        (root / "m/model.toml").write_text('versions = "all"')
        found = scan(root)["m"]
        assert wanted(found) == ["2"]
        assert found.versions["1"].reason == (
            "model.toml stands in the version's directory, where no setting counts: move it up to the model's"
        )
        assert found.settings == model_settings(root / "m/model.toml")

    def test_nor_does_one_of_triton(self, tmp_path: Path) -> None:
        """A link counts as well."""
        root = repository(tmp_path, {"m/1/model.onnx": ""})
        (root / "m/1/config.pbtxt").symlink_to("nowhere")
        assert scan(root)["m"].versions["1"].reason.startswith("config.pbtxt stands in the version's directory")


class TestLayout:
    """What counts as a model and what as a version."""

    def test_models_and_versions_are_directories(self, tmp_path: Path) -> None:
        """Numbers without a leading 0 are versions; everything else that lies around is not."""
        root = repository(
            tmp_path,
            {
                "m/1/model.onnx": "",
                "m/10/": "",
                "m/9/": "",
                "m/0/": "",
                "m/01/": "",
                "m/-1/": "",
                "m/v2/": "",
                "m/٣/": "",
                "m/exam/": "",
                "m/7": "a file",
                "file": "",
                ".hidden/1/": "",
                "lost+found/": "",
                "notes/readme/": "",
            },
        )
        found = scan(root)
        assert list(found) == ["m"]
        assert list(found["m"].versions) == ["1", "9", "10"]
        assert found["m"].versions["10"].directory == tmp_path / "m" / "10"

    @pytest.mark.parametrize("file", ["model.toml", "config.pbtxt"])
    def test_a_model_without_versions_is_listed_if_somebody_configured_it(self, tmp_path: Path, file: str) -> None:
        """Settings without weights are a mistake to be told; its one version has no number and carries the reason."""
        found = scan(repository(tmp_path, {f"m/{file}": ""}))["m"]
        assert "has no version" in found.reason
        made = route(found, {})
        assert made.champion is None
        assert made.versions[""].state is VersionState.UNAVAILABLE
        assert "has no version" in made.versions[""].reason

    @pytest.mark.parametrize(
        ("file", "why"),
        [
            ("m/", "it has no version, its folder is empty: put one at `m/1/model.onnx`"),
            ("m/model.onnx", "it has no version: move `m/model.onnx` to `m/1/model.onnx`"),
            ("m/net.onnx", "it has no version: move `m/net.onnx` to `m/1/model.onnx`"),
            ("m/v1/net.onnx", "it has no version, which is a folder named 1, 2, …: rename `m/v1`"),
            ("m/01/model.onnx", "it has no version, which is a folder named 1, 2, …: rename `m/01`"),
            ("m.onnx", "it is a file where a model's folder belongs: move it to `m/1/model.onnx`"),
            ("3/model.onnx", "it looks like a version, not like a model: start the server with --models on the folder"),
        ],
    )
    def test_a_model_at_the_wrong_level_is_listed_with_the_mend(self, tmp_path: Path, file: str, why: str) -> None:
        """Nothing that looks like a model vanishes; beside a version that is right it does not matter."""
        (found,) = scan(repository(tmp_path, {file: ""})).values()
        assert found.reason.startswith(why)
        (version,) = route(found, {}).versions.values()
        assert (version.state, version.reason) == (VersionState.UNAVAILABLE, found.reason)
        assert not version.left_out
        if "/" in file:
            name = file.partition("/")[0]
            assert wanted(scan(repository(tmp_path, {f"{name}/7/model.onnx": ""}))[name]) == ["7"]

    def test_settings_do_not_hide_the_mend(self, tmp_path: Path) -> None:
        """A configured model at the wrong level is told as one without settings is."""
        found = scan(repository(tmp_path, {"m/model.toml": "", "m/model.onnx": ""}))["m"]
        assert found.reason == "it has no version: move `m/model.onnx` to `m/1/model.onnx`"

    def test_a_repository_that_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        """Unlike a repository in which nothing is, which would take every model away."""
        assert scan(repository(tmp_path / "empty", {})) == {}
        with pytest.raises(SettingsError, match="cannot be read: No such file") as caught:
            scan(tmp_path / "none")
        assert str(tmp_path) not in str(caught.value)

    def test_links_out_of_the_repository_are_not_followed(self, tmp_path: Path) -> None:
        """A model and a version that lie elsewhere are listed with the reason; links within are followed."""
        repository(tmp_path / "away", {"m/1/model.onnx": "", "m/model.toml": "nonsense"})
        root = repository(tmp_path / "root", {"inner/1/model.onnx": "", "inner/model.toml": 'versions = "all"'})
        (root / "outer").symlink_to(tmp_path / "away" / "m")
        (root / "inner" / "2").symlink_to(tmp_path / "away" / "m" / "1")
        (root / "inner" / "3").symlink_to(root / "inner" / "1")
        (root / "alias").symlink_to("inner")
        (root / "dangling").symlink_to("nothing")
        (root / "circle").symlink_to("circle")
        found = scan(root)
        assert set(found) == {"inner", "outer", "alias"}
        assert "leaves the model repository" in found["outer"].reason
        assert found["outer"].versions == {}
        assert "leaves the model repository" in found["inner"].versions["2"].reason
        assert wanted(found["inner"]) == wanted(found["alias"]) == ["3", "1"]

    def test_the_repository_itself_may_be_a_link(self, tmp_path: Path) -> None:
        """As stores that swap whole trees have it."""
        repository(tmp_path / "real", {"m/1/model.onnx": ""})
        (tmp_path / "now").symlink_to("real")
        assert wanted(scan(tmp_path / "now")["m"]) == ["1"]

    @pytest.mark.parametrize(
        ("name", "listed", "why"),
        [
            (b"a\nb", "a\\u000ab", "control characters"),
            (b"a\x1b[31m", "a\\u001b[31m", "control characters"),
            (b"a\xff", "a\\udcff", "not UTF-8"),
            (b"\xf1\x80\x80\x80", "\\u40000", "cannot be shown"),
            (b"\xee\x80\x80", "\\ue000", "cannot be shown"),
            (b"a\xe2\x80\x8bb", "a\\u200bb", "cannot be shown"),
            (b"a\xc2\xa0b", "a\\u00a0b", "cannot be shown"),
        ],
    )
    def test_names_that_are_no_names_are_refused(self, tmp_path: Path, name: bytes, listed: str, why: str) -> None:
        """They are listed in a spelling that can be shown."""
        os.makedirs(os.fsencode(tmp_path) + b"/" + name + b"/1")
        found = scan(tmp_path)
        assert list(found) == [listed]
        assert why in found[listed].reason
        assert wanted(found[listed]) == []

    def test_any_other_name_will_do(self, tmp_path: Path) -> None:
        """Spaces, other scripts and dots inside are nobody's trouble."""
        names = {"two words", "módèle-2.1", "模型", "a:b", "-x"}
        assert set(scan(repository(tmp_path, {f"{name}/1/": "" for name in names}))) == names

    @settings(max_examples=60, deadline=None)
    @given(
        names=st.lists(
            st.binary(min_size=1, max_size=20).filter(
                lambda n: b"/" not in n and b"\0" not in n and n not in {b".", b".."}
            ),
            max_size=5,
        ),
        versions=st.lists(st.text(alphabet="0123456789 x٣", min_size=1, max_size=30), max_size=4),
        texts=st.tuples(st.binary(max_size=60), st.binary(max_size=60)),
    )
    def test_nothing_in_a_repository_makes_the_scan_fail(
        self, names: list[bytes], versions: list[str], texts: tuple[bytes, bytes]
    ) -> None:
        """Random names and random settings give models with reasons, and a route for each."""
        with tempfile.TemporaryDirectory() as place:
            for name in names:
                directory = os.fsencode(place) + b"/" + name
                os.makedirs(directory, exist_ok=True)
                for version in versions:
                    os.makedirs(directory + b"/" + version.encode(), exist_ok=True)
                for file, text in zip((b"/model.toml", b"/config.pbtxt"), texts, strict=True):
                    Path(os.fsdecode(directory + file)).write_bytes(text)
            for name, found in scan(Path(place)).items():
                assert name.isprintable()
                made = route(found, {})
                assert made.champion is None
                assert all(version.reason for version in made.versions.values())


@pytest.fixture
def nobody() -> Iterator[Path]:
    """An open directory, and the rights of somebody who is not root."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(place)
        finally:
            if root:
                os.seteuid(0)
            for path in Path(place).rglob("*"):
                if path.is_dir():
                    path.chmod(0o700)


def test_what_may_not_be_read_is_a_reason(nobody: Path) -> None:
    """A closed directory or settings file costs that model only."""
    repository(nobody, {"closed/1/": "", "half/1/": "", "half/model.toml": "", "open/1/": ""})
    (nobody / "closed").chmod(0)
    (nobody / "half" / "model.toml").chmod(0)
    found = scan(nobody)
    assert found["closed"].reason == "its directory cannot be read: Permission denied"
    assert found["half"].reason == "model.toml cannot be read: Permission denied"
    assert wanted(found["open"]) == ["1"]


class TestModelToml:
    """The project's own settings."""

    def test_the_newest_version_is_loaded_by_default(self, tmp_path: Path) -> None:
        """And the others say why they are not: by number, not by spelling."""
        found = model(tmp_path, 2, 9, 10)
        assert wanted(found) == ["10"]
        assert found.versions["9"].reason == "not loaded: versions = latest"
        assert {number: version.left_out for number, version in route(found, tried(found)).versions.items()} == {
            "2": True,
            "9": True,
            "10": False,
        }

    def test_all_versions(self, tmp_path: Path) -> None:
        """Newest first, as the newest is wanted soonest."""
        assert wanted(model(tmp_path, 2, 9, 10, toml='versions = "all"')) == ["10", "9", "2"]

    def test_listed_versions(self, tmp_path: Path) -> None:
        """One that is listed and not there is told."""
        found = model(tmp_path, 1, 2, 3, toml="versions = [1, 7]")
        assert wanted(found) == ["1"]
        assert found.versions["3"].reason == "not loaded: versions = [1, 7]"
        assert found.versions["7"].reason == "there is no such directory, and versions = [1, 7]"
        assert found.versions["3"].left_out
        assert not found.versions["7"].left_out

    @pytest.mark.parametrize("toml", ["versions = 3", "nonsense", "speed = 3", "[batch]\nmax_size = 0"])
    def test_a_mistake_there_makes_all_versions_unavailable(self, tmp_path: Path, toml: str) -> None:
        """Better none than one that does something else than was asked for."""
        found = model(tmp_path, 1, 2, toml=toml)
        assert wanted(found) == []
        made = route(found, {})
        assert [version.reason.startswith("model.toml") for version in made.versions.values()] == [True, True]
        assert made.champion is None

    @pytest.mark.parametrize("file", ["model.toml", "config.pbtxt"])
    def test_settings_that_are_no_file_are_refused_at_once(self, tmp_path: Path, file: str) -> None:
        """A pipe, a link to nothing and an endless file are not waited for."""
        repository(tmp_path, {"pipe/1/": "", "link/1/": "", "long/1/": ""})
        os.mkfifo(tmp_path / "pipe" / file)
        (tmp_path / "link" / file).symlink_to("nothing")
        with (tmp_path / "long" / file).open("wb") as endless:
            endless.truncate(1 << 40)
        found = scan(tmp_path)
        assert "not a regular file" in found["pipe"].reason
        assert "No such file" in found["link"].reason
        assert "at most" in found["long"].reason


class TestConfigPbtxt:
    """Repositories made for Triton."""

    @pytest.mark.parametrize(
        ("pbtxt", "why"),
        [
            ("nonsense", "cannot be understood"),
            ("speed: 3", "no field named"),
            ('platform: "tensorrt_plan"', "platform `tensorrt_plan` is not served"),
            ('backend: "python"', "backend `python` is not served"),
            ('name: "other"', "names the model `other`, its directory `m`"),
            ("sequence_batching {}", "sequence_batching is not offered"),
            ("ensemble_scheduling {}", "ensemble_scheduling is not offered"),
            ('default_model_filename: "../x.onnx"', "not the name of a file"),
            ("max_batch_size: -1", "expected 0 or more"),
            ("version_policy { specific { versions: [0] } }", "versions are 1 or more"),
        ],
    )
    def test_what_is_not_offered_is_a_reason(self, tmp_path: Path, pbtxt: str, why: str) -> None:
        """In one line, for all versions."""
        found = model(tmp_path, 1, pbtxt=pbtxt)
        assert found.reason.startswith("config.pbtxt")
        assert why in found.reason
        assert "\n" not in found.reason
        assert wanted(found) == []

    def test_a_usual_file_is_understood(self, tmp_path: Path) -> None:
        """Name, platform, file name, batch size and delay; instance groups are no concern here."""
        text = """
            name: "m" platform: "onnxruntime_onnx" max_batch_size: 16 default_model_filename: "net.onnx"
            dynamic_batching { max_queue_delay_microseconds: 250 preferred_batch_size: [ 8, 16 ] }
            instance_group [ { count: 2 kind: KIND_CPU } ]
        """
        found = model(tmp_path, 1, pbtxt=text)
        (request,) = requests(found)
        assert request.filename == "net.onnx"
        assert request.batching == Batching(16, 250)
        assert request.rows_independent is True
        assert request.never_joined == ""
        assert found.declared == text
        assert route(found, tried(found)).versions["1"].declared == text

    @pytest.mark.parametrize(
        ("policy", "numbers", "rule"),
        [
            ("latest { num_versions: 2 }", ["10", "9"], "version_policy = latest 2"),
            ("latest { }", ["10"], "version_policy = latest 1"),
            ("all { }", ["10", "9", "2"], None),
            ("specific { versions: [2, 9] }", ["9", "2"], "version_policy = specific [2, 9]"),
        ],
    )
    def test_version_policies(self, tmp_path: Path, policy: str, numbers: list[str], rule: str | None) -> None:
        """All three, by number and not by spelling."""
        found = model(tmp_path, 2, 9, 10, pbtxt=f"version_policy {{ {policy} }}")
        assert wanted(found) == numbers
        others = {version.reason for number, version in found.versions.items() if number not in numbers}
        assert others == ({f"not loaded: {rule}"} if rule else set())

    def test_max_batch_size_0_means_never_joined(self, tmp_path: Path) -> None:
        """The owner says that there is no batch dimension."""
        (request,) = requests(model(tmp_path, 1, pbtxt=""))
        assert request.never_joined == "config.pbtxt says max_batch_size 0"

    def test_model_toml_goes_before_it(self, tmp_path: Path) -> None:
        """Key by key; what model.toml does not say is taken from config.pbtxt."""
        found = model(
            tmp_path,
            1,
            2,
            toml='versions = "latest"\n[batch]\nmax_size = 4\nrows_independent = false',
            pbtxt="max_batch_size: 16 dynamic_batching { max_queue_delay_microseconds: 9 } version_policy { all {} }",
        )
        (request,) = requests(found)
        assert request.number == "2"
        assert request.batching == Batching(4, 9)
        assert request.rows_independent is False

    def test_model_toml_may_allow_what_it_forbids(self, tmp_path: Path) -> None:
        """`rows_independent` in model.toml outweighs a max_batch_size of 0."""
        (request,) = requests(model(tmp_path, 1, toml="[batch]\nrows_independent = true", pbtxt=""))
        assert (request.never_joined, request.rows_independent, request.batching.max_size) == ("", True, 32)

    def test_one_row_is_never_joined(self, tmp_path: Path) -> None:
        """A largest size of 1 leaves nothing to join, whoever says it."""
        (request,) = requests(model(tmp_path / "a", 1, toml="[batch]\nmax_size = 1"))
        assert "model.toml" in request.never_joined
        (request,) = requests(model(tmp_path / "b", 1, pbtxt="max_batch_size: 1"))
        assert "config.pbtxt" in request.never_joined

    @pytest.mark.parametrize(
        ("pbtxt", "why"),
        [
            ('input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] }', ""),
            ('input { name: "x" dims: [7, 3] }', ""),
            ('input { name: "x" data_type: TYPE_FP32 dims: [3] }', "as [3]; the model says [-1, 3]"),
            ('max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [3] }', ""),
            ('max_batch_size: 8 input { name: "x" dims: [-1] }', ""),
            ('max_batch_size: 8 output { name: "y" dims: [2, 1] reshape { shape: [2] } }', ""),
            ('max_batch_size: 8 input { name: "x" dims: [4] }', "as [-1, 4]; the model says [-1, 3]"),
            ('input { name: "x" data_type: TYPE_INT64 dims: [-1, 3] }', "as INT64; the model says FP32"),
            ('output { name: "z" dims: [1] }', "output `z`, which the model does not have; it has `y`"),
            ('output { name: "y" data_type: TYPE_STRING dims: [-1, 2] }', "as BYTES; the model says FP32"),
        ],
    )
    def test_what_it_declares_must_be_so(self, tmp_path: Path, pbtxt: str, why: str) -> None:
        """Names, datatypes and shapes; -1 fits everything, the batch dimension is left out with a batch size."""
        found = model(tmp_path, 1, pbtxt=pbtxt)
        version = route(found, tried(found)).versions["1"]
        assert (version.state is VersionState.READY) == (not why)
        assert version.reason.endswith(why)


class TestRoute:
    """From trials to a route."""

    def test_the_newest_ready_version_is_the_champion(self, tmp_path: Path) -> None:
        """A newer one that is broken is listed, and does not answer."""
        found = model(tmp_path, 2, 9, 10, 11, toml="versions = [2, 9, 10]\n[sessions]\nintra_op_threads = 2")
        made = route(found, tried(found, "10"))
        assert made.champion == "9"
        assert {number: version.state.value for number, version in made.versions.items()} == {
            "2": "READY",
            "9": "READY",
            "10": "UNAVAILABLE",
            "11": "UNAVAILABLE",
        }
        assert made.versions["10"].reason == "it is broken"
        ready = made.versions["9"]
        assert (ready.digest, ready.signature, ready.intra_op_threads) == ("d", SIGNATURE, 2)
        assert ready.path == str(tmp_path / "m" / "9" / "model.onnx")

    def test_a_version_without_a_trial_is_not_ready(self, tmp_path: Path) -> None:
        """The route of a model whose trials have not ended."""
        made = route(model(tmp_path, 1), {})
        assert made.champion is None
        assert made.versions["1"].reason == "it has not been looked at yet"
