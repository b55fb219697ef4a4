import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from corpus.languages import Direction
from nmt.interop.config import ExportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.model.config import MoEConfig, named_config
from nmt.model.directory import save_model
from nmt.model.translator import Translator, create_model
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_bitext

IS_5 = int(transformers.__version__.split(".")[0]) >= 5
DIRECTIONS = [Direction("qaa_Latn", "qab_Latn"), Direction("qab_Latn", "qaa_Latn")]


@pytest.fixture(scope="session")
def vocabulary_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("interop")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 300)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    return directory / "vocabulary"


def tiny_config(vocabulary: Vocabulary, *, num_experts: int) -> MoEConfig:
    return dataclasses.replace(
        named_config("tiny"),
        num_experts=num_experts,
        vocab_size=vocabulary.size,
        pad_idx=vocabulary.pad_index,
    )


def random_model(config: MoEConfig) -> Translator:
    """Return a model whose every weight, biases and norms too, differs from its first value."""
    torch.manual_seed(3)
    model = create_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_model(
    directory: Path, vocabulary_path: Path, *, num_experts: int, **differences: Any
) -> Path:
    vocabulary = Vocabulary.load(vocabulary_path)
    config = tiny_config(vocabulary, num_experts=num_experts)
    config = dataclasses.replace(config, **differences)
    save_model(directory, random_model(config), config, vocabulary_path, DIRECTIONS)
    return directory


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, vocabulary_path: Path) -> dict[int, Path]:
    """A dense model and one with four experts, by their number of experts; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    return {
        num_experts: write_model(
            folder / str(num_experts), vocabulary_path, num_experts=num_experts
        )
        for num_experts in (0, 4)
    }


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, models: dict[int, Path]) -> Path:
    """The model with experts in transformers' layout, in one file; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "theirs"
    export_to_transformers(models[4], folder, ExportConfig())
    return folder


def _all_experts(experts: Any, hidden: Tensor, _: Tensor, weights: Tensor) -> Tensor:
    """What the experts of transformers 4.57 give: hidden [T, D], weights [T, E]."""
    output = torch.zeros_like(hidden)
    for index in range(experts.num_experts):
        rows = weights[:, index].nonzero()[:, 0]
        output[rows] += weights[rows, index, None] * experts[f"expert_{index}"](hidden[rows])
    return output * (1 - experts.moe_token_dropout)


@pytest.fixture
def experts_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers 5 use all experts; as published it uses two (see `test_interop`)."""
    from transformers.models.nllb_moe import modeling_nllb_moe

    if hasattr(modeling_nllb_moe, "NllbMoeExperts"):
        monkeypatch.setattr(modeling_nllb_moe.NllbMoeExperts, "forward", _all_experts)
