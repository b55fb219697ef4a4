"""Margins for an existing bitext.

Two jobs: the first embeds blocks of pairs, the second scores all of them.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.bitext import (
    BitextReader,
    bitext_paths,
    count_pairs,
    direction_of,
)
from corpus.errors import DataError, UserError
from corpus.files import make_directory, remove_parts
from corpus.jobs import (
    LOCAL,
    Executor,
    Outcome,
    Summary,
    Task,
    check_digests,
    has_receipt,
    run_job,
)
from corpus.records import read_bitext, write_bitext
from corpus.text import sentence_hash
from mining.bitext.config import ScoreConfig
from mining.bitext.files import check_files
from mining.embeddings import open_array, write_array
from mining.encoders import Encoder, load_encoder
from mining.encoders.embed import runs_on_gpu
from mining.encoders.embed_known import pair_encoder_files
from mining.search.kernel import Float16
from mining.search.margin import Float32, Int64, margin_scores, neighborhood_means
from mining.search.neighbors import as_vectors, find_neighbors
from mining.search.vectors import Vectors, row_blocks, scratch_array

SCORE_JOB = "score"
SCORE_EMBED_JOB = "score-embed"
BLOCK_PAIRS = 1 << 16
"""Pairs that are embedded at a time: seconds of a core for a `bag` encoder."""

_PARTS = ".score"
_ROWS = 1 << 13
_SIDES = ("source", "target")


class Texts(NamedTuple):
    """The different texts of one side."""

    place: Int64
    """Of each pair, among the texts, [P]."""

    vectors: Vectors
    """[N, D]"""

    chosen: Int64
    """One text of each sentence key: copies would fill the neighborhoods."""


def run_score(
    bitext: Path,
    encoder: Path,
    output: Path,
    config: ScoreConfig,
    executor: Executor = LOCAL,
    *,
    keep_parts: bool = False,
) -> Summary:
    """Write a bitext with the margins of its pairs as scores, all else as it was.

    Args:
        bitext: Sentence pairs.
        encoder: Encoder directory.
        output: The same pairs in the same order.
        config: Which margin, and of which neighborhoods.
        executor: Where it runs.
        keep_parts: Whether the vectors stay on disk.

    Raises:
        UserError: If the bitext or the encoder is missing, or output and input are one file.
        DataError: If a line of the bitext is not a pair.
        JobError: If the bitext cannot be read.
    """
    files = score_inputs(bitext, encoder, output, config)
    name = output.name.split(".")[0]
    task = Task(name=name, inputs=files, arguments={"output": output.name})
    parts = output.parent / _PARTS
    run = functools.partial(
        run_job,
        output=output.parent,
        config=config,
        config_name=f"{name}.config.yaml",
        executor=executor,
    )
    blocks = range(-(-count_pairs(bitext, config.columns) // BLOCK_PAIRS))
    embedded = [
        Task(name=f"{name}/{block:05}", inputs=files, arguments={"first": block * BLOCK_PAIRS})
        for block in blocks
    ]
    if not has_receipt(SCORE_JOB, task, output.parent, config):
        on_gpu = runs_on_gpu(config.embed)
        run(
            name=SCORE_EMBED_JOB,
            tasks=embedded,
            work=functools.partial(_embed_block, encoder=encoder, parts=parts, config=config),
            workers=1 if on_gpu else config.embed.workers,
            gpus=1 if on_gpu else 0,
        )
    work = functools.partial(
        _score_file, parts=[parts / one.name for one in embedded], output=output, config=config
    )
    summary = run(name=SCORE_JOB, tasks=[task], work=work)
    if not keep_parts:
        remove_parts(parts / name)
    return summary


def score_inputs(
    bitext: Path, encoder: Path, output: Path, config: ScoreConfig
) -> tuple[Path, ...]:
    """Return the files that the scores of a bitext depend on: itself, and its encoders'.

    Raises:
        UserError: If the bitext or the encoder is missing, or output and input are one file.
    """
    check_files(bitext, output)
    direction = direction_of(bitext)
    if direction is None and config.encoders:
        raise UserError(
            f"{bitext} is not named <source>-<target>, so that it is not known which of `encoders`"
            " are for it; rename it"
        )
    files = pair_encoder_files(
        direction, encoder, config.encoders, all_languages=config.embed.all_languages
    )
    return (*bitext_paths(bitext, direction), *files)


def _read_block(path: Path, first: int, columns: Mapping[str, str]) -> pa.Table:
    """Return a block of a file's pairs, without those that lack a side."""
    reader, parts, start = BitextReader(path, columns=columns), [], 0
    for table in reader:
        parts.append(table[max(0, first - start) : max(0, first + BLOCK_PAIRS - start)])
        start += table.num_rows
        if start >= first + BLOCK_PAIRS:
            break
    return _whole_pairs(pa.concat_tables(parts))


def _whole_pairs(table: pa.Table) -> pa.Table:
    whole = [pc.greater(pc.utf8_length(table.column(name)), 0) for name in _SIDES]
    return table.filter(pc.and_(*whole))  # a side that is null is dropped as well


def _side_path(part: Path, side: int) -> Path:
    return part.with_name(f"{part.name}.{_SIDES[side]}.npy")


@functools.lru_cache(maxsize=2)
def _encoder(path: Path, device: str, batch_tokens: int) -> Encoder:
    """Load an encoder once per process instead of once per block."""
    return load_encoder(path, threads=1, device=device, batch_tokens=batch_tokens)


def _embed_block(task: Task, *, encoder: Path, parts: Path, config: ScoreConfig) -> Outcome:
    """Write the vectors of a block's different texts, sorted, side by side."""
    table = _read_block(task.inputs[0], task.arguments["first"], config.columns)
    languages = direction_of(task.inputs[0]) or ("", "")
    own = [config.encoders.get(language, encoder) for language in languages]
    outputs = []
    for side, name in enumerate(_SIDES):
        loaded = _encoder(own[side], config.embed.device, config.embed.batch_tokens)
        texts = different(table.column(name).to_pylist())
        matrix = np.empty((len(texts), loaded.dimension), np.float16)
        for rows in row_blocks(len(texts), _ROWS):
            matrix[rows] = loaded.encode(texts[rows], languages[side])
        outputs.append(_side_path(parts / task.name, side))
        write_array(outputs[-1], matrix)
    return Outcome(counts={"pairs": table.num_rows}, outputs=tuple(outputs))


def different(texts: Sequence[str]) -> list[str]:
    """Return the different ones of some texts, sorted."""
    return sorted(set(texts))


def _score_file(task: Task, *, parts: Sequence[Path], output: Path, config: ScoreConfig) -> Outcome:
    table = read_bitext(task.inputs[0], config.columns)
    tables = [_whole_pairs(table[rows]) for rows in row_blocks(table.num_rows, BLOCK_PAIRS)]
    kept = _whole_pairs(table)
    counts = {"pairs": kept.num_rows, "rejected.empty": table.num_rows - kept.num_rows}
    make_directory(output.parent)
    margins = np.empty(0, np.float32)
    if kept.num_rows:
        sides = [_gather(tables, parts, side, output.parent, config) for side in (0, 1)]
        margins = score_pairs(sides[0], sides[1], config, output.parent)
    scores = pa.array(margins, pa.float32())
    if "score" in kept.column_names:
        kept = kept.set_column(kept.column_names.index("score"), "score", scores)
    else:
        kept = kept.add_column(0, "score", scores)
    write_bitext(output, kept)
    return Outcome(counts=counts, outputs=(output,))


def _gather(
    tables: Sequence[pa.Table], parts: Sequence[Path], side: int, scratch: Path, config: ScoreConfig
) -> Texts:
    """Return a side's texts with the vectors that its blocks were given."""
    by_block = [table.column(_SIDES[side]).to_pylist() for table in tables]
    lines = [text for texts in by_block for text in texts]
    texts = different(lines)
    places = {text: place for place, text in enumerate(texts)}
    matrix: Float16 | None = None
    for own, part in zip(map(different, by_block), parts, strict=True):
        task = f"{part.parent.name}/{part.name}"
        check_digests([_side_path(part, side)], scratch, SCORE_EMBED_JOB, [task])
        vectors = _load(_side_path(part, side), len(own))
        if matrix is None:
            matrix = scratch_array((len(texts), vectors.shape[1]), np.float16, scratch)
        matrix[[places[text] for text in own]] = vectors
    assert matrix is not None
    return as_texts(lines, texts, matrix, config)


def _load(path: Path, count: int) -> Float16:
    vectors: Float16 = open_array(path)
    if vectors.ndim != 2 or len(vectors) != count:
        raise DataError(f"{path} is not of {count:,} texts; delete it and run again")
    return vectors


def as_texts(
    lines: Sequence[str], texts: Sequence[str], matrix: Float16, config: ScoreConfig
) -> Texts:
    """Return a side of a bitext: its lines, its different texts and their vectors, [N, D]."""
    places = {text: place for place, text in enumerate(texts)}
    hashes = np.array([sentence_hash(text) for text in texts], np.uint64)
    _, first = np.unique(hashes, return_index=True)
    place = np.array([places[line] for line in lines], np.int64)
    return Texts(place, as_vectors(matrix, config), first)


def score_pairs(
    source: Texts, target: Texts, config: ScoreConfig, scratch: Path | None = None
) -> Float32:
    """Return the margin of each pair; neighborhoods are the other side's sentences, each once."""
    source_mean = _means(source, target, config, scratch)
    target_mean = _means(target, source, config, scratch)
    scores = np.empty(len(source.place), np.float32)
    for rows in row_blocks(len(scores), _ROWS):
        left, right = source.place[rows], target.place[rows]
        products = np.einsum(
            "pd,pd->p",
            source.vectors.matrix[left].astype(np.float64),
            target.vectors.matrix[right].astype(np.float64),
        )
        norms = source.vectors.norms[left] * target.vectors.norms[right]
        cosines = (products / norms).astype(np.float32)
        scores[rows] = margin_scores(cosines, source_mean[left], target_mean[right], config.margin)
    return scores


def _means(own: Texts, other: Texts, config: ScoreConfig, scratch: Path | None) -> Float32:
    chosen = Vectors(other.vectors.matrix[other.chosen], other.vectors.norms[other.chosen])
    return neighborhood_means(find_neighbors(own.vectors, chosen, config, scratch).forward)
