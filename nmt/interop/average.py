"""The mean of the weights of models with one shape and vocabulary, as of late checkpoints.

Vaswani et al. 2017 average the last checkpoints of a run; Wortsman et al. 2022, "Model soups",
models that were fine-tuned from the same one.
"""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, digest_file
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.pretrained import loading_pretrained
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    WEIGHTS_FILE,
    describe_model,
    read_description,
)
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE


def average_models(models: Sequence[Path], output: Path) -> Summary:
    """Write the mean of some models; one that is named twice counts twice.

    Args:
        models: Model directories of one shape and vocabulary.
        output: Model directory; its directions are those of all models together.

    Raises:
        UserError: If there are fewer than two, one is not a model, or they do not fit each other.
    """
    if len(models) < 2:
        raise UserError("a mean needs two models or more; repeat `--model`")
    first = read_description(models[0])
    for model in models[1:]:
        if read_description(model).config != first.config:
            raise UserError(f"{model} has another shape than {models[0]}; see their model.json")
        for name in (MODEL_FILE, LAYOUT_FILE):
            files = [one / VOCABULARY_DIRECTORY / name for one in (models[0], model)]
            if digest_file(files[0]) != digest_file(files[1]):
                raise UserError(f"{files[1]} is not the same as {files[0]}")
    inputs = [model / name for model in models for name in (DESCRIPTION_FILE, WEIGHTS_FILE)]
    vocabulary = [models[0] / VOCABULARY_DIRECTORY / name for name in (MODEL_FILE, LAYOUT_FILE)]
    shares = {str(model): models.count(model) for model in models}
    task = Task(
        name="model",
        inputs=(*dict.fromkeys(inputs), *vocabulary),
        arguments={"times": list(shares.values())},
    )
    work = functools.partial(_average, models=tuple(models), output=output)
    return run_job(name="average", tasks=[task], work=work, output=output)


def _average(task: Task, models: Sequence[Path], output: Path) -> Outcome:
    descriptions = [read_description(model) for model in models]
    mean = _mean([model / WEIGHTS_FILE for model in models])
    copied = []
    for name in (MODEL_FILE, LAYOUT_FILE):
        copied.append(output / VOCABULARY_DIRECTORY / name)
        with atomic_path(copied[-1]) as temporary:
            shutil.copyfile(models[0] / VOCABULARY_DIRECTORY / name, temporary)
    with atomic_path(output / WEIGHTS_FILE) as temporary:
        safetensors.torch.save_file(mean, str(temporary))
    directions = sorted({d for description in descriptions for d in description.directions})
    described = describe_model(output, descriptions[0].config, directions)
    return Outcome(
        counts={"models": len(models), "tensors": len(mean)},
        outputs=(*copied, output / WEIGHTS_FILE, described),
    )


def _mean(weights: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of each tensor.

    Raises:
        DataError: If a file is damaged, or lacks a tensor of the first or has it in another shape.
    """
    files: list[Any] = []
    for path in weights:
        with loading_pretrained(path):
            files.append(safetensors.safe_open(path, "pt"))
    mean = {}
    for name in files[0].keys():  # noqa: SIM118 (no mapping)
        tensors: list[Tensor] = []
        for path, file in zip(weights, files, strict=True):
            with loading_pretrained(path):
                tensors.append(file.get_tensor(name))
            if tensors[-1].shape != tensors[0].shape:
                raise DataError(f"{path}: `{name}` has another shape than in {weights[0]}")
        total = tensors[0].double()
        for tensor in tensors[1:]:
            total += tensor
        mean[name] = (total / len(tensors)).to(tensors[0].dtype)
    return mean
