"""A trained model as a self-describing directory.

`model.safetensors`, `model.json` (shape, directions, digest of the weights), `vocabulary/`, and
beside them the run's `config.yaml` and receipts.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from corpus.errors import DataError
from corpus.files import atomic_path, digest_file, read_json, write_json
from corpus.languages import Direction
from nmt.model.config import FAMILY, MoEConfig
from nmt.model.files import DESCRIPTION_FILE as DESCRIPTION_FILE
from nmt.model.files import VOCABULARY_DIRECTORY as VOCABULARY_DIRECTORY
from nmt.model.files import WEIGHTS_FILE as WEIGHTS_FILE
from nmt.model.files import check_model
from nmt.model.lora import adapter_directions, apply_adapter
from nmt.model.moe.gate import MAX_CHOICES
from nmt.model.pruned import Kept, LostChoices, read_weights, resize
from nmt.model.tensor_files import read_header, read_into
from nmt.model.translator import Translator, create_model, moe_layers
from nmt.vocabulary import vocabulary as vocabulary_files
from nmt.vocabulary.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainedModel:
    """A model with what is needed to use it."""

    translator: Translator
    vocabulary: Vocabulary
    directions: tuple[Direction, ...]
    """The directions it was trained on, sorted."""

    lost: LostChoices | None = None
    """What counts tokens that lose an expert, where some were left out."""


def save_model(
    directory: Path,
    model: Translator,
    config: MoEConfig,
    vocabulary: Path,
    directions: Sequence[Direction],
) -> tuple[Path, ...]:
    """Write a model; return the files. `model.json` comes last and vouches for the others."""

    def write(path: Path) -> None:
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(_distinct_weights(model), str(temporary))

    return save_model_with(directory, write, config, vocabulary, directions)


def save_model_with(
    directory: Path,
    write_weights: Callable[[Path], None],
    config: MoEConfig,
    vocabulary: Path,
    directions: Sequence[Direction],
) -> tuple[Path, ...]:
    """Write a model whose weights' file another writes, atomically; return the files."""
    outputs = []
    for name in (vocabulary_files.MODEL_FILE, vocabulary_files.LAYOUT_FILE):
        outputs.append(directory / VOCABULARY_DIRECTORY / name)
        with atomic_path(outputs[-1]) as temporary:
            shutil.copyfile(vocabulary / name, temporary)
    weights = directory / WEIGHTS_FILE
    write_weights(weights)
    return (*outputs, weights, describe_model(directory, config, directions))


def describe_model(directory: Path, config: MoEConfig, directions: Sequence[Direction]) -> Path:
    """Write `model.json` for existing weights; return its path."""
    description = {
        "family": FAMILY,
        "config": config.to_json(),
        "directions": [str(direction) for direction in directions],
        "weights_blake2b": digest_file(directory / WEIGHTS_FILE),
    }
    write_json(directory / DESCRIPTION_FILE, description)
    return directory / DESCRIPTION_FILE


def _distinct_weights(model: Translator) -> dict[str, torch.Tensor]:
    """Return the weights, shared ones once, under the first of their names.

    `safetensors.torch.save_model` does so too, but lists the other names in a header whose order
    changes from process to process, so that equal weights gave unequal files.
    """
    kept: dict[int, str] = {}
    weights = {}
    for name, tensor in model.state_dict().items():
        if kept.setdefault(tensor.data_ptr(), name) == name:
            weights[name] = tensor.contiguous()
    return weights


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` holds."""

    config: MoEConfig
    directions: tuple[Direction, ...]
    weights_digest: str


def read_description(directory: Path) -> ModelDescription:
    """Read the description of a model directory.

    Raises:
        UserError: If the directory is not a model.
        DataError: If the description is damaged.
    """
    check_model(directory)
    description = read_json(directory / DESCRIPTION_FILE)
    try:
        return ModelDescription(
            MoEConfig(**description["config"]),
            # Not checked: an imported model may have languages that FLORES-200 lacks.
            tuple(Direction(*text.split("-")) for text in description["directions"]),
            description["weights_blake2b"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{directory / DESCRIPTION_FILE} does not describe a model: {error}"
        ) from error


def load_model(
    directory: Path, kept: Kept | None = None, *, adapter: Path | None = None
) -> TrainedModel:
    """Load a model for use.

    Args:
        directory: The model.
        kept: Experts to keep by layer, the others being neither read nor missed; None for all.
        adapter: What a training with LoRA wrote, to be merged in.

    Raises:
        UserError: If the directory is not a model.
        DataError: If it is damaged.
    """
    description = read_description(directory)
    config = description.config
    vocabulary = Vocabulary.load(directory / VOCABULARY_DIRECTORY)
    weights = directory / WEIGHTS_FILE
    if digest_file(weights) != description.weights_digest:
        raise DataError(f"{weights} is damaged: its digest is not the one in {DESCRIPTION_FILE}")
    if config.vocab_size != vocabulary.size:
        raise DataError(
            f"{directory}: the model has {config.vocab_size} tokens, its vocabulary"
            f" {vocabulary.size}"
        )
    lost = None
    try:
        if kept is None:
            translator = create_model(config)
            _load_all(translator, weights)
        else:
            translator = create_model(dataclasses.replace(config, num_experts=MAX_CHOICES))
            resize(moe_layers(translator), kept, config.num_experts)
            lost = _load_kept(translator, weights, kept)
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(f"{weights} does not fit {DESCRIPTION_FILE}: {error}") from error
    if adapter is not None:
        apply_adapter(translator, adapter, description.weights_digest)
    translator.eval()
    return TrainedModel(translator, vocabulary, trained_directions(directory, adapter), lost)


def trained_directions(directory: Path, adapter: Path | None = None) -> tuple[Direction, ...]:
    """Return what a model, and an adapter of it, were trained on, sorted."""
    directions = set(read_description(directory).directions)
    return tuple(sorted(directions.union(adapter_directions(adapter) if adapter else ())))


def _load_all(translator: Translator, weights: Path) -> None:
    """Read all weights into a model; `safetensors` would hold the file beside it meanwhile."""
    state = translator.state_dict()
    found = read_header(weights)
    unknown = [name for name in found if name not in state]
    loaded = {state[name].data_ptr() for name in found if name in state}
    missing = [name for name in state if state[name].data_ptr() not in loaded]
    if missing or unknown:
        raise RuntimeError(f"missing: {missing[:3]}, unknown: {unknown[:3]}")
    for name, stored in found.items():
        read_into(stored, state[name])


def _load_kept(translator: Translator, weights: Path, kept: Kept) -> LostChoices:
    read = read_weights(weights, kept)
    # The output shares its weight with the embedding, which is in the file once.
    missing = translator.load_state_dict(read.state, strict=False)
    shared = {name for name in missing.missing_keys if name in _shared_names(translator)}
    if set(missing.missing_keys) - shared or missing.unexpected_keys:
        raise RuntimeError(f"missing or unexpected: {missing}")
    return LostChoices(moe_layers(translator), read.gates, kept)


def _shared_names(model: Translator) -> set[str]:
    """Return the names of weights that are in a file under another name."""
    return set(model.state_dict()) - set(_distinct_weights(model))
