"""A language that the index does not know, found from hosts to hosts."""

from pathlib import Path

import pytest

import tongues
from corpus import stores
from corpus.crawl.ranges import read_ranges
from corpus.errors import FetchError, UserError
from corpus.fetch.byte_ranges import RangesConfig
from mining.selection.config import ExpandConfig, SelectConfig
from mining.selection.expand import ExpandInputs, run_expand
from mining.selection.index import find_index
from mining.sentences.config import SentencesConfig
from tests.corpus.fetch.faulty_server import faulty_server, serve_files
from tests.mining.selection.made_crawl import Page, write_crawl
from tests.mining.sentences.test_sentences import load_by_script
from tests.object_store import objects, s3_server, through_faults

QUICK = RangesConfig(requests_per_second=1e6, wait_seconds=0.0, attempts=1)
HOSTS = {
    "www.forum.com": "eng",
    "hindi.forum.com": "hin",
    "old.hindi.forum.com": "hin",
    "shop.com": "eng",
    "ghar.com": "hin",
    "ghar.in": "hin",
}


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    # The index takes Hindi for English, so that only who reads the pages finds it.
    pages = [
        Page(f"https://{host}/{number}.html", language, "eng", file=number % 2)
        for host, language in HOSTS.items()
        for number in range(5)
    ]
    write_crawl(tmp_path / "crawl", pages)
    (tmp_path / "lid").mkdir()
    (tmp_path / "lid" / "model.bin").write_bytes(b"stand-in")
    return tmp_path / "crawl"


def config(**changes: object) -> SelectConfig:
    sentences = SentencesConfig(workers=1, ranges=QUICK)
    return SelectConfig(workers=1, expand=ExpandConfig(sentences=sentences, **changes))  # type: ignore[arg-type]


def expand(
    crawl: Path, output: Path, rounds: int, settings: SelectConfig, **start: tuple[str, ...]
) -> tuple[dict[str, int], set[str]]:
    inputs = ExpandInputs(
        start.get("domains", ()),
        start.get("places", ()),
        str(start.get("prefix", (str(crawl),))[0]),
        crawl.parent / "lid",
        load_by_script,
    )
    index = find_index([str(crawl / "cc-index")], "unused/")
    counts = run_expand(index, "hin_Deva", inputs, rounds, output, settings)
    hosts = {record.url.split("/")[2] for record in read_ranges(output)}
    return dict(counts), hosts


def test_hosts_where_the_language_is_found_are_kept_with_all_their_pages(
    crawl: Path, tmp_path: Path
) -> None:
    counts, hosts = expand(crawl, tmp_path / "out.parquet", 3, config(), domains=("com",))
    assert hosts == {"hindi.forum.com", "old.hindi.forum.com", "ghar.com"}
    assert counts["pages"] == 15
    assert (counts["hosts_read"], counts["hosts_kept"]) == (5, 3)
    rows = (tmp_path / "out.expand" / "hosts.tsv").read_text().split("\n")
    assert rows[0].split("\t")[:2] == ["name", "domain"]
    assert sum(row.endswith("\tyes") for row in rows) == 3


def test_a_round_goes_on_with_the_hosts_of_the_domains_that_were_found(
    crawl: Path, tmp_path: Path
) -> None:
    start = ("hindi.forum.com/",)
    _, one = expand(crawl, tmp_path / "one.tsv", 1, config(), places=start)
    counts, two = expand(crawl, tmp_path / "two.tsv", 5, config(), places=start)
    assert one == {"hindi.forum.com"}
    assert two == {"hindi.forum.com", "old.hindi.forum.com"}
    assert counts["rounds"] == 2  # of five: there is nothing new


def test_it_begins_among_pages_that_the_index_takes_for_another_language(
    crawl: Path, tmp_path: Path
) -> None:
    few = config(among=("eng_Latn",), pages_per_host=1, min_sentences=1, hosts_per_round=4)
    counts, hosts = expand(crawl, tmp_path / "out.tsv", 1, few)
    assert counts["hosts_read"] == 4
    assert hosts < set(HOSTS)
    assert counts["pages"] == 5 * len(hosts)
    with pytest.raises(UserError, match="needs a place to begin"):
        expand(crawl, tmp_path / "none.tsv", 1, config())


def test_it_resumes_and_pages_that_are_gone_stop_it_not(crawl: Path, tmp_path: Path) -> None:
    _, every = expand(crawl, tmp_path / "undisturbed.tsv", 3, config(), domains=("com",))
    with faulty_server(serve_files(crawl)) as server:
        server.always = "503"
        with pytest.raises(FetchError, match="answered 503"):
            expand(crawl, tmp_path / "out.tsv", 3, config(), domains=("com",), prefix=(server.url,))
        assert not (tmp_path / "out.tsv").exists()
    _, found = expand(crawl, tmp_path / "out.tsv", 3, config(), domains=("com",))
    assert found == every
    assert (tmp_path / "out.tsv").read_bytes() == (tmp_path / "undisturbed.tsv").read_bytes()
    next((crawl / "crawl-data").rglob("*00001.warc.gz")).unlink()
    lenient = config(min_sentences=1)
    _, half = expand(crawl, tmp_path / "half.tsv", 3, lenient, domains=("com",))
    assert half == every


def test_what_is_found_lies_in_an_object_store_and_is_known_to_other_machines(
    crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expand(crawl, tmp_path / "out.tsv", 2, config(), domains=("com",))
    with s3_server() as url, through_faults(url, monkeypatch):
        # The other machine reads no page again.
        (tmp_path / "nothing").mkdir()
        for scratch, pages in (("one", crawl), ("two", tmp_path / "nothing")):
            monkeypatch.setattr(stores, "_stores", {})
            monkeypatch.setenv(stores.SCRATCH_VARIABLE, str(tmp_path / scratch))
            output = stores.open_place("s3://crawl/out/out.tsv")
            start = {"domains": ("com",), "prefix": (str(pages),)}
            expand(crawl, output, 2, config(), **start)
            made = objects(url, "out")
            assert made["out.tsv"] == (tmp_path / "out.tsv").read_bytes()
            hosts = (tmp_path / "out.expand" / "hosts.tsv").read_bytes()
            assert made["out.expand/hosts.tsv"] == hosts
            assert "out.expand/round-1/sample.parquet" in made


def test_the_command_needs_one_language(
    crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["mining", "select", str(crawl / "cc-index"), "--domain", "com"]
    out = ["--output", str(tmp_path / "out.tsv")]
    assert tongues.main([*common, *out, "--expand", "2"]) == 2
    assert "--expand looks for one language" in capsys.readouterr().err
    assert tongues.main([*common, *out, "--lid", str(tmp_path / "lid")]) == 2
    assert "--lid is for --expand" in capsys.readouterr().err
    assert tongues.main([*common, *out, "--expand", "99"]) == 2
