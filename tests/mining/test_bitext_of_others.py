"""Every command of `mining` that takes bitext takes it in the formats of others."""

import gzip
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from corpus.bitext.convert import ConvertConfig, convert_bitext
from corpus.errors import JobError
from corpus.files import write_lines
from corpus.records import read_bitext
from mining.bitext.config import EvaluateConfig, FilterConfig, MetadataConfig, ScoreConfig
from mining.bitext.evaluate import evaluate_mining
from mining.bitext.filter import FilterInputs, run_filter
from mining.bitext.metadata import read_metadata, run_metadata
from mining.bitext.report_data import collect
from mining.bitext.score import run_score
from mining.encoders import load_encoder
from mining.encoders.bitext import read_training_pairs
from mining.encoders.config import DistillConfig
from mining.encoders.distill import run_distill
from mining.encoders.embed_config import KnownConfig
from mining.encoders.embed_known import run_embed_known
from mining.encoders.train import run_train_encoder
from tests.mining.bitext.test_metadata import ARABIC, ENGLISH, write_sentences
from tests.mining.encoders.test_encoders import TINY, write_seed

PAIR = "qaa_Latn-qac_Cyrl"


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs as a TSV in `tsv`, and as others have them in directories beside it."""
    folder = tmp_path_factory.mktemp("seed")
    table = read_bitext(write_seed(folder / "tsv", 60) / f"{PAIR}.tsv")
    texts = {
        code: "".join(f"{text}\n" for text in table.column(side).to_pylist())
        for side, code in enumerate(PAIR.split("-"))
    }
    for code, text in texts.items():
        (folder / "moses").mkdir(exist_ok=True)
        (folder / "moses" / f"x.{code}.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "zip").mkdir()
    with zipfile.ZipFile(folder / "zip" / f"{PAIR}.txt.zip", "w") as archive:
        for code, text in texts.items():
            archive.writestr(f"x.{PAIR}.{code}", text)
    convert_bitext([folder / "tsv"], folder / "tmx", ConvertConfig(), suffix="tmx")
    return folder


def test_encoders_are_trained_and_distilled_and_known_pairs_embedded(
    seed: Path, tmp_path: Path
) -> None:
    config = replace(TINY, epochs=1)
    run_train_encoder([seed / "moses"], tmp_path / "encoder", config)
    pairs = [read_training_pairs([seed / kind]) for kind in ("tsv", "moses", "zip", "tmx")]
    for other in pairs[1:]:
        assert other.sentences == pairs[0].sentences
        assert np.array_equal(*(next(iter(one.pairs.values())) for one in (other, pairs[0])))
    student = DistillConfig(bag=TINY.bag, epochs=1, batch_size=32, device="cpu", pivot="qaa_Latn")
    run_distill(tmp_path / "encoder", [seed / "zip"], tmp_path / "student", student, ["qac_Cyrl"])
    assert load_encoder(tmp_path / "student").dimension == TINY.bag.dimension
    counts = run_embed_known(
        [seed / "zip", seed / "tmx"], tmp_path / "encoder", tmp_path / "known", KnownConfig()
    ).counts
    assert counts["pairs"] == read_bitext(seed / "tsv" / f"{PAIR}.tsv").num_rows
    scored = {}
    for kind, name in (("tsv", f"{PAIR}.tsv"), ("moses", "x.qaa_Latn.gz")):
        output = tmp_path / f"{kind}.parquet"
        run_score(seed / kind / name, tmp_path / "encoder", output, ScoreConfig())
        scored[kind] = read_bitext(output)
    assert scored["moses"].equals(scored["tsv"])


def test_bitext_of_others_is_filtered_and_reported(seed: Path, tmp_path: Path) -> None:
    counts = [
        dict(
            run_filter(path, tmp_path / kind / f"{PAIR}.tmx", FilterInputs(), FilterConfig()).counts
        )
        for kind, path in (
            ("tsv", seed / "tsv" / f"{PAIR}.tsv"),
            ("tmx", seed / "tmx" / f"{PAIR}.tmx"),
            ("zip", seed / "zip" / f"{PAIR}.txt.zip"),
        )
    ]
    assert counts[0] == counts[1] == counts[2]
    assert counts[0]["pairs"] == 60
    written = tmp_path / "zip" / f"{PAIR}.tmx"
    assert read_bitext(written).num_rows == counts[0]["kept"] > 0
    (report,) = collect(written.parent, None, None, None).directions
    assert report.filtered == counts[0]
    scores = evaluate_mining(seed / "moses", seed / "tmx")
    assert (scores.mean_f1, list(scores.pairs)) == (1.0, [PAIR])


def test_metadata_are_written_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {"translation": {"en": source, "ar": target}, "score": 1.5}
        for source, target in zip(ENGLISH, ARABIC, strict=False)
    ]
    bitext = tmp_path / "en-ar.jsonl"
    bitext.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    run_metadata(bitext, write_sentences(tmp_path), tmp_path / "x.meta")
    sides = list(read_metadata(tmp_path / "x.meta"))
    assert [side.language for side in sides] == ["eng_Latn", "arb_Arab"] * len(ARABIC)
    assert {side.laser_score for side in sides} == {1.5}


def test_numbered_columns_are_read_by_metadata_and_evaluate(seed: Path, tmp_path: Path) -> None:
    pairs = list(zip(ENGLISH, ARABIC, strict=False))
    scored = tmp_path / "eng_Latn-arb_Arab.tsv"
    write_lines(scored, [f"1.25\t{source}\t{target}" for source, target in pairs])
    sentences = write_sentences(tmp_path)
    with pytest.raises(JobError, match="column 1 holds numbers"):
        run_metadata(scored, sentences, tmp_path / "x.meta")
    config = MetadataConfig(columns={"score": "1", "source": "2", "target": "3"})
    run_metadata(scored, sentences, tmp_path / "x.meta", config)
    assert [side.laser_score for side in read_metadata(tmp_path / "x.meta")] == [1.25] * 2 * len(
        pairs
    )
    gold = tmp_path / "gold" / scored.name
    write_lines(gold, [f"{target}\t{source}" for source, target in pairs])
    mined = tmp_path / "mined" / scored.name
    write_lines(mined, scored.read_text(encoding="utf-8").splitlines())
    both = EvaluateConfig(
        columns={"source": "2", "target": "3"}, gold_columns={"source": "2", "target": "1"}
    )
    assert evaluate_mining(mined.parent, gold.parent, None, both).mean_f1 == 1.0
