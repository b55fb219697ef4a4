"""Systems beside each other, direction by direction: the best, and who differs from a baseline.

The test is the centered paired bootstrap. It costs nothing more than the intervals: every system is
resampled with the same lines (`eval.statistics.significance.bootstrap_draws`). The false discovery
rate of each metric is controlled over all directions and systems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.errors import DataError, UserError
from corpus.languages import Direction, parse_direction
from eval.config import BOOTSTRAP, RANDOMIZATION, SACREBLEU_BOOTSTRAP
from eval.hypotheses import COPY
from eval.learned_models.metrics import LEARNED
from eval.metrics.metrics import METRICS, find_metric
from eval.statistics.averages import Average
from eval.statistics.results import Row
from eval.statistics.significance import TIE, discoveries
from eval.tables import read_rows, write_table

FILE = "systems.tsv"
MARKS = {"better": "▲", "worse": "▼"}
"""How outcomes are marked; `not significant` is not."""

SMALLEST_SHOWN = 0.001
"""A p-value below this is shown as being below it."""

_TESTS = {
    RANDOMIZATION: "approximate randomization over lines",
    BOOTSTRAP: "paired bootstrap over lines",
    SACREBLEU_BOOTSTRAP: "sacrebleu's paired bootstrap over lines, whose p-values are too small",
}
Key = tuple[str, str, Direction]
"""System, metric, direction."""


class SystemScore(NamedTuple):
    """A system's score in a direction, beside those of the others."""

    metric: str
    direction: Direction
    system: str
    value: float
    low: float | None
    high: float | None
    is_best: bool
    """Of the systems, the copy baseline aside; several where they are equal."""
    baseline: str
    """The system that this one was tested against; empty where it is that system itself."""
    p_value: float | None
    """None where nothing was tested: the baseline, `copy`, or no resamples."""
    outcome: str
    """`better` or `worse` than the baseline beyond chance, `not significant`, or empty."""


def compare_in_table(
    rows: Sequence[Row],
    metrics: Sequence[str],
    systems: Sequence[str],
    baseline: str,
    p_values: Mapping[Key, float],
    alpha: float,
    *,
    higher_is_better: bool | None = None,
) -> list[SystemScore]:
    """Return the scores by metric, direction and system, with the best and the test's outcome.

    Args:
        rows: Scores of all systems.
        metrics: In the order of the table.
        systems: Their names in the order of the table.
        baseline: The system that the others were tested against.
        p_values: Of the differences from the baseline.
        alpha: False discovery rate.
        higher_is_better: Whether higher scores are better; by default what each metric says.
    """
    groups: dict[tuple[str, Direction], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        groups[row.metric, row.direction][row.system] = row
    significant = _discover(p_values, alpha)
    table = []
    for (metric, direction), own in sorted(groups.items(), key=_place(metrics)):
        is_better = (
            find_metric(metric).higher_is_better if higher_is_better is None else higher_is_better
        )
        sign = 1 if is_better else -1
        values = [sign * row.value for name, row in own.items() if name != COPY]
        best = max(values, default=0.0)
        for system in systems:
            if system not in own:
                continue
            row, key = own[system], (system, metric, direction)
            is_tested = key in p_values
            outcome = ""
            if is_tested:
                gain = sign * (row.value - own[baseline].value)
                outcome = "not significant"
                if significant[key] and abs(gain) > TIE:
                    outcome = "better" if gain > 0 else "worse"
            table.append(
                SystemScore(
                    metric=metric,
                    direction=direction,
                    system=system,
                    value=row.value,
                    low=row.low,
                    high=row.high,
                    is_best=system != COPY and len(values) > 1 and sign * row.value >= best - TIE,
                    baseline=baseline if is_tested else "",
                    p_value=p_values.get(key),
                    outcome=outcome,
                )
            )
    return table


def _place(
    metrics: Sequence[str],
) -> Callable[[tuple[tuple[str, Direction], Any]], tuple[int, Direction]]:
    return lambda group: (metrics.index(group[0][0]), group[0][1])


def _discover(p_values: Mapping[Key, float], alpha: float) -> dict[Key, bool]:
    found: dict[Key, bool] = {}
    for metric in sorted({metric for _, metric, _ in p_values}):
        keys = [key for key in p_values if key[1] == metric]
        judged = discoveries([p_values[key] for key in keys], alpha)
        found.update(zip(keys, judged, strict=True))
    return found


def write_systems(output: Path, table: Sequence[SystemScore]) -> Path:
    """Write systems.tsv; return its path."""
    write_table(output / FILE, SystemScore._fields, table)
    return output / FILE


def read_systems(output: Path) -> list[SystemScore]:
    """Read what `write_systems` wrote; nothing where fewer than two systems were scored.

    Raises:
        DataError: If a row is not a score; the message names the line.
    """
    if not (output / FILE).is_file():
        return []
    table = []
    for number, cells in read_rows(output / FILE, SystemScore._fields):
        try:
            table.append(_read_system(cells))
        except (UserError, ValueError) as error:
            raise DataError(f"{output / FILE}:{number}: not a row of scores: {error}") from None
    return table


def _read_system(cells: Mapping[str, str]) -> SystemScore:
    return SystemScore(
        metric=cells["metric"],
        direction=parse_direction(cells["direction"]),
        system=cells["system"],
        value=float(cells["value"]),
        low=_number(cells["low"]),
        high=_number(cells["high"]),
        is_best=cells["is_best"] == "yes",
        baseline=cells["baseline"],
        p_value=_number(cells["p_value"]),
        outcome=cells["outcome"],
    )


def plain_systems(table: Sequence[SystemScore]) -> list[dict[str, Any]]:
    """Return the table as JSON has it."""
    return [{**one._asdict(), "direction": str(one.direction)} for one in table]


def group_scores(table: Sequence[SystemScore]) -> dict[str, dict[str, dict[str, SystemScore]]]:
    """Return the scores by metric, direction and system, in the order of the table."""
    metrics: dict[str, dict[str, dict[str, SystemScore]]] = {}
    for one in table:
        rows = metrics.setdefault(one.metric, {})
        rows.setdefault(str(one.direction), {})[one.system] = one
    return metrics


def list_systems(table: Sequence[SystemScore]) -> list[str]:
    """Return the systems in the order of the table."""
    return list(dict.fromkeys(one.system for one in table))


def title_metric(metric: str) -> str:
    """Return a metric's name, with a remark where lower scores are better."""
    return metric if _is_higher_better(metric) else f"{metric} (lower is better)"


def best_means(means: Iterable[Average]) -> set[str]:
    """Return the systems with the best mean of one metric over the same directions.

    None is best where a mean lacks directions, since such means do not compare.
    """
    own = [one for one in means if one.system != COPY]
    if len(own) < 2 or any(one.mean is None or one.n_missing for one in own):
        return set()
    sign = 1 if _is_higher_better(own[0].metric) else -1
    values = {one.system: sign * one.mean for one in own if one.mean is not None}
    best = max(values.values())
    return {system for system, value in values.items() if value >= best - TIE}


def _is_higher_better(metric: str) -> bool:
    known = find_metric(metric) if metric in METRICS else LEARNED.get(metric)
    return known is None or known.higher_is_better


def show_score(metric: str, value: float) -> str:
    """Return a score to one decimal, or to three of a learned metric: most are of 0 to 1."""
    return f"{value:.{1 if metric in METRICS else 3}f}"


def describe_test(table: Sequence[SystemScore], test: str = BOOTSTRAP) -> str:
    """Return what the marks of a table say, and by which test; learned metrics have their own."""
    learned = [one for one in table if one.metric not in METRICS]
    own = [one for one in table if one.metric in METRICS]
    if not learned or not own:
        return _describe_test(table, BOOTSTRAP if learned else test)
    words, others = _describe_test(own, test), _describe_test(learned, BOOTSTRAP)
    if words == others:
        return words
    return f"{words}; {', '.join(group_scores(learned))}: {others}"


def _describe_test(table: Sequence[SystemScore], test: str) -> str:
    baseline = next((one.baseline for one in table if one.baseline), None)
    if baseline is None and len(list_systems(table)) < 2:
        return "one system alone is not tested"
    if baseline is None:
        return "nothing was tested, as there are no resamples of the lines"
    return (
        f"{MARKS['better']} better and {MARKS['worse']} worse than {baseline}, unmarked: not"
        f" significant ({_TESTS[test]}, false discovery rate controlled over all directions and"
        " systems)"
    )


def show_p_value(value: float) -> str:
    """Return a p-value to three decimals, as text."""
    return f"<{SMALLEST_SHOWN}" if value < SMALLEST_SHOWN else f"{value:.3f}"


def _number(text: str) -> float | None:
    return float(text) if text else None
