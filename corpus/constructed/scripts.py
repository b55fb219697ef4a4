"""Writing: from sounds to letters of a real script, and its punctuation."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from corpus.constructed.phonology import NAME_MARK, VOWELS


class Script(NamedTuple):
    """How a language is written."""

    letters: Mapping[str, str]
    """One entry per sound; in abugidas the consonant letters and, initially, the vowels."""

    signs: Mapping[str, str] = {}
    """Abugidas: vowel signs after a consonant. Empty means an alphabet."""

    killer: str = ""
    """Abugidas: the sign that takes a consonant's own vowel away."""

    bare_final: bool = False
    """Abugidas: whether a word-final consonant is written without the killer."""

    initials: Mapping[str, str] = {}
    """Alphabets: letters for vowels that begin a word."""

    ligatures: tuple[tuple[str, str], ...] = ()
    """Spelling rules on the written word, in order."""

    stop: str = "."
    question: str = "?"
    comma: str = ","
    spaced: bool = True
    """Whether words are separated by spaces."""


def write_word(word: str, script: Script) -> str:
    """Write one word; a marked name gets a capital where the script has them.

    Raises:
        KeyError: If the script has no letter for a sound.
    """
    is_name = word.startswith(NAME_MARK)
    word = word.removeprefix(NAME_MARK)
    writer: Callable[[str, Script], str] = _abugida if script.signs else _alphabet
    written = writer(word, script)
    for before, after in script.ligatures:
        written = written.replace(before, after)
    return capitalize(written) if is_name else written


def capitalize(text: str) -> str:
    """Return text with a capital first letter, in scripts that have capitals."""
    return text[:1].upper() + text[1:]


def _alphabet(word: str, script: Script) -> str:
    first = script.initials.get(word[0], script.letters[word[0]])
    return first + "".join([script.letters[sound] for sound in word[1:]])


def _abugida(word: str, script: Script) -> str:
    written = []
    after_consonant = False
    for sound in word:
        if sound in VOWELS:
            written.append(script.signs[sound] if after_consonant else script.letters[sound])
            after_consonant = False
        else:
            if after_consonant:
                written.append(script.killer)
            written.append(script.letters[sound])
            after_consonant = True
    if after_consonant and not script.bare_final:
        written.append(script.killer)
    elif word[-1] == "a" and script.bare_final and len(word) > 1 and word[-2] not in VOWELS:
        written.append("ा")
    return "".join(written)


def _table(sounds: str, letters: str) -> dict[str, str]:
    return dict(zip(sounds.split(), letters.split(), strict=True))


_LATIN = _table(
    "a e i o u ö ü ɨ p b t d k g q m n ŋ f v s z š ž č ǰ x ɣ h r l y w θ φ χ",
    "a e i o u ö ü ı p b t d k g q m n ng f v s z sh zh ch j kh gh h r l y w th ph x",
)
_CYRILLIC = _table(
    "a e i o u ö ü ɨ p b t d k g m n ŋ f v s z š ž č ǰ x ɣ h r l y w q",
    "а е и о у ө ү ы п б т д к г м н ң ф в с з ш ж ч џ х ғ һ р л й ў қ",
)
_ARABIC = _table(
    "a e i o u p b t d k g q m n f v s z š ž č ǰ x ɣ h r l y w θ",
    "ا ي ي و و ف ب ت د ك غ ق م ن ف ب س ز ش ج ش ج خ غ ه ر ل ي و ث",
)
_DEVANAGARI = _table(
    "a e i o u p b t d k g m n ŋ v w s z š č ǰ h r l y θ φ χ f x",
    "अ ए इ ओ उ प ब त द क ग म न ङ व व स ज़ श च ज ह र ल य थ फ ख फ़ ख़",
)
_DEVANAGARI_SIGNS = {"a": "", "e": "े", "i": "ि", "o": "ो", "u": "ु"}

_LATIN_PLAIN = Script(letters=_LATIN)
_LATIN_HOOKED = Script(
    letters=_LATIN | _table("š ž č ŋ x ü ö", "š ž č ñ h ű ő"),
)
_LATIN_CLUSTERED = Script(
    letters=_LATIN | _table("k š č x w y z θ", "c sz cz h u j z t") | {"w": "w"},
)
_CYRILLIC_SOFT = Script(letters=_CYRILLIC, ligatures=(("йа", "я"), ("йу", "ю")))
_CYRILLIC_STEPPE = Script(letters=_CYRILLIC | {"e": "ә", "ɨ": "ы", "w": "в", "ǰ": "җ"})
_ARABIC_PLAIN = Script(
    letters=_ARABIC,
    initials={"a": "أ", "e": "إي", "i": "إي", "o": "أو", "u": "أو"},
    question="؟",
    comma="،",
)
_ARABIC_FULL = Script(
    letters=_ARABIC
    | _table("p č g ž v y k e o i ǰ w", "پ چ گ ژ ڤ ی ک ە ۆ ی ج و")
    | {"u": "و", "ŋ": "نگ", "ü": "ۈ", "ö": "ۆ", "w": "ۋ"},
    initials={"a": "ئا", "e": "ئە", "i": "ئی", "o": "ئۆ", "u": "ئو"},
    question="؟",
    comma="،",
)
_DEVANAGARI_KILLED = Script(
    letters=_DEVANAGARI,
    signs=_DEVANAGARI_SIGNS,
    killer="्",
    stop="।",
)
_DEVANAGARI_BARE = Script(
    letters=_DEVANAGARI,
    signs=_DEVANAGARI_SIGNS,
    killer="्",
    bare_final=True,
    stop="।",
    ligatures=(("न्", "ं"), ("म्", "ं"), ("ङ्", "ं")),
)
_MYANMAR = Script(
    letters=_table(
        "a e i o u p b t d k g m n ŋ s z č ǰ h r l y w φ θ χ",
        "အ အေ အိ အော အု ပ ဗ တ ဒ က ဂ မ န င သ ဇ စ ဈ ဟ ရ လ ယ ဝ ဖ ထ ခ",
    ),
    signs={"a": "ာ", "e": "ေ", "i": "ိ", "o": "ော", "u": "ု"},
    killer="်",
    stop="။",
    question="။",
    comma="၊",
    spaced=False,
)

SCRIPTS = {
    "Latn plain": _LATIN_PLAIN,
    "Latn hooked": _LATIN_HOOKED,
    "Latn clustered": _LATIN_CLUSTERED,
    "Cyrl soft": _CYRILLIC_SOFT,
    "Cyrl steppe": _CYRILLIC_STEPPE,
    "Arab plain": _ARABIC_PLAIN,
    "Arab full": _ARABIC_FULL,
    "Deva killed": _DEVANAGARI_KILLED,
    "Deva bare": _DEVANAGARI_BARE,
    "Mymr": _MYANMAR,
}
"""The orthographies of the built-in languages, by script and manner."""
