"""Trainings with fresh weights that leave `updates` open: what they choose, and hold out."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from corpus.config import load_config
from corpus.errors import UserError
from corpus.languages import Direction
from nmt.data.tokenize import DirectionPairs, Part, direction_pairs, hold_out, tokenize
from nmt.model.directory import WEIGHTS_FILE, load_model
from nmt.training.config import ResolvedTrainConfig, TrainConfig, resolve
from nmt.training.from_scratch import (
    DECISIONS_FILE,
    LEVELS,
    FreshData,
    decide,
    held_out_every,
    resolve_fresh,
    with_choices,
)
from nmt.training.readers import TokenBatch
from nmt.training.train import train
from nmt.training.validation_data import read_held_out
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext

DATA = FreshData(pairs=50_000, directions=2, tokens=1_500_000, has_test_set=False)
DIRECTION = Direction("qaa_Latn", "qab_Latn")


def config(*overrides: str) -> TrainConfig:
    return load_config(TrainConfig, None, ["vocabulary=v", "bitext.primary=b", *overrides])


def test_pairs_decide_on_size_batches_updates_and_validation() -> None:
    decided = decide(config(), DATA)
    assert decide(config("max_updates=700"), DATA)["updates"] == 700
    assert decided["model"] == {"size": "small_dense", "dropout_p": 0.2}
    assert decided["batches"] == {"max_tokens": 1500}
    # By hand: 20 epochs · 1,500,000 tokens / (0.9 · 1,500 positions) = 22,222, up to a 100th
    assert decided["updates"] == 22_300
    assert decided["optimizer"] == {
        "learning_rate": 0.003,
        "warmup_updates": 2230,
        "schedule": "linear",
    }
    assert decided["selection"] == {"keep": "best", "patience": 8}
    assert decided["held_out_every"] == 50  # 25,000 of a direction, 500 of them
    assert decided["validate_every"] == decided["checkpoint_every"]
    assert (decided["report_every"], decided["validate_every"]) == (223, 1115)  # 20 · 1,115


def test_a_gpu_takes_larger_batches_and_more_processes_fewer_updates() -> None:
    decided = decide(config(), replace(DATA, on_gpu=True, processes=2))
    # 40 epochs · 1,500,000 / (0.9 · 4,096 · 2) = 8,138.0
    assert (decided["batches"]["max_tokens"], decided["updates"]) == (4096, 8200)
    many = replace(DATA, pairs=5_000_000, tokens=150_000_000)
    assert decide(config(), replace(many, on_gpu=True))["model"]["size"] == "base"
    assert decide(config(), many)["model"]["size"] == "medium"


def test_more_pairs_never_get_fewer_positions_or_more_dropout() -> None:
    assert [level.pairs for level in LEVELS] == sorted(level.pairs for level in LEVELS)
    for name in ("cpu_tokens", "gpu_tokens"):
        values = [getattr(level, name) for level in LEVELS]
        assert values == sorted(values)
    dropout = [level.dropout_p for level in LEVELS]
    assert dropout == sorted(dropout, reverse=True)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.size=medium",),
        ("model.dropout_p=0.0", "model.model_dim=512", "batches.max_tokens=3000"),
        ("optimizer.warmup_updates=300000", "optimizer.schedule=cosine"),
        ("selection.keep=last", "selection.patience=3", "held_out_every=7"),
        ("validate_every=7", "report_every=7", "validation_sentences=9"),
        ("batches.max_length=2000",),
    ],
)
@pytest.mark.parametrize("pairs", [3, 50_000, 10**9])
def test_what_the_recipe_says_is_kept_and_fits_what_is_chosen(
    overrides: tuple[str, ...], pairs: int
) -> None:
    given = config(*overrides)
    decided = decide(given, replace(DATA, pairs=pairs, tokens=30 * pairs))
    resolved = resolve_fresh(given, json.loads(json.dumps(decided)))
    for override in overrides:
        path, value = override.split("=")
        found: object = resolved
        for name in path.split("."):
            found = getattr(found, name)
        assert found == yaml.safe_load(value), override
    assert resolved.optimizer.warmup_updates < resolved.updates


def test_the_guide_has_the_table() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text(encoding="utf-8")
    for level in LEVELS:
        pairs = f"{level.pairs:,}" if np.isfinite(level.pairs) else "more"
        row = (
            f"| {pairs} | {level.cpu_size}, {level.gpu_size} | {level.cpu_tokens:,},"
            f" {level.gpu_tokens:,} | {level.dropout_p} |"
        )
        assert row in guide


def test_learning_rate_goes_with_the_square_root_of_the_width() -> None:
    wide = decide(config("model.model_dim=512"), DATA)
    assert wide["optimizer"]["learning_rate"] == pytest.approx(0.0015)


def test_updates_that_are_given_leave_nothing_open_and_choose_nothing() -> None:
    given = config("updates=9000", "optimizer.epsilon=1e-8")
    assert (given.report_every, given.model.size) == (100, "small")
    assert (given.optimizer.learning_rate, given.optimizer.warmup_updates) == (0.002, 8000)
    assert (given.selection.keep, given.selection.patience) == ("last", 0)
    assert (given.validation_sentences, given.held_out_every) == (50, 0)
    assert given.batches.positions == 8192
    assert isinstance(resolve(given), ResolvedTrainConfig)


def test_nothing_is_held_out_where_a_test_set_validates() -> None:
    assert held_out_every(config(), replace(DATA, has_test_set=True)) == 0
    assert held_out_every(config(), replace(DATA, pairs=100)) == 20
    assert held_out_every(config(), replace(DATA, pairs=39)) == 0  # not one of 19 a direction
    assert held_out_every(config(), replace(DATA, pairs=10**9)) == 1000
    assert held_out_every(config("held_out_every=0"), DATA) == 0
    with pytest.raises(UserError, match="`held_out_every` is 1"):
        config("held_out_every=1")


@pytest.mark.parametrize("total", range(12))
@pytest.mark.parametrize("every", [2, 3, 5])
def test_rows_are_trained_or_held_out_and_none_is_both(total: int, every: int) -> None:
    pairs = {DIRECTION: DirectionPairs(DIRECTION, (Part(0, 0, -1, total),))}
    (part,) = hold_out(pairs, every)[DIRECTION].parts
    trained = part.rows(np.arange(part.size)).tolist()
    held = list(part.held_out_rows(total))
    assert sorted([*trained, *held]) == list(range(total))
    assert held == [row for row in range(total) if row % every == every - 1]


def test_only_untagged_bitext_gives_pairs_where_there_is_some() -> None:
    primary, mined = Part(0, 0, -1, 100), Part(1, 0, 7, 100)
    both = hold_out({DIRECTION: DirectionPairs(DIRECTION, (primary, mined))}, 10)
    assert [part.size for part in both[DIRECTION].parts] == [90, 100]
    alone = hold_out({DIRECTION: DirectionPairs(DIRECTION, (mined,))}, 10)
    assert [part.size for part in alone[DIRECTION].parts] == [90]


def test_held_out_pairs_are_whole_and_the_same_in_both_directions(
    vocabulary_directory: Path, bitext: Path, tmp_path: Path
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    given = load_config(
        TrainConfig,
        None,
        [
            f"vocabulary={vocabulary_directory}", f"bitext.primary={bitext}", "updates=9000",
            "held_out_every=30", "chrf.sentences=100", "data.workers=1",
        ],
    )  # fmt: skip
    tokens = tokenize(given.training_data, vocabulary, tmp_path / "data")
    pairs = direction_pairs(tokens, vocabulary, ())
    found = read_held_out(resolve(given), vocabulary, tokens, pairs, 100)
    lines = (bitext / "qaa_Latn-qab_Latn.tsv").read_text(encoding="utf-8").splitlines()
    sources = [line.split("\t")[0] for line in lines[29::30]]
    assert found.translated[DIRECTION] == (sources, sources)
    assert found.translated[DIRECTION.reverse] == (sources, sources)
    assert sum(len(batch.source) for batch in found.batches[DIRECTION]) == 10
    none = resolve(replace(given, held_out_every=1000))
    assert read_held_out(none, vocabulary, tokens, pairs, 100).batches == {}
    strict = replace(none, selection=replace(none.selection, patience=1))
    with pytest.raises(UserError, match="no file of the bitext has 1000 pairs"):
        read_held_out(strict, vocabulary, tokens, pairs, 100)


def test_dump_shows_what_a_training_would_choose(
    vocabulary_directory: Path, bitext: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tongues

    data = [f"vocabulary={vocabulary_directory}", f"bitext.primary={bitext}"]
    arguments = [part for one in data for part in ("--config", one)]
    assert tongues.main(["nmt", "train", "--dump-config", *arguments]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["model"]["size"] == "small_dense"
    assert (shown["held_out_every"], shown["model"]["dropout_p"]) == (20, 0.3)
    assert shown["updates"] > 0
    elsewhere = load_config(TrainConfig, None, ["vocabulary=/none", "bitext.primary=/none"])
    assert with_choices(elsewhere) is elsewhere


@pytest.mark.slow
def test_training_that_chooses_says_the_cost_and_resumes_by_its_first_choice(
    vocabulary_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    write_bitext(tmp_path / "bitext" / "qaa_Latn-qab_Latn.tsv", 60)
    given = load_config(
        TrainConfig,
        None,
        [
            f"vocabulary={vocabulary_directory}", f"bitext.primary={tmp_path / 'bitext'}",
            "model.size=tiny", "chrf.sentences=0", "threads=1", "data.workers=1",
        ],
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        train(given, tmp_path / "whole")
    assert "`updates` is open; chosen for 120 pairs: size tiny" in caplog.text
    assert "TFLOP: " in caplog.text
    decided = json.loads(
        (tmp_path / "whole" / "training" / DECISIONS_FILE).read_text(encoding="utf-8")
    )
    assert decided["held_out_every"] == 20
    assert load_model(tmp_path / "whole").directions == (DIRECTION, DIRECTION.reverse)
    original, calls = TokenBatch.loss, [0]

    def fail_once(self: TokenBatch, model: torch.nn.Module, label_smoothing: float) -> Tensor:
        calls[0] += label_smoothing > 0
        if calls[0] == decided["validate_every"] + 2 and label_smoothing > 0:
            raise KeyboardInterrupt
        return original(self, model, label_smoothing)

    monkeypatch.setattr(TokenBatch, "loss", fail_once)
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "cut")
    train(given, tmp_path / "cut")
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
