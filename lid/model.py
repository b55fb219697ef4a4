"""The trained identifier, and the only place that touches fastText.

fastText trusts its input: a truncated model file crashes the process, an empty line gets an answer
of .996, `predict` fails on NumPy 2. So files are checked before it sees them, lines are prepared
before it sees them, and its bindings are called directly.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fasttext
from fasttext import FastText

from corpus.errors import DataError, UserError
from corpus.files import digest_file, read_json, read_lines, write_json
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, Language, is_language
from corpus.protocols import Prediction
from lid.text import has_letters, has_script, prepare

MODEL_FILE = "model.bin"
THRESHOLDS_FILE = "thresholds.tsv"
LANGUAGES_FILE = "languages.tsv"
CHECKSUMS_FILE = "checksums.json"
SPECIAL_CLASSES = frozenset({UNKNOWN_LANGUAGE, NO_LANGUAGE})
"""Classes that are no language and so have no script."""

_MAGIC = 793_712_314
_VERSION = 12
_LABEL = "__label__"
_BATCH_LINES = 1_000
_NO_WORDS = 2_000_000_000
"""A word minimum count that no word reaches: only character n-grams get vectors, so `</s>`
gets none either (an empty line then says nothing)."""


def fit(training_file: Path, model_file: Path, settings: Mapping[str, Any]) -> None:
    """Train a fastText classifier and save it. Call it in a process of its own.

    Args:
        training_file: Lines `__label__<class> <prepared text>`.
        model_file: Where the model goes.
        settings: dim, min_ngram, max_ngram, buckets, learning_rate, epochs, threads, seed.
    """
    model = fasttext.train_supervised(
        input=str(training_file),
        dim=settings["dim"],
        minn=settings["min_ngram"],
        maxn=settings["max_ngram"],
        bucket=settings["buckets"],
        lr=settings["learning_rate"],
        epoch=settings["epochs"],
        thread=settings["threads"],
        seed=settings["seed"],
        minCount=_NO_WORDS,
        loss="softmax",
        verbose=2,
    )
    model.save_model(str(model_file))


def write_checksums(directory: Path) -> None:
    """Record size and digest of a model directory's files; `LanguageIdentifier.load` checks."""
    write_json(
        directory / CHECKSUMS_FILE,
        {
            name: {
                "bytes": (directory / name).stat().st_size,
                "blake2b": digest_file(directory / name),
            }
            for name in (MODEL_FILE, THRESHOLDS_FILE, LANGUAGES_FILE)
        },
    )


class LanguageIdentifier:
    """A trained model with its thresholds. Reading from several threads is safe."""

    def __init__(self, binding: Any, thresholds: Mapping[str, float]) -> None:
        """Wrap fastText's binding; see `load`."""
        self._binding = binding
        self._thresholds = dict(thresholds)
        self._scripts = {
            name: Language(name, name).script
            for name in self._thresholds
            if name not in SPECIAL_CLASSES
        }

    @classmethod
    def load(cls, path: Path) -> LanguageIdentifier:
        """Load a model directory written by `tongues lid train`.

        Raises:
            UserError: If `path` is not such a directory.
            DataError: If a file in it is damaged.
        """
        _check_directory(path)
        thresholds = read_thresholds(path / THRESHOLDS_FILE)
        return cls(load_binding(path / MODEL_FILE), thresholds)

    @property
    def languages(self) -> list[str]:
        """The languages this model knows, sorted; its special classes are left out."""
        return sorted(self._scripts)

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, in order; `und` below the language's threshold.

        Any line gets an answer: an empty one is `und` with score 0, one without letters `zxx`.
        """
        return [self.settle(best) for best in self.rank(lines)]

    def settle(self, best: Prediction) -> Prediction:
        """Turn the best class into an answer: `und` where its score is below its threshold."""
        if best.score < self._thresholds.get(best.language, 0.0):
            return Prediction(UNKNOWN_LANGUAGE, best.score)
        return best

    def rank(self, lines: Sequence[str]) -> list[Prediction]:
        """Return the best class per line whose script occurs in the line, without thresholds."""
        answers: list[Prediction] = []
        for start in range(0, len(lines), _BATCH_LINES):
            answers += self._rank_batch([prepare(line) for line in lines[start:][:_BATCH_LINES]])
        return answers

    def _rank_batch(self, texts: list[str]) -> list[Prediction]:
        answers = [
            Prediction(NO_LANGUAGE, 1.0) if text else Prediction(UNKNOWN_LANGUAGE, 0.0)
            for text in texts
        ]
        asked = [i for i, text in enumerate(texts) if text and has_letters(text)]
        if not asked:
            return answers
        labels, scores = self._binding.multilinePredict(
            [texts[i] + "\n" for i in asked], 1, 0.0, "strict"
        )
        for i, label, score in zip(asked, labels, scores, strict=True):
            answers[i] = self._veto(texts[i], label[0].removeprefix(_LABEL), float(score[0]))
        return answers

    def _veto(self, text: str, language: str, score: float) -> Prediction:
        """Pass the best class, or the best of those whose script occurs in the text."""
        if self._may_be(text, language):
            return Prediction(language, min(score, 1.0))
        for other_score, label in self._binding.predict(text + "\n", -1, 0.0, "strict"):
            other = label.removeprefix(_LABEL)
            if self._may_be(text, other):
                return Prediction(other, min(float(other_score), 1.0))
        return Prediction(UNKNOWN_LANGUAGE, 0.0)

    def _may_be(self, text: str, language: str) -> bool:
        script = self._scripts.get(language)
        return script is None or has_script(text, script)


def load_binding(model_file: Path) -> Any:
    """Return fastText's own object for a model file, after looking at the file's head."""
    with model_file.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or struct.unpack("<ii", head) != (_MAGIC, _VERSION):
        raise DataError(f"{model_file} is not a fastText model of version {_VERSION}.")
    binding = FastText.fasttext.fasttext()
    binding.loadModel(str(model_file))
    return binding


def read_thresholds(path: Path) -> dict[str, float]:
    """Read `thresholds.tsv`: the classes of the model and the score each one needs."""
    thresholds = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        name, _, rest = line.partition("\t")
        try:
            thresholds[name] = float(rest.partition("\t")[0])
        except ValueError:
            raise DataError(f"{path}:{number}: `{line}` has no threshold") from None
        if name not in SPECIAL_CLASSES and not is_language(name):
            raise DataError(f"{path}:{number}: `{name}` is not a language code")
    return thresholds


def _check_directory(path: Path) -> None:
    checksums = path / CHECKSUMS_FILE
    if not checksums.is_file():
        raise UserError(
            f"{path} is not a language identification model: it has no {CHECKSUMS_FILE}. Give the"
            " directory that `tongues lid train --output` wrote; if its training was interrupted,"
            " run the same command again."
        )
    for name, there in read_json(checksums).items():
        file = path / name
        if not file.is_file():
            raise DataError(f"{path} has lost its {name}. Train again, or copy it whole.")
        size = file.stat().st_size
        if size != there["bytes"]:
            raise DataError(
                f"{file} is damaged: it has {size:,} bytes, and {there['bytes']:,} were written."
                " Copy the model directory again, or train it again."
            )
        if digest_file(file) != there["blake2b"]:
            raise DataError(
                f"{file} is damaged or was changed: its checksum is not the one in"
                f" {checksums.name}. Copy the model directory again, or train it again."
            )
