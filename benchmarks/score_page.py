"""Bytes and drawing time of the page of scores for all 204 × 203 directions of FLORES-200.

    python benchmarks/score_page.py

Scores are made up. The page is opened in headless Chromium, which must be installed; its script
measures its own drawing.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from corpus.languages import Direction, known_languages
from eval.pages.grid_data import grid_data
from eval.pages.page_data import page_languages
from eval.pages.score_page import render_scores
from eval.statistics.buckets import built_in_table
from eval.statistics.results import Row, Scores

TURNS = 5
LINES = 1_012


def main() -> None:
    """Print a row for one and for two systems."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed")
    print("| systems | cells | page | drawn in, median of five |\n|---|---|---|---|")
    for systems in (["one"], ["one", "two"]):
        page = make_page(systems)
        milliseconds = [draw(chromium, page) for _ in range(TURNS)]
        print(
            f"| {len(systems)} | {204 * 203 * len(systems):,} | {len(page.encode()) / 1000:.0f} kB"
            f" | {statistics.median(milliseconds):.0f} ms |",
            flush=True,
        )


def make_page(systems: list[str]) -> str:
    """Return a page with a score for every direction of each system."""
    chance = np.random.default_rng(1)
    codes = list(known_languages())
    values = {
        (system, "chrf++", Direction(source, target)): float(chance.uniform(5, 70))
        for system in systems
        for source in codes
        for target in codes
        if source != target
    }
    around = dict.fromkeys(codes, (10.25, 40.75))
    intervals = {(system, "chrf++"): {"source": around, "target": around} for system in systems}
    languages = page_languages({pair for _, _, pair in values}, built_in_table())
    data = grid_data(values, systems, languages, intervals, None)
    rows = [
        Row(system, direction, metric, value, LINES, "made up")
        for (system, metric, direction), value in values.items()
    ]
    return render_scores(Scores(rows, [], {}, []), data)


def draw(chromium: str, page: str) -> float:
    """Open a page; return the milliseconds that it says its drawing took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        shown = subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1280,900",
                "--virtual-time-budget=5000",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r'data-drawn="(\d+)"', shown)
    assert found, "the page did not finish drawing"
    return float(found.group(1))


if __name__ == "__main__":
    main()
