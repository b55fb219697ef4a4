"""MetricX-24 (Juraska et al. 2024): an mT5 whose first output's logit of one token is the score.

As google-research/metricx computes it (metricx24/predict.py, metricx23/models.py): the decoder gets
one padding token, and the logit of `<extra_id_10>` is an error score from 0, the best, to 25. With
and without a reference or a source it is one model. A checkpoint is a directory of transformers'
mT5; the tokenizer is that of `google/mt5-xl`, in the same directory or another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer  # type: ignore[import-untyped]
from transformers import AutoTokenizer, MT5ForConditionalGeneration

from corpus.pretrained import loading_pretrained
from eval.learned_models.weights import by_batches, find_file, pad

_SCORE_TOKEN = 250089
"""`<extra_id_10>`."""
_MOST = 25.0
_MAX_TOKENS = 1536
"""The published models' input length."""


class MetricX:
    """A checkpoint of MetricX-24."""

    def __init__(
        self,
        directory: Path,
        tokenizer: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        batch_tokens: int,
    ) -> None:
        """Load it.

        Raises:
            UserError: If a file is missing.
        """
        find_file(directory, ["config.json"], "the model's configuration")
        find_file(
            tokenizer, ["tokenizer.json", "spiece.model"], "the tokenizer of mT5; see --encoder"
        )
        with loading_pretrained(tokenizer):
            self._tokenizer = _load_tokenizer(tokenizer)
        # transformers reads pickled weights with `weights_only=True`.
        with loading_pretrained(directory):
            self._model = MT5ForConditionalGeneration.from_pretrained(
                directory, local_files_only=True, dtype=dtype
            )
        self._model.to(device).eval()
        self._device, self._batch_tokens = device, batch_tokens

    @torch.inference_mode()
    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str] | None
    ) -> list[float]:
        """Return the error score of each segment, 0 to 25, from texts, [N] each."""
        texts = [
            f"source: {source} candidate: {hypothesis}"
            for source, hypothesis in zip(sources, hypotheses, strict=True)
        ]
        if references is not None:
            texts = [
                f"{text} reference: {reference}"
                for text, reference in zip(texts, references, strict=True)
            ]
        rows = self.tokenize(texts)

        def run(batch: list[int]) -> list[float]:
            tokens, mask = pad([rows[place] for place in batch], 0, self._device)
            first = torch.zeros((len(batch), 1), dtype=torch.long, device=self._device)
            output = self._model(input_ids=tokens, attention_mask=mask, decoder_input_ids=first)
            scores = output.logits[:, 0, _SCORE_TOKEN].float().clamp(0, _MOST)
            return [float(score) for score in scores]

        return by_batches(rows, self._batch_tokens, run)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of inputs, cut where too long, without the end of sentence."""
        found = self._tokenizer(list(texts), max_length=_MAX_TOKENS, truncation=True)["input_ids"]
        return [row[:-1] for row in found]


def _load_tokenizer(directory: Path) -> Any:
    """Return the tokenizer, as the transformers that MetricX was published for makes it.

    Of a SentencePiece model, 4.30 makes a tokenizer that keeps a space at the end of a text as a
    piece; later versions drop the space. The published input has one where a text is empty.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(  # type: ignore[no-untyped-call]
        directory, local_files_only=True
    )
    if not (directory / "tokenizer.json").is_file():
        backend = tokenizer.backend_tokenizer
        settings = json.loads(backend.to_str())
        steps = settings["normalizer"]["normalizers"]
        steps[:] = [step for step in steps if step["type"] != "Strip"]
        backend.normalizer = Tokenizer.from_str(json.dumps(settings)).normalizer
    return tokenizer
