"""One normalizer, one key, scripts of five families of writing."""

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from corpus.text import SPACES, normalize, script_share, scripts_of, sentence_hash, sentence_key


@given(st.text())
def test_normalizing_twice_changes_nothing_more(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


def test_spaces_controls_and_composition_are_settled() -> None:
    assert normalize("  cafe\u0301\u00a0 au\u2028lait\x00\ufeff ") == "café au lait"


def test_joiners_that_spelling_needs_are_kept() -> None:
    assert normalize("می\u200cخواهم") == "می\u200cخواهم"
    assert normalize("क्\u200dष") == "क्\u200dष"


def test_key_ignores_case_punctuation_and_the_value_of_numbers() -> None:
    assert sentence_key("In 1999, Ana saw 3 dogs!") == sentence_key("in 2024 ana SAW 17 dogs")
    assert sentence_key("Ana saw dogs") != sentence_key("Ana saw cats")
    assert sentence_key("०१२ कुत्ते") == sentence_key("९ कुत्ते")


def test_key_keeps_combining_marks() -> None:
    assert sentence_key("हिन्दी।") == "हिन्दी"


def test_hash_is_the_same_on_every_machine() -> None:
    # `printf 'hello world' | b2sum -l 64` prints the bytes 87 86 33 aa 32 a3 b1 50
    assert sentence_hash("Hello, world!") == 0x50B1A332AA338687


@pytest.mark.parametrize(
    ("text", "script", "share"),
    [
        ("Hello, world 123", "Latn", 1.0),
        ("Привет", "Cyrl", 1.0),
        ("สวัสดี", "Thai", 1.0),
        ("東京タワーは", "Jpan", 1.0),
        ("東京タワーは", "Hans", 2 / 5),
        ("ab гд", "Latn", 0.5),
        ("123 !?", "Latn", 0.0),
    ],
)
def test_share_of_a_script(text: str, script: str, share: float) -> None:
    assert script_share(text, script) == pytest.approx(share)


def test_scripts_are_counted_by_character() -> None:
    assert scripts_of("aб1, ब") == {"Latn": 1, "Cyrl": 1, "Deva": 1}


def test_quick_way_through_printable_text_misses_no_space() -> None:
    for point in range(0x110000):
        character = chr(point)
        if character.isprintable() and character != " ":
            assert not SPACES.match(character), hex(point)


@given(st.text() | st.text(" \u00a0\u200b\tab\u200d", max_size=20))
def test_normalized_text_has_single_plain_spaces(text: str) -> None:
    expected = SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")
    assert normalize(text) == expected


def slow_key(text: str) -> str:
    """The key as its docstring has it, by searching for classes of characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    numbers = regex.sub(r"\p{Nd}+", "0", folded)
    return str(regex.sub(r"[^\p{L}\p{M}\p{N}]+", " ", numbers)).strip()


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("0aA1٣½ \t\u2028.-'’ꙮ𝟘"))))
def test_key_is_what_its_classes_of_characters_make_it(text: str) -> None:
    assert sentence_key(text) == slow_key(text)
