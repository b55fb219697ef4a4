"""Models that others trained: what they were trained on, and what their labels cover."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import DataError, UserError
from corpus.fetch.catalog import CATALOG
from corpus.files import read_json, write_json, write_lines
from lid.cli import group
from lid.directory import NLLB, OPENLID, PLAIN, ModelDescription, read_description
from lid.engine.chinese import chinese_script
from lid.engine.preparation import (
    MAY_BE_FOLDED,
    folded_letters,
    prepare,
    prepare_nllb,
    prepare_openlid,
    prepare_plain,
)
from lid.fasttext_model.model_file import read_fasttext_file
from lid.identifier import Agreement, LanguageIdentifier
from lid.import_fasttext import PUBLISHED, choose_preparation, import_model
from lid.training.finish_model import record_checksums
from tests.lid.conftest import make_sentences

ROOT = Path(__file__).parents[2]
CHINESE = "我们的河水很绿夜里人们走在岸边房子很小但是大家都喜欢这个国家历史经济发展"
JAPANESE = "私たちは夜に川の水をのみます家は小さいですみんなそれがすきです"

TRAINER = """
import sys, fasttext
text, model, words = sys.argv[1:]
fasttext.train_supervised(
    text, dim=16, minn=2, maxn=4, minCount=1 if words == "words" else 2_000_000_000, epoch=20,
    bucket=20_000, thread=11, loss="softmax", verbose=0,
).save_model(model)
"""


def train_elsewhere(directory: Path, lines: dict[str, list[str]], words: bool = True) -> Path:
    """Train a model with fastText itself on lines by label; return the model file."""
    write_lines(
        directory / "train.txt",
        [f"__label__{label} {line}" for label, own in lines.items() for line in own],
    )
    subprocess.run(
        [
            sys.executable,
            "-c",
            TRAINER,
            str(directory / "train.txt"),
            str(directory / "model.bin"),
            "words" if words else "ngrams",
        ],
        check=True,
        env={**os.environ, "MALLOC_PERTURB_": "255"},
    )
    return directory / "model.bin"


@pytest.fixture(scope="module")
def lowercase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on text as OpenLID prepares it, with Chinese under one label."""
    directory = tmp_path_factory.mktemp("lowercase")
    pieces = [CHINESE[n : n + 8] for n in range(len(CHINESE) - 8)] * 6
    lines = {
        "eng_Latn": make_sentences("eng_Latn", 150),
        "fra_Latn": make_sentences("fra_Latn", 150),
        "cmn_Hani": pieces,
        "jpn_Jpan": [JAPANESE[n : n + 8] for n in range(len(JAPANESE) - 8)] * 6,
    }
    prepared = {name: list(map(prepare_openlid, own)) for name, own in lines.items()}
    return train_elsewhere(directory, prepared)


@pytest.mark.parametrize(
    ("line", "prepared"),
    [
        ("THE WATER, 24 rivers!", "the water rivers"),
        ("  a\t b\n", "a b"),
        ("don't “stop” — 3,5 %", "dont stop"),
        ("नदी घर।", "नदी घर"),
        ("2024 !!!", "0"),
        ("", ""),
        ("Ｔｈｅ １２ rivers", "the rivers"),
    ],
)
def test_openlid_preparation_leaves_lowercase_letters(line: str, prepared: str) -> None:
    assert prepare_openlid(line) == prepared


def test_capitals_numbers_and_punctuation_reach_a_lowercase_model_prepared(
    lowercase: Path, tmp_path: Path
) -> None:
    imported = import_model(lowercase, tmp_path / "model")
    assert imported.preparation == OPENLID
    assert read_description(tmp_path / "model").preparation == OPENLID
    identifier = LanguageIdentifier.load(tmp_path / "model")
    lines = make_sentences("fra_Latn", 50, 9_000)
    plain = identifier.identify(lines)
    assert sum(answer.language == "fra_Latn" for answer in plain) >= 48
    assert identifier.identify([line.upper() for line in lines]) == plain
    assert identifier.identify([f"« {line.title()}, 1 234 ! »" for line in lines]) == plain
    assert identifier.identify(["1234 !!", "", "\x00"]) == [
        ("zxx", 1.0),
        ("und", 0.0),
        ("und", 0.0),
    ]


def test_model_of_raw_text_sees_capitals_as_they_are(tmp_path: Path) -> None:
    lines = {
        code: [f"{line.capitalize()}." for line in make_sentences(code, 60)]
        for code in ("eng_Latn", "fra_Latn")
    }
    file = train_elsewhere(tmp_path, lines)
    assert import_model(file, tmp_path / "model").preparation == PLAIN
    assert import_model(file, tmp_path / "asked", preparation=OPENLID).preparation == OPENLID


def test_preparation_is_told_from_fifty_words_on(tmp_path: Path) -> None:
    def write(name: str, words: list[str]) -> Path:
        (tmp_path / name).mkdir()
        halves = words[::2], words[1::2]
        lines = {"eng_Latn": halves[0] * 5, "fra_Latn": halves[1] * 5}
        return train_elsewhere(tmp_path / name, lines)

    words = [f"{a}{b}x" for a in "abcdefg" for b in "hijklmno"][:50]
    assert choose_preparation(read_fasttext_file(write("fifty", words))) == OPENLID
    assert choose_preparation(read_fasttext_file(write("fewer", words[:49]))) == PLAIN
    assert choose_preparation(read_fasttext_file(write("digit", [*words, "x2"]))) == PLAIN
    assert choose_preparation(read_fasttext_file(write("mark", [*words, "x."]))) == PLAIN
    assert choose_preparation(read_fasttext_file(write("capital", [*words, "Xy"]))) == NLLB


def test_lines_for_nllb_keep_case_and_lose_digits_and_punctuation() -> None:
    assert prepare_nllb("Don't, «stop» at 10:30 — St. Mary’s!") == "Dont stop at St Marys"
    assert prepare_nllb("नमस्ते। १२") == "नमस्ते १२"
    assert (prepare_nllb("12 !"), prepare_nllb("")) == ("0", "")


def test_every_identifier_of_the_catalog_is_known_by_its_checksum() -> None:
    listed = [one.files[0].sha256 for one in CATALOG.values() if "identifier" in one.about]
    assert sorted(map(str, listed)) == sorted(PUBLISHED)


def test_import_command_says_how_lines_are_prepared(lowercase: Path, tmp_path: Path) -> None:
    arguments = ["import", "--model", str(lowercase), "--output", str(tmp_path / "model")]
    result = CliRunner().invoke(group, [*arguments, "--preparation", "plain"])
    assert result.exit_code == 0, result.output
    assert "prepared as single lines, otherwise unchanged" in result.output


def test_traditional_chinese_is_found_by_a_model_with_one_chinese_label(
    lowercase: Path, tmp_path: Path
) -> None:
    imported = import_model(lowercase, tmp_path / "model")
    assert {"zho_Hans", "zho_Hant"} <= set(imported.languages)
    identifier = LanguageIdentifier.load(tmp_path / "model")
    assert {"zho_Hans", "zho_Hant"} <= set(identifier.languages)
    lines = ["我們的河水很綠夜裡人們走", "我们的河水很绿夜里人们走", "走在岸", "the water of river"]
    answers = [one.language for one in identifier.rank(lines)]
    assert answers == ["zho_Hant", "zho_Hans", "zho_Hans", "eng_Latn"]
    accepted = {one.language for one in identifier.identify(lines[:2])}
    assert accepted == {"zho_Hans", "zho_Hant"}
    whole = identifier.probabilities(lines)
    assert whole.shape == (4, len(identifier.classes))
    assert whole[0, identifier.classes.index("zho_Hant")] > 0.5
    assert [row[0].language for row in identifier.rank_top(lines, 3)] == answers


def test_characters_of_a_line_tell_the_chinese_script() -> None:
    assert chinese_script("發展國家", "zho_Hans") == "zho_Hant"
    assert chinese_script("发展国家", "zho_Hant") == "zho_Hans"
    assert chinese_script("人山水", "zho_Hant") == "zho_Hant"
    assert chinese_script("国國", "zho_Hant") == "zho_Hant"
    assert chinese_script("", "zho_Hans") == "zho_Hans"


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Ｔｈｅ ｗａｔｅｒ", "The water"),
        ("𝕋𝕙𝕖 𝔴𝔞𝔱𝔢𝔯 𝐨𝐟", "The water of"),
        ("ﾃﾚﾋﾞ ｶﾞ ﾊﾟ", "テレビ ガ パ"),
        ("ﺍﻟﻤﺎﺀ ﻻ", "الماء لا"),
        ("oﬃce ﬁnal", "office final"),
        ("Ⓣⓗⓔ", "The"),
        ("⼈⼝", "人口"),
        ("中文，１", "中文，１"),
        ("10 ℃ ½ №", "10 ℃ ½ №"),
    ],
)
def test_letters_of_other_widths_and_shapes_are_folded(written: str, plain: str) -> None:
    assert prepare_plain(written) == plain
    assert prepare(written) == prepare(plain)


def test_every_folded_letter_is_looked_for() -> None:
    assert len(folded_letters()) > 2_000
    assert all(MAY_BE_FOLDED.fullmatch(chr(point)) for point in folded_letters())


def test_letters_of_other_widths_and_shapes_are_identified(
    identifier: LanguageIdentifier,
) -> None:
    lines = make_sentences("eng_Latn", 20, 9_000)
    full_width = [
        "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in line) for line in lines
    ]
    mathematical = [
        "".join(chr(0x1D41A + ord(c) - ord("a")) if c.isalpha() else c for c in line)
        for line in lines
    ]
    assert identifier.identify(full_width) == identifier.identify(lines)
    assert identifier.identify(mathematical) == identifier.identify(lines)


def test_directory_imported_before_there_was_a_choice_is_read(tmp_path: Path) -> None:
    old = {"prepared": False, "temperature": 1.0, "source": "x", "answers": {"a": "eng_Latn"}}
    write_json(tmp_path / "model.json", old)
    assert read_description(tmp_path) == ModelDescription(
        preparation=PLAIN, answers={"a": "eng_Latn"}, source="x"
    )
    write_json(tmp_path / "model.json", {**old, "preparation": "newer"})
    with pytest.raises(DataError, match="unknown preparation `newer`"):
        read_description(tmp_path)
    for damaged in ([], {}, {**old, "answers": 3}, {**old, "temperature": "warm"}):
        (tmp_path / "model.json").write_text(json.dumps(damaged))
        with pytest.raises(DataError, match=r"model\.json"):
            read_description(tmp_path)


def test_damaged_model_file_in_a_directory_is_refused_although_its_checksum_fits(
    lowercase: Path, tmp_path: Path
) -> None:
    import_model(lowercase, tmp_path / "model")
    data = bytearray((tmp_path / "model" / "model.bin").read_bytes())
    data[8 + 4 * 8 : 8 + 4 * 9] = bytes(4)  # no buckets
    (tmp_path / "model" / "model.bin").write_bytes(data)
    record_checksums(tmp_path / "model")
    with pytest.raises(DataError, match="buckets"):
        LanguageIdentifier.load(tmp_path / "model")
    assert "model.bin" in read_json(tmp_path / "model" / "checksums.json")


@pytest.mark.parametrize("compiled", [True, False])
def test_answers_can_be_restricted_to_some_languages(
    model: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    if not compiled:
        monkeypatch.setattr("lid.identifier.is_compiled", lambda: False)
    whole = LanguageIdentifier.load(model)
    some = LanguageIdentifier.load(model, languages=["fra_Latn", "hin_Deva"])
    assert some.languages == ["fra_Latn", "hin_Deva"]
    assert sorted(some.classes) == ["fra_Latn", "hin_Deva", "zxx"]
    lines = [make_sentences(code, 1, 9_000)[0] for code in ("fra_Latn", "hin_Deva", "eng_Latn")]
    assert [one.language for one in some.identify(lines)[:2]] == ["fra_Latn", "hin_Deva"]
    assert {one.language for one in some.rank(lines)} <= {"fra_Latn", "hin_Deva", "zxx"}
    # The probabilities are those of all classes, divided by what the kept ones have of them.
    before = whole.probabilities(lines)[:, [whole.classes.index(name) for name in some.classes]]
    before[:, some.classes.index("hin_Deva")] *= [0, 1, 0]  # absent scripts have none
    after = some.probabilities(lines)
    assert after[0] / after[0].max() == pytest.approx(before[0] / before[0].max(), abs=1e-3)
    every = LanguageIdentifier.load(model, languages=whole.languages)
    assert every.identify(lines) == whole.identify(lines)
    with pytest.raises(UserError, match="does not know deu_Latn, xxx"):
        LanguageIdentifier.load(model, languages=["fra_Latn", "xxx", "deu_Latn"])


def test_one_chinese_script_alone_can_be_asked_for(lowercase: Path, tmp_path: Path) -> None:
    import_model(lowercase, tmp_path / "model")
    asked = ["zho_Hant", "eng_Latn"]
    identifier = LanguageIdentifier.load(tmp_path / "model", languages=asked)
    lines = ["我們的河水很綠夜裡人們走", "我们的河水很绿夜里人们走", "the water of river"]
    answers = [one.language for one in identifier.identify(lines)]
    assert answers == ["zho_Hant", "und", "eng_Latn"]


def test_command_answers_with_the_languages_asked_for(model: Path) -> None:
    arguments = ["identify", "--model", str(model), "--languages", "rus_Cyrl, eng_Latn"]
    lines = [make_sentences(code, 1, 9_000)[0] for code in ("rus_Cyrl", "eng_Latn", "fra_Latn")]
    result = CliRunner().invoke(group, arguments, input="\n".join(lines))
    answers = [row.split("\t")[0] for row in result.stdout.splitlines()]
    assert answers[:2] == ["rus_Cyrl", "eng_Latn"]
    assert answers[2] != "fra_Latn"


def test_two_models_answer_where_they_agree(lowercase: Path, model: Path, tmp_path: Path) -> None:
    import_model(lowercase, tmp_path / "second")
    first, second = LanguageIdentifier.load(model), LanguageIdentifier.load(tmp_path / "second")
    both = Agreement(first, second)
    assert both.languages == ["eng_Latn", "fra_Latn"]
    lines = [make_sentences(code, 1, 9_000)[0] for code in ("eng_Latn", "fra_Latn", "rus_Cyrl")]
    lines += ["", "123"]
    answers = both.identify(lines)
    assert [one.language for one in answers] == ["eng_Latn", "fra_Latn", "und", "und", "zxx"]
    alone = zip(first.identify(lines), second.identify(lines), strict=True)
    assert [one.score for one in answers] == [min(a.score, b.score) for a, b in alone]
    arguments = ["identify", "--model", str(model), "--and", str(tmp_path / "second")]
    result = CliRunner().invoke(group, arguments, input="\n".join(lines))
    rows = [row.split("\t")[0] for row in result.stdout.splitlines()]
    assert rows == [one.language for one in answers]
    refused = CliRunner().invoke(group, [*arguments, "--top", "2"], input="x")
    assert isinstance(refused.exception, UserError)


def test_models_that_can_never_agree_are_refused(lowercase: Path, tmp_path: Path) -> None:
    import_model(lowercase, tmp_path / "model")
    some, others = (
        LanguageIdentifier.load(tmp_path / "model", languages=[code])
        for code in ("eng_Latn", "fra_Latn")
    )
    with pytest.raises(UserError, match="share no language"):
        Agreement(some, others)
