from pathlib import Path

import pytest

from nmt.translation.decoding.unknown import Copied, cut_unknown
from nmt.vocabulary.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "runs", "rest", "copied"),
    [
        ("🙂 “bara kino” 🙂", ["🙂", "“", "”", "🙂"], "bara kino", ("🙂 “", (), "” 🙂")),
        ("“bara” kino", ["“", "”"], "bara” kino", ("“", ("”",), "")),
        ("bara 🙂 kino", ["🙂"], "bara 🙂 kino", ("", ("🙂",), "")),
        ("🙂 🙂", ["🙂", "🙂"], "", ("🙂 🙂", (), "")),
        ("bara", [], "bara", ("", (), "")),
    ],
)
def test_unknown_characters_at_the_ends_are_cut_off_and_those_inside_stay(
    text: str, runs: list[str], rest: str, copied: tuple[str, tuple[str, ...], str]
) -> None:
    assert cut_unknown(text, runs) == (rest, Copied(*copied))


def test_unknown_tokens_stand_for_what_they_are_told_in_order(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    [tokens] = vocabulary.encode(["bara 🙂🙂 kino“moli ܐ"])
    assert tokens.count(vocabulary.unknown_index) == 3
    assert vocabulary.decode(tokens, ["🙂🙂", "“", "ܐ"]) == "bara 🙂🙂 kino“moli ܐ"
    assert vocabulary.decode(tokens, ["☂"]).split() == ["bara", "☂", "kinomoli"]
    assert vocabulary.decode(tokens).split() == ["bara", "kinomoli"]


def test_unknown_tokens_beside_words_of_their_own_are_filled_in_order(
    vocabulary_directory: Path,
) -> None:
    plain = Vocabulary.load(vocabulary_directory)
    layout = plain.layout()
    vocabulary = Vocabulary(
        (vocabulary_directory / "sentencepiece.model").read_bytes(),
        plain.languages,
        symbols=layout["symbols"],
        words={"<word>": plain.size},
    )
    [tokens] = vocabulary.encode(["bara 🙂 <word> “ kino"])
    assert vocabulary.decode(tokens, ["🙂", "“"]) == "bara 🙂 <word> “ kino"
