"""Signs of hallucination: each is found where it was planted, and seldom in references."""

import os
from pathlib import Path

import numpy as np
import pytest

from corpus.files import read_lines, write_lines
from corpus.jobs import forget_receipts
from eval.checks.batches import find_batches
from eval.checks.config import HallucinationConfig
from eval.checks.hallucination import (
    SIGNS,
    Hallucination,
    find_signs,
    measure_hallucination,
    text_features,
)

DATA = os.environ.get("TONGUES_DATA")
CONFIG = HallucinationConfig()

SOURCES = [
    "The river rose by two meters overnight, and the bridge was closed.",
    "Who opened the door of the house?",
    "Three children are reading under the old tree in the garden.",
    "She said that it was half past five in the afternoon.",
    "The train to the coast leaves every hour until midnight.",
    "Bread is baked here every morning before the shop opens.",
]
REFERENCES = [
    "За ночь река поднялась на два метра, и мост закрыли.",
    "Кто открыл дверь этого дома?",
    "Трое детей читают в саду под старым деревом.",
    "Она сказала, что было половина шестого вечера.",
    "Поезд к побережью отправляется каждый час до полуночи.",
    "Хлеб здесь пекут каждое утро до открытия магазина.",
]
THAI = [
    "แม่น้ำสูงขึ้นสองเมตรในชั่วข้ามคืนและสะพานถูกปิด",
    "ใครเปิดประตูบ้าน",
    "เด็กสามคนกำลังอ่านหนังสืออยู่ใต้ต้นไม้เก่าในสวน",
    "เธอพูดว่าตอนนี้เป็นเวลาห้าโมงครึ่งในตอนเย็น",
    "รถไฟไปชายฝั่งออกทุกชั่วโมงจนถึงเที่ยงคืน",
    "ที่นี่อบขนมปังทุกเช้าก่อนร้านเปิด",
]


def signs(
    hypotheses: list[str], references: list[str] = REFERENCES, target: str = "rus_Cyrl"
) -> dict[str, list[int]]:
    """Return the lines that have each sign, from 0."""
    found = find_signs(
        text_features(hypotheses, target, CONFIG),
        text_features(SOURCES, "eng_Latn", CONFIG),
        text_features(references, target, CONFIG),
        CONFIG,
    )
    return {name: np.flatnonzero(found[name]).tolist() for name in SIGNS}


def with_line(number: int, line: str, lines: list[str] = REFERENCES) -> list[str]:
    return [*lines[:number], line, *lines[number + 1 :]]


def test_references_have_no_sign() -> None:
    assert not any(signs(REFERENCES).values())
    assert not any(signs(THAI, THAI, "tha_Thai").values())


def test_looping_line_repeats() -> None:
    loop = "это было в доме и " * 4
    assert signs(with_line(1, loop))["repeated"] == [1]


def test_loop_without_spaces_repeats_too() -> None:
    found = signs(with_line(2, "เด็กสามคนกำลังอ่าน" * 4, THAI), THAI, "tha_Thai")
    assert found["repeated"] == [2]


def test_song_that_repeats_in_its_source_does_not() -> None:
    source = ["row row row your boat and " * 3, *SOURCES[1:]]
    hypothesis = ["греби греби греби к берегу и " * 3, *REFERENCES[1:]]
    found = find_signs(
        text_features(hypothesis, "rus_Cyrl", CONFIG),
        text_features(source, "eng_Latn", CONFIG),
        text_features(REFERENCES, "rus_Cyrl", CONFIG),
        CONFIG,
    )
    assert not found["repeated"].any()


def test_too_long_and_too_short_lines_are_told_by_their_sources() -> None:
    found = signs(with_line(0, " ".join(REFERENCES * 3)))
    assert (found["too_long"], found["too_short"]) == ([0], [])
    found = signs(with_line(4, "Да."))
    assert (found["too_long"], found["too_short"]) == ([], [4])


def test_run_of_one_character_is_compressed() -> None:
    assert signs(with_line(3, "н" * 120))["compressed"] == [3]


def test_copy_of_the_source_is_found_but_not_where_the_reference_is_one() -> None:
    assert signs(with_line(1, "who opened the door of the house"))["copied"] == [1]
    same = with_line(1, SOURCES[1])
    assert signs(same, same)["copied"] == []


def test_one_output_for_several_sources_is_shared() -> None:
    twice = with_line(5, REFERENCES[0])
    assert signs(twice)["shared"] == [0, 5]
    assert signs(twice, twice)["shared"] == []


def test_empty_lines_have_no_sign_and_are_counted(tmp_path: Path) -> None:
    rows = measure(tmp_path, with_line(2, "  "))
    assert (rows[0].empty, rows[0].suspect, rows[0].copied) == (1, 1, 0)
    lines = read_lines(tmp_path / "out" / "hallucination_lines.tsv")
    assert lines == ["system\tdirection\tline\tsigns", "mine\teng_Latn-rus_Cyrl\t3\tempty"]


def measure(folder: Path, hypotheses: list[str]) -> list[Hallucination]:
    write_lines(folder / "flores" / "devtest" / "eng_Latn.devtest", SOURCES)
    write_lines(folder / "flores" / "devtest" / "rus_Cyrl.devtest", REFERENCES)
    write_lines(folder / "mine" / "eng_Latn-rus_Cyrl.txt", hypotheses)
    batches = find_batches([folder / "mine"], folder / "flores", "devtest", folder / "texts")
    return measure_hallucination(batches, folder / "out", CONFIG, 1)


def test_table_counts_lines_once_however_many_signs_they_have(tmp_path: Path) -> None:
    (row,) = measure(tmp_path, with_line(0, "река река река река " * 20))
    assert row.n == 6
    assert row.repeated == row.too_long == row.compressed == 1
    assert (row.suspect, row.suspect_rate) == (1, pytest.approx(1 / 6))
    assert row.reference_rate == 0.0


@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
@pytest.mark.parametrize("target", ["eng_Latn", "deu_Latn", "arb_Arab", "hin_Deva", "zho_Hans"])
def test_signs_seldom_err_on_references_of_flores(target: str) -> None:
    folder = Path(DATA or "") / "flores200_dataset" / "devtest"
    texts = {
        code: text_features(read_lines(folder / f"{code}.devtest"), code, CONFIG)
        for code in {target, "fra_Latn", "tha_Thai"}
    }
    for source in ("fra_Latn", "tha_Thai"):
        found = find_signs(texts[target], texts[source], texts[target], CONFIG)
        rate = np.logical_or.reduce(list(found.values())).mean()
        assert rate <= 0.01


def test_shards_that_are_lost_are_made_again_to_the_same_bytes(tmp_path: Path) -> None:
    measure(tmp_path, with_line(2, "  "))
    output = tmp_path / "out"

    def content() -> dict[str, bytes]:
        files = [
            path for path in output.rglob("*") if path.is_file() and "receipts" not in str(path)
        ]
        return {str(path.relative_to(output)): path.read_bytes() for path in files}

    first = content()
    assert len(first) == 5
    forget_receipts(output, "hallucination", ["mine/rus_Cyrl"])
    (output / "checks" / "hallucination" / "mine" / "rus_Cyrl.json").unlink()
    (output / "hallucination_lines.tsv").unlink()
    measure(tmp_path, with_line(2, "  "))
    assert content() == first


@pytest.mark.slow
def test_several_processes_write_the_same_tables(tmp_path: Path) -> None:
    measure(tmp_path, REFERENCES)
    write_lines(tmp_path / "mine" / "rus_Cyrl-eng_Latn.txt", SOURCES)
    batches = find_batches([tmp_path / "mine"], tmp_path / "flores", "devtest", tmp_path / "texts")
    tables = []
    for workers in (1, 2):
        output = tmp_path / f"out{workers}"
        measure_hallucination(batches, output, CONFIG, workers)
        tables.append((output / "hallucination.tsv").read_bytes())
    assert tables[0] == tables[1]
    assert tables[0].count(b"\n") == 3
