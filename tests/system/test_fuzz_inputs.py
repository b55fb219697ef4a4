"""Damaged small inputs: a result, or an error of ours; never a traceback."""

import io
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.config import load_config
from corpus.errors import TonguesError
from corpus.evaluation_files import evaluation_sentences
from corpus.records import read_bitext
from mining.bitext.config import FilterConfig
from tests.system.damage import damaged, limited

SEED = 20261130
TRIES = 400
"""Of each kind; all take some ten seconds."""

TSV = "score\tsource\ttarget\n1.25\tGood day.\tBonjour.\n0.5\t\u2028 a\tब\n".encode()
YAML = b"min_score: 1.2\ncolumns: {source: 2, target: 3}\nsister_languages: [&a x, *a]\n"
JSON = json.dumps(
    [{"id": 1, "text": "Good day.", "translation": {"en": "x", "fr": ["y"]}}]
).encode()
MARKUP = b"<doc><seg id='1'>Good day.</seg><seg>x &amp; y</seg></doc>"


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"score": [1.0, 2.0], "source": ["a", "b"], "target": ["c", None]}), file
    )
    return file.getvalue()


def config(path: Path) -> None:
    load_config(FilterConfig, path)


def sentences(path: Path) -> None:
    list(evaluation_sentences(path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "read"),
    [
        ("eng_Latn-fra_Latn.tsv", TSV, read_bitext), ("x.parquet", parquet(), read_bitext),
        ("x.yaml", YAML, config), ("x.json", JSON, sentences), ("x.jsonl", JSON, sentences),
        ("x.parquet", parquet(), sentences), ("x.tsv", TSV, sentences), ("x.csv", TSV, sentences),
        ("x.sgm", MARKUP, sentences),
    ],
)  # fmt: skip
def test_damaged_inputs_end_in_no_traceback(
    tmp_path: Path, name: str, data: bytes, read: Callable[[Path], object]
) -> None:
    numbers = random.Random(SEED)
    path = tmp_path / name
    outcomes = Counter[str]()
    for _ in range(TRIES):
        path.write_bytes(damaged(data, numbers))
        try:
            with limited(60):
                read(path)
            outcomes["read"] += 1
        except TonguesError:
            outcomes["refused"] += 1
    assert outcomes["read"] + outcomes["refused"] == TRIES
    assert outcomes["refused"]
