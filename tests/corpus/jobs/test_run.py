"""Jobs: receipts, resume, refusal of what does not match, failed shards."""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from corpus.config import execution_only
from corpus.errors import DataError, JobError, UserError
from corpus.files import read_lines, write_lines
from corpus.jobs import (
    Outcome,
    Summary,
    Task,
    forget_outdated,
    forget_receipts,
    receipts,
    redo_changed,
    run_job,
)
from tests.receipts import read_receipt


@dataclass(frozen=True, kw_only=True)
class Config:
    suffix: str = "!"
    words: Path | None = None
    workers: int = execution_only(1)


def shout(task: Task, output: Path, suffix: str) -> Outcome:
    lines = read_lines(task.inputs[0])
    if "bad" in lines:
        raise DataError(f"{task.inputs[0]}: a bad line")
    target = output / f"{task.name}.txt"
    write_lines(target, [line.upper() + suffix for line in lines])
    problem = "damaged after line 1" if "torn" in lines else ""
    return Outcome(counts={"lines": len(lines)}, outputs=(target,), problem=problem)


def run(tmp_path: Path, config: Config | None = None) -> Summary:
    config = config or Config()
    inputs = sorted((tmp_path / "in").glob("*.txt"))
    return run_job(
        name="shout",
        tasks=[Task(name=path.stem, inputs=(path,)) for path in inputs],
        work=functools.partial(shout, output=tmp_path / "out", suffix=config.suffix),
        output=tmp_path / "out",
        config=config,
    )


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_lines(tmp_path / "in" / f"{name}.txt", [name, name + name])
    return tmp_path / "in"


def test_second_run_does_nothing_and_keeps_the_counts(tmp_path: Path, inputs: Path) -> None:
    first = run(tmp_path)
    before = (tmp_path / "out" / "a.txt").stat().st_mtime_ns
    second = run(tmp_path)
    assert (first.done, first.skipped) == (2, 0)
    assert (second.done, second.skipped) == (0, 2)
    assert first.counts == second.counts == {"lines": 4}
    assert (tmp_path / "out" / "a.txt").stat().st_mtime_ns == before


def test_a_missing_output_is_made_again(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    (tmp_path / "out" / "a.txt").unlink()
    assert run(tmp_path).done == 1
    assert read_lines(tmp_path / "out" / "a.txt") == ["A!", "AA!"]


def test_changed_input_is_an_error_naming_both_digests(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    recorded = read_receipt(tmp_path / "out", "shout", "a")["inputs"][0]
    write_lines(inputs / "a.txt", ["c", "cc"])
    with pytest.raises(UserError, match="was made from") as error:
        run(tmp_path)
    assert recorded["blake2b"] in str(error.value)


def test_touched_but_equal_input_still_counts_as_done(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    content = (inputs / "a.txt").read_bytes()
    (inputs / "a.txt").write_bytes(content)
    assert run(tmp_path).skipped == 2


def test_changed_config_is_an_error_naming_both_values(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError, match=r"`suffix` is '!' there and '\?' now"):
        run(tmp_path, Config(suffix="?"))


def test_command_to_run_again_has_no_credentials(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["/bin/tongues", "https://me:secret@host/a.wet?token=secret", "--output", "a b"]
    monkeypatch.setattr("sys.argv", command)
    write_lines(inputs / "c.txt", ["bad"])
    with pytest.raises(JobError) as error:
        run(tmp_path)
    assert str(error.value).endswith(": tongues https://host/a.wet --output 'a b'")


def test_number_of_workers_may_change(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, Config(workers=7)).skipped == 2


def test_failed_shard_is_listed_and_the_others_stay_done(tmp_path: Path, inputs: Path) -> None:
    write_lines(inputs / "c.txt", ["bad"])
    with pytest.raises(JobError, match=r"1 of 3 shards failed:\n  c: .*a bad line") as error:
        run(tmp_path)
    assert "run again" in str(error.value)
    assert error.value.exit_code == 3
    write_lines(inputs / "c.txt", ["good"])
    summary = run(tmp_path)
    assert (summary.done, summary.skipped) == (1, 2)


def test_damaged_shard_keeps_what_was_read_and_is_reported(tmp_path: Path, inputs: Path) -> None:
    write_lines(inputs / "c.txt", ["torn"])
    for _ in range(2):  # it stays failed until the input is mended
        with pytest.raises(JobError, match="damaged after line 1"):
            run(tmp_path)
    assert read_lines(tmp_path / "out" / "c.txt") == ["TORN!"]
    write_lines(inputs / "c.txt", ["whole"])
    assert run(tmp_path).done == 1
    assert read_lines(tmp_path / "out" / "c.txt") == ["WHOLE!"]


def test_two_shards_of_one_name_are_refused(tmp_path: Path) -> None:
    tasks = [Task(name="a", inputs=()), Task(name="a", inputs=())]
    with pytest.raises(UserError, match="two inputs would both be shard `a`"):
        run_job(name="x", tasks=tasks, work=lambda task: Outcome(), output=tmp_path)


def test_runs_are_logged_with_seconds_and_memory(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    run(tmp_path)
    lines = read_lines(tmp_path / "out" / "receipts" / "runs.jsonl")
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert record["done"] == 2
    assert record["peak_memory_mb"] > 1


def test_a_finished_directory_can_be_moved(tmp_path: Path, inputs: Path) -> None:
    run(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in ("in", "out"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert run(tmp_path / "elsewhere").skipped == 2


def test_inputs_that_receipts_know_are_not_read_again_unless_they_changed(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    files = sorted(inputs.iterdir())
    before = [receipts.describe_input(file) for file in files]
    receipts._digest_once.cache_clear()
    receipts.recall_digests(tmp_path / "out" / "receipts" / "shout")
    monkeypatch.setattr(receipts, "digest_file", lambda file: f"read {file.name}")
    assert [receipts.describe_input(file) for file in files] == before
    write_lines(files[0], ["of another size and time"])
    assert receipts.describe_input(files[0])["blake2b"] == f"read {files[0].name}"


def test_config_that_nothing_was_made_with_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.txt"
    write_lines(path, ["bad"])
    with pytest.raises(JobError, match="a bad line"):
        run(tmp_path, Config(suffix="!"))
    with pytest.raises(JobError, match="a bad line"):  # as when a person tries another value
        run(tmp_path, Config(suffix="?"))
    write_lines(path, ["good"])
    run(tmp_path, Config(suffix="?"))
    assert read_lines(tmp_path / "out" / "a.txt") == ["GOOD?"]
    forget_receipts(tmp_path / "out", "shout", ["a"])
    with pytest.raises(UserError, match=r"another config: `suffix` is '\?' there and '!' now"):
        run(tmp_path, Config(suffix="!"))  # the file that was made with it is there


def test_another_spelling_of_a_path_is_no_other_config(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path, Config(words=Path("words")))
    again = run(tmp_path, Config(words=tmp_path / "words"))
    assert (again.done, again.skipped) == (0, 2)
    with pytest.raises(UserError, match="another config: `words` is 'words' there"):
        run(tmp_path, Config(words=tmp_path / "others"))


def test_an_output_that_changed_after_its_receipt_is_refused_by_its_readers(
    tmp_path: Path, inputs: Path
) -> None:
    run(tmp_path)
    made, shards = tmp_path / "out" / "a.txt", ["a", "none of that name"]
    receipts.check_digests([made, inputs / "a.txt"], tmp_path / "out", "shout", shards)
    made.write_bytes(made.read_bytes().replace(b"A!", b"B!"))
    with pytest.raises(DataError, match=r"out/a\.txt is damaged or was changed: its digest is"):
        receipts.check_digests([made], tmp_path / "out", "shout", shards)


def test_importing_jobs_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pyarrow", "torch", "ray"}
    code = f"import sys, corpus.jobs; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_job_that_redoes_what_changed_takes_other_inputs(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_lines(file, ["one"])
    task = Task(name="a", inputs=(file,))
    output = tmp_path / "out"

    def work(task: Task) -> Outcome:
        return Outcome(counts={"lines": len(read_lines(task.inputs[0]))})

    assert redo_changed("job", [task], output) == [task]
    run_job(name="job", tasks=[task], work=work, output=output)
    assert redo_changed("job", [task], output) == []
    write_lines(file, ["one", "two"])
    with pytest.raises(UserError, match="digest"):
        run_job(name="job", tasks=[task], work=work, output=output)
    assert redo_changed("job", [task], output) == [task]
    assert run_job(name="job", tasks=[task], work=work, output=output).counts == {"lines": 2}


def test_all_tasks_of_an_input_that_changed_are_outdated(tmp_path: Path, inputs: Path) -> None:
    tasks = [Task(name=name, inputs=(inputs / "a.txt",)) for name in ("x", "y", "z")]
    output = tmp_path / "out"
    job = functools.partial(
        run_job,
        name="shout",
        tasks=tasks,
        work=functools.partial(shout, output=output, suffix="!"),
        output=output,
    )
    job()
    write_lines(inputs / "a.txt", ["c", "cc"])
    forget_outdated(output / "receipts" / "shout", tasks, keep_others=False)
    assert not list(output.glob("*.txt"))
    assert job().done == 3


def test_keys_that_an_earlier_version_did_not_know_have_their_defaults(
    tmp_path: Path, inputs: Path
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Later(Config):
        unknown: str = "keep"

    run(tmp_path)
    assert run(tmp_path, Later()).done == 0
    with pytest.raises(UserError, match="`unknown` is 'keep' there and 'copy' now"):
        run(tmp_path, Later(unknown="copy"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds a list, not a JSON object"),
        ("{}", "`arguments` is missing"),
        (
            '{"arguments": {}, "inputs": [3], "counts": {}, "outputs": [], "problem": ""}',
            "not a file",
        ),
        ("{", "is not valid JSON"),
    ],
)
def test_damaged_receipt_of_an_earlier_version_is_named(
    tmp_path: Path, inputs: Path, content: str, message: str
) -> None:
    run(tmp_path)
    (tmp_path / "out" / "receipts" / "shout" / "a.json").write_text(content)
    with pytest.raises(DataError, match=rf"a\.json.*{message}.*Delete (it|this receipt) to redo"):
        run(tmp_path)
