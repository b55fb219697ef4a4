"""The model that a training starts from: its shape with a recipe's changes, and its weights."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corpus.errors import DataError, UserError
from corpus.files import digest_file
from corpus.jobs import describe_input
from corpus.pickled_tensors import Stored
from nmt.model.config import MoEConfig, check_shape, named_config, named_fields
from nmt.model.directory import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    ModelDescription,
    read_description,
)
from nmt.model.lora import is_lora
from nmt.model.tensor_files import read_header, read_into
from nmt.model.translator import Translator, create_model, moe_layers
from nmt.training.config import TrainConfig
from nmt.training.parallel.own_rows import own_rows
from nmt.vocabulary import vocabulary as vocabulary_files

_FREE = {
    "max_seq_len",
    "dropout_p",
    "attention_dropout_p",
    "capacity_factor",
    "batch_prioritized_routing",
    "gating_dropout_p",
    "gating_dropout_ranks",
    "cmr_gate_dropout_p",
}
"""Fields of the shape that change nothing of what given weights compute at evaluation."""

_UPCYCLED = {
    "num_experts",
    "moe_every_n_layers",
    "expert_output_masking_p",
    "final_output_masking_p",
}
"""Those that a recipe decides where a dense model gets experts."""

_DENSE_NAMES = {
    "inner_weight": "inner_proj.weight",
    "inner_bias": "inner_proj.bias",
    "output_weight": "output_proj.weight",
    "output_bias": "output_proj.bias",
}
"""A dense network's names of what experts hold."""


@dataclass(frozen=True)
class Start:
    """A model to start from."""

    weights: Path
    description: ModelDescription

    shape: MoEConfig
    """Its shape with the recipe's changes."""

    upcycling_noise: float
    seed: int
    """Of the noise."""

    def create(self) -> Translator:
        """Return the model, whole, with its weights."""
        model = create_model(self.shape)
        self.load_into(model)
        return model

    def load_into(self, model: Translator) -> None:
        """Fill a new model, or a process's share of one; one on the meta device is left alone.

        The gates of upcycled layers keep their fresh weights.

        Raises:
            DataError: If the weights are not those that the description vouches for.
        """
        state = _rows_of_this_process(model)
        if any(tensor.is_meta for tensor, _ in state.values()):
            return  # the weights of a checkpoint come
        found = read_header(self.weights)
        done = []
        for name, _ in moe_layers(model):
            if f"{name}.ffn.gate.weight" not in found:
                done += _upcycle(f"{name}.ffn", state, found, self.upcycling_noise, self.seed)
        unknown = [name for name in found if name not in state]
        for name in found.keys() - set(unknown):
            rows, first = state[name]
            read_into(found[name], rows, first_row=first)
        done += [name for name in state if is_lora(name)]
        filled = {state[name][0].data_ptr() for name in (*done, *(found.keys() - set(unknown)))}
        missing = [name for name, (rows, _) in state.items() if rows.data_ptr() not in filled]
        if missing or unknown:
            raise DataError(
                f"{self.weights} does not fit {DESCRIPTION_FILE}: missing {missing[:3]}, unknown"
                f" {unknown[:3]}"
            )


def _rows_of_this_process(model: Translator) -> dict[str, tuple[Tensor, int]]:
    """Return the rows of each parameter that this process holds, and the number of the first."""
    rows = {
        name: own_rows(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    for name, layer in moe_layers(model):
        first = layer.experts.first_expert
        assert isinstance(first, int)
        for own in _DENSE_NAMES if first else ():
            rows[f"{name}.ffn.experts.{own}"] = (layer.experts.get_parameter(own).detach(), first)
    return rows


@torch.no_grad()
def _upcycle(
    name: str,
    state: Mapping[str, tuple[Tensor, int]],
    found: dict[str, Stored],
    noise: float,
    seed: int,
) -> list[str]:
    """Make each expert a copy of the dense network plus noise; return the names that are done.

    An expert's noise depends on its number in the whole layer only, not on the process it is on.
    """
    for part, (own, dense) in enumerate(_DENSE_NAMES.items()):
        experts, begin = state[f"{name}.experts.{own}"]
        stored = found.pop(f"{name}.{dense}")
        if not len(experts):
            continue
        read_into(stored, experts[0])
        spread = noise * float(experts[0].std(correction=0))
        copy = experts[0].clone()
        for i in range(len(experts)):
            seeds = [seed, part, begin + i, *name.encode()]
            generator = torch.Generator().manual_seed(_joined(seeds))
            experts[i].copy_(copy)
            if spread:
                experts[i].add_(torch.randn(copy.shape, generator=generator), alpha=spread)
    return [f"{name}.gate.weight", *(f"{name}.experts.{own}" for own in _DENSE_NAMES)]


def _joined(numbers: list[int]) -> int:
    """Return one seed for several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return seed


def read_start(config: TrainConfig) -> Start | None:
    """Return the model that a config starts from; None for fresh weights.

    Raises:
        UserError: If it is not a model, or the recipe contradicts its shape or its vocabulary.
        DataError: If it is damaged.
    """
    if config.start_from is None:
        return None
    description = read_description(config.start_from)
    weights = config.start_from / WEIGHTS_FILE
    if describe_input(weights)["blake2b"] != description.weights_digest:
        raise DataError(f"{weights} is damaged: its digest is not the one in {DESCRIPTION_FILE}")
    _check_vocabulary(config)
    return Start(
        weights,
        description,
        _start_shape(config, description.config),
        config.upcycling_noise or 0.0,
        config.seed,
    )


def start_files(config: TrainConfig) -> tuple[Path, ...]:
    """Return what a training depends on through the model that it starts from."""
    if config.start_from is None:
        return ()
    return tuple(config.start_from / name for name in (WEIGHTS_FILE, DESCRIPTION_FILE))


def _check_vocabulary(config: TrainConfig) -> None:
    if config.vocabulary is None:
        return
    for name in (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE):
        ours, given = config.vocabulary_directory / name, config.vocabulary / name
        if not given.is_file() or digest_file(ours) != digest_file(given):
            raise UserError(
                f"`vocabulary` is {config.vocabulary}, and the model of `start_from` has another:"
                f" {given} is not {ours}. Leave `vocabulary` out."
            )


def _start_shape(config: TrainConfig, own: MoEConfig) -> MoEConfig:
    """Return a model's shape with the recipe's changes.

    Raises:
        UserError: If a change makes its weights unusable.
    """
    recipe = config.model
    named: Mapping[str, Any] = named_fields(recipe)
    changes = {name: value for name, value in named.items() if value != getattr(own, name)}
    free = set(_FREE)
    if config.upcycling_noise is not None:
        if own.num_experts or not named.get("num_experts"):
            raise UserError(
                "`upcycling_noise` makes experts of a dense model:"
                + (
                    f" {config.start_from} has {own.num_experts} experts already"
                    if own.num_experts
                    else " say how many in `model.num_experts`"
                )
            )
        free |= _UPCYCLED
        # Evaluation scales outputs by 1 - p, for which the dense model was not trained.
        changes.setdefault("expert_output_masking_p", named.get("expert_output_masking_p", 0.0))
    for name, value in changes.items():
        if name not in free:
            raise UserError(_contradiction(config, name, value, getattr(own, name)))
    if recipe.size is not None:
        size = dataclasses.asdict(named_config(recipe.size))
        for name in sorted(size.keys() - free - named.keys() - {"vocab_size", "pad_idx"}):
            if size[name] != getattr(own, name):
                raise UserError(
                    f"`model.size` is {recipe.size}, whose `{name}` is {size[name]}; the model of"
                    f" `start_from`, {config.start_from}, has {getattr(own, name)}. Leave it out."
                )
    shape = dataclasses.replace(own, **changes)
    check_shape(shape)
    return shape


def _contradiction(config: TrainConfig, name: str, value: object, own: object) -> str:
    message = (
        f"`model.{name}` is {value}; the model of `start_from`, {config.start_from}, has {own},"
        " which training cannot change."
    )
    if name == "num_experts" and not own:
        message += " To make experts of its dense networks, give `upcycling_noise`."
    return message
