"""Signs of a bad model: in its translations, and in the curves of its training."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from nmt.training.curves import Curves, Validation, mean_scores

LARGE_SHARE = 0.05
"""Share of translations that are empty, or repeat themselves, from which on it is said."""

_REPEATED = re.compile(r"(.{2,60}?)\1{3,}", re.DOTALL)
_LEAST_REPEATED = 20
"""Characters that repetitions must fill: `ha ha ha ha` is laughter."""

_OVERFITTED = 0.02
"""Share by which the mean validation loss lies above its minimum where training overfits."""

_DIVERGED = 0.2
"""The same for the loss of training itself."""

_UNALIGNED = 0.8
"""Share of the score that translations keep as those of other sentences where they ignore their
sources: 1 where all are the same, .58 after 250 updates on Multi30k, when the first words are right
(docs/experiments.md)."""

_ALIGNING = 0.01
"""Share by which a validation improves on the one before where the model still learns."""


def is_loop(text: str) -> bool:
    """Return whether some characters come four times or more in a row, over 20 characters in all.

    Repetitions without a letter, such as a row of dots, do not count.
    """
    return any(
        len(found[0]) >= _LEAST_REPEATED and any(map(str.isalpha, found[1]))
        for found in _REPEATED.finditer(text)
    )


def empty_share(hypotheses: Sequence[str]) -> float:
    """Return the share of translations without text."""
    return sum(not text.strip() for text in hypotheses) / max(len(hypotheses), 1)


def loop_share(hypotheses: Sequence[str]) -> float:
    """Return the share of translations that repeat themselves."""
    return sum(map(is_loop, hypotheses)) / max(len(hypotheses), 1)


def warning_signs(curves: Curves) -> list[str]:
    """Return what is wrong as far as the curves show it, and what may help, in sentences."""
    last = {name: own[-1] for name, own in curves.validation.items() if own}
    update = max((validation.update for validation in last.values()), default=0)
    signs = [
        *_below_copying(last, update, is_learning=_is_learning(curves)),
        *_ignoring_sources(last, update),
        *_share("empty", {name: own.empty for name, own in last.items()}),
        *_share("repeat themselves", {name: own.looping for name, own in last.items()}),
        *_overfitting(curves),
        *_diverging(curves),
    ]
    return signs


def _below_copying(last: dict[str, Validation], update: int, *, is_learning: bool) -> list[str]:
    scored = {
        name: own for name, own in last.items() if own.chrf is not None and own.copying is not None
    }
    below = [name for name, own in scored.items() if own.chrf < own.copying]  # type: ignore[operator]
    if not below:
        return []
    what = f"{len(below)} of {len(scored)} directions" if len(scored) > 1 else below[0]
    words = f"below copying the source after {update:,} updates: {what}"
    if is_learning:
        return [f"{words}. Validation still improves"]
    return [
        f"{words}, and validation does not improve: check that the bitext's sides belong together,"
        " and try a lower learning rate, a longer warm-up or a smaller model"
    ]


def _ignoring_sources(last: dict[str, Validation], update: int) -> list[str]:
    """Name directions whose translations would do for other sources, too.

    Copying does not tell: where languages have few words in common, fluent text beats it that has
    nothing to do with its source.
    """
    scored = [name for name, own in last.items() if own.chrf and own.others is not None]
    ignoring = [
        name
        for name in scored
        if last[name].others >= _UNALIGNED * last[name].chrf  # type: ignore[operator]
    ]
    if not ignoring:
        return []
    what = f"{len(ignoring)} of {len(scored)} directions" if len(scored) > 1 else ignoring[0]
    return [
        f"translations fit other sources nearly as well as their own after {update:,} updates:"
        f" {what}. Source and target are not aligned yet; smaller batches, more updates of the same"
        " text, align sooner"
    ]


def _is_learning(curves: Curves) -> bool:
    scores = [-score for _, score in mean_scores(curves, "nll")]
    return len(scores) < 2 or scores[-1] < scores[-2] * (1 - _ALIGNING)


def _share(words: str, shares: dict[str, float | None]) -> list[str]:
    known = [share for share in shares.values() if share is not None]
    mean = math.fsum(known) / max(len(known), 1)
    if mean < LARGE_SHARE:
        return []
    verb = "are " if words == "empty" else ""
    return [f"{mean:.0%} of the validation translations {verb}{words}"]


def _overfitting(curves: Curves) -> list[str]:
    losses = [(-score, update) for update, score in mean_scores(curves, "nll")]
    losses = [(loss, update) for loss, update in losses if math.isfinite(loss)]
    if len(losses) < 3:
        return []
    best, update = min(losses)
    rising = all(later[0] > earlier[0] for earlier, later in pairwise(losses[-3:]))
    if not rising or losses[-1][0] < best * (1 + _OVERFITTED):
        return []
    return [
        f"overfitting: validation was best after update {update:,}. `selection.keep: best` keeps"
        " that model; more dropout, a smaller model or more text help"
    ]


def _diverging(curves: Curves) -> list[str]:
    losses = [float(report.get("NLL Loss", math.nan)) for report in curves.training]
    known = [loss for loss in losses if math.isfinite(loss)]
    if len(losses) < 3:
        return []
    if len(known) and known[-1] <= min(known) * (1 + _DIVERGED) and math.isfinite(losses[-1]):
        return []
    return [
        "diverging: the training loss rises. Use a lower `optimizer.learning_rate`, a longer"
        " `optimizer.warmup_updates` or a smaller `optimizer.max_grad_norm`"
    ]
