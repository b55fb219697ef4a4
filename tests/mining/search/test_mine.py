from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import JobError, UserError
from corpus.records import BITEXT_SCHEMA, SENTENCES_SCHEMA, read_bitext, read_table, write_table
from corpus.text import sentence_hash
from mining.bitext.evaluate import evaluate_mining, score_pairs
from mining.search.config import MineConfig
from mining.search.margin import Float32
from mining.search.mine import run_mine

SOURCE, TARGET = "qaa_Latn", "qac_Cyrl"


def vectors(count: int, seed: int) -> Float32:
    made = np.random.default_rng(seed).standard_normal((count, 16))
    unit: Float32 = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


def write_language(
    folder: Path, language: str, texts: list[str], matrix: Float32, shards: int
) -> None:
    size = -(-len(texts) // shards)
    for number in range(shards):
        rows = slice(number * size, (number + 1) * size)
        part = texts[rows]
        table = pa.table(
            {
                "text": part,
                "lid_score": [1.0] * len(part),
                "document": [f"{language}/{text}" for text in part],
                "position": list(range(len(part))),
                "hash": [sentence_hash(text) for text in part],
            },
            schema=SENTENCES_SCHEMA,
        )
        write_table(folder / "sentences" / language / f"{number:03}.parquet", table)
        path = folder / "embeddings" / language / f"{number:03}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, matrix[rows].astype(np.float16))


def write_corpus(folder: Path, shards: int = 1, repeat: bool = False) -> None:
    """Forty translations among twenty sentences a side that have none."""
    shared, noise = vectors(40, 1), 0.25 * vectors(40, 2)
    letters = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(60)]
    sources = [f"source {code}" for code in letters]
    targets = [f"target {code}\u2028x" for code in letters]
    left = np.concatenate([shared, vectors(20, 3)])
    right = np.concatenate([shared + noise, vectors(20, 4)])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    if repeat:
        sources, left = sources + sources[:40], np.concatenate([left, left[:40]])
    write_language(folder, SOURCE, sources, left, shards)
    write_language(folder, TARGET, targets, right, shards)


def mine(folder: Path, config: MineConfig, name: str = "pairs.parquet") -> pa.Table:
    output = folder / "mined" / name
    run_mine(folder / "sentences", folder / "embeddings", SOURCE, TARGET, output, config)
    return read_bitext(output)


def test_translations_are_found_among_other_sentences(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    table = mine(tmp_path, MineConfig(margin_threshold=1.3))
    assert table.schema.equals(BITEXT_SCHEMA)
    pairs = [(row["source"][7:9], row["target"][7:9]) for row in table.to_pylist()]
    correct = [source for source, target in pairs if source == target]
    assert len(correct) == 40
    assert len(pairs) <= 42
    assert table.column("source_document")[0].as_py() == f"{SOURCE}/{table['source'][0]}"


@pytest.mark.parametrize("shards", [3, 30])
def test_pairs_do_not_depend_on_the_number_of_shards(tmp_path: Path, shards: int) -> None:
    write_corpus(tmp_path / "one")
    write_corpus(tmp_path / "many", shards)
    config = MineConfig(margin_threshold=1.0)
    assert mine(tmp_path / "one", config).equals(mine(tmp_path / "many", config))


@pytest.mark.parametrize("differently", [{"threads": 2}, {"memory_mb": 1}, {"plan": "flat"}])
def test_pairs_do_not_depend_on_how_they_are_found(
    tmp_path: Path, differently: dict[str, Any]
) -> None:
    write_corpus(tmp_path)
    whole = mine(tmp_path, MineConfig(), "whole.parquet")
    assert mine(tmp_path, MineConfig(**differently), "other.parquet").equals(whole)


def test_repeated_sentences_do_not_fill_the_neighborhoods(tmp_path: Path) -> None:
    write_corpus(tmp_path / "once")
    write_corpus(tmp_path / "twice", repeat=True)
    assert mine(tmp_path / "twice", MineConfig()).equals(mine(tmp_path / "once", MineConfig()))


def test_threshold_can_differ_from_file_to_file_in_one_directory(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    low = mine(tmp_path, MineConfig(margin_threshold=1.0), "low.parquet")
    high = mine(tmp_path, MineConfig(margin_threshold=1.5), "high.parquet")
    assert high.num_rows < low.num_rows
    assert min(high.column("score").to_pylist()) >= 1.5


def test_embeddings_that_do_not_fit_are_named_with_the_remedy(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    path = tmp_path / "embeddings" / TARGET / "000.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(JobError, match=r"59 rows but .* holds 60 sentences.*mining embed"):
        mine(tmp_path, MineConfig())


def test_missing_embeddings_and_languages_are_named(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "embeddings" / TARGET / "000.npy").unlink()
    with pytest.raises(JobError, match=r"000\.npy does not exist"):
        mine(tmp_path, MineConfig())
    with pytest.raises(UserError, match="no sentences of `qad_Arab`"):
        run_mine(
            tmp_path / "sentences", tmp_path, SOURCE, "qad_Arab", tmp_path / "x.tsv", MineConfig()
        )


def test_sentences_are_not_written_over(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    shard = next((tmp_path / "sentences" / SOURCE).glob("*.parquet"))
    before = shard.read_bytes()
    with pytest.raises(UserError, match="is the input; choose another output"):
        run_mine(
            tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, shard, MineConfig()
        )
    assert shard.read_bytes() == before


def test_languages_of_different_spaces_are_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    for language, space in ((SOURCE, "one"), (TARGET, "other")):
        path = tmp_path / "embeddings" / language / "space.json"
        path.write_text(f'{{"space": "{space}"}}')
    with pytest.raises(UserError, match="name different spaces"):
        mine(tmp_path, MineConfig())
    path.write_text('{"space": "one"}')
    assert mine(tmp_path, MineConfig()).num_rows


def test_scores_of_pairs_by_hand() -> None:
    # By hand: 2 of 4 mined are right, of 3 in gold: precision 1/2, recall 2/3, F1 4/7.
    mined = {("a", "A"), ("b", "B"), ("c", "X"), ("d", "Y")}
    scores = score_pairs(mined, {("a", "A"), ("b", "B"), ("c", "C")})
    assert scores["precision"] == pytest.approx(1 / 2)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(4 / 7)


def test_evaluation_finds_the_reverse_direction_and_the_recall_limit(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "mined").mkdir()
    (tmp_path / "gold").mkdir()
    lines = "source\ttarget\nsource aa\ttarget aa x\nsource ab\ttarget gone\n"
    (tmp_path / "gold" / f"{SOURCE}-{TARGET}.tsv").write_text(lines, encoding="utf-8")
    (tmp_path / "mined" / f"{TARGET}-{SOURCE}.tsv").write_text(
        "source\ttarget\ntarget aa\u2028x\tsource aa\n", encoding="utf-8"
    )
    result = evaluate_mining(tmp_path / "mined", tmp_path / "gold", tmp_path / "sentences")
    row = result.pairs[f"{SOURCE}-{TARGET}"]
    assert (row["precision"], row["recall"], row["recall_limit"]) == (1.0, 0.5, 0.5)


def test_pair_that_was_not_mined_is_an_error(tmp_path: Path) -> None:
    for name, direction in (("gold", f"{SOURCE}-{TARGET}"), ("mined", f"{SOURCE}-qad_Arab")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{direction}.tsv").write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no bitext of qaa_Latn-qac_Cyrl"):
        evaluate_mining(tmp_path / "mined", tmp_path / "gold")


def test_u2028_in_a_sentence_shifts_no_row(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    table = read_table(tmp_path / "sentences" / TARGET / "000.parquet", SENTENCES_SCHEMA)
    assert table.num_rows == len(np.load(tmp_path / "embeddings" / TARGET / "000.npy")) == 60
    assert "\u2028" in mine(tmp_path, MineConfig()).column("target")[0].as_py()


def test_output_that_bitext_cannot_be_written_to_is_refused_before_the_search(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path)
    with pytest.raises(UserError, match=r"pairs\.csv: bitext is written as \.parquet, \.tsv"):
        mine(tmp_path, MineConfig(), "pairs.csv")
    assert not (tmp_path / "mined").exists()


def test_embedding_that_is_not_finite_is_named_by_file_and_row(tmp_path: Path) -> None:
    write_corpus(tmp_path, shards=3)
    path = tmp_path / "embeddings" / TARGET / "001.npy"
    matrix = np.load(path)
    matrix[7, 3] = np.nan
    np.save(path, matrix)
    with pytest.raises(JobError, match=r"001\.npy: row 7 is not finite.*mining embed"):
        mine(tmp_path, MineConfig())


def test_remedy_for_a_changed_config_spares_the_other_pairs_of_the_directory(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path)
    kept = mine(tmp_path, MineConfig(), "other.parquet")
    mine(tmp_path, MineConfig(margin_threshold=1.3))
    with pytest.raises(UserError, match=r"is 1\.3 there and 1\.4 now") as caught:
        mine(tmp_path, MineConfig(margin_threshold=1.4))
    folder = tmp_path / "mined"
    config = folder / "pairs.config.yaml"
    assert f"or delete {config} and what `mine` made with it to start over" in str(caught.value)
    config.unlink()
    (folder / "pairs.parquet").unlink()
    mine(tmp_path, MineConfig(margin_threshold=1.4))
    assert mine(tmp_path, MineConfig(), "other.parquet") == kept
