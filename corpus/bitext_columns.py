"""Which columns of a bitext file are source, target and score: by name, or as configured.

Names are compared without case, quotation marks and the words that only say "text": `Source`,
`"src"`, `source_text`, `sentence_eng_Latn`, `translation.fr`. Languages are recognized by
code, ISO 639-1 or -3 code or name, in English or in either language of the file; the direction of
the file determines the source. A file without a header has source and target first; one whose first
columns hold numbers, addresses or codes, or whose first line looks like a header that is not
understood, is refused. A first line of words that no later line resembles looks like one.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from corpus.errors import DataError, UserError
from corpus.language_registry import display_names
from corpus.languages import Direction, language_aliases, language_choices, same_language

SIDES = ("source", "target")
SCORE = "score"
ROLES = (*SIDES, SCORE)

_WORDS = {
    "source": "source",
    "src": "source",
    "original": "source",
    "target": "target",
    "tgt": "target",
    "trg": "target",
    "translation": "target",
    "translated": "target",
}
_FILLERS = frozenset({
    "raw", "seg", "segment", "segments", "sent", "sentence", "sentences", "string", "text", "texts",
    "txt",
})  # fmt: skip
"""Words in column names that say nothing about the side."""
_NUMBERED = re.compile(r"(?:sentence|sent|text|txt|segment|seg|side|lang|l|s)_?([12])")
_SCORES = frozenset({
    "alignment_score", "bicleaner_ai_score", "bicleaner_score", "laser3_score", "laser_score",
    "margin", "margin_score", "score", "scores", "similarity_score",
})  # fmt: skip
_OTHER_WORDS = frozenset({
    "checksum", "collection", "corpus", "dataset", "date", "doc", "doc_id", "document", "domain",
    "hash", "hyp", "hypothesis", "id", "ids", "idx", "index", "key", "label", "lang", "language",
    "license", "line", "line_number", "link", "mt", "provenance", "ref", "reference", "split",
    "title", "topic", "uri", "url", "urls",
})  # fmt: skip
_STRONG = re.compile(
    r"(?:.*_)?(?:source|src|target|tgt|trg|score|url|uri|deferred_hash|checksum)\d*(?:_.*)?"
)
_COLUMN_NUMBER = re.compile(r"(?:column|col|c|field|unnamed:?)_?\d+")
_LONGEST_NAME = 48
_NAME = re.compile(r"""[\w#\ufeff"'`./:()-]*(?: [\w()-]+["'`]?)?(?<![.])""")
_NUMBER = re.compile(
    r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?%?|nan|[+-]?inf", re.IGNORECASE
)
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(?=\S*\d)[A-Za-z0-9_.:/#@|-]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.,+Z-]*)?")
_CODE = re.compile(r"[a-z]{2,3}(?:[_-][A-Za-z]{2,4})?")
_WORD = re.compile(r"[^\W\d_](?:[\w.-]*\w)?")
_LONGEST_WORD = 24
_OTHER_LINES = 2
"""Lines after the first that it takes to tell a header of lower-case words from a pair of them."""
_MANY_OTHER_LINES = 20
"""The same for words with a capital letter, with which sentences begin too."""
_FEW = 3
_MOST = 0.95
"""Share of a column's cells from which it is taken to hold numbers, addresses or codes."""


def check_columns(columns: Mapping[str, str]) -> None:
    """Check the config key `columns`.

    Raises:
        UserError: If it names anything but source, target and score, or only one side.
    """
    unknown = sorted(set(columns) - set(ROLES))
    if unknown:
        raise UserError(f"`columns` has no key `{unknown[0]}`; it has {', '.join(ROLES)}")
    missing = [side for side in SIDES if columns and side not in columns]
    if missing:
        raise UserError(f"`columns` lacks the key `{missing[0]}`; both sides must be given")
    for role, column in columns.items():
        if not column or column == "0":
            raise UserError(
                f"`columns.{role}` is `{column}`; it is the name of a column, or its number from 1"
            )
    if len(set(columns.values())) < len(columns):
        raise UserError(f"`columns` names one column twice: {', '.join(columns.values())}")


def are_numbers(columns: Mapping[str, str]) -> bool:
    """Whether columns are given by number, as of a file without a header."""
    return bool(columns) and all(
        column.isascii() and column.isdigit() for column in columns.values()
    )


def numbered_columns(path: object, columns: Mapping[str, str], width: int) -> dict[str, int]:
    """Return the places of columns that are given by number.

    Raises:
        DataError: If the first line has fewer.
    """
    last = max(map(int, columns.values()))
    if last > width:
        raise DataError(f"{path}: `columns` asks for column {last}; the first line has {width}")
    return {role: int(column) - 1 for role, column in columns.items()}


def named_columns(
    path: object, names: Sequence[str], columns: Mapping[str, str], direction: Direction | None
) -> dict[str, int] | None:
    """Return the places of source and target, and of the score where there is one.

    Args:
        path: The file, for messages.
        names: Of its columns, or the cells of its first line.
        columns: The configured names; empty for the usual ones.
        direction: Of the file, where it is known.

    Returns:
        None if the names do not say which is source and which is target.

    Raises:
        DataError: If a column that was named is missing, or if they are named after languages of
            another direction.
    """
    if columns:
        return _given(path, names, columns)
    clean = [_clean(name) for name in names]
    found = {side: _places_of_side(side, names, clean) for side in SIDES}
    if not all(found.values()) and all(map(_may_be_name, names)):
        _add_languages(path, clean, direction, found)
    chosen = {side: places[0] for side, places in found.items() if len(places) == 1}
    if len(chosen) < len(SIDES):
        return None
    scores = [i for i, name in enumerate(names) if name == SCORE] or [
        i for i, name in enumerate(clean) if name in _SCORES
    ]
    return chosen | ({SCORE: scores[0]} if len(scores) == 1 else {})


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether the cells of a first line look like names of columns rather than like text."""
    return _is_header([_clean(cell) for cell in cells])


def check_first_lines(path: object, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a TSV without a header whose first two columns do not look like text.

    Raises:
        DataError: Saying what is there and how to name the columns.
    """
    if looks_like_header(rows[0]):
        raise DataError(f"{path}: {_not_understood(rows[0])}")
    if _is_unlike_others(rows):
        there = ", ".join(f"`{_shown(cell)}`" for cell in rows[0][:12])
        raise DataError(
            f"{path}: the first line is of single words ({there}), unlike all others, and may be a"
            f" header. If it is one, name the columns `source` and `target`, or give"
            f" {_as_config(rows[0])}. If it is a pair, put the line `source<TAB>target` before it,"
            f" or give {_as_config('12')}."
        )
    for place in range(min(2, max(map(len, rows)))):
        cells = [row[place].strip() for row in rows if len(row) > place and row[place].strip()]
        kind = _kind_of(cells, few=_FEW if max(map(len, rows)) == len(SIDES) else 1)
        if kind is None or (kind == "numbers" and _all_numbers(rows)):
            continue
        raise DataError(
            f"{path}: column {place + 1} holds {kind} (`{cells[0]}`), though without a header the"
            f" first two columns are source and target. {remedy(2)}"
        )


def is_number(cell: str) -> bool:
    """Whether a cell holds a number and nothing else."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def column_languages(names: Sequence[str]) -> list[frozenset[str]]:
    """Return the languages that columns may be named after, of those that are."""
    return list(_named_after_languages([_clean(name) for name in names]).values())


def _all_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether both columns of a two-column file hold numbers, which may be pairs."""
    return all(
        len(row) == 2 and all(_NUMBER.fullmatch(cell.strip()) for cell in row) for row in rows
    )


def _kind_of(cells: Sequence[str], few: int) -> str | None:
    """Return what a column holds instead of text, if almost all of its cells do.

    Args:
        cells: Those that are not empty.
        few: Cells that it takes to tell codes and identifiers from words.
    """
    kinds = {"numbers": _NUMBER, "addresses": _ADDRESS, "dates": _DATE, "identifiers": _IDENTIFIER}
    for kind, pattern in kinds.items():
        fitting = sum(pattern.fullmatch(cell) is not None for cell in cells)
        if len(cells) >= (few if kind == "identifiers" else 1) and fitting >= _MOST * len(cells):
            return kind
    # Codes throughout are a column of codes; a word that looks like one is a word.
    codes = [cell for cell in cells if _CODE.fullmatch(cell) and _languages_named(_clean(cell))]
    return "language codes" if few <= len(cells) == len(codes) else None


def _is_unlike_others(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is of single words and no later row has such a word in the same place.

    Pairs of single words are usual in dictionaries and phrase lists, where they do not stand alone.
    """
    first, others = rows[0], rows[1:]
    if len(first) < len(SIDES) or len(others) < _OTHER_LINES or not all(map(_is_word, first)):
        return False
    cells = [cell for row in others for cell in row[: len(SIDES)]]
    if all(_is_lower(cell) for cell in first):
        return not any(_is_word(cell) and _is_lower(cell) for cell in cells)
    return len(others) >= _MANY_OTHER_LINES and not any(map(_is_word, cells))


def _is_word(cell: str) -> bool:
    """Whether a cell is one word in a script with letter case, without punctuation around it."""
    plain = _without_marks(cell.strip())
    return (
        len(plain) <= _LONGEST_WORD
        and plain.lower() != plain.upper()
        and _WORD.fullmatch(plain) is not None
    )


def _is_lower(cell: str) -> bool:
    """Whether a word begins in lower case; in the rest only `sourceText` has capitals."""
    return cell.strip()[:1].islower()


def _as_config(columns: Sequence[str]) -> str:
    pairs = zip(SIDES, columns, strict=False)
    return " ".join(f"--config columns.{side}={column.strip()}" for side, column in pairs)


def _may_be_name(cell: str) -> bool:
    """Whether a cell is a word or two without the punctuation of a sentence."""
    plain = _without_marks(cell.strip())
    return len(cell) <= _LONGEST_NAME and _NAME.fullmatch(plain) is not None


def _without_marks(text: str) -> str:
    """Return text without combining marks, which are parts of words but no letters."""
    if text.isascii():
        return text
    return "".join(sign for sign in text if unicodedata.category(sign)[0] != "M")


def _given(path: object, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    places = {}
    for role, column in columns.items():
        if column.isascii() and column.isdigit() and column not in names:
            if int(column) > len(names):
                raise DataError(
                    f"{path}: `columns.{role}` is {column}; there are {len(names)} columns"
                )
            places[role] = int(column) - 1
            continue
        same = [i for i, name in enumerate(names) if name == column] or [
            i for i, name in enumerate(names) if _clean(name) == _clean(column)
        ]
        if len(same) != 1:
            there = ", ".join(f"`{_shown(name)}`" for name in names[:12])
            problem = "has no column" if not same else "has more than one column"
            raise DataError(
                f"{path} {problem} `{column}`, which `columns.{role}` names; its first line has"
                f" {there}"
            )
        places[role] = same[0]
    return places


def _clean(name: str) -> str:
    """Return a name for comparison: no case, no quotation marks, `_` between its words."""
    plain = unicodedata.normalize("NFC", name).strip().lstrip("\ufeff#").strip().strip("\"'`")
    return re.sub(r"[\s._:/-]+", "_", plain.casefold()).strip("_")


def _without_fillers(name: str) -> str:
    words = name.split("_")
    return "_".join([word for word in words if word not in _FILLERS])


def _side_of(clean: str) -> str | None:
    if numbered := _NUMBERED.fullmatch(clean):
        return SIDES[int(numbered[1]) - 1]
    joined = re.sub(r"^(source|src|target|tgt|trg)(text|sentence|segment)s?$", r"\1", clean)
    return _WORDS.get(_without_fillers(joined))


def _places_of_side(side: str, names: Sequence[str], clean: Sequence[str]) -> list[int]:
    exact = [i for i, name in enumerate(names) if name == side]
    if exact:
        return exact
    of_side = [i for i, name in enumerate(clean) if _side_of(name) == side]
    plain = [i for i in of_side if clean[i] == side]
    if plain or of_side:
        return plain or of_side
    if side == "source":  # `text` and `translation`
        alone = [i for i, name in enumerate(clean) if name in ("text", "sentence")]
        return alone if any(_side_of(name) == "target" for name in clean) else []
    return []


def _languages_named(clean: str) -> frozenset[str]:
    """Return the languages that a column may be named after."""
    words = _without_fillers(clean).removeprefix("translation_")
    if words != clean and clean.startswith("translation_"):
        return frozenset(_choices(words))
    if re.fullmatch(r"[a-z]{3}_[a-z]{4}(_[a-z0-9]+)?", words):  # a code means itself
        return frozenset(_choices(words))
    found = language_aliases().get(words, frozenset())
    if not found and re.fullmatch(r"[a-z]{2,3}_[a-z]{2}", words):  # with a region: en_US, pt-BR
        found = language_aliases().get(words.split("_")[0], frozenset())
    return found


def _is_named_after(clean: str, language: str, direction: Direction) -> bool:
    """Whether a column's name may mean a language of a direction."""
    names = (name for other in direction for name in display_names(language, other[:3]))
    if clean in map(_clean, names):
        return True
    choices = _choices(_without_fillers(clean).removeprefix("translation_"))
    return any(same_language(choice, language) for choice in choices)


def _choices(words: str) -> tuple[str, ...]:
    """Return the languages that a name in lower case may mean; a script begins with a capital."""
    code = re.fullmatch(r"([a-z]{3}_)([a-z]{4})((?:_[a-z0-9]+)?)", words)
    return language_choices(f"{code[1]}{code[2].title()}{code[3]}" if code else words)


def _named_after_languages(clean: Sequence[str]) -> dict[int, frozenset[str]]:
    """Return the columns that are named after languages; `id` is Indonesian only with another."""
    named = {i: languages for i, name in enumerate(clean) if (languages := _languages_named(name))}
    sure = {i: languages for i, languages in named.items() if clean[i] not in _OTHER_WORDS}
    return sure if len(sure) > 1 else named


def _add_languages(
    path: object, clean: Sequence[str], direction: Direction | None, found: dict[str, list[int]]
) -> None:
    """Find the sides by the languages that columns are named after."""
    named = _named_after_languages(clean)
    if direction is None:
        if len(named) == 2 and not any(found.values()):
            found["source"], found["target"] = [min(named)], [max(named)]
        return
    for side, language in zip(SIDES, direction, strict=True):
        if not found[side]:
            found[side] = [
                i for i, name in enumerate(clean) if _is_named_after(name, language, direction)
            ]
    if len(named) > 1 and not all(found.values()) and _is_header(clean):
        there = ", ".join(clean[i] for i in named)
        raise DataError(
            f"{path}: its columns are named after the languages {there}, the file is of"
            f" {direction}. {remedy(1)}"
        )


def _is_header(clean: Sequence[str]) -> bool:
    named = [name for name in clean if name]
    if not named or any(len(name) > _LONGEST_NAME or name.count("_") > 4 for name in named):
        return False
    if any(_STRONG.fullmatch(name) for name in named):
        return True
    return all(_is_name(name) for name in named)


def _is_name(clean: str) -> bool:
    return bool(
        _side_of(clean)
        or clean in _OTHER_WORDS
        or clean in _SCORES
        or clean in _FILLERS
        or _languages_named(clean)
        or _COLUMN_NUMBER.fullmatch(clean)
    )


def _not_understood(names: Sequence[str]) -> str:
    there = ", ".join(f"`{_shown(name)}`" for name in names[:12])
    return (
        f"the first line looks like a header ({there}), but does not say which columns are source"
        f" and target. {remedy(1)}"
    )


def _shown(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def remedy(first: int) -> str:
    """Return what to do where the columns of a file are not understood."""
    return (
        "Let the first line name the columns `source`, `target` and, if there is one, `score`; or"
        " give their names or numbers in the config, where the command has `columns` (training:"
        f" `data.columns`): --config columns.source={first} --config columns.target={first + 1}"
    )
