"""Dry runs of mining: parts of crawl shards, sentences and language pairs."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.crawl.documents import read_documents
from corpus.errors import UserError
from corpus.files import read_json, write_lines
from corpus.jobs import pricing
from corpus.records import count_rows, read_first_rows
from mining.cli import group
from mining.search import neighbors, price
from mining.search.config import IndexConfig, MineConfig
from mining.search.mine import run_mine
from mining.search.price import price_mine
from mining.search.train_index import run_train_index
from mining.sentences.price import cut_shards
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus


def test_a_part_of_crawl_shards_is_read_up_to_where_it_ends(tmp_path: Path) -> None:
    paths = []
    for name in "abcdef":
        path = tmp_path / f"{name}.txt.gz"
        write_lines(path, [line for i in range(500) for line in (f"{name} {i * 7919}", "")])
        paths.append(path)
    size = paths[0].stat().st_size
    cut = cut_shards(2 * size, tmp_path / "part", shards=paths)
    assert cut.units == 4 * cut.largest == 2 * size
    copies = sorted((tmp_path / "part").iterdir())
    assert len(copies) == 4
    for copy in copies:
        documents = read_documents(copy)
        assert 100 < len(list(documents)) < 500
        assert documents.problem
        with gzip.open(tmp_path / copy.name) as whole:
            assert whole.read().startswith(next(iter(read_documents(copy))).text.encode())
    assert [copy.name[0] for copy in copies] == ["a", "c", "d", "f"]  # from all along


def test_a_part_of_a_parquet_shard_has_its_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(1000)], "id": ["x"] * 1000}), path)
    cut_shards(path.stat().st_size // 2, tmp_path / "part", shards=[path])
    kept = pq.read_table(tmp_path / "part" / "a.parquet")
    assert kept.column("text").to_pylist() == [f"text {i}" for i in range(500)]


def test_first_rows_are_read_without_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    schema = pa.schema([("text", pa.string())])
    pq.write_table(pa.table({"text": [str(i) for i in range(10_000)]}), path)
    assert read_first_rows(path, schema, 5000).column("text").to_pylist()[-1] == "4999"
    assert read_first_rows(path, schema, 20_000).num_rows == count_rows(path) == 10_000
    assert read_first_rows(path, schema, 0).num_rows == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "MEASURE_SECONDS", 0.0)


def test_price_of_a_pair_counts_comparisons_and_writes_nothing(tmp_path: Path, quick: None) -> None:
    write_corpus(tmp_path, shards=3)
    output = tmp_path / "mined" / "pair.parquet"
    places = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output)
    price = price_mine(*places, MineConfig(margin_threshold=1.02))
    assert price.shards == {"pair": 60 * 60}
    assert price.stages["mine"].counts == {"source_sentences": 60, "target_sentences": 60}
    assert price.stages["mine"].core_hours > 0
    assert not output.parent.exists()
    run_mine(*places, MineConfig(margin_threshold=1.02))
    assert price_mine(*places, MineConfig(margin_threshold=1.02)).units_to_do == 0


def test_price_of_a_pair_without_sentences_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    with pytest.raises(UserError, match="qad_Arab"):
        price_mine(
            tmp_path / "sentences", tmp_path / "embeddings", SOURCE, "qad_Arab",
            tmp_path / "x.parquet", MineConfig(),
        )  # fmt: skip


def test_price_is_that_of_the_index_where_the_whole_is_searched_with_it(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    places = (tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET)
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 59)
    output = tmp_path / "mined" / "pair.parquet"
    with pytest.raises(UserError, match="has no index for so many sentences"):
        price_mine(*places, output, MineConfig())
    run_train_index(tmp_path / "embeddings", IndexConfig(clusters=2, training_vectors=120))
    assert price_mine(*places, output, MineConfig(plan="index")).stages["mine"].core_hours > 0
    trials: list[pricing.Trial] = []
    monkeypatch.setattr(price, "price_job", trials.append)
    price_mine(*places, output, MineConfig())
    # A part that is small enough for `auto` to search it exactly.
    trials[0].cut(30 * 30, tmp_path / "part")
    trials[0].run(tmp_path / "part", tmp_path / "tried")
    calibration = read_json(tmp_path / "tried" / f"{SOURCE}-{TARGET}.calibration.json")
    assert calibration["plan"] == "index"
    assert calibration["source_sentences"] == 30


def test_dry_run_is_offered_where_a_cluster_bill_depends_on_it() -> None:
    options = {
        name: {option for param in command.params for option in param.opts}
        for name, command in group.commands.items()
    }
    assert {name for name, own in options.items() if "--dry-run" in own} == {
        "sentences", "embed", "mine",
    }  # fmt: skip
    assert {name for name, own in options.items() if "--executor" in own} == {
        "align", "embed", "embed-known", "filter", "match-documents", "metadata", "mine",
        "mine-local", "probability", "rebuild", "run", "score", "select", "sentences",
            "text", "train-index",
    }  # fmt: skip
    assert all("--json" in own for name, own in options.items() if "--executor" in own)


def test_precision_that_a_part_does_not_reach_does_not_end_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    tried: list[pricing.Trial] = []
    monkeypatch.setattr(price, "price_job", tried.append)
    ran = []
    monkeypatch.setattr(price, "run_mine", lambda *arguments: ran.append(arguments))
    price_mine(
        tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, tmp_path / "x.parquet",
        MineConfig(target_precision=0.99), tmp_path / "known",
    )  # fmt: skip
    tried[0].run(tmp_path / "part", tmp_path / "output")
    assert ran[0][5:] == (MineConfig(), tmp_path / "known")
