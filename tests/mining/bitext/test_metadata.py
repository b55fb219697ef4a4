import gzip
import json
import lzma
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash
import zstandard

from corpus.errors import JobError, UserError
from corpus.records import BITEXT_SCHEMA, SENTENCES_SCHEMA, read_bitext, write_bitext, write_table
from corpus.text import sentence_hash
from mining.bitext import rebuild
from mining.bitext.config import RebuildConfig
from mining.bitext.metadata import Side, read_metadata, run_metadata, text_digest
from mining.bitext.rebuild import run_rebuild

ENGLISH = ["The river is long.", "It was built in 1987.", "She reads at home.", "An odd one out."]
ARABIC = ["النهر طويل.", "بُني عام ١٩٨٧.", "هي تقرأ في البيت."]
DOCUMENTS = {"eng_Latn": "https://example.org/a b", "arb_Arab": "https://example.org/ع"}


def write_sentences(folder: Path) -> Path:
    for language, texts in (("eng_Latn", ENGLISH), ("arb_Arab", ARABIC)):
        rows = [
            {"text": text, "lid_score": 0.1, "document": DOCUMENTS[language], "position": i,
             "hash": sentence_hash(text)}
            for i, text in enumerate(texts)
        ]  # fmt: skip
        path = folder / "sentences" / language / "crawl-0001.parquet"
        write_table(path, pa.Table.from_pylist(rows, SENTENCES_SCHEMA))
    return folder / "sentences"


def write_pairs(folder: Path, name: str = "eng_Latn-arb_Arab.parquet") -> Path:
    rows = [
        {"score": 1.1 + i / 10, "source": source, "target": target,
         "source_document": DOCUMENTS["eng_Latn"], "target_document": DOCUMENTS["arb_Arab"]}
        for i, (source, target) in enumerate(zip(ENGLISH, ARABIC, strict=False))
    ]  # fmt: skip
    write_bitext(folder / name, pa.Table.from_pylist(rows, BITEXT_SCHEMA))
    return folder / name


def export(folder: Path, name: str = "x.meta") -> Path:
    run_metadata(write_pairs(folder), write_sentences(folder), folder / "out" / name)
    return folder / "out" / name


def test_lines_have_the_columns_of_nllb_and_no_text(tmp_path: Path) -> None:
    path = export(tmp_path)
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == 2 * len(ARABIC)
    assert all(len(line.split(" ")) == 11 for line in lines)
    assert not any(text.split(" ")[0] in path.read_text("utf-8") for text in ENGLISH)
    # xxh3_64 of the sentence, as LASER's cleaner_splitter.py takes it.
    assert next(read_metadata(path)) == Side(
        "crawl-0001", "-", "https://example.org/a%20b", 0, sentence_hash(ENGLISH[0]),
        xxhash.xxh3_64_intdigest(ENGLISH[0].encode()), pytest.approx(0.1), pytest.approx(1.1),
        "eng_Latn-arb_Arab", "eng_Latn", 0,
    )  # fmt: skip


def test_digest_is_xxh3() -> None:
    # Source: xxHash's test vector of XXH3_64bits, seed 0, no input (xxhsum/xsum_sanity_check.c).
    assert text_digest("") == 0x2D06800538D394C2


@pytest.mark.parametrize("name", ["x.meta", "x.meta.gz", "x.meta.zst"])
def test_pairs_come_back_from_the_sentences(tmp_path: Path, name: str) -> None:
    metadata = export(tmp_path, name)
    output = tmp_path / "rebuilt" / "y.parquet"
    counts = run_rebuild(metadata, [], output, tmp_path / "sentences").counts
    assert counts == {"pairs": 3, "rebuilt": 3}
    pairs = ["score", "source", "target"]
    before = read_bitext(tmp_path / "eng_Latn-arb_Arab.parquet")
    assert read_bitext(output).select(pairs).equals(before.select(pairs))


def test_pairs_come_back_from_crawl_shards_wherever_documents_stand(tmp_path: Path) -> None:
    metadata = export(tmp_path)
    shard = tmp_path / "crawl.jsonl"
    lines = {"eng_Latn": " ".join(ENGLISH), "arb_Arab": f"{ARABIC[0]} {ARABIC[2]}"}
    shard.write_text(
        "".join(
            f'{{"url": "{DOCUMENTS[language]}", "text": "Menu\\n{line}"}}\n'
            for language, line in lines.items()
        ),
        encoding="utf-8",
    )
    output = tmp_path / "rebuilt" / "y.tsv"
    counts = run_rebuild(metadata, [shard], output).counts
    assert counts == {"pairs": 3, "rebuilt": 2, "missing.target": 1}
    assert read_bitext(output).column("target").to_pylist() == [ARABIC[0], ARABIC[2]]


def test_same_sentence_in_another_document_is_not_taken_for_it(tmp_path: Path) -> None:
    shard = tmp_path / "crawl.jsonl"
    shard.write_text(f'{{"url": "elsewhere", "text": "{ENGLISH[0]}"}}\n', encoding="utf-8")
    counts = run_rebuild(export(tmp_path), [shard], tmp_path / "rebuilt" / "y.tsv").counts
    assert counts == {"pairs": 3, "rebuilt": 0, "missing.both": 3}


def test_sentence_that_is_not_among_the_sentences_is_left_out_and_counted(tmp_path: Path) -> None:
    sentences, bitext = write_sentences(tmp_path), tmp_path / "eng_Latn-arb_Arab.tsv"
    lines = ["source\ttarget", f"{ENGLISH[0]}\tكلام آخر", f"THE RIVER IS LONG\t{ARABIC[0]}"]
    bitext.write_text("\n".join(lines), encoding="utf-8")
    counts = run_metadata(bitext, sentences, tmp_path / "x.meta").counts
    assert counts == {"pairs": 2, "written": 0, "left_out.not_in_sentences": 2}


def test_metadata_of_nllb_is_read(tmp_path: Path) -> None:
    # Columns as in LASER's data/nllb200/README.md; a line of Common Crawl, one of another corpus.
    digests = [text_digest(text) for text in (ENGLISH[0], ARABIC[0])]
    lines = [
        "crawl-data/CC-MAIN-2020-10/x.warc.wet.gz sha1:ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        f" http://e.org 12 99 {digests[0]} 0.998 1.07 eng_Latn-arb_Arab eng_Latn 0",
        f"wikidump.arb_Arab _ _ 7 98 {digests[1]} 0.9 1.07 eng_Latn-arb_Arab arb_Arab 0",
    ]
    path = tmp_path / "eng_Latn-arb_Arab.meta.v1.xz"
    path.write_bytes(lzma.compress("".join(f"{line}\n" for line in lines).encode()))
    assert [side.line_number_in_document for side in read_metadata(path)] == [12, 7]
    counts = run_rebuild(path, [], tmp_path / "y.tsv", write_sentences(tmp_path)).counts
    assert counts == {"pairs": 1, "rebuilt": 1}


def test_pair_of_which_a_line_is_missing_is_counted(tmp_path: Path) -> None:
    path = export(tmp_path)
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:1], *lines[2:]]), encoding="utf-8")
    counts = run_rebuild(path, [], tmp_path / "y.tsv", tmp_path / "sentences").counts
    assert counts == {"pairs": 3, "rebuilt": 2, "missing.line_of_a_side": 1}


@pytest.mark.parametrize("line", ["a b c", "a b c d 1 2 0.1 0.2 x y 0", ""])
def test_damaged_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = export(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=rf"{path.name}:{2 * len(ARABIC) + 1}: "):
        run_rebuild(path, [], tmp_path / "y.tsv", tmp_path / "sentences")


def test_careless_calls_are_the_users_mistake(tmp_path: Path) -> None:
    metadata = export(tmp_path)
    with pytest.raises(UserError, match="no text at hand"):
        run_rebuild(metadata, [], tmp_path / "y.tsv")
    with pytest.raises(UserError, match="must be named"):
        run_metadata(write_pairs(tmp_path, "x.parquet"), tmp_path / "sentences", metadata)


@pytest.mark.parametrize(
    ("metadata", "output", "named"),
    [
        ("x.meta", "y.parquet", "a direction that nothing names"),
        ("x.meta.zst", "eng_Latn-arb_Arab.parquet", "eng_Latn-arb_Arab"),
        ("arb_Arab-eng_Latn.meta.v1.xz", "y.parquet", "arb_Arab-eng_Latn"),
    ],
)
def test_empty_metadata_make_an_empty_bitext(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metadata: str, output: str, named: str
) -> None:
    empty = {"x": b"", "a": lzma.compress(b"")}[metadata[0]]
    (tmp_path / metadata).write_bytes(empty or zstandard.compress(b"") * metadata.endswith(".zst"))
    path = tmp_path / "out" / output
    counts = run_rebuild(tmp_path / metadata, [], path, write_sentences(tmp_path)).counts
    assert counts == {"pairs": 0, "rebuilt": 0}
    assert read_bitext(path).equals(BITEXT_SCHEMA.empty_table())
    assert f"is an empty bitext of {named}" in caplog.text


def test_rebuilt_bitext_is_the_same_bytes_by_several_workers_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "_LITTLE", 0)
    metadata, sentences = export(tmp_path), tmp_path / "sentences"
    run_rebuild(metadata, [], tmp_path / "a" / "x.parquet", sentences, RebuildConfig(workers=1))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "x.parquet").unlink()  # as after a kill: the parts are gone, receipts stay
    run_rebuild(metadata, [], tmp_path / "b" / "x.parquet", sentences, RebuildConfig(workers=2))
    whole = [(tmp_path / name / "x.parquet").read_bytes() for name in "ab"]
    assert whole[0] == whole[1]
    assert not (tmp_path / "b" / ".rebuild").exists()


def test_damaged_shard_is_told_each_time_until_it_is_mended(tmp_path: Path) -> None:
    metadata, shard = export(tmp_path), tmp_path / "crawl.jsonl.gz"
    rows = [{"url": DOCUMENTS["eng_Latn"], "text": "\n".join(ENGLISH)},
            {"url": DOCUMENTS["arb_Arab"], "text": "\n".join(ARABIC)}]  # fmt: skip
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    shard.write_bytes(whole[:-12])
    output = tmp_path / "rebuilt" / "y.parquet"
    for _ in range(2):
        with pytest.raises(JobError, match=r"rebuild-find: 1 of 1 shard failed:\n  y/crawl/crawl"):
            run_rebuild(metadata, [shard], output)
        assert output.is_file()
    shard.write_bytes(whole)
    assert run_rebuild(metadata, [shard], output).counts == {"pairs": 3, "rebuilt": 3}
    assert run_rebuild(metadata, [shard], output).done == 0


def test_lines_of_two_directions_in_a_file_are_refused(tmp_path: Path) -> None:
    path = export(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.replace("eng_Latn", "fra_Latn"), encoding="utf-8")
    with pytest.raises(UserError, match=r":7: direction fra_Latn-arb_Arab, .* began as eng_Latn"):
        run_rebuild(path, [], tmp_path / "y.tsv", tmp_path / "sentences")
    path.write_text(text + text, encoding="utf-8")
    counts = run_rebuild(path, [], tmp_path / "y.tsv", tmp_path / "sentences").counts
    assert counts == {"pairs": 3, "rebuilt": 3, "repeated_lines": 6}


@pytest.mark.parametrize("damage", ["end", "middle"])
def test_damaged_sentences_are_named_by_their_file(tmp_path: Path, damage: str) -> None:
    metadata = export(tmp_path)
    path = tmp_path / "sentences" / "arb_Arab" / "crawl-0001.parquet"
    whole = path.read_bytes()
    half = len(whole) // 8
    torn = {"end": whole[:-9], "middle": whole[:4] + bytes(half) + whole[4 + half :]}
    path.write_bytes(torn[damage])
    named = r"crawl-0001\.parquet is not a readable Parquet file"
    with pytest.raises(JobError, match=named):
        run_rebuild(metadata, [], tmp_path / "y.parquet", tmp_path / "sentences")
    with pytest.raises(JobError, match=named):
        run_metadata(tmp_path / "eng_Latn-arb_Arab.parquet", tmp_path / "sentences",
                     tmp_path / "again" / "x.meta")  # fmt: skip


def test_pair_without_a_side_is_left_out_and_counted(tmp_path: Path) -> None:
    sentences = write_sentences(tmp_path)
    pairs = write_pairs(tmp_path)
    table = read_bitext(pairs)
    targets = [None, *table.column("target").to_pylist()[1:]]
    place = table.column_names.index("target")
    write_bitext(pairs, table.set_column(place, "target", pa.array(targets, pa.string())))
    counts = run_metadata(pairs, sentences, tmp_path / "x.meta").counts
    assert counts == {"pairs": 3, "written": 2, "left_out.not_in_sentences": 1}
