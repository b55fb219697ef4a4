"""Copies among the sentences of a language: the external sort, and who stays."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from mining.sentences.duplicates import (
    DUPLICATE,
    NEAR_DUPLICATE,
    SENTENCE,
    find_duplicates,
)
from mining.sentences.external_sort import sort_records
from mining.sentences.tables import RowGroups, RowsByName, read_batches

PAIR = np.dtype([("a", "<u8"), ("b", "u1")])
SCHEMA = pa.schema([("text", pa.string()), ("position", pa.int32())])
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def in_blocks(records: np.ndarray, size: int) -> list[np.ndarray]:
    return [records[start : start + size] for start in range(0, len(records), size)]


@HERE
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 3000),
    values=st.sampled_from([1, 3, 2**63]),
    block=st.integers(1, 500),
)
def test_external_sort_is_a_sort_whatever_fits_in_memory(
    tmp_path: Path, seed: int, count: int, values: int, block: int
) -> None:
    generator = np.random.default_rng(seed)
    records = np.empty(count, PAIR)
    records["a"] = generator.integers(0, values, count, dtype=np.uint64)
    records["b"] = generator.integers(0, 200, count)
    # The least capacity is 64 records, so that thousands make many runs.
    found = list(sort_records(in_blocks(records, block), PAIR, tmp_path / "s", 1))
    assert np.concatenate(found).tolist() == sorted(records.tolist())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_merged_blocks_stay_small_where_all_records_are_equal(tmp_path: Path, memory: int) -> None:
    records = np.zeros(10_000, PAIR)
    sizes = [
        len(part)
        for part in sort_records(in_blocks(records, 100), PAIR, tmp_path / "s", memory)
        if len(part)
    ]
    assert sum(sizes) == 10_000
    if memory == 1:
        # 100 runs with a block of 64 each are all that may be in memory.
        assert max(sizes) <= 100 * 64


def losers_by_hand(rows: list[tuple[int, int, int]]) -> dict[int, int]:
    """The rule of the module's docstring, over everything in memory."""
    gone = {}
    ordered = sorted((*row, number) for number, row in enumerate(rows))
    seen_keys: set[int] = set()
    seen_texts: set[tuple[int, int]] = set()
    for key, text, _, number in ordered:
        if (key, text) in seen_texts:
            gone[number] = DUPLICATE
        elif key in seen_keys:
            gone[number] = NEAR_DUPLICATE
        seen_keys.add(key)
        seen_texts.add((key, text))
    return gone


@HERE
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=300),
    block=st.integers(1, 50),
)
def test_one_of_each_key_stays(
    tmp_path: Path, rows: list[tuple[int, int, int]], block: int
) -> None:
    records = np.empty(len(rows), SENTENCE)
    for number, row in enumerate(rows):
        records[number] = (*row, number)
    found = np.concatenate(list(find_duplicates(in_blocks(records, block), tmp_path, 1)))
    assert found["row"].tolist() == sorted(found["row"].tolist())
    assert dict(zip(found["row"].tolist(), found["reason"].tolist(), strict=True)) == (
        losers_by_hand(rows)
    )
    keys = Counter(key for key, _, _ in rows)
    assert len(found) == len(rows) - len(keys)


def batches(texts: list[str], size: int) -> list[pa.RecordBatch]:
    whole = pa.RecordBatch.from_arrays(
        [pa.array(texts), pa.array(range(len(texts)), pa.int32())], schema=SCHEMA
    )
    return [whole.slice(start, size) for start in range(0, len(texts), size)]


@pytest.mark.parametrize("size", [1, 77, 20_000])
def test_bytes_of_a_table_do_not_depend_on_how_its_rows_came(tmp_path: Path, size: int) -> None:
    texts = [f"sentence {number % 977} of many" for number in range(20_000)]
    for name, step in (("one", 20_000), ("other", size)):
        with RowGroups(tmp_path / name, SCHEMA) as table:
            for batch in batches(texts, step):
                table.add(batch)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert pq.read_table(tmp_path / "one").column("text").to_pylist() == texts


def fail_half_way(folder: Path) -> None:
    with RowsByName(folder, SCHEMA, 1) as rows:
        rows.add("fra_Latn", ("text", 0), 4)
        raise KeyError


def test_table_without_rows_makes_no_file_and_a_failed_one_leaves_none(tmp_path: Path) -> None:
    with RowGroups(tmp_path / "none.parquet", SCHEMA):
        pass
    with pytest.raises(KeyError):
        fail_half_way(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("memory", [1, 5_000, 1 << 30])
def test_rows_keep_their_order_whenever_they_are_written(tmp_path: Path, memory: int) -> None:
    with RowsByName(tmp_path, SCHEMA, memory) as rows:
        for number in range(100):
            rows.add(("b", "a", "a")[number % 3], (f"text {number}", number), 8)
    assert rows.paths() == [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for name, wanted in (("a", [n for n in range(100) if n % 3]), ("b", list(range(0, 100, 3)))):
        assert pq.read_table(tmp_path / f"{name}.parquet")["position"].to_pylist() == wanted


def test_part_that_is_torn_or_of_another_kind_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"] * 1000}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="lacks the columns position"):
        list(read_batches(tmp_path / "a.parquet", SCHEMA, ["text"]))
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(read_batches(tmp_path / "a.parquet", SCHEMA, ["text"]))
