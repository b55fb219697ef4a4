import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings

from corpus.errors import DataError, UserError
from nmt.interop.checkpoint import read_checkpoint
from nmt.interop.weights import INDEX_FILE, NewTensor, are_equal, rows, write_tensors
from nmt.model import tensor_files
from nmt.model.tensor_files import DTYPES, read_header, read_into, whole

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(path: Path, **tensors: torch.Tensor) -> Path:
    safetensors.torch.save_file(tensors, path)
    return path


@settings(max_examples=10)
@given(
    shapes=st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=5),
    dtypes=st.lists(st.sampled_from(list(NAMES)), min_size=5, max_size=5),
)
def test_file_is_the_one_that_safetensors_would_write(
    shapes: list[list[int]], dtypes: list[torch.dtype], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    tensors = {
        f"layer.{i}": torch.randn(shape).to(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    path = write(folder / "theirs.safetensors", **tensors)
    new = [
        NewTensor(stored.key, stored.dtype, stored.shape, (whole(stored),))
        for stored in read_header(path).values()
    ]
    write_tensors(folder / "ours.safetensors", new)
    assert (folder / "ours.safetensors").read_bytes() == path.read_bytes()


def test_spans_are_joined_and_converted_in_small_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_files, "_CHUNK_BYTES", 12)
    values = torch.randn(7, 5)
    stored = read_header(write(tmp_path / "a.safetensors", a=values))["a"]
    spans = (rows(stored, 6, 7), rows(stored, 0, 2))
    write_tensors(tmp_path / "b.safetensors", [NewTensor("b", "BF16", (3, 5), spans)])
    found = safetensors.torch.load_file(tmp_path / "b.safetensors")["b"]
    assert torch.equal(found, values[[6, 0, 1]].bfloat16())


def test_tensor_is_filled_in_its_own_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_files, "_CHUNK_BYTES", 12)
    values = torch.randn(7, 5).bfloat16()
    stored = read_header(write(tmp_path / "a.safetensors", a=values))["a"]
    tensor = torch.zeros(7, 5)
    read_into(stored, tensor)
    assert torch.equal(tensor, values.float())
    with pytest.raises(DataError, match=r"`a` is BF16 \[7, 5\]; the model has \[5, 7\]"):
        read_into(stored, torch.zeros(5, 7))


def test_equality_is_of_every_byte(tmp_path: Path) -> None:
    one = torch.randn(40)
    other = one.clone()
    other[39] += 1
    stored = read_header(write(tmp_path / "a.safetensors", a=one, b=one.clone(), c=other))
    assert are_equal(stored["a"], stored["b"])
    assert not are_equal(stored["a"], stored["c"])


@pytest.mark.parametrize("left", [0, 5, 40, -1])
def test_truncated_file_is_refused_by_name(tmp_path: Path, left: int) -> None:
    path = write(tmp_path / "model.safetensors", a=torch.randn(40))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"model\.safetensors is (truncated|damaged)"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "header", [b"[]", b"{}}", b'{"a": 1}', b"\xff", b'{"a": {"dtype": "F32"}}']
)
def test_damaged_header_is_refused_by_name(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DataError, match="header is damaged"):
        read_header(path)


def test_pickled_file_that_is_no_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"pytorch_model\.bin is not a zip archive"):
        read_checkpoint(tmp_path)


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no weights"):
        read_checkpoint(tmp_path)


def write_index(folder: Path, places: dict[str, str]) -> None:
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": places}), encoding="utf-8")


def test_missing_shard_is_named(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", a=torch.ones(2))
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    with pytest.raises(DataError, match=r"model-2\.safetensors is missing"):
        read_checkpoint(tmp_path)


def test_shard_without_a_promised_tensor_is_named_with_it(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", a=torch.ones(2))
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-1.safetensors"})
    with pytest.raises(DataError, match=r"model-1\.safetensors has no tensor `b`"):
        read_checkpoint(tmp_path)


def test_shard_outside_the_directory_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path, {"a": "../elsewhere.safetensors"})
    with pytest.raises(DataError, match="not a file of weights here"):
        read_checkpoint(tmp_path)
