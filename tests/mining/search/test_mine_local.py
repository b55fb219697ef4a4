"""Mining inside pairs of documents, and scoring pairs that are there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import JobError, UserError
from corpus.records import SENTENCES_SCHEMA, read_bitext, read_table
from mining.bitext.config import ScoreConfig
from mining.bitext.score import Texts, as_texts, different, run_score, score_pairs
from mining.search.config import LocalConfig, MineConfig
from mining.search.margin import Float32
from mining.search.mine import mine_pairs, run_mine
from mining.search.mine_local import run_mine_local
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus


def documents(folder: Path, language: str) -> list[str]:
    path = folder / "sentences" / language / "000.parquet"
    return read_table(path, SENTENCES_SCHEMA).column("document").to_pylist()


def mine_local(
    folder: Path, lines: Sequence[str], config: LocalConfig, name: str
) -> dict[str, int]:
    listed = folder / f"{name}.tsv"
    listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    summary = run_mine_local(
        folder / "sentences", folder / "embeddings", SOURCE, TARGET, listed,
        folder / "local" / f"{name}.parquet", config,
    )  # fmt: skip
    return dict(summary.counts)


def test_all_document_pairs_give_what_mining_whole_gives(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    output = tmp_path / "mined" / "pairs.parquet"
    config = MineConfig(margin_threshold=1.3)
    run_mine(tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output, config)
    every = [
        f"{left}\t{right}"
        for left in documents(tmp_path, SOURCE)
        for right in documents(tmp_path, TARGET)
    ]
    mine_local(tmp_path, every, LocalConfig(margin_threshold=1.3), "all")
    assert read_bitext(tmp_path / "local" / "all.parquet").equals(read_bitext(output))


def test_pairs_come_from_listed_documents_only(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    left, right = documents(tmp_path, SOURCE), documents(tmp_path, TARGET)
    lines = [f"{left[i]}\t{right[i]}" for i in range(5)] + [f"{left[5]}\t{right[6]}"]
    lines += [f"{left[7]}\tnowhere", "nothing\tnowhere"]
    counts = mine_local(tmp_path, lines, LocalConfig(margin_threshold=1.3, background=20), "some")
    table = read_bitext(tmp_path / "local" / "some.parquet")
    found = set(zip(*(table.column(f"{s}_document").to_pylist() for s in ("source", "target")),
                    strict=True))  # fmt: skip
    assert found == {(left[i], right[i]) for i in range(5)}
    assert counts["rejected.unknown_source_document"] == 1
    assert counts["rejected.unknown_target_document"] == 1
    assert counts["document_pairs"] == 8


@pytest.mark.parametrize("line", ["one column", "a\tb\tc", "\tb", ""])
def test_damaged_list_of_documents_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    write_corpus(tmp_path)
    with pytest.raises(JobError, match=r"bad\.tsv:2: .* is not a source document and a target"):
        mine_local(tmp_path, ["a\tb", line], LocalConfig(margin_threshold=1.3), "bad")
    with pytest.raises(UserError, match="does not exist"):
        run_mine_local(
            tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, tmp_path / "no.tsv",
            tmp_path / "x.parquet", LocalConfig(margin_threshold=1.3),
        )  # fmt: skip


class Numbered:
    """An encoder for tests: every text has a row of its own."""

    dimension = 32

    def __init__(self, **rows: Float32) -> None:
        self._rows = {
            f"{side}{i:04}": row for side, rows in rows.items() for i, row in enumerate(rows)
        }

    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        return np.stack([self._rows[text] for text in sentences])


def letters(number: int) -> str:
    """Digits count as one in a sentence's key; letters do not."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:04}")


class Spelled(Numbered):
    def encode(self, sentences: Sequence[str], language: str = "") -> Float32:
        spelled = str.maketrans("abcdefghij", "0123456789")
        return super().encode([text[0] + text[1:].translate(spelled) for text in sentences])


def pair_texts(count: int) -> tuple[list[str], list[str], Spelled]:
    random = np.random.default_rng(5)
    left = random.standard_normal((count, 32)).astype(np.float32)
    right = left + 0.4 * random.standard_normal((count, 32)).astype(np.float32)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right)]
    texts = [[f"{side}{letters(i)}" for i in range(count)] for side in "xy"]
    return texts[0], texts[1], Spelled(x=unit[0], y=unit[1])


def side(lines: list[str], encoder: Spelled) -> Texts:
    texts = different(lines)
    return as_texts(lines, texts, encoder.encode(texts).astype(np.float16), ScoreConfig())


def score(sources: list[str], targets: list[str], encoder: Spelled) -> Float32:
    return score_pairs(side(sources, encoder), side(targets, encoder), ScoreConfig())


def test_score_of_a_pair_is_the_margin_that_mining_gives_it() -> None:
    sources, targets, encoder = pair_texts(120)
    scores = score(sources, targets, encoder)
    mined = mine_pairs(encoder.encode(sources), encoder.encode(targets), MineConfig())
    is_true = mined.source == mined.target
    assert is_true.sum() > 100
    assert np.abs(scores[mined.source[is_true]] - mined.score[is_true]).max() < 1e-6


def test_copies_of_a_pair_do_not_lower_its_score() -> None:
    sources, targets, encoder = pair_texts(60)
    once = score(sources, targets, encoder)
    copied = score(sources + sources[:9] * 5, targets + targets[:9] * 5, encoder)
    assert (copied[:60] == once).all()


def test_scored_bitext_keeps_its_rows_and_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, targets, encoder = pair_texts(30)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text('{"files": {}}')
    monkeypatch.setattr("mining.bitext.score.load_encoder", lambda *_, **__: encoder)
    rows = [f"{s}\t{t}\tnote {s}" for s, t in zip(sources, targets, strict=True)]
    bitext = tmp_path / "in.tsv"
    bitext.write_text("\n".join(["source\ttarget\tnote", *rows, "\ty0000\tempty"]) + "\n")
    summary = run_score(bitext, tmp_path / "encoder", tmp_path / "out.tsv", ScoreConfig())
    assert dict(summary.counts) == {"pairs": 30, "rejected.empty": 1}
    table = read_bitext(tmp_path / "out.tsv")
    assert table.column_names == ["score", "source", "target", "note"]
    assert table.column("source").to_pylist() == sources
    assert table.column("note")[3].as_py() == f"note {sources[3]}"
    with pytest.raises(UserError, match="not named <source>-<target>"):
        run_score(
            bitext, tmp_path / "encoder", tmp_path / "x.tsv",
            ScoreConfig(encoders={SOURCE: tmp_path / "encoder"}),
        )  # fmt: skip
    with pytest.raises(UserError, match="is the input"):
        run_score(bitext, tmp_path / "encoder", bitext, ScoreConfig())
