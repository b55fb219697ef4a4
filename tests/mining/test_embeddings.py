import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from mining.embeddings import (
    Float32,
    Storage,
    check_one_space,
    embedding_files,
    open_embeddings,
    quantize,
    rotation,
    scales_path,
    unit,
    write_array,
    write_embeddings,
)


def max_pooled(count: int, seed: int = 1, dimension: int = 64) -> Float32:
    """Vectors as max pooling makes them: far from zero, some columns much wider than others."""
    rng = np.random.default_rng(seed)
    width = np.exp(rng.standard_normal(dimension))
    states = rng.standard_normal((count, 12, dimension)).max(axis=1)
    return unit((states * width).astype(np.float32))


def write(path: Path, vectors: Float32, storage: Storage, size: int = 100) -> None:
    blocks = (vectors[start : start + size] for start in range(0, len(vectors), size))
    write_embeddings(path, blocks, rows=len(vectors), dimension=vectors.shape[1], storage=storage)


def neighbors(vectors: Float32) -> list[set[int]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    return [set(row) for row in np.argsort(-cosines, axis=1)[:, :4].tolist()]


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_vectors_come_back_in_order_and_of_unit_length(storage: Storage, tmp_path: Path) -> None:
    vectors = max_pooled(350)
    write(tmp_path / "0.npy", vectors, storage)
    opened = open_embeddings(tmp_path / "0.npy", rows=350)
    read = np.concatenate(list(opened.blocks(99)))
    assert (len(opened), opened.dimension) == (350, 64)
    assert read.dtype == np.float32
    assert np.linalg.norm(read, axis=1) == pytest.approx(1, abs=1e-5)
    assert (read * vectors).sum(axis=1).min() > 0.999
    some = np.array([7, 349, 0])
    assert opened.take(some) == pytest.approx(read[some], abs=1e-6)
    assert embedding_files(tmp_path / "0.npy")[0] == tmp_path / "0.npy"


def test_int8_keeps_the_neighbors_that_one_clip_for_all_loses(tmp_path: Path) -> None:
    vectors = max_pooled(400)
    write(tmp_path / "0.npy", vectors, "int8")
    true = neighbors(vectors)
    kept = neighbors(open_embeddings(tmp_path / "0.npy").take(slice(0, 400)))
    clip = np.abs(vectors).max() / 127
    coarse = neighbors(unit(np.rint(vectors / clip).astype(np.float32)))

    def recall(found: list[set[int]]) -> float:
        return sum(len(a & b) for a, b in zip(true, found, strict=True)) / (4 * len(true))

    assert recall(kept) > 0.93
    assert recall(kept) > recall(coarse)


def test_int8_takes_half_of_float16(tmp_path: Path) -> None:
    vectors = max_pooled(2_000)
    write(tmp_path / "half.npy", vectors, "float16")
    write(tmp_path / "codes.npy", vectors, "int8")
    half = (tmp_path / "half.npy").stat().st_size
    codes = sum(path.stat().st_size for path in embedding_files(tmp_path / "codes.npy"))
    assert codes < 0.55 * half


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_shard_without_sentences_is_an_empty_matrix(storage: Storage, tmp_path: Path) -> None:
    write(tmp_path / "0.npy", np.empty((0, 8), np.float32), storage)
    opened = open_embeddings(tmp_path / "0.npy", rows=0)
    assert opened.take(slice(0, 10)).shape == (0, 8)
    assert list(opened.blocks()) == []


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_blocks_do_not_change_the_file(storage: Storage, tmp_path: Path) -> None:
    vectors = max_pooled(250)
    write(tmp_path / "a.npy", vectors, storage, size=250)
    write(tmp_path / "b.npy", vectors, storage, size=7)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "tmp" in path.name) == []


def test_wrong_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "0.npy"
    with pytest.raises(DataError, match="does not exist; `tongues mining embed` makes it"):
        open_embeddings(path)
    write(path, max_pooled(10), "int8")
    with pytest.raises(DataError, match="holds 10 rows but its shard holds 11 sentences"):
        open_embeddings(path, rows=11)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(DataError, match="not a readable"):
        open_embeddings(path)
    path.write_bytes(whole)
    scales_path(path).unlink()
    with pytest.raises(DataError, match=r"holds int8 codes, and 0.int8.safetensors cannot be"):
        open_embeddings(path)
    np.save(path, np.zeros(5))
    with pytest.raises(DataError, match="float64 of shape"):
        open_embeddings(path)


def test_embedding_that_is_not_finite_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    vectors = max_pooled(10)
    vectors[7, 3] = np.nan
    with pytest.raises(DataError, match="sentence 7 is not finite"):
        write(tmp_path / "0.npy", vectors, "float16", size=4)
    with pytest.raises(DataError, match="10 embeddings for 12 sentences"):
        write_embeddings(
            tmp_path / "0.npy", [max_pooled(10)], rows=12, dimension=64, storage="int8"
        )
    assert list(tmp_path.iterdir()) == []


def test_rotation_is_orthogonal_and_the_same_every_time() -> None:
    matrix = rotation(32)
    assert matrix @ matrix.T == pytest.approx(np.eye(32), abs=1e-5)
    rotation.cache_clear()
    assert (rotation(32) == matrix).all()


@settings(max_examples=50)
@given(st.integers(0, 1 << 16), st.floats(1e-6, 1e6))
def test_codes_are_within_half_a_step(seed: int, size: float) -> None:
    vectors = (np.random.default_rng(seed).standard_normal((3, 8)) * size).astype(np.float32)
    codes, scales = quantize(vectors)
    error = np.abs(codes * scales[:, None] - vectors)
    assert (error <= 0.5001 * scales[:, None]).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 8), (0, 4)])
def test_array_is_written_as_numpy_writes_it(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float16)
    write_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


HEADERS = (
    "(-5, 4)", "(5, -4)", "(4, 4)", "(0, 4)", "(6, 4)", "(99999999999999999999, 4)", "(True, 4)",
    "(5.0, 4)", "((((5", "(5,", "[5, 4]", "(9223372036854775807, 2)", "(5, 4)\0", "5, 4",
)  # fmt: skip


@pytest.mark.parametrize("shape", HEADERS)
def test_npy_whose_header_does_not_fit_the_file_is_refused(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "0.npy"
    np.save(path, np.ones((5, 4), np.float16))
    path.write_bytes(path.read_bytes().replace(b"(5, 4)", shape.encode()))
    with pytest.raises(DataError, match=re.escape(str(path))):
        open_embeddings(path)


@pytest.mark.filterwarnings("ignore")  # of NumPy, about sizes that overflow
def test_any_damage_to_a_header_is_refused_or_leaves_the_vectors_alone(tmp_path: Path) -> None:
    path, rng = tmp_path / "0.npy", np.random.default_rng(1)
    vectors = np.ones((5, 4), np.float16)
    np.save(path, vectors)
    whole = path.read_bytes()
    refused = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        for place in rng.integers(0, 128, rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            opened = open_embeddings(path, rows=5)
        except DataError:
            refused += 1
        else:
            assert opened.stored.size == vectors.size
    assert refused > 800


@pytest.mark.parametrize("content", ["{}", "[]", '{"space": 3}', "{"])
def test_damaged_description_of_a_space_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "space.json").write_text(content)
    with pytest.raises(DataError, match=r"space\.json"):
        check_one_space([tmp_path / "space.json"])
