"""What `tongues mining train-index` will cost: the command with fewer clusters and vectors."""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corpus.files import make_directory, read_json, write_json
from corpus.prices import Price
from corpus.pricing import Cut, Trial, finished, price_job
from mining.embeddings import open_embeddings
from mining.parts import copy_embeddings
from mining.search.config import IndexConfig
from mining.search.ivf import INDEX_FOLDER, INDEX_JOB, index_inputs, run_train_index

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
        UserError: If there are no embeddings.
        DataError: If they cannot be read.
    """
    files = index_inputs(embeddings, languages)
    opened = [open_embeddings(path) for path in files]
    vectors = min(config.training_vectors, sum(map(len, opened)))
    width = opened[0].dimension
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
    fewer = max(1, round(clusters * root)), max(1, round(vectors * root))
    total = sum(len(open_embeddings(path)) for path in files)
    share = min(1.0, max(root * root, fewer[1] / max(1, total)))
    for path in files:
        rows = slice(0, math.ceil(len(open_embeddings(path)) * share))
        copy_embeddings(path, folder / path.parent.name / path.name, rows)
    write_json(folder / _SIZES, {"clusters": fewer[0], "training_vectors": fewer[1]})
    return Cut(math.prod(fewer), math.prod(fewer))
