"""Expert parallelism: each process of a gang holds some experts; tokens are sent to them.

With a capacity, as in training, every process sends every other equally many rows, filled up to
what an expert takes at most of a process: E · capacity in all, which with a capacity factor of 2 is
what two choices of each token are. So hosts know all sizes beforehand and never wait for their
devices; they agree on the largest batch among them once for the encoder and once for the decoder.
Without a capacity, as in validation, a host waits in each layer to learn how much to send.

Shape suffixes: A assignments, sorted by expert; D model_dim; E experts; R processes of the gang;
L experts of a process, E = R·L; B assignments that arrive at a process; S slots, E · capacity.
"""

# ruff: noqa: N803, N806 (shape suffixes)

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup, broadcast
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.func import functional_call
from torch.nn.parameter import Parameter

from nmt.fairseq import Embedding, TransformerDecoderLayer, TransformerEncoderLayer
from nmt.model.config import MoEConfig
from nmt.model.moe.experts import Experts, collect, inverse_permutation, sort_assignments
from nmt.model.moe.gating_dropout import GatingDropout
from nmt.model.moe.layer import MoEFeedForwardNetwork, count_tokens
from nmt.model.translator import MoEFactory, Translator, moe_layers
from nmt.training.fairseq import (
    FSDPWrapper,
    Gangs,
    apply_fsdp_to_transformer,
    get_current_gangs,
)
from nmt.training.parallel.exchange import (
    exchange,
    exchange_counts,
    host_group,
    most,
    sum_over_copies,
)
from nmt.training.parallel.own_rows import has_own_rows, keep_own_rows, own_rows
from nmt.training.parallel.slots import Slots, empty_slots, fill_slots

M = TypeVar("M", bound=nn.Module)


class SharedOutExperts(nn.Module):
    """The experts of one layer, `E / R` on each process of `gangs.sdp`.

    It is called as the whole experts are, and gives what they would give: process r holds the
    experts from r·L on. Parameters keep their names; each is the process's rows of the whole, so
    that a checkpoint's shards joined along the first dimension are the whole experts.

    A gradient is the sum over all tokens of all processes, divided by their number as FSDP and DDP
    divide theirs; where there are several copies of the experts (`gangs.rdp`) it is summed over
    them.

    Attributes:
        capacity: The most that an expert takes of any process of the gang in this batch; None if
            there is no limit.
    """

    def __init__(self, whole: Experts, gangs: Gangs) -> None:
        """Take this process's share of the experts, which every process initialized identically."""
        super().__init__()
        self._gangs = gangs
        self.capacity: int | None = None
        self.num_experts = len(next(whole.parameters()))
        share = self.num_experts // gangs.sdp.size
        self.first_expert = begin = gangs.sdp.rank * share
        for name, weight in whole.named_parameters():
            own = weight.detach()[begin : begin + share].clone()
            self.register_parameter(name, Parameter(own, weight.requires_grad))
        # In a tuple, so that it is not a submodule: it lends its code and has no weights.
        self._code = (whole.to("meta"),)

    def distribute(self) -> None:
        """Make the parameters rows of distributed tensors, as FSDP makes those of other layers.

        So clipping and the optimizer, which come later, treat all parameters alike.
        """
        mesh = _device_mesh(self._gangs)
        placements = [Shard(0)] if mesh.ndim == 1 else [Replicate(), Shard(0)]
        for name, weight in list(self.named_parameters()):
            device = self._gangs.device
            local = weight.detach()
            # On the meta device where a checkpoint is about to be loaded.
            local = torch.empty_like(local, device=device) if local.is_meta else local.to(device)
            shared = DTensor.from_local(local, mesh, placements, run_check=False)
            self.register_parameter(name, Parameter(shared, weight.requires_grad))

    def forward(self, tokens_AD: Tensor, load_E: Tensor, *, is_local: bool = False) -> Tensor:
        """Apply expert e to its `load_E[e]` tokens; rows beyond all loads come out as zeros."""
        if is_local:  # the first rows are those of this process's experts, as all others have none
            own = slice(self.first_expert, self.first_expert + len(next(self.parameters())))
            return self._apply_local(tokens_AD, load_E[own])
        if torch.is_autocast_enabled(tokens_AD.device.type):  # half of what else would travel
            tokens_AD = tokens_AD.to(torch.get_autocast_dtype(tokens_AD.device.type))
        if self.capacity is None:
            return self._exchange_exactly(tokens_AD, load_E)
        return self._exchange_evenly(tokens_AD, load_E, self.capacity)

    def _exchange_evenly(self, tokens_AD: Tensor, load_E: Tensor, capacity: int) -> Tensor:
        group = self._gangs.sdp.as_process_group()
        slots = Slots.of(load_E, capacity, len(tokens_AD))
        arrived_SD = exchange(fill_slots(tokens_AD, slots), group)
        arriving_RL = exchange_counts(load_E.view(self._gangs.sdp.size, -1), group)
        order_S, place_S, load_L = sort_assignments(
            _experts_of_slots(arriving_RL, capacity), arriving_RL.shape[1]
        )
        outputs_SD = self._apply_local(collect(arrived_SD, place_S, order_S), load_L)
        return empty_slots(exchange(collect(outputs_SD, order_S, place_S), group), slots)

    def _exchange_exactly(self, tokens_AD: Tensor, load_E: Tensor) -> Tensor:
        group = self._gangs.sdp.as_process_group()
        load_RL = load_E.view(self._gangs.sdp.size, -1)
        arriving_RL = exchange_counts(load_RL, group)
        # Here the host waits for the device: it must know how much to send.
        sent, received = torch.stack([load_RL.sum(1), arriving_RL.sum(1)]).tolist()
        arrived_BD = exchange(tokens_AD[: sum(sent)], group, sent, received)
        order_B = _by_expert(arriving_RL, sum(received))
        place_B = inverse_permutation(order_B)
        sorted_BD = collect(arrived_BD, place_B, order_B)
        outputs_BD = self._apply_local(sorted_BD, arriving_RL.sum(0))
        outputs_AD = exchange(collect(outputs_BD, order_B, place_B), group, received, sent)
        rest = outputs_AD.new_zeros(len(tokens_AD) - sum(sent), tokens_AD.shape[1])
        return torch.cat([outputs_AD, rest])

    def _apply_local(self, tokens_BD: Tensor, load_L: Tensor) -> Tensor:
        rdp = self._gangs.rdp
        copies = rdp.as_process_group() if rdp.size > 1 else None
        weights = {}
        for name, weight in self.named_parameters():
            local = weight.to_local() if isinstance(weight, DTensor) else weight
            local = sum_over_copies(local, copies, 1 / self._gangs.dp.size)
            weights[name] = local.to(tokens_BD.dtype)
        code = self._code[0].train(self.training)
        outputs_BD: Tensor = functional_call(code, weights, (tokens_BD, load_L))
        return outputs_BD


def _experts_of_slots(arriving_RL: Tensor, capacity: int) -> Tensor:
    """Return the local expert of each slot that arrived, [R·L·capacity]; L for an empty one."""
    num_local = arriving_RL.shape[1]
    place_C = torch.arange(capacity, device=arriving_RL.device)
    expert_L1 = torch.arange(num_local, device=arriving_RL.device).unsqueeze(1)
    is_taken_RLC = place_C < arriving_RL.unsqueeze(2)
    return expert_L1.where(is_taken_RLC, num_local).flatten()


def _by_expert(arriving_RL: Tensor, num_rows: int) -> Tensor:
    """Return the order that sorts rows, which came by sender and expert, by expert, [B]."""
    num_senders, num_local = arriving_RL.shape
    expert_RL = torch.arange(num_local, device=arriving_RL.device).repeat(num_senders)
    expert_B = expert_RL.repeat_interleave(arriving_RL.flatten(), output_size=num_rows)
    return expert_B.argsort(stable=True)


def _device_mesh(gangs: Gangs) -> DeviceMesh:
    """Return the mesh that fairseq2 shards the other layers over (`to_fsdp2`)."""
    shards, kind = gangs.sdp.as_process_group(), gangs.device.type
    if gangs.rdp.size == 1:
        return DeviceMesh.from_group(shards, kind, None, mesh_dim_names=("intra",))
    ranks = torch.arange(gangs.dp.size).view(gangs.rdp.size, gangs.sdp.size)
    groups = [gangs.rdp.as_process_group(), shards]
    return DeviceMesh.from_group(groups, kind, ranks, mesh_dim_names=("inter", "intra"))


@dataclass(frozen=True, kw_only=True)
class AgreedGatingDropout(GatingDropout):
    """Gating dropout of processes that share experts: all leave the exchange out, or none.

    When it is left out, no token has another process's expert, and nothing is exchanged.
    """

    group: ProcessGroup
    """Of hosts, which draw."""

    def draw(self) -> bool:
        """Return what the first process of the group draws."""
        if self.p == 0:
            return False
        drawn = torch.rand((), device="cpu")
        broadcast(drawn, group=self.group, group_src=0)
        return float(drawn) < self.p


class _ShardedFactory(MoEFactory):
    """Builds models of which this process holds its rows, so that one layer at most is whole.

    Each process draws all weights and frees most of them, so that they equal those of a single
    process.
    """

    def __init__(self, config: MoEConfig, gangs: Gangs, hosts: ProcessGroup | None) -> None:
        """Take the gangs; `hosts`, where experts stay whole, are the group that agrees on sizes."""
        super().__init__(config)
        self._gangs = gangs
        self._hosts = hosts

    def create_model(self) -> Translator:
        """Build the model; with whole experts, hosts agree on the size of batches before stacks."""
        model = super().create_model()
        if self._hosts is not None:
            for stack in (model.encoder, model.decoder):
                stack.register_forward_pre_hook(CapacityHook(self._hosts))
        if not any(parameter.is_meta for parameter in model.parameters()):
            model.to("cpu")  # what is no layer, and buffers: FSDP wants all in one place
        return model

    def create_embedding(self) -> Embedding:
        """Build the embedding."""
        return self._kept(super().create_embedding())

    def create_encoder_layer(self) -> TransformerEncoderLayer:
        """Build a layer."""
        return self._kept(super().create_encoder_layer())

    def create_decoder_layer(self) -> TransformerDecoderLayer:
        """Build a layer."""
        return self._kept(super().create_decoder_layer())

    def _kept(self, module: M) -> M:
        keep_own_rows(module, self._gangs.sdp.size, self._gangs.sdp.rank)
        return module

    def _replace_feed_forward(self, layer: nn.Module) -> None:
        super()._replace_feed_forward(layer)
        moe = layer.ffn
        assert isinstance(moe, MoEFeedForwardNetwork)
        if self._hosts is None:
            self._kept(moe)
            return
        gangs, experts = self._gangs, moe.experts
        assert isinstance(experts, Experts)
        moe.register_module("experts", None)
        self._kept(moe)
        moe.experts = SharedOutExperts(experts, gangs)
        if moe.gating_dropout is not None:
            moe.gating_dropout = AgreedGatingDropout(
                p=moe.gating_dropout.p,
                num_ranks=gangs.sdp.size,
                rank=gangs.sdp.rank,
                group=self._hosts,
            )


class CapacityHook:
    """Tells the experts of a stack what each takes at most of any process, before it runs."""

    def __init__(self, hosts: ProcessGroup) -> None:
        self._hosts = hosts

    def __call__(self, stack: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Agree with the others on the most tokens; `arguments` are sequences and their layout."""
        layers = [
            layer for _, layer in moe_layers(stack) if isinstance(layer.experts, SharedOutExperts)
        ]
        has_capacity = stack.training and any(layer.capacity_factor is not None for layer in layers)
        tokens = 0
        if has_capacity:
            seqs, layout = arguments[:2]
            tokens = most(count_tokens(layout, seqs.shape[:-1].numel()), self._hosts)
        for layer in layers:
            assert isinstance(layer.experts, SharedOutExperts)
            layer.experts.capacity = layer.capacity(tokens) if has_capacity else None


class Sharding:
    """Builds a model that processes share out, and shares it out (FSDP2)."""

    def __init__(self, *, expert_parallel: bool) -> None:
        self._expert_parallel = expert_parallel
        self._mesh: DeviceMesh | None = None

    def create(self, config: MoEConfig) -> Translator:
        """Build a model of the current gangs, with fresh weights, or on the meta device."""
        gangs = get_current_gangs()
        self._mesh = _device_mesh(gangs)
        hosts = None
        if self._expert_parallel:
            hosts = host_group(gangs.sdp.as_process_group(), gangs.device)
        return _ShardedFactory(config, gangs, hosts).create_model()

    def apply_fsdp(self, model: nn.Module, granularity: str, wrapper: FSDPWrapper) -> nn.Module:
        """Shard all of a model but whole experts, each of which is on one process already.

        A model on the meta device, which gets a checkpoint's weights, is left to fairseq2. Another
        has its rows, which fairseq2 would replace by those of rank 0, wanting the whole there.
        """
        with _hidden_experts(model):
            if any(parameter.is_meta for parameter in model.parameters()):
                return apply_fsdp_to_transformer(model, granularity, wrapper)  # type: ignore[arg-type]
            apply_fsdp_to_transformer(model, granularity, self._shard)  # type: ignore[arg-type]
            return self._shard(model, reshard_after_forward=False)

    def _shard(self, module: nn.Module, reshard_after_forward: bool | None = None) -> nn.Module:
        """Shard a module's parameters and fill in this process's rows."""
        held = [
            (part, name, own_rows(parameter)[0])
            for part in module.modules()
            for name, parameter in part.named_parameters(recurse=False)
            if has_own_rows(parameter)
        ]
        fully_shard(
            module, mesh=self._mesh, reshard_after_forward=reshard_after_forward is not False
        )
        with torch.no_grad():
            for part, name, rows in held:
                shard = part.get_parameter(name)
                assert isinstance(shard, DTensor)
                shard.to_local().copy_(rows)
        return module


@contextmanager
def _hidden_experts(model: nn.Module) -> Iterator[None]:
    """Hide experts from FSDP, which takes every parameter that it sees in a layer."""
    hidden = [
        (layer, layer.experts)
        for _, layer in moe_layers(model)
        if isinstance(layer.experts, SharedOutExperts)
    ]
    for layer, _ in hidden:
        layer.experts = None  # type: ignore[assignment]
    yield
    for layer, experts in hidden:
        experts.distribute()
        layer.experts = experts
