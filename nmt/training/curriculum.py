"""Phases from validation curves: each direction enters so late that training ends at its best.

NLLB-200, section 6.4.3 of the paper: in a run on all directions, note the update n after which a
direction's validation loss rises again; in the run to come, of T updates, let it enter at T - n.
"""

import bisect
import functools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus.config import Config, NonNegativeInt
from corpus.errors import DataError, UserError
from corpus.files import read_lines, read_object, write_text
from corpus.jobs import Outcome, Summary, Task, check_not_inputs, run_job
from corpus.languages import parse_direction
from nmt.training.curves import METRICS, Validation, read_curves
from nmt.training.directory import TRAINING_DIRECTORY

logger = logging.getLogger(__name__)

NLLB_STARTS = (0.0, 170 / 300, 230 / 300, 270 / 300)
"""Where the phases of NLLB-200 begin, as shares of its 300,000 updates."""

_MODEL_FILE = "model.json"
_TABLE_HEADER = ("direction", "update", "nll")


@dataclass(frozen=True, kw_only=True)
class DerivationConfig(Config):
    """How phases are derived."""

    updates: NonNegativeInt = 0
    """Updates of the new run; 0 for as many as the measured run had."""

    phase_starts: tuple[NonNegativeInt, ...] = ()
    """Updates at which phases may begin, the first being 0; empty for NLLB-200's, which are 0, 57
    %, 77 % and 90 % of `updates`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        starts = list(self.phase_starts)
        if starts and (starts[0] != 0 or sorted(set(starts)) != starts):
            raise UserError(f"`phase_starts` is {starts}; the first is 0 and they must rise")
        if self.updates and starts and starts[-1] >= self.updates:
            raise UserError(
                f"a phase begins at update {starts[-1]:,}, and `updates` is {self.updates:,}"
            )


class Entry(NamedTuple):
    """Where a direction enters, and why."""

    start: int
    """Update at which its phase begins."""

    best: Validation | None
    """The validation with the least loss; None where nothing was measured."""

    last: Validation | None


def derive_entries(
    curves: Mapping[str, Sequence[Validation]], updates: int, starts: Sequence[int]
) -> dict[str, Entry]:
    """Return where each direction enters a run.

    exact start = updates - update of the least validation loss, the first of equal ones; rounded to
    the nearest of `starts`, the earlier one of two that are as near. A run begins with something:
    where no direction would enter at 0, those do that would enter first.

    Args:
        curves: Validations by direction, in order.
        updates: Updates of the run to come.
        starts: Updates at which phases may begin, ascending from 0.

    Raises:
        DataError: If a direction has no loss that is a number.
    """
    entries = {}
    for direction, validations in curves.items():
        finite = [validation for validation in validations if math.isfinite(validation.nll)]
        if not finite:
            raise DataError(f"no validation loss of {direction} is a number")
        best = min(finite, key=lambda validation: validation.nll)
        start = _nearest(max(0, updates - best.update), starts)
        entries[direction] = Entry(start, best, validations[-1])
    first = min((entry.start for entry in entries.values()), default=0)
    if first > 0:
        logger.warning(
            "all directions were best so early that they would enter at update %s or later; those"
            " that would enter there begin at 0, since a run begins with something",
            f"{first:,}",
        )
    return {
        direction: entry._replace(start=0) if entry.start == first else entry
        for direction, entry in entries.items()
    }


def _nearest(update: int, starts: Sequence[int]) -> int:
    place = bisect.bisect_left(starts, update)
    if place == len(starts):
        return starts[-1]
    around = starts[max(0, place - 1) : place + 1]
    return min(around, key=lambda start: (abs(start - update), start))


def format_phases(entries: Mapping[str, Entry], updates: int) -> str:
    """Return phases as YAML for `tongues nmt train`: nested sets, and why each direction enters."""
    lines = [
        f"# Phases for a run of {updates:,} updates, derived by `tongues nmt curriculum`.",
        "# A direction enters so many updates before the end as it took to its best validation",
        "# loss in the measured run. Edit it; pass it beside a recipe, as a second --config-file.",
        "curriculum:",
        "  phases:",
    ]
    before: list[str] = []
    for start in sorted({entry.start for entry in entries.values()}):
        new = sorted(direction for direction, entry in entries.items() if entry.start == start)
        lines += [
            f"    - from_update: {start}",
            f"      # {len(new):,} new, {len(before):,} before",
        ]
        lines.append("      directions:")
        lines += [f"        - {direction}  # {_reason(entries[direction])}" for direction in new]
        lines += [f"        - {direction}" for direction in before]
        before = sorted([*before, *new])
    return "\n".join(lines) + "\n"


def _reason(entry: Entry) -> str:
    if entry.best is None or entry.last is None:
        return "not validated"
    reason = f"best nll {entry.best.nll:.3f} after update {entry.best.update:,}"
    if entry.last.update > entry.best.update:
        reason += f", {entry.last.nll:.3f} after {entry.last.update:,}"
    return reason


def derive_curriculum(training: Path, output: Path, config: DerivationConfig) -> Summary:
    """Read the curves of a run on all directions and write phases, as a job with a receipt.

    Args:
        training: Model directory or its `training` directory, finished or not; or a TSV with the
            columns direction, update and nll.
        output: YAML file.
        config: How.

    Raises:
        UserError: If there are no curves.
    """
    name = output.name.split(".")[0]
    task = Task(name=name, inputs=_curve_files(training))
    check_not_inputs([output], task.inputs)
    work = functools.partial(_write_phases, training=training, output=output, config=config)
    return run_job(
        name="curriculum",
        tasks=[task],
        work=work,
        output=output.parent,
        config=config,
        config_name=f"{name}.config.yaml",
    )


def _write_phases(task: Task, training: Path, output: Path, config: DerivationConfig) -> Outcome:
    curves, measured, trained = _read(training)
    updates = config.updates or measured
    starts = config.phase_starts or tuple(round(share * updates) for share in NLLB_STARTS)
    if starts[-1] >= updates:
        raise UserError(f"a phase begins at update {starts[-1]:,}, and the run has {updates:,}")
    entries = derive_entries(curves, updates, sorted(set(starts)))
    others = sorted(trained - set(entries))
    if others:
        logger.warning(
            "%d directions were trained and not validated, %s among them; they are in the first"
            " phase",
            len(others),
            others[0],
        )
    entries |= {direction: Entry(0, None, None) for direction in others}
    write_text(output, format_phases(entries, updates))
    counts = {"directions": len(entries), "not_validated": len(others)}
    for start in sorted({entry.start for entry in entries.values()}):
        counts[f"enter at {start:,}"] = sum(entry.start == start for entry in entries.values())
    return Outcome(counts=counts, outputs=(output,))


def _training_directory(path: Path) -> Path:
    return path if (path / METRICS).is_dir() else path / TRAINING_DIRECTORY


def _curve_files(training: Path) -> tuple[Path, ...]:
    if training.is_file():
        return (training,)
    files = tuple(sorted((_training_directory(training) / METRICS).rglob("*.jsonl")))
    if not any(path.parent.name == "valid" for path in files):
        raise UserError(
            f"{training} holds no validation curves; `tongues nmt train` writes them where `flores`"
            " is given and an update of `validate_every` was reached"
        )
    model = _training_directory(training).parent / _MODEL_FILE
    return (*files, model) if model.exists() else files


def _read(training: Path) -> tuple[Mapping[str, Sequence[Validation]], int, set[str]]:
    """Return the curves, the updates of the run, and the directions that were trained."""
    if training.is_file():
        curves = _read_table(training)
        return curves, _last_update(curves.values()), set()
    directory = _training_directory(training)
    found = read_curves(directory)
    validation = {direction: rows for direction, rows in found.validation.items() if rows}
    reported = [int(report["Step"]) for report in found.training[-1:]]
    updates = max([*reported, _last_update(validation.values())])
    model = directory.parent / _MODEL_FILE
    trained = set(read_object(model, directions=list)["directions"]) if model.exists() else set()
    if not trained:
        logger.warning(
            "%s does not exist, so that directions which were trained and not validated are not"
            " known; phases hold the validated ones only",
            model,
        )
    return validation, updates, trained


def _last_update(curves: Iterable[Sequence[Validation]]) -> int:
    return max(validations[-1].update for validations in curves)


def _read_table(path: Path) -> dict[str, list[Validation]]:
    lines = read_lines(path)
    if not lines or tuple(lines[0].split("\t")) != _TABLE_HEADER:
        raise DataError(f"{path}:1: the header of a table of curves is {' '.join(_TABLE_HEADER)}")
    curves: dict[str, list[Validation]] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            direction, update, nll = line.split("\t")
            validation = Validation(int(update), float(nll), None)
        except ValueError:
            raise DataError(f"{path}:{number}: not a direction, an update and a loss") from None
        curves.setdefault(str(parse_direction(direction)), []).append(validation)
    if not curves:
        raise DataError(f"{path} holds no validation")
    return {direction: sorted(rows) for direction, rows in curves.items()}
