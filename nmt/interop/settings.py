"""Converts model shapes from and to transformers' `config.json`.

A setting that would change the logits and has no counterpart here is refused; one that affects
training only is dropped with a warning.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UserError
from corpus.files import read_json
from nmt.model.config import MoEConfig

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
DENSE, MIXTURE = "m2m_100", "nllb-moe"
ARCHITECTURES = {
    DENSE: "M2M100ForConditionalGeneration",
    MIXTURE: "NllbMoeForConditionalGeneration",
}

_BOTH_SIDES = {"encoder_ffn_dim": "decoder_ffn_dim", "encoder_sparse_step": "decoder_sparse_step"}
"""Ours have one value for both sides."""

_SAME = {
    "d_model": "model_dim",
    "vocab_size": "vocab_size",
    "encoder_layers": "num_encoder_layers",
    "decoder_layers": "num_decoder_layers",
    "encoder_attention_heads": "num_encoder_attn_heads",
    "decoder_attention_heads": "num_decoder_attn_heads",
    "encoder_ffn_dim": "ffn_inner_dim",
    "max_position_embeddings": "max_seq_len",
}
_SAME_OF_MIXTURES = {"num_experts": "num_experts", "encoder_sparse_step": "moe_every_n_layers"}
_PRIORITIZED = "batch_prioritized_routing"
_NEEDED: Mapping[str, Any] = {
    "activation_function": "relu",
    "scale_embedding": True,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "tie_word_embeddings": True,
}
_NEEDED_OF_MIXTURES: Mapping[str, Any] = {
    "router_bias": False,
    "router_dtype": "float32",
    "second_expert_policy": "all",
    "moe_eval_capacity_token_fraction": 1.0,
}
"""With a fraction of 1 no token is dropped at evaluation, so that neither the order of normalizing
and dropping nor the routing of padding shows there; ours never drop at evaluation."""
_ONLY_IN_TRAINING: Mapping[str, Any] = {
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "normalize_router_prob_before_dropping": False,
}
_DEFAULT_DROPOUT = 0.1
_DEFAULT_MASKING = 0.2


def read_settings(directory: Path) -> MoEConfig:
    """Return the shape of a checkpoint in transformers' layout.

    Raises:
        UserError: If there is none, if it is of another family, or if it asks for something that
            ours do otherwise.
        DataError: If a value is missing.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"{directory} is not a checkpoint in transformers' layout: no {CONFIG_FILE}"
        )
    values = read_json(path)
    family = values.get("model_type") if isinstance(values, dict) else None
    if family not in ARCHITECTURES:
        raise UserError(
            f"{path} is of the model type `{family}`; `{DENSE}` (NLLB-200 dense) and `{MIXTURE}`"
            " (NLLB-200 with experts) can be imported"
        )
    is_mixture = family == MIXTURE
    _check_needed(path, values, {**_NEEDED, **(_NEEDED_OF_MIXTURES if is_mixture else {})})
    names = {**_SAME, **(_SAME_OF_MIXTURES if is_mixture else {})}
    missing = [name for name in names if not _is_size(values.get(name))]
    if missing:
        raise DataError(f"{path}: `{missing[0]}` is {values.get(missing[0])!r}; it must be a size")
    for one, other in _BOTH_SIDES.items():
        if one in names and values.get(other) != values[one]:
            raise UserError(
                f"{path}: `{one}` is {values[one]} and `{other}` is {values.get(other)}; ours have"
                " one value for both sides"
            )
    for name, plain in _ONLY_IN_TRAINING.items():
        if values.get(name, plain) != plain:
            logger.info("`%s: %s` is left out; it matters in training only", name, values[name])
    shape: dict[str, Any] = {ours: values[name] for name, ours in names.items()}
    if is_mixture:
        shape["expert_output_masking_p"] = values.get("moe_token_dropout", _DEFAULT_MASKING)
        shape["batch_prioritized_routing"] = bool(values.get(_PRIORITIZED, False))
    return MoEConfig(
        **{"num_experts": 0, **shape},
        pad_idx=_NEEDED["pad_token_id"],
        dropout_p=values.get("dropout", _DEFAULT_DROPOUT),
        attention_dropout_p=values.get("attention_dropout", _DEFAULT_DROPOUT),
    )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_needed(path: Path, values: Mapping[str, Any], needed: Mapping[str, Any]) -> None:
    for name, wanted in needed.items():
        if values.get(name, wanted) != wanted:
            raise UserError(
                f"{path}: `{name}` is {values[name]!r}; ours translate as with {wanted!r} and would"
                " give other results"
            )


def write_settings(config: MoEConfig, dtype: str) -> dict[str, Any]:
    """Return the `config.json` of a shape; `dtype` is torch's name of the weights' type."""
    is_mixture = config.num_experts > 0
    family = MIXTURE if is_mixture else DENSE
    values: dict[str, Any] = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "is_encoder_decoder": True,
        "torch_dtype": dtype,
        **_NEEDED,
        **{name: getattr(config, ours) for name, ours in _SAME.items()},
        "decoder_ffn_dim": config.ffn_inner_dim,
        "dropout": config.dropout_p,
        "attention_dropout": config.attention_dropout_p,
        **{name: plain for name, plain in _ONLY_IN_TRAINING.items() if "router" not in name},
    }
    if is_mixture:
        values |= {
            **_NEEDED_OF_MIXTURES,
            **{name: getattr(config, ours) for name, ours in _SAME_OF_MIXTURES.items()},
            "decoder_sparse_step": config.moe_every_n_layers,
            "normalize_router_prob_before_dropping": False,
            _PRIORITIZED: config.batch_prioritized_routing,
            "moe_token_dropout": _masking(config),
        }
    return values


def _masking(config: MoEConfig) -> float:
    """Return the masking with whose complement outputs are scaled at evaluation, as ours are."""
    final = config.final_output_masking_p
    if final == 0:
        return config.expert_output_masking_p
    return 1 - (1 - config.expert_output_masking_p) * (1 - final)


def warn_of_training_settings(config: MoEConfig) -> None:
    """Name what a model was trained with and transformers' models have no place for."""
    if config.num_experts == 0:
        return
    logger.warning(
        "transformers 5 (up to 5.24 at least) uses only the first two experts of any such model;"
        " translate with transformers 4.57"
    )
    dropped = {"capacity_factor": config.capacity_factor}
    if config.gating_dropout_p > 0:
        dropped["gating_dropout_p"] = config.gating_dropout_p
        dropped["gating_dropout_ranks"] = config.gating_dropout_ranks or config.num_experts
    logger.warning(
        "left out, as transformers' models have no such setting: %s. Translations are the same;"
        " training on there is not (its `expert_capacity` is a number of tokens, 64 by default)",
        ", ".join(f"`{name}: {value}`" for name, value in dropped.items()),
    )
    if config.final_output_masking_p > 0:
        logger.warning(
            "`final_output_masking_p: %s` becomes part of `moe_token_dropout: %s`, which scales"
            " translations as both do here; training on there masks otherwise",
            config.final_output_masking_p,
            _masking(config),
        )
