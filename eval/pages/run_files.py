"""The files of a pipeline run, read for its report; whatever is missing is None or empty.

Somebody may give another directory, or a run whose files were edited: everything that the page
shows is checked for its shape here, so that a mistake names its file.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UserError
from corpus.files import read_json, read_lines
from corpus.jobs import task_counts
from corpus.languages import Direction, parse_direction, script_of
from eval.statistics.buckets import read_levels
from eval.statistics.results import Row, read_scores
from eval.tables import read_rows

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
    """Directory, relative to the run's."""
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
        identification=_read_figures(run / "lid_measure.json", _IDENTIFICATION),
        similarity=_read_similarity(run / "xsim.json"),
        mining=_read_figures(run / "mining.json", _MINING),
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


_RATES = {"f1": float, "precision": float, "recall": float}
_IDENTIFICATION: Mapping[str, Any] = {
    "macro_f1": float,
    "macro_fpr": float,
    "languages": [{**_RATES, "n": float}],
}
_SIMILARITY: Mapping[str, Any] = {"mean_error": float, "pairs": [float]}
_MINING: Mapping[str, Any] = {"pairs": [_RATES]}


def _read_figures(path: Path, shape: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Read a JSON object of the given shape; `[x]` is an object of any keys whose values are x.

    Raises:
        DataError: If the file has another shape; the message names the key.
    """
    value = _read_object(path)
    if value is not None:
        _check_shape(value, shape, path, "")
    return value


def _read_similarity(path: Path) -> Mapping[str, Any] | None:
    found = _read_figures(path, _SIMILARITY)
    pairs = found["pairs"] if found is not None else {"-": 0.0}
    if not pairs or not all("-" in pair for pair in pairs):
        raise DataError(f"{path}: `pairs` needs errors by pair, as `eng_Latn-fra_Latn`")
    return found


def _check_shape(value: Any, shape: Any, path: Path, place: str) -> None:
    if shape is float:
        if not _is_number(value):
            raise DataError(f"{path}: `{place}` is {value!r:.80}; a number is needed")
        return
    if not isinstance(value, dict):
        raise DataError(f"{path}: `{place}` is {value!r:.80}; an object is needed")
    keys = dict.fromkeys(value, shape[0]) if isinstance(shape, list) else shape
    for name, wanted in keys.items():
        inner = f"{place}.{name}" if place else name
        if name not in value:
            raise DataError(f"{path} lacks `{inner}`; was it written by another command?")
        _check_shape(value[name], wanted, path, inner)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _read_experts(path: Path) -> dict[str, LayerUsage]:
    value = _read_object(path)
    if value is None:
        return {}
    shape = {"layers": [{"entropy": float, "max_entropy": float}]}
    _check_shape(value, shape, path, "")
    layers = {}
    for layer, usage in value["layers"].items():
        load, languages = usage.get("load"), usage.get("languages")
        shares = [load, *languages.values()] if isinstance(languages, dict) else []
        if not shares or not all(_are_shares(row, len(load or ())) for row in shares):
            raise DataError(
                f"{path} is not what `tongues nmt experts --json` prints: `layers.{layer}` needs"
                " `load`, a list of numbers, and as many for each of `languages`"
            )
        layers[layer] = LayerUsage(
            languages=languages,
            load=load,
            entropy=float(usage["entropy"]),
            max_entropy=float(usage["max_entropy"]),
        )
    return layers


def _are_shares(row: Any, experts: int) -> bool:
    return isinstance(row, list) and len(row) == experts > 0 and all(map(_is_number, row))


def _read_names(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = [cells for _, cells in read_rows(path, ["language"])]
    return {cells["language"]: cells["name"] for cells in rows if "name" in cells}


def _read_stages(run: Path) -> list[Stage]:
    stages = []
    for path in sorted(run.glob("**/receipts/runs.jsonl")):
        place = os.fsencode(path.parent.parent.relative_to(run)).decode("utf-8", "replace")
        lines: dict[str, list[dict[str, Any]]] = {}
        for number, line in enumerate(read_lines(path), 1):
            if line.strip():
                entry = _read_record(line, f"{path}:{number}")
                lines.setdefault(entry["name"], []).append(entry)
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
                    counts=_sum_receipts(path.parent.parent, name),
                )
            )
    return sorted(stages, key=lambda stage: (_rank(stage.place), stage.place))


_RECORD = ("seconds", "peak_memory_mb", "done", "skipped", "failed")


def _read_record(line: str, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("name"), str)
        or not all(_is_number(entry.get(field)) for field in _RECORD)
    ):
        raise DataError(f"{place}: not a record of a run: {line[:80]}")
    return entry


def _rank(place: str) -> int:
    first = place.split("/")[0]
    return STAGES.index(first) if first in STAGES else len(STAGES)


def _sum_receipts(output: Path, job: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in task_counts(output, job).values():
        total.update(counts)
    return dict(total)


def _read_samples(run: Path, number: int) -> list[Sample]:
    """Pick sentences from different directions, new target scripts and sources first."""
    flores = run / "data" / "flores" / SPLIT
    picked: list[Sample] = []
    directions = {}
    for path in sorted((run / "hypotheses").glob("[!.]*.txt")):
        try:
            directions[path] = parse_direction(path.stem)
        except UserError as error:
            raise DataError(f"{path}: {error}") from None
    for path in _varied(directions)[:number]:
        direction = directions[path]
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


def _varied(directions: Mapping[Path, Direction]) -> list[Path]:
    seen: Counter[str] = Counter()
    order: list[tuple[int, Path]] = []
    for path, direction in directions.items():
        script = script_of(direction.target)
        order.append((seen[script] + seen[direction.target], path))
        seen.update({script: 1, direction.target: 1, direction.source: 1})
    return [path for _, path in sorted(order, key=lambda entry: entry[0])]
