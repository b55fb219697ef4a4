"""The front door: exit codes, and messages that say what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tongues
from corpus.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--help"], 0, ""),
        (["nothing"], 2, "No such command 'nothing'"),
        (["lid", "train"], 2, "Missing option '--data'"),
        (["lid", "train", "--data", "nowhere", "--output", "x"], 2, "nowhere is not a directory"),
        (["lid", "measure", "--model", "no", "--flores", "x"], 2, "is not a language identif"),
        (
            ["mining", "sentences", "a.gz", "--lid", "no", "--output", "x"],
            2,
            "no is not a language iden",
        ),
        (["nmt", "describe", "--size", "huge"], 2, "no model size `huge`"),
        (["data", "fetch", "flores20"], 2, "Did you mean `flores200`?"),
        (["data", "constructed", "--output", "x", "--config", "scal=1"], 2, "mean `scale`?"),
    ],
)
def test_mistakes_exit_with_two_and_say_what_is_wrong(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tongues", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_missing_package_names_the_extra(tmp_path: Path) -> None:
    for path in ("devtest/eng_Latn.devtest", "devtest/fra_Latn.devtest", "h/eng_Latn-fra_Latn.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("a\n")
    arguments = ["eval", "score", "--hypotheses", "h", "--flores", ".", "--output", "out"]
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    code = (
        "import sys; sys.modules['sacrebleu'] = None; import tongues;"
        f"sys.exit(tongues.main({[*arguments, '--metrics', 'chrf++']!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 1
    assert "run `pip install '.[eval]'` in a clone of the project" in result.stderr


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tongues.cli, "main", interrupted)
    assert tongues.main([]) == 130


def test_scorer_is_chrf_of_sacrebleu() -> None:
    from sacrebleu.metrics import CHRF

    hypotheses, references = ["a cat sat", "no dog"], ["the cat sat", "a dog"]
    expected = CHRF(word_order=2).corpus_score(hypotheses, [references]).score
    assert tongues.load_scorer()(hypotheses, references) == pytest.approx(expected)


def test_missing_sacrebleu_is_said_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sacrebleu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.delitem(sys.modules, "eval.metrics.metrics", raising=False)
    with pytest.raises(UserError, match=r"\.\[eval\].*`chrf\.sentences` to 0"):
        tongues.load_scorer()


def test_recipe_is_copied_with_what_its_script_uses(tmp_path: Path) -> None:
    assert tongues.main(["recipe", "tiny", "--output", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "keep.sh", "tiny"]
    assert os.access(tmp_path / "demo" / "run.sh", os.X_OK)


def test_recipe_that_is_there_already_or_unknown_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tongues.main(["recipe", "nothing", "--output", str(tmp_path)]) == 2
    assert "there is no recipe `nothing`; there are captions, demo, " in capsys.readouterr().err
    (tmp_path / "demo").mkdir()
    assert tongues.main(["recipe", "demo", "--output", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_url_is_not_taken_for_a_directory_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tongues.main(["data", "constructed", "--output", "s3://bucket/data"]) == 2
    message = "`--output` takes a path on this machine, not the URL s3://bucket/data"
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_packages_say_that_they_are_typed() -> None:
    root = Path(tongues.__file__).parent
    assert all(
        (root / name / "py.typed").is_file()
        for name in ("corpus", "eval", "lid", "mining", "new_language", "nmt")
    )
