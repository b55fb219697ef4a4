"""Items that people score: drawn by strata, on a page that works alone, read back."""

import html
import json
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from corpus.errors import JobError
from corpus.files import read_lines, write_lines
from corpus.languages import Direction
from eval.cli import group
from eval.config import CorrelateConfig, SampleConfig
from eval.correlate import correlate_human
from eval.human.sampling import (
    ATTENTION,
    CALIBRATION,
    ITEM,
    Item,
    draw_items,
    draw_lines,
    read_items,
)
from eval.sample import sample_items

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = '</script><script>document.title = "gone"</script>'
PAIR = Direction("eng_Latn", "arb_Arab")


def test_strata_are_drawn_in_proportion_to_their_size() -> None:
    generator = np.random.default_rng(5)
    lengths, scores = generator.integers(5, 90, 300).astype(float), generator.random(300)
    drawn = draw_lines(lengths, scores, 90, 1)
    assert len({line for line, _, _ in drawn}) == 90
    assert Counter(band for _, band, _ in drawn) == {"low": 30, "middle": 30, "high": 30}
    assert set(Counter(band for _, _, band in drawn).values()) <= {29, 30, 31}
    by_band = {
        band: [lengths[line] for line, own, _ in drawn if own == band] for band in ("low", "high")
    }
    assert max(by_band["low"]) <= min(by_band["high"])
    assert drawn == draw_lines(lengths, scores, 90, 1) != draw_lines(lengths, scores, 90, 2)
    assert len(draw_lines(lengths[:4], scores[:4], 90, 1)) == 4


def test_what_two_systems_wrote_alike_is_one_item_of_both() -> None:
    texts = {"a": ["x", "y", "z"], "b": ["x", "q", "z"]}
    sources, references = ["s1", "s2", "s3"], ["r1", "r2", "r3"]
    rows = draw_items(
        PAIR, texts, sources, references, np.arange(3.0), count=3, attention_share=0.5, seed=1
    )
    items = [row for row in rows if row.kind == ITEM]
    assert (len(items), len({row.item for row in items})) == (6, 4)
    wrong, right = (row for row in rows if row.kind == ATTENTION)
    assert (wrong.lowest, wrong.highest, right.lowest, right.highest) == (1, 2, 3, 5)
    assert sources.index(right.source) == references.index(right.target)
    assert sources.index(wrong.source) != references.index(wrong.target)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    chance = random.Random(1)
    words = {"eng_Latn": "the river runs under a bridge", "arb_Arab": "النهر يجري تحت الجسر القديم"}
    for code, own in words.items():
        lines = [" ".join(chance.choices(own.split(), k=6)) for _ in range(12)]
        write_lines(folder / "flores" / "devtest" / f"{code}.devtest", lines)
        for system in ("first", "second"):
            out = [" ".join(chance.choices(own.split(), k=6)) for _ in range(12)]
            out[5] = HOSTILE
            if code == "arb_Arab":
                write_lines(folder / system / f"{PAIR}.txt", out)
    calibration = ["source\ttarget", "it rains\tit is raining", "a cat\ta dog", "so\tso"]
    write_lines(folder / "calibration.tsv", calibration)
    sample_items(
        [folder / "first", folder / "second"], folder / "flores", "devtest",
        folder / "calibration.tsv", folder / "sample", SampleConfig(lines=6, attention_share=0.2),
    )  # fmt: skip
    return folder


def page_data(page: Path) -> dict:  # type: ignore[type-arg]
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    data: dict = json.loads(found.group(1))  # type: ignore[type-arg]
    return data


def test_page_shows_neither_systems_nor_kinds_and_loads_nothing(run: Path) -> None:
    page = run / "sample" / "pages" / f"{PAIR}.html"
    text = page.read_text(encoding="utf-8")
    items = read_items(run / "sample" / "items.tsv")
    assert {one["id"] for one in page_data(page)["items"]} == {item.item for item in items}
    assert not re.search(r"first|second|calibration|attention", json.dumps(page_data(page)))
    assert not re.search(r"https?://|<link|@import|src=", text)


def answer(items: list[Item], path: Path, evaluator: str, *, careless: bool = False) -> None:
    """The first system's items get 4, the second's 2, calibration items 4."""
    rows = {}
    for item in items:
        if item.kind == ATTENTION:
            score = item.highest if (item.highest == 5) != careless else item.lowest
            if careless:
                score = 5 if item.highest == 2 else 1
        else:
            score = 4 if item.kind == CALIBRATION or item.system == "first" else 2
        rows.setdefault(item.item, f"{evaluator}\t{item.item}\t{item.direction}\t{score:g}\t2.5")
    write_lines(path, ["evaluator\titem\tdirection\tscore\tseconds", *rows.values()])


def test_saved_tables_are_read_with_their_calibration_and_attention(
    run: Path, tmp_path: Path
) -> None:
    sample = run / "sample" / "items.tsv"
    items = read_items(sample)
    for name in ("ann", "bea"):
        answer(items, tmp_path / f"{name}.tsv", name)
    answer(items, tmp_path / "cem.tsv", "cem", careless=True)
    scores = ["system\tdirection\tmetric\tvalue\tn\tsignature"]
    scores += [f"{s}\t{PAIR}\tchrf++\t{v}\t12\tx" for s, v in (("first", 50.5), ("second", 40.5))]
    write_lines(tmp_path / "scores.tsv", scores)
    # A metric that scores the lines that were drawn, and no others, as people did.
    segments = [{"metric": "m"}] + [
        {"system": i.system, "direction": str(PAIR), "line": i.line, "score": i.system == "first"}
        for i in items if i.kind == ITEM
    ]  # fmt: skip
    write_lines(tmp_path / "m.jsonl", map(json.dumps, segments))
    found = correlate_human(
        [tmp_path / f"{name}.tsv" for name in ("ann", "bea", "cem")], [tmp_path / "scores.tsv"],
        None, tmp_path / "out", CorrelateConfig(calibration="shift", trials=20), sample,
        [tmp_path / "m.jsonl"],
    )  # fmt: skip
    by_segment = {row["coefficient"]: row for row in found["segments"]}
    assert by_segment["kendall by line"]["value"] == 1
    assert (by_segment["pearson"]["n"], by_segment["pearson"]["n_missing"]) == (
        len(segments) - 1, 0,
    )  # fmt: skip
    left_out = {row["evaluator"]: row["left_out"] for row in found["attention"]}
    assert left_out == {"ann": False, "bea": False, "cem": True}
    rows = [line.split("\t") for line in read_lines(tmp_path / "out" / "human.tsv")]
    human = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    shared = Counter(item.item for item in items if item.kind == ITEM)
    assert set(shared.values()) <= {1, 2}
    assert float(human["first"]["mean"]) == 4.0
    assert float(human["first"]["calibrated"]) == 3.0  # the group gave the calibration set 4
    assert human["second"]["evaluators"] == "2"
    over_systems = [row for row in found["correlations"] if row["direction"] == str(PAIR)]
    assert {row["value"] for row in over_systems} == {1.0}


def test_answers_of_another_sample_are_refused(run: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "h.tsv", ["evaluator\titem\tdirection\tscore", f"a\tdead\t{PAIR}\t3"])
    write_lines(tmp_path / "scores.tsv", ["system\tdirection\tmetric\tvalue\tn\tsignature"])
    with pytest.raises(JobError, match=r"scored item dead .* is it of another sample"):
        correlate_human(
            [tmp_path / "h.tsv"], [tmp_path / "scores.tsv"], None, tmp_path / "out",
            CorrelateConfig(calibration="none"), run / "sample" / "items.tsv",
        )  # fmt: skip


def test_command_counts_items_and_is_repeatable(run: Path, tmp_path: Path) -> None:
    arguments = [
        "sample", "--hypotheses", str(run / "first"), "--flores", str(run / "flores"), "--output",
        str(tmp_path / "out"), "--config", "lines=4", "--json",
    ]  # fmt: skip
    first = CliRunner().invoke(group, arguments, catch_exceptions=False)
    counts = json.loads(first.stdout)["directions"][str(PAIR)]
    assert counts == {"item": 4, "attention": 2, "calibration": 0}
    written = (tmp_path / "out" / "pages" / f"{PAIR}.html").read_bytes()
    again = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert again.stdout == first.stdout
    assert (tmp_path / "out" / "pages" / f"{PAIR}.html").read_bytes() == written


DRIVE = """<script>
const press = key => dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
$("name").value = "  Ann   B ";
$("who").requestSubmit();
const before = Object.keys(state.scores).length;
press("4"); press("ArrowLeft"); press("2"); press("x"); press("9");
document.querySelector('#scale button[value="5"]').click();
const found = { before, order, table: asTable() };
document.body.append(element("pre", JSON.stringify(found)));
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_is_driven_by_keys_and_keeps_its_answers(run: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    page = run / "sample" / "pages" / f"{PAIR}.html"
    text = page.read_text(encoding="utf-8")
    copy = tmp_path / "page.html"
    copy.write_text(text.replace("</body>", f"{DRIVE}</body>"), encoding="utf-8")
    found = []
    for _ in range(2):  # the second time the answers are there already
        shown = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
             f"--user-data-dir={tmp_path / 'profile'}", copy.resolve().as_uri()],
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout  # fmt: skip
        assert "<title>English" in shown
        pre = re.search(r"<pre>(.*?)</pre>", shown, re.DOTALL)
        assert pre
        found.append(json.loads(html.unescape(pre.group(1))))
    first, second = found
    assert (first["before"], second["before"]) == (0, 2)
    assert first["order"] == second["order"]
    rows = [line.split("\t") for line in first["table"].split("\n")[1:-1]]
    names = [page_data(page)["items"][place]["id"] for place in first["order"][:2]]
    assert {row[1]: (row[0], row[2], row[3]) for row in rows} == {
        names[0]: ("Ann B", str(PAIR), "2"),
        names[1]: ("Ann B", str(PAIR), "5"),
    }
    write_lines(tmp_path / "saved.tsv", first["table"].split("\n")[:-1])
    assert len(read_lines(tmp_path / "saved.tsv")) == 3
