"""The page of scores: packed whole, text stays text, every figure from the scores."""

import base64
import json
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus.files import read_lines, write_json, write_lines
from corpus.languages import Direction, known_languages
from eval.config import ScoreConfig
from eval.pages.grid_data import MISSING, grid_data
from eval.pages.page_data import LONGEST_SHOWN, page_languages
from eval.pages.score_page import render_scores
from eval.score import score_systems
from eval.statistics.averages import Average
from eval.statistics.buckets import built_in_table
from eval.statistics.readme_tables import latex_tables, markdown_tables
from eval.statistics.results import Scores

HOSTILE = '</script><script>document.title = "gone"</script>'
LANGUAGES = ("eng_Latn", "fra_Latn", "arb_Arab")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def make_run(folder: Path, lines: int = 24) -> Path:
    """Two systems over three languages; the second lacks a direction. Return the scores."""
    chance = random.Random(3)
    words = {
        "eng_Latn": ["the", "river", "runs", "under", "a", "bridge"],
        "fra_Latn": ["la", "rivière", "coule", "sous", "un", "pont"],
        "arb_Arab": ["النهر", "يجري", "تحت", "الجسر", "القديم"],
    }
    texts = {
        code: [" ".join(chance.choices(own, k=8)) for _ in range(lines)]
        for code, own in words.items()
    }
    for code, own in texts.items():
        write_lines(folder / "flores" / "devtest" / f"{code}.devtest", own)
    for system in ("first", "second"):
        for source in LANGUAGES:
            for target in LANGUAGES:
                if source == target or (system == "second" and target == "arb_Arab"):
                    continue
                out = [" ".join(chance.choices(words[target], k=7)) for _ in range(lines)]
                out[3] = HOSTILE
                write_lines(folder / system / f"{source}-{target}.txt", out)
    return folder / "scores"


def score(folder: Path, **config: object) -> Scores:
    return score_systems(
        [folder / "first", folder / "second"], folder / "flores", "devtest", folder / "scores",
        ["chrf++", "bleu"], ScoreConfig(resamples=50, **config),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make_run(folder)
    score(folder)
    return folder


def read_data(page: str) -> dict:  # type: ignore[type-arg]
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict = json.loads(found.group(1))  # type: ignore[type-arg]
    return data


def unpack(text: str, kind: str) -> Sequence[int]:
    numbers: Sequence[int] = np.frombuffer(base64.b64decode(text), kind).tolist()
    return numbers


def test_page_holds_every_score_to_two_decimals(run: Path) -> None:
    data = read_data((run / "scores" / "report.html").read_text(encoding="utf-8"))
    codes = [language["code"] for language in data["languages"]]
    pairs = [Direction(source, target) for source in codes for target in codes if source != target]
    assert data["cells"] is None  # the whole grid is there
    table = [line.split("\t") for line in read_lines(run / "scores" / "scores.tsv")[1:]]
    scores = {(row[0], row[1], row[2]): float(row[3]) for row in table}
    for i, system in enumerate(data["systems"]):
        for j, metric in enumerate(data["metrics"]):
            values = unpack(data["scores"][i][j], "<i2")
            for pair, value in zip(pairs, values, strict=True):
                known = scores.get((system, str(pair), metric))
                assert value == (MISSING if known is None else round(known * data["scales"][j]))


def test_intervals_of_languages_hold_their_means(run: Path) -> None:
    data = read_data((run / "scores" / "report.html").read_text(encoding="utf-8"))
    table = [line.split("\t") for line in read_lines(run / "scores" / "scores.tsv")[1:]]
    own = [float(row[3]) for row in table if row[:3:2] == ["first", "chrf++"]
           and row[1].endswith("fra_Latn")]  # fmt: skip
    system, metric = data["systems"].index("first"), data["metrics"].index("chrf++")
    low, high = data["intervals"][system][metric]["target"]["fra_Latn"]
    assert low < sum(own) / len(own) < high
    assert high - low < 20


def test_lines_are_shown_with_every_system_in_order(run: Path) -> None:
    data = read_data((run / "scores" / "report.html").read_text(encoding="utf-8"))
    assert data["systems"] == ["first", "second"]
    lines = data["segments"]["eng_Latn-arb_Arab"]
    assert [line["line"] for line in lines] == list(range(1, 25))
    for line in lines:
        path = run / "first" / "eng_Latn-arb_Arab.txt"
        assert line["hypotheses"] == [read_lines(path)[line["line"] - 1], None]
        assert line["scores"][1] is None


def test_text_of_a_system_cannot_become_part_of_the_page(run: Path) -> None:
    page = (run / "scores" / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in page
    texts = [
        text
        for lines in read_data(page)["segments"].values()
        for line in lines
        for text in line["hypotheses"]
    ]
    assert HOSTILE in texts


def test_endless_line_is_cut_on_the_page(tmp_path: Path) -> None:
    make_run(tmp_path)
    path = tmp_path / "first" / "eng_Latn-fra_Latn.txt"
    lines = read_lines(path)
    lines[5] = "é" * (LONGEST_SHOWN + 1_234)
    write_lines(path, lines)
    score(tmp_path)
    data = read_data((tmp_path / "scores" / "report.html").read_text(encoding="utf-8"))
    shown = data["segments"]["eng_Latn-fra_Latn"][5]["hypotheses"][0]
    assert shown == "é" * LONGEST_SHOWN + " […and 1,234 characters more]"


def test_page_needs_no_network(run: Path) -> None:
    page = (run / "scores" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="|url\(|@import|fetch\(', page)


def test_page_without_lines_when_none_are_asked_for(tmp_path: Path) -> None:
    make_run(tmp_path)
    score(tmp_path, page_lines=0)
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert read_data(page)["segments"] == {}
    assert 'id="segments"' not in page


def test_checks_beside_the_scores_are_shown_when_scores_are_made_again(tmp_path: Path) -> None:
    make_run(tmp_path)
    score(tmp_path)
    page = tmp_path / "scores" / "report.html"
    assert "Off target" not in page.read_text(encoding="utf-8")
    mean = {"mean": 0.25, "n": 6, "n_missing": 0}
    found = {"off_target_rate": mean, "reference_rate": mean, "into": {"fra_Latn": mean}}
    write_json(tmp_path / "scores" / "off_target.json", {"systems": {"first": found}})
    score(tmp_path)
    assert "first: 25.00 % over 6 directions" in page.read_text(encoding="utf-8")


def test_whole_grid_of_flores_fits_300_kilobytes() -> None:
    codes = list(known_languages())
    chance = np.random.default_rng(1)
    values = {
        ("system", "chrf++", Direction(source, target)): float(chance.uniform(5, 70))
        for source in codes
        for target in codes
        if source != target
    }
    languages = page_languages({pair for _, _, pair in values}, built_in_table())
    around = dict.fromkeys(codes, (10.25, 40.75))
    intervals = {("system", "chrf++"): {"source": around, "target": around}}
    data = grid_data(values, ["system"], languages, intervals, None)
    page = render_scores(Scores([], [], {}, []), data)
    assert len(values) == 204 * 203
    assert len(page.encode()) <= 300_000


def test_counts_of_training_text_are_said_to_be_nllbs_unless_a_table_is_given(
    run: Path, tmp_path: Path
) -> None:
    page = (run / "scores" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Score against NLLB-200&#x27;s training text</h2>" in page
    assert read_data(page)["counts"] == "NLLB-200"
    make_run(tmp_path)
    rows = [f"{code}\t{number}000000" for number, code in enumerate(LANGUAGES, 1)]
    write_lines(tmp_path / "languages.tsv", ["language\tsentences", *rows])
    score(tmp_path, languages=tmp_path / "languages.tsv")
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Score against training text</h2>" in page
    assert "NLLB-200" not in page


def test_tables_for_papers_escape_names_and_say_what_is_missing() -> None:
    averages = [
        Average("a_b", "chrf++", "xx-eng/low", 41.26, 3, 0, 40.5, 42.0),
        Average("c|d", "chrf++", "xx-eng/low", None, 0, 3),
        Average("c|d", "chrf++", "all", 12.0, 2, 1),
    ]
    markdown, latex = markdown_tables(averages), latex_tables(averages)
    assert "| xx-eng/low | 3 | 41.3 [40.5, 42.0] | – |" in markdown
    assert r"| directions | n | a_b | c\|d |" in markdown
    assert "12.0 (n = 2)" in markdown
    assert r"directions & n & a\_b & c|d \\" in latex
    assert r"xx-eng/low & 3 & 41.3 [40.5, 42.0] & -- \\" in latex


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_printed_page_is_not_cut_where_the_screen_scrolls(run: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    page = (run / "scores" / "report.html").read_text(encoding="utf-8")
    pages = {}
    for name, text in (("whole", page), ("cut", page.replace("@media print", "@media none"))):
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
             "--virtual-time-budget=5000", f"--print-to-pdf={tmp_path / name}.pdf",
             (tmp_path / f"{name}.html").resolve().as_uri()],
            capture_output=True, check=True, timeout=120,
        )  # fmt: skip
        pages[name] = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / f"{name}.pdf").read_bytes()))
    # 24 lines of the first of six directions stand below each other on paper.
    assert pages["whole"] >= pages["cut"] + 2


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_draws_itself_in_a_browser_and_shows_hostile_text_as_text(run: Path) -> None:
    assert CHROMIUM is not None
    page = run / "scores" / "report.html"
    shown = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
         "--dump-dom", page.resolve().as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "data-drawn=" in shown  # the script came to its end
    assert "<title>Scores</title>" in shown
    assert "&lt;/script&gt;&lt;script&gt;document.title" in shown
    assert len(re.findall(r'<dl class="sample">', shown)) == 24
    assert shown.count("<rect") >= 3  # a bar for each language
