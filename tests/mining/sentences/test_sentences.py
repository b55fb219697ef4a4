import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pytest

from corpus.errors import JobError, UserError
from corpus.jobs import pricing
from corpus.protocols import Prediction
from corpus.records import SENTENCES_SCHEMA, read_table, sentence_languages, sentence_shards
from corpus.remote import find_files
from corpus.text import scripts_of
from mining.sentences import price, sentences
from mining.sentences.config import SentencesConfig
from mining.sentences.gather import FEW
from mining.sentences.rejects import REJECTS_SCHEMA
from mining.sentences.sentences import run_sentences
from tests.receipts import read_receipt

LANGUAGES = {"Latn": "eng_Latn", "Cyrl": "rus_Cyrl", "Deva": "hin_Deva", "Hani": "zho_Hans"}
ONE_PROCESS = SentencesConfig(workers=1)


class ByScript:
    """Identifies a language by its script: enough to know one of four languages apart."""

    languages = tuple(LANGUAGES.values())

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        found = [scripts_of(line).most_common(1) for line in lines]
        return [
            Prediction(LANGUAGES.get(counts[0][0], "und") if counts else "zxx", 0.9)
            for counts in found
        ]


def load_by_script(path: Path) -> ByScript:
    return ByScript()


@pytest.fixture
def lid(tmp_path: Path) -> Path:
    folder = tmp_path / "lid"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"stand-in")
    return folder


PAGES = [
    "Home | News | About\nThe river is long. The river is wide!\nОна читает книгу дома.",
    "The river is long.\nयह मेरा घर है। वह बड़ा है।\n© 2026 Example",
    "Она читает книгу дома. Он спит очень долго.\nThe price is 40 coins today.",
    "The price is 75 coins today.\n今天天气很好。我们去公园吧！\nThe river is wide!",
]


def write_shards(folder: Path, pages: Sequence[str], count: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        size = -(-len(pages) // count)
        part = pages[number * size : (number + 1) * size]
        lines = [json.dumps({"text": page, "url": f"u{pages.index(page)}"}) for page in part]
        path = folder / f"shard-{number}.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        paths.append(path)
    return paths


def run(shards: Sequence[Path], lid: Path, output: Path) -> dict[str, int]:
    return run_sentences(shards, lid, output, ONE_PROCESS, load_by_script)


def texts(output: Path) -> dict[str, list[tuple[str, str, int]]]:
    """Return text, document and position by language, in the order of documents and positions."""
    found = {}
    for language in sentence_languages(output):
        rows = [
            row
            for shard in sentence_shards(output, language)
            for row in read_table(shard, SENTENCES_SCHEMA).to_pylist()
        ]
        rows.sort(key=lambda row: (row["document"], row["position"]))
        found[language] = [(row["text"], row["document"], row["position"]) for row in rows]
    return found


def test_sentences_are_written_by_language_each_once(tmp_path: Path, lid: Path) -> None:
    run(write_shards(tmp_path / "in", PAGES, 1), lid, tmp_path / "out")
    assert texts(tmp_path / "out") == {
        "eng_Latn": [
            ("The river is long.", "u0", 0),
            ("The river is wide!", "u0", 1),
            ("The price is 75 coins today.", "u3", 0),
        ],
        "hin_Deva": [("यह मेरा घर है।", "u1", 1), ("वह बड़ा है।", "u1", 2)],
        "rus_Cyrl": [("Она читает книгу дома.", "u0", 2), ("Он спит очень долго.", "u2", 1)],
        "zho_Hans": [("今天天气很好。", "u3", 1), ("我们去公园吧！", "u3", 2)],
    }


@pytest.mark.parametrize("count", [1, 2, 4])
def test_number_of_shards_changes_neither_sentences_nor_counts(
    tmp_path: Path, lid: Path, count: int
) -> None:
    run(write_shards(tmp_path / "one", PAGES, 1), lid, tmp_path / "out1")
    counts = run(write_shards(tmp_path / "many", PAGES, count), lid, tmp_path / "out")
    assert texts(tmp_path / "out") == texts(tmp_path / "out1")
    assert counts["kept"] == 9


@pytest.mark.parametrize("count", [1, 4])
def test_every_sentence_is_kept_or_has_a_reason(tmp_path: Path, lid: Path, count: int) -> None:
    pages = [*PAGES, "Short.\n" + "Long. " + "word " * 400 + "\n\ufffd broken \ufffd letters here."]
    counts = run(write_shards(tmp_path / "in", pages, count), lid, tmp_path / "out")
    rejected = {key: value for key, value in counts.items() if key.startswith("rejected.")}
    assert counts["sentences"] == counts["kept"] + sum(rejected.values())
    assert rejected["rejected.too_long"] == 1
    assert rejected["rejected.damaged_characters"] == 1
    assert counts["boilerplate_lines.navigation"] == counts["boilerplate_lines.notice"] == 1


def test_rerun_does_nothing_and_counts_the_same(tmp_path: Path, lid: Path) -> None:
    shards = write_shards(tmp_path / "in", PAGES, 2)
    first = run(shards, lid, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert run(shards, lid, tmp_path / "out") == first
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert after == before


def test_truncated_shard_is_kept_and_reported_and_the_others_are_done(
    tmp_path: Path, lid: Path
) -> None:
    shards = write_shards(tmp_path / "in", PAGES, 2)
    whole = gzip.compress(b"The whole sentence is here.\n\n" + os.urandom(4000).hex().encode())
    damaged = tmp_path / "in" / "damaged.txt.gz"
    damaged.write_bytes(whole[:-2000])
    with pytest.raises(JobError, match=r"damaged: .*ends inside the member"):
        run([*shards, damaged], lid, tmp_path / "out")
    found = [text for text, _, _ in texts(tmp_path / "out")["eng_Latn"]]
    assert "The whole sentence is here." in found
    assert "The river is long." in found


def test_directory_without_a_model_is_the_users_mistake(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", PAGES, 1)
    with pytest.raises(UserError, match="is not a language identifier"):
        run(shards, tmp_path / "nowhere", tmp_path / "out")


def test_shard_by_url_gives_the_bytes_of_the_local_one(tmp_path: Path, lid: Path) -> None:
    (local,) = write_shards(tmp_path / "in", PAGES, 1)
    system = fsspec.filesystem("memory")
    system.pipe("/sentences/shard-0.jsonl", local.read_bytes())
    run([local], lid, tmp_path / "local")
    run_sentences(
        find_files(["memory://sentences/*.jsonl"]), lid, tmp_path / "far", ONE_PROCESS,
        load_by_script,
    )  # fmt: skip
    for shard in (tmp_path / "local").glob("*_*/*.parquet"):
        far = tmp_path / "far" / shard.relative_to(tmp_path / "local")
        assert far.read_bytes() == shard.read_bytes()
    receipt = read_receipt(tmp_path / "far", "extract", "shard-0")
    assert receipt["inputs"][-1]["path"] == "memory:///sentences/shard-0.jsonl"


def test_rejects_are_written_with_reason_and_place_if_wanted(tmp_path: Path, lid: Path) -> None:
    shards = write_shards(tmp_path / "in", PAGES, 2)
    config = SentencesConfig(workers=1, write_rejects=True)
    counts = run_sentences(shards, lid, tmp_path / "out", config, load_by_script)
    rows = [
        row
        for path in sorted((tmp_path / "out" / "rejects").rglob("*.parquet"))
        for row in read_table(path, REJECTS_SCHEMA).to_pylist()
    ]
    found = Counter(row["reason"] for row in rows)
    wanted = {
        reason.removeprefix("rejected."): count
        for reason, count in counts.items()
        if reason.startswith(("rejected.", "boilerplate_lines.")) and count
    }
    assert found == wanted
    assert {"duplicate", "near_duplicate", "boilerplate_lines.navigation"} <= set(found)
    navigation = next(row for row in rows if row["reason"] == "boilerplate_lines.navigation")
    assert navigation["text"] == "Home | News | About"
    assert (navigation["document"], navigation["language"]) == ("u0", None)
    # Without being asked for, none.
    run(shards, lid, tmp_path / "plain")
    assert not (tmp_path / "plain" / "rejects").exists()


def test_output_of_an_earlier_version_is_refused_with_the_way_to_redo_it(
    tmp_path: Path, lid: Path
) -> None:
    shards = write_shards(tmp_path / "in", PAGES, 1)
    (tmp_path / "out" / ".work" / "shard-0").mkdir(parents=True)
    (tmp_path / "out" / ".work" / "shard-0" / "eng_Latn.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"earlier version.*or delete it to start over"):
        run(shards, lid, tmp_path / "out")


def test_buckets_are_ranges_of_the_hash_in_its_order_whatever_the_shards(
    tmp_path: Path, lid: Path
) -> None:
    config = SentencesConfig(workers=1, bucket_sentences=2)
    found = {}
    for count in (1, 4):
        shards = write_shards(tmp_path / f"in{count}", PAGES, count)
        output = tmp_path / f"out{count}"
        run_sentences(shards, lid, output, config, load_by_script)
        found[count] = {
            str(path.relative_to(output)): path.read_bytes()
            for path in sorted(output.glob("*_*/*.parquet"))
        }
    assert found[1] == found[4]
    # English: six sentences with their copies, so four buckets of at most two on average.
    hashes = [
        (int(path.stem), value)
        for path in sentence_shards(tmp_path / "out1", "eng_Latn")
        for value in read_table(path, SENTENCES_SCHEMA)["hash"].to_pylist()
    ]
    assert len(hashes) == 3
    assert hashes == sorted(hashes, key=lambda one: one[1])
    assert all(bucket == value >> 62 for bucket, value in hashes)


def test_a_shard_is_one_file_however_many_languages(tmp_path: Path, lid: Path) -> None:
    run(write_shards(tmp_path / "in", PAGES, 4), lid, tmp_path / "out")
    work = tmp_path / "out" / ".work"
    assert len([path for path in (work / "shards").iterdir() if path.is_file()]) == 4


def test_runs_of_many_shards_are_gathered_and_give_the_rows_of_few(
    tmp_path: Path, lid: Path
) -> None:
    found = {}
    for count in (1, FEW, FEW + 1):
        output = tmp_path / f"out{count}"
        run(write_shards(tmp_path / f"in{count}", PAGES * 20, count), lid, output)
        assert (output / ".work" / "gathered").exists() == (count > FEW)
        found[count] = {
            path.relative_to(output): path.read_bytes()
            for path in sorted(output.glob("*_*/*.parquet"))
        }
    assert found[1] == found[FEW] == found[FEW + 1]
    assert len(found[1]) > 1


def test_large_shard_has_several_tasks_and_the_same_result(tmp_path: Path, lid: Path) -> None:
    (tmp_path / "in").mkdir()
    shard = tmp_path / "in" / "large.jsonl"
    page = "The river number {0} is long.\nОна читает книгу {0} дома."
    shard.write_text(
        "".join(json.dumps({"text": f"{page.format('x' * (n % 40))}"}) + "\n" for n in range(8_000))
    )
    assert 1 << 20 < shard.stat().st_size < 2 << 20
    counts = {}
    for size in (1, 1024):
        config = SentencesConfig(workers=1, shard_mb=size)
        output = tmp_path / f"out{size}"
        counts[size] = run_sentences([shard], lid, output, config, load_by_script)
    assert counts[1] == counts[1024]
    assert texts(tmp_path / "out1") == texts(tmp_path / "out1024")
    parts = sorted(path.name for path in (tmp_path / "out1" / ".work" / "shards").glob("[!.]*"))
    assert parts == ["large.part-0000.arrows", "large.part-0001.arrows"]


def test_large_compressed_shard_is_divided_and_its_price_knows_of_the_parts(
    tmp_path: Path, lid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing, "MEASURE_SECONDS", 0.0)
    shard = tmp_path / "large.warc.wet.gz"
    with shard.open("wb") as file:
        for number in range(300):
            noise = random.Random(number).randbytes(600).hex()
            body = f"The river {'x' * (number % 40)} is long.\n{noise}\n".encode()
            head = f"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: {len(body)}\r\n"
            uri = f"WARC-Target-URI: http://example.org/{number}\r\n\r\n"
            file.write(gzip.compress(f"{head}{uri}".encode() + body + b"\r\n\r\n"))
    monkeypatch.setattr(sentences, "_MEGABYTE", 1 << 18)
    monkeypatch.setattr(price, "_MEGABYTE", 1 << 18)
    counts = {}
    for size in (1, 1024):
        config = SentencesConfig(workers=1, shard_mb=size)
        output = tmp_path / f"out{size}"
        counts[size] = run_sentences([shard], lid, output, config, load_by_script)
    assert counts[1]["kept"] > 1
    assert counts[1] == counts[1024]
    assert texts(tmp_path / "out1") == texts(tmp_path / "out1024")
    parts = sorted((tmp_path / "out1" / ".work" / "shards").glob("[!.]*"))
    assert len(parts) == 4
    parts[0].unlink()
    config = SentencesConfig(workers=1, shard_mb=1)
    told = price.price_sentences([shard], lid, tmp_path / "out1", config, load_by_script)
    assert len(told.shards) == 4
    assert sum(told.shards.values()) == shard.stat().st_size
    assert told.done == tuple(sorted(told.shards))[1:]
    assert told.units_to_do == told.shards["large.part-0000"]
