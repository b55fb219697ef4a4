"""Bitext and FLORES files: what is read, and what is refused with its place."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.bitext import BitextReader
from corpus.errors import DataError, UserError
from corpus.files import write_lines
from corpus.flores import read_split, split_file, split_languages
from corpus.languages import Direction
from corpus.records import (
    BITEXT_SCHEMA,
    SENTENCES_SCHEMA,
    bitext_files,
    labeled_text_files,
    read_bitext,
    read_table,
    sentence_batches,
    take_sentences,
    write_bitext,
    write_table,
)

PAIRS = pa.table(
    {
        "score": pa.array([1.25, 1.5], pa.float32()),
        "source": ["a \u2028 b", "привет"],
        "target": ["ب", "नमस्ते"],
        "source_document": ["http://x/1", "http://x/2"],
        "target_document": ["http://y/1", "http://y/2"],
    },
    schema=BITEXT_SCHEMA,
)


@pytest.mark.parametrize("suffix", [".parquet", ".tsv", ".tsv.zst", ".tsv.gz"])
def test_bitext_round_trips(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"eng_Latn-hin_Deva{suffix}"
    write_bitext(path, PAIRS)
    assert read_bitext(path).equals(PAIRS)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_table(tmp_path / name, PAIRS)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_headerless_tsv_is_source_and_target(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.tsv", ["one\tun", "two\tdeux\textra"])
    assert read_bitext(tmp_path / "x.tsv").to_pydict() == {
        "source": ["one", "two"],
        "target": ["un", "deux"],
    }


def test_line_without_a_target_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.tsv", ["one\tun", "two"])
    with pytest.raises(DataError, match=r"x\.tsv:2: 1 columns where a pair needs 2"):
        read_bitext(tmp_path / "x.tsv")


def test_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        read_bitext(tmp_path / "x.parquet")


def test_parquet_without_a_column_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", PAIRS.drop_columns(["target"]))
    with pytest.raises(DataError, match="lacks the columns target"):
        read_bitext(tmp_path / "x.parquet")


def test_column_that_holds_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = SENTENCES_SCHEMA.empty_table()
    place = table.column_names.index("hash")
    write_table(path, table.set_column(place, "hash", pa.array([], pa.string())))
    named = r"a\.parquet: column `hash` holds string, not uint64"
    with pytest.raises(DataError, match=named):
        read_table(path, SENTENCES_SCHEMA, ["hash"])
    with pytest.raises(DataError, match=named):
        list(sentence_batches(path, ["text", "hash"]))
    assert not list(sentence_batches(path, ["text"]))  # what is not asked for may be anything


def test_bitext_directory_is_read_by_direction(tmp_path: Path) -> None:
    write_bitext(tmp_path / "eng_Latn-hin_Deva.parquet", PAIRS)
    write_lines(tmp_path / "eng_Latn-fra_Latn.tsv", ["a\tb"])
    write_lines(tmp_path / "README.tsv", ["not bitext"])
    assert list(bitext_files(tmp_path)) == [
        Direction("eng_Latn", "fra_Latn"),
        Direction("eng_Latn", "hin_Deva"),
    ]
    write_lines(tmp_path / "eng_Latn-hin_Deva.tsv", ["a\tb"])
    with pytest.raises(UserError, match="twice"):
        bitext_files(tmp_path)


def test_empty_directories_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="<source>-<target>"):
        bitext_files(tmp_path)
    with pytest.raises(UserError, match=r"<language>\.txt"):
        labeled_text_files(tmp_path)


def write_flores(tmp_path: Path, texts: dict[str, list[str]]) -> None:
    for language, lines in texts.items():
        write_lines(tmp_path / "dev" / f"{language}.dev", lines)


def test_split_is_read_by_language(tmp_path: Path) -> None:
    write_flores(tmp_path, {"eng_Latn": ["a\u2028b", "c"], "ben_Beng": ["ক", "খ"]})
    assert read_split(tmp_path, "dev") == {"ben_Beng": ["ক", "খ"], "eng_Latn": ["a\u2028b", "c"]}
    assert list(read_split(tmp_path, "dev", ["eng_Latn"])) == ["eng_Latn"]


def test_files_of_a_split_whose_code_is_unknown_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["eng_Latn", "cmn_Hans", "cmn_Hsna", "xyz_Latn"]
    write_flores(tmp_path, {name: ["a"] for name in names})
    for _ in range(2):
        assert list(read_split(tmp_path, "dev")) == ["cmn_Hans", "eng_Latn"]
    (record,) = caplog.records
    assert "cmn_Hsna, xyz_Latn" in record.getMessage()


def test_texts_of_a_split_are_found_under_other_names(tmp_path: Path) -> None:
    """FLORES-101 has `eng` and `zho_simpl`, FLORES+ `cmn_Hans`."""
    write_flores(tmp_path, {"eng": ["a"], "cmn_Hans": ["乙"], "zho_trad": ["丙"]})
    assert split_languages(tmp_path, "dev") == ["cmn_Hans", "eng_Latn", "zho_Hant"]
    assert read_split(tmp_path, "dev", ["zho_Hans", "cmn_Hant"]) == {
        "zho_Hans": ["乙"],
        "cmn_Hant": ["丙"],
    }
    assert split_file(tmp_path, "dev", "eng_Latn").name == "eng.dev"


def test_texts_of_a_split_that_may_be_of_several_languages_are_listed_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_flores(tmp_path, {"eng_Latn": ["a"], "srp": ["a"]})
    assert split_languages(tmp_path, "dev") == ["eng_Latn"]
    assert "srp (srp_Cyrl or srp_Latn?)" in caplog.records[0].getMessage()
    write_flores(tmp_path, {"eng": ["a"]})
    with pytest.raises(UserError, match=r"holds eng_Latn twice: eng\.dev, eng_Latn\.dev"):
        split_languages(tmp_path, "dev")


def test_files_of_different_length_are_refused(tmp_path: Path) -> None:
    write_flores(tmp_path, {"eng_Latn": ["a", "b"], "ben_Beng": ["ক"]})
    with pytest.raises(DataError, match="eng_Latn has 2 lines and ben_Beng has 1"):
        read_split(tmp_path, "dev")


def test_missing_split_and_language_are_named(tmp_path: Path) -> None:
    write_flores(tmp_path, {"eng_Latn": ["a"]})
    with pytest.raises(UserError, match="no split `test`"):
        read_split(tmp_path, "test")
    with pytest.raises(UserError, match="no file for `fra_Latn`"):
        read_split(tmp_path, "dev", ["fra_Latn"])


def test_sentences_of_pandas_and_polars_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None], pa.large_string()), "lid_score": [1.0, 0.5],
            "document": pa.array(["d", "d"]).dictionary_encode(), "position": [0, 1],
            "hash": [7, 3],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_table(tmp_path / "x.parquet", SENTENCES_SCHEMA)
    assert read.schema.equals(SENTENCES_SCHEMA)
    assert read.to_pydict() == table.to_pydict()
    taken = take_sentences(tmp_path / "x.parquet", ["text", "hash"], np.array([1, 0, 1]))
    assert taken.to_pydict() == {"text": ["", "a", ""], "hash": [3, 7, 3]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"hash": pa.array([1, None], pa.uint64())}, "`hash` holds nulls"),
        ({"hash": pa.array([1, -1])}, "`hash` is damaged"),
        ({"hash": pa.array(["1", "2"])}, "`hash` holds string, not uint64"),
        ({"text": pa.array([["a"], ["b"]])}, "`text` holds list"),
        ({"text": pa.array([b"a", b"\xff"])}, "`text` is damaged"),
    ],
)
def test_sentences_of_other_types_are_refused(
    tmp_path: Path, columns: dict[str, pa.Array], message: str
) -> None:
    whole = {"text": ["a", "b"], "hash": pa.array([1, 2], pa.uint64())}
    pq.write_table(pa.table({**whole, **columns}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rf"x\.parquet: column {message}"):
        list(sentence_batches(tmp_path / "x.parquet", ["text", "hash"]))


def test_rows_are_taken_over_many_batches(tmp_path: Path) -> None:
    count = 40_000
    numbers = np.arange(count, dtype=np.uint64)
    pq.write_table(pa.table({"hash": numbers}), tmp_path / "x.parquet", row_group_size=999)
    rows = np.array([39_999, 0, 16_384, 16_383, 5])
    taken = take_sentences(tmp_path / "x.parquet", ["hash"], rows)
    assert taken.column("hash").to_pylist() == rows.tolist()


def test_first_pairs_of_a_table_with_dictionaries_are_copied(tmp_path: Path) -> None:
    sides = {name: pa.array(["a", "b", "a"]).dictionary_encode() for name in ("source", "target")}
    name = "eng_Latn-fra_Latn.parquet"
    pq.write_table(pa.table(sides), tmp_path / name)
    assert BitextReader(tmp_path / name).copy_first(tmp_path / "copy", 2) == 2
    assert read_bitext(tmp_path / "copy" / name).num_rows == 2
