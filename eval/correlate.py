"""`tongues eval correlate`: human scores of directions, agreement, correlation with metrics."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import read_json, write_json
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from eval.config import CorrelateConfig
from eval.human.agreement import Coincidences, Level
from eval.human.correlation import COEFFICIENTS, correlate
from eval.human.judgments import (
    HumanScore,
    calibrate,
    calibration_means,
    read_judgments,
    score_directions,
)
from eval.hypotheses import COPY
from eval.metrics.metrics import without_references
from eval.statistics.results import Row, read_scores
from eval.tables import write_table

logger = logging.getLogger(__name__)

LEVELS: tuple[Level, ...] = ("ordinal", "interval")
HUMAN_COLUMNS = (
    "system", "direction", "group", "mean", "calibrated", "calibration_mean", "items",
    "evaluators", "alpha_ordinal", "alpha_interval",
)  # fmt: skip
CORRELATION_COLUMNS = (
    "system",
    "metric",
    "coefficient",
    "value",
    "low",
    "high",
    "n",
    "n_missing",
    "signature",
)


class _Calibrated(NamedTuple):
    score: HumanScore
    calibrated: float | None
    calibration_mean: float | None


def correlate_human(
    human: Path,
    scores: Sequence[Path],
    calibration: Path | None,
    output: Path,
    config: CorrelateConfig,
) -> dict[str, Any]:
    """Compare human scores with metrics; write human.tsv, correlations.tsv and human.json.

    Args:
        human: Table of single scores; see `eval.human.judgments.read_judgments`.
        scores: Files like scores.tsv.
        calibration: The same groups' scores of the calibration set; its items have no system.
        output: Directory of the results.
        config: Calibration and bootstrap.

    Returns:
        What human.json holds.

    Raises:
        UserError: If a file is missing, systems cannot be matched, or a calibration is asked for
            without a calibration set.
        JobError: If a table is not as it should be; the message names the line.
    """
    if calibration is None and config.calibration != "none":
        raise UserError(
            f"calibration `{config.calibration}` needs the scores of the calibration set; give them"
            " with --calibration FILE, or leave scores as they are with --config calibration=none"
        )
    inputs = (human, *scores, *([calibration] if calibration is not None else []))
    for path in inputs:
        if not path.is_file():
            raise UserError(f"{path} does not exist or is not a file")
    work = functools.partial(
        _work, human=human, scores=scores, calibration=calibration, output=output, config=config
    )
    task = Task(name="all", inputs=inputs, arguments={"calibrated": calibration is not None})
    run_job(
        name="correlate",
        tasks=[task],
        work=work,
        output=output,
        config=config,
        config_name="correlate.yaml",
    )
    found: dict[str, Any] = read_json(output / "human.json")
    return found


def _work(
    task: Task,
    *,
    human: Path,
    scores: Sequence[Path],
    calibration: Path | None,
    output: Path,
    config: CorrelateConfig,
) -> Outcome:
    judgments = read_judgments(human)
    means = calibration_means(read_judgments(calibration)) if calibration is not None else {}
    calibrated = [_calibrate(score, means, config) for score in score_directions(judgments)]
    metrics = [row for path in scores for row in read_scores(path) if row.system != COPY]
    rows = _correlate(_match_systems(calibrated, metrics), metrics, config)
    outputs = tuple(output / name for name in ("human.tsv", "correlations.tsv", "human.json"))
    write_table(outputs[0], HUMAN_COLUMNS, map(_human_row, calibrated))
    write_table(outputs[1], CORRELATION_COLUMNS, rows)
    uncalibrated = [str(one.score.direction) for one in calibrated if one.calibrated is None]
    if uncalibrated:
        logger.warning(
            "left out, since they have no calibration scores: %s", ", ".join(uncalibrated)
        )
    write_json(
        outputs[2],
        {
            "calibration": config.calibration,
            "agreement": _agreement([one.score for one in calibrated], config),
            "correlations": [dict(zip(CORRELATION_COLUMNS, row, strict=True)) for row in rows],
            "not_calibrated": uncalibrated,
        },
    )
    return Outcome(counts={"judgments": len(judgments)}, outputs=outputs)


def _calibrate(
    score: HumanScore, means: Mapping[str, float], config: CorrelateConfig
) -> _Calibrated:
    mean = means.get(score.group)
    if config.calibration == "none":
        return _Calibrated(score, score.mean, mean)
    if mean is None:
        return _Calibrated(score, None, None)
    value = calibrate(score.mean, mean, config.calibration, config.nominal_mean)
    return _Calibrated(score, value, mean)


def _match_systems(
    calibrated: Sequence[_Calibrated], metrics: Sequence[Row]
) -> dict[str, dict[Direction, float | None]]:
    """Return the human scores by system, as scores.tsv names systems."""
    systems = sorted({row.system for row in metrics})
    found: dict[str, dict[Direction, float | None]] = {}
    for one in calibrated:
        system = one.score.system
        if not system:
            if len(systems) != 1:
                raise UserError(
                    f"the human scores name no system and the metrics have {', '.join(systems)};"
                    " add a column `system` to the human scores"
                )
            system = systems[0]
        if system not in systems:
            raise UserError(
                f"the human scores are of system `{system}`, and the metrics have"
                f" {', '.join(systems) or 'none'}"
            )
        found.setdefault(system, {})[one.score.direction] = one.calibrated
    return found


def _correlate(
    human: Mapping[str, Mapping[Direction, float | None]],
    metrics: Sequence[Row],
    config: CorrelateConfig,
) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for system, judged in human.items():
        known = {direction: value for direction, value in judged.items() if value is not None}
        own = [row for row in metrics if row.system == system]
        for (metric, signature), values in sorted(_group_scores(own).items()):
            both = sorted(known.keys() & values.keys())
            for name in COEFFICIENTS:
                found = correlate(
                    [values[direction] for direction in both],
                    [known[direction] for direction in both],
                    name,
                    trials=config.trials,
                    seed=config.seed,
                    confidence=config.confidence,
                )
                missing = len(judged) - len(both)
                rows.append((system, metric, name, *found, len(both), missing, signature))
    return rows


def _group_scores(rows: Sequence[Row]) -> dict[tuple[str, str], dict[Direction, float]]:
    """Return the scores of a system by metric and signature, then by direction.

    The references' hash is left out of the signature: every target language has its own.

    Raises:
        DataError: If a direction has two scores, against other references.
    """
    grouped: dict[tuple[str, str], dict[Direction, float]] = {}
    for row in rows:
        values = grouped.setdefault((row.metric, without_references(row.signature)), {})
        if values.setdefault(row.direction, row.value) != row.value:
            raise DataError(
                f"{row.system} has two {row.metric} scores in {row.direction},"
                f" {values[row.direction]} and {row.value}: are the files of --scores of different"
                " test sets? Give those of one."
            )
    return grouped


def _human_row(one: _Calibrated) -> tuple[Any, ...]:
    score = one.score
    agreement = Coincidences(score.values)
    return (
        score.system or None,
        score.direction,
        score.group,
        score.mean,
        one.calibrated,
        one.calibration_mean,
        score.items,
        score.evaluators,
        *(agreement.alpha(level) for level in LEVELS),
    )


def _agreement(scores: Sequence[HumanScore], config: CorrelateConfig) -> dict[str, Any]:
    """Return alpha over the items of all directions, with intervals."""
    together = Coincidences([values for score in scores for values in score.values])
    result: dict[str, Any] = {"items": together.items}
    for level in LEVELS:
        interval = together.interval(level, config.trials, config.seed, config.confidence)
        low, high = interval if interval is not None else (None, None)
        result[level] = {"alpha": together.alpha(level), "low": low, "high": high}
    return result
