import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.errors import DataError
from nmt.data import token_files
from nmt.data.token_files import TokenShards, pick, token_dtype, token_paths, token_writer

SENTENCES = [[5, 6], [], [70_000], [1, 2, 3]]


def write(shard: Path, *batches: list[list[int]]) -> None:
    with token_writer(shard, token_dtype(100_000)) as writer:
        for batch in batches:
            flat = np.array([token for sentence in batch for token in sentence], np.int64)
            writer.append(flat, np.array([len(sentence) for sentence in batch], np.int64))


def read(shards: TokenShards, number: int) -> list[list[int]]:
    bounds = shards.offsets(number).tolist()
    tokens: NDArray[np.int32] = shards.tokens(number)
    return [tokens[a:b].tolist() for a, b in itertools.pairwise(bounds)]


def test_what_is_written_in_any_batches_is_read_and_is_plain_npy(tmp_path: Path) -> None:
    write(tmp_path / "a", SENTENCES)
    write(tmp_path / "b", *([sentence] for sentence in SENTENCES))
    write(tmp_path / "empty")
    shards = TokenShards([tmp_path / name for name in ("a", "b", "empty")])
    assert read(shards, 0) == read(shards, 1) == SENTENCES
    assert [shards.num_sentences(i) for i in range(3)] == [4, 4, 0]
    assert np.load(token_paths(tmp_path / "b")[0]).tolist() == [5, 6, 70_000, 1, 2, 3]
    assert (
        token_paths(tmp_path / "a")[0].read_bytes() == token_paths(tmp_path / "b")[0].read_bytes()
    )


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_files, "_OPEN_FILES", 2)
    names = [tmp_path / str(i) for i in range(5)]
    for number, name in enumerate(names):
        write(name, [[number]])
    shards = TokenShards(names)
    for number in (0, 4, 2, 0):
        assert shards.tokens(number).tolist() == [number]
        assert len(shards._open) <= 2


def test_narrow_vocabularies_take_two_bytes_a_token() -> None:
    assert [token_dtype(size).itemsize for size in (1 << 16, (1 << 16) + 1)] == [2, 4]


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), token_writer(tmp_path / "a", np.uint16):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [0, 1])
def test_cut_and_foreign_files_are_refused_by_name(tmp_path: Path, kind: int) -> None:
    write(tmp_path / "a", SENTENCES)
    path = token_paths(tmp_path / "a")[kind]
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:40], b"", b"text\n" * 40):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            TokenShards([tmp_path / "a"])


def test_files_of_two_shards_do_not_fit_each_other(tmp_path: Path) -> None:
    write(tmp_path / "a", SENTENCES)
    write(tmp_path / "b", SENTENCES[:1])
    token_paths(tmp_path / "b")[0].replace(token_paths(tmp_path / "a")[0])
    with pytest.raises(DataError, match="do not fit"):
        TokenShards([tmp_path / "a"])


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 5))))
def test_stretches_come_end_to_end(stretches: list[tuple[int, int]]) -> None:
    values = np.arange(20) * 3
    starts = np.array([start for start, _ in stretches], np.int64)
    lengths = np.array([length for _, length in stretches], np.int64)
    expected = [v for start, length in stretches for v in values[start : start + length].tolist()]
    assert pick(values, starts, lengths).tolist() == expected
