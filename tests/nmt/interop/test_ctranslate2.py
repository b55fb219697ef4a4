from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import UserError
from nmt.fairseq import BatchLayout
from nmt.interop.config import ExportConfig
from nmt.interop.ctranslate import export_to_ctranslate2
from nmt.model.directory import TrainedModel, load_model

LINES = ["bara kili mo", "šegu mo domдом tu zq", "mo"]
INT8 = 0.2
"""Log-probabilities may differ by this; 0.07 was seen."""


@torch.inference_mode()
def our_scores(model: TrainedModel, line: str) -> list[float]:
    """Return the log-probability of each token of a line translated into itself."""
    vocabulary = model.vocabulary
    first, second = (vocabulary.language_index(code) for code in ("qaa_Latn", "qab_Latn"))
    pieces = vocabulary.encode([line])[0]
    source = torch.tensor([[first, *pieces, vocabulary.end_index]])
    target = torch.tensor([[vocabulary.end_index, second, *pieces]])
    logits = model.translator(source, BatchLayout.of(source), target, BatchLayout.of(target))
    wanted = torch.tensor([second, *pieces, vocabulary.end_index])
    scores: list[float] = logits[0].log_softmax(-1).gather(1, wanted[:, None])[:, 0].tolist()
    return scores


def their_scores(directory: Path, quantization: str) -> list[list[float]]:
    import ctranslate2
    from transformers import NllbTokenizer

    tokenizer = NllbTokenizer.from_pretrained(directory, src_lang="qaa_Latn")
    sources = [tokenizer.convert_ids_to_tokens(row) for row in tokenizer(LINES).input_ids]
    targets = [["qab_Latn", *row[1:-1]] for row in sources]
    translator: Any = ctranslate2.Translator(
        str(directory), device="cpu", compute_type=quantization, intra_threads=1
    )
    return [result.log_probs for result in translator.score_batch(sources, targets)]


@pytest.mark.slow  # importing both peers takes seconds
@pytest.mark.parametrize(("quantization", "most"), [("float32", 1e-5), ("int8", INT8)])
def test_ctranslate2_gives_each_token_our_probability(
    tmp_path: Path, models: dict[int, Path], quantization: Any, most: float
) -> None:
    pytest.importorskip("ctranslate2", reason="needs the extra `export`")
    model = models[0]
    config = ExportConfig(quantization=quantization)
    export_to_ctranslate2(model, tmp_path / "theirs", config)
    assert not (tmp_path / "theirs" / "scratch").exists()
    loaded = load_model(model)
    for line, theirs in zip(LINES, their_scores(tmp_path / "theirs", quantization), strict=True):
        assert theirs == pytest.approx(our_scores(loaded, line), abs=most)


def test_model_with_experts_is_refused_for_ctranslate2(
    tmp_path: Path, models: dict[int, Path]
) -> None:
    with pytest.raises(UserError, match="dense models only"):
        export_to_ctranslate2(models[4], tmp_path / "theirs", ExportConfig())
