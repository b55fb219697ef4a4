"""Languages outside FLORES-200 go through every stage: Breton, and Tuvan in Cyrillic script."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tongues
from corpus.config import load_config
from corpus.files import read_json, read_lines, write_lines
from corpus.protocols import Prediction
from corpus.records import count_rows, sentence_shards

pytestmark = pytest.mark.slow

BRETON, TUVAN = "bre_Latn", "tyv_Cyrl"
TEXT = {
    BRETON: "dour ar stêr ti tud bihan gwer dindan noz kerzhout a raent gant ha",
    TUVAN: "суг хем бажың чон бичии ногаан дүне адаанда чоруп турган олар биле",
    "eng_Latn": "the water of river house people small green under night walked with",
}


def sentences(language: str, count: int, seed: int = 0) -> list[str]:
    chooser = random.Random(f"{language} {seed}")
    return [" ".join(chooser.choices(TEXT[language].split(), k=6)) for _ in range(count)]


def tongues_command(*arguments: object) -> str:
    result = CliRunner().invoke(
        tongues.cli, [str(one) for one in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    for language in TEXT:
        write_lines(tmp_path / f"flores/dev/{language}.dev", sentences(language, 12, 1))
    return tmp_path / "flores"


def test_an_identifier_of_them_is_trained_measured_and_asked(tmp_path: Path, flores: Path) -> None:
    for language in TEXT:
        write_lines(tmp_path / f"lid/{language}.txt", sentences(language, 60))
    quick = ("buckets_per_class=500", "dim=8", "max_repeats=2")
    tongues_command(
        "lid", "train", "--data", tmp_path / "lid", "--output", tmp_path / "model",
        *[part for one in quick for part in ("--config", one)],
    )  # fmt: skip
    measured = tongues_command(
        "lid", "measure", "--model", tmp_path / "model", "--flores", flores, "--split", "dev",
    )  # fmt: skip
    assert BRETON in measured
    assert TUVAN in measured
    assert "Tuvinian" in (tmp_path / "model/report.html").read_text(encoding="utf-8")
    assert {line.split("\t")[0] for line in read_lines(tmp_path / "model/thresholds.tsv")} >= {
        BRETON, TUVAN,
    }  # fmt: skip


class ByScript:
    """Identifies by the first letter."""

    languages: Sequence[str] = (BRETON, TUVAN)

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        return [Prediction(TUVAN if line[0] > "z" else BRETON, 0.99) for line in lines]


def load_by_script(path: Path) -> ByScript:
    return ByScript()


def test_they_are_mined_from_crawl_shards(tmp_path: Path) -> None:
    from mining.search.config import MineConfig
    from mining.search.mine import run_mine
    from mining.sentences.config import SentencesConfig, TextConfig
    from mining.sentences.sentences import run_sentences
    from mining.sentences.text import run_text

    lines = [
        text[0].upper() + text[1:] + "."
        for pair in zip(sentences(BRETON, 30), sentences(TUVAN, 30), strict=True)
        for text in pair
    ]
    shard = tmp_path / "shard.txt"
    write_lines(shard, [part for line in lines for part in (line, "")])
    write_lines(tmp_path / "lid/model.bin", ["a stand-in"])
    found = tmp_path / "sentences"
    config = SentencesConfig(languages=(BRETON, TUVAN))
    counts = run_sentences([shard], tmp_path / "lid", found, config, load_by_script)
    assert counts["kept"] > 40
    run_text(found, tmp_path / "text", TextConfig())
    assert len(read_lines(tmp_path / f"text/{TUVAN}.txt")) > 20
    generator = np.random.default_rng(0)
    for language in (BRETON, TUVAN):
        for path in sentence_shards(found, language):
            vectors = generator.standard_normal((count_rows(path), 8)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            folder = tmp_path / "embeddings" / language
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{path.stem}.npy", vectors.astype(np.float16))
    pairs = tmp_path / f"mined/{BRETON}-{TUVAN}.tsv"
    run_mine(found, tmp_path / "embeddings", BRETON, TUVAN, pairs, MineConfig(margin_threshold=0.0))
    assert len(read_lines(pairs)) > 1
    tongues_command("mining", "filter", "--bitext", pairs, "--output", tmp_path / "kept.tsv")


def test_they_have_tokens_and_a_model_translates_them(tmp_path: Path, flores: Path) -> None:
    from nmt.training.config import TrainConfig
    from nmt.training.train import train

    pairs = zip(sentences("eng_Latn", 100), sentences(TUVAN, 100), strict=True)
    write_lines(tmp_path / "bitext/en-tyv.tsv", ["\t".join(pair) for pair in pairs])
    vocabulary = tmp_path / "vocabulary"
    tongues_command(
        "nmt", "vocabulary", "--bitext", tmp_path / "bitext", "--output", vocabulary,
        "--config", "size=70", "--config", f"languages=[{BRETON}]",
    )  # fmt: skip
    assert set(read_json(vocabulary / "vocabulary.json")["languages"]) == set(TEXT)
    recipe = [
        f"vocabulary={vocabulary}", f"bitext.primary={tmp_path / 'bitext'}", "model.size=tiny",
        "batches.max_tokens=1000", "batches.max_length=60", "optimizer.learning_rate=0.004",
        "optimizer.warmup_updates=1", "updates=2",
        "checkpoint_every=2", "validate_every=2", "report_every=1", "threads=1",
        "data.workers=1", f"flores={flores}", "validation_split=dev",
    ]  # fmt: skip
    model = tmp_path / "model"
    train(load_config(TrainConfig, None, recipe), model)
    tongues_command(
        "nmt", "translate-flores", "--model", model, "--flores", flores, "--split", "dev",
        "--directions", "en-tyv", "--output", tmp_path / "hypotheses",
        "--config", "beam_size=1",
    )  # fmt: skip
    assert len(read_lines(tmp_path / f"hypotheses/eng_Latn-{TUVAN}.txt")) == 12


def test_systems_into_them_are_scored_checked_and_compared(tmp_path: Path, flores: Path) -> None:
    for system in ("a", "b"):
        for target in (BRETON, TUVAN):
            lines = sentences(target, 12, 1 if system == "a" else 2)
            write_lines(tmp_path / f"{system}/eng_Latn-{target}.txt", lines)
    systems = ("--hypotheses", tmp_path / "a", "--hypotheses", tmp_path / "b")
    there = ("--flores", flores, "--split", "dev")
    scores = tmp_path / "scores"
    tongues_command("eval", "score", *systems, *there, "--output", scores, "--metrics", "chrf")
    tongues_command("eval", "compare", *systems, *there, "--output", tmp_path / "comparison")
    tongues_command("eval", "check", *systems, *there, "--output", tmp_path / "checks")
    table = read_lines(tmp_path / "scores/scores.tsv")
    assert any(f"a\teng_Latn-{TUVAN}\tchrf\t100" in row for row in table)
    assert "Breton" in (tmp_path / "scores/report.html").read_text(encoding="utf-8")
