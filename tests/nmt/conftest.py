import random
from pathlib import Path

import pytest

from nmt.config import VocabularyConfig
from nmt.vocabulary_training import train_vocabulary

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


@pytest.fixture
def bitext(tmp_path: Path) -> Path:
    directory = tmp_path / "bitext"
    write_bitext(directory / "qaa_Latn-qab_Latn.tsv", 300)
    write_bitext(directory / "qaa_Latn-qac_Cyrl.tsv", 40, seed=1)
    return directory


@pytest.fixture
def vocabulary_directory(tmp_path: Path, bitext: Path) -> Path:
    directory = tmp_path / "vocabulary"
    train_vocabulary([bitext], directory, VocabularyConfig(size=80))
    return directory
