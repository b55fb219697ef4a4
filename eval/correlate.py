"""`tongues eval correlate`: human scores of directions, agreement, correlation with metrics."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from corpus.errors import DataError, UserError
from corpus.files import read_json, write_json
from corpus.jobs import Outcome, Task, run_job
from corpus.languages import Direction
from eval.config import Calibration, CorrelateConfig
from eval.human.agreement import Coincidences, Level
from eval.human.correlation import COEFFICIENTS, Correlation, correlate
from eval.human.judgments import (
    SCALES,
    HumanScore,
    Judgment,
    Scale,
    calibrate,
    calibration_means,
    read_judgments,
    score_directions,
)
from eval.human.published_tables import Check, read_published
from eval.human.sampled_answers import split_answers
from eval.human.sampling import read_items
from eval.human.segments import (
    SegmentCorrelation,
    correlate_segments,
    human_segments,
    number_in_item,
    read_segment_scores,
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
    "direction",
    "metric",
    "coefficient",
    "value",
    "low",
    "high",
    "n",
    "n_missing",
    "signature",
)


Key = TypeVar("Key", str, Direction)


class _Calibrated(NamedTuple):
    score: HumanScore
    calibrated: float | None
    calibration_mean: float | None


def correlate_human(
    human: Sequence[Path],
    scores: Sequence[Path],
    calibration: Path | None,
    output: Path,
    config: CorrelateConfig,
    sample: Path | None = None,
    segments: Sequence[Path] = (),
) -> dict[str, Any]:
    """Compare human scores with metrics; write human.tsv, correlations.tsv and human.json.

    With scores of segments, also segment_correlations.tsv.

    Args:
        human: Tables of single scores, all of one kind: what pages of `eval sample` saved, as
            `eval.human.judgments.read_judgments` has it, or `eval.human.published_tables`.
        scores: Files like scores.tsv.
        calibration: The same groups' scores of the calibration set; its items have no system.
        output: Directory of the results.
        config: Calibration and bootstrap.
        sample: The items.tsv that the pages were made from.
        segments: Scores of segments; see `eval.human.segments.read_segment_scores`.

    Returns:
        What human.json holds.

    Raises:
        UserError: If a file is missing, systems cannot be matched, or a calibration is asked for
            without a calibration set.
        JobError: If a table is not as it should be; the message names the line.
    """
    more = [path for path in (calibration, sample) if path is not None]
    inputs = (*human, *scores, *more, *segments)
    for path in inputs:
        if not path.is_file():
            raise UserError(f"{path} does not exist or is not a file")
    work = functools.partial(
        _work,
        human=human,
        scores=scores,
        calibration=calibration,
        output=output,
        config=config,
        sample=sample,
        segments=segments,
    )
    arguments: dict[str, Any] = {
        "calibrated": calibration is not None,
        "sampled": sample is not None,
        **({"segments": len(segments)} if segments else {}),
    }
    task = Task(name="all", inputs=inputs, arguments=arguments)
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


class _Human(NamedTuple):
    """All that people gave."""

    scale: Scale
    judgments: Sequence[Judgment]
    calibration: Sequence[Judgment]
    checks: Sequence[Check]


def _read_human(
    human: Sequence[Path],
    calibration: Path | None,
    sample: Path | None,
    metrics: Sequence[Row],
    config: CorrelateConfig,
) -> _Human:
    known = {code for row in metrics for code in row.direction}
    parts = [read_published(path, config.direction, known) for path in human]
    there = [part for part in parts if part is not None]
    if there and (len(there) < len(parts) or len({part.scale.name for part in there}) > 1):
        raise DataError("the tables of --human are of different kinds; give those of one")
    scale = there[0].scale if there else SCALES[config.scale]
    checks = [check for part in there for check in part.checks]
    judgments = [judgment for part in there for judgment in part.judgments]
    calibrating: list[Judgment] = []
    if not there:
        judgments = _join([(path, read_judgments(path, scale)) for path in human])
    if sample is not None:
        if there or scale.name != "xsts":
            raise UserError("--sample is for tables that pages of `tongues eval sample` saved")
        judgments, calibrating, checks = split_answers(judgments, read_items(sample), sample)
    if calibration is not None:
        if scale.name != "xsts":
            raise UserError(f"--calibration is for XSTS; the scores are of {scale.name.upper()}")
        calibrating += read_judgments(calibration)
    if not judgments:
        raise DataError("none of the scores is of a system in that direction")
    return _Human(scale, judgments, calibrating, checks)


def _join(tables: Sequence[tuple[Path, Sequence[Judgment]]]) -> list[Judgment]:
    """Return the judgments of all tables.

    Raises:
        DataError: If two tables have an evaluator's score of one item.
    """
    seen: dict[tuple[str, ...], Path] = {}
    for path, rows in tables:
        for row in rows:
            key = (row.evaluator, row.item, str(row.direction), row.system)
            if seen.setdefault(key, path) != path:
                raise DataError(
                    f"{path}: {row.evaluator} scored item {row.item} of {row.direction} already in"
                    f" {seen[key]}"
                )
    return [row for _, rows in tables for row in rows]


def _work(
    task: Task,
    *,
    human: Sequence[Path],
    scores: Sequence[Path],
    calibration: Path | None,
    output: Path,
    config: CorrelateConfig,
    sample: Path | None,
    segments: Sequence[Path],
) -> Outcome:
    metrics = [row for path in scores for row in read_scores(path) if row.system != COPY]
    found = _read_human(human, calibration, sample, metrics, config)
    kind = config.calibration if found.scale.name == "xsts" else "none"
    if kind != "none" and not found.calibration:
        raise UserError(
            f"calibration `{kind}` needs the scores of the calibration set; give them with"
            " --calibration FILE, or leave scores as they are with --config calibration=none"
        )
    attention = _judge_attention(found.checks, config.max_failed_attention)
    careless = {row["evaluator"] for row in attention if row["left_out"]}
    judgments = [one for one in found.judgments if one.evaluator not in careless]
    if not judgments:
        raise DataError("every evaluator failed the attention items; see max_failed_attention")
    means = calibration_means([one for one in found.calibration if one.evaluator not in careless])
    calibrated = [
        _calibrate(score, means, kind, config.nominal_mean)
        for score in score_directions(judgments, found.scale)
    ]
    human_scores = _match_systems(calibrated, metrics)
    rows = _correlate(human_scores, metrics, config)
    outputs = [output / name for name in ("human.tsv", "correlations.tsv", "human.json")]
    write_table(outputs[0], HUMAN_COLUMNS, map(_human_row, calibrated))
    write_table(outputs[1], CORRELATION_COLUMNS, rows)
    by_segment = []
    if segments:
        by_segment = _correlate_segments(judgments, found.scale, sample, segments, config)
        outputs.append(output / "segment_correlations.tsv")
        write_table(outputs[-1], SegmentCorrelation._fields, by_segment)
    else:  # those of an earlier run
        (output / "segment_correlations.tsv").unlink(missing_ok=True)
    uncalibrated = [str(one.score.direction) for one in calibrated if one.calibrated is None]
    if uncalibrated:
        logger.warning(
            "left out, since they have no calibration scores: %s", ", ".join(uncalibrated)
        )
    if careless:
        logger.warning(
            "left out, since they failed more than %g of their attention items: %s",
            config.max_failed_attention,
            ", ".join(sorted(careless)),
        )
    write_json(
        outputs[2],
        {
            "scale": found.scale.name,
            "calibration": kind,
            "agreement": _agreement([one.score for one in calibrated], config),
            "attention": attention,
            "correlations": [
                dict(zip(CORRELATION_COLUMNS, row, strict=True))
                | {"direction": row[1] and str(row[1])}
                for row in rows
            ],
            "segments": [{**one._asdict(), "direction": str(one.direction)} for one in by_segment],
            "not_calibrated": uncalibrated,
        },
    )
    return Outcome(counts={"judgments": len(judgments)}, outputs=tuple(outputs))


def _correlate_segments(
    judgments: Sequence[Judgment],
    scale: Scale,
    sample: Path | None,
    segments: Sequence[Path],
    config: CorrelateConfig,
) -> list[SegmentCorrelation]:
    """Return the correlation of people's values of segments with metrics' scores of them.

    Raises:
        DataError: If an item has no line of the test set, or no segment has both.
    """
    metrics = read_segment_scores(segments)
    systems = {system for scores in metrics.values() for system, _, _ in scores}
    if len(systems) == 1:
        (only,) = systems
        judgments = [one if one.system else one._replace(system=only) for one in judgments]
    lines = {}
    if sample is not None:
        lines = {(item.item, item.direction): item.line for item in read_items(sample)}
    usual = 0 if scale.name == "esa" else 1
    first = usual if config.first_segment is None else config.first_segment

    def line_of(one: Judgment) -> int:
        known = lines.get((one.item, one.direction))
        return number_in_item(one.item, first) if known is None else known

    found = correlate_segments(
        human_segments(judgments, scale, line_of),
        metrics,
        trials=config.trials,
        seed=config.seed,
        confidence=config.confidence,
    )
    if not found:
        raise DataError(
            f"{', '.join(map(str, segments))}: no segment that people scored is in there; the"
            f" systems are {', '.join(sorted(systems))}"
        )
    return found


def _judge_attention(checks: Sequence[Check], max_failed: float) -> list[dict[str, Any]]:
    """Return by evaluator how many attention items there were, how many failed, and the outcome."""
    rows = []
    for evaluator in sorted({check.evaluator for check in checks}):
        own = [check.passed for check in checks if check.evaluator == evaluator]
        failed = own.count(False)
        rows.append(
            {
                "evaluator": evaluator,
                "items": len(own),
                "failed": failed,
                "left_out": failed > max_failed * len(own),
            }
        )
    return rows


def _calibrate(
    score: HumanScore, means: Mapping[str, float], kind: Calibration, nominal: float
) -> _Calibrated:
    mean = means.get(score.group)
    if kind == "none":
        return _Calibrated(score, score.mean, mean)
    if mean is None:
        return _Calibrated(score, None, None)
    value = calibrate(score.mean, mean, kind, nominal)
    return _Calibrated(score, value, mean)


def _match_systems(
    calibrated: Sequence[_Calibrated], metrics: Sequence[Row]
) -> dict[str, dict[Direction, float | None]]:
    """Return the human scores by system, as scores.tsv names systems."""
    systems = sorted({row.system for row in metrics})
    judged = {one.score.system for one in calibrated}
    unknown = sorted(judged - set(systems) - {""})
    if unknown and unknown != sorted(judged):
        logger.warning("without metrics, and left out: %s", ", ".join(unknown))
        calibrated = [one for one in calibrated if one.score.system not in unknown]
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
    """Return the correlations of each system over directions, then of each direction over systems.

    The latter where at least two systems were judged.
    """
    grouped = {
        system: _group_scores([row for row in metrics if row.system == system]) for system in human
    }
    rows: list[tuple[Any, ...]] = []
    for system, judged in human.items():
        for kind, values in sorted(grouped[system].items()):
            found = _coefficients(judged, values, config)
            rows += [(system, None, kind[0], *row, kind[1]) for row in found]
    kinds = sorted({kind for own in grouped.values() for kind in own})
    for direction in sorted({direction for judged in human.values() for direction in judged}):
        judged_here = {
            system: judged[direction] for system, judged in human.items() if direction in judged
        }
        if len(judged_here) < 2:
            continue
        for kind in kinds:
            values_here = {
                system: grouped[system][kind][direction]
                for system in judged_here
                if direction in grouped[system].get(kind, {})
            }
            found = _coefficients(judged_here, values_here, config)
            rows += [(None, direction, kind[0], *row, kind[1]) for row in found]
    return rows


def _coefficients(
    judged: Mapping[Key, float | None], values: Mapping[Key, float], config: CorrelateConfig
) -> list[tuple[Any, ...]]:
    """Return name, value, interval, n and n_missing of each coefficient."""
    known = {key: value for key, value in judged.items() if value is not None}
    both = sorted(known.keys() & values.keys())
    found: list[tuple[Any, ...]] = []
    for name in COEFFICIENTS:
        correlation: Correlation = correlate(
            [values[key] for key in both],
            [known[key] for key in both],
            name,
            trials=config.trials,
            seed=config.seed,
            confidence=config.confidence,
        )
        found.append((name, *correlation, len(both), len(judged) - len(both)))
    return found


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
