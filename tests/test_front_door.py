"""The front door: exit codes, and messages that say what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

import tongues

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, ""),
        (["nothing"], 2, "No such command 'nothing'"),
        (["lid", "train"], 2, "Missing option '--data'"),
        (["lid", "train", "--data", "nowhere", "--output", "x"], 2, "nowhere is not a directory"),
        (["lid", "measure", "--model", "no", "--flores", "x"], 2, "is not a language identif"),
        (["mining", "sentences", "a.gz", "--lid", "no", "--output", "x"], 2, "model no is not a"),
        (["nmt", "describe", "--size", "huge"], 2, "no model size `huge`"),
        (["data", "constructed", "--output", "x", "--config", "scal=1"], 2, "mean `scale`?"),
    ],
)
def test_mistakes_exit_with_two_and_say_what_is_wrong(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tongues", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    for name in [name for name in sys.modules if name.split(".")[0] == "eval"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "devtest").mkdir()
    (tmp_path / "devtest" / "eng_Latn.devtest").write_text("a\n")
    (tmp_path / "devtest" / "fra_Latn.devtest").write_text("b\n")
    hypotheses = tmp_path / "h"
    hypotheses.mkdir()
    (hypotheses / "eng_Latn-fra_Latn.txt").write_text("b\n")
    code = tongues.main(
        ["eval", "score", "--hypotheses", str(hypotheses), "--flores", str(tmp_path),
         "--output", str(tmp_path / "out"), "--metrics", "chrf++"]
    )  # fmt: skip
    assert code == 1


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tongues.cli, "main", interrupted)
    assert tongues.main([]) == 130
