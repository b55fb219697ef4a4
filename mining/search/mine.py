"""Sentences and embeddings of two languages to scored pairs."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.errors import DataError, UserError
from corpus.executors import LOCAL, Executor
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.languages import check_language
from corpus.records import (
    BITEXT_SCHEMA,
    SENTENCES_SCHEMA,
    read_table,
    sentence_shards,
    write_bitext,
)
from mining.search.calibrated import calibration_file, mine_calibrated, write_calibration
from mining.search.config import MineConfig
from mining.search.known import KnownFiles, known_files, load_known
from mining.search.margin import Float32, Pairs

logger = logging.getLogger(__name__)

MINE_JOB = "mine"


class EmbeddedSentences(NamedTuple):
    """All sentences of a language, each once, in the order of their hashes."""

    sentences: pa.Table
    embeddings: Float32


def run_mine(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    output: Path,
    config: MineConfig,
    known: Path | None = None,
    executor: Executor = LOCAL,
) -> Summary:
    """Mine one language pair into a bitext file, with a calibration file beside it.

    Args:
        sentences: Directory of `tongues mining sentences`.
        embeddings: Directory of `tongues mining embed`.
        source: Source language.
        target: Target language.
        output: The bitext; `<name>.calibration.json` goes beside it.
        config: How pairs are found, scored and kept.
        known: Directory of `tongues mining embed-known`; without it nothing is known of precision.
        executor: Where it runs.

    Raises:
        UserError: If a language has no sentences, the languages are the same, or there are no known
            pairs where the config or the caller asks for them.
        JobError: If embeddings are missing or do not fit the sentences.
    """
    if config.target_precision is not None and known is None:
        raise UserError(
            f"`target_precision` is {config.target_precision}, and a threshold for it is found with"
            " known pairs: give them with --known (`tongues mining embed-known` makes them)"
        )
    for language in (source, target):
        check_language(language)
    if source == target:
        raise UserError(f"source and target are both `{source}`")
    shards = {language: sentence_shards(sentences, language) for language in (source, target)}
    vectors = {
        language: [embeddings / language / f"{path.stem}.npy" for path in paths]
        for language, paths in shards.items()
    }
    inputs = [path for paths in (*shards.values(), *vectors.values()) for path in paths]
    planted = known_files(known, source, target) if known else None
    if planted:
        inputs += planted[:2]
    name = output.name.split(".")[0]
    arguments = {"source": source, "target": target, "known": planted is not None}
    task = Task(name=name, inputs=tuple(inputs), arguments=arguments)
    work = functools.partial(
        _mine_pair, shards=shards, vectors=vectors, known=planted, output=output, config=config
    )
    return run_job(
        name=MINE_JOB,
        tasks=[task],
        work=work,
        output=output.parent,
        config=config,
        config_name=f"{name}.config.yaml",
        executor=executor,
    )


def _mine_pair(
    task: Task,
    *,
    shards: dict[str, list[Path]],
    vectors: dict[str, list[Path]],
    known: KnownFiles | None,
    output: Path,
    config: MineConfig,
) -> Outcome:
    source, target = (
        load_language(shards[task.arguments[side]], vectors[task.arguments[side]])
        for side in ("source", "target")
    )
    if not source.sentences.num_rows or not target.sentences.num_rows:
        raise DataError(f"{task.name}: one of the languages has no sentences left to pair")
    planted = None
    if known is not None:
        hashes = [side.sentences.column("hash").to_numpy() for side in (source, target)]
        planted = load_known(known, hashes[0], hashes[1], config.planted_pairs)
    mined = mine_calibrated(source.embeddings, target.embeddings, planted, config)
    pairs, threshold = mined.pairs, mined.threshold
    is_kept = pairs.score >= threshold
    kept = Pairs(pairs.source[is_kept], pairs.target[is_kept], pairs.score[is_kept])
    write_bitext(output, _as_bitext(source.sentences, target.sentences, kept))
    counts = {
        "source_sentences": source.sentences.num_rows,
        "target_sentences": target.sentences.num_rows,
        "candidate_pairs": len(pairs.score),
        "rejected.below_threshold": int((~is_kept).sum()),
        "pairs": len(kept.score),
        **(planted.counts if planted else {}),
    }
    facts = {"source": task.arguments["source"], "target": task.arguments["target"], **counts}
    beside = calibration_file(output)
    write_calibration(beside, mined, facts, config)
    return Outcome(counts=counts, outputs=(output, beside))


def load_language(shards: Sequence[Path], vectors: Sequence[Path]) -> EmbeddedSentences:
    """Load the sentences and embeddings of a language, each sentence once.

    Duplicates would fill each other's neighborhoods. The order is that of the hashes, so that
    nothing depends on how the sentences are sharded.

    Raises:
        DataError: If embeddings do not fit their sentences.
    """
    tables: list[pa.Table] = []
    matrices: list[npt.NDArray[np.float16]] = []
    for shard, path in zip(shards, vectors, strict=True):
        table = read_table(shard, SENTENCES_SCHEMA).select(SENTENCES_SCHEMA.names)
        try:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable .npy file: {error}") from error
        if matrix.ndim != 2 or len(matrix) != table.num_rows:
            raise DataError(
                f"{path} holds {len(matrix):,} rows but {shard} holds {table.num_rows:,} sentences."
                " The embedding was interrupted, or made from other sentences; delete it and rerun"
                " `tongues mining embed`, which redoes this shard."
            )
        if matrices and matrix.shape[1] != matrices[0].shape[1]:
            raise DataError(
                f"{path} has {matrix.shape[1]} columns, {vectors[0]} has {matrices[0].shape[1]};"
                " embed all shards with one encoder"
            )
        tables.append(table)
        matrices.append(matrix)
    sentences = pa.concat_tables(tables)
    hashes = sentences.column("hash").to_numpy()
    _, first = np.unique(hashes, return_index=True)
    embeddings = np.concatenate(matrices)[first].astype(np.float32)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return EmbeddedSentences(sentences.take(first), embeddings / np.maximum(norms, 1e-6))


def mine_pairs(source: Float32, target: Float32, config: MineConfig) -> Pairs:
    """Return the selected pairs of two sets of unit vectors, best first, below threshold too."""
    return mine_calibrated(source, target, None, config).pairs


def _as_bitext(source: pa.Table, target: pa.Table, pairs: Pairs) -> pa.Table:
    sources = source.take(pairs.source)
    targets = target.take(pairs.target)
    columns = [
        pa.array(pairs.score, pa.float32()),
        sources.column("text"),
        targets.column("text"),
        sources.column("document"),
        targets.column("document"),
    ]
    return pa.Table.from_arrays(columns, schema=BITEXT_SCHEMA)
