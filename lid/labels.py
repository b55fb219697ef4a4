"""Labels of other identifiers as FLORES-200 codes.

`labels.tsv` decides every label that is not a FLORES-200 code itself:

- lid.176 names languages by the Wikipedia edition it was trained on, without script. All 176 are
  listed, those of languages that FLORES-200 lacks as `und`
  (fasttext.cc/docs/en/language-identification.html).
- OpenLID v2 follows FLORES+, which renamed seven codes of FLORES-200 (its model card lists all).
- GlotLID v1 and v2 have macrolanguages beside their members, v3 has a few left
  (github.com/cisnlp/GlotLID, languages-v3.md); OpenLID v3 merged Arabic and Persian into theirs.

A label with a script is never mapped across scripts, except where its script covers several
(`Hani`, `Kore`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources

from corpus.errors import DataError
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, known_languages
from lid.fasttext_model.model_file import LABEL_PREFIX

_MIN_MAPPED = 2
_SHOWN = 5


@functools.cache
def read_label_table() -> dict[str, str]:
    """Return the rows of `labels.tsv`: label to FLORES-200 code or `und`."""
    table = (resources.files("lid") / "labels.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.split("\n")[1:] if line]
    return {label: language for label, language, _ in rows}


def map_label(label: str) -> str | None:
    """Return the FLORES-200 code of a fastText label, with or without `__label__`.

    None if the label names no language of FLORES-200, or no single one (`sh`).
    """
    name = label.removeprefix(LABEL_PREFIX)
    if name in known_languages():
        return name
    language = read_label_table().get(name, UNKNOWN_LANGUAGE)
    return None if language == UNKNOWN_LANGUAGE else language


def map_labels(labels: Sequence[str]) -> dict[str, str]:
    """Return the answer for each label: a FLORES-200 code, `zxx` or `und`.

    Several labels may have the same answer (GlotLID v1: `ara_Arab`, `arb_Arab`).

    Raises:
        DataError: If fewer than two labels name a language; that model identifies something else.
    """
    answers = {label: map_label(label) or _special_class(label) for label in labels}
    mapped = [label for label, answer in answers.items() if answer in known_languages()]
    if len(mapped) < _MIN_MAPPED:
        first = ", ".join(f"`{label}`" for label in list(answers)[:_SHOWN]) or "none"
        raise DataError(
            f"{len(mapped)} of the model's {len(answers)} labels name a language that FLORES-200"
            f" has; at least {_MIN_MAPPED} must. Its first labels: {first}. Is this a language"
            " identifier? Labels look like `__label__eng_Latn` or `__label__en`."
        )
    return answers


def _special_class(label: str) -> str:
    """Return `zxx` for labels of text without language (`zxx_Latn`, `zxx_Zxxx`), else `und`."""
    language = label.removeprefix(LABEL_PREFIX).split("_")[0]
    return NO_LANGUAGE if language == NO_LANGUAGE else UNKNOWN_LANGUAGE
