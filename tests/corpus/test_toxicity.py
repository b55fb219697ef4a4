import unicodedata
from pathlib import Path

import pytest

from corpus.errors import UserError
from corpus.toxicity import ToxicityList, read_toxicity_list, toxicity_files


@pytest.mark.parametrize(
    ("entry", "text", "count"),
    [
        ("darn", "Darn! Well, darn it.", 2),
        ("darn", "darning needles", 0),
        ("ass", "a class of asses", 0),
        ("son of a gun", "You son of a gun, you.", 1),
        ("son of a gun", "the son of a gunner", 0),
        ("कमीना", "वह कमीना है।", 1),  # its vowel signs are marks
        ("কুত্তা", "সে একটা কুত্তা।", 1),
        ("crétin", unicodedata.normalize("NFD", "Quel CRÉTIN !"), 1),
        ("straße", "STRASSE", 1),
        ("笨蛋", "你这个笨蛋，大笨蛋！", 2),
        ("ควาย", "ไอ้ควายเอ๊ย", 1),
        ("darn", "彼はdarnと言った", 0),  # a word of its own only between other characters
    ],
)
def test_entries_are_found_as_words_or_in_scripts_without_spaces_as_strings(
    entry: str, text: str, count: int
) -> None:
    assert ToxicityList([entry]).count(text) == count


def test_longest_entry_at_a_place_counts_once() -> None:
    assert ToxicityList(["son", "son of a gun", "gun"]).count("son of a gun") == 1
    assert ToxicityList(["笨", "笨蛋"]).count("笨蛋") == 1


def test_every_entry_finds_itself_in_any_normal_form() -> None:
    entries = ["naïve", "कमीना", "ಕತ್ತೆ", "ลา", "驴", "می‌خور", "ábc déf"]
    for entry in entries:
        for form in ("NFC", "NFD"):
            assert ToxicityList(entries).count(unicodedata.normalize(form, entry)) == 1


def test_lists_are_named_by_language_also_as_etox_names_them(tmp_path: Path) -> None:
    (tmp_path / "eng_Latn_twl.txt").write_text("darn\n", encoding="utf-8")
    (tmp_path / "fra_Latn.txt").write_text("zut\n\n", encoding="utf-8")
    found = toxicity_files(tmp_path)
    assert list(found) == ["eng_Latn", "fra_Latn"]
    assert read_toxicity_list(found["fra_Latn"]).count("Zut alors") == 1


def test_lists_that_cannot_be_used_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no toxicity list"):
        toxicity_files(tmp_path)
    (tmp_path / "eng_Latn.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no entry"):
        read_toxicity_list(tmp_path / "eng_Latn.txt")
    (tmp_path / "eng_Latn_twl.txt").write_text("x\n", encoding="utf-8")
    with pytest.raises(UserError, match="two lists"):
        toxicity_files(tmp_path)
    (tmp_path / "eng_Latn_twl.txt").rename(tmp_path / "english.txt")
    (tmp_path / "english.txt").write_text("x\n", encoding="utf-8")
    with pytest.raises(UserError, match="not a FLORES-200 language code"):
        toxicity_files(tmp_path)
