"""Looking for a language that the index does not know: from hosts to hosts, in rounds.

A round selects what may hold the language, reads some pages of each host that is new, and has them
identified. Hosts where the language is found are kept, and the next round looks at all hosts of
their domains. The result is a table of all pages of the hosts that were found.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa

from corpus import stores
from corpus.crawl.ranges import check_ranges_name, write_ranges
from corpus.errors import JobError, UserError
from corpus.files import write_lines
from corpus.jobs import LOCAL, Executor
from corpus.protocols import IdentifierLoader
from corpus.records import read_table, sentence_batches, sentence_languages, sentence_shards
from mining.selection.config import ExpandConfig, SelectConfig
from mining.selection.index import DOMAIN, SELECTED_SCHEMA, IndexFile
from mining.selection.query import HOST
from mining.selection.select import count_pages, in_order, query_of, run_select
from mining.sentences.inputs import Ranges
from mining.sentences.sentences import run_sentences

logger = logging.getLogger(__name__)

HOSTS_FILE = "hosts.tsv"
_CANDIDATES = "candidates.parquet"
_SAMPLE = "sample.parquet"
_SENTENCES = "sentences"


class ExpandInputs(NamedTuple):
    """Where to begin, and what to read and identify pages with."""

    domains: tuple[str, ...]
    places: tuple[str, ...]
    prefix: str
    lid: Path
    load_identifier: IdentifierLoader


class Host(NamedTuple):
    """A host that was looked at."""

    name: str
    domain: str
    round: int
    sentences: int
    in_language: int
    is_kept: bool


def run_expand(
    index: Sequence[IndexFile],
    language: str,
    inputs: ExpandInputs,
    rounds: int,
    output: Path,
    config: SelectConfig,
    executor: Executor = LOCAL,
) -> Mapping[str, int]:
    """Write all pages of the hosts where a language is found, as a table of ranges.

    Beside it, `<name>.expand/` holds `hosts.tsv`, what was found on each host, and what was read in
    each round. Run again, it resumes; more rounds continue.

    Args:
        index: Files of the index.
        language: The language.
        inputs: Domains and places to begin at, or `expand.among` in the config.
        rounds: The most rounds; it ends before if no new host is found.
        output: The table.
        config: How to select, and how hosts are sampled and kept.
        executor: Where the jobs run.

    Returns:
        Counts: as `run_select`, `rounds`, `hosts_read`, and `hosts_kept`.

    Raises:
        UserError: If there is nothing to begin at.
        FetchError: If no page of a round can be read.
        JobError: If files of the index are damaged.
    """
    check_ranges_name(output)
    expand = config.expand
    folder = output.with_name(f"{output.name.split('.')[0]}.expand")
    if not (inputs.domains or inputs.places or expand.among):
        raise UserError(
            "--expand needs a place to begin: --domain, --near, or `expand.among` in the config"
        )
    seen: dict[str, Host] = {}
    tables: list[pa.Table] = []
    query = query_of(config, expand.among, inputs.domains, inputs.places)
    asked: set[str] = set()
    done = 0
    for number in range(1, rounds + 1):
        here = folder / f"round-{number}"
        run_select(index, query, here / _CANDIDATES, config, executor)
        table = read_table(here / _CANDIDATES, SELECTED_SCHEMA)
        tables.append(table)
        sample = _sample(table, seen, expand)
        if not sample.num_rows:
            break
        done = number
        found = _look(here, sample, language, inputs, number, config, executor)
        seen |= found
        kept = [host for host in found.values() if host.is_kept]
        logger.info(
            "round %d: %s in %s of %s hosts", number, language, f"{len(kept):,}", f"{len(found):,}"
        )
        domains = {host.domain for host in kept} - asked
        asked |= domains
        if not domains:
            break
        query = query_of(config, (), tuple(sorted(domains)), ())
    _write_hosts(folder / HOSTS_FILE, seen.values())
    kept_names = {host.name for host in seen.values() if host.is_kept}
    every = pa.concat_tables(tables)
    mask = pa.array([name in kept_names for name in every.column(HOST).to_pylist()], pa.bool_())
    pages = in_order(every.filter(mask), once=config.once)
    _write(output, pages)
    return {
        **count_pages(pages), "rounds": done,
        "hosts_read": len(seen), "hosts_kept": len(kept_names),
    }  # fmt: skip


def _write(path: Path, table: pa.Table) -> None:
    """Write a table of ranges, no job's output, where it is asked for."""
    write_ranges(path, table)
    stores.upload(path)


def _sample(table: pa.Table, seen: Mapping[str, Host], config: ExpandConfig) -> pa.Table:
    """Return some pages of each host that was not seen: those whose URLs have the least hashes."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, host in enumerate(table.column(HOST).to_pylist()):
        if host not in seen:
            rows[host].append(row)
    largest = sorted(rows, key=lambda host: (-len(rows[host]), host))[: config.hosts_per_round]
    left = len(rows) - len(largest)
    if left:
        logger.warning("%s hosts with fewer pages are not looked at", f"{left:,}")
    urls = table.column("url").to_pylist()
    chosen = [
        row
        for host in largest
        for row in sorted(rows[host], key=lambda row: _hash(urls[row]))[: config.pages_per_host]
    ]
    return table.take(pa.array(sorted(chosen), pa.int64()))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def _look(
    here: Path,
    sample: pa.Table,
    language: str,
    inputs: ExpandInputs,
    number: int,
    config: SelectConfig,
    executor: Executor,
) -> dict[str, Host]:
    """Read the sampled pages of hosts and return what is there."""
    file = stores.fetch(here / _SAMPLE)
    if not file.exists() or not read_table(file, SELECTED_SCHEMA).equals(sample):
        _write(file, sample)
    try:
        run_sentences(
            [],
            inputs.lid,
            here / _SENTENCES,
            config.expand.sentences,
            inputs.load_identifier,
            executor,
            Ranges(file, inputs.prefix),
        )
    except JobError as error:
        # A page that is gone is missed in a sample as little as one that was not chosen.
        logger.warning("round %d goes on without pages that cannot be read: %s", number, error)
    host_of = dict(
        zip(sample.column("url").to_pylist(), sample.column(HOST).to_pylist(), strict=True)
    )
    every: Counter[str] = Counter()
    in_language: Counter[str] = Counter()
    for code in sentence_languages(here / _SENTENCES):
        for shard in sentence_shards(here / _SENTENCES, code):
            for batch in sentence_batches(stores.fetch(shard), ["document"]):
                hosts = [_host_of(url, host_of) for url in batch["document"].to_pylist()]
                every.update(hosts)
                if code == language:
                    in_language.update(hosts)
    domains = dict(
        zip(sample.column(HOST).to_pylist(), sample.column(DOMAIN).to_pylist(), strict=True)
    )
    return {
        host: Host(
            host, domain, number, every[host], in_language[host],
            in_language[host] >= config.expand.min_sentences
            and in_language[host] >= config.expand.min_share * every[host],
        )
        for host, domain in sorted(domains.items())
    }  # fmt: skip


def _host_of(url: str, known: Mapping[str, str]) -> str:
    """Return the host of a document, by its URL if that was cut or written otherwise."""
    if url in known:
        return known[url]
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _write_hosts(path: Path, hosts: Iterable[Host]) -> None:
    rows = sorted(hosts, key=lambda host: (not host.is_kept, host.round, host.name))
    lines = ["\t".join(Host._fields)]
    lines += ["\t".join(map(str, (*host[:-1], "yes" if host.is_kept else "no"))) for host in rows]
    write_lines(path, lines)
    stores.upload(path)
