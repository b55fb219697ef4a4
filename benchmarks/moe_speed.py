"""Time of a Mixture-of-Experts layer, forward and backward, over that of a dense layer.

    python benchmarks/moe_speed.py                       # CPU, fp32, 4,096 tokens
    python benchmarks/moe_speed.py --device cuda         # bfloat16, 8,192 tokens

The dense layer does the same arithmetic per token: two experts' worth, one layer of 2 · f. All
assignments are computed (no capacity), nothing is masked unless a row says so. Peers: the einsum
dispatch of GShard (Lepikhin et al. 2021, algorithm 1, as fairseq writes it, with products of
matrices) restated here with capacity 2 · ceil(T/E), which drops what is beyond, and transformers'
`NllbMoeSparseMLP`. CPU time on one thread, everything in turns, medians of the turns' ratios. The
process keeps freed memory, as `tongues nmt train` does and programs commonly do not: run it with
`--give-back` too, which is how the peers run by themselves. Gradients begin at None in each turn.

The rows with 0.2 have what each library's config masks by default. They do not do the same: this
layer masks whole outputs of an expert with that probability, as fairseq's, and computes only the
others; transformers drops single numbers of the outputs and scales the others, so it computes all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import NllbMoeConfig
from transformers.models.nllb_moe.modeling_nllb_moe import NllbMoeSparseMLP

from nmt.model.moe.experts import Experts
from nmt.model.moe.layer import MoEFeedForwardNetwork
from nmt.threads import keep_freed_memory

MODEL_DIM, FFN_INNER_DIM = 512, 2048
EXPERTS = (8, 32, 128)
SEQUENCE_LENGTH = 64
SLOW_TURNS = 2
DEFAULT_MASKING = 0.2
"""`expert_output_masking_p` here, `moe_token_dropout` in transformers."""

MAX_TRANSFORMERS_EXPERTS = 32
"""transformers' layer holds E copies of all tokens: at 128 experts a turn takes minutes."""

Step = Callable[[Tensor], Tensor]


def main() -> None:
    """Time all layers for each number of experts and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tokens", type=int, default=None)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--experts", type=int, nargs="*", default=EXPERTS)
    parser.add_argument("--give-back", action="store_true", help="Do not keep freed memory.")
    parser.add_argument("--no-peers", action="store_true", help="Leave the other layers out.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    on_gpu = arguments.device == "cuda"
    kept = not arguments.give_back and keep_freed_memory(0)
    tokens = arguments.tokens or (8192 if on_gpu else 4096)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    name = torch.cuda.get_device_name() if on_gpu else "CPU, one thread"
    print(f"<!-- {name}, torch {torch.__version__}, {dtype}, {tokens:,} tokens, freed memory")
    print(
        f"kept: {kept} -->\n\n| experts | layer | time | times the dense layer |\n|---|---|---|---|"
    )
    for num_experts in arguments.experts:
        torch.manual_seed(0)
        layers = make_layers(num_experts, on_gpu=on_gpu, peers=not arguments.no_peers)
        times = measure(layers, tokens, torch.device(arguments.device), dtype, arguments.turns)
        dense = times["dense"]
        for layer, own in times.items():
            ratio = statistics.median(a / b for a, b in zip(own, dense, strict=False))
            milliseconds = statistics.median(own) * 1000
            print(f"| {num_experts} | {layer} | {milliseconds:,.1f} ms | {ratio:.2f} |", flush=True)


class GShardLayer(nn.Module):
    """Dispatch and combination by products with T x E x C masks."""

    def __init__(self, gate: nn.Linear, experts: nn.Module) -> None:
        super().__init__()
        self.gate, self.experts = gate, experts

    def forward(self, sequences: Tensor) -> Tensor:
        """Route, dispatch, apply, combine."""
        tokens = sequences.flatten(0, 1)
        num_experts = len(self.gate.weight)
        capacity = 2 * -(-len(tokens) // num_experts)
        gates = functional.linear(tokens.float(), self.gate.weight.float()).softmax(1)
        first = functional.one_hot(gates.argmax(1), num_experts)
        second = functional.one_hot(
            gates.masked_fill(first.bool(), float("-inf")).argmax(1), num_experts
        )
        place_first = (first.cumsum(0) - 1) * first
        place_second = (second.cumsum(0) - 1 + first.sum(0, keepdim=True)) * second
        combine = torch.zeros(len(tokens), num_experts, capacity, device=tokens.device)
        chosen = []
        for mask, place in ((first, place_first), (second, place_second)):
            kept = mask * (place < capacity)
            chosen.append((kept, (gates * kept).sum(1), (place * kept).sum(1)))
        total = sum(weight for _, weight, _ in chosen).clamp_min(1e-9)  # type: ignore[union-attr]
        for kept, weight, place in chosen:
            places = functional.one_hot(place, capacity).to(gates.dtype)
            weights = (weight / total).unsqueeze(1) * kept
            combine = combine + torch.bmm(weights.unsqueeze(2), places.unsqueeze(1))
        dispatch = combine.bool().to(tokens.dtype).permute(1, 2, 0)
        dispatched = dispatch.reshape(num_experts * capacity, -1) @ tokens
        load = torch.full((num_experts,), capacity, device=tokens.device)
        outputs = self.experts(dispatched, load)
        combined = combine.to(tokens.dtype).view(len(tokens), -1) @ outputs
        return combined.view(sequences.shape)


class TransformersLayer(nn.Module):
    """transformers' layer without capacity and dropout, and without masking unless asked for."""

    def __init__(self, num_experts: int, masking: float = 0.0) -> None:
        super().__init__()
        config = NllbMoeConfig(
            d_model=MODEL_DIM,
            num_experts=num_experts,
            dropout=0.0,
            activation_dropout=0.0,
            moe_token_dropout=masking,
            router_dtype="float32",
            expert_capacity=1 << 20,
        )
        self.layer = NllbMoeSparseMLP(config, FFN_INNER_DIM)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the output alone."""
        output: Tensor = self.layer(sequences, None)[0]
        return output


class GroupedLayer(MoEFeedForwardNetwork):
    """This layer with grouped products on a CPU too, where experts come in turn."""

    def forward(self, seqs: Tensor) -> Tensor:
        """Do what is done on a GPU."""
        experts = self.experts
        assert isinstance(experts, Experts)
        with patch.object(experts, "forward", experts._mask_rest):
            return super().forward(seqs)


def make_layers(num_experts: int, *, on_gpu: bool, peers: bool) -> dict[str, nn.Module]:
    """Build the layers, those that do the same with the same weights."""

    def own(
        masking: float = 0.0, kind: type[MoEFeedForwardNetwork] = MoEFeedForwardNetwork
    ) -> MoEFeedForwardNetwork:
        return kind(
            MODEL_DIM,
            FFN_INNER_DIM,
            num_experts,
            dropout_p=0.0,
            capacity_factor=None,
            expert_output_masking_p=masking,
        )

    layers: dict[str, nn.Module] = {
        "dense": nn.Sequential(
            nn.Linear(MODEL_DIM, 2 * FFN_INNER_DIM),
            nn.ReLU(inplace=True),
            nn.Linear(2 * FFN_INNER_DIM, MODEL_DIM),
        ),
        "this": own(),
        "this, expert output masking 0.2": own(masking=DEFAULT_MASKING),
    }
    if not on_gpu:
        layers["this, grouped products"] = own(kind=GroupedLayer)
    plain = layers["this"]
    assert isinstance(plain, MoEFeedForwardNetwork)
    for name, layer in layers.items():
        if name.startswith("this, "):
            layer.load_state_dict(plain.state_dict())
    if peers:
        layers["GShard's einsum dispatch"] = GShardLayer(plain.gate, plain.experts)
        if num_experts <= MAX_TRANSFORMERS_EXPERTS:
            layers["transformers' NllbMoeSparseMLP"] = TransformersLayer(num_experts)
            layers["transformers' NllbMoeSparseMLP, token dropout 0.2"] = TransformersLayer(
                num_experts, DEFAULT_MASKING
            )
    return layers


def measure(
    layers: dict[str, nn.Module], tokens: int, device: torch.device, dtype: torch.dtype, turns: int
) -> dict[str, list[float]]:
    """Return seconds of forward and backward by layer and turn; the first turn does not count."""
    shape = (tokens // SEQUENCE_LENGTH, SEQUENCE_LENGTH, MODEL_DIM)
    sequences = torch.randn(shape, device=device, dtype=dtype).requires_grad_()
    upstream = torch.randn(shape, device=device, dtype=dtype)
    for layer in layers.values():
        layer.to(device, dtype).train()
    times: dict[str, list[float]] = {name: [] for name in layers}
    for turn in range(turns + 1):
        for name, layer in layers.items():
            is_peer = not (name == "dense" or name.startswith("this"))
            if is_peer and turn > SLOW_TURNS:
                continue
            for parameter in (*layer.parameters(), sequences):
                parameter.grad = None
            seconds = time_step(layer, sequences, upstream)
            if turn > 0:
                times[name].append(seconds)
    return times


def time_step(layer: nn.Module, sequences: Tensor, upstream: Tensor) -> float:
    """Run forward and backward once; CPU time, or time on the GPU."""
    if sequences.device.type == "cuda":
        torch.cuda.synchronize()
        started = time.perf_counter()
        layer(sequences).backward(upstream)
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    layer(sequences).backward(upstream)
    return time.process_time() - started


if __name__ == "__main__":
    main()
