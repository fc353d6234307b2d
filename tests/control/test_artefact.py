"""A version's files: the digest, and what a model may read beside itself. Real files throughout."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from router.control import artefact
from router.errors import ModelBroken

Place = Callable[[onnx.ModelProto, TensorProto], None]


def small_model() -> onnx.ModelProto:
    """y = x · w, all inside the file."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        initializer=[numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def outside(location: str | None, **more: str) -> TensorProto:
    """Six floats whose bytes are said to be in another file."""
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[6], data_location=TensorProto.EXTERNAL)
    for key, value in ({} if location is None else {"location": location} | more).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def as_initializer(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """An ordinary weight."""
    model.graph.initializer.append(tensor)


def as_sparse_values(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """The values of a sparse weight."""
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


def as_sparse_indices(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """The indices of a sparse weight."""
    model.graph.sparse_initializer.add().indices.CopyFrom(tensor)


def as_attribute(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """The value of a constant."""
    model.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)


def as_one_of_many(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """One tensor of an attribute that holds several."""
    model.graph.node[0].attribute.add(name="values", type=onnx.AttributeProto.TENSORS).tensors.append(tensor)


def as_sparse_attribute(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """The value of a sparse constant."""
    attribute = model.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(tensor)


def in_subgraph(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """A weight of a branch in a loop body."""
    branch = model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
    deeper = branch.g.node.add(op_type="If").attribute.add(name="then", type=onnx.AttributeProto.GRAPHS)
    deeper.graphs.add().initializer.append(tensor)


def in_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """A constant in a function of the model."""
    node = model.functions.add(name="f", domain="d").node.add(op_type="Constant")
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)


def as_function_default(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """The default of a function's attribute."""
    model.functions.add(name="f", domain="d").attribute_proto.add(name="a").t.CopyFrom(tensor)


def in_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    """A weight that only training knows."""
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES: list[Place] = [
    as_initializer,
    as_sparse_values,
    as_sparse_indices,
    as_attribute,
    as_one_of_many,
    as_sparse_attribute,
    in_subgraph,
    in_function,
    as_function_default,
    in_training,
]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version's directory in a repository, with a secret outside of it."""
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    directory = tmp_path / "repository" / "m" / "1"
    directory.mkdir(parents=True)
    return directory


def saved(directory: Path, tensor: TensorProto, place: Place = as_initializer) -> Path:
    """A model with this tensor in it, on disk."""
    model = small_model()
    place(model, tensor)
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refusal(path: Path) -> str:
    """Why the model at `path` is refused. Never tells where on this machine it lies."""
    with pytest.raises(ModelBroken) as caught:
        artefact.check_external_data(path)
    text = str(caught.value)
    assert str(path.parent) not in text
    assert "/tmp" not in text
    assert len(text) < 400
    return text


class TestExternalData:
    """What a model may keep beside itself."""

    @pytest.mark.parametrize("place", PLACES)
    def test_weights_in_the_directory_are_allowed_wherever_they_hang(self, version: Path, place: Place) -> None:
        """A file beside the model, or below it, that is long enough is no cause for complaint."""
        (version / "parts").mkdir()
        (version / "parts" / "w.bin").write_bytes(bytes(24))
        path = saved(version, outside("parts/w.bin"), place)
        artefact.check_external_data(path)
        assert artefact.external_files(artefact.read_model(path), version) == ("parts/w.bin",)

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize(
        "location", ["../../../secret.bin", "x/../../../../secret.bin", "/etc/hostname", "link.bin", "door/secret.bin"]
    )
    def test_a_way_out_is_refused_wherever_it_hangs(self, version: Path, place: Place, location: str) -> None:
        """Climbing, an absolute path, a linked file and a linked directory are refused in every kind of tensor."""
        (version / "x").mkdir()
        (version / "link.bin").symlink_to(version.parents[2] / "secret.bin")
        (version / "door").symlink_to(version.parents[2])
        assert "leave" in (text := refusal(saved(version, outside(location), place))) or "absolute" in text

    def test_a_hard_link_is_refused(self, version: Path) -> None:
        """Weights with a second name may be anybody's file."""
        os.link(version.parents[2] / "secret.bin", version / "w.bin")
        assert "hard link" in refusal(saved(version, outside("w.bin")))

    def test_the_model_itself_may_not_be_a_link_out_or_a_hard_link(self, version: Path) -> None:
        """The rules for weights hold for the model file."""
        good = version.parents[2] / "elsewhere.onnx"
        good.write_bytes(small_model().SerializeToString())
        (version / "soft.onnx").symlink_to(good)
        assert "leaves the version's directory" in refusal(version / "soft.onnx")
        os.link(good, version / "hard.onnx")
        assert "hard link" in refusal(version / "hard.onnx")

    def test_a_link_within_the_directory_is_allowed(self, version: Path) -> None:
        """Links that stay inside are how some stores lay out their files."""
        (version / "blobs").mkdir()
        (version / "blobs" / "w").write_bytes(bytes(24))
        (version / "w.bin").symlink_to("blobs/w")
        artefact.check_external_data(saved(version, outside("w.bin")))

    def test_out_and_back_again_is_refused(self, version: Path) -> None:
        """A way that leads through the outside is refused even where it ends inside."""
        (version / "w.bin").write_bytes(bytes(24))
        (version / "door").symlink_to(version.parent)
        assert "leaves" in refusal(saved(version, outside("door/1/w.bin")))

    @pytest.mark.parametrize("location", [None, "", ".", "./", "a\0b", "*/_ORT_MEM_ADDR_/*"])
    def test_what_is_no_file_name_is_refused(self, version: Path, location: str | None) -> None:
        """No name, an empty one, the directory itself, and the runtime's mark for its own memory."""
        (version / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
        (version / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(24))
        tensor = outside(location)
        assert "not named" in (text := refusal(saved(version, tensor))) or "not the name of a file" in text

    def test_missing_weights_are_named(self, version: Path) -> None:
        """The message names the tensor and the file."""
        text = refusal(saved(version, outside("w.bin")))
        assert "`far`" in text
        assert "there is no `w.bin`" in text

    def test_pipes_and_directories_are_refused_at_once(self, version: Path) -> None:
        """A pipe would keep a reader waiting for ever."""
        os.mkfifo(version / "pipe")
        assert "not a regular file" in refusal(saved(version, outside("pipe")))
        (version / "folder").mkdir()
        assert "is a directory" in refusal(saved(version, outside("folder")))
        assert "not a regular file" in refusal(version / "pipe")

    @pytest.mark.parametrize("more", [{}, {"offset": "4"}, {"offset": "0", "length": "30"}, {"offset": "99"}])
    def test_bytes_beyond_the_end_are_refused(self, version: Path, more: dict[str, str]) -> None:
        """Offset and length, or the size that the dimensions ask for, must lie within the file."""
        (version / "w.bin").write_bytes(bytes(24 if more else 23))
        assert "the file has" in refusal(saved(version, outside("w.bin", **more)))

    @pytest.mark.parametrize("value", ["-1", "x", "", "9" * 40, "1e3", "٣"])
    def test_offsets_are_plain_numbers(self, version: Path, value: str) -> None:
        """Anything else is refused, not guessed at."""
        (version / "w.bin").write_bytes(bytes(24))
        assert "expected a number of bytes" in refusal(saved(version, outside("w.bin", offset=value)))

    def test_two_locations_are_refused(self, version: Path) -> None:
        """One reader might take the first, another the last."""
        (version / "w.bin").write_bytes(bytes(24))
        tensor = outside("w.bin")
        tensor.external_data.add(key="location", value="/etc/hostname")
        assert "two entries" in refusal(saved(version, tensor))

    def test_an_entry_counts_even_without_the_mark(self, version: Path) -> None:
        """A tensor that names a file is checked, whatever it says of where its data are."""
        tensor = outside("../secret.bin")
        tensor.ClearField("data_location")
        assert "leaves" in refusal(saved(version, tensor))

    @pytest.mark.parametrize("folder", sorted(artefact.DATA_DIRECTORIES))
    def test_weights_that_the_digest_leaves_out_are_refused(self, version: Path, folder: str) -> None:
        """Otherwise weights could change under an unchanged digest, by a name or by a link."""
        (version / folder).mkdir()
        (version / folder / "w.bin").write_bytes(bytes(24))
        (version / "w.bin").symlink_to(f"{folder}/w.bin")
        assert "data about the model" in refusal(saved(version, outside(f"./{folder}/w.bin")))
        assert "data about the model" in refusal(saved(version, outside("w.bin")))

    @settings(max_examples=80, deadline=None)
    @given(location=st.text(alphabet="./ab*\0\\~ é", max_size=12), offset=st.text(max_size=3))
    def test_no_spelling_leads_out(self, location: str, offset: str) -> None:
        """Whatever is written there: it is refused, or it is a file of the directory."""
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place) / "1"
            (directory / "a").mkdir(parents=True)
            for file in ("b", "a/b", "../b"):
                (directory / file).write_bytes(bytes(64))
            try:
                names = artefact.external_files(
                    artefact.read_model(saved(directory, outside(location, offset=offset))), directory
                )
            except ModelBroken:
                return
            assert set(names) <= {"b", "a/b"}


class TestReading:
    """What is a model at all."""

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "empty"),
            (b"hello, world\n", "not an ONNX model"),
            (b"<html>" * 50, "not an ONNX model"),
            (small_model().SerializeToString()[:-30], "cut short"),
            (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
        ],
    )
    def test_what_is_no_model_is_said_to_be_none(self, version: Path, content: bytes, why: str) -> None:
        """Empty, text, a web page, half a file and a message without a graph."""
        (version / "model.onnx").write_bytes(content)
        assert why in refusal(version / "model.onnx")

    def test_a_model_too_large_for_the_format_is_not_read(self, version: Path) -> None:
        """A sparse file of 2 GiB is refused by its size."""
        with (version / "model.onnx").open("wb") as file:
            file.truncate(2**31)
        assert "external data" in refusal(version / "model.onnx")

    @settings(max_examples=100, deadline=None)
    @given(content=st.binary(max_size=300))
    def test_random_bytes_are_refused_or_read(self, content: bytes) -> None:
        """Nothing but ModelBroken comes out."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "model.onnx"
            path.write_bytes(content)
            with contextlib.suppress(ModelBroken):
                artefact.check_external_data(path)


def tree(directory: Path, files: dict[str, bytes]) -> Path:
    """Files below a directory."""
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


class TestDigest:
    """A version's name by its contents."""

    def test_the_same_files_have_the_same_digest_anywhere(self, tmp_path: Path) -> None:
        """The place does not count, nor the order in which files were written."""
        files = {"model.onnx": b"m", "a/w.bin": b"w", "w.bin": b"w"}
        one = tree(tmp_path / "1", files)
        other = tree(tmp_path / "2", dict(reversed(files.items())))
        assert artefact.digest(one) == artefact.digest(other)
        assert len(artefact.digest(one)) == 64

    @pytest.mark.parametrize(
        "files",
        [
            {"model.onnx": b"M", "w.bin": b"w"},
            {"model.onnx": b"m", "v.bin": b"w"},
            {"model.onnx": b"m"},
            {"model.onnx": b"m", "w.bin": b"w", "empty": b""},
            {"model.onnx": b"mw", "w.bin": b""},
            {"model.onnx": b"m", "sub/w.bin": b"w"},
        ],
    )
    def test_names_and_contents_count(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        """A changed byte, a changed name, one file more or less, and bytes that moved from file to file."""
        before = artefact.digest(tree(tmp_path / "1", {"model.onnx": b"m", "w.bin": b"w"}))
        assert artefact.digest(tree(tmp_path / "2", files)) != before

    def test_data_about_the_model_does_not_count(self, tmp_path: Path) -> None:
        """New smoke-test data make no new version; a directory of that name further down is no such data."""
        one = tree(tmp_path / "1", {"model.onnx": b"m"})
        before, seen = artefact.digest(one), artefact.stamp(one)
        tree(one, {f"{name}/x.npz": b"d" for name in artefact.DATA_DIRECTORIES})
        assert artefact.digest(one) == before
        assert artefact.stamp(one) == seen
        tree(one, {"sub/golden/w.bin": b"w"})
        assert artefact.digest(one) != before

    def test_links_count_by_their_text(self, tmp_path: Path) -> None:
        """To point elsewhere is to be another version; to point outside is refused, to a directory as well."""
        one = tree(tmp_path / "1", {"a": b"a", "b": b"a"})
        (one / "model.onnx").symlink_to("a")
        before = artefact.digest(one)
        (one / "model.onnx").unlink()
        (one / "model.onnx").symlink_to("b")
        assert artefact.digest(one) != before
        (one / "folder").symlink_to(tmp_path)
        with pytest.raises(ModelBroken, match="leaves the version's directory"):
            artefact.digest(one)

    def test_pipes_and_devices_are_refused_at_once(self, tmp_path: Path) -> None:
        """Nobody waits for a writer that never comes."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ModelBroken, match="`pipe` is not a regular file"):
            artefact.digest(tmp_path)

    def test_a_directory_that_is_gone_is_a_reason(self, tmp_path: Path) -> None:
        """As are all troubles of the file system."""
        with pytest.raises(ModelBroken, match="cannot be read"):
            artefact.digest(tmp_path / "none")
        with pytest.raises(ModelBroken, match="cannot be read"):
            artefact.stamp(tmp_path / "none")

    def test_the_stamp_shows_a_write_in_place(self, tmp_path: Path) -> None:
        """Equal stamps before and after mean that nobody wrote in between."""
        one = tree(tmp_path, {"model.onnx": b"m"})
        before = artefact.stamp(one)
        assert artefact.stamp(one) == before
        with (one / "model.onnx").open("ab") as file:
            file.write(b"more")
        assert artefact.stamp(one) != before


@given(text=st.text(max_size=200))
def test_a_shown_name_is_one_short_line(text: str) -> None:
    """Whatever somebody else's file holds."""
    safe: Any = artefact.shown(text)
    assert len(safe) <= 80
    assert safe.isprintable()
