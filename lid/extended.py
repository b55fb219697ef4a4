"""An identifier with a detector beside it, for a language that it does not know.

Its directory holds `extended.json`, the detector's model directory and that of the identifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.errors import DataError
from corpus.files import read_json, write_json
from corpus.languages import UNKNOWN_LANGUAGE, find_language
from corpus.protocols import BUILTIN, CHECKSUMS_FILE, Prediction
from corpus.protocols import LanguageIdentifier as IdentifierProtocol
from lid.directory import EXTENDED_FILE, check_checksums, write_checksums

DETECTOR, BASE = "detector", "base"


class ExtendedIdentifier:
    """What the detector takes for its language is answered so; all else is the base's answer."""

    def __init__(
        self, base: IdentifierProtocol | None, detector: IdentifierProtocol, language: str
    ) -> None:
        """Combine an identifier, or none, with another one, of which only one answer counts."""
        self._base, self._detector, self._language = base, detector, language

    @property
    def languages(self) -> list[str]:
        """The languages of the base and that of the detector, sorted."""
        base = self._base.languages if self._base is not None else ()
        return sorted({*base, self._language})

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, in order; scores are of the part that answered."""
        answers = self._detector.identify(lines)
        others = [i for i, one in enumerate(answers) if one.language != self._language]
        if self._base is None:
            for i in others:
                answers[i] = Prediction(UNKNOWN_LANGUAGE, answers[i].score)
            return answers
        for i, answer in zip(others, self._base.identify([lines[i] for i in others]), strict=True):
            answers[i] = answer
        return answers


def is_extended(path: Path) -> bool:
    """Whether a directory holds an identifier with a detector."""
    return (path / EXTENDED_FILE).is_file()


def write_extended(path: Path, language: str, base: Path) -> tuple[Path, ...]:
    """Write what joins the two parts, which are there; return the files written.

    Args:
        path: The directory.
        language: Of the detector.
        base: `BUILTIN`, or the identifier's directory in `path`.
    """
    write_json(path / EXTENDED_FILE, {"language": language, "base": base.name})
    parts = [DETECTOR] if base == BUILTIN else [DETECTOR, base.name]
    write_checksums(path, [EXTENDED_FILE, *(f"{part}/{CHECKSUMS_FILE}" for part in parts)])
    return path / EXTENDED_FILE, path / CHECKSUMS_FILE


def read_extended(path: Path) -> tuple[str, Path]:
    """Return the language of a directory's detector, and the identifier that it stands beside.

    Raises:
        DataError: If a file is damaged or was changed.
    """
    check_checksums(path)
    there = read_json(path / EXTENDED_FILE)
    try:
        language, base = str(there["language"]), str(there["base"])
    except (KeyError, TypeError):
        raise DataError(f"{path / EXTENDED_FILE} does not name a language and a base.") from None
    return language, BUILTIN if base == str(BUILTIN) else path / base


def load_extended(
    path: Path,
    languages: Sequence[str],
    load: Callable[[Path, Sequence[str]], IdentifierProtocol],
) -> IdentifierProtocol:
    """Load a directory with an identifier and a detector.

    Args:
        path: The directory.
        languages: The only languages to be answered; all if empty.
        load: Loads either part so that it answers only some languages.

    Raises:
        UserError: If neither part knows one of `languages`.
        DataError: If it is damaged.
    """
    language, base = read_extended(path)
    asked = [code for code in languages if find_language(code, [language]) is None]
    if languages and len(asked) == len(languages):
        return load(base, languages)
    # All languages of the detector compete, so that it can say no.
    detector = load(path / DETECTOR, ())
    needs_base = bool(asked) or not languages
    return ExtendedIdentifier(load(base, asked) if needs_base else None, detector, language)
