"""The data set of constructed languages, as files."""

import filecmp
from collections import Counter
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from corpus.config import load_config
from corpus.constructed.generate import SCALES, ConstructedConfig, generate
from corpus.constructed.languages import LANGUAGES, PIVOT, ConstructedLanguage
from corpus.crawl.documents import read_documents
from corpus.errors import UserError
from corpus.files import read_lines
from corpus.flores import read_split
from corpus.text import normalize, script_share, sentence_key

STOPS = ".?؟।။"
TINY = SCALES["tiny"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("constructed")
    generate(ConstructedConfig(scale="tiny", seed=1), output)
    return output


@pytest.fixture(scope="module")
def crawled_lines(data: Path) -> Counter[str]:
    shards = sorted((data / "crawl").glob("*.warc.wet.gz"))
    return Counter(
        line
        for shard in shards
        for document in read_documents(shard)
        for line in document.text.split("\n")
    )


@pytest.fixture(scope="module")
def crawled_sentences(crawled_lines: Counter[str]) -> Counter[str]:
    """Count sentences, cut after every stop."""
    found: Counter[str] = Counter()
    for line, count in crawled_lines.items():
        for stop in STOPS:
            line = line.replace(stop, stop + "\n")
        for sentence in line.split("\n"):
            found[sentence.strip()] += count
    return found


def data_files(directory: Path) -> list[Path]:
    """Everything but receipts, which hold times."""
    return sorted(
        path.relative_to(directory)
        for path in directory.rglob("*")
        if path.is_file() and "receipts" not in path.parts
    )


def bitext(data: Path, folder: str, language: str) -> list[tuple[str, str]]:
    rows = read_lines(data / folder / f"{PIVOT.code}-{language}.tsv")
    return [(source, target) for source, target in (row.split("\t") for row in rows)]


def test_same_seed_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    generate(ConstructedConfig(scale="tiny", seed=1), tmp_path)
    files = data_files(data)
    assert files == data_files(tmp_path)
    assert filecmp.cmpfiles(data, tmp_path, [str(file) for file in files], shallow=False)[1:] == (
        [],
        [],
    )


def test_another_seed_gives_other_words(data: Path, tmp_path: Path) -> None:
    generate(ConstructedConfig(scale="tiny", seed=2), tmp_path)
    for language in LANGUAGES:
        name = f"lid/{language.code}.txt"
        ours, theirs = (set(" ".join(read_lines(root / name)).split()) for root in (data, tmp_path))
        assert len(ours & theirs) < 0.2 * len(ours), language.code


def test_unknown_scale_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="`scale` is one of demo, tiny; not 'huge'"):
        load_config(ConstructedConfig, overrides=["scale=huge"])


def test_flores_splits_are_complete_and_aligned(data: Path) -> None:
    for split, size in (("dev", TINY.dev), ("devtest", TINY.devtest)):
        sentences = read_split(data / "flores", split, None)
        assert sorted(sentences) == [language.code for language in LANGUAGES]
        assert {len(lines) for lines in sentences.values()} == {size}


def test_evaluation_sentences_are_said_nowhere_else(
    data: Path, crawled_sentences: Counter[str]
) -> None:
    evaluated = [
        {sentence_key(line) for line in lines}
        for split in ("dev", "devtest")
        for lines in read_split(data / "flores", split, None).values()
    ]
    assert [len(keys) for keys in evaluated] == [TINY.dev] * 10 + [TINY.devtest] * 10
    elsewhere = set(crawled_sentences)
    for language in LANGUAGES:
        elsewhere.update(read_lines(data / "lid" / f"{language.code}.txt"))
    for language in LANGUAGES[1:]:
        elsewhere.update(side for pair in bitext(data, "seed", language.code) for side in pair)
    assert set().union(*evaluated).isdisjoint(map(sentence_key, elsewhere))


def test_gold_pairs_stand_in_the_shards_and_are_unique(
    data: Path, crawled_sentences: Counter[str]
) -> None:
    for language in LANGUAGES[1:]:
        pairs = bitext(data, "gold", language.code)
        wanted = TINY.languages[language.resource].gold
        assert 0.98 * wanted <= len(pairs) <= wanted
        for side in (0, 1):
            sentences = [pair[side] for pair in pairs]
            assert len(set(sentences)) == len(sentences)
            assert all(normalize(sentence) == sentence for sentence in sentences)
            missing = [sentence for sentence in sentences if not crawled_sentences[sentence]]
            assert missing == [], language.code


def test_seed_pairs_are_not_in_the_crawl(data: Path, crawled_sentences: Counter[str]) -> None:
    for language in LANGUAGES[1:]:
        pairs = bitext(data, "seed", language.code)
        assert len(pairs) >= 0.98 * TINY.languages[language.resource].seed
        assert not any(crawled_sentences[side] for pair in pairs for side in pair)


def test_shards_are_wet_files_to_another_reader(data: Path) -> None:
    shards = sorted((data / "crawl").glob("*.warc.wet.gz"))
    assert len(shards) == TINY.shards
    for shard in shards:
        with shard.open("rb") as file:
            records = [
                (record.rec_type, record.rec_headers, record.content_stream().read())
                for record in ArchiveIterator(file, verify_http=False)
            ]
        kinds = [kind for kind, _, _ in records]
        assert kinds == ["warcinfo"] + ["conversion"] * (len(kinds) - 1)
        for _, headers, body in records[1:]:
            assert headers.get_header("WARC-Target-URI").startswith("https://")
            assert headers.get_header("Content-Type") == "text/plain"
            assert int(headers.get_header("Content-Length")) == len(body)
            assert headers.get_header("WARC-Record-ID").startswith("<urn:uuid:")


def test_crawl_holds_all_that_is_wrong_with_a_crawl(
    data: Path, crawled_lines: Counter[str], crawled_sentences: Counter[str]
) -> None:
    assert any(line.count(" | ") >= 4 and count > 3 for line, count in crawled_lines.items())
    assert any(line.startswith("© ") and count > 3 for line, count in crawled_lines.items())
    assert any(len(line) > 5000 for line in crawled_lines)
    assert any(line.replace(" ", "").isdigit() for line in crawled_lines)
    assert any("Ð" in line or "à¤" in line for line in crawled_lines)
    gold = [pair[1] for pair in bitext(data, "gold", "qac_Cyrl")]
    assert any(crawled_sentences[sentence] > 1 for sentence in gold)
    texts = [
        document.text
        for shard in sorted((data / "crawl").glob("*.warc.wet.gz"))
        for document in read_documents(shard)
    ]
    assert len(set(texts)) < len(texts)


def test_documents_are_mainly_in_the_language_of_their_site(data: Path) -> None:
    shares = [
        script_share(document.text, "Mymr")
        for shard in sorted((data / "crawl").glob("*.warc.wet.gz"))
        for document in read_documents(shard)
        if ".qaj." in document.identifier
    ]
    assert sum(share > 0.5 for share in shares) > 0.8 * len(shares)
    assert any(0.1 < share < 0.9 for share in shares), "no paragraph is in another language"


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_labeled_text_is_in_the_script_of_its_language(
    data: Path, language: ConstructedLanguage
) -> None:
    code = language.code
    lines = read_lines(data / "lid" / f"{code}.txt")
    assert len(lines) == TINY.labelled
    assert all(script_share(line, code[4:]) == 1.0 for line in lines)
    assert all(line[-1] in STOPS and normalize(line) == line for line in lines)


def test_language_table_counts_what_the_files_hold(data: Path) -> None:
    header, *rows = [line.split("\t") for line in read_lines(data / "languages.tsv")]
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["language"] for row in table] == [language.code for language in LANGUAGES]
    for row in table[1:]:
        assert int(row["seed_pairs"]) == len(bitext(data, "seed", row["language"]))
        assert int(row["gold_pairs"]) == len(bitext(data, "gold", row["language"]))


def test_finished_data_set_is_not_written_again(data: Path) -> None:
    written = (data / "languages.tsv").stat().st_mtime_ns
    summary = generate(ConstructedConfig(scale="tiny", seed=1), data)
    assert (summary.done, summary.skipped) == (0, 1)
    assert (data / "languages.tsv").stat().st_mtime_ns == written
    with pytest.raises(UserError, match="seed"):
        generate(ConstructedConfig(scale="tiny", seed=2), data)
