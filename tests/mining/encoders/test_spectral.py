import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.features import FeatureExtractor, TokenRows, romanize
from mining.encoders.spectral import spectral_vectors
from mining.encoders.train import run_train_encoder

WORDS, LENGTH, DIMENSION = 40, 6, 16


class NoPieces:
    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[] for _ in texts]


def translated_tokens(count: int) -> tuple[TokenRows, np.ndarray]:
    """Sentences of random words, then their translations: word w is w + WORDS there."""
    rng = np.random.default_rng(0)
    source = np.stack([rng.choice(WORDS, LENGTH, replace=False) for _ in range(count)])
    ids = np.concatenate([source, source + WORDS]).astype(np.int32)
    rows = np.stack([np.arange(count), np.arange(count) + count], axis=1)
    return TokenRows(ids.ravel(), np.arange(0, ids.size + 1, LENGTH)), rows


def extractor(romanized: bool) -> FeatureExtractor:
    return FeatureExtractor(
        NoPieces(), vocabulary_size=0, buckets=1 << 20, min_n=3, max_n=5, max_characters=100,
        romanize=romanized,
    )  # fmt: skip


def test_feature_is_near_its_translation_before_training() -> None:
    tokens, pairs = translated_tokens(400)
    torch.manual_seed(1)
    table = torch.randn(2 * WORDS, DIMENSION) * DIMENSION**-0.5
    vectors = F.normalize(spectral_vectors(tokens, pairs, table, seed=1), dim=1)
    cosines = vectors[:WORDS] @ vectors[WORDS:].T
    nearest = cosines.argmax(dim=1)
    # 16 dimensions cannot tell 40 words apart wholly; random vectors have one of 40 right.
    assert (nearest == torch.arange(WORDS)).float().mean() > 0.9
    random = F.normalize(table, dim=1)
    chance = (random[:WORDS] @ random[WORDS:].T).argmax(dim=1)
    assert (chance == torch.arange(WORDS)).float().mean() < 0.2


def test_spectral_start_is_the_same_for_the_same_seed() -> None:
    tokens, pairs = translated_tokens(100)
    table = torch.ones(2 * WORDS, DIMENSION)
    first, second = (spectral_vectors(tokens, pairs, table, seed=1) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, spectral_vectors(tokens, pairs, table, seed=2))


def test_feature_that_no_sentence_has_keeps_a_share_of_its_random_vector() -> None:
    tokens, pairs = translated_tokens(100)
    table = torch.randn(2 * WORDS + 1, DIMENSION, generator=torch.Generator().manual_seed(3))
    vectors = spectral_vectors(tokens, pairs, table, seed=1)
    assert F.cosine_similarity(vectors[-1], table[-1], dim=0) == pytest.approx(1, abs=1e-5)
    assert vectors[-1].norm() / table[-1].norm() == pytest.approx(0.3, abs=1e-5)


def test_fewer_pairs_than_dimensions_leave_the_random_vectors() -> None:
    tokens, pairs = translated_tokens(DIMENSION)
    table = torch.randn(2 * WORDS, DIMENSION)
    assert torch.equal(spectral_vectors(tokens, pairs, table, seed=1), table)


def test_names_and_numbers_look_alike_in_all_scripts() -> None:
    assert romanize("москва") == "moskva"
    assert romanize("αθηνα") == "athina"
    assert romanize("١٩٨٤ १९८४") == "1984 1984"
    assert romanize("élève") == "eleve"


def test_romanized_name_shares_ngrams_with_latin_script() -> None:
    tokens = extractor(True).extract(["moskva", "москва"])
    latin, cyrillic = (set(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]]) for i in (0, 1))
    assert latin < cyrillic
    apart = extractor(False).extract(["moskva", "москва"])
    latin, cyrillic = (set(apart.ids[apart.starts[i] : apart.starts[i + 1]]) for i in (0, 1))
    assert not latin & cyrillic


def test_romanizing_changes_no_features_of_plain_latin_text() -> None:
    texts = ["a plain sentence", "one more"]
    plain, romanized = extractor(False).extract(texts), extractor(True).extract(texts)
    assert np.array_equal(plain.ids, romanized.ids)
    assert np.array_equal(plain.starts, romanized.starts)


def test_encoder_with_spectral_start_and_romanization_says_so(tmp_path: Path) -> None:
    lines = [f"number {i} is {i * 7}\tчисло {i} это {i * 7}\n" for i in range(60)]
    bitext = tmp_path / "bitext"
    bitext.mkdir()
    (bitext / "eng_Latn-rus_Cyrl.tsv").write_text("".join(lines), encoding="utf-8")
    bag = BagConfig(dimension=8, vocabulary_size=100, buckets=512, hidden=8, romanize=True)
    config = TrainEncoderConfig(bag=bag, start="spectral", learning_rate=0.01, epochs=1.0)
    run_train_encoder([bitext], tmp_path / "encoder", config)
    described = json.loads((tmp_path / "encoder" / "encoder.json").read_text(encoding="utf-8"))
    assert described["bag"]["romanize"] is True
    assert "start: spectral" in (tmp_path / "encoder" / "config.yaml").read_text(encoding="utf-8")
