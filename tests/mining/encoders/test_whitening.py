from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.files import read_json, write_json
from mining.embeddings import Float32
from mining.encoders import load_encoder
from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.directory import description_fingerprint
from mining.encoders.train import run_train_encoder
from mining.encoders.whitening import Whitening


def unit(matrix: np.ndarray) -> Float32:
    vectors: Float32 = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return vectors


def stretched(count: int) -> Float32:
    """Unit vectors far from the origin's center, whose spread differs by direction."""
    random = np.random.default_rng(1)
    return unit(random.standard_normal((count, 6)) * [4, 2, 1, 1, 0.5, 0.5] + 2)


def test_whitening_does_nothing_until_it_is_fitted() -> None:
    vectors = torch.from_numpy(stretched(50))
    assert torch.allclose(Whitening(6)(vectors), vectors, atol=1e-6)


def test_half_a_power_makes_all_variances_equal() -> None:
    vectors = stretched(4000)
    whitening = Whitening(6)
    whitening.fit(vectors, 0.5)
    mapped = (torch.from_numpy(vectors) - whitening.mean) @ whitening.matrix
    covariance = np.cov(mapped.numpy().T)
    assert covariance / covariance[0, 0] == pytest.approx(np.eye(6), abs=0.02)


def test_a_quarter_makes_them_as_unequal_as_their_roots() -> None:
    vectors = stretched(4000)
    whitening = Whitening(6)
    whitening.fit(vectors, 0.25)
    mapped = (torch.from_numpy(vectors) - whitening.mean) @ whitening.matrix
    before = np.linalg.eigvalsh(np.cov(vectors.T))
    after = np.linalg.eigvalsh(np.cov(mapped.numpy().T))
    assert after / after[-1] == pytest.approx(np.sqrt(before / before[-1]), rel=0.01)


def write_seed(directory: Path) -> Path:
    random = np.random.default_rng(3)
    words = ["alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta"]
    lines = [
        " ".join(random.choice(words, 4)) + f" {i}\t" + " ".join(random.choice(words, 4)) + f" {i}"
        for i in range(60)
    ]
    directory.mkdir()
    (directory / "eng_Latn-fra_Latn.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def test_trained_encoder_has_its_whitening_and_one_of_before_still_loads(tmp_path: Path) -> None:
    seed = write_seed(tmp_path / "seed")
    sentences = ["alpha beta 1", "gamma delta 2", "kappa"]
    vectors = {}
    for power in (0.0, 0.25):
        bag = BagConfig(dimension=16, buckets=256, hidden=16, vocabulary_size=60, whitening=power)
        config = TrainEncoderConfig(bag=bag, epochs=2, batch_size=32, hard_negatives=0)
        output = tmp_path / str(power)
        run_train_encoder([seed], output, config)
        vectors[power] = load_encoder(output).encode(sentences)
        assert np.linalg.norm(vectors[power], axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(vectors[0.0], vectors[0.25], atol=0.05)
    # An encoder written before there was such a setting has no word of it.
    path = tmp_path / "0.0" / "encoder.json"
    description = read_json(path)
    del description["bag"]["whitening"]
    description["fingerprint"] = description_fingerprint(description)
    write_json(path, description)
    assert (load_encoder(tmp_path / "0.0").encode(sentences) == vectors[0.0]).all()
