"""The mining commands themselves under every executor: the same bytes, killed or not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.receipts import finished_tasks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
SHARDS = 12
KILLS = 3
QUICK_LID = ("sampled_lines=3000", "epochs=1", "dim=16", "buckets_per_class=500")
QUICK_ENCODER = (
    "epochs=0.5",
    "bag.dimension=32",
    "bag.vocabulary_size=300",
    "bag.buckets=1024",
    "bag.hidden=32",
    "hard_negatives=0",
)

FAKE_SBATCH = """#!/usr/bin/env bash
# Runs a job at once, as Slurm would later: the elements of an array one by one, or what is wrapped.
last=0
while [[ $1 == --* ]]; do
  case $1 in
    --array=0-*) last=${1#--array=0-} ;;
    --wrap) bash -c "$2"; echo 1; exit ;;
  esac
  shift
done
for ((i = 0; i <= last; i++)); do
  SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=$last \\
    SLURM_ARRAY_TASK_COUNT=$((last + 1)) bash "$@" >&2
done
echo 1
"""


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", **more}


def start(folder: Path, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["tongues", *map(str, arguments)],
        cwd=folder,
        env=environment(**variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def tongues(folder: Path, *arguments: object, **variables: str) -> str:
    process = start(folder, *arguments, **variables)
    out, told = process.communicate()
    assert process.returncode == 0, told[-3000:]
    return out


def configs(*values: str) -> list[str]:
    return [word for value in values for word in ("--config", value)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crawl shards of constructed languages, models, and what a local run makes of them."""
    made = tmp_path_factory.mktemp("executors")
    tongues(made, "data", "constructed", "--output", "data", *configs("scale=tiny"))
    tongues(made, "lid", "train", "--data", "data/lid", "--output", "lid", *configs(*QUICK_LID))
    tongues(
        made,
        "mining",
        "train-encoder",
        "--bitext",
        "data/seed",
        "--output",
        "encoder",
        *configs(*QUICK_ENCODER),
    )
    write_shards(made, SHARDS)
    sentences(made, "local")
    embed(made, "local")
    return made


def write_shards(folder: Path, count: int) -> None:
    documents = []
    for path in sorted((folder / "data/lid").glob("*.txt")):
        lines = path.read_text(encoding="utf-8").split("\n")
        documents += [" \n".join(lines[i : i + 10]) for i in range(0, len(lines) - 1, 10)]
    (folder / f"crawl{count}").mkdir()
    for number in range(count):
        rows = [
            json.dumps({"text": text, "id": f"{number}-{i}"})
            for i, text in enumerate(documents[number::count])
        ]
        (folder / f"crawl{count}/s{number:02}.jsonl").write_text("\n".join(rows) + "\n")


def crawl(folder: Path, count: int = SHARDS) -> list[Path]:
    return sorted((folder / f"crawl{count}").iterdir())


def sentences_arguments(folder: Path, run: str, *more: str, count: int = SHARDS) -> list[object]:
    shards = [path.relative_to(folder) for path in crawl(folder, count)]
    return ["mining", "sentences", *shards, "--lid", "lid", "--output", f"{run}/sentences", *more]


def embed_arguments(run: str, *more: str) -> list[object]:
    return [
        "mining", "embed", "--sentences", "local/sentences", "--encoder", "encoder",
        "--output", f"{run}/embeddings", *more,
    ]  # fmt: skip


def sentences(folder: Path, run: str, *more: str) -> None:
    tongues(folder, *sentences_arguments(folder, run, *more))


def embed(folder: Path, run: str, *more: str) -> None:
    tongues(folder, *embed_arguments(run, *more))


def files(output: Path) -> dict[str, bytes]:
    """Return all files of an output but receipts, which hold times; temporary ones too."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and "receipts" not in path.parts
    }


def check_same(folder: Path, run: str, what: str = "sentences") -> None:
    expected, found = files(folder / "local" / what), files(folder / run / what)
    assert len(expected) > 5
    assert sorted(found) == sorted(expected)
    assert not [name for name, content in expected.items() if found[name] != content]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three simulated nodes of one CPU each."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def wait_for_receipts(output: Path, job: str, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and len(finished_tasks(output, job)) < count:
        time.sleep(0.05)


def test_sentences_on_three_ray_nodes_of_which_one_dies(folder: Path, cluster: Any) -> None:
    arguments = sentences_arguments(folder, "ray", "--executor", "ray")
    process = start(folder, *arguments, RAY_ADDRESS=cluster.address)
    wait_for_receipts(folder / "ray/sentences", "extract", 2, process)
    assert process.poll() is None
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    _, told = process.communicate()
    assert process.returncode == 0, told[-3000:]
    check_same(folder, "ray")


def test_embed_on_ray(folder: Path, cluster: Any) -> None:
    embed(folder, "ray", "--executor", "ray")  # found without an address, as on a head node
    check_same(folder, "ray", "embeddings")


def test_pairs_are_scored_and_their_text_is_found_again_on_ray(folder: Path, cluster: Any) -> None:
    languages = {
        path.name: [
            text
            for shard in sorted(path.glob("*.parquet"))
            for text in pq.read_table(shard).column("text").to_pylist()
        ]
        for path in sorted((folder / "local/sentences").glob("*_*"))
    }
    pair = sorted(languages, key=lambda language: len(languages[language]))[-2:]
    name = "-".join(pair)
    lines = ["\t".join(sides) for sides in zip(*(languages[one] for one in pair), strict=False)]
    (folder / f"{name}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tongues(
        folder,
        "mining",
        "metadata",
        "--bitext",
        f"{name}.tsv",
        "--sentences",
        "local/sentences",
        "--output",
        "local/meta/x.meta",
    )
    for run, more in (("local", ()), ("ray", ("--executor", "ray"))):
        tongues(
            folder,
            "mining",
            "score",
            "--bitext",
            f"{name}.tsv",
            "--encoder",
            "encoder",
            "--output",
            f"{run}/scored/x.parquet",
            *more,
        )
        tongues(
            folder,
            "mining",
            "rebuild",
            *crawl(folder),
            "--metadata",
            "local/meta/x.meta",
            "--output",
            f"{run}/rebuilt/x.parquet",
            *more,
        )
    for what in ("scored", "rebuilt"):
        assert files(folder / "ray" / what) == files(folder / "local" / what)
        assert pq.read_metadata(folder / "ray" / what / "x.parquet").num_rows > 20
    found = finished_tasks(folder / "ray/rebuilt", "rebuild-find")
    assert sum(name.startswith("x/crawl/") for name in found) == SHARDS


def test_command_killed_under_ray_goes_on_locally(folder: Path, cluster: Any) -> None:
    arguments = sentences_arguments(folder, "killed-ray", "--executor", "ray")
    process = start(folder, *arguments, RAY_ADDRESS=cluster.address)
    wait_for_receipts(folder / "killed-ray/sentences", "extract", 3, process)
    process.kill()
    process.communicate()
    sentences(folder, "killed-ray")
    check_same(folder, "killed-ray")


def test_command_killed_at_any_moment_goes_on(folder: Path) -> None:
    generator = random.Random(time.time_ns())
    for _ in range(KILLS):
        process = start(folder, *sentences_arguments(folder, "killed"))
        try:
            process.communicate(timeout=generator.uniform(0.5, 8))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    sentences(folder, "killed")
    check_same(folder, "killed")


def test_two_commands_at_once_share_the_work(folder: Path) -> None:
    both = [start(folder, *sentences_arguments(folder, "both")) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    check_same(folder, "both")


def test_one_worker_makes_what_two_make(folder: Path) -> None:
    sentences(folder, "one", *configs("workers=1"))
    expected, found = files(folder / "local/sentences"), files(folder / "one/sentences")
    del expected["config.yaml"], found["config.yaml"]  # it says how many
    assert found == expected


def test_shards_of_another_size_hold_the_same_sentences(folder: Path) -> None:
    def texts(run: str) -> set[tuple[str, str]]:
        return {
            (path.parent.name, text)
            for path in (folder / run / "sentences").glob("*_*/*.parquet")
            for text in pq.read_table(path).column("text").to_pylist()
        }

    write_shards(folder, 3)
    tongues(folder, *sentences_arguments(folder, "three", count=3))
    assert texts("three") == texts("local")
    assert len(texts("local")) > 100


def test_slurm_scripts_make_what_one_machine_makes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text(FAKE_SBATCH)
    (tmp_path / "sbatch").chmod(0o755)
    result = subprocess.run(
        [str(ROOT / "recipes/mining/submit.sh"), *map(str, sentences_arguments(folder, "slurm"))],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=environment(RANKS="3", PATH=f"{tmp_path}{os.pathsep}{environment()['PATH']}"),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stderr.count("this share is done") > 2
    check_same(folder, "slurm")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; a run takes some 800 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_said_and_the_command_goes_on_when_there_is_room(
    folder: Path, small_disk: Path, workers: str
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (1024 * 1024 - 40 * 1024))
    output = small_disk / "sentences"
    arguments = [*sentences_arguments(folder, "full"), *configs(f"workers={workers}")]
    arguments[arguments.index("--output") + 1] = output
    process = start(folder, *arguments)
    _, told = process.communicate()
    assert process.returncode == 1, told[-3000:]
    assert "the disk is full" in told
    assert "Traceback" not in told
    ballast.unlink()
    tongues(folder, *arguments)
    expected, found = files(folder / "local/sentences"), files(output)
    del expected["config.yaml"], found["config.yaml"]  # it says how many workers
    assert found == expected


def test_a_torn_shard_is_reported_alike_everywhere(folder: Path, cluster: Any) -> None:
    torn = folder / "torn.jsonl.gz"
    torn.write_bytes(b"\x1f\x8b\x08\x00nonsense")
    for executor in ("local", "ray", "slurm"):
        arguments = sentences_arguments(folder, f"torn-{executor}", "--executor", executor)
        process = start(
            folder,
            *arguments,
            torn.name,
            RAY_ADDRESS=cluster.address,
            SLURM_ARRAY_TASK_ID="0",
            SLURM_ARRAY_TASK_MIN="0",
            SLURM_ARRAY_TASK_MAX="0",
        )
        _, told = process.communicate()
        assert process.returncode == 3, told[-3000:]
        assert "1 of 13 shards failed:\n  torn: " in told
        assert "run again: tongues mining sentences" in told


def test_dry_run_says_what_will_be_and_writes_nothing(folder: Path) -> None:
    price = json.loads(tongues(folder, *sentences_arguments(folder, "dry"), "--dry-run", "--json"))
    assert not (folder / "dry").exists()
    assert len(price["shards"]) == SHARDS
    kept = sum(
        pq.read_metadata(path).num_rows for path in (folder / "local/sentences").glob("*_*/*")
    )
    assert price["stages"]["merge"]["counts"]["kept"] == pytest.approx(kept, rel=0.3)
    assert price["stages"]["extract"]["core_hours"] > 0
    assert price["peak_memory_mb"] > 20

    table = tongues(folder, *embed_arguments("dry"), "--dry-run")
    assert f"{kept:,} sentences" in table
    assert not (folder / "dry").exists()
    assert "Nothing to do." in tongues(folder, *embed_arguments("local"), "--dry-run")
