"""Where a model runs."""

import torch

from corpus.errors import UserError


def find_device(name: str) -> torch.device:
    """Return the device of a config: `cpu`, `cuda`, or `auto`, a GPU where there is one.

    Raises:
        UserError: If a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("`device` is cuda, and torch finds no GPU here")
    if name == "auto":
        name = "cuda" if there else "cpu"
    return torch.device(name)
