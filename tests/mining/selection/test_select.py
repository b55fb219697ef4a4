"""One language out of a crawl: what of an index is selected, and what is read of it."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tongues
from corpus.crawl.ranges import read_ranges
from corpus.errors import FetchError, JobError, UserError
from corpus.fetch.byte_ranges import RangesConfig
from corpus.records import read_table, sentence_languages, sentence_shards
from corpus.remote import RemoteFile
from mining.selection.config import SelectConfig
from mining.selection.index import find_index, read_index
from mining.selection.query import Query, check_domain, index_languages, read_places
from mining.selection.select import query_of, run_select
from mining.sentences.config import SentencesConfig
from mining.sentences.inputs import Ranges
from mining.sentences.sentences import run_sentences
from tests.corpus.fetch.faulty_server import faulty_server, serve_files
from tests.mining.selection.made_crawl import Page, write_crawl
from tests.mining.sentences.test_sentences import load_by_script

ONE = SelectConfig(workers=1)
TEXT = pa.schema([("text", pa.string())])
QUICK = RangesConfig(requests_per_second=1e6, wait_seconds=0.0, attempts=2)
THREE = RangesConfig(
    records_per_shard=3, requests_per_second=1e6, wait_seconds=0.0, attempts=1, join_gap_kb=0,
    connections=1,
)  # fmt: skip
PAGES = [
    Page("https://www.example.com/a.html", "eng", file=0),
    Page("https://example.com/b.html", "eng", "eng,rus", file=1),
    Page("https://example.com/feed", "rus", media_type="application/rss+xml", file=0),
    Page("https://example.com/gone", "rus", status=404, file=0),
    Page("https://news.example.co.uk/x/1.html", "eng", file=1),
    Page("https://notexample.com/1.html", "eng", file=1),
    Page("https://a.river.ru/x/1.html", "rus", file=0),
    Page("https://a.river.ru/x/y/2.html", "rus", "rus,eng", file=0),
    Page("https://a.river.ru/z/3.html", "rus", file=1),
    Page("https://river.ru.com/1.html", "eng", file=1),
    Page("https://b.river.ru/4.html", "rus", None, file=0),
    Page("https://ghar.in/1.html", "hin", file=0),
]


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    write_crawl(tmp_path / "crawl", PAGES)
    return tmp_path / "crawl"


def selected(crawl: Path, output: Path, query: Query, config: SelectConfig = ONE) -> set[str]:
    index = find_index([str(crawl / "cc-index")], "unused/", config.subsets)
    run_select(index, query, output, config)
    return {record.url.removeprefix("https://") for record in read_ranges(output)}


@pytest.mark.parametrize(
    ("languages", "domains", "wanted"),
    [
        (["rus_Cyrl"], [], "a.river.ru/x/1.html a.river.ru/x/y/2.html a.river.ru/z/3.html"
                           " example.com/b.html"),
        (["hin_Deva"], [], "ghar.in/1.html"),
        ([], ["ru"], "a.river.ru/x/1.html a.river.ru/x/y/2.html a.river.ru/z/3.html"
                     " b.river.ru/4.html"),
        ([], ["example.com"], "www.example.com/a.html example.com/b.html"),
        ([], ["www.example.com"], "www.example.com/a.html"),
        ([], ["a.river.ru", "in"], "a.river.ru/x/1.html a.river.ru/x/y/2.html a.river.ru/z/3.html"
                                   " ghar.in/1.html"),
        (["eng_Latn"], ["ru"], "a.river.ru/x/y/2.html"),
        (["bre_Latn"], [], ""),
        ([], ["example.org"], ""),
    ],
)  # fmt: skip
def test_pages_of_languages_and_domains_are_selected(
    crawl: Path, tmp_path: Path, languages: list[str], domains: list[str], wanted: str
) -> None:
    query = query_of(ONE, languages, domains, [])
    assert selected(crawl, tmp_path / "out.parquet", query) == set(wanted.split())


@pytest.mark.parametrize(("near", "wanted"), [("host", 3), ("path", 2)])
def test_pages_near_known_ones_are_selected(
    crawl: Path, tmp_path: Path, near: str, wanted: int
) -> None:
    (tmp_path / "known.tsv").write_text("https://a.river.ru/x/other.html?q=1\tgood\n\n")
    places = read_places([tmp_path / "known.tsv"], near)
    found = selected(crawl, tmp_path / "out.tsv", query_of(ONE, [], [], places))
    assert len(found) == wanted
    assert all(url.startswith("a.river.ru/" + "x/" * (near == "path")) for url in found)


def test_statuses_media_types_and_main_languages_are_asked_for_by_config(
    crawl: Path, tmp_path: Path
) -> None:
    every = SelectConfig(workers=1, statuses=(), media_types=(), main_language=True)
    found = selected(crawl, tmp_path / "out.tsv", query_of(every, ["rus_Cyrl"], [], []), every)
    assert {"example.com/feed", "example.com/gone"} < found
    assert "example.com/b.html" not in found


def test_row_groups_without_a_wanted_host_are_not_read(crawl: Path) -> None:
    (one,) = find_index([str(crawl / "cc-index")], "unused/")
    for domains, skipped in ((("in",), 8), (("zz",), 12), ((), 0)):
        counts: Counter[str] = Counter()
        query = query_of(ONE, () if domains else ("hin_Deva",), domains, ())
        rows = sum(table.num_rows for table in read_index(one.file, query, counts))
        assert rows == (domains != ("zz",))
        assert counts["index_rows"] == 12
        assert counts["index_rows_skipped"] == skipped


def test_of_pages_with_one_content_the_last_is_selected(crawl: Path, tmp_path: Path) -> None:
    path = next((crawl / "cc-index").rglob("*.parquet"))
    table = pq.read_table(path)
    digests = pa.array(["SAME"] * table.num_rows)
    place = table.schema.get_field_index("content_digest")
    pq.write_table(table.set_column(place, "content_digest", digests), path)
    query = query_of(ONE, ["rus_Cyrl"], [], [])
    assert len(selected(crawl, tmp_path / "once.tsv", query)) == 1
    all_of_them = SelectConfig(workers=1, once=False)
    assert len(selected(crawl, tmp_path / "all.tsv", query, all_of_them)) == 4


def test_a_table_of_another_query_is_not_overwritten(crawl: Path, tmp_path: Path) -> None:
    query = query_of(ONE, ["rus_Cyrl"], [], [])
    first = selected(crawl, tmp_path / "out.tsv", query)
    before = (tmp_path / "out.tsv").read_bytes()
    assert selected(crawl, tmp_path / "out.tsv", query) == first
    with pytest.raises(UserError, match="another argument"):
        selected(crawl, tmp_path / "out.tsv", query_of(ONE, ["hin_Deva"], [], []))
    assert (tmp_path / "out.tsv").read_bytes() == before
    assert not (tmp_path / ".select").exists()


def test_a_damaged_file_of_the_index_is_named_and_the_rest_resumed(
    crawl: Path, tmp_path: Path
) -> None:
    path = next((crawl / "cc-index").rglob("*.parquet"))
    whole = path.read_bytes()
    other = path.with_name("part-00001.parquet")
    other.write_bytes(whole[:-100])
    query = query_of(ONE, ["rus_Cyrl"], [], [])
    with pytest.raises(JobError, match=r"part-00001\.parquet is not a readable Parquet file"):
        selected(crawl, tmp_path / "out.tsv", query)
    assert not (tmp_path / "out.tsv").exists()
    other.write_bytes(whole)
    assert len(selected(crawl, tmp_path / "out.tsv", query)) == 4


def test_an_index_without_languages_says_since_when_there_are_any(
    crawl: Path, tmp_path: Path
) -> None:
    path = next((crawl / "cc-index").rglob("*.parquet"))
    pq.write_table(pq.read_table(path).drop_columns(["content_languages"]), path)
    with pytest.raises(JobError, match="content_languages is there since CC-MAIN-2018-39"):
        selected(crawl, tmp_path / "out.tsv", query_of(ONE, ["rus_Cyrl"], [], []))
    assert len(selected(crawl, tmp_path / "b.tsv", query_of(ONE, [], ["ru"], []))) == 4


def test_only_the_subset_of_pages_is_read(crawl: Path) -> None:
    (there,) = (crawl / "cc-index").rglob("*.parquet")
    other = there.parent.parent / "subset=robotstxt" / "part-00000.parquet"
    other.parent.mkdir()
    other.write_bytes(there.read_bytes())
    index = str(crawl / "cc-index")
    assert len(find_index([index], "unused/", ("warc",))) == 1
    assert len(find_index([index], "unused/")) == 2
    with pytest.raises(UserError, match="2 are in other subsets"):
        find_index([index], "unused/", ("crawldiagnostics",))
    with pytest.raises(UserError, match="does not exist"):
        find_index([str(crawl / "none")], "unused/")


def test_an_index_is_found_by_the_list_of_its_files_over_http(crawl: Path, tmp_path: Path) -> None:
    (there,) = (crawl / "cc-index").rglob("*.parquet")
    (tmp_path / "cc-index-table.paths").write_text(f"{there.relative_to(crawl)}\n")
    with faulty_server(serve_files(crawl)) as server:
        index = find_index([str(tmp_path / "cc-index-table.paths")], server.url, ("warc",))
        assert [str(one.file) for one in index] == [f"{server.url}{there.relative_to(crawl)}"
                                                    ]  # fmt: skip
        query = query_of(ONE, ["hin_Deva"], [], [])
        run_select(index, query, tmp_path / "out.tsv", ONE)
    assert [record.url for record in read_ranges(tmp_path / "out.tsv")] == [
        "https://ghar.in/1.html"
    ]


def test_languages_are_those_of_the_index() -> None:
    assert index_languages("nob_Latn") == ("nob", "nor")
    assert index_languages("bre_Latn") == ("bre",)
    assert index_languages("qaa_Latn") == ("qaa",)


@pytest.mark.parametrize("domain", ["https://a.b", "a b", "", "..", "a/b", "*.org", "x" * 64])
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(UserError, match="not a domain"):
        check_domain(domain)


def test_domains_are_read_as_people_write_them() -> None:
    assert [check_domain(one) for one in (".BZH", "Example.ORG.", "россия.рф")] == [
        "bzh", "example.org", "xn--h1alffa9f.xn--p1ai",
    ]  # fmt: skip


def test_known_pages_that_are_no_urls_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("https://a.b/\nnot a url\n")
    with pytest.raises(UserError, match=r"a:2: `not a url` is no URL"):
        read_places([tmp_path / "a"], "host")
    (tmp_path / "b").write_text("\n")
    with pytest.raises(UserError, match="lists no pages"):
        read_places([tmp_path / "b"], "host")
    with pytest.raises(UserError, match="nothing to select by"):
        query_of(ONE, [], [], [])


def texts(output: Path) -> dict[str, list[str]]:
    return {
        code: [text for shard in sentence_shards(output, code)
               for text in read_table(shard, TEXT)["text"].to_pylist()]
        for code in sentence_languages(output)
    }  # fmt: skip


def read(table: Path, prefix: str, output: Path, ranges: RangesConfig = QUICK) -> dict[str, int]:
    model = output.parent / "lid"
    model.mkdir(exist_ok=True)
    (model / "model.bin").write_bytes(b"stand-in")
    config = SentencesConfig(workers=1, ranges=ranges)
    records = Ranges(table, prefix)
    return run_sentences([], model, output, config, load_by_script, ranges=records)


@pytest.fixture
def table(crawl: Path, tmp_path: Path) -> Path:
    everything = query_of(ONE, [], ["com", "uk", "ru", "in"], [])
    selected(crawl, tmp_path / "ranges.parquet", everything)
    return tmp_path / "ranges.parquet"


def test_selected_records_give_the_sentences_of_the_whole_files(
    crawl: Path, table: Path, tmp_path: Path
) -> None:
    with faulty_server(serve_files(crawl)) as server:
        counts = read(table, server.url, tmp_path / "out")
    assert counts["fetched_records"] == counts["documents"] == 10
    shards: list[Path | RemoteFile] = sorted((crawl / "crawl-data").rglob("*.warc.gz"))
    run_sentences(
        shards, tmp_path / "lid", tmp_path / "whole", SentencesConfig(workers=1), load_by_script
    )
    assert texts(tmp_path / "out") == texts(tmp_path / "whole")
    assert set(texts(tmp_path / "out")) == {"eng_Latn", "rus_Cyrl", "hin_Deva"}


def test_reading_resumes_where_it_was_interrupted_also_from_another_mirror(
    crawl: Path, table: Path, tmp_path: Path
) -> None:
    read(table, str(crawl), tmp_path / "undisturbed", THREE)
    with faulty_server(serve_files(crawl)) as server:
        # The third shard meets a server that answers no more; the first two stay done.
        server.faults.extend([""] * 6)
        server.always = "503"
        with pytest.raises((JobError, FetchError), match="answered 503"):
            read(table, server.url, tmp_path / "out", THREE)
    counts = read(table, str(crawl), tmp_path / "out", THREE)
    assert counts["fetched_records"] == 10
    assert texts(tmp_path / "out") == texts(tmp_path / "undisturbed")
    with faulty_server(serve_files(crawl)) as server:
        read(table, server.url, tmp_path / "out", THREE)
        assert server.requests == []


def test_records_that_are_not_there_are_a_failed_shard_whose_rest_is_kept(
    crawl: Path, table: Path, tmp_path: Path
) -> None:
    next((crawl / "crawl-data").rglob("*00001.warc.gz")).unlink()
    with pytest.raises(JobError, match=r"00001\.warc\.gz does not exist"):
        read(table, str(crawl), tmp_path / "out")
    assert set(texts(tmp_path / "out")) == {"eng_Latn", "rus_Cyrl", "hin_Deva"}


def test_a_table_that_leads_out_of_the_prefix_reads_nothing(
    crawl: Path, table: Path, tmp_path: Path
) -> None:
    found = pq.read_table(table)
    names = pa.array(["../secret.warc.gz"] * found.num_rows)
    place = found.schema.get_field_index("warc_filename")
    pq.write_table(found.set_column(place, "warc_filename", names), tmp_path / "bad.parquet")
    with pytest.raises(JobError, match="no path of a file below a prefix"):
        read(tmp_path / "bad.parquet", str(crawl), tmp_path / "out")


def test_commands_tell_what_reading_takes_before_anything_is_fetched(
    crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.tsv")
    assert tongues.main(
        ["mining", "select", str(crawl / "cc-index"), "--domain", "ru", "--output", out, "--json"]
    ) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    rows = list(read_ranges(Path(out)))
    assert (told["pages"], told["hosts"], told["files"]) == (4, 2, 2)
    assert told["bytes"] == sum(row.length for row in rows)
    assert told["requests"] == 2
    assert told["largest_hosts"]["a.river.ru"][0] == 3
    sentences = ["mining", "sentences", "--ranges", out, "--output", str(tmp_path / "s")]
    assert tongues.main([*sentences, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 2
    assert not (tmp_path / "s").exists()
    assert tongues.main([*sentences, str(crawl / "x.warc.gz")]) == 2
    assert "give crawl SHARDS, or --shards-from, or --ranges" in capsys.readouterr().err


def test_a_language_that_the_index_does_not_know_is_told(
    crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mining", "select", str(crawl / "cc-index"), "--language", "bre_Latn"]
    assert tongues.main([*arguments, "--output", str(tmp_path / "out.tsv")]) == 0
    assert "the 160 languages of CLD2" in capsys.readouterr().err


def test_rows_of_an_index_that_name_no_record_are_counted(crawl: Path, tmp_path: Path) -> None:
    path = next((crawl / "cc-index").rglob("*.parquet"))
    rows = pq.read_table(path).to_pylist()
    rows[0]["warc_filename"] = None
    rows[1]["warc_record_offset"] = -5
    rows[2]["warc_record_length"] = 0
    rows[3]["warc_record_length"] = None
    damaged = pa.schema([field.with_nullable(True) for field in pq.read_schema(path)])
    pq.write_table(pa.Table.from_pylist(rows, damaged), path)
    index = find_index([str(crawl / "cc-index")], "unused/")
    every = SelectConfig(workers=1, statuses=(), media_types=())
    query = query_of(every, [], ["com", "uk", "ru", "in"], [])
    counts = run_select(index, query, tmp_path / "out.parquet", every)
    assert (counts["pages"], counts["without_record"]) == (8, 4)
