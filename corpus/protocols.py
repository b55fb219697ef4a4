"""What one stage needs of another while it runs: shapes only, handed in by the front door."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Prediction(NamedTuple):
    """The language of a line and the probability given to it, in [0, 1]."""

    language: str
    score: float


class LanguageIdentifier(Protocol):
    """Names the language of lines; `und` where it is not sure, `zxx` for what is no language."""

    @property
    def languages(self) -> Sequence[str]:
        """The languages it can name, without `und` and `zxx`."""
        ...

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one prediction per line, in order."""
        ...


class IdentifierLoader(Protocol):
    """Loads a language identifier from its model directory; picklable, so that workers can."""

    def __call__(self, path: Path) -> LanguageIdentifier:
        """Return the identifier stored at `path`."""
        ...


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
