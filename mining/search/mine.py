"""Sentences and embeddings of two languages to scored pairs."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus import stores
from corpus.bitext import check_bitext_name
from corpus.errors import BudgetSpent, DataError, JobError, UserError
from corpus.files import make_directory
from corpus.jobs import (
    CONFIG_FILE,
    LOCAL,
    Executor,
    Outcome,
    Summary,
    Task,
    has_receipt,
    run_job,
)
from corpus.languages import Direction
from corpus.records import BITEXT_SCHEMA, count_rows, sentence_shards, write_bitext
from mining.embeddings import SPACE_FILE, check_one_space
from mining.search.blocks import (
    SEARCH_JOB,
    Blocks,
    block_tasks,
    divide,
    merge_blocks,
    part_of,
    remove_parts,
    search_block,
)
from mining.search.config import MineConfig, SearchConfig
from mining.search.known_pairs import KNOWN_SPACE_SUFFIX, has_known, load_known
from mining.search.language_vectors import EmbeddedSentences, load_language_once
from mining.search.margin import Pairs
from mining.search.mine_calibrated import calibration_file, mine_calibrated, write_calibration
from mining.search.neighbors import as_vectors
from mining.search.places import MineFiles, MinePlaces, files_of

logger = logging.getLogger(__name__)

MINE_JOB = "mine"

_SEARCH_CONFIG = "search.yaml"


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
    for language in {language for direction in directions for language in direction}:
        stores.pull(places.sentences / language)
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
    inputs = files_of(files.shards, files.vectors)
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
    run = functools.partial(run_job, output=places.output, workers=workers, executor=executor)
    parts = {one.name: block_tasks(*_divide(one, places, config)) for one in tasks}
    left = [
        one
        for one in tasks
        if parts[one.name] and not has_receipt(MINE_JOB, one, places.output, config)
    ]
    failed: JobError | None = None
    if left:
        # What comes after the search may fail, and be tried again with another threshold.
        search = SearchConfig(
            **{name: getattr(config, name) for name in SearchConfig.__dataclass_fields__}
        )
        prefix = "" if config_name == CONFIG_FILE else f"{tasks[0].name}."
        try:
            run(
                name=SEARCH_JOB,
                tasks=[part for one in left for part in parts[one.name]],
                work=functools.partial(search_block, places=places, config=search),
                config=search,
                config_name=f"{prefix}{_SEARCH_CONFIG}",
                gpus=int(config.device == "cuda"),
            )
        except JobError as error:
            failed = error
            unsearched = {
                one.name for one in left if not _is_searched(parts[one.name], places.output)
            }
            tasks = [one for one in tasks if one.name not in unsearched]
        except BudgetSpent as spent:
            begun = functools.partial(has_receipt, MINE_JOB, output=places.output, config=config)
            raise BudgetSpent(MINE_JOB, [one.name for one in tasks if not begun(one)]) from spent
    if failed is not None and not tasks:
        raise failed
    summary = run(
        name=MINE_JOB,
        tasks=tasks,
        work=functools.partial(_mine_pair, places=places, config=config),
        config=config,
        config_name=config_name,
    )
    for one in tasks:
        remove_parts(places.output, one.name)
    if failed is not None:
        raise failed
    return summary


def _divide(
    task: Task, places: MinePlaces, config: MineConfig
) -> tuple[Blocks, MineFiles, Direction]:
    direction = Direction(task.arguments["source"], task.arguments["target"])
    files = places._replace(known=None).files(direction, config)
    return divide(task.name, files, direction, config), files, direction


def _is_searched(parts: Sequence[Task], output: Path) -> bool:
    """Return whether all blocks of a language pair have been searched."""
    return all(stores.exists(part_of(one, output)) for one in parts)


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


def _mine_pair(task: Task, *, places: MinePlaces, config: MineConfig) -> Outcome:
    output = places.output / task.arguments["output"]
    scratch = output.parent
    make_directory(scratch)
    direction = Direction(task.arguments["source"], task.arguments["target"])
    if not task.arguments["known"]:
        places = places._replace(known=None)
    files = places.files(direction, config)
    source, target = (
        load_language_once(files.shards[language], files.vectors[language], scratch)
        for language in direction
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
    blocks = divide(task.name, files, direction, config)
    corpus = None
    if not blocks.is_whole:
        corpus = merge_blocks(blocks, sizes, places.output, config.neighbors, scratch)
    mined = mine_calibrated(sides[0], sides[1], planted, config, scratch, index, corpus)
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
