"""Two ways to ask a model that give the same answers: compiled, and through fastText."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.text import script_parts, scripts_by_code
from lid.familiarity import count_familiar
from lid.kernel import EMPTY, NO_LETTERS, Answers
from lid.text import has_letters, has_script

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
        prepare: Callable[[str], str],
    ) -> None:
        """Wrap a model; `scripts` are those of its classes, None for a class of any script."""
        self._model = model
        self._scripts = scripts
        # A plain view of the mapped file: indexing a memmap costs more than the lookup.
        self._profiles = None if profiles is None else np.asarray(profiles)
        self._prepare = prepare

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Return the best classes whose script occurs in each line."""
        texts = [self._prepare(line) for line in lines]
        answers = Answers(
            np.full((len(lines), top), -1, np.int32),
            np.zeros((len(lines), top), np.float32),
            np.zeros((len(lines), 5), np.int32),
        )
        asked = []
        for row, text in enumerate(texts):
            if not text:
                answers.counts[row, 4] = EMPTY
            elif has_letters(text):
                asked.append(row)
            else:
                answers.counts[row, 4] = NO_LETTERS
        if not asked:
            return answers
        kept = [texts[row] for row in asked]
        labels, scores = self._rank(kept, top)
        answers.labels[asked], answers.scores[asked] = labels, scores
        if self._profiles is None:
            answers.counts[asked, 4] = [len(text) for text in kept]
        else:
            counts = count_familiar(kept, np.maximum(labels[:, 0], 0).tolist(), self._profiles)
            counts[labels[:, 0] < 0, :4] = 0
            answers.counts[asked] = counts
        return answers

    def _rank(
        self, texts: Sequence[str], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        classes = len(self._scripts)
        wanted = min(top if top == 1 else top + _EXTRA, classes)
        labels, scores = self._model.predict(texts, wanted)
        best = np.full((len(texts), top), -1, np.int32)
        values = np.zeros((len(texts), top), np.float32)
        again = []
        for row, text in enumerate(texts):
            allowed = [k for k in range(wanted) if self._may_be(text, int(labels[row, k]))][:top]
            if len(allowed) < top and wanted < classes:
                again.append(row)
            best[row, : len(allowed)] = labels[row, allowed]
            values[row, : len(allowed)] = scores[row, allowed]
        if again:
            labels, scores = self._model.predict([texts[row] for row in again], classes)
            for row, own, own_scores in zip(again, labels, scores, strict=True):
                allowed = [k for k in range(classes) if self._may_be(texts[row], int(own[k]))][:top]
                best[row, : len(allowed)] = own[allowed]
                values[row, : len(allowed)] = own_scores[allowed]
        return best, values

    def _may_be(self, text: str, label: int) -> bool:
        if label < 0:
            return False
        script = self._scripts[label]
        return script is None or has_script(text, script)


def known_script(language: str) -> str | None:
    """Return the script of a class; None for `und`, `zxx` and scripts that cannot be looked for."""
    script = language.partition("_")[2]
    return script if script_parts(script) & scripts_by_code().keys() else None
