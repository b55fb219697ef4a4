"""The constructed languages: sounds, words, grammar and writing."""

import unicodedata
from itertools import combinations

import pytest

from corpus.constructed.concepts import all_words
from corpus.constructed.generate import ConstructedWorld
from corpus.constructed.languages import FAMILIES, LANGUAGES, ConstructedLanguage
from corpus.constructed.meaning import Clause, Meaning, Phrase, content
from corpus.constructed.phonology import apply_changes, attach, harmonize, parse_change
from corpus.constructed.scripts import SCRIPTS, write_word
from corpus.text import normalize, scripts_of

SAMPLE = 400


@pytest.fixture(scope="module")
def world() -> ConstructedWorld:
    return ConstructedWorld(seed=1)


@pytest.fixture(scope="module")
def meanings(world: ConstructedWorld) -> list[Meaning]:
    return world.meanings.draw(SAMPLE)


def edit_distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def test_sound_change_happens_in_its_environment_only() -> None:
    assert apply_changes("popap", ["p > f / #_"]) == "fopap"
    assert apply_changes("popap", ["p > b / V_V"]) == "pobap"
    assert apply_changes("popap", ["p > 0 / _#"]) == "popa"
    assert apply_changes("kitaka", ["k > č / _[ie]"]) == "čitaka"
    assert apply_changes("tanata", ["V > 0 / VC_CV"]) == "tanta"


def test_chain_shift_does_not_feed_itself() -> None:
    assert apply_changes("kalo", ["a o u > o u i"]) == "kolu"


def test_later_sound_changes_see_what_earlier_ones_did() -> None:
    assert apply_changes("kati", ["a > e / _Ci", "k > č / _e"]) == "četi"
    assert apply_changes("kati", ["k > č / _e", "a > e / _Ci"]) == "keti"


def test_sound_change_with_unequal_sides_is_refused() -> None:
    with pytest.raises(ValueError, match="p t k > b d"):
        parse_change("p t k > b d")


def test_affixes_attach_as_their_notation_says() -> None:
    assert attach("kat", "-(a)n") == "katan"
    assert attach("kata", "-(a)n") == "katan"
    assert attach("kata", "-(y)u") == "katayu"
    assert attach("kat", "-(y)u") == "katu"
    assert attach("kat", "ma-") == "makat"
    assert attach("^kat", "ma-") == "^makat"
    assert attach("kat", "+lo") == "kat lo"
    assert attach("kat", "ne+") == "ne kat"


def test_vowel_harmony_runs_through_words_and_suffixes() -> None:
    assert harmonize("kitapo") == "kitepö"
    assert harmonize("katepö") == "katapo"
    assert attach("ket", "-lar", harmony=True) == "ketler"
    assert attach("kat", "-lar", harmony=True) == "katlar"


def test_scripts_spell_as_their_readers_do() -> None:
    assert write_word("čana", SCRIPTS["Latn plain"]) == "chana"
    assert write_word("^čana", SCRIPTS["Latn plain"]) == "Chana"
    assert write_word("yama", SCRIPTS["Cyrl soft"]) == "яма"
    assert write_word("ata", SCRIPTS["Arab plain"]) == "أتا"
    # क + ि, virama between consonants and at the end
    assert write_word("kintan", SCRIPTS["Deva killed"]) == "किन्तन्"
    assert write_word("kintan", SCRIPTS["Deva bare"]) == "किंतन"
    assert write_word("kena", SCRIPTS["Mymr"]) == "ကေနာ"


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_sentences_are_written_in_the_language_s_script(
    language: ConstructedLanguage, world: ConstructedWorld, meanings: list[Meaning]
) -> None:
    speaker = world.speakers[language.code]
    for meaning in meanings:
        sentence = speaker.sentence(meaning)
        assert set(scripts_of(sentence)) == {language.code[4:]}
        assert normalize(sentence) == sentence == unicodedata.normalize("NFC", sentence)
        stop = language.script.question if meaning.is_question else language.script.stop
        assert sentence.endswith(stop)
        assert sentence.count(stop) == 1


def test_there_are_five_scripts_and_three_families() -> None:
    assert {language.code[4:] for language in LANGUAGES} == {"Latn", "Cyrl", "Arab", "Deva", "Mymr"}
    assert {language.family for language in LANGUAGES} == set(FAMILIES)
    assert {language.word_order for language in LANGUAGES} == {"SVO", "SOV", "VSO"}
    assert len({language.name for language in LANGUAGES}) == len(LANGUAGES) == 10


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_word_order_is_as_declared(language: ConstructedLanguage, world: ConstructedWorld) -> None:
    meaning = Meaning(Clause("eat", "past", subject=Phrase("wolf"), object=Phrase("bread")))
    glosses = world.speakers[language.code].gloss(meaning).split(" ")
    order = [{"wolf": "S", "eat": "V", "bread": "O"}[gloss.split(".")[0]] for gloss in glosses]
    assert "".join(order) == language.word_order


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_adpositions_stand_where_declared(
    language: ConstructedLanguage, world: ConstructedWorld
) -> None:
    meaning = Meaning(Clause("sleep", "past", Phrase("wolf"), place=("under", Phrase("bridge"))))
    glosses = world.speakers[language.code].gloss(meaning).split(" ")
    bridge = next(place for place, gloss in enumerate(glosses) if gloss.startswith("bridge"))
    assert glosses[bridge + (1 if language.grammar.postpositions else -1)] == "under"


def test_only_the_unspaced_language_writes_words_together(
    world: ConstructedWorld, meanings: list[Meaning]
) -> None:
    for language in LANGUAGES:
        spaces = [" " in world.speakers[language.code].sentence(meaning) for meaning in meanings]
        assert (any if language.code == "qaj_Mymr" else all)(spaces) is language.script.spaced


def test_different_meanings_are_different_sentences(
    world: ConstructedWorld, meanings: list[Meaning]
) -> None:
    for speaker in world.speakers.values():
        assert len({speaker.sentence(meaning) for meaning in meanings}) == SAMPLE


def test_tense_number_negation_and_roles_are_said(world: ConstructedWorld) -> None:
    wolf, bread = Phrase("wolf"), Phrase("bread")
    plain = Clause("see", "past", subject=wolf, object=bread)
    variants = [
        plain,
        plain._replace(tense="present"),
        plain._replace(tense="future"),
        plain._replace(negated=True),
        plain._replace(subject=wolf._replace(plural=True)),
        plain._replace(object=bread._replace(plural=True)),
        plain._replace(object=bread._replace(number="three", plural=True)),
        plain._replace(object=bread._replace(determiner="this")),
        plain._replace(object=wolf, subject=bread),
    ]
    for code, speaker in world.speakers.items():
        said = {speaker.sentence(Meaning(variant)) for variant in variants}
        assert len(said) == len(variants), code


def test_no_language_has_homophones(world: ConstructedWorld) -> None:
    for speaker in world.speakers.values():
        forms = [speaker.lexicon[concept] for concept in all_words()]
        assert len(set(forms)) == len(forms)


def test_relatives_share_more_of_their_words_than_strangers(world: ConstructedWorld) -> None:
    words = all_words()[:120]

    def distance(first: ConstructedLanguage, second: ConstructedLanguage) -> float:
        ours, theirs = (world.speakers[language.code].lexicon for language in (first, second))
        lengths = sum(max(len(ours[word]), len(theirs[word])) for word in words)
        return sum(edit_distance(ours[word], theirs[word]) for word in words) / lengths

    pairs = list(combinations(LANGUAGES, 2))
    related = [distance(a, b) for a, b in pairs if a.family == b.family]
    strangers = [distance(a, b) for a, b in pairs if a.family != b.family]
    assert max(related) < min(strangers)


def test_no_two_meanings_have_the_same_content(meanings: list[Meaning]) -> None:
    assert len({content(meaning) for meaning in meanings}) == SAMPLE
    wolf, fox = Phrase("wolf"), Phrase("fox")
    chase = Clause("chase", "past", subject=wolf, object=fox)
    swapped = Clause("chase", "future", subject=fox, object=wolf._replace(plural=True))
    assert content(Meaning(chase)) == content(Meaning(swapped))


def test_sentences_have_a_useful_length(world: ConstructedWorld, meanings: list[Meaning]) -> None:
    speaker = world.speakers["qaa_Latn"]
    lengths = sorted(len(speaker.sentence(meaning).split()) for meaning in meanings)
    assert lengths[0] >= 3
    assert lengths[-1] <= 22
    assert 6 <= lengths[SAMPLE // 2] <= 9


def test_copying_a_relative_in_the_same_script_is_a_poor_translation(
    world: ConstructedWorld, meanings: list[Meaning]
) -> None:
    chrf = pytest.importorskip("sacrebleu.metrics").CHRF(word_order=2)
    said = {
        code: [speaker.sentence(meaning) for meaning in meanings[:60]]
        for code, speaker in world.speakers.items()
    }
    same_script = [pair for pair in combinations(said, 2) if pair[0][4:] == pair[1][4:]]
    assert len(same_script) == 6
    for first, second in same_script:
        assert chrf.corpus_score(said[first], [said[second]]).score < 25, (first, second)
