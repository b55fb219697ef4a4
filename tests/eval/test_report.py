"""The report of a run: what is there is shown, what is missing is said, text stays text."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.errors import DataError
from corpus.files import write_json, write_lines
from corpus.report.charts import Bar, Line, bars, heat_map
from corpus.report.charts import lines as draw_lines
from corpus.report.html import table
from eval.cli import group
from eval.pages.run_files import read_run

DIRECTIONS = ("qaa_Latn-qad_Arab", "qad_Arab-qaa_Latn")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A small run directory as the stages write it."""
    data = tmp_path / "data"
    rows = ["language\tname\tresource", "qaa_Latn\tArvelan\tpivot", "qad_Arab\tDahruni\thigh"]
    write_lines(data / "languages.tsv", rows)
    texts = {"qaa_Latn": ["<script>alert(1)</script> mira"], "qad_Arab": ["مرحبا بكم"]}
    for language, lines in texts.items():
        write_lines(data / "flores" / "devtest" / f"{language}.devtest", lines * 3)
    for direction in DIRECTIONS:
        target = direction.split("-")[1]
        write_lines(tmp_path / "hypotheses" / f"{direction}.txt", texts[target] * 3)
    language = {"f1": 0.9876, "precision": 1.0, "recall": 0.975, "fpr": 0.0, "n": 3}
    write_json(
        tmp_path / "lid_measure.json",
        {"macro_f1": 0.9876, "macro_fpr": 0.001, "languages": dict.fromkeys(texts, language)},
    )
    pair = {"precision": 0.95, "recall": 0.91, "f1": 0.9296}
    write_json(tmp_path / "mining.json", {"pairs": {"qaa_Latn-qad_Arab": pair}})
    write_json(tmp_path / "xsim.json", {"mean_error": 0.02, "pairs": {DIRECTIONS[0]: 0.02}})
    layer = {
        "languages": {"qaa_Latn": [0.75, 0.25], "qad_Arab": [0.5, 0.5]},
        "load": [0.625, 0.375],
        "entropy": 0.66,
        "max_entropy": 0.693,
    }
    write_json(tmp_path / "experts.json", {"layers": {"decoder.1": layer}})
    header = "system\tdirection\tmetric\tvalue\tn\tsignature"
    scores = [
        f"{system}\t{direction}\tchrf++\t{value}\t3\tnc:6|nw:2"
        for direction in DIRECTIONS
        for system, value in (("copy", 12.5), ("hypotheses", 51.25))
    ]
    write_lines(tmp_path / "scores" / "scores.tsv", [header, *scores])
    for place, name, seconds in (("lid", "train", 3.5), ("model", "train", 61.0)):
        record = {
            "name": name,
            "seconds": seconds,
            "peak_memory_mb": 512.0,
            "done": 1,
            "skipped": 0,
            "failed": 0,
        }
        write_lines(tmp_path / place / "receipts" / "runs.jsonl", [json.dumps(record)])
        write_json(tmp_path / place / "receipts" / name / "x.json", {"counts": {"kept": 4321}})
    return tmp_path


def make_report(run: Path) -> tuple[str, str]:
    output = run / "report.html"
    result = CliRunner().invoke(
        group, ["report", "--run", str(run), "--output", str(output)], catch_exceptions=False
    )
    assert result.exit_code == 0
    return output.read_text(encoding="utf-8"), result.stdout


def test_page_and_closing_table_hold_every_figure(run: Path) -> None:
    page, closing = make_report(run)
    for shown in ("0.988", "2.0 %", "51.2", "2 of 2", "1 min 04 s", "512 MB", "4,321", "Dahruni"):
        assert shown in page, shown
    rows = [re.split(r"\s{2,}", line) for line in closing.splitlines()]
    assert ["mining F1", "qaa_Latn-qad_Arab", "0.9296", "precision 0.950, recall 0.910"] in rows
    assert ["chrF++", "qaa_Latn-qad_Arab (high)", "51.2", "copy 12.5"] in rows
    assert ["expert usage", "decoder.1", "0.62 0.38", "entropy 0.660 of 0.693"] in rows
    assert ["wall time", "model: train", "61.0 s", "peak memory 512 MB"] in rows
    assert ["chrF++", "mean, high-resource", "51.2"] in rows


def test_text_is_escaped_and_may_run_from_right_to_left(run: Path) -> None:
    page, _ = make_report(run)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; mira" in page
    assert '<dd dir="auto" lang="qad-Arab">مرحبا بكم</dd>' in page


def test_page_needs_no_network(run: Path) -> None:
    page, _ = make_report(run)
    assert not re.search(r"https?://|src=|@import|url\(", page.replace("http://www.w3.org", ""))


def test_missing_parts_are_said_and_not_left_out(tmp_path: Path) -> None:
    page, closing = make_report(tmp_path)
    for wanted in ("lid_measure.json", "mining.json", "xsim.json", "experts.json", "scores.tsv"):
        assert f"Missing: {wanted}" in page or f"/{wanted}" in page, wanted
    assert closing.count("missing") >= 6


def test_damaged_file_is_named(run: Path) -> None:
    (run / "experts.json").write_text('{"layers": {"decoder.1": {}}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"experts\.json"):
        read_run(run, 2)


def test_stages_stand_in_the_order_of_the_pipeline(run: Path) -> None:
    assert [stage.place for stage in read_run(run, 2).stages] == ["lid", "model"]


def test_bars_are_as_long_as_their_values() -> None:
    drawn = bars([Bar("a", 50.0), Bar("b", 100.0), Bar("c", None)], top=100.0)
    widths = [float(width) for width in re.findall(r'class="bar"[^>]* width="([\d.]+)"', drawn)]
    assert widths[0] == pytest.approx(widths[1] / 2, abs=0.1)
    assert widths[2] == 0
    assert "missing" in drawn


def test_heat_map_has_a_cell_for_every_pair_and_escapes_names() -> None:
    drawn = heat_map(["<b>", "c"], ["x", "y"], {("<b>", "x"): 3.0, ("c", "y"): 9.0})
    assert drawn.count("stroke-dasharray") == 2
    assert "<b>" not in drawn
    assert ">3<" in drawn
    assert ">9<" in drawn


def test_lines_run_from_corner_to_corner_and_stay_inside() -> None:
    drawn = draw_lines([Line("<up>", [(0.0, 0.0), (1.0, 1.0), (2.0, 9.0)])], across="x", up="y")
    points = re.search(r'<polyline points="([^"]+)"', drawn)
    assert points is not None
    # The plot is 530 × 300 with margins of 44.
    assert points[1] == "44.0,256.0 486.0,44.0 486.0,44.0"
    assert "<up>" not in drawn


def test_table_sorts_by_value_and_not_by_what_is_shown() -> None:
    made = table(["name", "value"], [["a", 1234.567], ["b", None]])
    assert 'data-value="1234.567">1,234.57<' in made
    assert 'data-value="-1">–<' in made
