from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from corpus.errors import DataError, JobError, UserError  # noqa: E402
from corpus.files import read_json  # noqa: E402
from corpus.records import SENTENCES_SCHEMA  # noqa: E402
from mining.embeddings import Float32, Storage, embedding_files, open_embeddings  # noqa: E402
from mining.encoders import embed, load_encoder  # noqa: E402
from mining.encoders.config import BagConfig, TrainEncoderConfig  # noqa: E402
from mining.encoders.embed import run_embed  # noqa: E402
from mining.encoders.embed_config import EmbedConfig  # noqa: E402
from mining.encoders.train import run_train_encoder  # noqa: E402
from mining.search.config import IndexConfig  # noqa: E402
from mining.search.language_vectors import load_language  # noqa: E402
from mining.search.train_index import run_train_index  # noqa: E402

ODD = ["", "x" * 10_000, "\x00\x1b", "\u2028", "😀", "a\tb", "ordinary words"]


@dataclass
class Counting:
    """An encoder that notes what it is given."""

    dimension: int = 4
    blocks: list[list[str]] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        self.blocks.append(list(sentences))
        self.threads.append(torch.get_num_threads())
        rows = [[len(text) + 1, text.count("a"), 1, 0] for text in sentences]
        vectors = np.array(rows, np.float32).reshape(-1, 4)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    lines = "".join(f"{a} {b}\t{b} {a}\n" for a in "abcdefgh" for b in "ijklmnop")
    (folder / "qaa_Latn-qac_Latn.tsv").write_text(lines, encoding="utf-8")
    bag = BagConfig(dimension=16, hidden=16, buckets=1 << 8, vocabulary_size=60)
    run_train_encoder([folder], folder / "e", TrainEncoderConfig(bag=bag, epochs=1))
    return folder / "e"


def write_shard(folder: Path, name: str, texts: Sequence[str], row_group: int = 1000) -> Path:
    count = len(texts)
    table = pa.table(
        {
            "text": texts, "lid_score": [1.0] * count, "document": ["d"] * count,
            "position": range(count), "hash": range(count),
        },
        schema=SENTENCES_SCHEMA,
    )  # fmt: skip
    path = folder / "qaa_Latn" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group)
    return path


def test_rows_are_those_of_the_sentences_whatever_the_blocks(encoder: Path, tmp_path: Path) -> None:
    texts = [*ODD, *(f"sentence {'na ' * (n % 17)}{n}" for n in range(60))]
    write_shard(tmp_path / "s", "0", texts, row_group=25)
    expected = load_encoder(encoder).encode(texts)
    for size in (1, 10, 1000):
        config = EmbedConfig(block_sentences=size, workers=1)
        run_embed(tmp_path / "s", encoder, tmp_path / str(size), config)
        found = open_embeddings(tmp_path / str(size) / "qaa_Latn" / "0.npy", rows=len(texts))
        assert found.stored.dtype == np.float16
        assert found.take(slice(None)) == pytest.approx(expected, abs=2e-3)


def test_int8_embeddings_say_how_to_read_them(encoder: Path, tmp_path: Path) -> None:
    texts = [f"{a} {b}" for a in "abcdefgh" for b in "ijklmnop"]
    write_shard(tmp_path / "s", "0", texts)
    config = EmbedConfig(storage="int8", workers=1)
    run_embed(tmp_path / "s", encoder, tmp_path / "e", config)
    opened = open_embeddings(tmp_path / "e" / "qaa_Latn" / "0.npy")
    assert opened.stored.dtype == np.int8
    assert (opened.take(slice(None)) * load_encoder(encoder).encode(texts)).sum(1).min() > 0.999


def test_space_of_the_encoder_is_written_beside_the_shards(encoder: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "s", "0", ["a"])
    run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(workers=1))
    space = read_json(tmp_path / "e" / "qaa_Latn" / "space.json")["space"]
    assert space == read_json(encoder / "encoder.json")["space"]


def test_memory_is_that_of_a_block_not_of_the_shard(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    monkeypatch.setattr(embed, "_encoder", lambda *_: counting)
    texts = ["a" * (n * 7 % 50) for n in range(1000)]
    write_shard(tmp_path / "s", "0", texts)
    config = EmbedConfig(block_sentences=64, workers=1)
    run_embed(tmp_path / "s", encoder, tmp_path / "e", config)
    assert max(map(len, counting.blocks)) == 64
    assert sum(map(len, counting.blocks)) == 1000
    for block in counting.blocks:
        assert [len(text) for text in block] == sorted(len(text) for text in block)


def test_worker_computes_on_one_thread(encoder: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        load_encoder(encoder, threads=1).encode(["a"])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_finished_shards_are_kept_and_a_failed_one_leaves_nothing(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "s", "0", ["a", "b"])
    damaged = write_shard(tmp_path / "s", "1", [f"{n}" * 50 for n in range(500)])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match=r"qaa_Latn/1: .* is not a readable Parquet file"):
        run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(workers=1))
    assert [path.name for path in sorted((tmp_path / "e" / "qaa_Latn").glob("*.npy"))] == ["0.npy"]
    damaged.write_bytes(whole)
    summary = run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(workers=1))
    assert (summary.done, summary.skipped) == (1, 1)
    # Once more in one go gives the same bytes.
    run_embed(tmp_path / "s", encoder, tmp_path / "again", EmbedConfig(workers=1))
    for name in ("0.npy", "1.npy"):
        again = (tmp_path / "again" / "qaa_Latn" / name).read_bytes()
        assert (tmp_path / "e" / "qaa_Latn" / name).read_bytes() == again


def test_shard_without_sentences_and_languages_without_shards(
    encoder: Path, tmp_path: Path
) -> None:
    write_shard(tmp_path / "s", "0", [])
    run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(workers=1))
    assert len(open_embeddings(tmp_path / "e" / "qaa_Latn" / "0.npy", rows=0)) == 0
    with pytest.raises(UserError, match="holds no sentences of `fra_Latn`"):
        run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(), ["fra_Latn"])


def test_a_byte_that_is_no_utf8_fails_its_shard_only(encoder: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "s", "0", ["whole", "damaged"])
    bad = write_shard(tmp_path / "s", "1", ["a"])
    table = pq.read_table(bad)
    text = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(0, "text", text), bad)
    with pytest.raises(JobError, match=r"1\.parquet: column `text` is damaged"):
        run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(workers=1))
    assert [path.name for path in (tmp_path / "e" / "qaa_Latn").glob("*.npy")] == ["0.npy"]


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_one_changed_bit_in_embeddings_is_refused_by_their_readers(
    encoder: Path, tmp_path: Path, storage: Storage
) -> None:
    texts = [f"{a} {b}" for a in "abcdefgh" for b in "ijklmnop"]
    shard = write_shard(tmp_path / "s", "0", texts)
    run_embed(tmp_path / "s", encoder, tmp_path / "e", EmbedConfig(storage=storage, workers=1))
    vectors = tmp_path / "e" / "qaa_Latn" / "0.npy"
    for path in embedding_files(vectors):
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        match = rf"{path.name} is damaged or was changed: its digest is .*table\.jsonl records"
        with pytest.raises(DataError, match=match):
            load_language([shard], [vectors])
        with pytest.raises(JobError, match=match):
            run_train_index(tmp_path / "e", IndexConfig(clusters=2))
        path.write_bytes(whole)
    assert len(load_language([shard], [vectors]).hashes) == len(texts)
