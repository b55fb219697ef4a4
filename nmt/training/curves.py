"""The metrics of a training as its files hold them: curves of training and of validation.

fairseq2's recorder writes a line of JSON per report to `metrics/train.jsonl`, and per validation to
`metrics/valid/<direction>.jsonl`.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError
from corpus.files import atomic_path

METRICS = "metrics"
_TRAIN = "train.jsonl"
_VALIDATION = "valid"
_UPDATE = "Step"
_NLL = "NLL Loss"
_TRANSLATED = (
    "chrF++",
    "chrf_of_copying",
    "empty_share",
    "looping_share",
    "chrf_of_other_sources",
)


class Validation(NamedTuple):
    """What one validation found of one direction."""

    update: int
    """The update after which it was."""

    nll: float
    """Negative log-likelihood per target token."""

    chrf: float | None
    """chrF++, 0 to 100; None where nothing was translated."""

    copying: float | None = None
    """chrF++ of the sources as their own translations."""

    empty: float | None = None
    """Share of translations without text."""

    looping: float | None = None
    """Share of translations that repeat themselves."""

    others: float | None = None
    """chrF++ of the translations as those of other sources."""


@dataclass(frozen=True)
class Curves:
    """The reports of a training in the order of updates."""

    training: Sequence[Mapping[str, Any]]
    """Each report as its line holds it; `Step` is the update."""

    validation: Mapping[str, Sequence[Validation]]
    """Validations by direction, sorted by direction."""


def read_curves(training: Path) -> Curves:
    """Read the metrics in the `training` directory of a model, finished or not.

    Raises:
        DataError: If a line is not what the recorder writes. A last line that a kill has cut is
            left out.
    """
    folder = training / METRICS / _VALIDATION
    validation = {
        path.stem: [
            Validation(line[_UPDATE], float(line[_NLL]), *map(line.get, _TRANSLATED))
            for line in _lines(path)
        ]
        for path in sorted(folder.glob("*.jsonl"))
    }
    return Curves(_lines(training / METRICS / _TRAIN), validation)


def forget_after(training: Path, update: int) -> None:
    """Drop all reports of later updates, which training is about to make again."""
    for path in sorted((training / METRICS).rglob("*.jsonl")):
        kept = [line for line in _lines(path) if line[_UPDATE] <= update]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        if text == path.read_text(encoding="utf-8"):
            continue
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def mean_scores(
    curves: Curves, score: str, wanted: Callable[[str], bool] = lambda direction: True
) -> list[tuple[int, float]]:
    """Return updates with their mean score over directions; higher is better.

    Args:
        curves: What was read.
        score: `nll`, which is negated, or `chrf++`, over the directions that are translated.
        wanted: Whether a direction counts.
    """
    found: dict[int, list[float]] = {}
    for direction, validations in curves.validation.items():
        for validation in validations if wanted(direction) else ():
            update = validation.update
            value = -validation.nll if score == "nll" else validation.chrf
            if value is not None:
                found.setdefault(update, []).append(value)
    return [(update, math.fsum(values) / len(values)) for update, values in sorted(found.items())]


def stopped_at(scores: Sequence[tuple[int, float]], patience: int) -> int | None:
    """Return the update after which so many validations in a row had brought nothing better.

    A score that is not a number is no better than any.

    Args:
        scores: Updates with their scores, in order.
        patience: Validations in a row without a better score; 0 for no end of patience.
    """
    best, waited = -math.inf, 0
    for update, score in scores:
        better = score > best
        best, waited = (score, 0) if better else (best, waited + 1)
        if patience and waited >= patience:
            return update
    return None


def _lines(path: Path) -> list[Any]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    found = []
    for number, line in enumerate(lines[:-1], start=1):  # the last is empty, or cut by a kill
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get(_UPDATE), int):
            raise DataError(
                f"{path}:{number} is not a report of training; delete the line to continue"
            )
        found.append(record)
    return found
