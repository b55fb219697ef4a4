"""Protocols for what one stage needs from another at run time; `tongues.py` passes the objects."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from corpus.errors import UserError

CHECKSUMS_FILE = "checksums.json"
"""In the directory of a language identifier: digests of the files that decide its answers."""

BUILTIN = Path("builtin")
"""What `--lid` and `--model` call the identifier that needs no model, `lid.builtin`; a directory of
this name is given as a full path."""

BUILTIN_PACKAGE = "pycld2"
"""The package that its tables come in, of the extra `cld2`."""

BUILTIN_USED = "languages are identified by the builtin identifier, CLD2 (about 160 languages)"
"""What commands log that use it."""

_MODEL_FILE = "model.bin"
_BUILTIN_ENCODER = Path("builtin")


class Prediction(NamedTuple):
    """The language of a line and the probability given to it, in [0, 1]."""

    language: str
    score: float


class Predictions(NamedTuple):
    """The languages of many lines, and the probabilities given to them."""

    languages: Sequence[str]
    """All answers that there may be."""

    numbers: NDArray[np.int32]
    """The answer to each line, an index into `languages`, [N]."""

    scores: NDArray[np.float32]
    """In [0, 1], [N]."""


class Span(NamedTuple):
    """A part of a line in one language."""

    language: str
    """As the identifier answers for the part alone."""

    score: float
    start: int
    """Its first character in the line."""

    end: int
    """The character after its last."""


class LanguageIdentifier(Protocol):
    """Identifies the language of lines; `und` if it is uncertain, `zxx` if it is not a language."""

    @property
    def languages(self) -> Sequence[str]:
        """The languages it can name, without `und` and `zxx`."""
        ...

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one prediction per line, in order."""
        ...


@runtime_checkable
class ArrayIdentifier(LanguageIdentifier, Protocol):
    """Answers in arrays, too: objects for each of many lines take a tenth of the time."""

    def identify_arrays(self, lines: Sequence[str]) -> Predictions:
        """Return what `identify` does."""
        ...


class SpanIdentifier(LanguageIdentifier, Protocol):
    """Identifies the languages of the parts of lines too."""

    def identify_spans(self, lines: Sequence[str]) -> list[list[Span]]:
        """Return the parts of each line, one at least, in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class IdentifierOptions:
    """How an identifier answers."""

    languages: tuple[str, ...] = ()
    """The only languages to be answered, beside `und` and `zxx`; all if empty."""

    agree_with: Path | None = None
    """A second identifier: where the two answers differ, the answer is `und`."""

    groups: bool = False
    """Whether a confusable group (`bos_Latn,hrv_Latn`) is answered where no language is sure."""

    spans: bool = False
    """Whether the identifier is a `SpanIdentifier`."""


PLAIN_ANSWERS = IdentifierOptions()


class IdentifierLoader(Protocol):
    """Loads a language identifier from its model directory; picklable, so that workers can."""

    def __call__(
        self, path: Path, options: IdentifierOptions = PLAIN_ANSWERS
    ) -> LanguageIdentifier:
        """Return the identifier stored at `path`; `BUILTIN` is the one that needs no model.

        Raises:
            UserError: If there is none, or it cannot answer as the options want.
        """
        ...

    def __hash__(self) -> int:
        """Return a hash, so that processes load an identifier once."""
        ...


def identifier_inputs(directory: Path) -> tuple[Path, ...]:
    """Return the files that stand for a language identifier as input of a job.

    That is its checksums: they change when the model does, and not with a report or a comment in
    its `config.yaml`, and loading checks the rest against them. A model without any, which another
    program wrote, is represented by its weights.

    Of the builtin identifier it is the compiled package, tables included.

    Raises:
        UserError: If the directory holds no identifier, or the builtin one is not installed.
    """
    if directory == BUILTIN:
        return builtin_files()
    for name in (CHECKSUMS_FILE, _MODEL_FILE):
        if (directory / name).is_file():
            return (directory / name,)
    raise UserError(
        f"{directory} is not a language identifier: it has neither {CHECKSUMS_FILE} nor"
        f" {_MODEL_FILE}. Give the directory that `tongues lid train` or `tongues lid import`"
        " wrote."
    )


def builtin_files() -> tuple[Path, ...]:
    """Return the files of the builtin identifier.

    Raises:
        UserError: If it is not installed.
    """
    spec = importlib.util.find_spec(BUILTIN_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the builtin language identifier is not installed (package"
            f" `{BUILTIN_PACKAGE}`). Install it with `pip install '.[cld2]'` in a clone of the"
            " project (it has wheels for Python up to 3.13), fetch a published identifier"
            " (`tongues data fetch openlid-v3`, then `tongues lid import`), or train one"
            " (`tongues lid train`), and name its directory as --lid or --model"
        )
    return tuple(sorted(Path(spec.origin).parent.glob(f"_{BUILTIN_PACKAGE}*.so")))


class TranslationScorer(Protocol):
    """Scores the translations of a text."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> float:
        """Return chrF++, 0 to 100; there is one hypothesis per reference, one at least."""
        ...


class ScorerLoader(Protocol):
    """Loads what scores translations; picklable, so that workers can."""

    def __call__(self) -> TranslationScorer:
        """Return the scorer."""
        ...


class SentenceEncoder(Protocol):
    """Maps sentences of all its languages into one space."""

    def encode(self, sentences: Sequence[str], language: str = "") -> NDArray[np.float32]:
        """Return unit vectors, [N, D], of sentences that are all in one language."""
        ...


class EncoderLoader(Protocol):
    """Loads a sentence encoder; picklable, so that workers can."""

    def __call__(self, path: Path, *, threads: int = 1) -> SentenceEncoder:
        """Return the encoder stored at `path`, or the builtin one for `builtin`."""
        ...

    def __hash__(self) -> int:
        """Translators are kept by what they were opened with."""
        ...


def encoder_inputs(directory: Path) -> tuple[Path, ...]:
    """Return the files that stand for a sentence encoder as input of a job; none for `builtin`.

    Raises:
        UserError: If there is no such directory.
    """
    if directory == _BUILTIN_ENCODER:
        return ()
    if not directory.is_dir():
        raise UserError(
            f"there is no encoder directory {directory}; `{_BUILTIN_ENCODER}` needs none"
        )
    return tuple(sorted(path for path in directory.rglob("*") if path.is_file()))
