"""What layers, model and translation need of fairseq2, in one place, without its recipe.

fairseq2 0.8.1 loads torch's compiler at its import and at each `BatchLayout`, for hints to compiled
code. That is most of the time in which a translation starts, so only compilation loads it:
`prepare_compilation` then passes on the hints that were held back.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nmt.products import linear
from nmt.stand_in import unused_packages_replaced


class _TorchWithoutCompiler:
    """torch, with a stand-in for its compiler that drops hints."""

    _dynamo = SimpleNamespace(maybe_mark_dynamic=lambda tensor, dimension: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def _compiler_held_back() -> Iterator[None]:
    """Record which functions must not be compiled, without loading the compiler."""
    disable = torch.compiler.disable
    vars(torch.compiler)["disable"] = lambda function: function
    try:
        yield
    finally:
        vars(torch.compiler)["disable"] = disable


with unused_packages_replaced(), _compiler_held_back():
    import fairseq2
    from fairseq2.device import DeviceContext, _StandardDeviceContext
    from fairseq2.gang import GangContext, _GangManager, _StandardGangContext
    from fairseq2.models.nllb.factory import NllbFactory
    from fairseq2.models.transformer import (
        SDPA,
        AttentionBias,
        AttentionBiasCache,
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
        attention_bias,
        create_default_sdpa,
    )
    from fairseq2.nn import (
        BatchLayout,
        Embedding,
        IncrementalStateBag,
        LayerNorm,
        Projection,
        batch_layout,
        projection,
    )
    from fairseq2.runtime import dependency
    from fairseq2.utils.threading import ThreadLocalStorage, _StandardThreadLocalStorage

vars(batch_layout)["torch"] = _TorchWithoutCompiler()
vars(projection)["linear"] = linear  # of the products in all layers


def _register_what_modules_need() -> None:
    """Have fairseq2's modules find the processes they are divided among: this one alone.

    fairseq2 calls this as the first model is built, and would register, and import, all it has,
    file systems of object stores among it. A training registers everything in a container of its
    own.
    """
    container = dependency.DependencyContainer()
    container.register_type(ThreadLocalStorage, _StandardThreadLocalStorage)  # type: ignore[type-abstract]
    container.register_type(DeviceContext, _StandardDeviceContext, singleton=True)  # type: ignore[type-abstract]
    container.register_type(_GangManager, singleton=True)
    container.register_type(GangContext, _StandardGangContext, singleton=True)  # type: ignore[type-abstract]
    vars(dependency)["_resolver"] = container


def layout_of(batch: Tensor, lengths: Sequence[int], *, packed: bool = False) -> BatchLayout:
    """Return `BatchLayout.of`, on a CPU without its loop over sequences.

    The loop takes 30 µs a sequence, which is a twentieth of an update of a small model.
    """
    if batch.device.type != "cpu" or not lengths or vars(batch_layout)["torch"] is torch:
        return BatchLayout.of(batch, list(lengths), packed=packed)
    all_lengths = torch.tensor(lengths, dtype=torch.int32)
    width = batch.shape[0] if packed else batch.shape[1]
    if packed:
        begins = [0, *all_lengths.cumsum(0).tolist()]
        starts = torch.tensor(begins[:-1])
        positions = torch.full((width,), -1)
        positions[: begins[-1]] = torch.arange(begins[-1])
        positions[: begins[-1]] -= starts.repeat_interleave(all_lengths)
    else:
        begins = list(range(0, len(lengths) * width + 1, width))
        steps = torch.arange(width).expand(len(lengths), -1)
        positions = steps.where(steps < all_lengths.unsqueeze(1), -1)
    layout = object.__new__(BatchLayout)
    layout._width = width
    layout._seq_begin_indices = begins
    layout._seq_begin_indices_pt = torch.tensor(begins, dtype=torch.int32)
    layout._seq_lens = list(lengths)
    layout._seq_lens_pt = all_lengths
    layout._position_indices = positions
    layout._min_seq_len, layout._max_seq_len = min(lengths), max(lengths)
    layout._packed = packed
    layout._padded = begins[-1] < width if packed else layout._min_seq_len < width
    return layout


vars(fairseq2)["init_fairseq2"] = _register_what_modules_need


@functools.cache
def prepare_compilation() -> None:
    """Load torch's compiler, and give it the hints of fairseq2."""
    vars(batch_layout)["torch"] = torch
    names = vars(attention_bias)
    name = "_get_attention_bias_tensor"
    names[name] = torch.compiler.disable(names[name])  # type: ignore[no-untyped-call]


__all__ = [
    "SDPA",
    "AttentionBias",
    "AttentionBiasCache",
    "BatchLayout",
    "CausalAttentionBias",
    "Embedding",
    "FeedForwardNetwork",
    "IdentityBias",
    "IncrementalStateBag",
    "LayerNorm",
    "MultiheadAttention",
    "NllbFactory",
    "Projection",
    "StandardMultiheadAttention",
    "StandardTransformerDecoderLayer",
    "StandardTransformerEncoderLayer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "TransformerModel",
    "create_default_sdpa",
    "layout_of",
    "prepare_compilation",
]
