"""Every command of `nmt` that takes bitext takes it in the formats of others."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.config import load_config
from corpus.records import read_bitext
from nmt.cli import group
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext
from tests.receipts import read_receipt

PAIR = "qaa_Latn-qab_Latn"


def as_others_have_it(folder: Path, pairs: int) -> Path:
    """Write a Moses pair with one language, JSON lines with another, and a development set."""
    write_bitext(folder / "x.tsv", pairs)
    lines = read_bitext(folder / "x.tsv")["source"].to_pylist()
    (folder / "x.tsv").unlink()
    for stem, text in (("News", lines), ("dev", ["not to be trained on"])):
        for code in ("qaa_Latn", "qab_Latn"):
            path = folder / f"{stem}.{PAIR}.{code}"
            path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    rows = [{"translation": {"qaa_Latn": line, "qac_Cyrl": line}} for line in lines[:20]]
    path = folder / "part.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return folder


def test_vocabulary_and_tokens_come_from_bitext_of_others(tmp_path: Path) -> None:
    bitext, vocabulary = as_others_have_it(tmp_path / "bitext", 100), tmp_path / "vocabulary"
    run = CliRunner().invoke
    arguments = ["--bitext", str(bitext), "--output", str(vocabulary), "--config", "size=80"]
    result = run(group, ["vocabulary", *arguments])
    assert result.exit_code == 0, result.output
    assert set(Vocabulary.load(vocabulary).languages) == {"qaa_Latn", "qab_Latn", "qac_Cyrl"}
    given = ["--config", f"vocabulary={vocabulary}", "--config", f"bitext.primary={bitext}"]
    result = run(group, ["tokenize", *given, "--output", str(tmp_path / "tokens"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs.kept"] == 120
    receipt = read_receipt(tmp_path / "tokens", "tokenize", f"primary/0/{PAIR}")
    names = [Path(one["path"]).name for one in receipt["inputs"]]
    assert names[:2] == [f"News.{PAIR}.qaa_Latn", f"News.{PAIR}.qab_Latn"]


@pytest.mark.slow
def test_model_is_trained_on_bitext_of_others(tmp_path: Path, vocabulary_directory: Path) -> None:
    bitext = as_others_have_it(tmp_path / "others", 30)
    settings = [
        f"vocabulary={vocabulary_directory}", f"bitext.primary={bitext}", "model.size=tiny",
        "batches.max_tokens=200", "batches.max_length=60", "updates=2", "threads=1",
        "data.workers=1", "optimizer.warmup_updates=1",
    ]  # fmt: skip
    train(load_config(TrainConfig, None, settings), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").is_file()
    given = [part for setting in settings[:2] for part in ("--config", setting)]
    arguments = ["tokenize", *given, "--output", str(tmp_path / "none"), "--dry-run"]
    priced = CliRunner().invoke(group, arguments)
    assert priced.exit_code == 0, priced.output
    assert "50" in priced.stdout
