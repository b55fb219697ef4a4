"""Mining inside pairs of documents that are known to belong together (local mining)."""

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.bitext import check_bitext_name
from corpus.errors import DataError, UserError
from corpus.files import make_directory, read_lines
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_file_job
from corpus.records import take_sentences, write_bitext
from mining.search.config import LocalConfig
from mining.search.language_vectors import EmbeddedSentences, load_language
from mining.search.margin import Float32, Int64, Pairs, margin_scores, one_to_one, sort_pairs
from mining.search.mine import as_bitext
from mining.search.neighbors import as_vectors, find_neighbors
from mining.search.places import files_of, language_files
from mining.search.vectors import Vectors

logger = logging.getLogger(__name__)

LOCAL_JOB = "mine-local"


class _Side(NamedTuple):
    """The sentences of one language that lie in listed documents."""

    ids: Int64
    """Among all sentences of the language, ascending, [N]."""

    vectors: Vectors
    """[N, D]"""

    background: Float32
    """Cosines to their nearest of the other language's background, [N, k]."""

    is_background: npt.NDArray[np.bool_]
    """Whether a sentence is itself background for the other side, [N]."""

    documents: dict[str, Int64]
    """Places in `ids` of each document's sentences, in the order of the text."""


def run_mine_local(
    sentences: Path,
    embeddings: Path,
    source: str,
    target: str,
    documents: Path,
    output: Path,
    config: LocalConfig,
    executor: Executor = LOCAL,
) -> Summary:
    """Mine the pairs of documents that a file lists.

    Args:
        sentences: Directory of `tongues mining sentences`.
        embeddings: Directory of `tongues mining embed`.
        source: Source language.
        target: Target language.
        documents: TSV without a header: source document, target document (URL or id).
        output: The bitext.
        config: How pairs are scored and kept.
        executor: Where it runs.

    Raises:
        UserError: If a language or the list is missing, or the output's suffix is not a bitext's.
        JobError: If files do not fit each other, or the list is damaged.
    """
    shards, vectors = local_inputs(sentences, embeddings, source, target, documents, output)
    work = functools.partial(
        _mine_documents, shards=shards, vectors=vectors, output=output, config=config
    )
    return run_file_job(
        name=LOCAL_JOB,
        inputs=(documents, *files_of(shards, vectors)),
        work=work,
        output=output,
        config=config,
        arguments={"source": source, "target": target},
        executor=executor,
    )


def local_inputs(
    sentences: Path, embeddings: Path, source: str, target: str, documents: Path, output: Path
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the sentence shards and the embeddings of both languages.

    Raises:
        UserError: If a language or the list is missing, or the output's suffix is not a bitext's.
    """
    if not documents.is_file():
        raise UserError(f"the list of documents {documents} does not exist or is not a file")
    check_bitext_name(output)
    return language_files(sentences, embeddings, source, target)


def _mine_documents(
    task: Task,
    *,
    shards: dict[str, list[Path]],
    vectors: dict[str, list[Path]],
    output: Path,
    config: LocalConfig,
) -> Outcome:
    listed = read_document_pairs(task.inputs[0])
    make_directory(output.parent)
    loaded = [
        load_language(shards[language], vectors[language], output.parent)
        for language in (task.arguments["source"], task.arguments["target"])
    ]
    wanted = [{pair[side] for pair in listed} for side in (0, 1)]
    counts: Counter[str] = Counter({"document_pairs": len(listed)})
    for name in ("rejected.unknown_source_document", "rejected.unknown_target_document"):
        counts[name] = 0
    sides = [_take_side(loaded[i], wanted[i], loaded[1 - i], config) for i in (0, 1)]
    parts = []
    for source, target in listed:
        if source not in sides[0].documents:
            counts["rejected.unknown_source_document"] += 1
        elif target not in sides[1].documents:
            counts["rejected.unknown_target_document"] += 1
        else:
            parts.append(score_documents(sides[0], source, sides[1], target, config))
    pairs = one_to_one(sort_pairs(_join(parts)))
    is_kept = pairs.score >= config.margin_threshold
    kept = Pairs(
        sides[0].ids[pairs.source[is_kept]],
        sides[1].ids[pairs.target[is_kept]],
        pairs.score[is_kept],
    )
    write_bitext(output, as_bitext(loaded[0], loaded[1], kept))
    counts["candidate_pairs"] = len(pairs.score)
    counts["rejected.below_threshold"] = int((~is_kept).sum())
    counts["pairs"] = len(kept.score)
    return Outcome(counts=counts, outputs=(output,))


def read_document_pairs(path: Path) -> list[tuple[str, str]]:
    """Read pairs of documents, each once, in order.

    Raises:
        DataError: If a line has not two columns; the message names it.
    """
    pairs: dict[tuple[str, str], None] = {}
    for number, line in enumerate(read_lines(path), 1):
        columns = line.split("\t")
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"{path}:{number}: {line[:80]!r} is not a source document and a target document"
                " with a tab between"
            )
        pairs[columns[0], columns[1]] = None
    return list(pairs)


def _take_side(
    own: EmbeddedSentences, wanted: set[str], other: EmbeddedSentences, config: LocalConfig
) -> _Side:
    documents = _sentences_of(own, wanted)
    ids = np.unique(np.concatenate([np.empty(0, np.int64), *documents.values()]))
    vectors = as_vectors(own.vectors[ids], config)
    # Hashes are as good as random, so the lowest ones are a sample.
    background = as_vectors(other.vectors[: config.background], config)
    found = find_neighbors(vectors, background, config)
    places = {name: np.searchsorted(ids, rows) for name, rows in documents.items()}
    return _Side(ids, vectors, found.forward.cosines, ids < config.background, places)


def _sentences_of(sentences: EmbeddedSentences, wanted: set[str]) -> dict[str, Int64]:
    """Return the sentences of each wanted document that is there, in the order of the text."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    columns = ["document", "position"]
    for number, shard in enumerate(sentences.shards):
        ids = np.flatnonzero(sentences.shard == number)
        table = take_sentences(shard, columns, sentences.row[ids])
        rows = (table.column(name).to_pylist() for name in columns)
        for sentence, document, position in zip(ids.tolist(), *rows, strict=True):
            if document in wanted:
                places[document].append((position, sentence))
    return {
        name: np.array([sentence for _, sentence in sorted(found)], np.int64)
        for name, found in sorted(places.items())
    }


def score_documents(
    source: _Side, source_document: str, target: _Side, target_document: str, config: LocalConfig
) -> Pairs:
    """Score every sentence of one document with every one of another.

    A sentence's neighborhood is the background and the other document: its k nearest there.
    """
    rows, columns = source.documents[source_document], target.documents[target_document]
    left, right = (
        side.vectors.matrix[own].astype(np.float64) / side.vectors.norms[own, None]
        for side, own in ((source, rows), (target, columns))
    )
    cosines = (left @ right.T).astype(np.float32)
    k = config.neighbors
    own_mean = _mean_of_nearest(source.background[rows], cosines, target.is_background[columns], k)
    other_mean = _mean_of_nearest(
        target.background[columns], cosines.T, source.is_background[rows], k
    )
    scores = margin_scores(
        cosines,
        np.broadcast_to(own_mean[:, None], cosines.shape),
        np.broadcast_to(other_mean[None, :], cosines.shape),
        config.margin,
    )
    return Pairs(
        np.repeat(rows, len(columns)),
        np.tile(columns, len(rows)),
        np.ascontiguousarray(scores).reshape(-1),
    )


def _mean_of_nearest(
    background: Float32, cosines: Float32, is_background: npt.NDArray[np.bool_], neighbors: int
) -> Float32:
    """Return the mean of the highest cosines to background and document, each sentence once."""
    near = np.concatenate([background, cosines[:, ~is_background]], axis=1)
    count = min(neighbors, near.shape[1])
    highest = -np.sort(-near, axis=1)[:, :count]
    mean: Float32 = highest.mean(axis=1, dtype=np.float32)
    return mean


def _join(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([np.empty(0, np.int64), *(part.source for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.target for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.score for part in parts)]),
    )
