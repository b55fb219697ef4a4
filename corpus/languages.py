"""Languages and directions, from what the user calls them."""

import difflib
import functools
import logging
from typing import NamedTuple

from corpus.errors import UserError
from corpus.language_codes import NO_LANGUAGE as NO_LANGUAGE
from corpus.language_codes import UNKNOWN_FAMILY as UNKNOWN_FAMILY
from corpus.language_codes import UNKNOWN_LANGUAGE as UNKNOWN_LANGUAGE
from corpus.language_codes import Language as Language
from corpus.language_codes import describe_language
from corpus.language_codes import is_language as is_language
from corpus.language_codes import known_languages as known_languages
from corpus.language_codes import language_name as language_name
from corpus.language_codes import script_of as script_of
from corpus.language_names import find_language as find_language
from corpus.language_names import language_aliases as language_aliases
from corpus.language_names import language_choices as language_choices
from corpus.language_names import same_language as same_language

logger = logging.getLogger(__name__)


class Direction(NamedTuple):
    """An ordered pair of languages, source first."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"

    @property
    def reverse(self) -> "Direction":
        """The direction from target to source."""
        return Direction(self.target, self.source)


def check_language(code: str) -> Language:
    """Return the language of a code.

    Raises:
        UserError: If it is not a code; the message suggests some.
    """
    if is_language(code):
        return describe_language(code)
    near = language_choices(code) or difflib.get_close_matches(
        code, known_languages(), n=3, cutoff=0.75
    )
    guess = f" Did you mean {_either(near)}?" if near else ""
    raise UserError(
        f"`{code}` is not a language code; a code is an ISO 639-3 code and an ISO 15924 script, as"
        f" `eng_Latn`.{guess}"
    )


def parse_language(text: str) -> Language:
    """Return the language that a name means: a code, or what others call it (`en`, `zh-Hans`).

    What a name is taken for is logged.

    Raises:
        UserError: If it means no language, or several; the message names them.
    """
    choices = language_choices(text)
    if len(choices) == 1:
        if choices[0] != text:
            _log_reading(text, choices[0])
        return describe_language(choices[0])
    if choices:
        raise UserError(f"`{text}` may mean {_either(choices)}; say which")
    return check_language(text)


@functools.cache
def _log_reading(text: str, code: str) -> None:
    """Log what a name is taken for, once per run."""
    logger.info("`%s` is taken for %s (%s)", text, code, describe_language(code).name)


def _either(codes: "list[str] | tuple[str, ...]") -> str:
    return " or ".join(f"`{code}` ({describe_language(code).name})" for code in codes)


def parse_direction(text: str) -> Direction:
    """Return the direction written as `eng_Latn-fra_Latn`, or with other names of the languages.

    Raises:
        UserError: If it has another form, or a name that means no language or several.
    """
    parts = text.split("-")
    if len(parts) < 2:
        raise UserError(f"`{text}` is not a direction; write it as `eng_Latn-fra_Latn`")
    sides = [("-".join(parts[:n]), "-".join(parts[n:])) for n in range(1, len(parts))]
    named = [pair for pair in sides if all(language_choices(side) for side in pair)]
    if len(named) > 1:
        raise UserError(f"`{text}` can be read as {' or '.join(' to '.join(p) for p in named)}")
    source, target = (named or sides)[0]
    return Direction(parse_language(source).code, parse_language(target).code)


def parse_directions(text: str) -> list[Direction]:
    """Return directions written as `A-B,C-D`, in order, each once."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return list(dict.fromkeys(parse_direction(part) for part in parts))
