import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import DataError
from corpus.parquet_footer import read_footer
from corpus.records import read_bitext

TABLE = pa.table(
    {
        "score": pa.array([1.0, 2.0, 0.5], pa.float32()),
        "source": ["a", "b", "a"],
        "target": ["c", None, "d" * 1000],
        "translation": [{"en": "x", "fr": "y"}] * 3,
    }
)


def write(path: Path | io.BytesIO) -> None:
    pq.write_table(TABLE, path, row_group_size=2)


def refusal(path: Path) -> str:
    """Return the message with which a file is refused, nothing if it is read."""
    try:
        read_bitext(path)
    except DataError as error:
        return str(error)
    return ""


def test_footer_says_what_pyarrow_says_of_each_column(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet")
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    with (tmp_path / "x.parquet").open("rb") as file:
        groups = read_footer(file)
    assert len(groups) == metadata.num_row_groups == 2
    for group, chunks in enumerate(groups):
        assert len(chunks) == metadata.num_columns
        for place, chunk in enumerate(chunks):
            column = metadata.row_group(group).column(place)
            assert chunk.path == column.path_in_schema
            assert chunk.unpacked == column.total_uncompressed_size
            assert chunk.packed == column.total_compressed_size
            is_text = column.physical_type == "BYTE_ARRAY"
            assert chunk.dictionary == (column.dictionary_page_offset if is_text else None)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff\xff\xff\x7fPAR1", b"x" * 100])
def test_file_without_a_footer_is_refused(content: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid):
        read_footer(io.BytesIO(content))


def test_statistics_that_pyarrow_dies_of_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    """Found by changing bytes: its sizes of definition levels do not fit the column.

    pyarrow's `RowGroupMetaData.column` ends the process on such a file.
    """
    path = tmp_path / "eng_Latn-fra_Latn.parquet"
    table = pa.table({"score": [1.0, 2.0], "source": ["a", "b"], "target": ["c", None]})
    pq.write_table(table, path)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole) - 700, len(whole) - 8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x0F]) + whole[place + 1 :])
        refused += path.name in refusal(path)
    assert refused > 50


@pytest.mark.slow
def test_damaged_parquet_never_ends_the_process(tmp_path: Path) -> None:
    whole = io.BytesIO()
    write(whole)
    data = whole.getvalue()
    numbers = random.Random(3)
    path = tmp_path / "eng_Latn-fra_Latn.parquet"
    refused = 0
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(numbers.randint(1, 3)):
            place = numbers.randrange(len(changed))
            changed[place] = numbers.randrange(256)
        path.write_bytes(changed)
        refused += path.name in refusal(path)
    assert 0 < refused < 2000
