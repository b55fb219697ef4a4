import random
import shutil
from pathlib import Path

import pytest

from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary

WORDS = [a + b for a in ("ba", "ki", "mo", "tu", "še") for b in ("ra", "li", "no", "", "gu", "дом")]


def write_bitext(path: Path, pairs: int, seed: int = 0) -> None:
    """Write pairs whose two sides are the same random words."""
    chooser = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(chooser.choices(WORDS, k=chooser.randint(2, 7))) for _ in range(pairs)]
    path.write_text("".join(f"{line}\t{line}\n" for line in lines), encoding="utf-8")


def write_flores(directory: Path, lines: list[str]) -> Path:
    for split in ("dev", "devtest"):
        for language in ("qaa_Latn", "qab_Latn", "qac_Cyrl"):
            path = directory / split / f"{language}.{split}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return directory


def _write_pairs(directory: Path) -> Path:
    write_bitext(directory / "qaa_Latn-qab_Latn.tsv", 300)
    write_bitext(directory / "qaa_Latn-qac_Cyrl.tsv", 40, seed=1)
    return directory


@pytest.fixture
def bitext(tmp_path: Path) -> Path:
    return _write_pairs(tmp_path / "bitext")


@pytest.fixture(scope="session")
def _vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("vocabulary")
    bitext = _write_pairs(directory / "bitext")
    train_vocabulary([bitext], directory / "vocabulary", VocabularyConfig(size=80))
    return directory / "vocabulary"


@pytest.fixture
def vocabulary_directory(tmp_path: Path, _vocabulary: Path) -> Path:
    """Return a vocabulary of `bitext`, a copy that a test may damage."""
    return Path(shutil.copytree(_vocabulary, tmp_path / "vocabulary"))


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model after six updates, between qaa_Latn and qab_Latn; not to be changed."""
    from corpus.config import load_config
    from nmt.training.config import TrainConfig
    from nmt.training.train import train

    directory = tmp_path_factory.mktemp("translation")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 100)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    recipe = [
        f"vocabulary={directory / 'vocabulary'}", f"bitext.primary={directory / 'bitext'}",
        "model.size=tiny", "batches.max_tokens=2000", "batches.max_length=60",
        "optimizer.learning_rate=0.004", "optimizer.warmup_updates=5",
        "optimizer.schedule=linear", "updates=6", "checkpoint_every=2", "validate_every=4",
        "report_every=2", "threads=1", "data.workers=1",
    ]  # fmt: skip
    train(load_config(TrainConfig, None, recipe), directory / "model")
    return directory / "model"
