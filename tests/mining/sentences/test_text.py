import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from corpus.errors import JobError, UserError
from corpus.files import read_lines
from corpus.records import SENTENCES_SCHEMA, write_table
from mining.cli import group
from mining.sentences.config import SentencesConfig, TextConfig
from mining.sentences.text import run_text, run_text_of_shards
from tests.mining.sentences.test_sentences import PAGES, load_by_script, write_shards

SENTENCES = {
    "hau_Latn/a": [("Ina kwana?", 0.9), ("Lafiya lau.", 0.4)],
    "hau_Latn/b": [("Na gode sosai.", 0.8)],
    "rus_Cyrl/a": [("Она читает книгу дома.", 0.95), ("Да.", 0.9)],
}
ONE_PROCESS = SentencesConfig(workers=1)


def write_sentences(folder: Path, sentences: dict[str, list[tuple[str, float]]]) -> Path:
    for shard, rows in sentences.items():
        table = [
            {"text": text, "lid_score": score, "document": "u0", "position": place, "hash": place}
            for place, (text, score) in enumerate(rows)
        ]
        write_table(folder / f"{shard}.parquet", pa.Table.from_pylist(table, SENTENCES_SCHEMA))
    return folder


def config(**values: Any) -> TextConfig:
    return TextConfig(workers=1, sentences=ONE_PROCESS, **values)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_sentences_are_written_a_line_each_by_language(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    counts = run_text(made, tmp_path / "out", config())
    assert files(tmp_path / "out") == ["config.yaml", "hau_Latn.txt", "rus_Cyrl.txt"]
    assert read_lines(tmp_path / "out/hau_Latn.txt") == [
        "Ina kwana?", "Lafiya lau.", "Na gode sosai.",
    ]  # fmt: skip
    assert (counts["read"], counts["written"]) == (5, 5)
    assert counts["characters"] == sum(len(t) for rows in SENTENCES.values() for t, _ in rows)


def test_filters_count_what_they_leave_out(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    limits = config(min_lid_score=0.5, min_characters=4, max_characters=15)
    counts = run_text(made, tmp_path / "out", limits)
    assert read_lines(tmp_path / "out/hau_Latn.txt") == ["Ina kwana?", "Na gode sosai."]
    assert not (tmp_path / "out/rus_Cyrl.txt").exists()  # nothing is left of it
    rejected = {key: value for key, value in counts.items() if key.startswith("rejected.")}
    assert rejected == {
        "rejected.low_lid_score": 1, "rejected.too_short": 1, "rejected.too_long": 1,
    }  # fmt: skip
    assert counts["read"] == counts["written"] + sum(rejected.values())


def test_json_lines_have_language_and_source(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    run_text(made, tmp_path / "out", config(suffix=".jsonl.gz"), ["rus_Cyrl"])
    assert files(tmp_path / "out") == ["config.yaml", "rus_Cyrl.jsonl.gz"]
    lines = gzip.decompress((tmp_path / "out/rus_Cyrl.jsonl.gz").read_bytes()).decode()
    row = json.loads(lines.split("\n")[0])
    assert row["lid_score"] == pytest.approx(0.95)
    del row["lid_score"]
    assert row == {
        "language": "rus_Cyrl", "text": "Она читает книгу дома.", "document": "u0", "position": 0,
    }  # fmt: skip


def test_line_breaks_inside_a_sentence_do_not_shift_lines(tmp_path: Path) -> None:
    rows = [("one\ntwo\r\nthree", 0.9), ("u2028 \u2028 stays", 0.9)]
    made = write_sentences(tmp_path / "in", {"eng_Latn/a": rows})
    run_text(made, tmp_path / "out", config())
    assert read_lines(tmp_path / "out/eng_Latn.txt") == ["one two  three", "u2028 \u2028 stays"]


def test_another_language_is_added_and_a_rerun_does_nothing(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    run_text(made, tmp_path / "out", config(), ["hau_Latn"])
    before = (tmp_path / "out/hau_Latn.txt").stat().st_mtime_ns
    run_text(made, tmp_path / "out", config())
    assert (tmp_path / "out/hau_Latn.txt").stat().st_mtime_ns == before
    assert (tmp_path / "out/rus_Cyrl.txt").exists()
    with pytest.raises(UserError, match="min_characters"):
        run_text(made, tmp_path / "out", config(min_characters=4))


def test_damaged_shard_leaves_no_half_a_file_and_the_others_are_done(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    whole = (made / "hau_Latn/b.parquet").read_bytes()
    (made / "hau_Latn/b.parquet").write_bytes(whole[:-20])
    with pytest.raises(JobError, match="hau_Latn"):
        run_text(made, tmp_path / "out", config())
    assert files(tmp_path / "out") == ["config.yaml", "rus_Cyrl.txt"]
    (made / "hau_Latn/b.parquet").write_bytes(whole)
    run_text(made, tmp_path / "out", config())
    assert len(read_lines(tmp_path / "out/hau_Latn.txt")) == 3


def test_text_of_shards_is_that_of_their_sentences(tmp_path: Path) -> None:
    lid = tmp_path / "lid"
    lid.mkdir()
    (lid / "model.bin").write_bytes(b"stand-in")
    shards = write_shards(tmp_path / "in", PAGES, 2)
    arguments = (shards, lid, tmp_path / "out", config(), load_by_script)
    counts = run_text_of_shards(*arguments, ["rus_Cyrl"])
    assert files(tmp_path / "out") == ["config.yaml", "rus_Cyrl.txt"]
    assert sorted(read_lines(tmp_path / "out/rus_Cyrl.txt")) == [
        "Он спит очень долго.", "Она читает книгу дома.",
    ]  # fmt: skip
    assert (counts["kept"], counts["written"]) == (9, 2)
    with pytest.raises(UserError, match="does not know `fra_Latn`; it knows 4 languages"):
        run_text_of_shards(*arguments, ["fra_Latn"])


def test_a_language_that_is_not_there_is_named_beside_those_that_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    with pytest.raises(UserError, match="no sentences of `fra_Latn`; it holds `hau_Latn`, `rus"):
        run_text(made, tmp_path / "out", config(), ["fra_Latn"])
    run_text(made, tmp_path / "out", config(), ["fra_Latn", "hau_Latn"])
    assert "no sentences of `fra_Latn`" in caplog.text
    assert files(tmp_path / "out") == ["config.yaml", "hau_Latn.txt"]


def test_text_has_the_name_that_the_user_gives_a_language(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", {"zho_Hans/a": [("今天天气很好。", 0.99)]})
    run_text(made, tmp_path / "out", config(suffix=".jsonl"), ["cmn_Hans"])
    [row] = map(json.loads, read_lines(tmp_path / "out/cmn_Hans.jsonl"))
    assert (row["language"], row["lid_score"]) == ("cmn_Hans", 0.99)


def test_command_prints_a_table_by_language(tmp_path: Path) -> None:
    made = write_sentences(tmp_path / "in", SENTENCES)
    arguments = ["text", "--sentences", str(made), "--config", "workers=1", "--output"]
    result = CliRunner().invoke(group, [*arguments, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stderr.split("\n") if re.match("[a-z]{3}_[A-Z]", line)]
    assert [row[:3] for row in rows] == [["hau_Latn", "Hausa", "3"], ["rus_Cyrl", "Russian", "2"]]
    again = CliRunner().invoke(group, [*arguments, str(tmp_path / "out"), "--json"])
    told = json.loads(again.stdout)
    assert told["written"] == 5
    assert told["languages"]["rus_Cyrl"]["written"] == 2
    for wrong in (["shard.txt"], ["shard.txt", "--lid", "lid"], ["--lid", "lid"]):
        refused = CliRunner().invoke(group, [*arguments, str(tmp_path / "x"), *wrong])
        assert isinstance(refused.exception, UserError)


def test_sentences_command_prints_a_table_by_language(tmp_path: Path) -> None:
    lid = tmp_path / "lid"
    lid.mkdir()
    (lid / "model.bin").write_bytes(b"stand-in")
    shards = map(str, write_shards(tmp_path / "in", PAGES, 1))
    arguments = ["sentences", *shards, "--lid", str(lid), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(
        group, [*arguments, "--config", "workers=1"], obj={"load_identifier": load_by_script}
    )
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^(\w{8}) .*?  (\d)  +(\d+\.\d)%  +(\d+) .*  (\S.*)$", result.stderr, re.M)
    assert [row[:4] for row in rows] == [
        ("eng_Latn", "3", "33.3", "64"),
        ("hin_Deva", "2", "22.2", "25"),
        ("rus_Cyrl", "2", "22.2", "42"),
        ("zho_Hans", "2", "22.2", "14"),
    ]
    assert rows[0][4] == "0.90 The price is 75 coins today."
    again = [*arguments, "--config", "workers=1", "--json"]
    told = json.loads(
        CliRunner().invoke(group, again, obj={"load_identifier": load_by_script}).stdout
    )
    assert told["languages"]["rus_Cyrl"]["kept"] == 2
