"""Sentences and embeddings of two languages to scored pairs."""

import functools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.bitext import check_bitext_name
from corpus.errors import DataError, UserError
from corpus.files import make_directory
from corpus.jobs import LOCAL, Executor, Outcome, Summary, Task, run_job
from corpus.languages import check_language
from corpus.records import BITEXT_SCHEMA, count_rows, sentence_shards, write_bitext
from mining.embeddings import SPACE_FILE, check_one_space, embedding_files
from mining.search.config import MineConfig
from mining.search.known_pairs import KNOWN_SPACE_SUFFIX, KnownFiles, known_files, load_known
from mining.search.language_vectors import EmbeddedSentences, load_language
from mining.search.margin import Pairs
from mining.search.mine_calibrated import calibration_file, mine_calibrated, write_calibration
from mining.search.neighbors import as_vectors, uses_index
from mining.search.train_index import index_files

logger = logging.getLogger(__name__)

MINE_JOB = "mine"


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
    check_threshold(config, is_known=known is not None)
    check_bitext_name(output)
    shards, vectors = language_files(sentences, embeddings, source, target)
    inputs = [path for paths in shards.values() for path in paths]
    inputs += [
        part for paths in vectors.values() for path in paths for part in embedding_files(path)
    ]
    planted = known_files(known, source, target) if known else None
    if planted:
        inputs += planted[:2]
        folder = embeddings / source
        check_one_space([folder / SPACE_FILE, planted[0].with_suffix(KNOWN_SPACE_SUFFIX)])
    largest = max(sum(map(count_rows, paths)) for paths in shards.values())
    index = index_files(embeddings) if uses_index(config, largest) else ()
    inputs += index
    name = output.name.split(".")[0]
    arguments = {
        "source": source, "target": target, "known": planted is not None, "output": output.name,
    }  # fmt: skip
    task = Task(name=name, inputs=tuple(inputs), arguments=arguments)
    work = functools.partial(
        _mine_pair,
        shards=shards,
        vectors=vectors,
        known=planted,
        output=output,
        config=config,
        index=index[0] if index else None,
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


def _mine_pair(
    task: Task,
    *,
    shards: dict[str, list[Path]],
    vectors: dict[str, list[Path]],
    known: KnownFiles | None,
    output: Path,
    config: MineConfig,
    index: Path | None,
) -> Outcome:
    scratch = output.parent
    make_directory(scratch)
    source, target = (
        load_language(shards[task.arguments[side]], vectors[task.arguments[side]], scratch)
        for side in ("source", "target")
    )
    sizes = len(source.hashes), len(target.hashes)
    if not all(sizes):
        raise DataError(f"{task.name}: one of the languages has no sentences left to pair")
    planted = None
    if known is not None:
        planted = load_known(known, source.hashes, target.hashes, config.planted_pairs)
    sides = [
        as_vectors(side.vectors, config, f"embeddings of {task.arguments[name]}")
        for name, side in (("source", source), ("target", target))
    ]
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
