import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import UserError
from corpus.records import SENTENCES_SCHEMA, read_table, sentence_languages, sentence_shards
from corpus.text import sentence_key
from mining.sentences.addresses import AddressList
from mining.sentences.config import DocumentsConfig, SentencesConfig
from mining.sentences.minhash import UInt32, band_hashes, shingle_hashes, signature, similarity
from mining.sentences.runs import keys_of, merge_runs
from mining.sentences.sentences import run_sentences
from tests.mining.sentences.test_sentences import load_by_script

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "lis", "mo")]


def write_text(seed: int, words: int = 400) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def edit(text: Sequence[str], share: float, seed: int) -> str:
    """Replace a share of the words by others."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text)


def sign(text: str) -> UInt32:
    values = signature(text)
    assert values is not None
    return values


def shingles(text: str) -> set[bytes]:
    data = sentence_key(text).encode()
    return {data[i : i + 24] for i in range(len(data) - 23)}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.03, 0.1, 0.5])
def test_share_of_equal_values_estimates_the_jaccard_index_of_shingles(share: float) -> None:
    errors = []
    for seed in range(12):
        text = write_text(seed)
        first, second = " ".join(text), edit(text, share, seed + 100)
        exact = len(shingles(first) & shingles(second)) / len(shingles(first) | shingles(second))
        errors.append(similarity(sign(first), sign(second)) - exact)
    # The standard deviation of one estimate is at most .5 / sqrt(112) = .047.
    assert abs(np.mean(errors)) < 0.03
    assert max(map(abs, errors)) < 0.16


def test_shingles_have_equal_hashes_only_if_they_are_equal() -> None:
    data = " ".join(write_text(1)).encode()
    found = shingle_hashes(data)
    assert len(found) == len(data) - 23
    assert len(set(found.tolist())) == len({data[i : i + 24] for i in range(len(data) - 23)})
    assert (shingle_hashes(data[7:]) == found[7:]).all()


def test_signature_does_not_depend_on_case_and_punctuation() -> None:
    text = " ".join(write_text(2))
    assert (sign(text) == sign(text.upper().replace(" ", ", ") + "!")).all()
    assert len(set(band_hashes(sign(text)))) == 14
    assert signature("… – !") is None


def test_signature_is_the_least_of_its_parts_however_long_the_text() -> None:
    text = "".join(write_text(3, 280_000))
    assert len(text) > 1 << 20  # more than is hashed at a time
    for place in (400, 1 << 20):
        parts = sign(text[: place + 23]), sign(text[place:])
        assert (sign(text) == np.minimum(*parts)).all()


def test_addresses_are_listed_by_domain_path_and_page(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt.gz"
    with gzip.open(listed, "wt", encoding="utf-8") as file:
        file.write(
            "# a comment\nspam.example\nshop.example/forum/\nhttps://x.example/a?id=3\nmünchen.example\n"
        )
    addresses = AddressList([listed])
    for address in (
        "https://spam.example", "http://www.spam.example/a/b", "https://shop.example/forum",
        "https://shop.example/forum/1?page=2", "https://x.example/a?id=3",
        "https://xn--mnchen-3ya.example/", "HTTPS://SPAM.Example:8080/",
    ):  # fmt: skip
        assert address in addresses, address
    for address in (
        "https://nospam.example", "https://shop.example/forums", "https://x.example/a?id=31",
        "https://x.example/a", "https://example", "shard.txt:17", "", "http://[::1",
    ):  # fmt: skip
        assert address not in addresses, address


@pytest.mark.parametrize("line", ["two words", "://", "http:///path"])
def test_line_that_is_no_address_is_named(tmp_path: Path, line: str) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"a.example\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list\.txt:2: .* is neither a domain nor an address"):
        AddressList([listed])


@pytest.fixture
def lid(tmp_path: Path) -> Path:
    folder = tmp_path / "lid"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"stand-in")
    return folder


def write_pages(folder: Path, pages: dict[str, str], shards: int) -> list[Path]:
    """Write pages to shards in turn, by name and text."""
    folder.mkdir()
    paths = [folder / f"s{number}.jsonl" for number in range(shards)]
    rows: list[list[str]] = [[] for _ in paths]
    for number, (name, text) in enumerate(pages.items()):
        url = f"https://{name}.example/page"
        rows[number % shards].append(json.dumps({"text": text, "url": url}) + "\n")
    for path, lines in zip(paths, rows, strict=True):
        path.write_text("".join(lines), encoding="utf-8")
    return paths


def kept_documents(output: Path) -> set[str]:
    return {
        row["document"].split("/")[2].split(".")[0]
        for language in sentence_languages(output)
        for shard in sentence_shards(output, language)
        for row in read_table(shard, SENTENCES_SCHEMA).to_pylist()
    }


def as_sentences(text: str) -> str:
    words = text.split()
    return " ".join(" ".join(words[i : i + 8]).capitalize() + "." for i in range(0, len(words), 8))


def make_pages() -> dict[str, str]:
    """Make four texts, three near copies of the first, longer or shorter, and a distant one."""
    texts = {f"own{seed}": write_text(seed) for seed in range(4)}
    pages = {name: as_sentences(" ".join(text)) for name, text in texts.items()}
    first = texts["own0"]
    pages["longer"] = as_sentences(edit(first, 0.005, 1) + " baun dela moris kan")
    pages["shorter"] = as_sentences(edit(first[:-12], 0.005, 2))
    pages["distant"] = as_sentences(edit(first, 0.3, 3))
    pages["empty"] = "…"
    return pages


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_of_near_copies_the_longest_is_read_whatever_the_shards(
    tmp_path: Path, lid: Path, shards: int
) -> None:
    paths = write_pages(tmp_path / "in", make_pages(), shards)
    config = SentencesConfig(
        workers=1, documents=DocumentsConfig(near_duplicates=0.7), bucket_sentences=20
    )
    counts = run_sentences(paths, lid, tmp_path / "out", config, load_by_script)
    assert kept_documents(tmp_path / "out") == {"own1", "own2", "own3", "longer", "distant"}
    assert counts["documents"] == 8
    assert counts["documents.near_duplicate"] == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    again = run_sentences(paths, lid, tmp_path / "out", config, load_by_script)
    assert again == counts
    changed = {
        path.name
        for path in (tmp_path / "out").rglob("*.*")
        if path.stat().st_mtime_ns != before.get(path)
    }
    assert not {name for name in changed if name.endswith((".parquet", ".arrows", ".npy"))}


def test_without_near_duplicates_all_are_read(tmp_path: Path, lid: Path) -> None:
    paths = write_pages(tmp_path / "in", make_pages(), 2)
    run_sentences(paths, lid, tmp_path / "out", SentencesConfig(workers=1), load_by_script)
    assert kept_documents(tmp_path / "out") >= {"longer", "shorter", "own0", "distant"}


def test_listed_pages_are_left_out_and_counted(tmp_path: Path, lid: Path) -> None:
    paths = write_pages(tmp_path / "in", make_pages(), 2)
    (tmp_path / "only").write_text("\n".join(f"own{n}.example" for n in range(4)))
    (tmp_path / "blocked").write_text("own2.example/page\n")
    lists = DocumentsConfig(only=(tmp_path / "only",), blocked=(tmp_path / "blocked",))
    config = SentencesConfig(workers=1, documents=lists)
    counts = run_sentences(paths, lid, tmp_path / "out", config, load_by_script)
    assert kept_documents(tmp_path / "out") == {"own0", "own1", "own3"}
    assert counts["documents.blocked"] == 5
    (tmp_path / "blocked").write_text("own1.example/page\n")
    with pytest.raises(UserError, match="blocked"):  # an input that changed is not passed over
        run_sentences(paths, lid, tmp_path / "out", config, load_by_script)


def test_rows_beyond_the_memory_are_sorted_on_disk(
    tmp_path: Path, lid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_pages(tmp_path / "in", make_pages(), 1)
    config = SentencesConfig(workers=1, documents=DocumentsConfig(near_duplicates=0.7))
    expected = run_sentences(paths, lid, tmp_path / "a", config, load_by_script)
    monkeypatch.setattr("mining.sentences.near_documents._MEGABYTE", 30)
    assert run_sentences(paths, lid, tmp_path / "b", config, load_by_script) == expected
    signed = ".work/near/signed/s0.arrows"
    keys = [
        np.concatenate([keys_of(batch) for batch in merge_runs([tmp_path / name / signed])])
        for name in ("a", "b")
    ]
    assert (keys[0] == keys[1]).all()
    assert not list((tmp_path / "b").rglob("*.tmp*"))
