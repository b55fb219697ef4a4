"""Words: one protoroot per concept and family, with each language's sound changes applied.

Names are the same for everybody; each language fits them to its sounds a little.
"""

from collections.abc import Mapping, Sequence
from random import Random

from corpus.constructed.concepts import FUNCTION_WORDS, NAMES
from corpus.constructed.languages import ConstructedLanguage, Family
from corpus.constructed.phonology import NAME_MARK, apply_changes, harmonize

Lexicon = Mapping[str, str]
"""The stem, in sounds, of every concept in one language."""

SHORT_SHAPES = ("CVC", "CV", "VCV")
"""Shapes of words with grammatical work."""

NAME_CONSONANTS = "ptkbdgmnslrvz"
NAME_SHAPES = ("CVCVCV", "CVCVC", "VCVCV", "CVCVCVC")
_HARMONY = "harmony"
_SHORTEST_WORD = 3


def inherit(root: str, language: ConstructedLanguage) -> str:
    """Return what the language's sound changes make of a protoroot."""
    for change in language.changes:
        root = harmonize(root) if change == _HARMONY else apply_changes(root, [change])
    return root


def borrow(name: str, language: ConstructedLanguage) -> str:
    """Return a name, fitted to the language's sounds and marked as a name."""
    return NAME_MARK + apply_changes(name, language.borrowing)


def make_names(random: Random, count: int) -> list[str]:
    """Return distinct names in sounds that all languages can say."""
    made: dict[str, None] = {}
    while len(made) < count:
        shape = random.choice(NAME_SHAPES)
        made[_fill(shape, random, NAME_CONSONANTS, "aeiou", ())] = None
    return list(made)


def make_roots(
    family: Family,
    daughters: Sequence[ConstructedLanguage],
    concepts: Sequence[str],
    random: Random,
) -> dict[str, str]:
    """Return a protoroot per concept, such that no daughter language gets homophones.

    Words of the open classes also have at least three sounds in every daughter language.
    """
    taken: dict[str, set[str]] = {daughter.code: set() for daughter in daughters}
    roots: dict[str, str] = {}
    for concept in concepts:
        is_short = concept in FUNCTION_WORDS
        shapes = SHORT_SHAPES if is_short else family.shapes
        shortest = 2 if is_short else _SHORTEST_WORD
        while concept not in roots:
            shape = random.choice(shapes)
            root = _fill(shape, random, family.consonants, family.vowels, family.clusters)
            forms = {daughter.code: inherit(root, daughter) for daughter in daughters}
            if all(
                len(form) >= shortest and form not in taken[code] for code, form in forms.items()
            ):
                roots[concept] = root
                for code, form in forms.items():
                    taken[code].add(form)
    return roots


def make_lexicon(
    language: ConstructedLanguage, roots: Mapping[str, str], names: Sequence[str]
) -> Lexicon:
    """Return the language's stems: inherited words and borrowed names."""
    words = {concept: inherit(root, language) for concept, root in roots.items()}
    borrowed = {concept: borrow(name, language) for concept, name in zip(NAMES, names, strict=True)}
    return words | borrowed


def _fill(shape: str, random: Random, consonants: str, vowels: str, clusters: Sequence[str]) -> str:
    made: list[str] = []
    for slot in shape:
        if slot == "K":
            made.append(random.choice(clusters))
        else:
            made.append(random.choice(vowels if slot == "V" else consonants))
    return "".join(made)
