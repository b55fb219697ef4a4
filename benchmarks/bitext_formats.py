"""Speed of the bitext reader: pairs a second in each format, as a ratio to TSV, in one process.

Writes the same pairs in each format, then reads every file several times in turns and takes the
fastest pass of each, so that what else the machine does disturbs all formats alike.

    python benchmarks/bitext_formats.py --pairs 200000 --rounds 5
"""

import argparse
import gzip
import json
import random
import tempfile
import time
import zipfile
from pathlib import Path

import pyarrow as pa

from corpus.bitext import BitextReader, bitext_writer
from corpus.languages import Direction

DIRECTION = Direction("eng_Latn", "fra_Latn")


def sentences(count: int) -> pa.Table:
    """Return pairs of 3 to 30 words, some with letters beyond Latin 1."""
    chooser = random.Random(1)
    words = [
        "".join(chooser.choices("abcdefghijklmnopqrstuvwxyzéàçşдя", k=chooser.randint(1, 10)))
        for _ in range(5000)
    ]
    sides = [
        [" ".join(chooser.choices(words, k=chooser.randint(3, 30))) for _ in range(count)]
        for _ in range(2)
    ]
    return pa.table({"source": sides[0], "target": sides[1]})


def write_all(table: pa.Table, folder: Path) -> dict[str, Path]:
    """Write the pairs in each format; return the files."""
    sides = [table.column(name).to_pylist() for name in ("source", "target")]
    pairs = list(zip(*sides, strict=True))
    texts = ["".join(f"{line}\n" for line in side).encode() for side in sides]
    files = {
        "TSV": folder / "eng_Latn-fra_Latn.tsv",
        "TSV, gz": folder / "eng_Latn-fra_Latn.tsv.gz",
        "Parquet": folder / "eng_Latn-fra_Latn.parquet",
        "TMX": folder / "eng_Latn-fra_Latn.tmx",
    }
    for path in files.values():
        with bitext_writer(path, table.schema) as write:
            for start in range(0, table.num_rows, 1 << 14):
                write(table.slice(start, 1 << 14))
    files["Moses"] = folder / "x.en-fr.en"
    files["Moses, gz"] = folder / "y.en-fr.en.gz"
    for code, text in zip(("en", "fr"), texts, strict=True):
        (folder / f"x.en-fr.{code}").write_bytes(text)
        (folder / f"y.en-fr.{code}.gz").write_bytes(gzip.compress(text))
    files["Moses in zip"] = folder / "en-fr.txt.zip"
    with zipfile.ZipFile(files["Moses in zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        for code, text in zip(("en", "fr"), texts, strict=True):
            archive.writestr(f"x.en-fr.{code}", text)
    rows = {
        "JSON lines, source": [{"source": s, "target": t} for s, t in pairs],
        "JSON lines, translation": [{"translation": {"en": s, "fr": t}} for s, t in pairs],
    }
    for number, (name, objects) in enumerate(rows.items()):
        files[name] = folder / f"j{number}.en-fr.jsonl"
        lines = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in objects)
        files[name].write_text(lines, encoding="utf-8")
    return files


def measure(path: Path) -> tuple[int, float]:
    """Read a file; return its pairs and the CPU seconds."""
    start = time.process_time()
    count = sum(table.num_rows for table in BitextReader(path, direction=DIRECTION))
    return count, time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = write_all(sentences(arguments.pairs), Path(name))
        best = dict.fromkeys(files, float("inf"))
        for _ in range(arguments.rounds):
            for kind, path in files.items():
                count, seconds = measure(path)
                assert count == arguments.pairs, (kind, count)
                best[kind] = min(best[kind], seconds)
    print("| format | pairs a CPU second | of TSV's |")
    print("|---|---|---|")
    for kind, seconds in best.items():
        ratio = best["TSV"] / seconds
        print(f"| {kind} | {arguments.pairs / seconds:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
