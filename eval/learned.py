"""`tongues eval learned`: COMET, MetricX, BLASER and others, computed from checkpoints at hand."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import UserError
from corpus.files import digest_file, read_json, write_json, write_lines
from corpus.jobs import Outcome, Task, redo_changed, run_job
from corpus.languages import Direction, check_language
from eval.checks.batches import Batch, find_batches, read_text
from eval.config import LearnedConfig
from eval.learned_models.metrics import (
    ALL_LANGUAGES,
    LearnedMetric,
    covered_languages,
    find_learned,
)
from eval.metrics.metrics import digest_lines
from eval.statistics.averages import ResampledMeans, average
from eval.statistics.buckets import ALL
from eval.statistics.cells import TEST_SET
from eval.statistics.learned_results import FOLDER, write_learned_averages
from eval.statistics.results import COLUMNS, Row
from eval.statistics.significance import bootstrap_draws, centered_p_value, interval
from eval.statistics.system_table import SystemScore, compare_in_table, write_systems
from eval.tables import write_table

if TYPE_CHECKING:
    from eval.learned_models.load import Scorer

logger = logging.getLogger(__name__)

_SHORT_DIGEST = 12
_MODEL_FILES = frozenset({".bin", ".ckpt", ".json", ".model", ".pt", ".safetensors", ".yaml"})


class Checkpoint(NamedTuple):
    """A metric and the directories of its model."""

    name: str
    directory: Path
    encoder: Path
    """Of the encoder's configuration and tokenizer; `directory` itself if it has them."""

    @property
    def metric(self) -> LearnedMetric:
        """What the metric is."""
        return find_learned(self.name)

    def digest(self) -> str:
        """Return a digest of the names and contents of all files of the model."""
        found = hashlib.blake2b(digest_size=16)
        for folder in dict.fromkeys((self.directory, self.encoder)):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix in _MODEL_FILES:
                    name = path.relative_to(folder).as_posix()
                    found.update(f"{name}\0{digest_file(path)}\n".encode())
        return found.hexdigest()


def score_learned(
    checkpoint: Checkpoint,
    hypotheses: Sequence[Path],
    test_set: Path,
    split: str,
    output: Path,
    config: LearnedConfig,
) -> dict[str, Any]:
    """Score all directions that the model covers; write learned/<metric>/.

    Args:
        checkpoint: The metric and its model.
        hypotheses: Directories, a system each; the first is the baseline.
        test_set: As it was published; see `corpus.test_sets.find`.
        split: Which part of it; the usual one if empty.
        output: Directory of the results.
        config: Device, coverage and intervals.

    Returns:
        `systems` (the rows of systems.tsv), `means` by system, `not_covered` directions, `test_set`
        in words.

    Raises:
        UserError: If a directory, a language or a file of the model is missing, or no direction is
            covered.
        JobError: If hypotheses and references of some shards differ in length.
    """
    metric = checkpoint.metric
    for path in (checkpoint.directory, checkpoint.encoder):
        if not path.is_dir():
            raise UserError(f"{path} is not a directory of a model")
    every = find_batches(hypotheses, test_set, split, output / TEST_SET, config.references)
    covered = _covered(metric, config)
    batches = [part for part in (_restrict(batch, covered) for batch in every) if part is not None]
    left_out = sorted(
        {pair for batch in every for pair in batch.directions}
        - {pair for batch in batches for pair in batch.directions}
    )
    if left_out:
        logger.warning(
            "not scored, since %s does not cover a language: %s",
            checkpoint.name,
            ", ".join(map(str, left_out)),
        )
    if not batches:
        raise UserError(
            f"the model of {checkpoint.name} covers none of the directions. If yours does, say so:"
            " --config languages='[eng_Latn, …]' or all"
        )
    folder = output / FOLDER / checkpoint.name
    digest = checkpoint.digest()
    tasks = [
        Task(
            name=batch.name,
            inputs=(
                *batch.hypotheses,
                batch.references,
                *(batch.text(source) for source in batch.sources),
            ),
            arguments={"sources": list(batch.sources), "model": digest, "dtype": config.dtype},
        )
        for batch in batches
    ]
    read_text.cache_clear()
    redo_changed(FOLDER, tasks, folder)
    work = functools.partial(
        _score_batch,
        batches={batch.name: batch for batch in batches},
        checkpoint=checkpoint,
        folder=folder,
        config=config,
    )
    run_job(name=FOLDER, tasks=tasks, work=work, output=folder, workers=1)
    return _write_tables(checkpoint, digest, batches, left_out, folder, config)


def _covered(metric: LearnedMetric, config: LearnedConfig) -> frozenset[str] | None:
    """Return the languages that are scored; None for all."""
    if config.languages == (ALL_LANGUAGES,):
        return None
    if config.languages:
        return frozenset(check_language(code).code for code in config.languages)
    return covered_languages(metric.languages)


def _restrict(batch: Batch, covered: frozenset[str] | None) -> Batch | None:
    """Return what is covered of a batch; None where that is nothing."""
    if covered is None:
        return batch
    if batch.target not in covered:
        return None
    kept = [place for place, source in enumerate(batch.sources) if source in covered]
    if not kept:
        return None
    return dataclasses.replace(
        batch,
        sources=tuple(batch.sources[place] for place in kept),
        hypotheses=tuple(batch.hypotheses[place] for place in kept),
    )


@functools.lru_cache(maxsize=1)
def _load(
    checkpoint: Checkpoint, digest: str, device: str, dtype: str, batch_tokens: int
) -> Scorer:
    """Load a model once in a process, when its first shard is scored; `digest` tells it apart."""
    from eval.learned_models.load import load_scorer

    return load_scorer(
        checkpoint.name,
        checkpoint.directory,
        checkpoint.encoder,
        device=device,
        dtype=dtype,
        batch_tokens=batch_tokens,
    )


def _score_batch(
    task: Task,
    *,
    batches: dict[str, Batch],
    checkpoint: Checkpoint,
    folder: Path,
    config: LearnedConfig,
) -> Outcome:
    batch = batches[task.name]
    digest = task.arguments["model"]
    scorer = _load(checkpoint, digest, config.device, config.dtype, config.batch_tokens)
    references = read_text(batch.references)
    scores = [
        scorer.score(
            direction,
            read_text(batch.text(direction.source)),
            batch.read(index),
            references if checkpoint.metric.needs_reference else None,
        )
        for index, direction in enumerate(batch.directions)
    ]
    path = _result(folder, batch)
    write_json(path, {"scores": scores})
    return Outcome(counts={"segments": sum(map(len, scores))}, outputs=(path,))


def _result(folder: Path, batch: Batch) -> Path:
    return folder / "shards" / f"{batch.name}.json"


def _write_tables(
    checkpoint: Checkpoint,
    digest: str,
    batches: Sequence[Batch],
    left_out: Sequence[Direction],
    folder: Path,
    config: LearnedConfig,
) -> dict[str, Any]:
    name = checkpoint.name
    signature = (
        f"mean of segments|metric:{name}|model:{digest[:_SHORT_DIGEST]}|dtype:{config.dtype}"
    )
    needs_reference = checkpoint.metric.needs_reference
    every = {pair for batch in batches for pair in batch.directions}.union(left_out)
    buckets = {ALL: frozenset(every)}
    resampled_means = ResampledMeans(buckets)
    rows: list[Row] = []
    segments: dict[tuple[str, Direction], NDArray[np.float64]] = {}
    for batch in batches:
        found = read_json(_result(folder, batch))["scores"]
        references = digest_lines(read_text(batch.references))[:_SHORT_DIGEST]
        for direction, scores in zip(batch.directions, found, strict=True):
            several = len(batch.tests.reference_files(direction))
            used = f"|reference:1 of {several}" if several > 1 and needs_reference else ""
            values = np.array(scores, dtype=np.float64)
            segments[batch.system, direction] = values
            low, high = None, None
            if (resampled := _resampled(values, config)) is not None:
                low, high = interval(resampled, config.confidence)
                resampled_means.add(batch.system, name, [direction], resampled[np.newaxis])
            rows.append(
                Row(
                    system=batch.system,
                    direction=direction,
                    metric=name,
                    value=math.fsum(scores) / len(scores),
                    n=len(scores),
                    signature=f"{signature}{used}|refs:{references}",
                    low=low,
                    high=high,
                )
            )
    systems = list(dict.fromkeys(batch.system for batch in batches))
    baseline = config.baseline or systems[0]
    if baseline not in systems:
        raise UserError(f"baseline `{baseline}` is none of the systems: {', '.join(systems)}")
    table = compare_in_table(
        rows, [name], systems, baseline, _test(name, segments, baseline, config), config.alpha,
        higher_is_better=checkpoint.metric.higher_is_better,
    )  # fmt: skip
    rows.sort(key=lambda row: (row.system, row.direction))
    write_table(
        folder / "scores.tsv",
        COLUMNS,
        [(r.system, r.direction, r.metric, r.value, r.n, r.signature) for r in rows],
    )
    write_systems(folder, table)
    averages = average(
        {(row.system, name, row.direction): row.value for row in rows},
        buckets,
        resampled_means,
        config.confidence,
    )
    write_learned_averages(folder, averages)
    write_lines(folder / "segments.jsonl", _segment_lines(checkpoint, digest, segments, config))
    return {
        "systems": [_plain(one) for one in table],
        "means": {
            one.system: {"mean": one.mean, "n": one.n, "n_missing": one.n_missing}
            for one in averages
        },
        "not_covered": [str(direction) for direction in left_out],
        "test_set": batches[0].tests.describe(),
        "signature": signature,
    }


def _plain(one: SystemScore) -> dict[str, Any]:
    return {**one._asdict(), "direction": str(one.direction)}


def _segment_lines(
    checkpoint: Checkpoint,
    digest: str,
    segments: dict[tuple[str, Direction], NDArray[np.float64]],
    config: LearnedConfig,
) -> list[str]:
    """Return the segments' scores as `eval check --segment-scores` reads them."""
    covered = _covered(checkpoint.metric, config)
    header = {
        "metric": checkpoint.name,
        "model": digest[:_SHORT_DIGEST],
        "languages": ALL_LANGUAGES if covered is None else sorted(covered),
    }
    lines: list[dict[str, Any]] = [header]
    for (system, direction), values in segments.items():
        for line, value in enumerate(values.tolist(), 1):
            lines.append(
                {"system": system, "direction": str(direction), "line": line, "score": value}
            )
    return [json.dumps(line, ensure_ascii=False) for line in lines]


def _resampled(values: NDArray[np.float64], config: LearnedConfig) -> NDArray[np.float64] | None:
    """Return the mean of each bootstrap resample; None for a single segment, or no resamples."""
    if len(values) < 2 or not config.resamples:
        return None
    draws = bootstrap_draws(len(values), config.resamples, config.seed)
    return np.asarray(draws @ values / len(values))


def _test(
    name: str,
    segments: dict[tuple[str, Direction], NDArray[np.float64]],
    baseline: str,
    config: LearnedConfig,
) -> dict[tuple[str, str, Direction], float]:
    """Return the p-values of the centered paired bootstrap against the baseline."""
    by_direction: dict[Direction, list[str]] = defaultdict(list)
    for system, direction in segments:
        by_direction[direction].append(system)
    found = {}
    for direction, systems in by_direction.items():
        if baseline not in systems:
            continue
        for system in systems:
            differences = segments[system, direction] - segments[baseline, direction]
            resampled = _resampled(differences, config)
            if system != baseline and resampled is not None:
                p_value = centered_p_value(resampled, float(differences.mean()))
                found[system, name, direction] = p_value
    return found
