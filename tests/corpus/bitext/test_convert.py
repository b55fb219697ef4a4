import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from corpus.bitext.convert import ConvertConfig, convert_bitext, find_inputs
from corpus.bitext.tmx_writer import language_tag
from corpus.cli import group
from corpus.errors import UserError
from corpus.languages import Direction, known_languages, language_choices
from corpus.records import bitext_files, read_bitext
from tests.receipts import read_receipt

EN_FR = Direction("eng_Latn", "fra_Latn")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A directory as people have them: three formats, two directions, a development set."""
    folder = tmp_path / "in"
    write(folder / "News.en-fr.en", "one\n\nthree\n")
    write(folder / "News.en-fr.fr", "un\ndeux\n \n")
    write(folder / "en-fr.tsv", "score\tsource\ttarget\n0.5\tfour\tquatre\n")
    write(folder / "x.jsonl", json.dumps({"translation": {"de": "eins", "en": "one"}}) + "\n")
    write(folder / "dev.en-fr.en", "held\n")
    write(folder / "dev.en-fr.fr", "out\n")
    return folder


def test_files_of_a_direction_are_joined_in_our_layout(inputs: Path, tmp_path: Path) -> None:
    arguments = ["convert", str(inputs), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'out'}\n"
    rows = [line.split() for line in result.stderr.splitlines() if line.startswith("eng_Latn-")]
    assert rows == [["eng_Latn-fra_Latn", "4", "2", "2", "News.en-fr.en,", "en-fr.tsv"]]
    files = bitext_files(tmp_path / "out")
    assert list(map(str, files)) == ["deu_Latn-eng_Latn", "eng_Latn-fra_Latn"]
    assert pq.read_table(files[EN_FR]).to_pydict() == {
        "score": [None, 0.5],
        "source": ["one", "four"],
        "target": ["un", "quatre"],
    }
    again = CliRunner().invoke(group, [*arguments, "--json"])
    assert json.loads(again.stdout)["eng_Latn-fra_Latn"] == {
        "files": [str(inputs / "News.en-fr.en"), str(inputs / "en-fr.tsv")],
        "pairs": 4, "kept": 2, "dropped.empty": 2,
    }  # fmt: skip


def test_receipt_lists_both_files_of_a_moses_pair(inputs: Path, tmp_path: Path) -> None:
    convert_bitext([inputs / "News.en-fr.en"], tmp_path / "out", ConvertConfig())
    receipt = read_receipt(tmp_path / "out", "convert", "eng_Latn-fra_Latn")
    assert [Path(one["path"]).name for one in receipt["inputs"]] == [
        "News.en-fr.en",
        "News.en-fr.fr",
    ]
    write(inputs / "News.en-fr.fr", "changed\n" * 3)
    with pytest.raises(UserError, match=r"News\.en-fr\.fr"):
        convert_bitext([inputs / "News.en-fr.en"], tmp_path / "out", ConvertConfig())


def test_tmx_that_is_written_is_read_back(inputs: Path, tmp_path: Path) -> None:
    convert_bitext([inputs], tmp_path / "out", ConvertConfig(), suffix="tmx.gz")
    table = read_bitext(tmp_path / "out" / "eng_Latn-fra_Latn.tmx.gz")
    assert table["source"].to_pylist() == ["one", "four"]


def test_languages_are_given_where_names_do_not_tell_them(tmp_path: Path) -> None:
    plain, zh = write(tmp_path / "x.tsv", "a\tb\n"), write(tmp_path / "d" / "en-zh.tsv", "a\tb\n")
    with pytest.raises(UserError, match=r"x\.tsv does not tell its languages; give --source"):
        find_inputs([plain], None)
    hant = Direction("eng_Latn", "zho_Hant")
    assert find_inputs([plain, zh, zh.parent], hant) == {hant: [plain, zh, zh]}
    with pytest.raises(UserError, match=r"en-zh\.tsv is named as a file of eng_Latn-zho_Hant, not"):
        find_inputs([zh], hant.reverse)
    arguments = ["convert", str(zh), "--source", "en", "--target", "zh-Hant"]
    result = CliRunner().invoke(group, [*arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "eng_Latn-zho_Hant.parquet").is_file()
    alone = CliRunner().invoke(group, [*arguments[:4], "--output", str(tmp_path / "out")])
    assert "--source and --target are given together" in str(alone.exception)


def test_tags_of_tmx_mean_the_language_that_they_are_written_for() -> None:
    codes = [*known_languages(), "tyv_Cyrl", "twi_Latn_asan1239", "qaa_Latn"]
    assert [code for code in codes if language_choices(language_tag(code)) != (code,)] == []
    assert [language_tag(code) for code in ("eng_Latn", "zho_Hans")] == ["en", "zh-Hans"]


def test_input_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "eng_Latn-fra_Latn.tsv"
    path.write_text("a b\tc d\n\tempty\n")
    with pytest.raises(UserError, match="is the input; choose another output"):
        convert_bitext([path], tmp_path, ConvertConfig(), suffix="tsv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link.eng_Latn-fra_Latn.tsv").symlink_to(path)
    with pytest.raises(UserError, match="is the input; choose another output"):
        convert_bitext([tmp_path / "out"], tmp_path, ConvertConfig(), suffix="tsv")
    assert path.read_text() == "a b\tc d\n\tempty\n"
