"""The store of statistics, manifests, kills and reruns: same bytes, nothing counted twice."""

import dataclasses
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sacrebleu
from click.testing import CliRunner

from corpus.errors import DataError, TonguesError, UserError
from corpus.files import write_lines
from corpus.records import write_table
from eval.cli import group
from eval.config import ScoreConfig
from eval.hypotheses import find_systems
from eval.metrics import counts
from eval.metrics.measures import ChrfMeasure
from eval.score import score_systems
from eval.statistics import sacrebleu_check
from eval.statistics.cells import read_cells
from eval.statistics.store import StatisticsFile, read_references, read_text

LANGUAGES = ("eng_Latn", "rus_Cyrl", "hin_Deva")
WORDS = {
    "eng_Latn": "house river bridge opened children reading tree year city water the of",
    "rus_Cyrl": "дом река мост открыли дети читают дерево год город вода под на",
    "hin_Deva": "घर नदी पुल खोला बच्चे पढ़ रहे पेड़ साल शहर पानी में",
}
LINES = 30
CONFIG = ScoreConfig(resamples=50)


def make_text(language: str, seed: str) -> list[str]:
    chance = random.Random(f"{language} {seed}")
    return [" ".join(chance.choices(WORDS[language].split(), k=9)) + "." for _ in range(LINES)]


@pytest.fixture
def flores(tmp_path: Path) -> Path:
    for language in LANGUAGES:
        path = tmp_path / "flores" / "devtest" / f"{language}.devtest"
        write_lines(path, make_text(language, "reference"))
    return tmp_path / "flores"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    for source in LANGUAGES:
        for target in LANGUAGES:
            if source != target:
                reference = make_text(target, "reference")
                text = [line[len(source) % 7 + 2 :] for line in reference[:20]] + make_text(
                    target, source
                )[20:]
                write_lines(tmp_path / "mine" / f"{source}-{target}.txt", text)
    return tmp_path / "mine"


def results(output: Path) -> dict[str, bytes]:
    """Return every file but receipts, which hold times."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and "receipts" not in path.parts
    }


def test_files_are_two_a_language_and_not_one_a_cell(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    score_systems([system], flores, "devtest", tmp_path / "o", ["chrf++", "bleu"], CONFIG)
    names = {name for name in results(tmp_path / "o") if name.endswith(".parquet")}
    assert names == {
        f"{folder}/{code}.parquet" for folder in ("cells", "statistics") for code in LANGUAGES
    }


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_run_that_was_killed_goes_on_to_the_same_bytes(
    kept: int, flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ([system], flores, "devtest")
    metrics = ["chrf++", "bleu"]
    score_systems(*arguments, tmp_path / "o", metrics, CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr("eval.statistics.cells.write_table", killed_after(kept))
        with pytest.raises(KeyboardInterrupt):
            score_systems(*arguments, tmp_path / "k", metrics, CONFIG)
    score_systems(*arguments, tmp_path / "k", metrics, CONFIG)
    assert results(tmp_path / "k") == results(tmp_path / "o")


def killed_after(number: int) -> Callable[[Path, object], None]:
    """Return a writer of tables that is interrupted once it wrote that many."""
    written: list[Path] = []

    def write(path: Path, table: object) -> None:
        if len(written) == number:
            raise KeyboardInterrupt
        written.append(path)
        write_table(path, table)

    return write


def test_second_run_counts_nothing_and_changes_nothing(
    flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++"], CONFIG)
    first = score_systems(*arguments)
    before = results(tmp_path / "o")
    monkeypatch.setattr("eval.metrics.measures.count_chrf", None)
    assert score_systems(*arguments).rows == first.rows
    assert results(tmp_path / "o") == before


def test_other_metrics_in_the_same_output_replace_the_tables(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    arguments = ([system], flores, "devtest")
    score_systems(*arguments, tmp_path / "o", ["chrf++"], CONFIG)
    both = score_systems(*arguments, tmp_path / "o", ["chrf", "bleu"], CONFIG)
    assert {row.metric for row in both.rows} == {"chrf", "bleu"}
    back = score_systems(*arguments, tmp_path / "o", ["chrf++"], CONFIG)
    alone = score_systems(*arguments, tmp_path / "p", ["chrf++"], CONFIG)
    assert back.rows == alone.rows


def test_lost_receipts_cost_no_counting(
    flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++"], CONFIG)
    score_systems(*arguments)
    before = results(tmp_path / "o")
    shutil.rmtree(tmp_path / "o" / "receipts")
    monkeypatch.setattr("eval.metrics.measures.count_chrf", None)
    score_systems(*arguments)
    assert results(tmp_path / "o") == before


def test_store_may_be_shared_and_is_found_by_content(
    flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ScoreConfig(resamples=0, store=tmp_path / "store")
    score_systems([system], flores, "devtest", tmp_path / "o", ["chrf++"], config)
    renamed = tmp_path / "other_name"
    shutil.copytree(system, renamed)
    monkeypatch.setattr("eval.metrics.measures.count_chrf", None)
    scores = score_systems([renamed], flores, "devtest", tmp_path / "p", ["chrf++"], config)
    assert {row.system for row in scores.rows} == {"other_name"}


def test_statistics_file_counts_equal_files_once(tmp_path: Path) -> None:
    for name, lines in {"r": ["a b c", "d"], "x": ["a b", "d"], "y": ["a b", "d"]}.items():
        write_lines(tmp_path / name, lines)
    references = read_references([tmp_path / "r"])
    first, second = (read_text(tmp_path / name) for name in "xy")
    file = StatisticsFile(tmp_path / "s.parquet")
    found, counted = file.count(ChrfMeasure(), references, [first, second])
    assert counted == 1
    assert (found.hypotheses[0] == found.hypotheses[1]).all()
    file.save()
    again, counted = StatisticsFile(tmp_path / "s.parquet").count(
        ChrfMeasure(), references, [second]
    )
    assert counted == 0
    assert (again.hypotheses[0] == found.hypotheses[0]).all()
    assert (again.references == found.references).all()


def test_other_references_are_other_statistics(flores: Path, system: Path, tmp_path: Path) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf"], ScoreConfig(resamples=0))
    before = {row.direction: row for row in score_systems(*arguments).rows}
    write_lines(flores / "devtest" / "rus_Cyrl.devtest", make_text("rus_Cyrl", "new"))
    after = {row.direction: row for row in score_systems(*arguments).rows}
    for direction, row in after.items():
        is_changed = direction.target == "rus_Cyrl"
        assert (row.signature != before[direction].signature) == is_changed
        assert (row.value != before[direction].value) == is_changed


def test_damaged_store_is_named(flores: Path, system: Path, tmp_path: Path) -> None:
    path = tmp_path / "o" / "statistics" / "rus_Cyrl.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 cut off")
    with pytest.raises(TonguesError, match=r"rus_Cyrl\.parquet is not a readable Parquet file"):
        score_systems([system], flores, "devtest", tmp_path / "o", ["chrf"], CONFIG)


def test_numpy_path_gives_the_same_tables(
    flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ([system], flores, "devtest")
    metrics = ["chrf++", "bleu", "chrf"]
    score_systems(*arguments, tmp_path / "o", metrics, CONFIG)
    monkeypatch.setattr(counts, "_library", lambda: None)
    score_systems(*arguments, tmp_path / "n", metrics, CONFIG)
    assert results(tmp_path / "n") == results(tmp_path / "o")


def test_intervals_hold_the_score_and_sentences_their_mean(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    config = ScoreConfig(resamples=200, segments=True)
    scores = score_systems([system], flores, "devtest", tmp_path / "o", ["chrf++"], config)
    for row in scores.rows:
        assert row.low is not None
        assert row.high is not None
        assert row.low < row.value < row.high
        table = pq.read_table(tmp_path / "o" / "segments" / f"{row.direction.target}.parquet")
        own = [
            entry["chrf++"]
            for entry in table.to_pylist()
            if (entry["system"], entry["source"]) == (row.system, row.direction.source)
        ]
        assert len(own) == LINES
        assert sum(own) / LINES == pytest.approx(row.sentence_mean)
    row = scores.rows[0]
    texts = [read_text(system / f"{row.direction}.txt").lines, make_text(
        row.direction.target, "reference"
    )]  # fmt: skip
    first = sacrebleu.sentence_chrf(texts[0][0], [texts[1][0]], word_order=2).score
    cells = read_cells(tmp_path / "o" / "cells" / f"{row.direction.target}.parquet")
    assert len(cells) == 2
    table = pq.read_table(tmp_path / "o" / "segments" / f"{row.direction.target}.parquet")
    assert first in [pytest.approx(value) for value in table.column("chrf++").to_pylist()]


def test_check_with_sacrebleu_passes_and_a_wrong_score_fails(
    flores: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++", "bleu", "ter"])
    score_systems(*arguments, dataclasses.replace(CONFIG, check_with_sacrebleu=18))
    monkeypatch.setattr(sacrebleu_check, "TOLERANCE", -1.0)
    with pytest.raises(TonguesError, match="sacrebleu scores 18 of 18 cells otherwise"):
        score_systems(*arguments, dataclasses.replace(CONFIG, check_with_sacrebleu=100))


def test_check_finds_a_changed_integer(flores: Path, system: Path, tmp_path: Path) -> None:
    arguments = ([system], flores, "devtest", tmp_path / "o", ["chrf++"])
    score_systems(*arguments, CONFIG)
    path = tmp_path / "o" / "statistics" / "rus_Cyrl.parquet"
    table = pq.read_table(path)
    packed = [
        blob if not key else blob[:5] + bytes([blob[5] + 1]) + blob[6:]
        for blob, key in zip(
            table.column("packed").to_pylist(), table.column("hypotheses").to_pylist(), strict=True
        )
    ]
    changed = table.set_column(4, "packed", [packed])
    pq.write_table(changed, path)
    with pytest.raises(TonguesError, match=r"rus_Cyrl\.txt, chrf\+\+: line 5 has the statistics"):
        score_systems(*arguments, dataclasses.replace(CONFIG, check_with_sacrebleu=100))


def test_manifest_names_systems_directions_and_files(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    rows = [
        "system\tsource\ttarget\tpath",
        "a\teng_Latn\trus_Cyrl\tmine/eng_Latn-rus_Cyrl.txt",
        "b\teng_Latn\trus_Cyrl\tmine/hin_Deva-rus_Cyrl.txt",
    ]
    write_lines(tmp_path / "m.tsv", rows)
    arguments = [
        "score", "--manifest", str(tmp_path / "m.tsv"), "--flores", str(flores),
        "--output", str(tmp_path / "o"), "--metrics", "chrf", "--config",
        "check_with_sacrebleu=2",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert set(find_systems([], tmp_path / "m.tsv")) == {"a", "b"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\teng_Latn\trus_Cyrl", r"m\.tsv:3: 3 columns"),
        ("a\txyz\trus_Cyrl\tx.txt", r"m\.tsv:3: `xyz` is not a language"),
        ("a\teng_Latn\thin_Deva\tabsent.txt", r"m\.tsv:3: .*absent\.txt does not exist"),
        ("a\teng_Latn\trus_Cyrl\tx.txt", r"m\.tsv:3: a has eng_Latn-rus_Cyrl already"),
        ("copy\teng_Latn\trus_Cyrl\tx.txt", r"m\.tsv:3: a system cannot be called `copy`"),
    ],
)
def test_mistake_in_a_manifest_is_named_with_its_line(
    row: str, message: str, tmp_path: Path
) -> None:
    write_lines(tmp_path / "x.txt", ["x"])
    first = "a\teng_Latn\trus_Cyrl\tx.txt"
    write_lines(tmp_path / "m.tsv", ["system\tsource\ttarget\tpath", first, row])
    with pytest.raises(DataError, match=message):
        find_systems([], tmp_path / "m.tsv")


def test_nothing_to_score_is_said() -> None:
    with pytest.raises(UserError, match="--hypotheses DIR or --manifest FILE"):
        find_systems([])


def test_all_short_files_are_named_at_once(flores: Path, system: Path, tmp_path: Path) -> None:
    for name in ("eng_Latn-rus_Cyrl", "rus_Cyrl-hin_Deva"):
        write_lines(system / f"{name}.txt", ["x"])
    with pytest.raises(DataError) as caught:
        score_systems([system], flores, "devtest", tmp_path / "o", ["chrf"], CONFIG)
    assert str(caught.value).count("has 1 lines and") == 2


def test_copied_and_broken_files_are_warned_of(flores: Path, system: Path, tmp_path: Path) -> None:
    shutil.copy(system / "eng_Latn-rus_Cyrl.txt", system / "hin_Deva-rus_Cyrl.txt")
    data = b"\xff\xfe broken\n" + "и\n".encode() * (LINES - 1)
    (system / "rus_Cyrl-hin_Deva.txt").write_bytes(data)
    scores = score_systems([system], flores, "devtest", tmp_path / "o", ["chrf"], CONFIG)
    warnings = "\n".join(scores.warnings)
    assert "2 files have the same content: eng_Latn-rus_Cyrl.txt, hin_Deva-rus_Cyrl.txt" in warnings
    assert "rus_Cyrl-hin_Deva.txt: 1 of 30 lines are not UTF-8" in warnings


def test_last_line_needs_no_newline_and_carriage_returns_go(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x\ny")
    (tmp_path / "b").write_bytes(b"x\r\ny\r\n")
    assert read_text(tmp_path / "a").lines == read_text(tmp_path / "b").lines == ["x", "y"]
    assert read_text(tmp_path / "a").digest == read_text(tmp_path / "b").digest
    (tmp_path / "c").write_bytes(b"")
    assert read_text(tmp_path / "c").lines == []
    (tmp_path / "d").write_bytes(b"\n")
    assert read_text(tmp_path / "d").lines == [""]


@pytest.mark.slow
def test_workers_change_nothing(flores: Path, system: Path, tmp_path: Path) -> None:
    arguments = ([system], flores, "devtest")
    score_systems(*arguments, tmp_path / "o", ["chrf++"], CONFIG)
    config = ScoreConfig(resamples=50, workers=2)
    score_systems(*arguments, tmp_path / "w", ["chrf++"], config)
    one, two = results(tmp_path / "o"), results(tmp_path / "w")
    del one["config.yaml"], two["config.yaml"]
    assert one == two


def test_tokenizer_nobody_knows_is_refused_before_anything_is_written(
    flores: Path, system: Path, tmp_path: Path
) -> None:
    config = ScoreConfig(bleu_tokenizer="14b")
    with pytest.raises(UserError, match=r"no tokenizer `14b`.*13a"):
        score_systems([system], flores, "devtest", tmp_path / "o", ["bleu"], config)
    assert not (tmp_path / "o").exists()


def test_half_written_files_of_a_killed_run_are_no_hypotheses(tmp_path: Path) -> None:
    write_lines(tmp_path / "eng_Latn-fra_Latn.txt", ["a"])
    write_lines(tmp_path / ".tmp~node~7~eng_Latn-deu_Latn.txt", ["b"])
    (files,) = find_systems([tmp_path]).values()
    assert list(map(str, files)) == ["eng_Latn-fra_Latn"]
