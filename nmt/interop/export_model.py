"""Exporting model directories to transformers' layout."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError
from corpus.files import atomic_path, write_json
from corpus.jobs import Outcome, Summary, Task, describe_input, run_job
from nmt.interop.added_tokens import FAST_FILE, PIECES_FILE, SYMBOLS_FILE, TOKENIZER_FILE
from nmt.interop.config import ExportConfig
from nmt.interop.plans import TORCH_NAMES, plan_export
from nmt.interop.settings import CONFIG_FILE, warn_of_training_settings, write_settings
from nmt.interop.tokens import TokenizerFiles, export_vocabulary
from nmt.interop.weights import INDEX_FILE, WEIGHTS_FILE, NewTensor, size_of, write_tensors
from nmt.model.config import MoEConfig
from nmt.model.directory import (
    DESCRIPTION_FILE,
    VOCABULARY_DIRECTORY,
    read_description,
)
from nmt.model.directory import WEIGHTS_FILE as OUR_WEIGHTS
from nmt.model.tensor_files import read_header
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE

logger = logging.getLogger(__name__)

GENERATION_FILE = "generation_config.json"
_MAX_GENERATED = 200
"""Tokens that `generate` makes at most (NLLB-200's generation_config.json)."""

_METADATA = {"format": "pt"}
"""Without it transformers refuses a file."""


class Shard(NamedTuple):
    """A file of weights to write."""

    name: str
    tensors: tuple[NewTensor, ...]


def export_to_transformers(model: Path, output: Path, config: ExportConfig) -> Summary:
    """Export a model for `M2M100ForConditionalGeneration` or `NllbMoeForConditionalGeneration`.

    A task per file of weights, and one for all else. Weights go from file to file in chunks.

    Raises:
        UserError: If it is not a model, or has weights that transformers' models do not support.
        JobError: If it is damaged.
    """
    description = read_description(model)
    files = export_vocabulary(model / VOCABULARY_DIRECTORY, nllb_codes=config.nllb_codes)
    shape = description.config
    warn_of_training_settings(shape)
    shards = plan_shards(model, shape, files.rows, config)
    inputs = (model / OUR_WEIGHTS, model / DESCRIPTION_FILE)
    vocabulary = [model / VOCABULARY_DIRECTORY / name for name in (MODEL_FILE, LAYOUT_FILE)]
    tasks = [Task(name=shard.name, inputs=inputs) for shard in shards]
    tasks.append(Task(name="description", inputs=(*inputs, *vocabulary)))
    work = functools.partial(
        _export_task, shards=shards, files=files, model=model, output=output, config=config
    )
    return run_job(name="export", tasks=tasks, work=work, output=output, config=config)


def plan_shards(
    model: Path, shape: MoEConfig, order: Sequence[int], config: ExportConfig
) -> list[Shard]:
    """Return the files of weights: one, or numbered ones of at most `shard_bytes` each."""
    stored = read_header(model / OUR_WEIGHTS)
    groups: list[list[NewTensor]] = []
    room = 0
    for tensor in plan_export(shape, stored, order, TORCH_NAMES[config.dtype]):
        size = size_of(tensor)
        if not groups or size > room:
            groups.append([])
            room = config.shard_bytes
        groups[-1].append(tensor)
        room -= size
    if len(groups) == 1:
        return [Shard(WEIGHTS_FILE, tuple(groups[0]))]
    return [
        Shard(f"model-{i:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for i, group in enumerate(groups, 1)
    ]


def _export_task(
    task: Task,
    shards: Sequence[Shard],
    files: TokenizerFiles,
    model: Path,
    output: Path,
    config: ExportConfig,
) -> Outcome:
    description = read_description(model)
    if describe_input(model / OUR_WEIGHTS)["blake2b"] != description.weights_digest:
        raise DataError(
            f"{model / OUR_WEIGHTS} is damaged: its digest is not the one in {DESCRIPTION_FILE}"
        )
    for shard in shards:
        if shard.name == task.name:
            write_tensors(output / shard.name, shard.tensors, _METADATA)
            counts = {"tensors": len(shard.tensors), "bytes": sum(map(size_of, shard.tensors))}
            return Outcome(counts=counts, outputs=(output / shard.name,))
    return Outcome(outputs=_write_description(output, description.config, shards, files, config))


def _write_description(
    output: Path,
    shape: MoEConfig,
    shards: Sequence[Shard],
    files: TokenizerFiles,
    config: ExportConfig,
) -> tuple[Path, ...]:
    contents: dict[str, Any] = {
        CONFIG_FILE: write_settings(shape, config.dtype),
        GENERATION_FILE: _generation(shape),
        TOKENIZER_FILE: files.tokenizer,
        SYMBOLS_FILE: files.symbols,
        **({} if files.fast is None else {FAST_FILE: files.fast}),
    }
    if len(shards) > 1:
        contents[INDEX_FILE] = {
            "metadata": {"total_size": sum(size_of(new) for s in shards for new in s.tensors)},
            "weight_map": {new.key: shard.name for shard in shards for new in shard.tensors},
        }
    for name, content in contents.items():
        write_json(output / name, content)
    with atomic_path(output / PIECES_FILE) as temporary:
        temporary.write_bytes(files.pieces)
    return tuple(output / name for name in (*contents, PIECES_FILE))


def _generation(shape: MoEConfig) -> dict[str, Any]:
    values = write_settings(shape, "")
    names = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")
    return {
        **{name: values[name] for name in names},
        "max_length": min(_MAX_GENERATED, shape.max_seq_len),
    }
