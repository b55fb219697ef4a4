"""A language identifier that answers with the caller's names of languages."""

from collections.abc import Iterable, Sequence

import numpy as np

from corpus.languages import find_language
from corpus.protocols import ArrayIdentifier, LanguageIdentifier, Prediction, Predictions


class RenamedIdentifier:
    """Answers as another identifier does, with `cmn_Hans` for `zho_Hans` where data has that.

    Languages that the caller does not name keep the identifier's names.
    """

    def __init__(self, identifier: LanguageIdentifier, languages: Iterable[str]) -> None:
        """Take the names of some languages."""
        self._identifier = identifier
        wanted = list(languages)
        known = identifier.languages if wanted else ()
        theirs = {language: find_language(language, known) for language in wanted}
        self._names = {code: ours for ours, code in theirs.items() if code is not None}

    @property
    def languages(self) -> Sequence[str]:
        """The languages it can name."""
        return sorted(self._names.get(code, code) for code in self._identifier.languages)

    def name(self, language: str) -> str:
        """Return what the caller calls a language of the identifier."""
        return self._names.get(language, language)

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one prediction per line, in order."""
        if not self._names:
            return self._identifier.identify(lines)
        return [
            Prediction(self.name(one.language), one.score)
            for one in self._identifier.identify(lines)
        ]

    def identify_arrays(self, lines: Sequence[str]) -> Predictions:
        """Return what `identify` does, in arrays."""
        if isinstance(self._identifier, ArrayIdentifier):
            found = self._identifier.identify_arrays(lines)
            if not self._names:
                return found
            return found._replace(languages=[self.name(code) for code in found.languages])
        predictions = self.identify(lines)
        numbers: dict[str, int] = {}
        return Predictions(
            numbers=np.array(
                [numbers.setdefault(one.language, len(numbers)) for one in predictions], np.int32
            ),
            scores=np.array([one.score for one in predictions], np.float32),
            languages=list(numbers),
        )
