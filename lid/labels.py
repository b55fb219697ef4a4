"""Labels of other identifiers as language codes.

A label that is a code means that language: FLORES-200's code of it where there is one (`cmn_Hans`
is `zho_Hans`, as OpenLID v2 and FLORES+ call it), else itself, which holds for most of
GlotLID's 2,102. Other labels are what `corpus.language_names` takes them for (`en`), and
`labels.tsv` decides what is special to an identifier:

- lid.176 names languages by the Wikipedia edition it was trained on, without script
  (https://fasttext.cc/docs/en/language-identification.html).
- GlotLID has Chinese in both scripts under one label (https://github.com/cisnlp/GlotLID,
  languages-v3.md at 3bf328a), and v1 and v2 have macrolanguages beside their members.

A label with a script is never mapped across scripts, except where its script covers several
(`Hani`, `Kore`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import resources

from corpus.errors import DataError
from corpus.languages import (
    NO_LANGUAGE,
    UNKNOWN_LANGUAGE,
    find_language,
    is_language,
    known_languages,
    language_choices,
)
from lid.fasttext_model.model_file import LABEL_PREFIX

_SHORT = re.compile(r"[a-z]{2,3}")
_MIN_MAPPED = 2
_SHOWN = 5


@functools.cache
def read_label_table() -> dict[str, str]:
    """Return the rows of `labels.tsv`: label to language code or `und`."""
    table = (resources.files("lid") / "labels.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    return {label: language for label, language, _ in rows}


def map_label(label: str) -> str | None:
    """Return the language of a fastText label, with or without `__label__`.

    None if the label names no language, or no single one (`nah`).
    """
    name = label.removeprefix(LABEL_PREFIX)
    if name in (table := read_label_table()):
        return None if table[name] == UNKNOWN_LANGUAGE else table[name]
    if is_language(name):
        return find_language(name, known_languages()) or name
    choices = language_choices(name) if _SHORT.fullmatch(name) else ()
    return choices[0] if len(choices) == 1 else None


def map_labels(labels: Sequence[str]) -> dict[str, str]:
    """Return the answer for each label: a language code, `zxx` or `und`.

    Several labels may have the same answer (GlotLID v1: `ara_Arab`, `arb_Arab`).

    Raises:
        DataError: If fewer than two labels name a language; that model identifies something else.
    """
    answers = {label: map_label(label) or _special_class(label) for label in labels}
    mapped = [label for label, answer in answers.items() if is_language(answer)]
    if len(mapped) < _MIN_MAPPED:
        first = ", ".join(f"`{label}`" for label in list(answers)[:_SHOWN]) or "none"
        raise DataError(
            f"{len(mapped)} of the model's {len(answers)} labels name a language; at least"
            f" {_MIN_MAPPED} must. Its first labels: {first}. Is this a language identifier? Labels"
            " look like `__label__eng_Latn` or `__label__en`."
        )
    return answers


def _special_class(label: str) -> str:
    """Return `zxx` for labels of text without language (`zxx_Latn`, `zxx_Zxxx`), else `und`."""
    language = label.removeprefix(LABEL_PREFIX).split("_")[0]
    return NO_LANGUAGE if language == NO_LANGUAGE else UNKNOWN_LANGUAGE
