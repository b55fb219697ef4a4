# ruff: noqa: N803 (shape suffixes)

import pytest
import torch
from torch import Tensor

from nmt.translation.decoding import coverage
from nmt.translation.decoding.decoder import DecoderState, _Layer
from tests.nmt.translation.decoding.literal_beam import END, PAD
from tests.nmt.translation.decoding.test_decoding import SOURCES, TARGET, batch, random_model


class Recording(DecoderState):
    """Adds up attention to the source step by step."""

    total: Tensor

    def _attend_to_source(self, layer: _Layer, hidden_ND: Tensor, num_sentences: int) -> Tensor:
        attention = layer.source_attention
        normed = layer.module.encoder_decoder_attn_layer_norm(hidden_ND)
        query = attention.q_proj(normed).view(attention.num_heads, 1, -1)
        weight = (query @ layer.key_BHSd[0].transpose(1, 2) / query.shape[2] ** 0.5).softmax(2)
        self.total += weight.mean(dim=(0, 1)) / len(self._layers)
        return super()._attend_to_source(layer, hidden_ND, num_sentences)


def test_coverage_is_the_attention_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(0)
    targets = [[END, TARGET, 4, 5], [END, TARGET, 6], [END, TARGET, *range(4, 12)]]
    totals = []
    for source, target in zip(SOURCES, targets, strict=True):
        with torch.inference_mode():
            state = Recording(model, *batch([source]))
            state.total = torch.zeros(len(source))
            for token in target:
                state.step(torch.tensor([[token]]))
        totals.append(state.total[1:-1])
    for least in (0.3, 0.6, 1.0):
        monkeypatch.setattr(coverage, "COVERED", least)
        symbols = (SOURCES[0][0], END)
        found = coverage.uncovered_shares(model, SOURCES, targets, symbols, PAD)
        assert found == pytest.approx([float((t < least).float().mean()) for t in totals])
