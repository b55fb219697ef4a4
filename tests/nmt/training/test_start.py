"""Trainings that start from a model: what they take from it, and what they decide themselves."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from corpus.config import load_config
from corpus.errors import DataError, UserError
from nmt.fairseq import BatchLayout
from nmt.model.directory import WEIGHTS_FILE, load_model, read_description, save_model
from nmt.model.translator import Translator, create_model, moe_layers
from nmt.training.config import TrainConfig
from nmt.training.directory import check_output
from nmt.training.fine_tuning import DECISIONS_FILE, Data, decide, resolve_with
from nmt.training.parallel.experts import SharedOutExperts
from nmt.training.readers import TokenBatch
from nmt.training.start import read_start
from nmt.training.train import train
from tests.nmt.conftest import write_bitext, write_flores

DATA = Data(
    pairs=1000,
    tokens=40_000,
    is_replayed=False,
    processes=1,
    model_dim=64,
    dropout_p=0.0,
    is_validated=True,
)


@pytest.fixture(scope="module")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("start")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 60, seed=5)
    return directory / "bitext"


def config_from(model: Path, bitext: Path, *overrides: str) -> TrainConfig:
    settings = [
        f"start_from={model}", f"bitext.primary={bitext}", "directions=[qaa_Latn-qab_Latn]",
        "batches.max_tokens=600", "batches.max_length=60", "threads=1", "data.workers=1",
        "compute.peak_teraflops=1", "compute.tensorboard=false",
    ]  # fmt: skip
    return load_config(TrainConfig, None, [*settings, *overrides])


def dense_model(directory: Path, trained_model: Path) -> Path:
    """Write a dense model with random weights and the vocabulary of another."""
    shape = read_description(trained_model).config
    shape = dataclasses.replace(shape, num_experts=0, expert_output_masking_p=0.2)
    torch.manual_seed(3)
    save_model(directory, create_model(shape), shape, trained_model / "vocabulary", ())
    return directory


def logits_of(model: Translator) -> Tensor:
    tokens = torch.tensor([[5, 6, 7, 8, 9, 10]])
    layout = BatchLayout.of(tokens)
    with torch.no_grad():
        output: Tensor = model.eval()(tokens, layout, tokens, layout)
    return output


def test_first_update_is_made_on_the_weights_of_the_start(
    trained_model: Path, bitext: Path, tmp_path: Path
) -> None:
    config = config_from(
        trained_model, bitext, "updates=1", "report_every=1", "checkpoint_every=1",
        "validate_every=1", "optimizer.learning_rate=1e-12", "optimizer.warmup_updates=0",
    )  # fmt: skip
    train(config, tmp_path / "model")
    before, after = (
        load_file(directory / WEIGHTS_FILE) for directory in (trained_model, tmp_path / "model")
    )
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    # What it could translate before it may be asked for still.
    directions = [str(direction) for direction in read_description(tmp_path / "model").directions]
    assert directions == ["qaa_Latn-qab_Latn", "qab_Latn-qaa_Latn"]


@pytest.mark.slow
def test_interrupted_fine_tuning_ends_with_the_same_bytes_by_its_first_decisions(
    trained_model: Path, bitext: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flores = write_flores(tmp_path / "flores", ["bara kili mo", "tuno še", "ki ki bagu"])
    config = config_from(
        trained_model, bitext, f"flores={flores}", "updates=8", "chrf.sentences=0",
        "optimizer.learning_rate=0.001", "checkpoint_every=2", "report_every=1",
    )  # fmt: skip
    train(config, tmp_path / "whole")
    original, calls = TokenBatch.loss, [0]

    def fail_once(self: TokenBatch, model: torch.nn.Module, label_smoothing: float) -> Tensor:
        calls[0] += label_smoothing > 0
        if calls[0] == 5 and label_smoothing > 0:
            raise KeyboardInterrupt
        return original(self, model, label_smoothing)

    monkeypatch.setattr(TokenBatch, "loss", fail_once)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut")
    decisions = tmp_path / "cut" / "training" / DECISIONS_FILE
    decided = json.loads(decisions.read_text(encoding="utf-8"))
    assert decided["selection"] == {"keep": "best", "patience": 5}
    assert decided["validate_every"] == 2
    train(config, tmp_path / "cut")
    assert calls[0] == 5 + 4  # from the checkpoint after update 4
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.num_experts=8", "model.num_experts"),
        ("model.model_dim=128", "model.model_dim"),
        ("model.expert_output_masking_p=0.1", "model.expert_output_masking_p"),
        ("model.size=600m", "model.size"),
        ("upcycling_noise=0.1", "has 4 experts already"),
        ("vocabulary=elsewhere", "`vocabulary` is elsewhere"),
    ],
)
def test_recipe_that_contradicts_the_model_is_refused_by_key(
    trained_model: Path, bitext: Path, override: str, key: str
) -> None:
    with pytest.raises(UserError, match=key):
        read_start(config_from(trained_model, bitext, override))


def test_shape_is_the_models_but_for_what_changes_no_weights(
    trained_model: Path, bitext: Path
) -> None:
    config = config_from(trained_model, bitext, "model.dropout_p=0.3", "model.max_seq_len=300")
    start = read_start(config)
    assert start is not None
    own = read_description(trained_model).config
    assert start.shape == dataclasses.replace(own, dropout_p=0.3, max_seq_len=300)


def test_start_that_is_no_model_or_is_damaged_is_refused(
    trained_model: Path, bitext: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is not a translation model"):
        check_output(tmp_path / "output", config_from(tmp_path, bitext))
    dense = dense_model(tmp_path / "dense", trained_model)
    damaged = bytearray((dense / WEIGHTS_FILE).read_bytes())
    damaged[-1] ^= 1
    (dense / WEIGHTS_FILE).write_bytes(damaged)
    with pytest.raises(DataError, match="is damaged"):
        read_start(config_from(dense, bitext))


def test_experts_of_a_dense_model_compute_what_it_did(
    trained_model: Path, bitext: Path, tmp_path: Path
) -> None:
    dense = dense_model(tmp_path / "dense", trained_model)
    options = ("model.num_experts=4", "model.moe_every_n_layers=2")
    with pytest.raises(UserError, match="give `upcycling_noise`"):
        read_start(config_from(dense, bitext, *options))
    wanted = logits_of(load_model(dense).translator)
    for noise, close in ((0.0, 1e-5), (0.1, 0.0)):
        start = read_start(config_from(dense, bitext, *options, f"upcycling_noise={noise}"))
        assert start is not None
        model = create_model(start.shape)
        start.load_into(model)
        layers = dict(moe_layers(model))
        assert len(layers) == 2
        experts = next(iter(layers.values())).experts.get_parameter("inner_weight")
        difference = (logits_of(model) - wanted).abs().max()
        assert difference < close if close else difference > 1e-3
        assert torch.equal(experts[0], experts[1]) == (noise == 0)


@pytest.mark.parametrize("upcycled", [False, True])
def test_process_that_holds_some_experts_reads_those(
    trained_model: Path, bitext: Path, tmp_path: Path, upcycled: bool
) -> None:
    options: tuple[str, ...] = ()
    if upcycled:
        trained_model = dense_model(tmp_path / "dense", trained_model)
        options = ("model.num_experts=4", "model.moe_every_n_layers=2", "upcycling_noise=0.1")
    start = read_start(config_from(trained_model, bitext, *options))
    assert start is not None
    whole, part = create_model(start.shape), create_model(start.shape)
    for _, layer in moe_layers(part):
        gangs: Any = SimpleNamespace(sdp=SimpleNamespace(size=2, rank=1))
        layer.experts = SharedOutExperts(layer.experts, gangs)  # type: ignore[arg-type]
    start.load_into(whole)
    start.load_into(part)
    for (_, one), (_, other) in zip(moe_layers(whole), moe_layers(part), strict=True):
        for name, weight in other.experts.named_parameters():
            assert torch.equal(weight, one.experts.get_parameter(name)[2:])


def test_weights_of_another_shape_than_described_are_damage(
    trained_model: Path, bitext: Path
) -> None:
    start = read_start(config_from(trained_model, bitext))
    assert start is not None
    with pytest.raises(DataError, match="does not fit"):
        start.load_into(create_model(dataclasses.replace(start.shape, num_decoder_layers=3)))


def test_more_pairs_are_trained_for_fewer_epochs_and_with_less_dropout(
    trained_model: Path, bitext: Path
) -> None:
    config = config_from(trained_model, bitext, "batches.max_tokens=4000")
    few = decide(config, DATA)
    assert decide(dataclasses.replace(config, max_updates=300), DATA)["updates"] == 300
    assert decide(dataclasses.replace(config, max_updates=900), DATA)["updates"] == few["updates"]
    # By hand: 40 epochs · 40,000 tokens / (0.9 · 4,000 positions) = 444.4, up to a multiple of 20
    assert few["updates"] == 460
    assert few["optimizer"]["warmup_updates"] == 46
    assert few["optimizer"]["learning_rate"] == pytest.approx(1e-4 * 16 ** (1 / 3))
    assert few["model"] == {"dropout_p": 0.1}
    assert few["selection"] == {"keep": "best", "patience": 5}
    assert few["validate_every"] % few["report_every"] == 0
    many = decide(config, dataclasses.replace(DATA, pairs=8000, tokens=320_000, processes=2))
    # 20 epochs · 320,000 / (0.9 · 8,000) = 888.9
    assert many["updates"] == 900
    assert many["model"] == {"dropout_p": 0.1}
    replayed = decide(config, dataclasses.replace(DATA, is_replayed=True))
    assert replayed["updates"] == 900  # half of each batch is replayed: 888.9
    blind = decide(config, dataclasses.replace(DATA, is_validated=False, pairs=10**9))
    assert blind["selection"] == {"keep": "last", "patience": 0}
    assert blind["model"] == {"dropout_p": 0.0}


@pytest.mark.parametrize(
    "overrides",
    [
        ("updates=7", "report_every=7"),
        ("checkpoint_every=6",),
        ("validate_every=35", "checkpoint_every=10", "selection.keep=last"),
        ("optimizer.warmup_updates=0", "selection.patience=2"),
        ("model.dropout_p=0.05", "optimizer.schedule=cosine"),
    ],
)
def test_what_the_recipe_says_is_kept_and_fits_what_is_decided(
    trained_model: Path, bitext: Path, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    flores = write_flores(tmp_path / "flores", ["bara"])
    config = config_from(trained_model, bitext, f"flores={flores}", *overrides)
    resolved = resolve_with(config, decide(config, DATA))
    for name in ("updates", "report_every", "checkpoint_every", "validate_every"):
        given = getattr(config, name)
        assert getattr(resolved, name) == given or given is None
        assert getattr(resolved, name) >= 1
    assert resolved.optimizer.schedule == (config.optimizer.schedule or "linear")


def test_without_a_start_a_vocabulary_must_be_given() -> None:
    with pytest.raises(UserError, match="`vocabulary` must be given, or `start_from`"):
        load_config(TrainConfig, None, ["bitext.primary=b"])
