import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corpus.errors import JobError, UserError
from nmt.interop.average import average_models
from nmt.model.config import named_config
from nmt.model.directory import describe_model, load_model, read_description


def test_mean_is_weighted_by_how_often_a_model_is_named(
    trained_model: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(trained_model, tmp_path / "other"))
    weights = safetensors.torch.load_file(other / "model.safetensors")
    safetensors.torch.save_file(
        {name: tensor + 3 for name, tensor in weights.items()}, other / "model.safetensors"
    )
    description = read_description(other)
    describe_model(other, description.config, description.directions)
    summary = average_models([trained_model, trained_model, other], tmp_path / "mean")
    assert summary.counts["models"] == 3
    mean = safetensors.torch.load_file(tmp_path / "mean" / "model.safetensors")
    for name, tensor in weights.items():
        torch.testing.assert_close(mean[name], tensor + 1, atol=1e-6, rtol=1e-6)
    assert load_model(tmp_path / "mean").directions == description.directions
    assert average_models([trained_model, trained_model, other], tmp_path / "mean").skipped == 1


def test_models_that_do_not_fit_each_other_are_refused(trained_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two models or more"):
        average_models([trained_model], tmp_path / "mean")
    other = Path(shutil.copytree(trained_model, tmp_path / "other"))
    layout = other / "vocabulary" / "vocabulary.json"
    layout.write_text(layout.read_text() + "\n")
    with pytest.raises(UserError, match=r"vocabulary.json is not the same as"):
        average_models([trained_model, other], tmp_path / "mean")
    describe_model(other, named_config("tiny"), [])
    with pytest.raises(UserError, match="has another shape"):
        average_models([trained_model, other], tmp_path / "mean")


def test_damaged_weights_are_named(trained_model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(trained_model, damaged)
    (damaged / "model.safetensors").write_bytes(b"a: [1]\n" * 9)
    with pytest.raises(JobError, match=r"model\.safetensors cannot be loaded"):
        average_models([trained_model, damaged], tmp_path / "mean")
