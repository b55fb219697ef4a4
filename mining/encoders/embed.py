"""Sentences to embeddings, shard by shard: row i of a `.npy` is sentence i of the Parquet."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from corpus.errors import UserError
from corpus.files import write_json
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.records import count_rows, sentence_batches, sentence_languages, sentence_shards
from mining.embeddings import EMBED_JOB, SPACE_FILE, Float32, write_embeddings
from mining.encoders import (
    Encoder,
    check_builtin_languages,
    encoder_files,
    encoder_space,
    load_encoder,
)
from mining.encoders.embed_config import EmbedConfig


def run_embed(
    sentences: Path,
    encoder: Path,
    output: Path,
    config: EmbedConfig,
    languages: Sequence[str] = (),
    executor: Executor = LOCAL,
) -> Summary:
    """Embed all sentence shards, or those of some languages, to `output/<language>/<shard>.npy`.

    Raises:
        UserError: If there are no sentences, the directory is not an encoder's, or the builtin
            encoder does not know a language.
        JobError: If a shard cannot be read.
    """
    files = encoder_files(encoder)
    shards = shards_to_embed(sentences, languages)
    if not config.all_languages:
        check_builtin_languages(encoder, (shard.parent.name for shard in shards.values()))
    tasks = [Task(name=name, inputs=(shard, *files)) for name, shard in shards.items()]
    work = functools.partial(_embed_shard, encoder=encoder, output=output, config=config)
    on_gpu = runs_on_gpu(config)
    return run_job(
        name=EMBED_JOB,
        tasks=tasks,
        work=work,
        output=output,
        config=config,
        # Several processes would each hold the encoder on the one GPU.
        workers=1 if on_gpu else config.workers,
        executor=executor,
        gpus=1 if on_gpu else 0,
    )


def runs_on_gpu(config: EmbedConfig) -> bool:
    """Whether sentences are embedded on a GPU; one that is asked for may be elsewhere."""
    return config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())


def shards_to_embed(sentences: Path, languages: Sequence[str] = ()) -> dict[str, Path]:
    """Return the sentence shards of some languages, or all, by `<language>/<shard>`.

    Raises:
        UserError: If there are none.
    """
    shards = {
        f"{language}/{shard.stem}": shard
        for language in (languages or sentence_languages(sentences))
        for shard in sentence_shards(sentences, language)
    }
    if not shards:
        raise UserError(f"{sentences} holds no sentences; `tongues mining sentences` makes them")
    return shards


@functools.lru_cache(maxsize=1)
def _encoder(path: Path, device: str, batch_tokens: int) -> Encoder:
    """Load the encoder once per process; its arithmetic has one thread, as there are workers."""
    return load_encoder(path, threads=1, device=device, batch_tokens=batch_tokens)


def _embed_shard(task: Task, *, encoder: Path, output: Path, config: EmbedConfig) -> Outcome:
    loaded = _encoder(encoder, config.device, config.batch_tokens)
    shard = task.inputs[0]
    rows = count_rows(shard)
    outputs = write_embeddings(
        output / f"{task.name}.npy",
        _encode_blocks(shard, loaded, shard.parent.name, config.block_sentences),
        rows=rows,
        dimension=loaded.dimension,
        storage=config.storage,
    )
    space = (output / task.name).parent / SPACE_FILE
    write_json(space, {"space": encoder_space(encoder)})
    return Outcome(counts={"sentences": rows}, outputs=(*outputs, space))


def _encode_blocks(
    shard: Path, encoder: Encoder, language: str, block_sentences: int
) -> Iterator[Float32]:
    """Yield the vectors of a shard block by block, sentences sorted by length inside a block."""
    for batch in sentence_batches(shard, ["text"], block_sentences):
        texts = batch.column(0).to_pylist()
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors = np.empty((len(texts), encoder.dimension), np.float32)
        vectors[order] = encoder.encode([texts[row] for row in order.tolist()], language)
        yield vectors
