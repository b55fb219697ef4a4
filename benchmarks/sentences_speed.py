"""MB of WET per second and core of `tongues mining sentences`, and where the time goes.

    python benchmarks/sentences_speed.py --lid DIR --text DIR [--against CHECKOUT]
        [--megabytes N]

TEXT holds `<language>.txt`, a sentence per line (NTREX-128, say). A WET shard is made of it: lines
of one to four sentences of one language, menus, copyright notices and broken encodings among them;
as often around as it takes. It is not a crawl: a real one has more lines that go away early. Every
turn is a process of its own; CPU time counts. CHECKOUT is another version of this repository, run
in turns with this one; whether both write the same rows is said. `--profile` prints cProfile's
table instead.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Time both versions in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lid", type=Path, required=True)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--megabytes", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--turn", type=Path, help="(what a turn's own process is given)")
    arguments = parser.parse_args()
    if arguments.turn is not None:
        print(json.dumps(take_turn(arguments.turn, arguments.lid, arguments.profile)))
        return
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "shard.warc.wet"
        make_shard(shard, arguments.text, arguments.megabytes)
        megabytes = shard.stat().st_size / 1e6
        print(f"<!-- {megabytes:.1f} MB of WET; {arguments.turns} turns, medians -->")
        versions = {"this": ROOT}
        if arguments.against is not None:
            versions["against"] = arguments.against
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
        for _ in range(1 if arguments.profile else arguments.turns):
            for name, root in versions.items():
                turns[name].append(run_turn(root, shard, arguments))
        print_table(turns, megabytes)


def print_table(turns: dict[str, list[dict[str, Any]]], megabytes: float) -> None:
    """Print medians of all parts, and of the ratios turn by turn."""
    print("| version | part | CPU s | share | MB/s |\n|---|---|---|---|---|")
    for name, own in turns.items():
        total = statistics.median(turn["seconds"]["all"] for turn in own)
        for part in own[0]["seconds"]:
            seconds = statistics.median(turn["seconds"][part] for turn in own)
            print(
                f"| {name} | {part} | {seconds:.2f} | {seconds / total:.0%} |"
                f" {megabytes / seconds:.2f} |"
            )
        kept = own[0]["kept"]
        print(f"<!-- {name}: {own[0]['sentences']:,} sentences, {kept:,} kept -->")
    if "against" in turns:
        ratio = statistics.median(
            there["seconds"]["all"] / here["seconds"]["all"]
            for here, there in zip(turns["this"], turns["against"], strict=True)
        )
        same = turns["this"][0]["digest"] == turns["against"][0]["digest"]
        print(f"this is {ratio:.2f} times as fast; the output is {'the same' if same else 'other'}")


def run_turn(root: Path, shard: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one turn in a process that imports the packages of `root`."""
    flags = ["--profile"] if arguments.profile else []
    result = subprocess.run(
        [sys.executable, __file__, "--lid", str(arguments.lid), "--turn", str(shard), *flags],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=None if arguments.profile else subprocess.DEVNULL,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(result.stdout.strip().split("\n")[-1])
    return measured


class Timed:
    """An identifier that says how much CPU time it took."""

    seconds = 0.0

    def __init__(self, path: Path) -> None:
        from lid.identifier import LanguageIdentifier

        self._identifier = LanguageIdentifier.load(path)

    def identify(self, lines: Sequence[str]) -> Any:
        """Identify, on the clock."""
        started = time.process_time()
        answers = self._identifier.identify(lines)
        Timed.seconds += time.process_time() - started
        return answers

    def identify_arrays(self, lines: Sequence[str]) -> Any:
        """The same in arrays, by versions that ask for them."""
        started = time.process_time()
        answers = self._identifier.identify_arrays(lines)
        Timed.seconds += time.process_time() - started
        return answers

    @property
    def languages(self) -> list[str]:
        """The languages it knows."""
        return self._identifier.languages


def take_turn(shard: Path, lid: Path, with_profile: bool) -> dict[str, Any]:
    """Run the command once in this process."""
    from corpus.crawl.documents import read_documents
    from mining.sentences.config import SentencesConfig

    try:
        from mining.sentences.sentences import run_sentences
    except ImportError:  # versions up to 57acec5
        from mining.sentences.extract import run_sentences  # type: ignore[no-redef, attr-defined]
    started = time.process_time()
    for _ in read_documents(shard):
        pass
    reading = time.process_time() - started
    identifier = Timed(lid)
    profile = cProfile.Profile(time.process_time)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        if with_profile:
            profile.enable()
        counts = run_sentences(
            [shard], lid, Path(folder) / "out", SentencesConfig(workers=1), lambda *_: identifier
        )
        profile.disable()
        total = time.process_time() - started
        digest = digest_of(Path(folder) / "out")
    if with_profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(60)
    seconds = {
        "all": total,
        "identifying": Timed.seconds,
        "reading": reading,
        "the rest": total - Timed.seconds - reading,
    }
    return {
        "seconds": seconds,
        "sentences": counts["sentences"],
        "kept": counts["kept"],
        "digest": digest,
    }


def digest_of(output: Path) -> str:
    """Return one digest of all sentences written, with their places and scores."""
    import pyarrow.parquet as pq

    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(output.glob("*_*/*.parquet")):
        digest.update(json.dumps([path.parent.name, pq.read_table(path).to_pylist()]).encode())
    return digest.hexdigest()


def make_shard(path: Path, text: Path, megabytes: int) -> None:
    """Write a WET shard of about so many megabytes out of the lines of all languages."""
    from corpus.files import read_lines

    generator = random.Random(1)
    languages = sorted(file.stem for file in text.glob("*_*.txt"))
    lines = {language: read_lines(text / f"{language}.txt") for language in languages}
    with path.open("wb") as file:
        number = 0
        while file.tell() < megabytes * 1e6:
            language = generator.choice(languages)
            page = "\n".join(page_lines(lines[language], generator)).encode()
            header = (
                "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://"
                f"{language.lower().replace('_', '-')}.example/{number}\r\n"
                f"Content-Type: text/plain\r\nContent-Length: {len(page)}\r\n\r\n"
            )
            file.write(header.encode() + page + b"\r\n\r\n")
            number += 1


def page_lines(lines: list[str], generator: random.Random) -> Iterator[str]:
    """Yield the lines of a page: menus, then paragraphs, then a notice."""
    yield from ("Home | News | About | Contact", "Search", "Menu", "Log in")
    for _ in range(generator.randint(5, 40)):
        paragraph = " ".join(generator.choices(lines, k=generator.randint(1, 4)))
        if generator.random() < 0.02:
            paragraph = paragraph.encode().decode("latin-1")
        yield paragraph
        if generator.random() < 0.3:
            yield f"{generator.randint(1, 31)}.{generator.randint(1, 12)}.2026"
    yield "© 2026 Example. All rights reserved."


if __name__ == "__main__":
    main()
