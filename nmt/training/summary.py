"""The results of a training in plain numbers, for `--json` and the report page."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from nmt.training.curves import Curves, Validation, mean_scores
from nmt.training.warning_signs import warning_signs

THROUGHPUT = "tokens_per_second"
UTILIZATION = "mfu"
SKIPPED = "skipped_updates"


def summarize(curves: Curves) -> dict[str, Any]:
    """Return the last report, the usual throughput, and each direction's validation.

    Returns:
        `update`, `loss`, `nll`, `tokens_per_second` and `mfu` (medians), `skipped_updates`, of the
        reports; `validation`, {direction: {nll, chrf, copying, empty, looping, best_nll,
        best_nll_update, best_chrf, best_chrf_update}}; `best`, {nll, chrf++: {update, mean}};
        `signs`, what is wrong, in sentences. None for values that do not exist.
    """
    last = curves.training[-1] if curves.training else {}
    best = {}
    for score in ("nll", "chrf++"):
        scores = [(mean, update) for update, mean in mean_scores(curves, score) if mean == mean]
        mean, update = max(scores, default=(None, None))
        if mean is not None and score == "nll":
            mean = -mean
        best[score] = {"update": update, "mean": mean}
    return {
        "update": last.get("Step"),
        "loss": _finite(last.get("Loss")),
        "nll": _finite(last.get("NLL Loss")),
        THROUGHPUT: _median(curves.training, THROUGHPUT),
        UTILIZATION: _median(curves.training, UTILIZATION),
        SKIPPED: last.get(SKIPPED, 0),
        "best": best,
        "signs": warning_signs(curves),
        "validation": {
            direction: _of_direction(validations)
            for direction, validations in curves.validation.items()
            if validations
        },
    }


def _of_direction(validations: Sequence[Validation]) -> dict[str, Any]:
    last = validations[-1]
    nlls = [(v.nll, v.update) for v in validations if math.isfinite(v.nll)]
    chrfs = [(v.chrf, v.update) for v in validations if v.chrf is not None]
    best_nll, nll_update = min(nlls, default=(None, None))
    best_chrf, chrf_update = max(chrfs, default=(None, None))
    return {
        "nll": _finite(last.nll),
        "chrf": last.chrf,
        "copying": last.copying,
        "empty": last.empty,
        "looping": last.looping,
        "of_other_sources": last.others,
        "best_nll": best_nll,
        "best_nll_update": nll_update,
        "best_chrf": best_chrf,
        "best_chrf_update": chrf_update,
    }


def _median(reports: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [value for report in reports if (value := _finite(report.get(name))) is not None]
    return statistics.median(values) if values else None


def _finite(value: object) -> float | None:
    """Return a number, or None for NaN, which JSON cannot express."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
