"""Above a million sentences: one index, trained once over all languages, filled a block at a time.

Clusters and codes are learned once from vectors of all languages, not for each pair. To mine a
pair, the trained index is filled with a block of one language, searched with all of the other, and
emptied; what it finds is scored in full precision, since margins of the index's own distances would
cost several points of F1.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corpus import stores
from corpus.errors import DataError, UserError
from corpus.files import atomic_path, read_object, write_json
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, check_digests, run_job
from corpus.languages import check_language, is_language
from mining.embeddings import check_embeddings, embedding_files, open_embeddings, unit
from mining.search.config import IndexConfig, SearchConfig
from mining.search.kernel import Best, Float16
from mining.search.language_vectors import take_float16
from mining.search.margin import Float32, Neighbors
from mining.search.vectors import Products, Vectors, row_blocks, scratch_array

logger = logging.getLogger(__name__)

INDEX_FOLDER = "index"
INDEX_JOB = "train-index"
_INDEX_TASK = "shared"
_INDEX_FILE, _DESCRIPTION = "shared.faiss", "shared.json"
_SPARE = 28
_QUERIES = 1 << 12
_ADDED = 1 << 14


def run_train_index(
    embeddings: Path, config: IndexConfig, languages: Sequence[str] = (), executor: Executor = LOCAL
) -> Summary:
    """Train an index on vectors of all languages, or of some, to `embeddings/index/`.

    Raises:
        UserError: If there are no embeddings, or fewer than the clusters.
        JobError: If they cannot be read.
    """
    files = index_inputs(embeddings, languages)
    check_enough(trained_vectors(files, config.training_vectors), config.clusters)
    output = embeddings / INDEX_FOLDER
    inputs = tuple(part for path in files for part in embedding_files(path))
    task = Task(name=_INDEX_TASK, inputs=inputs)
    work = functools.partial(_train, files=files, output=output, config=config)
    return run_job(
        name=INDEX_JOB,
        tasks=[task],
        work=work,
        output=output,
        config=config,
        executor=executor,
    )


def index_inputs(embeddings: Path, languages: Sequence[str] = ()) -> list[Path]:
    """Return the embedding files of all languages, or of some.

    Raises:
        UserError: If a language has none, or there are none.
    """
    for language in languages:
        check_language(language)
        if not any((embeddings / language).glob("[!.]*.npy")):
            raise UserError(f"{embeddings} holds no embeddings of `{language}`")
    found = list(dict.fromkeys(languages)) or sorted(
        path.name for path in embeddings.glob("*") if is_language(path.name)
    )
    files = [path for name in found for path in sorted((embeddings / name).glob("[!.]*.npy"))]
    if not files:
        raise UserError(f"{embeddings} holds no embeddings; `tongues mining embed` makes them")
    return files


def trained_vectors(files: Sequence[Path], most: int) -> int:
    """Return how many vectors of some files are trained on, where `most` are asked for.

    Raises:
        DataError: If one cannot be read.
    """
    languages = _by_language(files).values()
    each = -(-most // len(languages))
    totals = [sum(len(open_embeddings(path)) for path in paths) for paths in languages]
    return sum(-(-total // _step(total, each)) for total in totals)


def check_enough(vectors: int, clusters: int) -> None:
    """Refuse to learn more clusters than there are vectors.

    Raises:
        UserError: Saying what to do.
    """
    if vectors < clusters:
        raise UserError(
            f"{vectors:,} vectors are fewer than the {clusters:,} clusters; lower `clusters`, or"
            " mine so few sentences with `plan: exact`"
        )


def _by_language(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(path.parent.name, []).append(path)
    return found


def _step(total: int, most: int) -> int:
    return max(1, -(-total // most))


def _train(task: Task, *, files: Sequence[Path], output: Path, config: IndexConfig) -> Outcome:
    from mining.search.index import train_index, write_index

    check_embeddings(files)
    by_language = _by_language(files)
    each = -(-config.training_vectors // len(by_language))
    sample = np.concatenate([_sample(paths, each) for paths in by_language.values()])
    clusters = config.clusters
    index = train_index(sample, clusters)
    outputs = (output / _INDEX_FILE, output / _DESCRIPTION)
    with atomic_path(outputs[0]) as temporary:
        write_index(index, temporary)
    facts = {"dimension": sample.shape[1], "clusters": clusters, "vectors": len(sample)}
    write_json(outputs[1], {**facts, "languages": sorted(by_language)})
    return Outcome(counts={"vectors": len(sample), "clusters": clusters}, outputs=outputs)


def _sample(paths: Sequence[Path], most: int) -> Float32:
    """Return evenly spaced unit vectors of a language's shards."""
    matrices = [open_embeddings(path) for path in paths]
    total = sum(map(len, matrices))
    step = _step(total, most)
    units = []
    first = 0
    for matrix in matrices:
        rows = np.arange(first, len(matrix), step)
        first = (first - len(matrix)) % step
        units.append(unit(take_float16(matrix, rows).astype(np.float32)))
    return np.concatenate(units)


def index_files(embeddings: Path) -> tuple[Path, ...]:
    """Return the files of the index that was trained on these embeddings.

    Raises:
        UserError: If there is none.
    """
    stores.pull(embeddings / INDEX_FOLDER)
    files = tuple(embeddings / INDEX_FOLDER / name for name in (_INDEX_FILE, _DESCRIPTION))
    if not all(path.is_file() for path in files):
        raise UserError(
            f"{embeddings} has no index for so many sentences. Train one, for all language pairs,"
            " with `tongues mining train-index`, or search exactly with `--config plan=exact`."
        )
    return files


def check_index(index: Path) -> None:
    """Refuse an index that changed after `tongues mining train-index` wrote it.

    Raises:
        DataError: Naming the file and both digests.
    """
    files = [index, index.with_name(_DESCRIPTION)]
    check_digests(files, index.parent, INDEX_JOB, [_INDEX_TASK])


def indexed_neighbors(
    source: Vectors,
    target: Vectors,
    index: Path,
    products: Products,
    config: SearchConfig,
    scratch: Path | None = None,
) -> tuple[Neighbors, Neighbors]:
    """Return the nearest targets of all sources and the other way round, as the index finds them.

    Args:
        source: [N, D]
        target: [M, D]
        index: What `index_files` returned first.
        products: What scores the finds in full precision.
        config: k, probes, block and threads.
        scratch: A folder for what is kept of every sentence.

    Raises:
        DataError: If the index is of another width, or damaged.
    """
    width = read_object(index.with_name(_DESCRIPTION), dimension=int)["dimension"]
    if width != source.matrix.shape[1]:
        raise DataError(
            f"{index} is for {width} columns and the embeddings have {source.matrix.shape[1]};"
            " train it again with `tongues mining train-index`"
        )
    forward, backward = (
        _one_way(*sides, index, products, config, scratch)
        for sides in ((source, target), (target, source))
    )
    return forward, backward


def _one_way(
    queries: Vectors,
    candidates: Vectors,
    index: Path,
    products: Products,
    config: SearchConfig,
    scratch: Path | None,
) -> Neighbors:
    from mining.search.index import FilledIndex, read_index

    check_index(index)
    count, kept = len(queries.matrix), config.neighbors + _SPARE
    best = Best(
        scratch_array((count, kept), np.float32, scratch),
        scratch_array((count, kept), np.int32, scratch),
    )
    for rows in row_blocks(count, _QUERIES):
        best.scores[rows], best.ids[rows] = -np.inf, -1
    trained = read_index(index)
    # Blocks of a fixed size: which of equal codes are kept must not depend on memory.
    for block in row_blocks(len(candidates.matrix), config.index_block):
        filled = FilledIndex(trained, probes=config.probes, threads=config.threads)
        for part in row_blocks(block.stop - block.start, _ADDED):
            own = slice(block.start + part.start, block.start + part.stop)
            filled.add(unit_vectors(candidates, own))
        for rows in row_blocks(count, _QUERIES):
            own_best = Best(best.scores[rows], best.ids[rows])
            filled.offer(unit_vectors(queries, rows), own_best, block.start)
    near = min(config.neighbors, len(candidates.matrix))
    found = Neighbors(
        scratch_array((count, near), np.int64, scratch),
        scratch_array((count, near), np.float32, scratch),
    )
    for rows in row_blocks(count, _QUERIES):
        own_best = Best(best.scores[rows], best.ids[rows])
        # Everything that was kept is scored: the distances of codes bound nothing.
        slack = np.full(rows.stop - rows.start, np.inf, np.float32)
        result, _ = products.rescore(
            queries.matrix[rows], queries.norms[rows], *candidates, own_best, slack, near
        )
        found.ids[rows], found.cosines[rows] = result
    return found


def unit_vectors(vectors: Vectors, rows: slice) -> Float32:
    """Return some vectors in float32, divided by their lengths."""
    matrix: Float16 = vectors.matrix[rows]
    return np.ascontiguousarray(matrix / vectors.norms[rows, None], np.float32)
