"""What a model's shape must be, beyond the types of its values."""

import dataclasses
from typing import TYPE_CHECKING

from corpus.errors import UserError

if TYPE_CHECKING:
    from nmt.model.translator import MoEConfig


def check_shape(config: "MoEConfig") -> None:
    """Check a resolved shape.

    Raises:
        UserError: If a value is out of its range or does not go with another.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name.endswith("_p") and not 0 <= value < 1:
            raise UserError(f"`model.{field.name}` is {value}; it must be from 0 to below 1")
    ranks = config.gating_dropout_ranks
    if ranks < 0 or (ranks > 0 and config.num_experts % ranks != 0):
        raise UserError(
            f"`model.gating_dropout_ranks` is {ranks}; it must divide `num_experts`,"
            f" {config.num_experts}, or be 0"
        )
    for side in ("encoder", "decoder"):
        heads = getattr(config, f"num_{side}_attn_heads")
        if heads < 1 or config.model_dim % heads != 0:
            raise UserError(
                f"`model.num_{side}_attn_heads` is {heads}; it must divide `model_dim`,"
                f" {config.model_dim}"
            )
