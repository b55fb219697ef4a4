"""Documents that belong together, and their sentences in order."""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import JobError, UserError
from corpus.languages import Direction
from corpus.records import SENTENCES_SCHEMA, read_bitext, write_table
from corpus.text import sentence_hash
from mining.documents import align as align_module
from mining.documents.addresses import match_addresses
from mining.documents.align import join, run_align
from mining.documents.alignment import STEPS, Spans, align, relative_distance
from mining.documents.config import AlignConfig, MatchConfig
from mining.documents.match import run_match
from mining.embeddings import write_embeddings

DIRECTION = Direction("qaa_Latn", "qac_Cyrl")
DIMENSION = 32
CYRILLIC = str.maketrans("abdefgiklmnorstu", "абдефгиклмнорсту")
LATIN = str.maketrans({new: old for old, new in CYRILLIC.items()})
WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("r", "st", "nt", "l")]


class WordVectors:
    """An encoder whose vectors are sums of random vectors of words."""

    dimension = DIMENSION

    def encode(self, sentences: Sequence[str], language: str = "") -> np.ndarray:
        rows = [
            sum(self._word(word) for word in text.translate(LATIN).split()) for text in sentences
        ]
        matrix = np.array(rows, np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    def _word(self, word: str) -> np.ndarray:
        seed = sum(ord(letter) * 31**place for place, letter in enumerate(word)) % 2**32
        return np.random.default_rng(seed).standard_normal(self.dimension)


def write_side(folder: Path, language: str, documents: dict[str, list[str]]) -> None:
    rows = [
        {"text": text, "lid_score": 1.0, "document": name, "position": place,
         "hash": sentence_hash(text)}
        for name, texts in documents.items()
        for place, text in enumerate(texts)
    ]  # fmt: skip
    random.Random(1).shuffle(rows)
    table = pa.Table.from_pylist(rows, SENTENCES_SCHEMA)
    write_table(folder / "sentences" / language / "s.parquet", table)
    vectors = WordVectors().encode(table.column("text").to_pylist())
    path = folder / "embeddings" / language / "s.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"rows": len(vectors), "dimension": DIMENSION}
    write_embeddings(path, [vectors], storage="float16", **size)


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.sample(WORDS, 6)) for _ in range(count)]


def test_sentences_that_were_joined_split_and_left_out_are_aligned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align_module, "load_encoder", lambda *_, **__: WordVectors())
    monkeypatch.setattr(align_module, "pair_encoder_files", lambda *_, **__: ())
    a = sentences(12, 1)
    extra = sentences(3, 2)
    # 3 and 4 joined on the target side, 7 and 8 on the source side, 10 left out, one added.
    source = [*a[:7], f"{a[7]} {a[8]}", *a[9:]]
    target = [*a[:3], f"{a[3]} {a[4]}", *a[5:10], extra[0], a[11]]
    write_side(tmp_path, "qaa_Latn", {"http://x.org/a": source, "b": extra[1:]})
    write_side(
        tmp_path, "qac_Cyrl", {"http://x.org/b": [text.translate(CYRILLIC) for text in target]}
    )
    listed = tmp_path / "documents.tsv"
    listed.write_text("http://x.org/a\thttp://x.org/b\nb\tnowhere\n", encoding="utf-8")
    output = tmp_path / "out" / f"{DIRECTION}.tsv"
    summary = run_align(tmp_path / "sentences", Path("e"), listed, DIRECTION, output, AlignConfig())
    table = read_bitext(output)
    found = [(row["source"], row["target"].translate(LATIN)) for row in table.to_pylist()]
    assert found == [
        *((text, text) for text in a[:3]),
        (f"{a[3]} {a[4]}", f"{a[3]} {a[4]}"),
        (a[5], a[5]),
        (a[6], a[6]),
        (f"{a[7]} {a[8]}", f"{a[7]} {a[8]}"),
        (a[9], a[9]),
        (a[11], a[11]),
    ]
    assert min(table.column("score").to_pylist()) > 0.9
    assert table.column("source_sentences").to_pylist() == ["1", "1", "1", "2", *["1"] * 5]
    assert {name: summary.counts[f"pairs.{name}"] for name in ("1_1", "2_1", "1_2")} == {
        "1_1": 7, "2_1": 1, "1_2": 1,
    }  # fmt: skip
    assert summary.counts["rejected.unknown_document"] == 1


def test_cheapest_alignment_is_the_cheapest_of_all_alignments() -> None:
    rng = np.random.default_rng(3)

    def unit(rows: int) -> np.ndarray:
        matrix = rng.standard_normal((rows, 4)).astype(np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    for sources, targets in itertools.product(range(5), repeat=2):
        source = Spans(unit(sources), unit(max(sources - 1, 0)))
        target = Spans(unit(targets), unit(max(targets - 1, 0)))
        samples = unit(5), unit(5)

        def cost(path: Sequence[tuple[int, int]]) -> float:
            i = j = 0
            total = 0.0
            for step in path:
                if all(step):
                    left = (source.single, source.double)[step[0] - 1][i : i + 1]  # noqa: B023
                    right = (target.single, target.double)[step[1] - 1][j : j + 1]  # noqa: B023
                    total += relative_distance(left, right, samples)[0, 0] * step[0] * step[1]  # noqa: B023
                else:
                    total += 0.4
                i, j = i + step[0], j + step[1]
            return float(total)

        best = min(cost(path) for path in paths(sources, targets))
        found = align(source, target, samples, 0.4)
        skipped = sources - sum(one.sources for one in found)
        skipped += targets - sum(one.targets for one in found)
        own = sum((1 - one.score) * one.sources * one.targets for one in found)
        assert own + 0.4 * skipped == pytest.approx(best, abs=1e-5)


def paths(sources: int, targets: int) -> list[list[tuple[int, int]]]:
    if sources == targets == 0:
        return [[]]
    return [
        [step, *rest]
        for step in STEPS
        if step[0] <= sources and step[1] <= targets
        for rest in paths(sources - step[0], targets - step[1])
    ]


def test_scripts_without_spaces_are_joined_without() -> None:
    assert join(["你好。", "再见。"], "zho_Hans") == "你好。再见。"
    assert join(["Hello.", "Bye."], "eng_Latn") == "Hello. Bye."


def test_addresses_are_matched_by_the_name_of_their_language() -> None:
    pairs = {
        "http://x.org/en/a/b.html": "http://x.org/de/a/b.html",
        "http://x.org/p?lang=en&id=3": "http://x.org/p?lang=de&id=3",
        "http://en.x.org/k": "http://de.x.org/k",
        "http://x.org/page-en.html": "http://x.org/page-de.html",
        "http://y.org/about": "http://y.org/de/about",
        "http://z.com/english/a": "http://z.com/german/a",
        "http://q.com/en-us/t": "http://q.com/de-de/t",
    }
    others = ["http://w.org/it/a", "http://x.org/de/c", "http://x.org/fr/a/b.html"]
    direction = Direction("eng_Latn", "deu_Latn")
    found = match_addresses(pairs, [*pairs.values(), *others], direction)
    assert dict(found) == pairs
    # Two that could be it: neither is taken.
    twice = ["http://y.org/de/about", "http://y.org/german/about"]
    assert match_addresses(["http://y.org/en/about"], twice, direction) == []


def test_documents_are_matched_by_address_and_the_others_by_vectors(tmp_path: Path) -> None:
    texts = [sentences(5, seed) for seed in range(20)]
    names = [f"http://x.org/en/{i}" if i < 3 else f"s{i}" for i in range(20)]
    write_side(tmp_path, "qaa_Latn", dict(zip(names, texts, strict=True)))
    others = [f"http://x.org/de/{i}" if i < 3 else f"t{i}" for i in range(15)]
    translated = [[text.translate(CYRILLIC) for text in some[:4]] for some in texts]
    write_side(tmp_path, "qac_Cyrl", dict(zip(others, translated, strict=False)))
    # The constructed languages have no names that stand in addresses; all go by vectors.
    output = tmp_path / "pairs.tsv"
    places = (tmp_path / "sentences", tmp_path / "embeddings", DIRECTION, output)
    counts = run_match(*places, MatchConfig()).counts
    found = dict(line.split("\t") for line in output.read_text(encoding="utf-8").splitlines())
    assert found == dict(zip(names[:15], others, strict=True))
    assert (counts["by_address"], counts["by_vectors"]) == (0, 15)
    with pytest.raises(UserError, match="matched by vectors with --embeddings"):
        run_match(places[0], None, DIRECTION, tmp_path / "p.tsv", MatchConfig())
    by_url = MatchConfig(by="url")
    assert run_match(places[0], None, DIRECTION, tmp_path / "q.tsv", by_url).counts["pairs"] == 0


def test_damaged_list_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align_module, "pair_encoder_files", lambda *_, **__: ())
    for language in DIRECTION:
        write_side(tmp_path, language, {"a": sentences(2, 1)})
    listed = tmp_path / "documents.tsv"
    listed.write_text(json.dumps(["a", "a"]), encoding="utf-8")
    output = tmp_path / f"{DIRECTION}.parquet"
    with pytest.raises(JobError, match=r"documents\.tsv:1: .* is not a source document"):
        run_align(tmp_path / "sentences", Path("e"), listed, DIRECTION, output, AlignConfig())
