"""Config of importing and exporting checkpoints."""

from dataclasses import dataclass
from typing import Literal

from corpus.config import Config, PositiveInt


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Config):
    """How a checkpoint in transformers' layout is imported."""

    dtype: Literal["kept", "float32", "float16", "bfloat16"] = "kept"
    """Data type of the weights that are written; it does not decide the type of computation."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """How a model is exported."""

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the weights in transformers' layout."""

    shard_bytes: PositiveInt = 5_000_000_000
    """Maximum bytes of a weights file, unless a single tensor is larger (transformers' 5 GB)."""

    nllb_codes: bool = False
    """Use the language codes of NLLB-200's own tokenizer: `sat_Beng` for `sat_Olck`."""

    quantization: Literal["float32", "int8", "int8_float32", "float16", "int16", "bfloat16"] = (
        "int8"
    )
    """Type of the weights for CTranslate2."""
