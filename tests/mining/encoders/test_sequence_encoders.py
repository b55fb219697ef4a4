import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from corpus.config import load_config  # noqa: E402
from mining.encoders import load_encoder  # noqa: E402
from mining.encoders.architectures import ARCHITECTURES  # noqa: E402
from mining.encoders.config import (  # noqa: E402
    DistillConfig,
    LstmConfig,
    TrainEncoderConfig,
    TransformerConfig,
)
from mining.encoders.sequence import SequenceEncoder, token_batches  # noqa: E402
from mining.encoders.train import run_train_encoder  # noqa: E402

COLORS = ["red", "blue", "green", "gray", "black", "white"]
THINGS = ["dog", "cat", "tree", "house", "river", "stone", "bread", "milk"]
TINY = TrainEncoderConfig(
    lstm=LstmConfig(vocabulary_size=120, embedding_dim=16, hidden=16, layers=2, dropout=0.0),
    transformer=TransformerConfig(
        vocabulary_size=120, dimension=32, layers=2, heads=4, ffn_inner_dim=64, dropout=0.0
    ),
    epochs=12,
    batch_size=16,
    hard_negatives=0,
    learning_rate=0.01,
    validation_share=0.2,
    device="cpu",
)
ODD = ["", " ", "a" * 10_000, "x\x00y\x1b[0m", "lone \ud800 surrogate", "U+2028 \u2028 here", "😀"]


def with_architecture(name: str, **changes: object) -> TrainEncoderConfig:
    values = {field: getattr(TINY, field) for field in TINY.__dataclass_fields__}
    return TrainEncoderConfig(**{**values, "architecture": name, **changes})


@pytest.fixture(scope="module")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of the 48 phrases of a color and a thing, spelled backwards on the other side."""
    folder = tmp_path_factory.mktemp("bitext")
    phrases = [f"{color} {thing}" for color in COLORS for thing in THINGS]
    lines = [f"{phrase}\t{phrase[::-1]}" for phrase in phrases]
    (folder / "qaa_Latn-qac_Latn.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["lstm", "transformer"])
def encoder(
    request: pytest.FixtureRequest, bitext: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    run_train_encoder([bitext], folder, with_architecture(request.param))
    return folder


def test_training_brings_translations_together(encoder: Path) -> None:
    phrases = [f"{color} {thing}" for color in COLORS for thing in THINGS]
    loaded = load_encoder(encoder)
    source, target = loaded.encode(phrases), loaded.encode([text[::-1] for text in phrases])
    assert ((source @ target.T).argmax(axis=1) == np.arange(48)).mean() > 0.5


def test_batches_do_not_change_a_vector(encoder: Path) -> None:
    texts = ["red dog", "blue", "", "green river white stone", "red dog gray milk", *ODD]
    one_by_one = load_encoder(encoder, batch_tokens=1)
    together = load_encoder(encoder, batch_tokens=100_000)
    assert isinstance(one_by_one, SequenceEncoder)
    alone = np.concatenate([one_by_one.encode([text]) for text in texts])
    assert np.linalg.norm(alone, axis=1) == pytest.approx(1, abs=1e-5)
    assert together.encode(texts) == pytest.approx(alone, abs=1e-5)
    assert together.encode(texts[::-1])[::-1] == pytest.approx(alone, abs=1e-5)


def test_no_sentences_are_an_empty_matrix(encoder: Path) -> None:
    loaded = load_encoder(encoder)
    assert loaded.encode([]).shape == (0, loaded.dimension)


def test_same_seed_trains_the_same_bytes(encoder: Path, bitext: Path, tmp_path: Path) -> None:
    architecture = "lstm" if "lstm" in encoder.name else "transformer"
    run_train_encoder([bitext], tmp_path / "again", with_architecture(architecture))
    for path in encoder.iterdir():
        if path.is_file() and path.suffix != ".yaml":
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_hold_every_row_once_within_their_budget(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, np.int64)
    batches = list(token_batches(array, budget))
    rows = [row for batch in batches for row in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * array[batch].max() <= budget
    sizes = array[np.array(rows, np.int64)].tolist()
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("config", [TrainEncoderConfig, DistillConfig])
def test_every_architecture_can_be_configured_and_chosen(config: type[Any]) -> None:
    types = {field.name: field.type for field in dataclasses.fields(config)}
    for name, architecture in ARCHITECTURES.items():
        assert types[name] is architecture.settings
        assert load_config(config, None, [f"architecture={name}"]).architecture == name
