"""Two engines with the same answers: the compiled pass, and fastText with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.languages import script_of
from corpus.text import script_parts, scripts_by_code
from lid.engine.characters import script_bits
from lid.engine.familiarity import count_familiar
from lid.engine.kernel import CHARACTERS, COUNTS, EMPTY, FOREIGN, NO_LETTERS, SECOND, Answers
from lid.engine.numpy_preparation import count_in_scripts, scan

_EXTRA = 1
"""Classes asked of fastText beyond those wanted, since some may be in an absent script."""

_WIDER = 6
"""How many times more are asked where these were too few."""


class Engine(Protocol):
    """Finds the best classes of lines."""

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Return the best classes whose script occurs in each line."""
        ...


class Predictor(Protocol):
    """Ranks classes by probability, as fastText does."""

    def predict(
        self, lines: Sequence[str], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the best `top` class numbers and probabilities, [N, top]; -1 where none is."""
        ...


class RestrictedModel:
    """A model of which some classes only are answered, as if there were no others."""

    def __init__(self, model: Predictor, classes: int, kept: Sequence[int]) -> None:
        """Wrap a model with that many classes; `kept` are those answered, numbered from 0."""
        self._model, self._classes = model, classes
        self._numbers = np.full(classes + 1, -1, np.int32)  # the last is that of no answer
        self._numbers[list(kept)] = np.arange(len(kept))

    def predict(
        self, lines: Sequence[str], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the best `top` classes kept; their probabilities add up to 1 over all kept."""
        labels, scores = self._model.predict(lines, self._classes)
        labels = self._numbers[labels]
        order = np.argsort(labels < 0, axis=1, kind="stable")
        labels = np.take_along_axis(labels, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        scores[labels < 0] = 0
        scores /= np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-30))
        return labels[:, :top], scores[:, :top]


class FastTextEngine:
    """fastText's bindings, a script filter and NumPy lookups: where nothing is compiled."""

    def __init__(
        self,
        model: Predictor,
        scripts: Sequence[str | None],
        profiles: NDArray[np.uint8] | None,
        typical: NDArray[np.float64],
        prepare: Callable[[Sequence[str]], list[str]],
    ) -> None:
        """Wrap a model; `scripts` are those of its classes, None for a class of any script."""
        self._model = model
        self._scripts = np.array(
            [0 if script is None else script_bits(script) for script in scripts], np.uint64
        )
        # A plain view of the mapped file: indexing a memmap costs more than the lookup.
        self._profiles = None if profiles is None else np.asarray(profiles)
        self._typical, self._prepare = typical, prepare

    def identify(self, lines: Sequence[str], top: int = 1) -> Answers:
        """Return the best classes whose script occurs in each line."""
        texts = self._prepare(lines)
        seen = scan(texts)
        answers = Answers(
            np.full((len(lines), top), -1, np.int32),
            np.zeros((len(lines), top), np.float32),
            np.zeros((len(lines), COUNTS), np.int32),
        )
        answers.counts[:, CHARACTERS] = [NO_LETTERS if text else EMPTY for text in texts]
        answers.counts[:, SECOND] = -1
        asked = np.flatnonzero(seen.has_letters)
        if not len(asked):
            return answers
        kept = [texts[row] for row in asked.tolist()]
        scripts = seen.scripts[asked]
        labels, scores = self._rank(kept, seen.writable[asked], top)
        answers.labels[asked], answers.scores[asked] = labels[:, :top], scores[:, :top]
        answers.counts[asked] = self._count(kept, scripts, labels[:, :2], scores[:, 0])
        return answers

    def _count(
        self,
        texts: Sequence[str],
        scripts: NDArray[np.uint64],
        labels: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> NDArray[np.int32]:
        """Return the counts of lines: of their scripts, [N], two best classes and best score."""
        best = labels[:, 0]
        if self._profiles is None:
            counts = np.zeros((len(texts), COUNTS), np.int32)
            counts[:, CHARACTERS] = [len(text) for text in texts]
            counts[:, SECOND] = labels[:, 1]
        else:
            counts = count_familiar(texts, labels, scores, self._profiles, self._typical)
        own = self._scripts[best]
        foreign = np.where((best >= 0) & (own != 0), scripts & ~own, 0)
        rows = np.flatnonzero(foreign)
        counts[rows, FOREIGN] = count_in_scripts(
            [texts[row] for row in rows.tolist()], foreign[rows]
        )
        return counts

    def _rank(
        self, texts: Sequence[str], scripts: NDArray[np.uint64], top: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the best classes of lines, at least two, given the script bits of each, [N]."""
        classes = len(self._scripts)
        asked = max(top, 2)
        wanted = min(asked + _EXTRA, classes)
        labels, scores = self._allowed(texts, scripts, wanted)
        allowed, other = self._count_allowed(scripts, labels[:, 0])
        missing = (labels[:, :asked] >= 0).sum(axis=1) < np.minimum(asked, allowed)
        if top < 2 and wanted > 1:
            # Only its number is wanted of the second: where no third is allowed it is known.
            is_known = missing & (allowed == 2) & (labels[:, 0] >= 0)
            labels[is_known, 1] = other[is_known]
            missing &= ~is_known
        again = np.flatnonzero(missing)
        labels, scores = labels[:, :asked], scores[:, :asked]
        while len(again) and wanted < classes:
            wanted = min(wanted * _WIDER, classes)
            whole, whole_scores = self._allowed(
                [texts[row] for row in again.tolist()], scripts[again], wanted
            )
            labels[again], scores[again] = whole[:, :asked], whole_scores[:, :asked]
            found = (whole[:, :asked] >= 0).sum(axis=1)
            again = again[found < np.minimum(asked, allowed[again])]
        lacking = ((0, 0), (0, asked - labels.shape[1]))
        return np.pad(labels, lacking, constant_values=-1), np.pad(scores, lacking)

    def _count_allowed(
        self, scripts: NDArray[np.uint64], best: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return how many classes may be in the scripts of each line, and one besides its best."""
        kinds, places = np.unique(scripts, return_inverse=True)
        allowed = (self._scripts == 0) | (self._scripts & kinds[:, None] != 0)
        first, last = (
            allowed.argmax(axis=1),
            len(self._scripts) - 1 - allowed[:, ::-1].argmax(axis=1),
        )
        other = np.where(first[places] == best, last[places], first[places])
        return allowed.sum(axis=1)[places], other.astype(np.int32)

    def _allowed(
        self, texts: Sequence[str], scripts: NDArray[np.uint64], wanted: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return fastText's best classes; -1, at the end, for those whose script the line lacks."""
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
    """Return the script of a class; None for `und`, `zxx` and scripts that Unicode data lacks."""
    script = script_of(language)
    return script if script_parts(script) & scripts_by_code().keys() else None
