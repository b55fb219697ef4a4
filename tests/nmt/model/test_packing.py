import dataclasses
import random

import pytest
import torch
from torch import Tensor

from nmt.fairseq import BatchLayout, layout_of
from nmt.model.config import MoEConfig, named_config
from nmt.model.packing import pack
from nmt.model.translator import Translator, create_model

PAD = 0


@pytest.fixture
def config() -> MoEConfig:
    return dataclasses.replace(
        named_config("tiny"), vocab_size=50, pad_idx=PAD, expert_output_masking_p=0.0
    )


def rows(lengths: list[int]) -> tuple[Tensor, BatchLayout]:
    tokens = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = torch.randint(4, 50, (length,))
    return tokens, BatchLayout.of(tokens, lengths)


def gradients(
    model: Translator,
    batch: list[tuple[Tensor, BatchLayout]],
    monkeypatch: pytest.MonkeyPatch | None,
) -> tuple[Tensor, list[Tensor]]:
    (source, source_layout), (target, target_layout) = batch
    if monkeypatch is not None:  # what is packed already is left as it is
        monkeypatch.setattr("nmt.model.translator.pack", lambda tokens, layout, _: (tokens, layout))
        monkeypatch.setattr("nmt.model.translator.pack_values", lambda values, *_: values)
    model.zero_grad()
    loss = model(
        source,
        source_layout,
        target,
        target_layout,
        targets=target.roll(-1, 1),
        label_smoothing=0.1,
    )
    assert isinstance(loss, Tensor)
    loss.backward()
    return loss, [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("num_experts", [0, 4])
@pytest.mark.parametrize("longest", [7, 60])
def test_packed_batch_has_the_loss_and_gradients_of_the_padded_one(
    config: MoEConfig, monkeypatch: pytest.MonkeyPatch, num_experts: int, longest: int
) -> None:
    torch.manual_seed(0)
    lengths = random.Random(0)
    model = create_model(dataclasses.replace(config, num_experts=num_experts)).train()
    source, target = [[lengths.randint(1, longest) for _ in range(9)] for _ in range(2)]
    batch = [rows(source), rows(target)]
    batch[1][0][:, 0] = PAD  # what comes first is no target, and comes last in the targets
    loss, packed = gradients(model, batch, None)
    plain_loss, plain = gradients(model, batch, monkeypatch)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=1e-4)
    assert len(packed) == len(plain)
    for one, other in zip(packed, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_packed_batch_is_as_long_as_its_tokens_and_a_little() -> None:
    for lengths in ([1], [64], [3, 90, 5], [40] * 60):
        tokens, layout = rows(lengths)
        packed, packed_layout = pack(tokens, layout, PAD)
        total = sum(lengths)
        assert packed[:total].tolist() == [
            token for row, n in zip(tokens.tolist(), lengths, strict=True) for token in row[:n]
        ]
        assert (packed[total:] == PAD).all()
        assert len(packed) - total < max(64, total / 16)
        assert list(packed_layout.seq_lens) == lengths


def test_attention_drops_weights_of_packed_batches_in_training_only(config: MoEConfig) -> None:
    torch.manual_seed(0)
    model = create_model(dataclasses.replace(config, attention_dropout_p=0.5))
    (source, source_layout), (target, target_layout) = rows([5, 9, 2]), rows([4, 1, 8])

    def loss() -> float:
        return float(model(source, source_layout, target, target_layout, targets=target).detach())  # type: ignore[arg-type]

    assert loss() != loss()
    model.eval()
    assert loss() == loss()


@pytest.mark.parametrize("lengths", [[3], [2, 2], [5, 1, 4]])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("more", [0, 3])
def test_layout_is_fairseq2s(lengths: list[int], packed: bool, more: int) -> None:
    batch = torch.zeros(sum(lengths) + more) if packed else torch.zeros(len(lengths), 5 + more)
    ours = layout_of(batch, lengths, packed=packed)
    theirs = BatchLayout.of(batch, lengths, packed=packed)
    assert repr(ours) == repr(theirs)
    for name in ("position_indices", "seq_begin_indices_pt", "seq_lens_pt"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
