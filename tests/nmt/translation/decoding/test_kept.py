from pathlib import Path

import pytest

from corpus.errors import DataError, UserError
from corpus.languages import Direction
from nmt.translation.decoding.kept import Glossary, count_lost, find_kept, must_appear

DIRECTION = Direction("eng_Latn", "fra_Latn")


def test_urls_placeholders_and_numbers_are_found_and_nothing_twice() -> None:
    text = "See https://a.example/x?n=12, mail a.b@c.example or {name}, %s, <b>: 1,000 in 2024."
    assert find_kept(text) == {
        "urls": ["https://a.example/x?n=12", "a.b@c.example"],
        "placeholders": ["{name}", "%s", "<b>"],
        "numbers": ["1,000", "2024"],
    }
    assert find_kept("No such thing.") == {}
    assert find_kept("a < b, 5 % of") == {"urls": [], "placeholders": [], "numbers": ["5"]}


@pytest.mark.parametrize(
    ("source", "translation", "lost"),
    [
        ("1,234,567 people", "1 234 567 personnes".replace(" ", "\u202f"), {}),
        ("in 1999", "في ١٩٩٩", {}),
        ("in 1999 and 1999", "1999", {"numbers": 1}),
        ("5 dogs", "fünf Hunde", {}),
        ("Hi {name}!", "Salut {nom} !", {"placeholders": 1}),
        ("www.a.example is it", "www.a.example.", {}),
        ("www.a.example is it", "a.example", {"urls": 1}),
    ],
)
def test_what_a_translation_lacks_is_counted(
    source: str, translation: str, lost: dict[str, int]
) -> None:
    assert dict(count_lost(source, translation)) == lost


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_terms_are_whole_words_longest_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "terms.tsv",
        "fra_Latn\teng_Latn\tzho_Hans\n"
        "cœur\theart\t心\ninfarctus\theart attack\t\nOMS\tWHO\t\n\tliver\t肝\n",
    )
    glossary = Glossary.read(path, DIRECTION)
    found = glossary.find("Heart, hearts, a Heart attack; who is WHO? The liver.")
    assert found == ["cœur", "infarctus", "OMS"]
    reverse = Glossary.read(path, Direction("zho_Hans", "eng_Latn"))
    assert reverse.find("他的心很好") == ["heart"]
    assert list(must_appear("WHO {x}", glossary, ["placeholders"])) == ["OMS", "{x}"]
    assert list(must_appear("WHO {x}", None, [])) == []


def test_faulty_glossaries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Glossary.read(tmp_path / "none.tsv", DIRECTION)
    with pytest.raises(UserError, match="has no column `fra_Latn`; it has eng_Latn, de"):
        Glossary.read(write(tmp_path / "a.tsv", "eng_Latn\tde\n"), DIRECTION)
    with pytest.raises(DataError, match=r"b.tsv:3 has 1 columns, the first line 2"):
        Glossary.read(write(tmp_path / "b.tsv", "eng_Latn\tfra_Latn\na\tb\nc\n"), DIRECTION)
