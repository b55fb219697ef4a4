"""Weights as torch pickles them: read as safetensors are, and no code of others runs."""

import contextlib
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import DataError, JobError, UserError
from corpus.pickled_tensors import read_pickled
from nmt.interop.checkpoint import read_checkpoint
from nmt.interop.config import ExportConfig, ImportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.interop.import_model import import_checkpoint
from tests.nmt.interop.conftest import IS_5


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("num_experts", [0, 4])
def test_import_of_pickled_weights_is_that_of_safetensors(
    tmp_path: Path, models: dict[int, Path], num_experts: int, shards: bool
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    export_to_transformers(models[num_experts], tmp_path / "theirs", ExportConfig())
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "model.safetensors").unlink()
    save_pickled(theirs, tmp_path / "theirs", shards=shards)
    assert (tmp_path / "theirs" / "pytorch_model.bin").exists() != shards
    import_checkpoint(tmp_path / "theirs", tmp_path / "pickled", ImportConfig())
    export_to_transformers(models[num_experts], tmp_path / "safe", ExportConfig())
    import_checkpoint(tmp_path / "safe", tmp_path / "ours", ImportConfig())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("pickled", "ours")]
    assert weights[0] == weights[1]


def save_pickled(model: Any, directory: Path, *, shards: bool) -> None:
    """Write weights as transformers did until version 5."""
    if not IS_5:
        size = "100KB" if shards else "1GB"
        model.save_pretrained(directory, safe_serialization=False, max_shard_size=size)
        return
    state = model.state_dict()
    tied = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    keys = [key for key in state if not key.endswith(tied)]
    if not shards:
        torch.save({key: state[key] for key in keys}, directory / "pytorch_model.bin")
        return
    names = {key: f"pytorch_model-{i % 3 + 1:05d}-of-00003.bin" for i, key in enumerate(keys)}
    for name in sorted(set(names.values())):
        torch.save({key: state[key] for key in keys if names[key] == name}, directory / name)
    index = {"metadata": {}, "weight_map": names}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def read_tensor(path: Path, key: str) -> torch.Tensor:
    stored = read_pickled(path)[key]
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[stored.dtype]
    count = stored.num_elements
    data = path.read_bytes()[stored.begin : stored.begin + count * dtype.itemsize]
    return torch.frombuffer(bytearray(data), dtype=dtype).view(stored.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_found_where_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "pytorch_model.bin"
    whole = torch.arange(24, dtype=dtype).view(4, 6)
    state = {"whole": whole, "tied": whole, "rows": whole[1:3], "p": torch.nn.Parameter(whole)}
    torch.save(state, path)
    for key, tensor in state.items():
        assert torch.equal(read_tensor(path, key), tensor.detach())


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("touch evil",))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x": Evil()}, "system` has no place among weights"),
        ({"x": 3}, "`x` is not a tensor"),
        ([torch.zeros(1)], "no dictionary of tensors"),
        ({"x": torch.zeros(3, 4).T}, "not stored row by row"),
        ({"x": torch.zeros(2).to_sparse()}, "has no place among weights"),
    ],
)
def test_anything_but_whole_tensors_is_refused(
    tmp_path: Path, state: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=message):
        read_checkpoint(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_old_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"x": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"torch before 1\.6"):
        read_pickled(path)
    torch.save({"x": torch.zeros(1000)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="damaged"):
        read_pickled(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"x": 1})[:-3])
    with pytest.raises(DataError, match="holds no weights"):
        read_pickled(path)


@pytest.mark.parametrize("place", range(0, 1400, 97))
def test_changed_bytes_end_in_no_traceback(tmp_path: Path, place: int) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"x": torch.zeros(20), "y": torch.ones(2, 3)}, path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 0x55
    path.write_bytes(data)
    with contextlib.suppress(DataError, UserError):
        assert len(read_pickled(path)) == 2


def test_shard_that_an_index_lists_must_be_there(tmp_path: Path, exported: Path) -> None:
    index = {"weight_map": {"x": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DataError, match="is missing"):
        read_checkpoint(tmp_path)
    index["weight_map"]["x"] = "../outside.bin"
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DataError, match="not a file of weights here"):
        read_checkpoint(tmp_path)
    with pytest.raises((UserError, JobError), match="has no weights"):
        read_checkpoint(tmp_path / "receipts")


class Trainer:
    """Stands for what Lightning and others pickle beside the weights."""

    def __init__(self) -> None:
        self.history, self.device = [1, {2}], torch.device("cpu")


def test_state_of_a_training_is_read_without_what_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.ckpt"
    state = {"x": torch.arange(6.0).view(2, 3)}
    beside = {"callbacks": Trainer(), "hyper_parameters": Path("a"), "evil": Evil(), "epoch": 3}
    torch.save({**beside, "state_dict": state}, path)
    found = read_pickled(path, ("state_dict", "model"))
    assert {key: one.shape for key, one in found.items()} == {"x": (2, 3)}
    assert not (tmp_path / "evil").exists()
    with pytest.raises(DataError, match="no place among weights"):
        read_pickled(path)
    torch.save({"state_dict": {"x": Evil()}}, path)
    with pytest.raises(DataError, match="`x` is not a tensor"):
        read_pickled(path, ("state_dict",))
