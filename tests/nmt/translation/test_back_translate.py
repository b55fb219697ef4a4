from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import UserError
from corpus.jobs import Outcome, Task
from corpus.languages import Direction
from corpus.records import SENTENCES_SCHEMA, bitext_files, read_bitext, write_table
from nmt.model.directory import load_model, read_description
from nmt.translation.back_translate import PARTS, BackTranslate, back_translate, read_sentences
from nmt.translation.decoding.config import BackTranslateConfig, SamplingConfig, TranslateConfig
from nmt.translation.translator import TextTranslator

DIRECTION = Direction("qaa_Latn", "qab_Latn")
NAME = "qaa_Latn-qab_Latn"
LINES = ["bara kino", "", "kili mo tu", "tuli", "še še še", "gura moli", "bano tu kira"]
DRAWN = TranslateConfig(method="sampling", max_length_constant=300, threads=1)
"""A model after six updates repeats itself under beam search; what is drawn comes to an end."""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    content = "".join(f"{line}\n" for line in LINES)
    (tmp_path / "text" / "qab_Latn.txt").write_text(content, encoding="utf-8")
    return tmp_path / "text"


def config(part_sentences: int, translate: TranslateConfig = DRAWN) -> BackTranslateConfig:
    return BackTranslateConfig(part_sentences=part_sentences, translate=translate)


def test_model_writes_the_source_and_the_text_is_the_target(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    summary = back_translate(trained_model, text, [DIRECTION], tmp_path / "out", config(100))
    assert bitext_files(tmp_path / "out") == {DIRECTION: tmp_path / "out" / f"{NAME}.parquet"}
    table = read_bitext(tmp_path / "out" / f"{NAME}.parquet")
    translator = TextTranslator(load_model(trained_model), DRAWN)
    found = translator.translate_scored(LINES, "qab_Latn", "qaa_Latn")
    kept = [
        (one.text, line, f"qab_Latn.txt:{number}")
        for number, (line, one) in enumerate(zip(LINES, found, strict=True), 1)
        if one.text and one.is_complete and one.text != line
    ]
    columns = (table.column(name).to_pylist() for name in ("source", "target", "target_document"))
    assert list(zip(*columns, strict=True)) == kept
    scores = [one.score for one in found if one.text and one.is_complete]
    assert table.column("score").to_pylist() == pytest.approx(scores)
    writer = f"model:{read_description(trained_model).weights_digest}"
    assert set(table.column("source_document").to_pylist()) == {writer}
    rejected = sum(n for name, n in summary.counts.items() if name.startswith("rejected."))
    assert summary.counts["sentences"] == len(LINES) == summary.counts["pairs"] + rejected
    assert summary.counts["rejected.empty"] == 1


def test_pairs_do_not_depend_on_how_text_is_cut_into_tasks(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    for size in (2, 100):
        back_translate(trained_model, text, [DIRECTION], tmp_path / str(size), config(size))
    tables = [read_bitext(tmp_path / size / f"{NAME}.parquet") for size in ("2", "100")]
    for name in ("source", "target", "target_document"):
        assert tables[0].column(name).to_pylist() == tables[1].column(name).to_pylist()


def test_run_that_was_stopped_goes_on_to_the_same_bytes(
    trained_model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(2)
    back_translate(trained_model, text, [DIRECTION], tmp_path / "whole", settings)
    work = BackTranslate.__call__
    done: list[str] = []

    def stop_at_third(self: BackTranslate, task: Task) -> Outcome:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.name)
        return work(self, task)

    with monkeypatch.context() as patched:
        patched.setattr(BackTranslate, "__call__", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            back_translate(trained_model, text, [DIRECTION], tmp_path / "stopped", settings)
    assert not list((tmp_path / "stopped").glob("*.parquet"))
    summary = back_translate(trained_model, text, [DIRECTION], tmp_path / "stopped", settings)
    assert summary.skipped == 2
    names = (f"{NAME}.parquet", f"{NAME}.parquet")
    whole, stopped = (
        (tmp_path / folder / name).read_bytes()
        for folder, name in zip(("whole", "stopped"), names, strict=True)
    )
    assert whole == stopped


def test_sentences_of_mining_keep_their_document_and_more_of_them_may_come(
    trained_model: Path, tmp_path: Path
) -> None:
    def write(shard: str, lines: list[str]) -> None:
        columns = [lines, [1.0] * len(lines), [f"{shard}/{i}" for i in range(len(lines))]]
        columns += [[0] * len(lines), list(range(len(lines)))]
        table = pa.table(columns, schema=SENTENCES_SCHEMA)
        write_table(tmp_path / "text" / "qab_Latn" / f"{shard}.parquet", table)

    write("0001", ["bara kino", "kili mo"])
    for expected in ({"0001/0", "0001/1"}, {"0001/0", "0001/1", "0002/0"}):
        back_translate(trained_model, tmp_path / "text", [DIRECTION], tmp_path / "out", config(1))
        table = read_bitext(tmp_path / "out" / f"{NAME}.parquet")
        assert set(table.column("target_document").to_pylist()) == expected
        parts = {p.stem for p in (tmp_path / "out" / "parts" / NAME).iterdir()}
        assert parts == {name.split("/")[0] for name in expected}
        write("0002", ["tuli"])


def test_sentences_are_read_from_any_place(text: Path, tmp_path: Path) -> None:
    path = text / "qab_Latn.txt"
    assert [one.text for one in read_sentences(path, 2, 3)] == LINES[2:5]
    table = pa.table(
        [LINES, [1.0] * 7, list("abcdefg"), [0] * 7, list(range(7))], schema=SENTENCES_SCHEMA
    )
    write_table(tmp_path / "shard.parquet", table)
    found = list(read_sentences(tmp_path / "shard.parquet", 5, 9))
    assert [(one.text, one.document) for one in found] == [(LINES[5], "f"), (LINES[6], "g")]


def test_translations_that_are_no_translations_are_counted_by_reason(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    def counts(name: str, settings: BackTranslateConfig) -> dict[str, int]:
        found = back_translate(trained_model, text, [DIRECTION], tmp_path / name, settings).counts
        return {reason: n for reason, n in found.items() if n and reason.startswith("rejected")}

    short = TranslateConfig(
        method="sampling",
        threads=1,
        max_length_factor=0.0,
        max_length_constant=2,
        sampling=SamplingConfig(seed=5),
    )
    found = counts("short", config(100, short))
    assert found["rejected.unfinished"] > 0
    strict = BackTranslateConfig(translate=DRAWN, min_score=0.0)
    assert counts("strict", strict).get("rejected.low_score", 0) > 0
    few = BackTranslateConfig(translate=DRAWN, max_sentences=3, part_sentences=2)
    summary = back_translate(trained_model, text, [DIRECTION], tmp_path / "few", few)
    assert summary.counts["sentences"] == 3


def test_text_that_is_not_there_is_refused(trained_model: Path, text: Path, tmp_path: Path) -> None:
    run: Callable[[Direction], object] = lambda direction: back_translate(  # noqa: E731
        trained_model, text, [direction], tmp_path / "out", config(5)
    )
    with pytest.raises(UserError, match="holds no text of `qaa_Latn`"):
        run(DIRECTION.reverse)
    (text / "qaa_Latn.txt").write_text("")
    with pytest.raises(UserError, match="holds no sentence of `qaa_Latn`"):
        run(DIRECTION.reverse)
    assert PARTS not in {path.name for path in tmp_path.rglob("*")}
