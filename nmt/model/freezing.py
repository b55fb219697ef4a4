"""Parts of a model by name, to be left as they are in training."""

from collections.abc import Callable, Collection

from torch import nn

from corpus.errors import UserError

_EMBEDDINGS = ("encoder_frontend.", "decoder_frontend.", "final_proj.")

_PARTS: dict[str, Callable[[str], bool]] = {
    "encoder": lambda name: name.startswith("encoder."),
    "decoder": lambda name: name.startswith("decoder."),
    "embeddings": lambda name: name.startswith(_EMBEDDINGS),
    "attention": lambda name: "_attn." in name,
    "feed_forward": lambda name: ".ffn." in name and "experts." not in name,
    "experts": lambda name: ".ffn.experts." in name,
    "gates": lambda name: ".ffn.gate." in name,
    "norms": lambda name: "norm" in name,
}


def is_in(name: str, parts: Collection[str]) -> bool:
    """Return whether a parameter belongs to one of some parts."""
    return any(_PARTS[part](name) for part in parts)


def freeze(model: nn.Module, parts: Collection[str]) -> None:
    """Let the optimizer leave the parameters of some parts as they are.

    Raises:
        UserError: If nothing is left to train.
    """
    for name, parameter in model.named_parameters():
        if is_in(name, parts):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"`freeze` is {', '.join(parts)}, which leaves nothing to train")
