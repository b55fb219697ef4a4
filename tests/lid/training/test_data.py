"""Preparation, duplicates, splitting, sampling and noise."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from corpus.files import write_lines
from lid.engine.characters import script_bits
from lid.engine.numpy_preparation import scan
from lid.engine.preparation import (
    _MAY_BE_UNSPACED,
    UNSPACED,
    prepare,
    without_diacritics,
)
from lid.labeled_text import joined_files, labeled_files
from lid.training.data import (
    crop,
    draw,
    read_labeled,
    sample_sizes,
    split_validation,
    strip_diacritics,
)
from lid.training.noise import generate_noise


@given(st.text())
def test_prepared_text_is_one_line_that_fasttext_reads_as_words(text: str) -> None:
    prepared = prepare(text)
    assert "\n" not in prepared
    assert "__label__" not in prepared
    assert "</s>" not in prepared
    assert "\x00" not in prepared
    assert prepared == " ".join(prepared.split())
    prepared.encode("utf-8")


def test_text_without_spaces_is_cut_into_pieces_of_four() -> None:
    assert prepare("これは日本語の文章です") == "これは日 本語の文 章です"


def test_marks_stay_with_their_letters_when_text_is_cut() -> None:
    # ที่ is one letter with two marks; pieces count letters.
    assert prepare("ที่ที่ที่ที่ที่") == "ที่ที่ที่ที่ ที่"


def test_every_character_of_a_script_without_spaces_is_looked_for() -> None:
    assigned = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    found = "".join(regex.findall(UNSPACED, assigned))
    assert all(prepare(f"a{character * 5}") != f"a{character * 5}" for character in found[::97])
    assert all(_MAY_BE_UNSPACED.match(character) for character in found)


def test_spaced_scripts_are_not_cut() -> None:
    assert prepare("Donaudampfschifffahrt") == "donaudampfschifffahrt"


@pytest.mark.parametrize(
    ("text", "script", "expected"),
    [
        ("日本", "Jpan", True),
        ("カタカナ", "Jpan", True),
        ("漢字", "Hant", True),
        ("漢字", "Kore", True),
        ("漢字", "Hang", False),
        ("abc", "Cyrl", False),
        ("नदी", "Deva", True),
        ("123 !", "Latn", False),
    ],
)
def test_script_occurs_if_one_character_has_it(text: str, script: str, expected: bool) -> None:
    assert bool(scan([text]).scripts[0] & np.uint64(script_bits(script))) is expected


def test_digits_and_marks_alone_are_no_letters() -> None:
    assert scan(["123 …!? ◌́", "1 ก"]).has_letters.tolist() == [False, True]


def test_shared_lines_go_to_the_language_that_has_them_oftener(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.txt", ["only English", "Shared!", "shared!", "tie", ""])
    write_lines(tmp_path / "fra_Latn.txt.gz", ["only French", "shared!", "TIE", " "])
    text = read_labeled(joined_files([tmp_path]))
    assert text.lines["eng_Latn"] == ["only english", "shared!"]
    assert text.lines["fra_Latn"] == ["only french"]
    assert text.counts == {
        "read": 9,
        "empty": 2,
        "repeated": 1,
        "ambiguous": 2,
        "given_to_another_language": 1,
        "kept": 3,
    }
    counts = dict(text.counts)
    assert counts.pop("read") == sum(counts.values())


def test_language_left_without_lines_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.txt", ["water", "river"])
    write_lines(tmp_path / "fra_Latn.txt", ["", " "])
    with pytest.raises(DataError, match="fra_Latn"):
        read_labeled(joined_files([tmp_path]))


def test_unknown_code_and_lonely_file_are_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn.txt", ["water"])
    with pytest.raises(UserError, match="at least 2 are needed"):
        labeled_files(tmp_path)
    write_lines(tmp_path / "english.txt", ["water"])
    with pytest.raises(UserError, match="english"):
        labeled_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "code"),
    [("en", "eng_Latn"), ("zh-Hant", "zho_Hant"), ("tyv", "tyv_Cyrl"), ("cmn_Hans", "cmn_Hans")],
)
def test_file_may_be_named_as_others_name_languages(tmp_path: Path, name: str, code: str) -> None:
    write_lines(tmp_path / f"{name}.txt.gz", ["water"])
    assert list(labeled_files(tmp_path, least=1)) == [code]


def test_file_named_by_several_languages_is_refused_with_the_choices(tmp_path: Path) -> None:
    write_lines(tmp_path / "no.txt", ["vann"])
    with pytest.raises(UserError, match=r"no\.txt: `no` may mean `nno_Latn` .* or `nob_Latn`"):
        labeled_files(tmp_path)


def test_entries_that_are_left_out_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("eng_Latn.txt", "fra_Latn.txt", "deu_Latn.tsv", "spa_Latn.jsonl"):
        write_lines(tmp_path / name, ["water"])
    assert list(labeled_files(tmp_path)) == ["eng_Latn", "fra_Latn"]
    assert "2 entries are not" in caplog.text
    assert "deu_Latn.tsv, spa_Latn.jsonl" in caplog.text


def test_one_language_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("eng_Latn.txt", "eng_Latn.txt.gz", "fra_Latn.txt"):
        write_lines(tmp_path / name, ["water"])
    with pytest.raises(UserError, match="both of `eng_Latn`"):
        labeled_files(tmp_path)


@given(st.lists(st.text(min_size=1), unique=True, min_size=1))
def test_split_loses_nothing_and_always_leaves_something_to_learn(lines: list[str]) -> None:
    training, validation = split_validation(lines, 0.3, 5)
    assert sorted(training + validation) == sorted(lines)
    assert training
    assert len(validation) <= 5


def test_sizes_follow_the_temperature() -> None:
    # 1000^(1/3) = 10 and 1^(1/3) = 1: shares 10/11 and 1/11, the second held at 2 repeats.
    sizes = sample_sizes({"a": 1000, "b": 1}, total=110, temperature=3.0, max_repeats=2)
    assert sizes == {"a": 108, "b": 2}


def test_what_small_classes_leave_is_shared_until_all_have_their_most() -> None:
    available = {"a": 1000, "b": 64, **{f"few{i}": 1 for i in range(50)}}
    sizes = sample_sizes(available, total=400, temperature=3.0, max_repeats=2)
    assert sizes == {"a": 214, "b": 86, **{f"few{i}": 2 for i in range(50)}}
    everything = sample_sizes(available, total=10_000, temperature=3.0, max_repeats=2)
    assert everything == {name: 2 * count for name, count in available.items()}


def test_every_line_is_drawn_before_any_is_drawn_twice() -> None:
    drawn = Counter(draw(["a", "b", "c"], 7, np.random.default_rng(1)))
    assert sorted(drawn.values()) == [2, 2, 3]


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=20),
    number=st.integers(1, 200),
    exponent=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_draw_gives_each_line_its_share_up_to_rounding(
    lengths: list[int], number: int, exponent: float
) -> None:
    lines = [f"{i}".ljust(length, "x") for i, length in enumerate(lengths)]
    drawn = draw(lines, number, np.random.default_rng(1), exponent, counted_characters=150)
    assert len(drawn) == number
    weights = [min(len(line), 150) ** exponent for line in lines]
    counts = Counter(drawn)
    for line, weight in zip(lines, weights, strict=True):
        assert abs(counts[line] - number * weight / sum(weights)) < 1 + 1e-6


def test_diacritics_go_where_people_leave_them_out() -> None:
    text = "čeština việt ёлка μάθημα שָׁלוֹם हिन्दी ไทยที่"
    assert without_diacritics(text) == "cestina viet елка μαθημα שלום हिन्दी ไทยที่"
    assert strip_diacritics(["č"] * 4, 1.0, np.random.default_rng(1)) == ["c"] * 4
    assert strip_diacritics(["č"] * 4, 0.0, np.random.default_rng(1)) == ["č"] * 4


def test_crops_are_pieces_of_their_lines() -> None:
    line = " ".join(f"w{i}" for i in range(30))
    cropped = crop([line] * 200, 0.5, 4, np.random.default_rng(1))
    short = [text for text in cropped if text != line]
    assert 60 < len(short) < 140
    assert all(text in line and len(text.split()) <= 4 for text in short)


def test_noise_is_reproducible_and_prepared() -> None:
    lines = ["вода реки и берег", "água não é pão", "plain ascii water"]
    noise = generate_noise(lines, 300, seed=7)
    assert noise == generate_noise(lines, 300, seed=7)
    assert noise != generate_noise(lines, 300, seed=8)
    assert len(noise) == 300
    assert all(text == prepare(text) and text for text in noise)
    assert not set(noise) & set(lines)


def test_text_of_a_language_in_two_directories_is_joined(tmp_path: Path) -> None:
    write_lines(tmp_path / "a/eng_Latn.txt", ["water"])
    write_lines(tmp_path / "a/fra_Latn.txt", ["eau"])
    write_lines(tmp_path / "b/eng_Latn.txt", ["river"])
    write_lines(tmp_path / "b/ces_Latn.txt", ["voda"])
    text = read_labeled(joined_files([tmp_path / "a", tmp_path / "b"]))
    assert {name: sorted(lines) for name, lines in text.lines.items()} == {
        "ces_Latn": ["voda"], "eng_Latn": ["river", "water"], "fra_Latn": ["eau"],
    }  # fmt: skip


def test_one_language_in_all_directories_is_too_few(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_lines(tmp_path / name / "eng_Latn.txt", ["water"])
    with pytest.raises(UserError, match="text of `eng_Latn` only"):
        joined_files([tmp_path / "a", tmp_path / "b"])
