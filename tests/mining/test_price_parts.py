"""Dry runs of the commands of pairs: what their parts hold, and that the commands run on them."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from corpus.errors import DataError, UserError
from corpus.files import read_json, read_lines, write_lines
from corpus.jobs import Cut, Price, Trial, pricing
from corpus.records import SENTENCES_SCHEMA, count_rows, read_bitext, read_table, write_bitext
from mining.bitext import price as bitext_price
from mining.bitext import price_rebuild
from mining.bitext.config import RebuildConfig, ScoreConfig
from mining.bitext.metadata import run_metadata
from mining.cli import group
from mining.encoders import price_train
from mining.encoders.config import TrainEncoderConfig
from mining.encoders.embed_config import KnownConfig
from mining.parts import copy_needed
from mining.search import price_index, price_local, price_pairs
from mining.search.config import IndexConfig, LocalConfig
from mining.search.train_index import run_train_index
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus

JOBS = (
    "embed", "embed-known", "filter", "metadata", "mine", "mine-local", "rebuild", "score",
    "sentences", "train-index",
)  # fmt: skip
"""Commands whose work lies in shards; trainings and what measures are none."""


class Lengths:
    """An encoder for tests: a sentence is its length and its letters."""

    dimension = 8

    def encode(self, sentences: Sequence[str], language: str = "") -> np.ndarray:
        seeds = [sum(map(ord, text)) for text in sentences]
        made = np.stack([np.random.default_rng(seed).standard_normal(8) for seed in seeds])
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text('{"files": {}}')
    for module in ("known", "score"):
        monkeypatch.setattr(f"mining.search.{module}.load_encoder", lambda *_, **__: Lengths())
    return tmp_path / "encoder"


def try_part(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, ask: Callable[[], object], size: int,
    folder: Path,
) -> tuple[Trial, Cut]:  # fmt: skip
    """Run the command on a part in this process, as a dry run does in another."""
    trials: list[Trial] = []
    monkeypatch.setattr(module, "price_job", trials.append)
    ask()
    cut = trials[0].cut(size, folder / "part")
    trials[0].run(folder / "part", folder / "tried")
    return trials[0], cut


def write_pairs(path: Path, count: int = 60) -> Path:
    letters = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(count)]
    sides = {"source": [f"source {x}" for x in letters], "target": [f"target {x}" for x in letters]}
    write_bitext(path, pa.table(sides))
    return path


def test_every_job_over_shards_has_a_price_and_an_executor() -> None:
    for name in JOBS:
        options = {option for param in group.commands[name].params for option in param.opts}
        assert {"--executor", "--dry-run", "--json"} <= options, name
    for name in ("train-encoder", "distill"):  # one task, here
        options = {option for param in group.commands[name].params for option in param.opts}
        assert {"--dry-run", "--json"} <= options - {"--executor"}, name
        assert "--executor" not in options
    others = group.commands.keys() - {*JOBS, "train-encoder", "distill"}
    assert others == {"evaluate", "import-laser", "report", "xsim"}


def test_part_of_a_bitext_is_scored_in_both_stages(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bitext = write_pairs(tmp_path / f"{SOURCE}-{TARGET}.tsv")
    output = tmp_path / "scored" / "x.parquet"
    ask = functools.partial(price_pairs.price_score, bitext, encoder, output, ScoreConfig())
    trial, cut = try_part(monkeypatch, price_pairs, ask, 20, tmp_path)
    assert trial.shards == {"x": 60}
    assert cut.units == 20
    receipts = tmp_path / "tried" / "receipts"
    assert read_json(receipts / "score" / "x.json")["counts"] == {"pairs": 20, "rejected.empty": 0}
    assert read_json(receipts / "score-embed" / "x" / "00000.json")["counts"] == {"pairs": 20}
    # Of twenty pairs there are forty vectors of 8 float16, two headers.
    assert pricing._read_stage(receipts / "score-embed").disk_bytes == 40 * 8 * 2 + 2 * 128
    assert not output.parent.exists()
    with pytest.raises(UserError, match="is the input"):
        price_pairs.price_score(bitext, encoder, bitext, ScoreConfig())


def test_part_of_known_pairs_has_some_of_each_direction(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, name, count in (("a", f"{SOURCE}-{TARGET}", 5), ("b", f"{SOURCE}-{TARGET}", 50),
                                ("b", f"{TARGET}-{SOURCE}", 50)):  # fmt: skip
        write_pairs(tmp_path / folder / f"{name}.tsv", count)
    ask = functools.partial(
        price_pairs.price_embed_known, [tmp_path / "a", tmp_path / "b"], encoder,
        tmp_path / "known", KnownConfig(),
    )  # fmt: skip
    trial, cut = try_part(monkeypatch, price_pairs, ask, 40, tmp_path)
    assert trial.shards == {f"{SOURCE}-{TARGET}": 55, f"{TARGET}-{SOURCE}": 50}
    assert cut == Cut(40, 20)
    # Of the first direction, five pairs of the second file are those of the first.
    assert read_bitext(tmp_path / "tried" / f"{SOURCE}-{TARGET}.parquet").num_rows == 15
    assert read_bitext(tmp_path / "tried" / f"{TARGET}-{SOURCE}.parquet").num_rows == 20


def documents(folder: Path, language: str) -> list[str]:
    shards = sorted((folder / "sentences" / language).glob("*.parquet"))
    tables = [read_table(shard, SENTENCES_SCHEMA) for shard in shards]
    return [name for table in tables for name in table.column("document").to_pylist()]


def test_part_of_document_pairs_has_all_their_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, shards=3)
    names = [documents(tmp_path, language) for language in (SOURCE, TARGET)]
    lines = [f"{left}\t{right}" for left, right in zip(*names, strict=True)]
    write_lines(tmp_path / "list.tsv", lines)
    ask = functools.partial(
        price_local.price_mine_local, tmp_path / "sentences", tmp_path / "embeddings", SOURCE,
        TARGET, tmp_path / "list.tsv", tmp_path / "x.parquet", LocalConfig(background=6),
    )  # fmt: skip
    trial, cut = try_part(monkeypatch, price_local, ask, 12, tmp_path)
    assert trial.shards == {"x": 60}
    assert cut == Cut(12, 12)
    chosen = [line.split("\t") for line in read_lines(tmp_path / "part" / "documents.tsv")]
    for side, language in enumerate((SOURCE, TARGET)):
        there = documents(tmp_path / "part", language)
        assert {pair[side] for pair in chosen} <= set(there)
        assert 12 <= len(there) < 30  # and as large a share of the others
    counts = read_json(tmp_path / "tried" / "receipts" / "mine-local" / "part.json")["counts"]
    assert counts["document_pairs"] == 12
    assert counts["rejected.unknown_source_document"] == 0


def test_part_of_an_index_has_fewer_clusters_and_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, shards=2)
    config = IndexConfig(clusters=8, training_vectors=120)
    ask = functools.partial(price_index.price_train_index, tmp_path / "embeddings", config)
    trial, cut = try_part(monkeypatch, price_index, ask, 240, tmp_path)
    assert trial.shards == {"shared": 960}
    assert cut == Cut(240, 240)
    trained = read_json(tmp_path / "tried" / "shared.json")
    assert (trained["clusters"], trained["languages"]) == (4, [SOURCE, TARGET])
    assert not (tmp_path / "embeddings" / "index").exists()
    run_train_index(tmp_path / "embeddings", config)
    size = (tmp_path / "embeddings" / "index" / "shared.faiss").stat().st_size
    assert trial.disk_bytes == pytest.approx(size, abs=2000)  # FAISS's own headers
    with pytest.raises(UserError, match="no embeddings of `eng_Latn`"):
        price_index.price_train_index(tmp_path / "embeddings", config, ["eng_Latn"])


def test_part_of_metadata_has_the_sentences_of_its_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, shards=3)
    sources, targets = (
        [text for path in sorted((tmp_path / "sentences" / language).glob("*"))
         for text in read_table(path, SENTENCES_SCHEMA).column("text").to_pylist()]
        for language in (SOURCE, TARGET)
    )  # fmt: skip
    bitext = tmp_path / f"{SOURCE}-{TARGET}.parquet"
    write_bitext(bitext, pa.table({"source": sources[::-1], "target": targets[::-1]}))
    output = tmp_path / "out" / "x.meta"
    ask = functools.partial(bitext_price.price_metadata, bitext, tmp_path / "sentences", output)
    trial, cut = try_part(monkeypatch, bitext_price, ask, 15, tmp_path)
    assert trial.shards == {"x": 60}
    assert cut == Cut(15, 15)
    counts = read_json(tmp_path / "tried" / "receipts" / "metadata" / "x.json")["counts"]
    assert counts == {"pairs": 15, "written": 15, "left_out.not_in_sentences": 0}
    there = sum(map(count_rows, (tmp_path / "part" / "sentences" / SOURCE).glob("*")))
    assert there == 30  # the last fifteen are those of the pairs, the first are a quarter

    run_metadata(bitext, tmp_path / "sentences", output)
    crawl = tmp_path / "crawl.jsonl"
    rows = [json.dumps({"url": f"{SOURCE}/{text}", "text": text}) for text in sources]
    write_lines(crawl, rows)
    ask = functools.partial(
        price_rebuild.price_rebuild, output, [crawl], tmp_path / "again" / "y.tsv",
        tmp_path / "sentences", RebuildConfig(),
    )  # fmt: skip
    (tmp_path / "rebuild").mkdir()
    size = crawl.stat().st_size
    trial, cut = try_part(monkeypatch, price_rebuild, ask, size // 2, tmp_path / "rebuild")
    assert trial.shards["y/crawl/crawl"] == size
    assert len(trial.shards) == 1 + 2 * 3
    found = read_json(tmp_path / "rebuild/tried/receipts/rebuild-find/y/crawl/crawl.json")
    assert 3 < found["counts"]["documents"] < 40
    assert found["counts"]["sentences"] == found["counts"]["documents"]
    assert not (tmp_path / "again").exists()


def test_part_of_a_training_has_the_same_share_of_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "pairs" / f"{SOURCE}-{TARGET}.tsv", 60)
    for language in (SOURCE, TARGET, "qad_Arab"):
        write_lines(tmp_path / "aligned" / f"{language}.txt", [f"{i}" for i in range(20)])
    ran: list[tuple[list[Path], TrainEncoderConfig]] = []
    monkeypatch.setattr(
        price_train, "run_train_encoder", lambda bitext, _, config: ran.append((bitext, config))
    )
    ask = functools.partial(
        price_train.price_train_encoder, [tmp_path / "pairs", tmp_path / "aligned"],
        tmp_path / "out", TrainEncoderConfig(),
    )  # fmt: skip
    trial, cut = try_part(monkeypatch, price_train, ask, 30, tmp_path)
    assert trial.shards == {"encoder": 60 + 3 * 20}
    assert cut == Cut(30, 30)
    ((directories, config),) = ran
    assert read_bitext(directories[0] / f"{SOURCE}-{TARGET}.tsv").num_rows == 15
    assert [len(read_lines(path)) for path in sorted(directories[1].iterdir())] == [5, 5, 5]
    assert config.patience == 0


def test_rows_that_a_part_needs_are_copied_from_anywhere(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    shard = tmp_path / "sentences" / SOURCE / "000.parquet"
    table = read_table(shard, SENTENCES_SCHEMA)
    needed = table.column("hash").take([50, 7]).combine_chunks()
    rows = copy_needed(shard, tmp_path / "copy.parquet", "hash", needed, 2)
    assert rows.tolist() == [0, 1, 7, 50]
    assert read_table(tmp_path / "copy.parquet", SENTENCES_SCHEMA).equals(table.take(rows))
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"000\.parquet is not a readable Parquet file"):
        copy_needed(shard, tmp_path / "copy.parquet", "hash", needed, 2)


def test_dry_run_of_an_empty_bitext_says_so(tmp_path: Path, encoder: Path) -> None:
    bitext = tmp_path / f"{SOURCE}-{TARGET}.tsv"
    bitext.write_text("source\ttarget\n")
    arguments = ["--bitext", bitext, "--encoder", encoder, "--output", tmp_path / "out" / "x.tsv"]
    run = functools.partial(CliRunner().invoke, group, catch_exceptions=False)
    told = run(["score", *map(str, arguments), "--dry-run"]).stdout
    assert "Nothing to try: it is empty." in told
    assert run(["score", *map(str, arguments)]).exit_code == 0
    assert read_lines(tmp_path / "out" / "x.tsv") == ["score\tsource\ttarget"]
    assert "Nothing to do." in run(["score", *map(str, arguments), "--dry-run"]).stdout


def stage(units: int, cpu: float) -> pricing._Part:
    made = pricing._Stage(cpu, cpu, 10 * units, {"pairs": units})
    return pricing._Part(units, units, cpu + 1.0, 100.0, {"compare": made})


def price_of(monkeypatch: pytest.MonkeyPatch, parts: list[pricing._Part], trial: Trial) -> Price:
    monkeypatch.setattr(pricing, "_try_parts", lambda *_: parts)
    return pricing.price_job(trial)


def test_stage_that_compares_all_with_all_grows_with_the_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(
        command="x", unit="pairs", shards={"x": 10_000}, done=(), cut=lambda *_: Cut(1, 1),
        run=print, first=1, workers=1, counts=("pairs",), square_stages=("compare",),
    )  # fmt: skip
    # By hand: 2 ms a pair and 3 us a comparison are 5 s at 1,000 pairs, 1.55 s at 500.
    parts = [stage(500, 1.0 + 0.75), stage(1000, 2.0 + 3.0)]
    price = price_of(monkeypatch, parts, trial)
    assert price.stages["compare"].core_hours * 3600 == pytest.approx(20 + 300)
    assert price.hours * 3600 == pytest.approx(321)  # and a second to start
    # Noise that would make the linear part negative leaves the square alone.
    price = price_of(monkeypatch, [stage(500, 0.1), stage(1000, 4.0)], trial)
    assert price.stages["compare"].core_hours * 3600 == pytest.approx(400)
