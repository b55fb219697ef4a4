"""Sentences to embeddings, shard by shard: row i of a `.npy` is sentence i of the Parquet."""

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpus.errors import UserError
from corpus.executors import LOCAL, Executor
from corpus.files import atomic_path
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.records import SENTENCES_SCHEMA, read_table, sentence_languages, sentence_shards
from mining.encoders import Encoder, encoder_files, load_encoder
from mining.encoders.config import EmbedConfig

logger = logging.getLogger(__name__)


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
        UserError: If there are no sentences, or the directory is not an encoder's.
        JobError: If a shard cannot be read.
    """
    files = encoder_files(encoder)
    tasks = [
        Task(name=f"{language}/{shard.stem}", inputs=(shard, *files))
        for language in (languages or sentence_languages(sentences))
        for shard in sentence_shards(sentences, language)
    ]
    if not tasks:
        raise UserError(f"{sentences} holds no sentences; `tongues mining sentences` makes them")
    work = functools.partial(_embed_shard, encoder=encoder, output=output, config=config)
    return run_job(
        name="embed",
        tasks=tasks,
        work=work,
        output=output,
        config=config,
        workers=config.workers,
        executor=executor,
    )


@functools.lru_cache(maxsize=1)
def _encoder(path: Path) -> Encoder:
    """Load the encoder once per process; its arithmetic has one thread, as there are workers."""
    return load_encoder(path, threads=1)


def _embed_shard(task: Task, *, encoder: Path, output: Path, config: EmbedConfig) -> Outcome:
    texts = read_table(task.inputs[0], SENTENCES_SCHEMA).column("text").to_pylist()
    loaded = _encoder(encoder)
    path = output / f"{task.name}.npy"
    with atomic_path(path) as temporary:
        # The temporary path ends in the suffix too, so NumPy does not append another.
        matrix = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.float16, shape=(len(texts), loaded.dimension)
        )
        for rows in length_batches(texts, config.batch_characters):
            matrix[rows] = loaded.encode([texts[row] for row in rows])
        matrix.flush()
        del matrix
    counts = Counter(sentences=len(texts))
    return Outcome(counts=counts, outputs=(path,))


def length_batches(texts: Sequence[str], max_characters: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of texts in batches of similar length, each row once.

    Args:
        texts: What is to be embedded.
        max_characters: Of a batch; a longer text is a batch of its own.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    order = np.argsort(lengths, kind="stable")
    batches, start, size = [], 0, 0
    for position, row in enumerate(order.tolist()):
        if size + lengths[row] > max_characters and position > start:
            batches.append(order[start:position])
            start, size = position, 0
        size += int(lengths[row])
    if start < len(order):
        batches.append(order[start:])
    return batches
