import dataclasses
import math
from typing import Any

import pytest
import torch

from corpus.errors import UserError
from nmt.fairseq import BatchLayout, IncrementalStateBag
from nmt.model.config import ModelConfig, named_config, resolve_config
from nmt.model.loss import label_smoothed_cross_entropy
from nmt.model.translator import create_model, moe_layers
from nmt.sizing.describe import describe_size
from nmt.training.config import OptimizerConfig

V = 40


def tiny_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(dataclasses.replace(named_config("tiny"), vocab_size=V)).eval()


def tokens(rows: int, width: int) -> torch.Tensor:
    return torch.randint(4, V, (rows, width), generator=torch.Generator().manual_seed(1))


def test_loss_in_chunks_is_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.model.loss.MAX_LOGITS_PER_CHUNK", 3 * V)
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 5, requires_grad=True), torch.randn(V, 5, requires_grad=True)
    targets = torch.randint(1, V, (10,))
    targets[4] = 0
    loss, nll = label_smoothed_cross_entropy(
        hidden, weight, targets, ignored_index=0, label_smoothing=0.1
    )
    (3 * loss).backward()
    found = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    # torch smooths with eps/V too.
    plain = torch.nn.functional.cross_entropy(
        hidden @ weight.T, targets, ignore_index=0, label_smoothing=0.1, reduction="sum"
    )
    (3 * plain).backward()
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(found, (hidden.grad, weight.grad))
    expected_nll = torch.nn.functional.cross_entropy(
        hidden @ weight.T, targets, ignore_index=0, reduction="sum"
    )
    torch.testing.assert_close(nll, expected_nll.detach())


def test_every_second_layer_of_tiny_has_experts_in_encoder_and_decoder() -> None:
    names = [name for name, _ in moe_layers(tiny_model())]
    assert names == ["encoder.layers.1", "decoder.layers.1"]


def test_decoding_step_by_step_gives_the_logits_of_full_decoding() -> None:
    model = tiny_model()
    source, target = tokens(3, 7), tokens(3, 6)
    layout = BatchLayout.of(source)
    full = model(source, layout, target, BatchLayout.of(target))
    bag = IncrementalStateBag(10)
    for i in range(6):
        step = target[:, i : i + 1]
        logits = model(source, layout, step, BatchLayout.of(step), state_bag=bag)
        bag.increment_step_nr()
        torch.testing.assert_close(logits[:, 0], full[:, i], atol=1e-5, rtol=1e-4)


def test_padding_does_not_change_what_a_sentence_gets() -> None:
    model = tiny_model()
    source, target = tokens(1, 5), tokens(1, 4)
    alone = model(source, BatchLayout.of(source), target, BatchLayout.of(target))
    wide_source = torch.cat([torch.nn.functional.pad(source, (0, 4)), tokens(1, 9)])
    wide_target = torch.cat([torch.nn.functional.pad(target, (0, 3)), tokens(1, 7)])
    together = model(
        wide_source,
        BatchLayout.of(wide_source, [5, 9]),
        wide_target,
        BatchLayout.of(wide_target, [4, 7]),
    )
    torch.testing.assert_close(together[:1, :4], alone, atol=1e-5, rtol=1e-4)


def test_recipe_differences_replace_fields_of_the_named_size() -> None:
    config = resolve_config(
        ModelConfig(size="tiny", num_experts=8), vocabulary_size=100, pad_index=1
    )
    assert (config.num_experts, config.vocab_size, config.model_dim) == (8, 100, 64)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UserError, match=r"`model.num_decoder_attn_heads` is 3; it must divide"):
        resolve_config(ModelConfig(size="tiny", num_decoder_attn_heads=3), 40, 1)


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ({"learning_rate": math.nan}, "`learning_rate` is nan"),
        ({"learning_rate": -1.0}, "`learning_rate` is -1.0"),
        ({"betas": (0.9,)}, r"`betas` are \[0.9\]"),
        ({"max_grad_norm": -1.0}, "`max_grad_norm` is -1.0"),
    ],
)
def test_optimizers_that_cannot_be_are_refused(differences: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        OptimizerConfig(**differences)


def test_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no model size `huge`; there are tiny, small"):
        named_config("huge")


@pytest.mark.parametrize(
    ("size", "published", "step"),
    # As NLLB Team 2022 names them: 54.5B, 3.3B, 1.3B (cut, not rounded: it has 1.37) and 600M.
    [("moe_54b", 54.5e9, 0.05e9), ("3b", 3.3e9, 0.05e9), ("1b", 1.3e9, 0.1e9), ("600m", 6e8, 2e7)],
)
def test_published_sizes_have_the_published_number_of_parameters(
    size: str, published: float, step: float
) -> None:
    assert abs(describe_size(size)["total_parameters"] - published) < step


def test_description_counts_two_experts_of_each_layer_as_active() -> None:
    description = describe_size("tiny", vocabulary_size=V)
    model = tiny_model()
    total = sum(parameter.numel() for parameter in model.parameters())
    one_expert = 2 * 64 * 128 + 128 + 64
    assert description["total_parameters"] == total
    assert description["active_parameters"] == total - 2 * (4 - 2) * one_expert
