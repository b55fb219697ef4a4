"""Sentences under load: killed at any moment, many workers and shards, little memory."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from corpus.jobs import hold_lock
from corpus.records import SENTENCES_SCHEMA, read_table, sentence_languages, sentence_shards
from mining.sentences.extract import PARTS_LOCK, SHARDS, WORK
from mining.sentences.runs import RUN_SUFFIX

PROGRAM = Path(__file__).with_name("sentences_process.py")
ROOT = Path(__file__).parents[3]
WORDS = {
    "eng_Latn": "river wide house bread reads long green water night morning under",
    "rus_Cyrl": "река дом хлеб читает долго вода ночь утро камень под зелёный широкий",
    "hin_Deva": "नदी घर रोटी पढ़ता लंबा पानी रात सुबह पत्थर नीचे हरा चौड़ा",
}
Row = tuple[str, str, int]


def make_documents(count: int, sentences: int, kinds: int) -> list[dict[str, str]]:
    """Return documents with sentences drawn from `kinds` different ones, so that copies abound."""
    generator = random.Random(7)
    drawn = []
    for _ in range(kinds):
        words = WORDS[generator.choice(list(WORDS))].split()
        number = generator.randrange(40) or ""
        drawn.append(" ".join([*generator.choices(words, k=9), str(number)]).strip() + ".")
    return [
        {
            "url": f"https://example.org/{i}",
            "text": "\n".join(generator.choices(drawn, k=sentences)),
        }
        for i in range(count)
    ]


def write_shards(folder: Path, documents: Sequence[dict[str, str]], count: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"part-{number}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        lines = [json.dumps(document) for document in documents[number::count]]
        path.write_text("\n".join(lines), encoding="utf-8")
    return paths


def command(output: Path, shards: Sequence[Path], *options: str) -> list[str]:
    lid = output.parent / "lid"
    lid.mkdir(exist_ok=True)
    (lid / "model.bin").write_bytes(b"stand-in")
    return [sys.executable, str(PROGRAM), str(output), str(lid), *options, "--", *map(str, shards)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(output: Path, shards: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(output, shards, *options),
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


def rows_of(output: Path) -> dict[str, Counter[Row]]:
    return {
        language: Counter(
            (row["text"], row["document"], row["position"])
            for shard in sentence_shards(output, language)
            for row in read_table(shard, SENTENCES_SCHEMA).to_pylist()
        )
        for language in sentence_languages(output)
    }


def bytes_of(output: Path) -> dict[str, bytes]:
    """Return all that a person was promised: not the receipts with their times, no hidden work."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*.parquet"))
        if path.relative_to(output).parts[0] != ".work"
    }


@pytest.mark.slow
def test_three_or_thirty_shards_and_one_or_two_workers_give_the_same_bytes(tmp_path: Path) -> None:
    documents = make_documents(300, 12, 900)
    found = {}
    for shards, workers in ((1, 1), (3, 1), (30, 1), (30, 2)):
        output = tmp_path / f"out-{shards}-{workers}"
        paths = write_shards(tmp_path / f"in-{shards}-{workers}", documents, shards)
        options = (f"workers={workers}", "memory_mb=1", "bucket_sentences=500")
        result = run(output, paths, *options)
        assert result.returncode == 0, result.stderr
        found[shards, workers] = bytes_of(output)
    rows = rows_of(tmp_path / "out-1-1")
    assert set(rows) == set(WORDS)
    assert sum(count for some in rows.values() for count in some.values()) > 300
    first, *others = found.values()
    assert len(first) >= 8  # 3,600 sentences with their copies, in buckets of at most 500
    assert all(other == first for other in others)


def run_until(output: Path, files: int, shards: Sequence[Path], *options: str) -> bool:
    """Run and kill as soon as so many files are there; return whether it came to that."""
    process = subprocess.Popen(
        command(output, shards, *options),
        env=environment(), stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None:
        # `os.walk` does not mind folders that go while it walks.
        if sum(len(names) for _, _, names in os.walk(output)) >= files:
            # The whole session: its workers must not live on beside the next run.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.005)
    return False


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", make_documents(200, 25, 3000), 6)
    options = ("workers=2", "write_rejects=true")
    undisturbed = run(tmp_path / "undisturbed", shards, *options)
    assert undisturbed.returncode == 0, undisturbed.stderr
    wanted = bytes_of(tmp_path / "undisturbed")
    assert any(name.startswith("rejects/extract/") for name in wanted)
    assert any(name.startswith("rejects/merge/") for name in wanted)
    files = sum(path.is_file() for path in (tmp_path / "undisturbed").rglob("*"))
    output = tmp_path / "killed"
    kills = [run_until(output, files * share // 8, shards, *options) for share in range(1, 8)]
    assert sum(kills) >= 5
    again = run(output, shards, *options)
    assert again.returncode == 0, again.stderr
    assert bytes_of(output) == wanted


@pytest.mark.slow
def test_killed_between_its_jobs_or_with_a_shard_more_it_goes_on(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", make_documents(90, 8, 300), 3)
    assert run(tmp_path / "all", shards).returncode == 0
    output = tmp_path / "grown"
    assert run(output, shards[:1]).returncode == 0
    old_receipts = (output / "receipts" / "merge").rename(tmp_path / "old")
    assert run(output, shards).returncode == 0
    # As if killed when all shards were extracted and nothing was merged anew yet.
    (output / "receipts" / "merge").rename(tmp_path / "new")
    old_receipts.rename(output / "receipts" / "merge")
    result = run(output, shards)
    assert result.returncode == 0, result.stderr
    assert bytes_of(output) == bytes_of(tmp_path / "all")


@pytest.mark.slow
def test_shards_left_out_take_their_sentences_with_them(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", make_documents(90, 8, 300), 3)
    output = tmp_path / "shrunk"
    assert run(output, shards).returncode == 0
    assert run(output, shards[:2]).returncode == 0
    assert run(tmp_path / "two", shards[:2]).returncode == 0
    assert bytes_of(output) == bytes_of(tmp_path / "two")


@pytest.mark.slow
def test_memory_is_bounded_by_the_configuration_not_by_the_shard(tmp_path: Path) -> None:
    # 320,000 sentences, most of them different: some 60 MB.
    warm_up = write_shards(tmp_path / "warm", make_documents(20, 10, 100), 1)
    shard = write_shards(tmp_path / "in", make_documents(12_800, 25, 320_000), 1)
    result = run(tmp_path / "small", [*warm_up, *shard], "limit_mb=24", "memory_mb=4", "workers=1")
    assert result.returncode == 0, result.stderr
    assert run(tmp_path / "large", shard, "memory_mb=1024", "workers=1").returncode == 0
    assert bytes_of(tmp_path / "small") == bytes_of(tmp_path / "large")
    starved = run(
        tmp_path / "starved", [*warm_up, *shard], "limit_mb=24", "memory_mb=1024", "workers=1"
    )
    assert starved.returncode not in (0, 3)


@pytest.mark.slow  # starts processes
def test_runs_that_redo_one_damaged_shard_leave_its_parts_to_the_one_that_merges(
    tmp_path: Path,
) -> None:
    (tmp_path / "lid").mkdir()
    (tmp_path / "lid" / "model.bin").write_bytes(b"stand-in")
    shards = write_shards(tmp_path / "in", make_documents(6, 4, 20), 2)
    damaged = shards[1].with_suffix(".jsonl.gz")
    damaged.write_bytes(gzip.compress(shards[1].read_bytes())[:-9])
    shards[1] = damaged
    output = tmp_path / "out"
    assert run(output, shards).returncode == 3
    expected = rows_of(output)
    part = output / WORK / SHARDS / (damaged.name.removesuffix(".jsonl.gz") + RUN_SUFFIX)
    before = part.stat().st_ino
    others = []
    try:
        # What a run holds while it merges.
        with hold_lock(output / WORK / PARTS_LOCK, PARTS_LOCK, wait=True, is_shared=True):
            for _ in range(2):
                arguments = command(output, shards)
                others.append(
                    subprocess.Popen(
                        arguments, env=environment(), stderr=subprocess.PIPE, text=True
                    )
                )
            deadline = time.monotonic() + 60
            while not list(part.parent.glob(".tmp~*")) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.5)
            assert list(part.parent.glob(".tmp~*"))
            assert part.stat().st_ino == before
        for other in others:
            _, told = other.communicate(timeout=60)
            assert (other.returncode, damaged.name in told) == (3, True), told
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert rows_of(output) == expected
