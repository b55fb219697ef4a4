import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.bitext import BitextReader, bitext_writer, check_bitext_name, direction_of
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from corpus.records import read_bitext, write_bitext

ODD = ['He said "so", twice', "a\u2028b", "next\x85line", "form\x0cfeed", "", " ", "नमस्ते", "ا"]
SUFFIXES = ["parquet", "tsv", "tsv.gz", "tsv.zst"]


def pairs(count: int) -> pa.Table:
    texts = [ODD[i % len(ODD)] for i in range(count)]
    return pa.table(
        {
            "score": pa.array([i / 7 for i in range(count)], pa.float32()),
            "source": texts,
            "target": texts[::-1],
            "note": [f"{i}" for i in range(count)],
        }
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_file_is_read_back_in_any_batches(tmp_path: Path, suffix: str, rows: int) -> None:
    path, table = tmp_path / f"x.{suffix}", pairs(20)
    with bitext_writer(path, table.schema) as write:
        for start in range(0, 20, 6):
            write(table.slice(start, 6))
    reader = BitextReader(path, rows)
    for _ in range(2):  # a reader may be read again
        tables = list(reader)
        assert all(part.schema == reader.schema and part.num_rows <= rows for part in tables)
        assert pa.concat_tables(tables).combine_chunks().equals(table.combine_chunks())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_pairs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        write_bitext(tmp_path / f"{name}.{suffix}", pairs(9))
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


TEXT = st.text(st.characters(exclude_characters="\n\t\r", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=25)
@given(st.lists(st.tuples(TEXT, TEXT, st.floats(width=32, allow_nan=False)), max_size=6))
def test_any_text_and_score_goes_through_a_tsv(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]]
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.tsv"
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            "score": pa.array(columns[2], pa.float32()),
            "source": pa.array(columns[0], pa.string()),
            "target": pa.array(columns[1], pa.string()),
        }
    )
    write_bitext(path, table)
    assert read_bitext(path).to_pylist() == table.to_pylist()


def test_what_would_end_a_cell_or_a_line_becomes_a_space(tmp_path: Path) -> None:
    write_bitext(tmp_path / "x.tsv", pa.table({"source": ["a\tb"], "target": ["c\nd"]}))
    assert (tmp_path / "x.tsv").read_bytes() == b"source\ttarget\na b\tc d\n"


def write_half(path: Path) -> None:
    with bitext_writer(path, pairs(1).schema) as write:
        write(pairs(3))
        raise RuntimeError


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"x.{suffix}"
        with pytest.raises(RuntimeError):
            write_half(path)
    assert not list(tmp_path.iterdir())


def test_damage_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("source\ttarget\na\tb\nc\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.tsv:3: 1 columns"):
        list(BitextReader(path))
    path.write_text("score\tsource\ttarget\nhigh\ta\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="`score` holds what is not a number"):
        list(BitextReader(path))
    write_bitext(tmp_path / "x.tsv.zst", pairs(5000))
    whole = (tmp_path / "x.tsv.zst").read_bytes()
    (tmp_path / "x.tsv.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        list(BitextReader(tmp_path / "x.tsv.zst"))
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        BitextReader(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="does not exist"):
        BitextReader(tmp_path / "y.parquet")


def test_direction_is_read_from_the_name() -> None:
    expected = Direction("eng_Latn", "fra_Latn")
    assert direction_of(Path("x/eng_Latn-fra_Latn.tsv.zst")) == expected
    for name in ("en-fr.tsv", "eng-fra.parquet", "en-fr_CA.tsv.zst"):
        assert direction_of(Path(name)) == expected
    for name in ("eng_Latn-fra_Latn.txt", "pairs.parquet", "eng_Latn.tsv"):
        assert direction_of(Path(name)) is None


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_text_of_other_parquet_writers_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"source": pa.array(["a", "b"]).cast(kind), "target": ["c", "d"]}), path
    )
    reader = BitextReader(path)
    assert reader.schema == pa.schema([("source", pa.string()), ("target", pa.string())])
    assert [table.to_pydict() for table in reader] == [{"source": ["a", "b"], "target": ["c", "d"]}]


def test_columns_that_hold_no_text_or_no_numbers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"source": [1, 2], "target": ["c", "d"]}), path)
    with pytest.raises(DataError, match=r"x\.parquet: column `source` holds int64, not text"):
        BitextReader(path)
    pq.write_table(pa.table({"source": ["a"], "target": ["c"], "score": ["high"]}), path)
    with pytest.raises(DataError, match=r"column `score` holds string, not numbers"):
        BitextReader(path)


def test_output_that_is_a_directory_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").mkdir()
    with pytest.raises(UserError, match="is a directory"):
        check_bitext_name(tmp_path / "x.tsv")


def test_a_small_file_that_expands_to_gigabytes_is_read_in_bounded_memory(tmp_path: Path) -> None:
    # 16,384 pairs of one sentence of 180 kB, stored once in a kilobyte: 5.9 GB written out.
    rows = 16_384
    ids = pa.array([0] * rows, pa.int32())
    text = pa.DictionaryArray.from_arrays(ids, pa.array(["a" * 180_000]))
    path = tmp_path / "eng_Latn-fra_Latn.parquet"
    pq.write_table(pa.table({"source": text, "target": text}), path, compression="zstd")
    assert path.stat().st_size < 5_000
    code = (
        "import sys, pathlib, corpus.bitext\n"
        "reader = corpus.bitext.BitextReader(pathlib.Path(sys.argv[1]))\n"
        "print(0 < next(iter(reader)).num_rows < 16_384)"
    )
    limited = f"ulimit -v 1800000; exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} {path}"
    result = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("True\n", 0), result.stderr
