"""The language identifier: loads a model directory and answers lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import UserError
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, find_language, is_language
from corpus.protocols import LanguageIdentifier as IdentifierProtocol
from corpus.protocols import Prediction, Predictions
from lid.directory import (
    EXTENDED_FILE,
    FAMILIARITY_FILE,
    MODEL_FILE,
    NLLB,
    OPENLID,
    OWN,
    PLAIN,
    PROFILES_FILE,
    THRESHOLDS_FILE,
    WEIGHT_FILES,
    ModelDescription,
    Threshold,
    check_directory,
    read_description,
    read_thresholds,
)
from lid.engine.characters import HAN
from lid.engine.chinese import CHINESE, chinese_script
from lid.engine.engines import (
    Engine,
    FastTextEngine,
    Predictor,
    RestrictedModel,
    known_script,
)
from lid.engine.familiarity import TypicalLine, familiarity, read_typical_lines, typical_rows
from lid.engine.kernel import CHARACTERS, EMPTY, NO_LETTERS, Kernel, is_compiled
from lid.engine.numpy_preparation import prepare_many
from lid.engine.preparation import prepare_nllb, prepare_openlid, prepare_plain
from lid.engine.weights import read_array, read_weights
from lid.fasttext_model.model_file import LABEL_PREFIX, read_fasttext_file

_SHOWN_LANGUAGES = 10

BATCH_LINES = 1_000
"""Lines answered at a time."""


class Ranked(NamedTuple):
    """A class for a line: its probability, and how familiar the line is to it."""

    language: str
    score: float
    familiarity: float
    """Standard deviations from a typical line of the language; see `lid.engine.familiarity`."""


class _Batch(NamedTuple):
    """Answers to N lines as arrays; labels are -1 where there is no answer."""

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    familiarity: NDArray[np.float64]
    states: NDArray[np.int32]


class LanguageIdentifier:
    """Identifies the language of lines. Safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        classes: Sequence[str],
        thresholds: Mapping[str, Threshold],
        typical: Mapping[str, TypicalLine],
        chinese_by_characters: bool = False,
    ) -> None:
        """Assemble an identifier from its parts; `load` reads them from a directory.

        Args:
            engine: Answers with class numbers.
            classes: The answer of each class number.
            thresholds: What each class's answers need.
            typical: What is typical for each class that has a profile.
            chinese_by_characters: Whether one class covers Chinese in both scripts. The other
                script then is a class after those of the engine.
        """
        self._engine = engine
        self._classes = list(classes)
        self._chinese: dict[str, int] = {}
        if chinese_by_characters and set(CHINESE) & set(classes):
            self._classes += [name for name in CHINESE if name not in classes]
            self._chinese = {name: self._classes.index(name) for name in CHINESE}
        self._thresholds = dict(thresholds)
        self._typical = typical_rows(self._classes, typical)
        self._has_profile = np.array([name in typical for name in self._classes])
        wanted = [self._thresholds.get(name, Threshold()) for name in self._classes]
        self._least_score = np.array([one.score for one in wanted])
        self._least_familiarity = np.array([one.familiarity for one in wanted])

    @classmethod
    def load(
        cls, path: Path, verify: bool = True, languages: Sequence[str] = ()
    ) -> LanguageIdentifier:
        """Load a model directory written by `tongues lid train` or `tongues lid import`.

        The compiled pass maps its arrays into memory, so that processes on one machine share
        them; without it fastText reads the whole model into each.

        Args:
            path: The model directory.
            verify: Whether it must be whole; only what writes one opens it before that.
            languages: The only languages to be answered, beside `und` and `zxx`, as if the model
                had no others; all if empty.

        Raises:
            UserError: If `path` is not such a directory, or its model lacks one of `languages`.
            DataError: If a file in it is damaged.
        """
        compiled = not needs_fasttext(path)
        if (path / EXTENDED_FILE).is_file():
            raise UserError(
                f"{path} is an identifier with a detector beside it: name one of the two model"
                " directories in it."
            )
        if verify:
            check_directory(path)
        description = read_description(path)
        head = read_fasttext_file(path / MODEL_FILE)
        answers = description.answers
        classes = [answers.get(label, label.removeprefix(LABEL_PREFIX)) for label in head.labels]
        known = [*classes, *(CHINESE if description.chinese_by_characters else ())]
        languages = [find_language(code, known) or code for code in languages]
        kept = _kept_classes(path, classes, languages, description.chinese_by_characters)
        classes = [classes[number] for number in kept]
        has_profiles = (path / FAMILIARITY_FILE).is_file()
        typical = read_typical_lines(path / FAMILIARITY_FILE) if has_profiles else {}
        numbers = typical_rows(classes, typical)
        if compiled:
            engine: Engine = Kernel(read_weights(path, head, kept), numbers)
        else:
            engine = _plain(path, len(head.labels), kept, classes, numbers, description)
        thresholds = read_thresholds(path / THRESHOLDS_FILE)
        for name in set(CHINESE) - set(languages) if languages else ():
            thresholds[name] = Threshold(score=math.inf)
        return cls(engine, classes, thresholds, typical, description.chinese_by_characters)

    @property
    def languages(self) -> list[str]:
        """The languages this model knows, sorted; its special classes are left out."""
        return sorted({name for name in self._classes if is_language(name)})

    @property
    def classes(self) -> list[str]:
        """The answer of each class number; of an imported model several may be the same."""
        return list(self._classes)

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, in order; `und` where the line does not fit its language.

        Any line gets an answer: an empty one is `und` with score 0, one without letters `zxx`.
        """
        languages, numbers, scores = self.identify_arrays(lines)
        names = [languages[number] for number in numbers.tolist()]
        return list(map(Prediction, names, scores.tolist()))

    def identify_arrays(self, lines: Sequence[str]) -> Predictions:
        """Return what `identify` does, in arrays."""
        languages = [*self._classes, UNKNOWN_LANGUAGE, NO_LANGUAGE]
        unknown, none = len(self._classes), len(self._classes) + 1
        numbers, scores = np.empty(len(lines), np.int32), np.empty(len(lines), np.float32)
        start = 0
        for batch in self._batches(lines, 1):
            best = batch.labels[:, 0]
            known = self._accepts(best, batch.scores[:, 0], batch.familiarity)
            found = np.where(known, best, unknown)
            is_empty = batch.states <= EMPTY
            found[is_empty] = unknown
            found[is_empty & (batch.states == NO_LETTERS)] = none
            numbers[start : start + len(best)] = found
            scores[start : start + len(best)] = _answer_scores(batch)
            start += len(best)
        return Predictions(languages, numbers, scores)

    def apply_threshold(self, best: Ranked) -> Prediction:
        """Turn a best class into an answer: `und` where the line does not fit it."""
        need = self._thresholds.get(best.language, Threshold())
        if best.score < need.score or best.familiarity < need.familiarity:
            return Prediction(UNKNOWN_LANGUAGE, best.score)
        return Prediction(best.language, best.score)

    def rank(self, lines: Sequence[str]) -> list[Ranked]:
        """Return the best class per line whose script occurs in the line, without thresholds."""
        return [best[0] for best in self.rank_top(lines, 1)]

    def rank_top(self, lines: Sequence[str], top: int) -> list[list[Ranked]]:
        """Return up to `top` classes per line, best first, without thresholds.

        Familiarity is looked up for the best class only; the others' is that of the best.
        """
        answers: list[list[Ranked]] = []
        for batch in self._batches(lines, min(max(top, 1), len(self._classes))):
            for labels, scores, familiar, state in zip(
                batch.labels.tolist(),
                batch.scores.tolist(),
                batch.familiarity.tolist(),
                batch.states.tolist(),
                strict=True,
            ):
                ranked = [
                    Ranked(self._classes[label], score, familiar)
                    for label, score in zip(labels, scores, strict=True)
                    if label >= 0
                ]
                answers.append(
                    ranked if ranked and state > EMPTY else [_answer_without_letters(state)]
                )
        return answers

    def probabilities(self, lines: Sequence[str]) -> NDArray[np.float32]:
        """Return the probability of each class number for each line, [N, C].

        Classes whose script does not occur in a line have 0, as all have for a line without
        letters.
        """
        whole = np.zeros((len(lines), len(self._classes)), np.float32)
        start = 0
        for batch in self._batches(lines, len(self._classes)):
            rows, ranks = np.nonzero(batch.labels >= 0)
            whole[start + rows, batch.labels[rows, ranks]] = batch.scores[rows, ranks]
            start += len(batch.labels)
        return whole

    def _batches(self, lines: Sequence[str], top: int) -> list[_Batch]:
        return [
            self._ask(lines[start : start + BATCH_LINES], top)
            for start in range(0, len(lines), BATCH_LINES)
        ]

    def _ask(self, lines: Sequence[str], top: int) -> _Batch:
        labels, scores, counts = self._engine.identify(lines, top)
        if self._chinese:
            self._tell_chinese_apart(lines, labels)
        best = labels[:, 0]
        familiar = familiarity(counts, self._typical, best, scores[:, 0])
        familiar[~self._has_profile[best] | (best < 0)] = 0.0
        return _Batch(labels, scores, familiar, counts[:, CHARACTERS])

    def _tell_chinese_apart(self, lines: Sequence[str], labels: NDArray[np.int32]) -> None:
        """Decide between the two Chinese classes by the characters of each line, in place.

        Several labels of a model may answer Chinese; each of them is replaced.
        """
        numbers = [n for n, name in enumerate(self._classes) if name in self._chinese]
        for row, rank in zip(*np.nonzero(np.isin(labels, numbers)), strict=True):
            name = chinese_script(lines[row], self._classes[labels[row, rank]])
            if name != self._classes[labels[row, rank]]:
                labels[row, rank] = self._chinese[name]

    def _accepts(
        self,
        best: NDArray[np.int32],
        scores: NDArray[np.float32],
        familiar: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        accepted = (
            (best >= 0)
            & (scores >= self._least_score[best])
            & (familiar >= self._least_familiarity[best])
        )
        return np.asarray(accepted)


class Agreement:
    """Two identifiers that must agree: what one of them alone answers is `und`.

    Meant for identifiers trained on different text, whose mistakes differ.
    """

    def __init__(self, first: IdentifierProtocol, second: IdentifierProtocol) -> None:
        """Combine two identifiers.

        Raises:
            UserError: If they share no language.
        """
        self._both = first, second
        if not self.languages:
            raise UserError("the two models share no language, so they can never agree.")

    @property
    def languages(self) -> list[str]:
        """The languages that both know, sorted."""
        first, second = self._both
        return sorted(set(first.languages) & set(second.languages))

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, with the lower of both scores; `und` where they differ."""
        first, second = (one.identify(lines) for one in self._both)
        return [
            Prediction(
                a.language if a.language == b.language else UNKNOWN_LANGUAGE, min(a.score, b.score)
            )
            for a, b in zip(first, second, strict=True)
        ]


def needs_fasttext(path: Path) -> bool:
    """Whether a model directory is answered by fastText here, for want of the compiled pass."""
    return not (is_compiled() and all((path / name).is_file() for name in WEIGHT_FILES))


def _answer_scores(batch: _Batch) -> NDArray[np.float32]:
    scores = batch.scores[:, 0].copy()
    scores[batch.states == NO_LETTERS] = 1.0
    return scores


def _answer_without_letters(state: int) -> Ranked:
    """Return the answer to a line that is empty or holds no letters."""
    if state == NO_LETTERS:
        return Ranked(NO_LANGUAGE, 1.0, 0.0)
    return Ranked(UNKNOWN_LANGUAGE, 0.0, 0.0)


def _kept_classes(
    path: Path, classes: Sequence[str], languages: Sequence[str], chinese_by_characters: bool
) -> list[int]:
    """Return the numbers of the classes that may be answered: all, or those of `languages`."""
    if not languages:
        return list(range(len(classes)))
    wanted = set(languages)
    known = {name for name in classes if is_language(name)}
    if chinese_by_characters:
        known |= set(CHINESE)
        if wanted & set(CHINESE):
            wanted |= set(CHINESE)  # one class has both; what was not asked for becomes `und`
    if unknown := sorted(set(languages) - known):
        raise UserError(
            f"{path} does not know {', '.join(unknown)}. It knows {len(known)} languages:"
            f" {', '.join(sorted(known)[:_SHOWN_LANGUAGES])}"
            f"{', …' if len(known) > _SHOWN_LANGUAGES else ''}."
        )
    return [n for n, name in enumerate(classes) if name in wanted or not is_language(name)]


def _plain(
    path: Path,
    model_classes: int,
    kept: Sequence[int],
    classes: Sequence[str],
    typical: NDArray[np.float64],
    description: ModelDescription,
) -> Engine:
    from lid.fasttext_model.bindings import FastTextModel

    file = path / PROFILES_FILE
    profiles = read_array(file) if file.is_file() else None
    model: Predictor = FastTextModel(path / MODEL_FILE)
    if len(kept) < model_classes:
        model = RestrictedModel(model, model_classes, kept)
        profiles = profiles[list(kept)] if profiles is not None else None
    return FastTextEngine(
        model,
        [
            HAN if description.chinese_by_characters and name in CHINESE else known_script(name)
            for name in classes
        ],
        profiles,
        typical,
        _PREPARATIONS[description.preparation],
    )


_PREPARATIONS: Mapping[str, Callable[[Sequence[str]], list[str]]] = {
    OWN: prepare_many,
    PLAIN: lambda lines: list(map(prepare_plain, lines)),
    OPENLID: lambda lines: list(map(prepare_openlid, lines)),
    NLLB: lambda lines: list(map(prepare_nllb, lines)),
}
