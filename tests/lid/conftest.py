"""Six constructed kinds of text and a model of them, for the tests of this folder."""

import random
from pathlib import Path

import pytest

from corpus.files import write_lines
from lid.config import TrainConfig
from lid.identifier import LanguageIdentifier
from lid.train import train

WORDS = {
    "eng_Latn": "the water of river house people small green under night walked they with and",
    "fra_Latn": "les eau du rivière maison gens petite verte sous nuit marchaient ils avec et",
    "rus_Cyrl": "вода реки дом люди маленький зелёный под ночь шли они вместе и на берегу",
    "arb_Arab": "ماء النهر بيت الناس صغير أخضر تحت الليل مشوا هم مع و على الشاطئ",
    "hin_Deva": "पानी नदी घर लोग छोटा हरा नीचे रात चले वे साथ और किनारे पर",
    "tha_Thai": "น้ำ แม่น้ำ บ้าน ผู้คน เล็ก สีเขียว ใต้ กลางคืน เดิน พวกเขา กับ และ",
}
UNKNOWN = {
    "deu_Latn": "das wasser fluss haus leute klein grün unter nacht gingen sie mit und über",
    "ukr_Cyrl": "вода річки будинок люди маленький зелений під ніч йшли вони разом та березі",
}
QUICK = TrainConfig(buckets_per_class=2_000, dim=16, max_repeats=3)


def make_sentences(language: str, count: int, start: int = 0) -> list[str]:
    """Return random sentences; other numbers give others."""
    words = (WORDS | UNKNOWN)[language].split()
    space = "" if language == "tha_Thai" else " "
    sentences = []
    for number in range(start, start + count):
        chance = random.Random(f"{language} {number}")
        sentences.append(space.join(chance.choices(words, k=9)))
    return sentences


def write_data(directory: Path, count: int = 150) -> Path:
    for language in WORDS:
        write_lines(directory / f"{language}.txt", make_sentences(language, count))
    return directory


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory; tests copy it before they change it."""
    directory = tmp_path_factory.mktemp("lid")
    train(write_data(directory / "data"), directory / "model", QUICK)
    return directory / "model"


@pytest.fixture(scope="session")
def identifier(model: Path) -> LanguageIdentifier:
    return LanguageIdentifier.load(model)
