"""Names and shapes of all weights against transformers' models of the published sizes."""

from typing import Any

import pytest
import torch

from nmt.interop.names import COPIES, weight_pairs
from nmt.interop.settings import read_settings, write_settings
from nmt.model.config import MoEConfig

SHAPE_3B = {
    "model_dim": 2048, "ffn_inner_dim": 8192, "num_encoder_layers": 24, "num_decoder_layers": 24,
    "num_encoder_attn_heads": 16, "num_decoder_attn_heads": 16, "vocab_size": 256_206, "pad_idx": 1,
}  # fmt: skip
"""NLLB-200 3.3B as the paper has it (arXiv 2207.04672); its published config was not at hand."""

SHAPE_54B = {**SHAPE_3B, "num_experts": 128, "moe_every_n_layers": 4}
"""NLLB-200 54.5B, likewise."""


def transformers_model(config: MoEConfig) -> Any:
    import transformers

    values = write_settings(config, "float32")
    family = transformers.AutoConfig.for_model(**{**values, "model_type": values["model_type"]})
    with torch.device("meta"):
        return getattr(transformers, values["architectures"][0])(family)


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        (SHAPE_3B, 3_344_863_232),
        pytest.param(SHAPE_54B, 54_500_569_088, marks=pytest.mark.slow),
    ],
    ids=["3b", "moe_54b"],
)
def test_all_weights_of_the_published_sizes_have_their_names_and_shapes(
    shape: dict[str, Any], published: int
) -> None:
    config = MoEConfig(**shape)
    theirs = transformers_model(config)
    expected = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    pairs = weight_pairs(config)
    ours = {key: pair.their_shape for pair in pairs for key in pair.theirs}
    copies = dict.fromkeys(COPIES, ours["model.shared.weight"])
    assert {**ours, **copies} == expected
    assert sum(torch.Size(pair.shape).numel() for pair in pairs) == published
    assert sum(parameter.numel() for parameter in theirs.parameters()) == published


def test_settings_come_back_as_they_were(tmp_path: Any) -> None:
    from corpus.files import write_json

    config = MoEConfig(**SHAPE_54B, expert_output_masking_p=0.3, dropout_p=0.25)
    write_json(tmp_path / "config.json", write_settings(config, "float32"))
    assert read_settings(tmp_path) == config
