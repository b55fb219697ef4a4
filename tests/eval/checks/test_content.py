"""Lost and added content: each fault is found where it was planted, and seldom in references."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from eval.checks.batches import find_batches
from eval.checks.config import ContentConfig
from eval.checks.content import (
    RULES,
    find_faults,
    measure_content,
    names,
    numbers,
    placeholders,
    summarize_content,
    untranslated,
)

DATA = os.environ.get("TONGUES_DATA")
PAIR = Direction("eng_Latn", "deu_Latn")
SOURCES = [
    "In 1998 some 1,250 people lived near Lake Constance and the city of Bregenz.",
    "Write to help@example.org or open https://example.org/a?b=1 within 30 days.",
    "Hello {name}, you have %d new messages from Anna Schmidt and Peter Müller today.",
    "The train to the coast leaves every hour until midnight from this station.",
]
REFERENCES = [
    "Im Jahr 1998 lebten rund 1.250 Menschen am Bodensee (Constance) und in Bregenz.",
    "Schreiben Sie an help@example.org oder öffnen Sie https://example.org/a?b=1 in 30 Tagen.",
    "Hallo {name}, Sie haben heute %d neue Nachrichten von Anna Schmidt und Peter Müller.",
    "Der Zug an die Küste fährt von diesem Bahnhof bis Mitternacht jede Stunde ab.",
]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1,234.5 and 12 345 678", {"1234", "12345678"}),
        ("1.234,56 km", {"1234", "56"}),
        ("१२३४ и ٤٥٦", {"1234", "456"}),
        ("12,34,567 rupees", {"1234567"}),
        ("7 days, 007, 1", set()),
        ("12/05/2020 10:30", {"12", "2020", "10", "30"}),
        ("2000 and 2000", {"2000"}),
    ],
)
def test_numbers_are_digits_whatever_their_script_and_separators(
    line: str, found: set[str]
) -> None:
    assert set(numbers(line)) == found


def test_digits_newer_than_pythons_tables_are_no_numbers() -> None:
    assert set(numbers("\U00011f50\U00011f51 and 12")) == {"12"}  # Kawi digits, of Unicode 15


def test_placeholders_and_addresses_are_found_whole() -> None:
    line = "See www.a.org/x, <b>%1$s</b> ${x} {{y}} a.b@c.de. 50% of it."
    assert placeholders(line) == Counter(
        ["www.a.org/x", "<b>", "%1$s", "</b>", "${x}", "{{y}}", "a.b@c.de"]
    )


def test_names_do_not_begin_a_sentence() -> None:
    assert names("Yesterday Anna met Müller. There Paul said: Maybe NATO.") == [
        "Anna",
        "Müller",
        "Paul",
        "NATO",
    ]


def test_stretches_of_the_source_are_found_in_all_scripts() -> None:
    source = "we looked for the old bridge of Mostar"
    assert (
        untranslated(source, "Wir sahen the OLD bridge of Mostar.", 4, None) == "the old bridge of"
    )
    assert untranslated("in Rio de Janeiro", "nach Rio de Janeiro", 3, None) == "Rio de Janeiro"[:0]
    assert untranslated("我们在河边看到一座桥", "wir 在河边看到一 Brücke", 0, 6) == "在河边看到一"
    assert untranslated(source, "short", 4, None) == ""


@pytest.mark.parametrize("characters", [None, 3])
def test_stretches_that_are_searched_for_are_those_that_every_window_gives(
    characters: int | None,
) -> None:
    chance = random.Random(7)
    for _ in range(400):
        source, line = (
            " ".join(chance.choices(["ab", "b", "Ca", "d,", "e"], k=chance.randint(0, 9)))
            for _ in range(2)
        )
        if characters:
            parts = [one for one in source if one.isalpha()]
            plain = "".join(one for one in line if one.isalpha())
            windows = ["".join(parts[i : i + 3]) for i in range(len(parts) - 2)]
            expected = [one for one in windows if one in plain]
        else:
            parts, there = source.replace(",", "").split(), line.replace(",", "").lower().split()
            windows = [" ".join(parts[i : i + 3]) for i in range(len(parts) - 2)]
            grams = {" ".join(there[i : i + 3]) for i in range(len(there) - 2)}
            expected = [one for one in windows if one.lower() in grams and one.count("C") <= 1]
        assert untranslated(source, line, 3, characters) == (expected or [""])[0]


def faults(changes: dict[int, str]) -> list[set[str]]:
    lines = [changes.get(index, line) for index, line in enumerate(REFERENCES)]
    found = find_faults(SOURCES, lines, REFERENCES, PAIR, ContentConfig())
    return [set(one) for one in found]


def test_references_break_no_rule_and_planted_faults_do() -> None:
    assert faults({}) == [set()] * 4
    assert faults({0: REFERENCES[0].replace("1.250", "1.520")})[0] == {
        "number_missing",
        "number_added",
    }
    assert faults({0: REFERENCES[0].replace("1998", "damals")})[0] == {"number_missing"}
    assert faults({1: REFERENCES[1].replace("help@", "hilfe@")})[1] == {"placeholder"}
    assert faults({2: REFERENCES[2].replace("{name}", "{Name}")})[2] == {"placeholder"}
    assert faults(
        {2: "Hallo {name}, Sie haben heute %d neue Nachrichten von zwei alten Freunden."}
    )[2] == {"name_missing"}
    assert faults({3: "Der Zug."})[3] == {"omission"}
    assert faults({3: REFERENCES[3] * 3})[3] == {"addition"}
    assert faults(
        {3: "Der Zug to the coast leaves every hour bis Mitternacht von diesem Bahnhof."}
    )[3] == {"untranslated"}
    assert faults({3: ""})[3] == set()


def test_names_are_not_checked_between_scripts(tmp_path: Path) -> None:
    write_lines(tmp_path / "flores" / "devtest" / "eng_Latn.devtest", SOURCES)
    write_lines(tmp_path / "flores" / "devtest" / "deu_Latn.devtest", REFERENCES)
    write_lines(tmp_path / "flores" / "devtest" / "rus_Cyrl.devtest", ["Да " + s for s in SOURCES])
    for target in ("deu_Latn", "rus_Cyrl"):
        write_lines(tmp_path / "sys" / f"eng_Latn-{target}.txt", REFERENCES)
    batches = find_batches([tmp_path / "sys"], tmp_path / "flores", "devtest", tmp_path / "texts")
    rows = measure_content(batches, tmp_path / "out", ContentConfig(), 1)
    german, russian = rows
    assert german.counts == german.reference_counts == dict.fromkeys(RULES, 0)
    assert russian.counts["name_missing"] is None
    assert russian.reference_counts["untranslated"] == 4
    summary = summarize_content(rows)["sys"]
    assert summary["name_missing_rate"] == {"mean": 0.0, "n": 1, "n_missing": 1}
    lines = read_lines(tmp_path / "out" / "content_lines.tsv")
    assert lines[0] == "system\tdirection\tline\trules\tfound"


@pytest.mark.skipif(DATA is None, reason="TONGUES_DATA is not set")
def test_rules_seldom_err_on_references_of_flores() -> None:
    folder = Path(str(DATA)) / "flores200_dataset" / "devtest"
    texts = {
        code: read_lines(folder / f"{code}.devtest")[:300] for code in ("eng_Latn", "fra_Latn")
    }
    found = find_faults(
        texts["eng_Latn"], texts["fra_Latn"], texts["fra_Latn"],
        Direction("eng_Latn", "fra_Latn"), ContentConfig(),
    )  # fmt: skip
    counts = Counter(rule for one in found for rule in one)
    assert counts["placeholder"] + counts["untranslated"] <= 3
    assert counts["omission"] + counts["addition"] <= 9
    assert counts["number_missing"] <= 15
