"""Every file of an evaluation set is read, whatever it is called, or is an error."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.errors import DataError, UserError
from corpus.evaluation_files import evaluation_files, evaluation_sentences
from corpus.evaluation_sets import SAME, EvaluationSentences
from corpus.text import sentence_key

SENTENCE = "On Monday scientists announced a new tool that sorts cells by their type."
OTHER = "周一科学家宣布发明了一种新的诊断工具，可以按类型对细胞进行分类。"


def found_in(*sets: Path) -> bool:
    sentences = EvaluationSentences.read(evaluation_files(sets))
    return sentences.reasons([sentence_key(SENTENCE)], 0.5) == [SAME]


def place(folder: Path, name: str, content: str | bytes = SENTENCE) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "dev/cmn_Hans.dev", "devtest/cmn_Hans.devtest", "devtest/twi_Latn_akua1239.devtest",
        "devtest/eng_Latn.dev", "test/xx", "dev/eng_Latn.txt", "devtest.eng_Latn", "newstest.en",
        "newstest2019-src.eng.txt", "nested/a/b/fil_Latn.tok", "no_suffix", "UPPER.TXT", "a.tsv",
        "dev/deeper/eng_Latn.dev",
    ],
)  # fmt: skip
def test_text_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    place(tmp_path / "set", "dev/eng_Latn.dev", OTHER)
    place(tmp_path / "set", name)
    assert found_in(tmp_path / "set")
    assert found_in(tmp_path / "set" / name)


ROWS = [{"id": 1, "text": SENTENCE, "url": "https://en.example.org"}, {"id": 2, "text": OTHER}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("a.ndjson", "\ufeff" + "\n".join(map(json.dumps, ROWS))),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps({"data": {"translation": {"en": SENTENCE, "zh": OTHER}}})),
        ("a.json", "\n".join(map(json.dumps, ROWS))),
        ("a.csv", f'id,text\r\n1,"{SENTENCE}"\r\n'),
        ("a.tsv", f"\ufeffid\ttext\n1\t{SENTENCE}\n"),
        ("a.sgm", f'<doc docid="x"><p>\n<seg id="1">{SENTENCE}</seg>\n</p></doc>'),
        ("a.xml", f"<refset><seg id='1'> {SENTENCE} </seg></refset>"),
        ("a.tmx", f'<tu><tuv xml:lang="en"><seg>{SENTENCE}</seg></tuv></tu>'),
        ("a.txt", f"{SENTENCE}\r\n".encode("utf-16")),
        ("a.txt.gz", gzip.compress(SENTENCE.encode())),
        ("a.en.bz2", bz2.compress(SENTENCE.encode())),
        ("a.dev.xz", lzma.compress(SENTENCE.encode())),
        ("a.jsonl.zst", zstandard.compress(json.dumps(ROWS[0]).encode())),
    ],
)
def test_formats_of_test_sets_are_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    place(tmp_path, name, content)
    assert found_in(tmp_path)


def test_parquet_is_read_in_any_column(tmp_path: Path) -> None:
    table = pa.table({"id": [1], "sentence_eng_Latn": [SENTENCE], "translation": [{"zh": OTHER}]})
    pq.write_table(table, tmp_path / "devtest-00000-of-00001.parquet")
    assert found_in(tmp_path)
    assert OTHER in set(evaluation_sentences(tmp_path / "devtest-00000-of-00001.parquet"))


def test_ids_addresses_and_notes_are_no_sentences(tmp_path: Path) -> None:
    path = place(tmp_path, "a.jsonl", "\n".join(map(json.dumps, ROWS)))
    assert list(evaluation_sentences(path)) == [SENTENCE, OTHER]
    flores = tmp_path / "flores"
    for name in ("README", "metadata_devtest.tsv", "LICENSE.txt", ".hidden", "dev/eng_Latn.dev"):
        place(flores, name)
    assert [path.name for path in evaluation_files([flores])] == ["eng_Latn.dev"]


def test_linked_folder_is_read_and_a_link_upwards_ends(tmp_path: Path) -> None:
    place(tmp_path, "elsewhere/eng_Latn.dev")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dev").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    assert found_in(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dev.zip", b"PK\3\4", "unpack or remove it"),
        ("flores.tar.gz", b"\x1f\x8b", "unpack or remove it"),
        ("a.dev", b"Good day\nna\xefve\n", r"line 2 is not UTF-8"),
        ("a.dev", b"GIF89a\0\0\0", "zero bytes"),
        ("a.txt.gz", b"\x1f\x8b\x08\0broken", "cannot be read"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "cannot be read"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.dev.xz", b"no", "cannot be read"),
        ("a.dev", b" \n\n", "hold no sentence"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = place(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as error:
        found_in(tmp_path)
    assert str(path) in str(error.value)


def test_set_that_is_not_there_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        evaluation_files([tmp_path / "no"])
    place(tmp_path, "README.md")
    with pytest.raises(UserError, match="holds no evaluation set"):
        evaluation_files([tmp_path])


@pytest.mark.parametrize("end", ["\r", "\u2028", "\x85"])
def test_lines_that_end_in_another_way_are_found_too(tmp_path: Path, end: str) -> None:
    path = tmp_path / "x.devtest"
    path.write_bytes(end.join(["Yes.", "No, thanks.", ""]).encode())
    assert {"Yes.", "No, thanks."} <= set(evaluation_sentences(path))


@pytest.mark.parametrize("name", ["x.json", "x.sgm", "x.txt"])
def test_what_is_held_whole_has_a_limit(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.evaluation_files._LONGEST_TEXT", 100)
    data = b"[1,\n" * 100 if name != "x.txt" else ("a" * 100).encode("utf-16")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} of an evaluation set cannot be read: it is .*100"):
        list(evaluation_sentences(tmp_path / name))
