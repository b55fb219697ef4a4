"""Margins for a bitext that is there already."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpus.bitext import check_bitext_name, direction_of
from corpus.errors import DataError, UserError
from corpus.executors import LOCAL, Executor
from corpus.jobs import Outcome, Summary, Task, run_job
from corpus.records import read_bitext, write_bitext
from corpus.text import sentence_hash
from mining.encoders import Encoder, load_encoder
from mining.search.encoder_config import ScoreConfig
from mining.search.known import pair_encoder_files
from mining.search.margin import Float32, Int64, margin_scores, neighborhood_means
from mining.search.neighbors import as_vectors, find_neighbors
from mining.search.vectors import Vectors, row_blocks

_ROWS = 1 << 13


class _Texts(NamedTuple):
    """The different texts of one side."""

    place: Int64
    """Of each pair, among the texts, [P]."""

    vectors: Vectors
    """[N, D]"""

    chosen: Int64
    """One text of each sentence key: copies would fill the neighborhoods."""


def run_score(
    bitext: Path, encoder: Path, output: Path, config: ScoreConfig, executor: Executor = LOCAL
) -> Summary:
    """Write a bitext with the margins of its pairs as scores, all else as it was.

    Args:
        bitext: Sentence pairs.
        encoder: Encoder directory.
        output: The same pairs in the same order.
        config: Which margin, and of which neighborhoods.
        executor: Where it runs.

    Raises:
        UserError: If the bitext or the encoder is missing, or output and input are one file.
        JobError: If the bitext cannot be read.
    """
    if not bitext.is_file():
        raise UserError(f"bitext {bitext} does not exist")
    check_bitext_name(output)
    if bitext.resolve() == output.resolve():
        raise UserError(f"{output} is the input; choose another output")
    name = output.name.split(".")[0]
    direction = direction_of(bitext)
    if direction is None and config.encoders:
        raise UserError(
            f"{bitext} is not named <source>-<target>, so that it is not known which of `encoders`"
            " are for it; rename it"
        )
    files = pair_encoder_files(direction, encoder, config.encoders)
    task = Task(name=name, inputs=(bitext, *files))
    work = functools.partial(_score_file, encoder=encoder, output=output, config=config)
    return run_job(
        name="score", tasks=[task], work=work, output=output.parent, config=config,
        config_name=f"{name}.config.yaml", executor=executor,
    )  # fmt: skip


def _score_file(task: Task, *, encoder: Path, output: Path, config: ScoreConfig) -> Outcome:
    table = read_bitext(task.inputs[0])
    sides = [table.column(name).to_pylist() for name in ("source", "target")]
    is_whole = [bool(source and target) for source, target in zip(*sides, strict=True)]
    kept = table.filter(pa.array(is_whole, pa.bool_()))
    counts = {"pairs": kept.num_rows, "rejected.empty": table.num_rows - kept.num_rows}
    if not kept.num_rows:
        raise DataError(f"{task.inputs[0]} holds no pair with both sides")
    texts = [kept.column(name).to_pylist() for name in ("source", "target")]
    own = [config.encoders.get(one, encoder) for one in direction_of(task.inputs[0]) or ("", "")]
    load = functools.partial(
        load_encoder, threads=1, device=config.embed.device, batch_tokens=config.embed.batch_tokens
    )
    loaded = {path: load(path) for path in own}
    margins = score_pairs(texts[0], texts[1], loaded[own[0]], loaded[own[1]], config)
    scores = pa.array(margins, pa.float32())
    if "score" in kept.column_names:
        kept = kept.set_column(kept.column_names.index("score"), "score", scores)
    else:
        kept = kept.add_column(0, "score", scores)
    write_bitext(output, kept)
    return Outcome(counts=counts, outputs=(output,))


def score_pairs(
    sources: Sequence[str],
    targets: Sequence[str],
    source_encoder: Encoder,
    target_encoder: Encoder,
    config: ScoreConfig,
) -> Float32:
    """Return the margin of each pair; neighborhoods are the other side's sentences, each once."""
    source = _embed_side(sources, source_encoder, config)
    target = _embed_side(targets, target_encoder, config)
    source_mean = _means(source, target, config)
    target_mean = _means(target, source, config)
    scores = np.empty(len(sources), np.float32)
    for rows in row_blocks(len(scores), _ROWS):
        left, right = source.place[rows], target.place[rows]
        products = np.einsum(
            "pd,pd->p", source.vectors.matrix[left].astype(np.float64),
            target.vectors.matrix[right].astype(np.float64),
        )  # fmt: skip
        norms = source.vectors.norms[left] * target.vectors.norms[right]
        cosines = (products / norms).astype(np.float32)
        scores[rows] = margin_scores(cosines, source_mean[left], target_mean[right], config.margin)
    return scores


def _embed_side(lines: Sequence[str], encoder: Encoder, config: ScoreConfig) -> _Texts:
    texts = sorted(set(lines))
    matrix = np.empty((len(texts), encoder.dimension), np.float16)
    for rows in row_blocks(len(texts), _ROWS):
        matrix[rows] = encoder.encode(texts[rows])
    places = {text: place for place, text in enumerate(texts)}
    hashes = np.array([sentence_hash(text) for text in texts], np.uint64)
    _, first = np.unique(hashes, return_index=True)
    place = np.array([places[line] for line in lines], np.int64)
    return _Texts(place, as_vectors(matrix, config), first)


def _means(own: _Texts, other: _Texts, config: ScoreConfig) -> Float32:
    chosen = Vectors(other.vectors.matrix[other.chosen], other.vectors.norms[other.chosen])
    return neighborhood_means(find_neighbors(own.vectors, chosen, config).forward)
