"""What `tongues mining train-index` will cost: the command with fewer clusters and vectors."""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corpus.files import make_directory, read_json, write_json
from corpus.jobs import Cut, Price, Trial, finished, price_job
from mining.embeddings import open_embeddings
from mining.parts import copy_embeddings
from mining.search.config import IndexConfig
from mining.search.train_index import (
    INDEX_FOLDER,
    INDEX_JOB,
    check_enough,
    index_inputs,
    run_train_index,
    trained_vectors,
)

_FIRST_COMPARISONS = 1 << 20
_SIZES = "sizes.json"
_TASK = "shared"
_FLOAT_BYTES = 4
_CODES = 16
"""Vectors that a code of four bits stands for, in every part of the width."""


def price_train_index(
    embeddings: Path, config: IndexConfig, languages: Sequence[str] = ()
) -> Price:
    """Measure what training the index will cost.

    The unit is a comparison of a vector with a cluster, since every one is compared with all.

    Raises:
        UserError: If there are no embeddings, or fewer than the clusters.
        DataError: If they cannot be read.
    """
    files = index_inputs(embeddings, languages)
    vectors = trained_vectors(files, config.training_vectors)
    check_enough(vectors, config.clusters)
    width = open_embeddings(files[0]).dimension
    return price_job(
        Trial(
            command="mining train-index",
            unit="comparisons",
            shards={_TASK: vectors * config.clusters},
            done=finished(embeddings / INDEX_FOLDER, INDEX_JOB, [_TASK]),
            cut=functools.partial(_cut, files=files, vectors=vectors, clusters=config.clusters),
            run=functools.partial(_run_part, config=config),
            first=_FIRST_COMPARISONS,
            workers=1,
            counts=("vectors", "clusters"),
            row_exponent=0.5,
            disk_bytes=(config.clusters + _CODES) * width * _FLOAT_BYTES,
        )
    )


def _run_part(part: Path, output: Path, *, config: IndexConfig) -> None:
    make_directory(output)
    (part / INDEX_FOLDER).symlink_to(output.resolve())
    sizes = read_json(part / _SIZES)
    run_train_index(part, replace(config, **sizes))


def _cut(size: int, folder: Path, *, files: Sequence[Path], vectors: int, clusters: int) -> Cut:
    """Write the first vectors of every shard: as large a share, or as many as are trained on."""
    root = math.sqrt(size / (vectors * clusters))
    wanted = max(1, round(vectors * root))
    total = sum(len(open_embeddings(path)) for path in files)
    share = min(1.0, max(root * root, wanted / max(1, total)))
    copies = [folder / path.parent.name / path.name for path in files]
    for path, copy in zip(files, copies, strict=True):
        copy_embeddings(path, copy, slice(0, math.ceil(len(open_embeddings(path)) * share)))
    there = trained_vectors(copies, wanted)
    fewer = max(1, min(there, round(clusters * root)))
    write_json(folder / _SIZES, {"clusters": fewer, "training_vectors": wanted})
    return Cut(there * fewer, there * fewer)
