"""Splits paragraphs into sentences, by punctuation and script, without losing text.

In crawl text the language is not known yet where this runs (it is identified sentence by sentence),
so the rules go by script: full stops that only end sentences always split; `.` splits unless it
looks like an abbreviation, an initial, a decimal or an ordinal; Thai and Lao, which have no full
stop, are left whole. Kiss and Strunk (2006) describe what makes `.` ambiguous.
"""

from collections.abc import Iterator

import regex

STOPS = "߹。｡！？؟۔।॥။።፧፨։។៕༎꘎꓿᙮᠃᠉᱾᱿꩝꩞꩟꤯‼⁇⁈⁉…"
CLOSERS = r"[\p{Pe}\p{Pf}\"'’”»」』）】〉》]*"
# Tibetan ends a clause with a shad; a run of letters after it begins a new one.
_SHAD = r"།[\s།༎]+"
_BOUNDARY = regex.compile(
    rf"(?P<always>[{STOPS}][{STOPS}.!?]*{CLOSERS}\s*)"
    # A run of marks is tried at its first one only: each of a million dots would try all others.
    rf"|(?P<mark>[!?](?<![!?]\.*[!?])[!?.]*+{CLOSERS}(?:\s+|$))"
    rf"|(?P<ellipsis>(?<!\.)\.(?:[ \u00a0]\.)+{CLOSERS}(?:\s+|$))"
    rf"|(?P<dot>(?<!\.)\.++{CLOSERS}\s+)"
    rf"|(?P<shad>{_SHAD})"
    # Armenian ends sentences with U+0589, and on most keyboards with a colon.
    r"|(?P<colon>(?<=\p{Armenian}):\s+)"
    # The Greek question mark looks like a semicolon and is typed as one.
    rf"|(?P<greek>(?<=\p{{Greek}})[;\u037e]{CLOSERS}\s+)"
)
QUOTE_ENDS = "」』”’"
# 「…。」と言った goes on after the quotation.
QUOTING = regex.compile(r"[とっ、，]")
TOKEN_BREAKS = r"\s(\[\"'“«"
_LAST_TOKEN = regex.compile(rf"[^{TOKEN_BREAKS}]*$")
# Single letters abbreviate: capitals, consonants in lower case (vowels are words), and letters of
# scripts without case that do not write words of one letter.
INITIAL = regex.compile(
    r"\p{Lu}\p{M}*|(?:\p{L}\p{M}*\.)+\p{L}\p{M}*|[b-df-hj-np-tv-xzбвгджзклмнпрстфхцчшщ]"
    r"|[\p{Arabic}\p{Hebrew}]"
)
# These end a sentence as often as not; a capital after them tells.
ENDING = frozenset({"etc", "p.m", "a.m", "usw", "и т.д", "т.д", "т.п"})
# Words that begin a sentence, and are no names: "vitamin C. It helps".
STARTERS = (
    "it", "he", "she", "we", "you", "they", "i", "the", "this", "that", "these", "those", "there",
    "then", "but", "and", "so", "if", "when", "what", "why", "how", "er", "sie", "es", "wir", "das",
    "der", "die", "il", "elle", "on", "он", "она", "они", "это", "мы",
)  # fmt: skip
_STARTS = regex.compile(rf"(?:{'|'.join(STARTERS)})\b", regex.IGNORECASE)
# Georgian letters are lower case by their category, and have no upper case in running text.
CLOSING_START = regex.compile(r"(?!\p{Georgian})[\p{Ll}\p{Pe}\p{Pf},;:—–-]")
_MAX_ORDINAL_DIGITS = 2
# Longer than any abbreviation: a look back over a long paragraph at each dot takes its square.
_MAX_TOKEN = 64
# Only what stands before a name or a number in many languages; a list per language is not needed.
ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "lt", "capt", "sgt",
    "hon", "mt", "vs", "no", "nos", "nr", "fig", "figs", "vol", "pp", "art", "ca", "approx",
    "dept", "univ", "inc", "ltd", "co", "corp", "e.g", "i.e", "cf", "al", "etc", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "bzw", "z.b", "d.h",
    "u.a", "usw", "str", "sog", "ggf", "evtl", "tel", "abs", "mme", "mlle", "av", "sra", "dra",
    "dña", "ing", "lic", "г", "гг", "ул", "им", "проф", "акад", "стр", "рис", "см", "т.е", "т.д",
    "др", "пр", "напр", "тыс", "млн", "млрд", "руб",
})  # fmt: skip


def split_sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph, each with the space that follows it.

    Joined, they are the paragraph again.
    """
    return list(iterate_sentences(paragraph))


def iterate_sentences(paragraph: str) -> Iterator[str]:
    """Yield what `split_sentences` returns, one after the other."""
    start = 0
    for match in _BOUNDARY.finditer(paragraph):
        if match.lastgroup == "dot" and not _dot_ends(paragraph, start, match.start(), match.end()):
            continue
        # `?` and `!` inside a sentence, as in "Yahoo! said" or "“Why?” he asked".
        if match.lastgroup in ("mark", "ellipsis") and CLOSING_START.match(paragraph, match.end()):
            continue
        if (
            match.lastgroup == "always"
            and paragraph[match.end() - 1] in QUOTE_ENDS
            and QUOTING.match(paragraph, match.end())
        ):
            continue
        if match.end() > start:
            yield paragraph[start : match.end()]
            start = match.end()
    if start < len(paragraph):
        yield paragraph[start:]


def _dot_ends(paragraph: str, start: int, dot: int, following: int) -> bool:
    """Say whether the full stop at `dot` ends a sentence that began at `start`."""
    if CLOSING_START.match(paragraph, following):
        return False
    token = _LAST_TOKEN.search(paragraph, max(start, dot - _MAX_TOKEN), dot).group()
    if token.isdigit():
        # "the 3. Division" against "in 1990. Then"
        return len(token) > _MAX_ORDINAL_DIGITS
    if token.casefold() in ENDING:
        return True
    if INITIAL.fullmatch(token):
        # "vitamin C. It" against "J. R. Jones": after a name's initial no sentence begins so.
        return bool(_STARTS.match(paragraph, following))
    return token.casefold() not in ABBREVIATIONS
