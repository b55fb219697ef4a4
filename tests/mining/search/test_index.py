"""The shared index: trained once over all languages, searched in blocks, finds rescored."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import DataError, UserError
from corpus.files import temporary_path
from corpus.records import read_bitext
from mining.search import neighbors
from mining.search.config import IndexConfig, MineConfig
from mining.search.index import read_index
from mining.search.margin import Float32
from mining.search.mine import run_mine
from mining.search.neighbors import as_vectors, find_neighbors, uses_index
from mining.search.train_index import index_files, run_train_index
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus

CONFIG = IndexConfig(clusters=16, training_vectors=2000)


def sides(count: int, width: int = 32) -> tuple[Float32, Float32]:
    random = np.random.default_rng(1)
    meaning = random.standard_normal((count, width)).astype(np.float32)
    said = meaning + 0.3 * random.standard_normal((count, width)).astype(np.float32)
    return meaning, said


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    folder = tmp_path / "embeddings"
    for language, matrix in zip((SOURCE, TARGET), sides(3000), strict=True):
        (folder / language).mkdir(parents=True)
        np.save(folder / language / "a.npy", matrix[:1000].astype(np.float16))
        np.save(folder / language / "b.npy", matrix[1000:].astype(np.float16))
    run_train_index(folder, CONFIG)
    return folder


def test_index_finds_most_of_what_is_there_and_scores_it_exactly(embeddings: Path) -> None:
    config = MineConfig(probes=8)
    vectors = [as_vectors(side, config) for side in sides(3000)]
    found = find_neighbors(*vectors, config, index=index_files(embeddings)[0])
    exact = find_neighbors(*vectors, config)
    for one, other in zip(found, exact, strict=True):
        assert (one.ids[:, 0] == other.ids[:, 0]).mean() > 0.95
        same = one.ids == other.ids
        assert (one.cosines[same] == other.cosines[same]).all()
        assert (np.diff(one.cosines, axis=1) <= 0).all()


def test_blocks_of_the_index_find_what_one_block_finds(embeddings: Path, tmp_path: Path) -> None:
    vectors = [as_vectors(side, MineConfig()) for side in sides(3000)]
    index = index_files(embeddings)[0]
    # All clusters, so that only the codes decide.
    one = find_neighbors(*vectors, MineConfig(probes=16), index=index)
    many = find_neighbors(
        *vectors, MineConfig(probes=16, index_block=700, threads=2), tmp_path, index
    )
    for a, b in zip(one, many, strict=True):
        assert (a.ids[:, 0] == b.ids[:, 0]).mean() > 0.999
        assert (a.ids == b.ids).mean() > 0.99


def test_index_is_trained_without_polysemous_codes(embeddings: Path) -> None:
    # Facts of stopes: `PQ64` trains them for minutes, and its distances are not what is scored.
    index = read_index(index_files(embeddings)[0])
    assert not getattr(index.pq, "do_polysemous_training", False)
    assert index.nlist == 16


def test_same_embeddings_train_the_same_index(embeddings: Path) -> None:
    first = index_files(embeddings)[0].read_bytes()
    index_files(embeddings)[0].unlink()
    run_train_index(embeddings, CONFIG)
    assert index_files(embeddings)[0].read_bytes() == first


def test_size_chooses_the_plan_and_a_person_overrides_it() -> None:
    assert not uses_index(MineConfig(), 1_000_000)
    assert uses_index(MineConfig(), 1_000_001)
    assert uses_index(MineConfig(plan="index"), 10)
    assert not uses_index(MineConfig(plan="exact"), 10**9)
    assert not uses_index(MineConfig(plan="flat"), 10**9)


def test_mining_through_the_index_finds_the_translations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    arguments = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET)
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 30)
    output = tmp_path / "mined" / "pairs.parquet"
    with pytest.raises(UserError, match="has no index for so many sentences"):
        run_mine(*arguments, output, MineConfig())
    run_train_index(tmp_path / "embeddings", IndexConfig(clusters=2, training_vectors=120))
    config = MineConfig(probes=2, margin_threshold=1.3)
    run_mine(*arguments, output, config)
    pairs = [(row["source"][7:9], row["target"][7:9]) for row in read_bitext(output).to_pylist()]
    assert sum(source == target for source, target in pairs) >= 38


def test_index_of_another_width_or_too_few_vectors_is_refused(embeddings: Path) -> None:
    index = index_files(embeddings)[0]
    vectors = [as_vectors(side, MineConfig()) for side in sides(50, 16)]
    with pytest.raises(DataError, match="is for 32 columns and the embeddings have 16"):
        find_neighbors(*vectors, MineConfig(), index=index)
    (embeddings / "index").rename(embeddings / "index_before")
    with pytest.raises(UserError, match="fewer than the 4,096 clusters"):
        run_train_index(embeddings, IndexConfig(training_vectors=100))
    with pytest.raises(UserError, match="holds no embeddings"):
        run_train_index(embeddings / "nothing", CONFIG)


def test_damaged_index_is_named(embeddings: Path) -> None:
    index = index_files(embeddings)[0]
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable index"):
        read_index(index)


def test_one_changed_bit_in_an_index_is_refused(embeddings: Path) -> None:
    index = index_files(embeddings)[0]
    vectors = [as_vectors(side, MineConfig()) for side in sides(50, 32)]
    find_neighbors(*vectors, MineConfig(probes=2), index=index)
    content = bytearray(index.read_bytes())
    content[-3] ^= 1
    index.write_bytes(content)
    with pytest.raises(DataError, match=r"shared\.faiss is damaged or was changed"):
        find_neighbors(*vectors, MineConfig(probes=2), index=index)


def test_what_a_killed_embedding_left_is_not_trained_on(embeddings: Path) -> None:
    index = index_files(embeddings)[0]
    trained = index.read_bytes()
    shutil.rmtree(index.parent)
    half_written = temporary_path(embeddings / SOURCE / "a.npy")
    half_written.write_bytes((embeddings / SOURCE / "a.npy").read_bytes()[:500])
    run_train_index(embeddings, CONFIG)
    assert index.read_bytes() == trained
