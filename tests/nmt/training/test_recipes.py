"""NLLB-200's published configurations, as recipes/nmt/ has them."""

import itertools
from pathlib import Path

import pytest

from corpus.config import load_config
from nmt.model.config import resolve_config
from nmt.training.config import TrainConfig

RECIPES = Path(__file__).parents[3] / "recipes" / "nmt"
VOCABULARY = 256_206
"""Rows of the embedding (NLLB Team 2022: 256,000 pieces, 202 languages, tags, specials)."""

SHAPES = {
    # Model dimension, inner dimension, layers a side, experts: fairseq's examples/nllb/modeling
    # and the configurations of the published checkpoints.
    "moe_54b": (2048, 8192, 24, 128),
    "dense_3b": (2048, 8192, 24, 0),
    "dense_1b": (1024, 8192, 24, 0),
    "distilled_600m": (1024, 4096, 12, 0),
}
GPUS = {"moe_54b": 256, "dense_3b": 128, "dense_1b": 128, "distilled_600m": 128}


def recipe(name: str) -> TrainConfig:
    return load_config(TrainConfig, RECIPES / f"{name}.yaml")


def test_there_is_a_recipe_for_every_published_configuration_and_no_other() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_shape_is_the_published_one(name: str) -> None:
    shape = resolve_config(recipe(name).model, VOCABULARY, 0)
    layers = {shape.num_encoder_layers, shape.num_decoder_layers}
    found = (shape.model_dim, shape.ffn_inner_dim, *layers, shape.num_experts)
    assert found == SHAPES[name]
    assert {shape.num_encoder_attn_heads, shape.num_decoder_attn_heads} == {16}


@pytest.mark.parametrize("name", SHAPES)
def test_update_is_of_a_million_tokens_a_side_on_as_many_gpus_as_nllb_had(name: str) -> None:
    config = recipe(name)
    per_side = config.batches.max_tokens // 2
    tokens = GPUS[name] * config.compute.accumulated_batches * per_side
    assert tokens == 1_048_576  # 256 · 4,096
    assert config.batches.max_length + 3 == 512


@pytest.mark.parametrize("name", SHAPES)
def test_gpus_can_share_the_model_as_the_recipe_says(name: str) -> None:
    config = recipe(name)
    experts = resolve_config(config.model, VOCABULARY, 0).num_experts
    shards = config.parallel.shards(GPUS[name], experts)
    assert shards == (128 if name == "moe_54b" else GPUS[name])


def test_final_model_has_the_published_settings() -> None:
    config = recipe("moe_54b")
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.warmup_updates) == (0.002, 8000)
    assert (tuple(optimizer.betas), optimizer.epsilon) == ((0.9, 0.98), 1e-6)
    assert (config.updates, config.label_smoothing, config.balance_loss_weight) == (
        300_000,
        0.1,
        0.01,
    )
    shape = resolve_config(config.model, VOCABULARY, 0)
    assert (shape.expert_output_masking_p, shape.dropout_p, shape.moe_every_n_layers) == (
        0.2,
        0.3,
        4,
    )
    starts = [phase.from_update for phase in config.curriculum.phases]
    assert starts == [0, 170_000, 230_000, 270_000]
    sets = [set(phase.directions) for phase in config.curriculum.phases]
    assert all(earlier < later for earlier, later in itertools.pairwise(sets))


@pytest.mark.parametrize("name", SHAPES)
def test_every_setting_says_where_it_is_from(name: str) -> None:
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n")
    section, above = "", ""
    for line in lines:
        if line and not line.startswith((" ", "#")):
            section = line
        setting = line.split("#")[0].strip()
        if ":" in setting and not setting.endswith(":") and "bitext" not in section:
            placed = "#" in line or above.strip().startswith("#")
            placed = placed or section.startswith(("flores", "curriculum"))
            assert placed, line
        above = line
