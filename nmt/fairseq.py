"""What layers, model and translation need of fairseq2, in one place.

`fairseq2.recipe.base` comes first: importing `fairseq2.trainer` before it is circular in 0.8.1.
"""

import fairseq2.recipe.base  # noqa: F401
from fairseq2.composition import register_model_family
from fairseq2.data.tokenizers import VocabularyInfo
from fairseq2.gang import Gangs, get_current_gangs
from fairseq2.generation.beam_search import BeamSearchSeq2SeqGenerator
from fairseq2.models.family import ModelFactory, ModelFSDPApplier
from fairseq2.models.nllb import NllbConfig
from fairseq2.models.nllb.factory import NllbFactory
from fairseq2.models.transformer import (
    CausalAttentionBias,
    FeedForwardNetwork,
    IdentityBias,
    MultiheadAttention,
    StandardMultiheadAttention,
    StandardTransformerDecoderLayer,
    StandardTransformerEncoderLayer,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
    TransformerModel,
    apply_ac_to_transformer,
    create_default_sdpa,
)
from fairseq2.models.transformer.fsdp import apply_fsdp_to_transformer
from fairseq2.nn import BatchLayout, Embedding, IncrementalStateBag, LayerNorm, Projection
from fairseq2.nn.data_parallel import (
    DataParallelFacade,
    get_data_parallel_facade,
    set_data_parallel_facade,
)
from fairseq2.nn.fsdp import FSDPWrapper
from fairseq2.runtime.config_registry import ConfigRegistrar
from fairseq2.runtime.dependency import DependencyContainer

__all__ = [
    "BatchLayout",
    "BeamSearchSeq2SeqGenerator",
    "CausalAttentionBias",
    "ConfigRegistrar",
    "DataParallelFacade",
    "DependencyContainer",
    "Embedding",
    "FSDPWrapper",
    "FeedForwardNetwork",
    "Gangs",
    "IdentityBias",
    "IncrementalStateBag",
    "LayerNorm",
    "ModelFSDPApplier",
    "ModelFactory",
    "MultiheadAttention",
    "NllbConfig",
    "NllbFactory",
    "Projection",
    "StandardMultiheadAttention",
    "StandardTransformerDecoderLayer",
    "StandardTransformerEncoderLayer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "TransformerModel",
    "VocabularyInfo",
    "apply_ac_to_transformer",
    "apply_fsdp_to_transformer",
    "create_default_sdpa",
    "get_current_gangs",
    "get_data_parallel_facade",
    "register_model_family",
    "set_data_parallel_facade",
]
