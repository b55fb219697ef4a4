"""What a pipeline run left behind, read for its report; whatever is missing is None or empty."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DataError
from corpus.files import read_json, read_lines
from corpus.languages import Direction, parse_direction
from eval.statistics.buckets import read_levels
from eval.statistics.results import Row, read_scores

STAGES = (
    "data", "lid", "sentences", "encoder", "embeddings", "mined", "bitext", "vocabulary", "model",
    "hypotheses", "scores",
)  # fmt: skip
"""Directories of a run in the order in which they are made."""

SPLIT = "devtest"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One job of the run."""

    place: str
    """Directory, seen from the run's."""
    name: str
    seconds: float
    peak_memory_mb: float
    done: int
    skipped: int
    failed: int
    counts: Mapping[str, int]
    """Sums over the job's receipts."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One translated sentence."""

    direction: Direction
    source: str
    hypothesis: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class LayerUsage:
    """How the tokens of one Mixture-of-Experts layer are shared out."""

    languages: Mapping[str, Sequence[float]]
    """Share of each language's tokens per expert."""
    load: Sequence[float]
    """Share of all tokens per expert."""
    entropy: float
    """Entropy of the load, in nats; `max_entropy` when all experts get as much."""
    max_entropy: float


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Everything that a report shows."""

    identification: Mapping[str, Any] | None
    """`tongues lid measure --json`."""
    similarity: Mapping[str, Any] | None
    """`tongues mining xsim --json`."""
    mining: Mapping[str, Any] | None
    """`tongues mining evaluate --json`."""
    experts: Mapping[str, LayerUsage]
    """`tongues nmt experts --json`, by layer."""
    scores: Sequence[Row]
    names: Mapping[str, str]
    levels: Mapping[str, str]
    stages: Sequence[Stage]
    samples: Sequence[Sample]


def read_run(run: Path, samples: int) -> RunFiles:
    """Read what is there of a run.

    Args:
        run: The run's directory.
        samples: How many sample translations to pick, at most one per direction.

    Raises:
        DataError: If a file is there and damaged.
    """
    languages = run / "data" / "languages.tsv"
    scores = run / "scores" / "scores.tsv"
    return RunFiles(
        identification=_read_object(run / "lid_measure.json"),
        similarity=_read_object(run / "xsim.json"),
        mining=_read_object(run / "mining.json"),
        experts=_read_experts(run / "experts.json"),
        scores=read_scores(scores) if scores.is_file() else [],
        names=_read_names(languages),
        levels=read_levels(languages) if languages.is_file() else {},
        stages=_read_stages(run),
        samples=_read_samples(run, samples),
    )


def _read_object(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object")
    return value


def _read_experts(path: Path) -> dict[str, LayerUsage]:
    value = _read_object(path)
    if value is None:
        return {}
    try:
        return {
            layer: LayerUsage(
                languages=usage["languages"],
                load=usage["load"],
                entropy=float(usage["entropy"]),
                max_entropy=float(usage["max_entropy"]),
            )
            for layer, usage in value["layers"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not what `tongues nmt experts --json` prints: {error}"
        ) from None


def _read_names(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = [line.split("\t") for line in read_lines(path) if line]
    if not rows or "name" not in rows[0] or "language" not in rows[0]:
        return {}
    language, name = rows[0].index("language"), rows[0].index("name")
    return {row[language]: row[name] for row in rows[1:] if len(row) == len(rows[0])}


def _read_stages(run: Path) -> list[Stage]:
    stages = []
    for path in sorted(run.glob("**/receipts/runs.jsonl")):
        place = str(path.parent.parent.relative_to(run))
        lines: dict[str, list[dict[str, Any]]] = {}
        for number, line in enumerate(read_lines(path), 1):
            try:
                entry = json.loads(line)
                lines.setdefault(str(entry["name"]), []).append(entry)
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{path}:{number}: not a record of a run: {line[:80]}") from None
        for name, entries in lines.items():
            stages.append(
                Stage(
                    place=place,
                    name=name,
                    seconds=sum(float(entry["seconds"]) for entry in entries),
                    peak_memory_mb=max(float(entry["peak_memory_mb"]) for entry in entries),
                    done=sum(int(entry["done"]) for entry in entries),
                    skipped=sum(int(entry["skipped"]) for entry in entries),
                    failed=int(entries[-1]["failed"]),
                    counts=_sum_receipts(path.parent / name),
                )
            )
    return sorted(stages, key=lambda stage: (_rank(stage.place), stage.place))


def _rank(place: str) -> int:
    first = place.split("/")[0]
    return STAGES.index(first) if first in STAGES else len(STAGES)


def _sum_receipts(directory: Path) -> dict[str, int]:
    total: Counter[str] = Counter()
    for path in sorted(directory.glob("**/*.json")):
        total.update(read_json(path).get("counts", {}))
    return dict(total)


def _read_samples(run: Path, number: int) -> list[Sample]:
    """Pick sentences from different directions, new target scripts and sources first."""
    flores = run / "data" / "flores" / SPLIT
    picked: list[Sample] = []
    for path in _varied(sorted((run / "hypotheses").glob("[!.]*.txt")))[:number]:
        direction = parse_direction(path.stem)
        files = (
            flores / f"{direction.source}.{SPLIT}",
            path,
            flores / f"{direction.target}.{SPLIT}",
        )
        if not all(file.is_file() for file in files):
            continue
        lines = list(zip(*map(read_lines, files), strict=False))
        if lines:
            # A different sentence each time, spread over the test set, not chosen by hand.
            source, hypothesis, reference = lines[len(picked) * len(lines) // number]
            picked.append(
                Sample(
                    direction=direction,
                    source=source,
                    hypothesis=hypothesis,
                    reference=reference,
                )
            )
    return picked


def _varied(paths: Sequence[Path]) -> list[Path]:
    seen: Counter[str] = Counter()
    order: list[tuple[int, Path]] = []
    for path in paths:
        direction = parse_direction(path.stem)
        script = direction.target[4:]
        order.append((seen[script] + seen[direction.target], path))
        seen.update({script: 1, direction.target: 1, direction.source: 1})
    return [path for _, path in sorted(order, key=lambda entry: entry[0])]
