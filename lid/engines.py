"""Two ways to ask a model that give the same answers: compiled, and through fastText."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.text import script_parts, scripts_by_code
from lid.characters import script_bits
from lid.familiarity import count_familiar
from lid.kernel import EMPTY, NO_LETTERS, Answers
from lid.many_lines import scan

if TYPE_CHECKING:
    from lid.model import FastTextModel

_EXTRA = 4
"""Classes asked of fastText beyond those wanted, since some may be in an absent script."""


class Engine(Protocol):
    """Answers lines with class numbers."""

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Return the best classes whose script occurs in each line."""
        ...


class FastTextEngine:
    """fastText's bindings, a script veto and NumPy lookups: where no compiled pass is."""

    def __init__(
        self,
        model: FastTextModel,
        scripts: Sequence[str | None],
        profiles: NDArray[np.uint8] | None,
        prepare: Callable[[Sequence[str]], list[str]],
    ) -> None:
        """Wrap a model; `scripts` are those of its classes, None for a class of any script."""
        self._model = model
        self._scripts = np.array(
            [0 if script is None else script_bits(script) for script in scripts], np.uint64
        )
        # A plain view of the mapped file: indexing a memmap costs more than the lookup.
        self._profiles = None if profiles is None else np.asarray(profiles)
        self._prepare = prepare

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Return the best classes whose script occurs in each line."""
        texts = self._prepare(lines)
        seen = scan(texts)
        answers = Answers(
            np.full((len(lines), top), -1, np.int32),
            np.zeros((len(lines), top), np.float32),
            np.zeros((len(lines), 5), np.int32),
        )
        answers.counts[:, 4] = [NO_LETTERS if text else EMPTY for text in texts]
        asked = np.flatnonzero(seen.has_letters)
        if not len(asked):
            return answers
        kept = [texts[row] for row in asked.tolist()]
        labels, scores = self._rank(kept, seen.scripts[asked], top)
        answers.labels[asked], answers.scores[asked] = labels, scores
        if self._profiles is None:
            answers.counts[asked, 4] = [len(text) for text in kept]
        else:
            counts = count_familiar(kept, np.maximum(labels[:, 0], 0), self._profiles)
            counts[labels[:, 0] < 0, :4] = 0
            answers.counts[asked] = counts
        return answers

    def _rank(
        self, texts: Sequence[str], scripts: NDArray[np.uint64], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the best classes of lines, given the script bits of each, [N]."""
        classes = len(self._scripts)
        wanted = min(top if top == 1 else top + _EXTRA, classes)
        labels, scores = self._allowed(texts, scripts, wanted)
        again = np.flatnonzero((labels >= 0).sum(axis=1) < top)
        labels, scores = labels[:, :top], scores[:, :top]
        if len(again) and wanted < classes:
            whole, whole_scores = self._allowed(
                [texts[row] for row in again.tolist()], scripts[again], classes
            )
            labels[again], scores[again] = whole[:, :top], whole_scores[:, :top]
        return labels, scores

    def _allowed(
        self, texts: Sequence[str], scripts: NDArray[np.uint64], wanted: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return fastText's best classes, those in a script the line has not at the end as -1."""
        labels, scores = self._model.predict(texts, wanted)
        own = self._scripts[labels]
        vetoed = (labels < 0) | (own != 0) & (own & scripts[:, None] == 0)
        labels[vetoed], scores[vetoed] = -1, 0
        if wanted > 1:
            order = np.argsort(vetoed, axis=1, kind="stable")
            labels = np.take_along_axis(labels, order, axis=1)
            scores = np.take_along_axis(scores, order, axis=1)
        return labels, scores


def known_script(language: str) -> str | None:
    """Return the script of a class; None for `und`, `zxx` and scripts that cannot be looked for."""
    script = language.partition("_")[2]
    return script if script_parts(script) & scripts_by_code().keys() else None
