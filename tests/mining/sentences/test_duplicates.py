"""Copies among the sentences of a language: sorted runs, their merging, and who stays."""

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import DataError, UserError
from mining.sentences.duplicates import DUPLICATE, NEAR_DUPLICATE, find_copies, join_copies
from mining.sentences.gather import group_runs
from mining.sentences.merge import count_buckets
from mining.sentences.runs import (
    FAN_IN,
    RUN_SCHEMA,
    RunWriter,
    hashes_of,
    key_range,
    keys_of,
    language_of,
    merge_runs,
    open_run,
    sentence_sort_key,
    sort_batch,
)
from mining.sentences.tables import RowGroups, RowWriter

SCHEMA = pa.schema([("text", pa.string()), ("position", pa.int32())])
HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
LANGUAGES = ("eng_Latn", "twi_Latn", "twi_Latn_asan1239")
Row = tuple[str, int, int, int]
"""Language, and the hashes of template, text and place."""

ROWS = st.lists(
    st.tuples(
        st.sampled_from(LANGUAGES),
        st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=300,
)


def batch_of(rows: Iterable[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {"key": sentence_sort_key(*row), "copies": 1, "text": str(row), "position": row[3]}
            for row in rows
        ],
        RUN_SCHEMA,
    )


def write_runs(folder: Path, rows: list[Row], count: int, block_bytes: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.arrows")
        with RunWriter(paths[-1], block_bytes) as run:
            batch = sort_batch(batch_of(rows[number::count]))
            for start in range(0, batch.num_rows, 7):
                run.add(batch.slice(start, 7))
    return paths


def rows_of(batches: Iterable[pa.RecordBatch]) -> list[Row]:
    found: list[Row] = []
    for batch in batches:
        for key in batch.column("key").to_pylist():
            numbers = np.frombuffer(key[24:], ">u8").tolist()
            found.append((language_of(key), *numbers))
    return found


@HERE
@given(
    rows=ROWS,
    count=st.integers(1, 9),
    block_bytes=st.sampled_from([1, 500, 1 << 18]),
    buckets=st.sampled_from([1, 2, 8]),
)
def test_merged_runs_are_all_rows_in_order_and_buckets_divide_them(
    tmp_path: Path, rows: list[Row], count: int, block_bytes: int, buckets: int
) -> None:
    paths = write_runs(tmp_path, rows, count, block_bytes)
    assert rows_of(merge_runs(paths)) == sorted(rows)
    in_buckets = [
        rows_of(merge_runs(paths, *key_range(language, bucket, buckets)))
        for language in LANGUAGES
        for bucket in range(buckets)
    ]
    assert [row for some in in_buckets for row in some] == sorted(rows)
    # What has one hash is in one bucket of its language.
    homes = Counter((row[:2], number) for number, some in enumerate(in_buckets) for row in some)
    assert len(homes) == len({row[:2] for row in rows})


def test_merged_batches_stay_small_where_all_keys_are_equal(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, [("eng_Latn", 5, 5, 5)] * 20_000, 4, 1 << 18)
    sizes = [batch.num_rows for batch in merge_runs(paths)]
    assert sum(sizes) == 20_000
    assert max(sizes) <= 4 * 1024


def test_run_is_an_arrow_stream_whose_index_finds_a_range_without_reading_the_rest(
    tmp_path: Path,
) -> None:
    generator = random.Random(3)
    rows = [("eng_Latn", generator.getrandbits(64), 0, 0) for _ in range(20_000)]
    (path,) = write_runs(tmp_path, rows, 1, 1 << 18)
    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()
    assert rows_of(table.to_batches()) == sorted(rows)
    low, high = key_range("eng_Latn", 2, 8)
    with open_run(path) as run:
        assert run.blocks >= 20
        assert len(run.find(low, high)) <= -(-run.blocks // 8) + 2
        found = [row for block in run.find(low, high) for row in rows_of([run.read(block)])]
    wanted = [row for row in sorted(rows) if 2 / 8 <= row[1] / 2**64 < 3 / 8]
    assert set(wanted) <= set(found)


def test_hashes_come_back_from_keys() -> None:
    batch = batch_of([("eng_Latn", 2**64 - 1, 1, 2), ("eng_Latn", 258, 1, 2)]).slice(1)
    assert hashes_of(batch).tolist() == [258]
    assert keys_of(batch).tolist() == [sentence_sort_key("eng_Latn", 258, 1, 2)]


@pytest.mark.parametrize("label", ["__label__a_language_of_another_scheme", "français"])
def test_label_that_is_no_code_is_named(label: str) -> None:
    with pytest.raises(UserError, match=label):
        sentence_sort_key(label, 0, 0, 0)


def dropped_by_hand(rows: list[Row]) -> Counter[tuple[str, int]]:
    """The rule of the module's docstring, over everything in memory: reasons by language."""
    dropped: Counter[tuple[str, int]] = Counter()
    templates: set[tuple[str, int]] = set()
    texts: set[tuple[str, int, int]] = set()
    for row in sorted(rows):
        if row[:3] in texts:
            dropped[row[0], DUPLICATE] += 1
        elif row[:2] in templates:
            dropped[row[0], NEAR_DUPLICATE] += 1
        templates.add(row[:2])
        texts.add(row[:3])
    return dropped


@HERE
@given(rows=ROWS, count=st.integers(1, 5), is_joined=st.booleans())
def test_one_of_each_template_stays_however_rows_came_together(
    tmp_path: Path, rows: list[Row], count: int, is_joined: bool
) -> None:
    paths = write_runs(tmp_path, rows, count, 500)
    if is_joined:  # as shards and gathered runs are
        for path in paths:
            batches = list(join_copies(merge_runs([path])))
            with RunWriter(path, 300) as run:
                for batch in batches:
                    run.add(batch)
    kept: list[Row] = []
    dropped: Counter[tuple[str, int]] = Counter()
    for batch, reasons in find_copies(merge_runs(paths)):
        own = rows_of([batch])
        kept += [row for row, reason in zip(own, reasons, strict=True) if reason < 0]
        for row, reason, copies in zip(own, reasons, batch["copies"].to_pylist(), strict=True):
            dropped[row[0], DUPLICATE] += copies - 1
            if reason >= 0:
                dropped[row[0], int(reason)] += 1
    assert kept == sorted(
        min(row for row in rows if row[:2] == key) for key in {r[:2] for r in rows}
    )
    assert +dropped == dropped_by_hand(rows)


@pytest.mark.parametrize("count", [0, 1, 16, 17, 2000, 90_000, FAN_IN**2])
def test_two_rounds_of_gathering_do_for_a_dump(count: int) -> None:
    runs = [Path(str(number)) for number in range(count)]
    groups = group_runs(runs)
    assert [run for group in groups for run in group] == runs
    assert len(groups) <= FAN_IN
    assert all(0 < len(group) <= FAN_IN for group in groups)


@pytest.mark.parametrize(
    ("sentences", "buckets"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 4), (10**9, 2**24)]
)
def test_buckets_hold_half_of_what_they_may_or_more(sentences: int, buckets: int) -> None:
    assert count_buckets(sentences, 100) == buckets
    assert sentences / buckets <= 100
    assert buckets == 1 or sentences / buckets > 50


@pytest.mark.parametrize("cut", [1, 30, 200, 2000, 10**6])
def test_run_that_is_cut_off_is_named(tmp_path: Path, cut: int) -> None:
    generator = random.Random(3)
    rows = [("eng_Latn", generator.getrandbits(64), 0, 0) for _ in range(3000)]
    (path,) = write_runs(tmp_path, rows, 1, 1 << 18)
    path.write_bytes(path.read_bytes()[: -min(cut, path.stat().st_size)])
    with pytest.raises(DataError, match=r"0\.arrows is damaged"):
        list(merge_runs([path]))


def test_run_with_a_damaged_block_is_named(tmp_path: Path) -> None:
    (path,) = write_runs(tmp_path, [("eng_Latn", 5, 5, n) for n in range(3000)], 1, 1 << 18)
    data = bytearray(path.read_bytes())
    data[2000:3000] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"0\.arrows is damaged"):
        list(merge_runs([path]))


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


def fail_half_way(path: Path) -> None:
    with RowWriter(path, SCHEMA, 1) as rows:
        rows.add(("text", 0), 4)
        raise KeyError


def test_table_without_rows_makes_no_file_and_a_failed_one_leaves_none(tmp_path: Path) -> None:
    with RowGroups(tmp_path / "none.parquet", SCHEMA):
        pass
    with pytest.raises(KeyError):
        fail_half_way(tmp_path / "failed.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("memory", [1, 5_000, 1 << 30])
def test_rows_keep_their_order_whenever_they_are_written(tmp_path: Path, memory: int) -> None:
    with RowWriter(tmp_path / "a.parquet", SCHEMA, memory) as rows:
        for number in range(100):
            rows.add((f"text {number}", number), 8)
    assert pq.read_table(tmp_path / "a.parquet")["position"].to_pylist() == list(range(100))
