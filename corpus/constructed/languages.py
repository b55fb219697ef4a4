"""The ten languages: family, sound changes, script and grammar of each.

Affixes are in the notation of `phonology.attach`, sound changes in that of
`phonology.parse_change`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from corpus.constructed.scripts import SCRIPTS, Script


@dataclass(frozen=True, kw_only=True)
class Family:
    """A protolanguage: which sounds its roots are made of."""

    name: str
    consonants: str
    vowels: str
    clusters: tuple[str, ...]
    """Consonant pairs allowed inside a root."""

    shapes: tuple[str, ...]
    """Root shapes: `C` consonant, `V` vowel, `K` cluster."""


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """How a language builds words and sentences out of meanings."""

    clause: str
    """Order of Time, Subject, Verb, Manner, Object, Recipient, Place."""

    phrase: str
    """Order of Determiner, Number, Adjective, Head, possessor (G), relative Clause."""

    postpositions: bool = False
    subordinate_first: bool = False
    """Whether because- and when-clauses come before the main clause, their marker last."""

    plural: str
    plural_after_numbers: bool = True
    cases: Mapping[str, str] = field(default_factory=dict)
    """Affixes of `object`, `recipient`, `possessor`, `oblique` (beside an adposition), or those
    that stand in place of an adposition."""

    adjectives_agree: bool = False
    tenses: Mapping[str, str]
    persons: Mapping[str, str] = field(default_factory=dict)
    """Verb affixes by person and number of the subject: `1s`, `2s`, `3s`, `1p`, `3p`."""

    drops_pronouns: bool = False
    negation: str
    relative: str = "who"
    """`who`: a relative word stands at the clause's edge nearest the head. Else a verb affix."""

    question: str
    """`first` or `last`: where the question word stands. Else a verb affix."""

    classifier: bool = False
    """Whether a number needs a classifier after it."""

    harmony: bool = False
    """Whether suffixes take the vowel class, front or back, of their stem."""


@dataclass(frozen=True, kw_only=True)
class ConstructedLanguage:
    """One language."""

    code: str
    name: str
    family: str
    resource: str
    """`pivot`, `high`, `low` or `very low`, in NLLB's sense at one hundredth of its counts."""

    script: Script
    changes: tuple[str, ...]
    """Sound changes from the protolanguage, in order."""

    borrowing: tuple[str, ...] = ()
    """Sound changes that fit names, which are borrowed, to the language."""

    grammar: Grammar

    @property
    def word_order(self) -> str:
        """Order of subject, verb and object, as `SVO`."""
        return "".join(slot for slot in self.grammar.clause if slot in "SVO")


_CLUSTERS = ("nt", "nd", "mb", "rk", "lt", "rm", "st", "lk", "rn")
FAMILIES = {
    "Mirean": Family(
        name="Mirean",
        consonants="ptkbdgmnslrwyh",
        vowels="aeiou",
        clusters=_CLUSTERS,
        shapes=("CVCVC", "CVKVC", "CVCVCV", "CVKV"),
    ),
    "Tovic": Family(
        name="Tovic",
        consonants="ptkqbdgmnsšlryz",
        vowels="aeiou",
        clusters=("nk", "rt", "ld", "mp"),
        shapes=("CVCVC", "CVCVCVC", "CVKVC"),
    ),
    "Keshite": Family(
        name="Keshite",
        consonants="ptkθφχbdgmnŋshlryv",
        vowels="aeiou",
        clusters=("nt", "rk", "lt", "sk", "mp"),
        shapes=("CVCV", "CVCVC", "CVKV", "VCVC"),
    ),
}

LANGUAGES = (
    ConstructedLanguage(
        code="qaa_Latn", name="Arvelan", family="Mirean", resource="pivot",
        script=SCRIPTS["Latn plain"],
        changes=("p > f / #_", "k > č / _[ie]", "w > v", "h > 0", "V > 0 / VC_#"),
        grammar=Grammar(
            clause="TSVMORP", phrase="DNAHGC", plural="-(e)s",
            tenses={"past": "-(a)ru", "present": "", "future": "-(i)mo"},
            persons={"1p": "-n", "3p": "-n"}, negation="ne+", question="first",
        ),
    ),
    ConstructedLanguage(
        code="qab_Latn", name="Belissi", family="Mirean", resource="very low",
        script=SCRIPTS["Latn hooked"],
        changes=(
            "p t k > v z h / V_V", "b d g > p t k", "V > 0 / VC_#", "a e o u > o i u ü",
            "s > š", "m > n / _#", "l r > r l", "w > b", "y > ž / #_",
        ),
        borrowing=("a > o / _#", "v > b"),
        grammar=Grammar(
            clause="TSPRMOV", phrase="GDNAHC", postpositions=True, subordinate_first=True,
            plural="-(i)ki", cases={"object": "-(o)n", "recipient": "-(u)ta", "possessor": "-(u)s"},
            tenses={"past": "-(o)le", "present": "-(o)da", "future": "-(o)šu"},
            negation="+mi", question="last",
        ),
    ),
    ConstructedLanguage(
        code="qac_Cyrl", name="Corvash", family="Mirean", resource="high",
        script=SCRIPTS["Cyrl soft"],
        changes=(
            "t d > č ǰ / _i", "s > š / _u", "g > ž / _[ei]", "k > x / V_V", "h > 0",
            "u > ɨ / _C#", "o > a / VC_C", "w > v",
        ),
        borrowing=("g > ž / _[ei]",),
        grammar=Grammar(
            clause="TSMVOPR", phrase="DNAHGC", plural="-(y)i", plural_after_numbers=False,
            cases={
                "object": "-(y)u", "recipient": "-(y)em", "possessor": "-(y)ov", "oblique": "-(y)e",
            },
            adjectives_agree=True,
            tenses={"past": "-(a)l", "present": "-(a)t", "future": "-(a)žd"},
            persons={"1s": "-u", "2s": "-eš", "3s": "-a", "1p": "-om", "3p": "-i"},
            negation="ni+", question="last",
        ),
    ),
    ConstructedLanguage(
        code="qad_Arab", name="Dahruni", family="Tovic", resource="high",
        script=SCRIPTS["Arab plain"],
        changes=("p > f", "g > ǰ", "e o > i u", "V > a / VC_CVC", "z > x / #_"),
        borrowing=("p v g > f b ǰ", "e o > i u"),
        grammar=Grammar(
            clause="VSORPMT", phrase="NHADGC", plural="-(h)at", adjectives_agree=True,
            tenses={"past": "", "present": "ya-", "future": "sa-"},
            persons={"1s": "-(a)ti", "2s": "-(a)ka", "1p": "-(a)na", "3p": "-(w)un"},
            negation="la+", question="first",
        ),
    ),
    ConstructedLanguage(
        code="qae_Deva", name="Esharvi", family="Keshite", resource="high",
        script=SCRIPTS["Deva killed"],
        changes=("g > ǰ / _[ei]", "s > š / _[iu]", "e o > i u / _#", "ŋ > n / #_"),
        borrowing=("z > ǰ",),
        grammar=Grammar(
            clause="TSPRMOV", phrase="CGDNAH", postpositions=True, subordinate_first=True,
            plural="-(n)an",
            cases={"object": "-(y)am", "possessor": "-(y)asya", "recipient": "-(y)aya"},
            tenses={"past": "-(i)t", "present": "-(i)s", "future": "-(i)šy"},
            persons={"1s": "-ami", "2s": "-ase", "3s": "-a", "1p": "-ama", "3p": "-ante"},
            negation="na-", drops_pronouns=True, relative="who", question="last",
        ),
    ),
    ConstructedLanguage(
        code="qaf_Latn", name="Fennoval", family="Tovic", resource="low",
        script=SCRIPTS["Latn clustered"],
        changes=(
            "q > k", "z > r / V_V", "b d g > p t k / _#", "a > e / _Ci", "k > x / V_V",
            "š > s / _#",
        ),
        borrowing=("a > e / _#",),
        grammar=Grammar(
            clause="SVOMRPT", phrase="DNHAGC", plural="na-", plural_after_numbers=False,
            tenses={"past": "+bo", "present": "", "future": "+wil"},
            negation="un-", question="first",
        ),
    ),
    ConstructedLanguage(
        code="qag_Cyrl", name="Gurmesh", family="Keshite", resource="low",
        script=SCRIPTS["Cyrl steppe"],
        changes=("θ φ χ > s f x", "v > w", "h > 0 / V_V", "V > 0 / VCVC_#", "harmony"),
        grammar=Grammar(
            clause="TSPRMOV", phrase="CGDNAH", postpositions=True, subordinate_first=True,
            plural="-lar", plural_after_numbers=False, harmony=True,
            cases={
                "object": "-(n)ɨ", "recipient": "-ga", "possessor": "-(n)ɨŋ", "in": "-da",
                "from": "-dan", "to": "-ga", "with": "-la", "without": "-sɨz",
            },
            tenses={"past": "-dɨ", "present": "-(ɨ)r", "future": "-(a)ǰak"},
            persons={"1s": "-(ɨ)m", "2s": "-sɨn", "1p": "-(ɨ)mɨz", "3p": "-lar"},
            negation="-ma", relative="-(y)an", question="-mɨ",
        ),
    ),
    ConstructedLanguage(
        code="qah_Arab", name="Hazrin", family="Mirean", resource="low",
        script=SCRIPTS["Arab full"],
        changes=("p > f / _V", "g > ɣ", "t > s / _i", "k > q / _[ou]", "w > v", "V > 0 / VC_#"),
        borrowing=("g > ɣ",),
        grammar=Grammar(
            clause="VSORMPT", phrase="NHADGC", plural="-(h)a", plural_after_numbers=False,
            tenses={"past": "-(i)d", "present": "mi-", "future": "xo-"},
            persons={"1s": "-am", "2s": "-i", "1p": "-im", "3p": "-and"},
            negation="na-", question="last",
        ),
    ),
    ConstructedLanguage(
        code="qai_Deva", name="Ilavi", family="Keshite", resource="very low",
        script=SCRIPTS["Deva bare"],
        changes=(
            "p t k b d g > b d g v r y / V_V", "s h > h 0", "θ φ χ > t p k", "l > r / V_",
            "a e i o u > o i e u a", "V > 0 / VCVC_#",
        ),
        borrowing=("a > o / _#", "z > ǰ"),
        grammar=Grammar(
            clause="TSVMORP", phrase="DNAHGC", postpositions=True, plural="-(v)on",
            cases={"object": "-(y)e", "possessor": "-ka"},
            tenses={"past": "-(i)ya", "present": "-(i)ta", "future": "-(u)ga"},
            negation="+nehi", question="first",
        ),
    ),
    ConstructedLanguage(
        code="qaj_Mymr", name="Jemyat", family="Tovic", resource="low",
        script=SCRIPTS["Mymr"],
        changes=(
            "š > s", "q > k", "b d g > p t k / _#", "s z > t / _#", "r l > n / _#", "y > 0 / _#",
            "z > s",
        ),
        borrowing=("v > w", "d g > t k / _#", "r l s z > n n t t / _#"),
        grammar=Grammar(
            clause="TSVORPM", phrase="HANDGC", plural="+do", plural_after_numbers=False,
            tenses={"past": "+ke", "present": "+ne", "future": "me+"},
            negation="mo+", question="last", classifier=True,
        ),
    ),
)  # fmt: skip

PIVOT = LANGUAGES[0]
