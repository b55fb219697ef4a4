"""Mining with little memory, killed at any moment, with crowded and damaged input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.records import SENTENCES_SCHEMA, read_bitext, read_table, write_table
from corpus.text import sentence_hash
from mining.search.config import MineConfig
from mining.search.language_vectors import load_language
from mining.search.mine import mine_pairs, run_mine
from tests.mining.search.test_mine import SOURCE, TARGET, write_corpus, write_language

ROOT = Path(__file__).parents[3]
WIDTH = 1024
SENTENCES = 12_000
LIMITED = f"""
import resource, sys
from pathlib import Path
import numpy as np
import numpy.ma  # which numpy imports when it is needed
from mining.search.exact import exact_neighbors
from mining.search.vectors import make_vectors
from mining.search.kernel import Kernel
from mining.search.margin import select_pairs
folder = Path(sys.argv[1])
kernel = Kernel()
before = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
# On top of the interpreter and its libraries: less than one side's vectors in float32, which
# anything that loads them has to hold.
limit = before + {SENTENCES * WIDTH * 4 * 5 // 8}
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
sides = [
    make_vectors(np.load(folder / f"{{name}}.npy", mmap_mode="r"), kernel) for name in "st"
]
found = exact_neighbors(*sides, kernel, neighbors=4, memory_mb=4, scratch=folder)
print(len(select_pairs(*found, "ratio", "max").score))
try:
    np.ones(({SENTENCES}, {WIDTH}), np.float32)
except MemoryError:
    print("and no more")
"""


def command(folder: Path, name: str) -> list[str]:
    return [
        str(Path(sys.executable).parent / "tongues"), "mining", "mine",
        "--sentences", str(folder / "sentences"), "--embeddings", str(folder / "embeddings"),
        "--source", SOURCE, "--target", TARGET, "--output", str(folder / name / "pairs.parquet"),
    ]  # fmt: skip


@pytest.mark.slow
def test_memory_follows_the_configuration_not_the_corpus(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    meanings = random.standard_normal((SENTENCES, WIDTH)).astype(np.float32)
    for name in "st":
        said = meanings + 0.5 * random.standard_normal((SENTENCES, WIDTH)).astype(np.float32)
        said /= np.linalg.norm(said, axis=1, keepdims=True)
        np.save(tmp_path / f"{name}.npy", said.astype(np.float16))
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    count, more = result.stdout.split("\n", 1)
    assert int(count) == SENTENCES
    assert "and no more" in more


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path, shards=3)
    started = time.monotonic()
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - started
    outputs = ("pairs.parquet", "pairs.calibration.json", "pairs.config.yaml")
    whole = [(tmp_path / "whole" / name).read_bytes() for name in outputs]
    for share in (0.3, 0.6, 0.8, 0.9, 0.97):
        folder = tmp_path / f"killed{share}"
        process = subprocess.Popen(
            command(tmp_path, folder.name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(share * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(command(tmp_path, folder.name), check=True, capture_output=True)
        assert [(folder / name).read_bytes() for name in outputs] == whole
        visible = {path.name for path in folder.iterdir() if not path.name.startswith(".tmp-")}
        assert visible == {*outputs, "receipts"}


def test_of_copies_in_several_shards_the_lowest_text_stays(tmp_path: Path) -> None:
    # The same key, written differently: which one stays must not depend on the shards.
    texts = ["Same!", "same", "other", "SAME?"]
    assert len({sentence_hash(text) for text in texts}) == 2
    matrix = np.eye(4, 16, dtype=np.float32)
    found = []
    for shards in (1, 2, 4):
        folder = tmp_path / str(shards)
        write_language(folder, SOURCE, texts, matrix, shards)
        paths = sorted((folder / "sentences" / SOURCE).iterdir())
        vectors = [folder / "embeddings" / SOURCE / f"{path.stem}.npy" for path in paths]
        loaded = load_language(paths, vectors)
        kept = loaded.texts(np.arange(2), ["text"]).column("text").to_pylist()
        assert sorted(kept) == ["SAME?", "other"]
        assert (loaded.vectors[kept.index("SAME?")] == matrix[3]).all()
        found.append(kept)
    assert found[0] == found[1] == found[2]


def test_templates_that_differ_in_numbers_count_once(tmp_path: Path) -> None:
    texts = [f"Page {number} of 20" for number in range(9)] + ["Something else"]
    write_language(tmp_path, SOURCE, texts, np.eye(10, 16, dtype=np.float32), 2)
    paths = sorted((tmp_path / "sentences" / SOURCE).iterdir())
    vectors = [tmp_path / "embeddings" / SOURCE / f"{path.stem}.npy" for path in paths]
    assert len(load_language(paths, vectors).hashes) == 2


def test_ids_are_wide_and_scores_stay_float32(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    output = tmp_path / "mined" / "pairs.parquet"
    run_mine(tmp_path / "sentences", tmp_path / "embeddings", SOURCE, TARGET, output, MineConfig())
    assert str(pq.read_schema(output).field("score").type) == "float"
    table = read_bitext(output)
    scores = table.column("score").to_pylist()
    assert scores == sorted(scores, reverse=True)
    # uint32 ids never equal -1, and a float64 scalar would have made float64 of everything.
    pairs = mine_pairs(np.eye(9, 16), np.eye(9, 16), MineConfig(margin="distance"))
    assert [part.dtype for part in pairs] == [np.int64, np.int64, np.float32]


def test_rows_of_a_shard_may_come_in_any_order(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a")
    write_corpus(tmp_path / "b")
    order = np.random.default_rng(3).permutation(60)
    folder = tmp_path / "b"
    path = folder / "sentences" / SOURCE / "000.parquet"
    write_table(path, read_table(path, SENTENCES_SCHEMA).take(order))
    vectors = folder / "embeddings" / SOURCE / "000.npy"
    np.save(vectors, np.load(vectors)[order])
    tables = []
    for side in (tmp_path / "a", folder):
        output = side / "mined" / "pairs.parquet"
        run_mine(side / "sentences", side / "embeddings", SOURCE, TARGET, output, MineConfig())
        tables.append(read_bitext(output))
    assert tables[0].equals(tables[1])
