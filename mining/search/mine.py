"""Sentences and embeddings of two languages to scored pairs."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.bitext import check_bitext_name
from corpus.errors import DataError, UserError
from corpus.files import make_directory
from corpus.jobs import CONFIG_FILE, LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import Direction, check_language
from corpus.records import BITEXT_SCHEMA, count_rows, sentence_shards, write_bitext
from mining.embeddings import SPACE_FILE, check_one_space, embedding_files
from mining.search.config import MineConfig
from mining.search.known_pairs import (
    KNOWN_SPACE_SUFFIX,
    KnownFiles,
    has_known,
    known_files,
    load_known,
)
from mining.search.language_vectors import EmbeddedSentences, load_language
from mining.search.margin import Pairs
from mining.search.mine_calibrated import calibration_file, mine_calibrated, write_calibration
from mining.search.neighbors import as_vectors, uses_index
from mining.search.train_index import index_files

logger = logging.getLogger(__name__)

MINE_JOB = "mine"

_LANGUAGES_KEPT = 4
"""Languages that a process keeps between language pairs: their vectors, in files without names."""


class _Files(NamedTuple):
    """What a language pair is mined from."""

    shards: dict[str, list[Path]]
    """Sentence shards of both languages."""

    vectors: dict[str, list[Path]]
    """Their embeddings."""

    known: KnownFiles | None
    shared_index: tuple[Path, ...]
    """Files of the shared index, where it is searched."""


class MinePlaces(NamedTuple):
    """Directories of mining."""

    sentences: Path
    """Of `tongues mining sentences`."""

    embeddings: Path
    """Of `tongues mining embed`."""

    output: Path
    """Of the bitext."""

    known: Path | None = None
    """Of `tongues mining embed-known`."""

    def files(self, direction: Direction, config: MineConfig) -> _Files:
        """Return what a language pair is mined from.

        Raises:
            UserError: If a language has no sentences, or there are no known pairs of the direction.
        """
        source, target = direction
        shards, vectors = language_files(self.sentences, self.embeddings, source, target)
        largest = max(sum(map(count_rows, paths)) for paths in shards.values())
        return _Files(
            shards,
            vectors,
            known_files(self.known, source, target) if self.known else None,
            index_files(self.embeddings) if uses_index(config, largest) else (),
        )


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
        known: Directory of `tongues mining embed-known`; without it, and without a threshold, the
            most mutual pairs are what is calibrated with.
        executor: Where it runs.

    Raises:
        UserError: If a language has no sentences, the languages are the same, nothing could decide
            on a threshold, there are no known pairs where the caller asks for them, they are of an
            encoder of another space, or the output has not the suffix of a bitext.
        JobError: If embeddings are missing or do not fit the sentences.
    """
    check_bitext_name(output)
    places = MinePlaces(sentences, embeddings, output.parent, known)
    tasks = [_task(places, Direction(source, target), output.name, config)]
    return _run(tasks, places, config, f"{tasks[0].name}.config.yaml", executor)


def run_mine_pairs(
    places: MinePlaces,
    directions: Sequence[Direction],
    config: MineConfig,
    *,
    workers: int = 1,
    executor: Executor = LOCAL,
) -> Summary:
    """Mine many language pairs, each into `<source>-<target>.parquet`, as one job.

    The largest pairs come first, so that none of them is what all others have been done before. A
    process keeps the languages that it read last: their vectors are read once for the partners
    that it mines them with.

    Args:
        places: Directories; known pairs calibrate the directions that there are known pairs of.
        directions: The language pairs, each once.
        config: How pairs are found, scored and kept.
        workers: Processes, each with a language pair.
        executor: Where it runs.

    Raises:
        UserError: As `run_mine`.
        JobError: If language pairs failed; the others are done.
    """
    sizes = {
        language: sum(map(count_rows, sentence_shards(places.sentences, language)))
        for language in {language for direction in directions for language in direction}
    }
    ordered = sorted(
        directions, key=lambda pair: (-sizes[pair.source] * sizes[pair.target], str(pair))
    )
    tasks = [
        _task(
            places if has_known(places.known, direction) else places._replace(known=None),
            direction,
            f"{direction}.parquet",
            config,
        )
        for direction in ordered
    ]
    return _run(tasks, places, config, CONFIG_FILE, executor, workers)


def _task(places: MinePlaces, direction: Direction, output: str, config: MineConfig) -> Task:
    """Return the task of a language pair, after checks that need no reading.

    Raises:
        UserError: As `run_mine`.
    """
    source, target = direction
    check_threshold(config, is_known=places.known is not None)
    files = places.files(direction, config)
    inputs = [path for paths in files.shards.values() for path in paths]
    inputs += [
        part for paths in files.vectors.values() for path in paths for part in embedding_files(path)
    ]
    if files.known:
        inputs += files.known[:2]
        folder = places.embeddings / source
        check_one_space([folder / SPACE_FILE, files.known[0].with_suffix(KNOWN_SPACE_SUFFIX)])
    arguments = {
        "source": source, "target": target, "known": files.known is not None, "output": output,
    }  # fmt: skip
    return Task(
        name=output.split(".")[0], inputs=(*inputs, *files.shared_index), arguments=arguments
    )


def _run(
    tasks: Sequence[Task],
    places: MinePlaces,
    config: MineConfig,
    config_name: str,
    executor: Executor,
    workers: int = 1,
) -> Summary:
    return run_job(
        name=MINE_JOB,
        tasks=tasks,
        work=functools.partial(_mine_pair, places=places, config=config),
        output=places.output,
        config=config,
        workers=workers,
        config_name=config_name,
        executor=executor,
    )


def check_threshold(config: MineConfig, *, is_known: bool) -> None:
    """Refuse a retrieval whose threshold could not be found.

    Raises:
        UserError: If it is not one-to-one, and there are neither known pairs nor a threshold.
    """
    is_given = config.margin_threshold is not None and config.target_precision is None
    if config.retrieval not in ("max", "intersect") and not (is_known or is_given):
        raise UserError(
            f"with `retrieval` {config.retrieval} a threshold is found with known pairs only: give"
            " them with --known (`tongues mining embed-known` makes them), or set"
            " `margin_threshold`"
        )


def language_files(
    sentences: Path, embeddings: Path, source: str, target: str
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the sentence shards and the embeddings of two languages.

    Raises:
        UserError: If a language has no sentences, the languages are the same, or their encoders are
            of different spaces.
    """
    for language in (source, target):
        check_language(language)
    if source == target:
        raise UserError(f"source and target are both `{source}`")
    shards = {language: sentence_shards(sentences, language) for language in (source, target)}
    check_one_space([embeddings / language / SPACE_FILE for language in (source, target)])
    vectors = {
        language: [embeddings / language / f"{path.stem}.npy" for path in paths]
        for language, paths in shards.items()
    }
    return shards, vectors


def _mine_pair(task: Task, *, places: MinePlaces, config: MineConfig) -> Outcome:
    output = places.output / task.arguments["output"]
    scratch = output.parent
    make_directory(scratch)
    direction = Direction(task.arguments["source"], task.arguments["target"])
    if not task.arguments["known"]:
        places = places._replace(known=None)
    files = places.files(direction, config)
    source, target = (
        _load(files.shards[language], files.vectors[language], scratch) for language in direction
    )
    sizes = len(source.hashes), len(target.hashes)
    if not all(sizes):
        raise DataError(f"{task.name}: one of the languages has no sentences left to pair")
    planted = None
    if files.known is not None:
        planted = load_known(files.known, source.hashes, target.hashes, config.planted_pairs)
    sides = [
        as_vectors(side.vectors, config, f"embeddings of {language}")
        for language, side in zip(direction, (source, target), strict=True)
    ]
    index = files.shared_index[0] if files.shared_index else None
    mined = mine_calibrated(sides[0], sides[1], planted, config, scratch, index)
    pairs, threshold = mined.pairs, mined.threshold
    is_kept = pairs.score >= threshold
    kept = Pairs(pairs.source[is_kept], pairs.target[is_kept], pairs.score[is_kept])
    write_bitext(output, as_bitext(source, target, kept, positions=config.positions))
    counts = {
        "source_sentences": sizes[0],
        "target_sentences": sizes[1],
        "candidate_pairs": len(pairs.score),
        "rejected.below_threshold": int((~is_kept).sum()),
        "pairs": len(kept.score),
        **(planted.counts if planted else {}),
    }
    facts = {"source": task.arguments["source"], "target": task.arguments["target"], **counts}
    beside = calibration_file(output)
    write_calibration(beside, mined, facts, config)
    return Outcome(counts=counts, outputs=(output, beside))


def _load(shards: Sequence[Path], vectors: Sequence[Path], scratch: Path) -> EmbeddedSentences:
    """Load a language; one of those that this process loaded last is not read again."""
    files = [*shards, *(part for path in vectors for part in embedding_files(path))]
    if not all(path.exists() for path in files):  # `load_language` says what to do
        return load_language(shards, vectors, scratch)
    stats = [path.stat() for path in files]
    state = tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in stats)
    return _load_once(tuple(shards), tuple(vectors), scratch, state)


@functools.lru_cache(maxsize=_LANGUAGES_KEPT)
def _load_once(
    shards: tuple[Path, ...], vectors: tuple[Path, ...], scratch: Path, _state: object
) -> EmbeddedSentences:
    return load_language(shards, vectors, scratch)


def mine_pairs(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating], config: MineConfig
) -> Pairs:
    """Return the selected pairs of two sets of vectors, best first, below threshold too.

    Args:
        source: [N, D]
        target: [M, D]
        config: How pairs are found, scored and selected.
    """
    sides = as_vectors(source, config), as_vectors(target, config)
    return mine_calibrated(
        *sides, None, replace(config, margin_threshold=0.0, target_precision=None)
    ).pairs


def as_bitext(
    source: EmbeddedSentences, target: EmbeddedSentences, pairs: Pairs, *, positions: bool = False
) -> pa.Table:
    """Return pairs with their texts, documents and, if asked for, positions there."""
    names = ["text", "document", *(["position"] if positions else [])]
    sides = source.texts(pairs.source, names), target.texts(pairs.target, names)
    columns = [pa.array(pairs.score, pa.float32())]
    columns += [side.column(name) for name in names for side in sides]
    schema = BITEXT_SCHEMA
    for side in ("source", "target") if positions else ():
        schema = schema.append(pa.field(f"{side}_position", pa.int32()))
    return pa.Table.from_arrays(columns, schema=schema)
