"""Files that crash fastText: refused before it sees them."""

import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import DataError
from lid.fasttext_model.bindings import FastTextModel
from lid.fasttext_model.model_file import check_weights, read_fasttext_file, read_words
from lid.import_fasttext import import_model

ROOT = Path(__file__).parents[3]
FUZZED_FILES = 5_000
HEAD = 8  # magic and version come first


def run_module(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    # glibc then hands out zeroed memory, which fastText 0.9.3 forgets to ask for.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_PERTURB_": "255"}
    return subprocess.run(
        [sys.executable, "-m", f"tests.lid.fasttext_model.{name}", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of small models of every loss, quantized and pruned ones among them."""
    directory = tmp_path_factory.mktemp("kinds")
    done = run_module("make_models", directory)
    assert done.returncode == 0, done.stderr
    return directory


def test_models_of_every_kind_are_read(kinds: Path) -> None:
    files = sorted([*kinds.glob("*.bin"), *kinds.glob("*.ftz")])
    assert len(files) == 9
    for file in files:
        head = read_fasttext_file(file)
        check_weights(head)
        assert head.is_quantized == (file.suffix == ".ftz")
        labels, _ = FastTextModel(file).predict(["the water of the river"], 2)
        assert labels.shape == (1, 2)
    assert "water" in set(read_words(read_fasttext_file(kinds / "words.bin")))


FIELDS = {
    "dim": 0, "window": 1, "epochs": 2, "min_count": 3, "negatives": 4, "word_ngrams": 5,
    "loss": 6, "model": 7, "buckets": 8, "min_ngram": 9, "max_ngram": 10, "update_rate": 11,
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("buckets", 0), ("buckets", -1), ("buckets", 2**31 - 1), ("loss", 0), ("loss", 5),
     ("loss", -1), ("dim", 0), ("dim", -8), ("model", 0), ("model", 4), ("max_ngram", -1),
     ("max_ngram", 33), ("min_ngram", -1), ("word_ngrams", -1), ("word_ngrams", 33),
     ("min_count", -1), ("negatives", -1), ("window", -1), ("epochs", -1), ("update_rate", -1)],
)  # fmt: skip
def test_field_out_of_range_is_refused(kinds: Path, tmp_path: Path, field: str, value: int) -> None:
    broken = change(kinds / "ngrams.bin", tmp_path, HEAD + 4 * FIELDS[field], "<i", value)
    with pytest.raises(DataError, match=r"x\.bin"):
        FastTextModel(broken)
    with pytest.raises(DataError, match=r"x\.bin"):
        import_model(broken, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(("field", "value"), [("max_ngram", 32), ("word_ngrams", 32), ("loss", 4)])
def test_field_at_its_bound_is_read(kinds: Path, tmp_path: Path, field: str, value: int) -> None:
    file = change(kinds / "ngrams.bin", tmp_path, HEAD + 4 * FIELDS[field], "<i", value)
    labels, _ = FastTextModel(file).predict(["the water of the river"], 1)
    assert labels.tolist() != [[-1]]


def test_model_without_ngrams_needs_no_buckets(kinds: Path) -> None:
    head = read_fasttext_file(kinds / "words.bin")
    assert (head.buckets, head.max_ngram, head.word_ngrams) == (0, 0, 1)


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_sampling_threshold_that_is_none_is_refused(
    kinds: Path, tmp_path: Path, value: float
) -> None:
    broken = change(kinds / "ngrams.bin", tmp_path, HEAD + 4 * 12, "<d", value)
    with pytest.raises(DataError, match="sampling threshold"):
        read_fasttext_file(broken)


@pytest.mark.parametrize("name", ["ngrams.ftz", "many-labels.ftz", "hierarchical.ftz"])
@pytest.mark.parametrize(
    ("field", "value"),
    [(0, 9), (1, 0), (1, -1), (2, 0), (2, -1), (2, 2**30), (3, 0), (3, -1), (3, 9)],
)
def test_quantizer_that_does_not_fit_is_refused(
    kinds: Path, tmp_path: Path, name: str, field: int, value: int
) -> None:
    start, _ = read_fasttext_file(kinds / name).input_floats.parts[0]
    broken = change(kinds / name, tmp_path, start - 16 + 4 * field, "<i", value)
    with pytest.raises(DataError, match=r"damaged: a quantizer|damaged: .* codes"):
        FastTextModel(broken)


def test_pruned_bucket_without_a_row_is_refused(kinds: Path, tmp_path: Path) -> None:
    head = read_fasttext_file(kinds / "hierarchical.ftz")
    # A byte, 20 bytes of the matrix's sizes, its codes; before them the pairs of the pruned index.
    pairs_end = head.input_at - 22
    for at, value in ((pairs_end - 4, -1), (pairs_end - 4, 10**6), (pairs_end - 8, head.buckets)):
        broken = change(kinds / "hierarchical.ftz", tmp_path, at, "<i", value)
        with pytest.raises(DataError, match="bucket"):
            FastTextModel(broken)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("name", ["ngrams.bin", "ngrams.ftz"])
def test_weight_that_makes_scores_no_numbers_is_refused(
    kinds: Path, tmp_path: Path, name: str, value: float
) -> None:
    head = read_fasttext_file(kinds / name)
    for spans in (head.input_floats, head.output_floats):
        start, number = spans.parts[-1]
        broken = change(kinds / name, tmp_path, start + 4 * (number - 1), "<f", value)
        with pytest.raises(DataError, match=r"not finite|as large as"):
            FastTextModel(broken)
        with pytest.raises(DataError, match=r"not finite|as large as"):
            import_model(broken, tmp_path / "imported")


def test_labels_that_python_cannot_read_are_refused(kinds: Path, tmp_path: Path) -> None:
    data = (kinds / "ngrams.bin").read_bytes()
    for old, new in (
        (b"__label__eng_Latn", b"__label__eng_\xff\xfe\xfd\xfc"),
        (b"__label__eng_Latn", b"__label__fra_Latn"),
    ):
        broken = tmp_path / "x.bin"
        broken.write_bytes(data.replace(old, new))
        with pytest.raises(DataError, match="label"):
            FastTextModel(broken)


@pytest.mark.slow
def test_damaged_files_are_refused_or_answer_and_never_crash(kinds: Path) -> None:
    files = sorted([*kinds.glob("*.bin"), *kinds.glob("*.ftz")])
    share = -(-FUZZED_FILES // len(files))
    tried = 0
    for file in files:
        done = run_module("fuzz_model_file", file, 0, share)
        assert done.returncode == 0, (file.name, done.returncode, done.stderr[-2_000:])
        refused, answered = map(int, done.stdout.split())
        tried += refused + answered
        assert refused > 0 < answered
    assert tried >= FUZZED_FILES


def change(file: Path, directory: Path, at: int, layout: str, value: float) -> Path:
    """Write a copy of a file with one value changed."""
    data = bytearray(file.read_bytes())
    struct.pack_into(layout, data, at, np.float32(value) if layout == "<f" else value)
    broken = directory / f"x{file.suffix}"
    broken.write_bytes(data)
    return broken
