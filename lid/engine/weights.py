"""A model in the form the compiled pass reads: int8 rows that workers share by memory mapping."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.errors import DataError
from corpus.files import atomic_path
from corpus.languages import Language
from lid.directory import OUTPUT_FILE, PROFILES_FILE, ROWS_FILE, SCALES_FILE
from lid.engine.characters import script_bits
from lid.engine.kernel import Weights
from lid.fasttext_model.model_file import (
    LABEL_PREFIX,
    SOFTMAX,
    FastTextFile,
    check_weights,
    read_fasttext_file,
)

_BLOCK_ROWS = 1 << 16
_LARGEST = 127


def can_compile(head: FastTextFile) -> bool:
    """Whether the compiled pass can do what this model does: n-grams only, plain softmax."""
    is_plain = head.loss == SOFTMAX and not head.is_quantized
    return is_plain and head.words == 0 and head.min_ngram > 0


def can_scale_output(model_file: Path) -> bool:
    """Whether a temperature can be put into the class vectors: plain softmax, not quantized."""
    head = read_fasttext_file(model_file)
    return head.loss == SOFTMAX and head.output_at > 0


def write_weights(model_file: Path, directory: Path) -> None:
    """Write the int8 form of a model beside it: each row by its own largest value."""
    head = read_fasttext_file(model_file)
    check_weights(head)
    matrix = head.input_matrix()
    scales = np.zeros(len(matrix), np.float32)
    with atomic_path(directory / ROWS_FILE) as temporary:
        rows = np.lib.format.open_memmap(temporary, "w+", np.int8, (head.input_rows, head.dim))
        for start in range(0, len(matrix), _BLOCK_ROWS):
            block = matrix[start : start + _BLOCK_ROWS]
            largest = np.abs(block).max(axis=1)
            scales[start : start + _BLOCK_ROWS] = largest / _LARGEST
            divisor = np.where(largest > 0, largest, 1)[:, None] / _LARGEST
            rows[start : start + _BLOCK_ROWS] = np.rint(block / divisor)
        rows.flush()
        del rows
    save_array(directory / SCALES_FILE, scales)
    save_array(directory / OUTPUT_FILE, head.output_matrix())


def read_array(path: Path, mapped: bool = True) -> NDArray[Any]:
    """Read an array of a model directory.

    Raises:
        DataError: If it is not a whole array file.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    except (EOFError, OSError, OverflowError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a whole array file: {error}") from None
    return array


def read_weights(directory: Path, head: FastTextFile, kept: Sequence[int]) -> Weights:
    """Map the int8 form into memory; pages are shared between processes that map it.

    Args:
        directory: Model directory.
        head: Of its model file.
        kept: Numbers of the classes that may be answered; if not all, their arrays are copied.
    """
    profiles = directory / PROFILES_FILE
    scripts = [
        0 if name.find("_") < 0 else script_bits(Language(name, name).script)
        for name in (head.labels[number].removeprefix(LABEL_PREFIX) for number in kept)
    ]
    rows = slice(None) if len(kept) == len(head.labels) else list(kept)
    vectors = read_array(directory / ROWS_FILE)
    if vectors.shape != (head.buckets, head.dim):
        raise DataError(
            f"{directory / ROWS_FILE} holds {list(vectors.shape)} values and {head.path.name}"
            f" {[head.buckets, head.dim]}: they do not belong together. Train the model again."
        )
    return Weights(
        rows=vectors,
        row_scale=read_array(directory / SCALES_FILE),
        output=read_array(directory / OUTPUT_FILE, mapped=False)[rows],
        scripts=np.array(scripts, np.uint64),
        profiles=read_array(profiles)[rows] if profiles.is_file() else None,
        min_ngram=head.min_ngram,
        max_ngram=head.max_ngram,
    )


def scale_output(model_file: Path, scaled_file: Path, factor: float) -> None:
    """Write a model whose class vectors are multiplied by `factor`: a temperature of 1 / factor.

    The logits are linear in them, so fastText itself then gives the tempered probabilities.
    """
    head = read_fasttext_file(model_file)
    with atomic_path(scaled_file) as temporary:
        shutil.copyfile(model_file, temporary)
        if factor == 1.0:
            return
        with temporary.open("r+b") as file:
            file.seek(head.output_at)
            file.write((head.output_matrix() * np.float32(factor)).tobytes())


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
