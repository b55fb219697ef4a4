"""Names of weights here and in transformers: M2M100 for dense models, NLLB-MoE with experts.

Here the experts of a layer are stacked in one tensor; transformers keeps one tensor per expert. The
embedding is one matrix for source, target and output in both, with a row for each token (see
`tokens`).
"""

import re
from typing import NamedTuple

import torch

from corpus.errors import UserError
from nmt.model.config import MoEConfig
from nmt.model.translator import create_model

SHARED = "model.shared.weight"
COPIES = (
    "lm_head.weight",
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
)
"""Other names of the shared embedding; files have one of the four at least."""

COMPUTED = ("model.encoder.embed_positions.weights", "model.decoder.embed_positions.weights")
"""Sinusoids, which old files hold though both sides compute them."""

OUTPUT_BIAS = "final_logits_bias"
"""A bias on the logits in some old files; models here have none, so it must be zero."""

OUR_EMBEDDINGS = (
    "encoder_frontend.embed.weight",
    "decoder_frontend.embed.weight",
    "final_proj.weight",
)
_LAYER = re.compile(r"(?:encoder|decoder)\.layers\.\d+\.")
_EXPERTS = re.compile(r"(.+\.ffn\.experts)\.(inner|output)_(weight|bias)")
_SAME = (("self_attn.output_proj.", "self_attn.out_proj."),)
_DENSE = (
    ("encoder_decoder_attn.output_proj.", "encoder_attn.out_proj."),
    ("encoder_decoder_attn", "encoder_attn"),
    ("ffn_layer_norm.", "final_layer_norm."),
    ("ffn.inner_proj.", "fc1."),
    ("ffn.output_proj.", "fc2."),
)
_MIXTURE = (
    ("encoder_decoder_attn.output_proj.", "cross_attention.out_proj."),
    ("encoder_decoder_attn", "cross_attention"),
    ("ffn_layer_norm.", "ff_layer_norm."),
    ("ffn.inner_proj.", "ffn.fc1."),
    ("ffn.output_proj.", "ffn.fc2."),
    ("ffn.gate.", "ffn.router.classifier."),
)
_KNOWN = re.compile(
    r"(self_attn|encoder_decoder_attn)\.([qkv]|output)_proj\.(weight|bias)"
    r"|(self_attn|encoder_decoder_attn|ffn)_layer_norm\.(weight|bias)"
    r"|ffn\.(inner|output)_proj\.(weight|bias)|ffn\.gate\.weight"
)


class Pair(NamedTuple):
    """One of our tensors and those of transformers that hold the same numbers."""

    ours: str
    shape: tuple[int, ...]
    theirs: tuple[str, ...]
    """One, or one for each expert."""

    @property
    def is_stacked(self) -> bool:
        """Whether ours is made of one tensor for each expert."""
        return self.theirs[0] != SHARED and _EXPERTS.fullmatch(self.ours) is not None

    @property
    def their_shape(self) -> tuple[int, ...]:
        """Shape of each of theirs."""
        return self.shape[1:] if self.is_stacked else self.shape


def weight_pairs(config: MoEConfig) -> list[Pair]:
    """Return all weights of a model, each once.

    Raises:
        UserError: If the model has weights that transformers' models have no place for.
    """
    with torch.device("meta"):
        shapes = {
            key: tuple(value.shape) for key, value in create_model(config).state_dict().items()
        }
    pairs = [Pair(OUR_EMBEDDINGS[0], shapes[OUR_EMBEDDINGS[0]], (SHARED,))]
    for key, shape in shapes.items():
        if key not in OUR_EMBEDDINGS:
            pairs.append(
                Pair(key, shape, _their_keys(key, shape, is_mixture=config.num_experts > 0))
            )
    return pairs


def _their_keys(key: str, shape: tuple[int, ...], *, is_mixture: bool) -> tuple[str, ...]:
    experts = _EXPERTS.fullmatch(key)
    if experts is not None:
        layer, side, kind = experts.groups()
        name = "fc1" if side == "inner" else "fc2"
        return tuple(f"model.{layer}.expert_{e}.{name}.{kind}" for e in range(shape[0]))
    layer_match = _LAYER.match(key)
    inside = key[layer_match.end() :] if layer_match else ""
    if layer_match and not _KNOWN.fullmatch(inside):
        raise UserError(
            f"the model has the weights `{key}`, which transformers' NLLB models do not have;"
            " it cannot be exported"
        )
    for old, new in (*_SAME, *(_MIXTURE if is_mixture else _DENSE)):
        inside = inside.replace(old, new)
    return (f"model.{layer_match.group()}{inside}" if layer_match else f"model.{key}",)
