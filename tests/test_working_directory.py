import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLANTED = ("lid.py", "eval.py", "corpus.py", "mining.py", "nmt.py", "tongues.py", "queue.py")


@pytest.mark.slow
def test_modules_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in PLANTED:
        (tmp_path / name).write_text("open(__file__ + '.ran', 'w')\n", encoding="utf-8")

    def run(*arguments: str) -> None:
        # As the script `tongues` does, whose own directory is that of the environment's programs.
        code = f"import sys; sys.argv = ['tongues', *{list(arguments)!r}]; import tongues"
        subprocess.run(
            [sys.executable, "-P", "-c", f"{code}; sys.exit(tongues.main())"],
            cwd=tmp_path, env={**without_safe_path(), "PYTHONPATH": str(ROOT)}, check=True,
        )  # fmt: skip

    run("data", "constructed", "--output", "data", "--config", "scale=tiny")
    run("lid", "train", "--data", "data/lid", "--output", "lid", "--config", "quantize=false")
    shards = sorted(str(path) for path in (tmp_path / "data/crawl").glob("*.warc.wet.gz"))
    run(
        "mining", "sentences", *shards, "--lid", "lid", "--output", "sentences",
        "--config", "workers=2",
    )  # fmt: skip
    run("nmt", "vocabulary", "--bitext", "data/seed", "--output", "vocabulary",
        "--config", "size=300")  # fmt: skip
    hypotheses = tmp_path / "hypotheses"
    hypotheses.mkdir()
    flores = tmp_path / "data/flores/dev"
    source, target = sorted(path.name.split(".")[0] for path in flores.glob("*.dev"))[:2]
    text = (flores / f"{source}.dev").read_text(encoding="utf-8")
    (hypotheses / f"{source}-{target}.txt").write_text(text, encoding="utf-8")
    run(
        "eval", "score", "--hypotheses", "hypotheses", "--flores", "data/flores", "--split", "dev",
        "--output", "scores", "--metrics", "chrf",
    )  # fmt: skip
    assert not list(tmp_path.glob("*.ran"))


def without_safe_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def test_processes_started_by_a_command_look_for_modules_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tongues

    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert tongues.main(["--help"]) == 0
    assert os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_wait_policy_of_a_person_is_left_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpus.processes import share_processors

    for one in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "active" if name == "OMP_WAIT_POLICY" else "7")
    share_processors()
    assert os.environ.get("OMP_WAIT_POLICY") == ("active" if name == "OMP_WAIT_POLICY" else None)
