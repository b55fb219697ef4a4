"""The identifier that needs no model: CLD2, whose tables come in the package `pycld2`.

Compact Language Detector 2 (Dick Sites, Google; Apache-2.0) counts n-grams of four letters, and
characters in Chinese, Japanese and Korean. Scripts that one language uses it answers by script. It
knows 160 languages, some 30 of them outside FLORES-200, and answers `und` where it is not sure.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pycld2

from corpus.errors import UserError
from corpus.languages import NO_LANGUAGE, UNKNOWN_LANGUAGE, find_language, is_language, script_of
from corpus.protocols import Prediction
from corpus.text import scripts_of
from lid.engine.chinese import CHINESE, chinese_script
from lid.engine.preparation import prepare_plain
from lid.labels import map_label

_LABELS = {
    "ak": "aka_Latn",
    "ks": "kas_Arab",
    "ku": "ckb_Arab",  # knows Sorani (FLORES-200 dev: all of ckb_Arab, none of kmr_Latn)
    "lif": "lif_Limb",
    "tlh": "tlh_Latn",
    "xx-Goth": "got_Goth",
    "xx-Olck": "sat_Olck",
    "xx-Vaii": "vai_Vaii",
    "xx-Yiii": "iii_Yiii",
    "zh-Hant": "zho_Hant",
}
"""What `lid.labels` does not know, or takes for another language (`ku` of lid.176 is Kurmanji).
Scripts (`xx-…`) are answers where one language alone has them."""

_SCRIPTS = {
    "azj_Latn": ("Cyrl", "Arab"),
    "bos_Latn": ("Cyrl",),
    "kas_Arab": ("Deva",),
    "kaz_Cyrl": ("Latn", "Arab"),
    "kir_Cyrl": ("Arab",),
    "srp_Cyrl": ("Latn",),
    "tat_Cyrl": ("Latn", "Arab"),
    "tgk_Cyrl": ("Arab",),
    "tuk_Latn": ("Cyrl", "Arab"),
    "uig_Arab": ("Cyrl", "Latn"),
    "uzn_Latn": ("Cyrl", "Arab"),
}
"""Other scripts of languages that CLD2 knows in several under one label."""


@functools.cache
def _languages() -> dict[str, str]:
    """Return the language of each label of CLD2; `und` for scripts and jokes."""
    labels = {label for name, label in pycld2.LANGUAGES if name in pycld2.DETECTED_LANGUAGES}
    return {label: map_label(label) or UNKNOWN_LANGUAGE for label in labels} | _LABELS


class BuiltinIdentifier:
    """CLD2 behind the protocol of identifiers.

    A prediction's score is the share of the line that CLD2 gives to the language. On FLORES-200
    dev, 97 % of the answers for languages that it knows are right, and 67 % of those with a score
    between .5 and .6.
    """

    def __init__(self, languages: Sequence[str] = ()) -> None:
        """Take the only languages to be answered, beside `und` and `zxx`; all if empty.

        Raises:
            UserError: If CLD2 lacks one of `languages`.
        """
        known = self._known = sorted(
            {code for code in _languages().values() if is_language(code)}
            | {f"{code[:3]}_{script}" for code, more in _SCRIPTS.items() for script in more}
        )
        theirs = {code: find_language(code, known) for code in languages}
        if missing := [code for code, one in theirs.items() if one is None]:
            raise UserError(
                f"the builtin identifier does not know {', '.join(missing)}. It knows"
                f" {len(known)} languages; `tongues data list` names larger identifiers."
            )
        self._wanted = frozenset(code for code in theirs.values() if code)

    @property
    def languages(self) -> list[str]:
        """The languages it can name, sorted."""
        return sorted(self._wanted) or self._known

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        """Return one answer per line, in order; `und` where CLD2 is not sure.

        Of a line beyond 2,000 characters the first are looked at. An empty line is `und` with
        score 0, one without letters `zxx`.
        """
        return [self._answer(prepare_plain(line)) for line in lines]

    def _answer(self, text: str) -> Prediction:
        if not any(map(str.isalpha, text)):
            return Prediction(NO_LANGUAGE, 1.0) if text else Prediction(UNKNOWN_LANGUAGE, 0.0)
        for _, label, percent, _ in _detect(text):
            language = language_of(label, text)
            if not self._wanted or language in self._wanted:
                return Prediction(language, percent / 100)
        return Prediction(UNKNOWN_LANGUAGE, 0.0)


def _detect(text: str) -> tuple[tuple[str, str, int, float], ...]:
    """Return up to three languages of a text, the largest share first."""
    try:
        _, _, found = pycld2.detect(text, isPlainText=True)
    except pycld2.error:  # characters that no text should hold, such as U+FFFE
        text = "".join(character if character.isprintable() else " " for character in text)
        _, _, found = pycld2.detect(text, isPlainText=True)
    return tuple(found)


def language_of(label: str, text: str) -> str:
    """Return the language of a label in the script of the text; CLD2 may have several in one."""
    language = _languages().get(label, UNKNOWN_LANGUAGE)
    if language in CHINESE:
        return chinese_script(text, language)
    if language not in _SCRIPTS:
        return language
    scripts = [script_of(language), *_SCRIPTS[language]]
    counts = scripts_of(text)
    return f"{language[:3]}_{max(scripts, key=counts.__getitem__)}"
