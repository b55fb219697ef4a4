"""LASER2 and LASER3 checkpoints to encoder directories, without fairseq and without pickled code.

Layouts: laser_encoders/models.py of facebookresearch/LASER, and fairseq's TransformerEncoder. A
checkpoint may hold tensors, plain values and `argparse.Namespace`; nothing else is unpickled.
"""

import argparse
import functools
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import Tensor

from corpus.errors import DataError, UserError
from corpus.files import read_lines
from corpus.jobs import Outcome, Summary, Task, run_job
from mining.encoders.config import LstmConfig, SequenceConfig, TransformerConfig
from mining.encoders.embed_config import ImportLaserConfig
from mining.encoders.lstm import LstmModel
from mining.encoders.sequence import SequenceModel, save_sequence
from mining.encoders.tokens import FIRST_PIECE
from mining.encoders.transformer import TransformerModel

_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_MASK = "<mask>"
_LAYER = re.compile(r"layers\.(\d+)\.")
_LEFTOVERS = ("version", "embed_positions._float_tensor", "embed_positions.weights")
_ACTIVATIONS = ("relu", "gelu")


def run_import_laser(
    checkpoint: Path,
    subwords: Path,
    vocabulary: Path | None,
    output: Path,
    config: ImportLaserConfig,
) -> Summary:
    """Write the encoder directory of a LASER checkpoint.

    Args:
        checkpoint: `laser2.pt` or `laser3-<language>.pt`.
        subwords: Its SentencePiece model, `.spm`.
        vocabulary: Its `.cvocab`; LASER2's checkpoint holds it already.
        output: The directory.
        config: How much of a sentence is read.

    Raises:
        UserError: If a file is missing.
        JobError: If the checkpoint is damaged, of another layout, or does not fit the vocabulary.
    """
    inputs = (checkpoint, subwords, *([vocabulary] if vocabulary is not None else []))
    for path in inputs:
        if not path.is_file():
            raise UserError(f"{path} does not exist; `tongues data fetch` fetches LASER's files")
    task = Task(name="laser", inputs=inputs)
    work = functools.partial(_import_task, output=output, config=config)
    return run_job(name="import-laser", tasks=[task], work=work, output=output, config=config)


def _import_task(task: Task, *, output: Path, config: ImportLaserConfig) -> Outcome:
    checkpoint, subwords = task.inputs[:2]
    state = load_checkpoint(checkpoint)
    pieces = read_cvocab(task.inputs[2]) if len(task.inputs) > 2 else None
    if "params" in state:
        architecture = "lstm"
        settings: SequenceConfig = lstm_settings(state["params"], config)
        weights = dict(state["model"])
        pieces = dictionary_pieces(state["dictionary"], checkpoint)
    else:
        architecture = "transformer"
        if pieces is None:
            raise DataError(f"{checkpoint} is a LASER3 checkpoint; it needs its `--vocabulary`")
        weights = encoder_weights(state["model"])
        if "layer_norm.weight" in weights and _MASK not in pieces:
            pieces = [*pieces, _MASK]
        settings = transformer_settings(state["cfg"]["model"], weights, config, checkpoint)
    rows = len(weights["embed_tokens.weight"])
    if rows != len(pieces) + FIRST_PIECE:
        raise DataError(
            f"{checkpoint} has {rows:,} token vectors, and the vocabulary {len(pieces):,} pieces"
            f" besides {FIRST_PIECE} special tokens: it is another checkpoint's"
        )
    model: SequenceModel = (
        LstmModel(rows, settings)
        if isinstance(settings, LstmConfig)
        else TransformerModel(rows, settings)
    )
    try:
        model.load_state_dict({name: one.float() for name, one in weights.items()})
    except RuntimeError as error:
        raise DataError(f"{checkpoint} has another layout than LASER's: {error}") from error
    serialized = subwords.read_bytes()
    _check_subwords(subwords)
    outputs = save_sequence(
        output,
        architecture,
        settings,
        model=model,
        subwords=serialized,
        vocabulary=pieces,
        facts={"imported": checkpoint.name},
    )
    counts = {"parameters": sum(one.numel() for one in model.parameters()), "pieces": len(pieces)}
    return Outcome(counts=counts, outputs=outputs)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without running any code of it.

    Raises:
        DataError: If it is damaged, of another layout, or wants more than tensors, plain values
            and `argparse.Namespace`.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise DataError(
            f"{path} is not read: it is damaged, or a pickle that would run code ({reason})"
        ) from error
    except (
        RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
        struct.error,
    ) as error:  # fmt: skip
        raise DataError(f"{path} is not a readable checkpoint: {error}") from error
    wanted = ({"params", "model", "dictionary"}, {"cfg", "model"})
    if not isinstance(state, dict) or not any(keys <= set(state) for keys in wanted):
        found = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise DataError(
            f"{path} is not a LASER checkpoint: LASER2's has params, model and dictionary, LASER3's"
            f" cfg and model; this one has {found}"
        )
    return state


def read_cvocab(path: Path) -> list[str]:
    r"""Read a fairseq dictionary: a piece and a count on each line, `\n` between lines.

    Raises:
        DataError: If a piece stands there twice, which would shift all ids after it.
    """
    pieces = [line.split(" ")[0] for line in read_lines(path)]
    first: dict[str, int] = {}
    for number, piece in enumerate(pieces, 1):
        if not piece:
            raise DataError(f"{path}:{number}: the line is empty where a piece should stand")
        if piece in first:
            raise DataError(f"{path}:{number}: the piece {piece!r} is in line {first[piece]} too")
        first[piece] = number
    return pieces


def dictionary_pieces(dictionary: Mapping[str, int], checkpoint: Path) -> list[str]:
    """Return the pieces of LASER2's dictionary in the order of their ids, from 4 on.

    Raises:
        DataError: If ids are missing or used twice.
    """
    by_id = {row: piece for piece, row in dictionary.items() if piece not in _SPECIALS}
    wanted = range(FIRST_PIECE, FIRST_PIECE + len(by_id))
    expected = sum(piece not in _SPECIALS for piece in dictionary)
    if sorted(by_id) != list(wanted) or len(by_id) != expected:
        raise DataError(f"{checkpoint}: the ids of its dictionary do not run from 4 without a gap")
    return [by_id[row] for row in wanted]


def lstm_settings(params: Mapping[str, Any], config: ImportLaserConfig) -> LstmConfig:
    """Return the configuration of a LASER2 checkpoint."""
    return LstmConfig(
        vocabulary_size=params["num_embeddings"] - FIRST_PIECE,
        embedding_dim=params.get("embed_dim", 320),
        hidden=params.get("hidden_size", 512),
        layers=params.get("num_layers", 1),
        bidirectional=params.get("bidirectional", False),
        dropout=0.0,
        max_tokens=config.max_tokens,
        preprocessing="laser",
    )


def encoder_weights(model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's part of a state dict, without `encoder.` and without buffers."""
    prefix = "encoder." if any(name.startswith("encoder.") for name in model) else ""
    kept = {
        name.removeprefix(prefix): one for name, one in model.items() if name.startswith(prefix)
    }
    return {
        name: one
        for name, one in kept.items()
        if name not in _LEFTOVERS and not name.startswith(("decoder.", "output_projection."))
    }


def transformer_settings(
    cfg: argparse.Namespace,
    weights: Mapping[str, Tensor],
    config: ImportLaserConfig,
    checkpoint: Path,
) -> TransformerConfig:
    """Return the configuration of a LASER3 checkpoint; sizes come from its weights.

    Raises:
        DataError: If it has something that this encoder does not: learned positions, another
            activation, or another pooling.
    """
    values = vars(cfg)
    activation = values.get("activation_fn", "relu")
    pooling = {"cls": "cls", "maxpool": "max", "max": "max"}.get(
        values.get("sentemb_criterion", "maxpool")
    )
    problems = {
        "learned positions": values.get("encoder_learned_pos", False),
        "no positions": values.get("no_token_positional_embeddings", False),
        f"the activation {activation}": activation not in _ACTIVATIONS,
        f"the pooling {values.get('sentemb_criterion')}": pooling is None,
        "first-state pooling without <s>": pooling == "cls" and not values.get("prepend_bos"),
    }
    found = [what for what, is_there in problems.items() if is_there]
    if found:
        raise DataError(f"{checkpoint} has {', '.join(found)}, which is not supported")
    rows, dimension = weights["embed_tokens.weight"].shape
    layers = {int(match[1]) for name in weights if (match := _LAYER.match(name))}
    return TransformerConfig(
        vocabulary_size=rows - FIRST_PIECE,
        dimension=dimension,
        layers=len(layers),
        heads=values["encoder_attention_heads"],
        ffn_inner_dim=len(weights["layers.0.fc1.weight"]),
        norm_first=values.get("encoder_normalize_before", False),
        final_norm="layer_norm.weight" in weights,
        embedding_norm="layernorm_embedding.weight" in weights,
        scale_embedding=not values.get("no_scale_embedding", False),
        activation=activation,
        pooling=pooling,  # type: ignore[arg-type]
        prepend_bos=bool(values.get("prepend_bos", False)),
        dropout=0.0,
        max_tokens=config.max_tokens,
        preprocessing="laser",
    )


def _check_subwords(path: Path) -> None:
    try:
        sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise DataError(f"{path} is not a SentencePiece model: {error}") from error
