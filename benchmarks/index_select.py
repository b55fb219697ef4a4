"""Selecting pages from a columnar index: `tongues mining select` against DuckDB on the same file.

    python benchmarks/index_select.py --rows 3000000

The index is made: hosts, paths, languages and digests by chance, sorted by SURT key as Common
Crawl's, in row groups of 500,000 rows, zstd. DuckDB is timed if it is installed; both use one
thread. Each is run in turn, and the least CPU time of three counts.
"""

import argparse
import importlib.util
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.crawl.ranges import RANGES_SCHEMA
from corpus.remote import RemoteFile
from mining.selection.config import SelectConfig
from mining.selection.index import read_index
from mining.selection.select import query_of

TLDS = ["com", "org", "de", "ru", "fr", "net", "uk", "jp", "bzh", "in"]
SHARES = [0.45, 0.12, 0.1, 0.08, 0.08, 0.07, 0.05, 0.04, 0.0005, 0.0095]
CODES = ["eng", "deu", "rus", "fra", "spa", "jpn", "eng,fra", "deu,eng", "bre,fra", "bre"]
WEIGHTS = [0.44, 0.1, 0.1, 0.1, 0.1, 0.06, 0.05, 0.0492, 0.0003, 0.0005]


def write_index(path: Path, rows: int) -> None:
    """Write a made index."""
    generator = np.random.default_rng(1)
    tlds = generator.choice(len(TLDS), rows, p=SHARES)
    hosts = (generator.zipf(1.3, rows) % 500_000).astype(int)
    pages = generator.integers(0, 1 << 60, rows)
    digests = generator.integers(0, 1 << 60, (rows, 2))
    languages = generator.choice(len(CODES), rows, p=WEIGHTS)
    names = [f"site{host}.{TLDS[tld]}" for host, tld in zip(hosts, tlds, strict=True)]
    paths = [f"/{page % 97}/{page:x}.html" for page in pages]
    surts = [
        f"{TLDS[tld]},site{host}){way}"
        for host, tld, way in zip(hosts, tlds, paths, strict=True)
    ]  # fmt: skip
    table = pa.table(
        {
            "url_surtkey": surts,
            "url": [f"https://{name}{way}" for name, way in zip(names, paths, strict=True)],
            "url_host_name": names,
            "url_host_registered_domain": names,
            "fetch_status": pa.array(np.full(rows, 200, np.int16)),
            "content_digest": [f"{one:016X}{other:016X}" for one, other in digests],
            "content_mime_detected": ["text/html"] * rows,
            "content_languages": [CODES[one] for one in languages],
            "warc_filename": [f"crawl-data/x/{page % 9000:05d}.warc.gz" for page in pages],
            "warc_record_offset": pa.array(generator.integers(0, 1 << 30, rows), pa.int32()),
            "warc_record_length": pa.array(generator.integers(1, 1 << 16, rows), pa.int32()),
        }
    ).sort_by("url_surtkey")
    pq.write_table(table, path, compression="zstd", row_group_size=500_000)


def with_tongues(path: Path, languages: list[str], domains: list[str]) -> int:
    """Return how many pages are selected by this project."""
    query = query_of(SelectConfig(), languages, domains, [])
    file = RemoteFile(f"file://{path}")
    return sum(table.num_rows for table in read_index(file, query, Counter()))


def with_duckdb(path: Path, languages: list[str], domains: list[str]) -> int:
    """Return how many pages are selected by DuckDB."""
    import duckdb

    conditions = ["fetch_status = 200",
                  "content_mime_detected IN ('text/html', 'application/xhtml+xml')"]  # fmt: skip
    if languages:
        conditions.append("list_contains(string_split(content_languages, ','), 'bre')")
    for domain in domains:
        start = ",".join(reversed(domain.split(".")))
        conditions.append(
            f"url_surtkey >= '{start},' AND url_surtkey < '{start}-'"
            f" AND url_host_name LIKE '%.{domain}'"
        )
    columns = ", ".join([*RANGES_SCHEMA.names, "content_languages", "url_host_name"])
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    found = connection.execute(
        f"SELECT {columns} FROM '{path}' WHERE {' AND '.join(conditions)}"
    ).to_arrow_table()
    return int(found.num_rows)


def cpu_seconds() -> float:
    """Return the CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Write the index, time the engines, print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    engines = {"tongues": with_tongues}
    if importlib.util.find_spec("duckdb") is not None:
        engines["duckdb"] = with_duckdb
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-00000.parquet"
        write_index(path, arguments.rows)
        print(f"{arguments.rows:,} rows, {path.stat().st_size:,} bytes")
        cases = {"language bre": (["bre_Latn"], []), "domain bzh": ([], ["bzh"])}
        for name, (languages, domains) in cases.items():
            least = dict.fromkeys(engines, 1e9)
            rows: dict[str, int] = {}
            for _ in range(3):
                for engine, select in engines.items():
                    started, wall = cpu_seconds(), time.monotonic()
                    rows[engine] = select(path, languages, domains)
                    least[engine] = min(least[engine], cpu_seconds() - started)
                    print(f"  {name}, {engine}: {time.monotonic() - wall:.2f} s wall")
            for engine, seconds in least.items():
                print(f"{name}: {engine} {seconds:.2f} CPU s, {rows[engine]:,} pages")


if __name__ == "__main__":
    main()
