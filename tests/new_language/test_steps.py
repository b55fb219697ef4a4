"""The steps of a recipe: commands that exist, with keys that they have, in an order that works."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import tongues
from corpus.config import load_config
from corpus.errors import UserError
from corpus.languages import Direction
from new_language.config import NewLanguageConfig
from new_language.report import write_report
from new_language.run import StepFailed, run_steps, script
from new_language.settings import check_files, check_settings
from new_language.steps import Plan, Step, exported_system, make_steps
from new_language.times import Times, note_time, step_times


def plan_of(folder: Path, **values: Any) -> Plan:
    """Return a plan of a recipe that names everything; the model has three directions."""
    model, flores = folder / "model", folder / "flores"
    for split in ("dev", "devtest"):
        (flores / split).mkdir(parents=True, exist_ok=True)
        for code in ("eng_Latn", "deu_Latn", "fra_Latn", "ces_Latn"):
            (flores / split / f"{code}.{split}").write_text("a\nb\n")
    model.mkdir(exist_ok=True)
    directions = ["eng_Latn-deu_Latn", "deu_Latn-eng_Latn", "eng_Latn-ita_Latn"]
    (model / "model.json").write_text(json.dumps({"directions": directions}))
    config = {
        "language": "ces_Latn",
        "pivot": "eng_Latn",
        "seed": [str(folder / "seed")],
        "shards": ["crawl/*.gz", "https://example.org/a.gz"],
        "model": str(model),
        "flores": str(flores),
        "identifier": "lid",
        "identifier_text": ["text", "more text"],
        "student_bitext": ["relatives"],
        "student_languages": ["slk_Latn"],
        "monolingual": ["mono"],
        "replay": ["old"],
        "evaluation_sets": ["more.tsv"],
        "true_pairs": ["gold"],
        "gold": "gold",
        "like": "deu_Latn",
        "systems": ["scratch", "seed", "mined", "all", "ceiling"],
        **values,
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in config.items()]
    return Plan(
        config=load_config(NewLanguageConfig, None, overrides),
        recipes=(folder / "recipe.yaml",),
        overrides=(),
        output=folder / "out",
    )


def parse(step: Step) -> tuple[click.Command, dict[str, Any]]:
    """Let the step's command read its options, without running it."""
    command: click.Command = tongues.cli
    context = click.Context(command)
    words = list(step.words)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, step.words
        command = found
    return command, command.make_context("tongues", words).params


@pytest.mark.parametrize("other_flores", [None, "own"])
@pytest.mark.parametrize("systems", [["seed"], ["scratch", "seed", "mined", "all", "ceiling"]])
def test_every_step_is_a_command_with_keys_that_it_has(
    tmp_path: Path, systems: list[str], other_flores: str | None
) -> None:
    values: dict[str, Any] = {"systems": systems, "other_flores": other_flores}
    values |= {"true_pairs": ["gold"] if "ceiling" in systems else []}
    values |= {"other_directions": ["eng_Latn-deu_Latn"]}
    steps = make_steps(plan_of(tmp_path, **values))
    (tmp_path / "recipe.yaml").write_text(
        "{language: ces_Latn, pivot: eng_Latn, seed: [s], shards: [c], model: m, flores: f}"
    )
    for step in steps[:-1]:
        command, given = parse(step)
        config_class = getattr(command.callback, "config_class", None)
        assert config_class is not None or "overrides" not in given, step.name
        if config_class is not None:
            load_config(config_class, (), given["overrides"])
    assert parse(steps[-1])[1]["report_only"]


@pytest.mark.parametrize("other_flores", [None, "own"])
def test_no_step_reads_what_a_later_one_writes(tmp_path: Path, other_flores: str | None) -> None:
    others = ["eng_Latn-deu_Latn"]
    plan = plan_of(tmp_path, other_flores=other_flores, other_directions=others)
    steps = make_steps(plan)
    outputs = {path: i for i, step in enumerate(steps) for path in step.outputs}
    for i, step in enumerate(steps[:-1]):
        words = " ".join(step.words)
        read = [path for path in outputs if re.search(rf"{path}(?!\w)", words)]
        assert all(outputs[path] <= i for path in read), step.name
    assert len({step.name for step in steps}) == len(steps)


@pytest.mark.parametrize("monolingual", [[], ["mono"], ["mono", "more"]])
def test_training_reads_all_back_translations(tmp_path: Path, monolingual: list[str]) -> None:
    steps = {one.name: one for one in make_steps(plan_of(tmp_path, monolingual=monolingual))}
    made = [
        str(path)
        for name, step in steps.items()
        if name.startswith("back_translate")
        for path in step.outputs
    ]
    assert len(made) == 1 + len(monolingual)
    assert f"bitext.back_translated=[{', '.join(made)}]" in steps["train_all"].words


def test_settings_go_to_their_step_and_those_of_one_training_win(tmp_path: Path) -> None:
    settings = {
        "train": {"updates": 9, "batches": {"max_tokens": 500}},
        "train_all": {"updates": 7},
    }
    steps = {step.name: step.words for step in make_steps(plan_of(tmp_path, settings=settings))}
    for name, updates in (("train_seed", 9), ("train_all", 7)):
        given = [word for word in steps[name] if word.startswith(("updates", "batches"))]
        assert sorted(given) == ["batches.max_tokens=500", f"updates={updates}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_seed": {"checkpoint_every": 250, "report_every": 100}}, "a multiple of"),
        ({"export_ctranslate2": {"quantisation": "int8"}}, "unknown key `quantisation`"),
    ],
)
def test_settings_that_a_late_step_refuses_are_told_of_before_the_first(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    steps = make_steps(plan_of(tmp_path, settings=settings))
    with pytest.raises(UserError, match=message) as refused:
        check_settings(steps, tongues.cli)
    assert f"`settings` of the step `{next(iter(settings))}`" in str(refused.value)
    check_settings(make_steps(plan_of(tmp_path)), tongues.cli)


@pytest.mark.parametrize("key", ["seed", "flores", "gold", "replay", "other_flores"])
def test_paths_that_do_not_exist_are_named_before_any_work(tmp_path: Path, key: str) -> None:
    there = {
        "seed": [str(tmp_path)],
        **{name: [] for name in ("identifier_text", "student_bitext", "monolingual")},
        **{name: [str(tmp_path)] for name in ("replay", "true_pairs", "evaluation_sets")},
        "gold": str(tmp_path),
    }
    check_files(plan_of(tmp_path, **there).config)
    missing = str(tmp_path / "nowhere")
    is_list = isinstance(there.get(key), list)
    config = plan_of(tmp_path, **{**there, key: [missing] if is_list else missing}).config
    with pytest.raises(UserError, match=rf"`{key}`: {missing} does not exist"):
        check_files(config)


@pytest.mark.parametrize("swapped", [False, True])
def test_seed_with_its_sides_swapped_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: bool
) -> None:
    plan = plan_of(tmp_path)
    text = plan.at("seed", "text", "ces_Latn.txt")
    text.parent.mkdir(parents=True)
    text.write_text("a\nb\nc\n")
    asked = []

    def call(words: tuple[str, ...], *, is_kept: bool, text: str | None = None) -> tuple[int, str]:
        asked.append((words[:2], text))
        answers = ("eng_Latn", "eng_Latn" if swapped else "slk_Latn", "und")
        return 0, "".join(f"{one}\t0.9\n" for one in answers)

    step = next(step for step in make_steps(plan) if step.name == "split")
    monkeypatch.setattr("new_language.run._call", call)
    monkeypatch.setattr("new_language.run.make_steps", lambda plan: [step])
    if swapped:
        with pytest.raises(UserError, match="2 of the first 3 lines of ces_Latn are in eng_Latn"):
            run_steps(plan)
    else:
        run_steps(plan)
    assert asked[-1] == (("lid", "identify"), "a\nb\nc\n")


def test_identifier_that_lacks_the_language_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(words: tuple[str, ...], *, is_kept: bool, text: str | None = None) -> tuple[int, str]:
        assert words[:4] == ("lid", "identify", "--model", "lid")
        assert text == ""
        return 2, ""

    monkeypatch.setattr("new_language.run._call", call)
    with pytest.raises(UserError, match="`label_shards: true`"):
        run_steps(plan_of(tmp_path, identifier_text=[]))


@pytest.mark.parametrize(("identifier", "is_compared"), [("lid", True), ("builtin", False)])
def test_new_identifier_is_compared_with_a_directory(
    tmp_path: Path, identifier: str, is_compared: bool
) -> None:
    steps = {step.name: step.words for step in make_steps(plan_of(tmp_path, identifier=identifier))}
    assert ("--against" in steps["identify"]) == is_compared


def test_settings_of_no_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`distil`, which is no step; there are split, "):
        make_steps(plan_of(tmp_path, settings={"distil": {}}))


def test_other_directions_are_those_of_the_model_that_the_test_set_has(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert [str(one) for one in plan.others] == ["eng_Latn-deu_Latn", "deu_Latn-eng_Latn"]
    chosen = plan_of(tmp_path, other_directions=["deu_Latn-fra_Latn"]).others
    assert chosen == (Direction("deu_Latn", "fra_Latn"),)


def test_other_directions_may_have_a_test_set_of_their_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for split in ("dev", "devtest"):
        (own / split).mkdir(parents=True)
        for code in ("eng_Latn", "deu_Latn"):
            (own / split / f"{code}.{split}").write_text("a\nb\nc\n")
    plan = plan_of(tmp_path, other_flores=str(own))
    assert [str(one) for one in plan.others] == ["eng_Latn-deu_Latn", "deu_Latn-eng_Latn"]
    others, new = "eng_Latn-deu_Latn,deu_Latn-eng_Latn", "eng_Latn-ces_Latn,ces_Latn-eng_Latn"
    steps = {step.name: step for step in make_steps(plan)}

    def translates(name: str) -> list[Any]:
        given = parse(steps[name])[1]
        return [given[key] for key in ("flores", "split", "directions", "output")]

    for system in ("start", "seed", "mined", "all", "ceiling"):
        where = plan.hypotheses(system, "others")
        assert translates(f"translate_others_{system}") == [own, "devtest", others, where]
        if system != "start":
            expected = [tmp_path / "flores", "devtest", new, plan.hypotheses(system)]
            assert translates(f"translate_devtest_{system}") == expected
    assert "translate_devtest_start" not in steps
    compared = " ".join(steps["compare"].words)
    assert f"--hypotheses {plan.hypotheses('start', 'others')} --hypotheses" in compared
    assert f"--flores {own} --split devtest" in compared
    # Both are kept out of mining and training, and the old text that `extend` looks at is there.
    for name in ("mine", "mine_2", "train_mined"):
        [line] = [word for word in steps[name].words if word.startswith("evaluation_sets=")]
        assert str(own) in line
    assert f"flores={own}" in steps["extend"].words


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"language": "slk_Latn", "student_languages": []}, "flores/dev has no file of slk_Latn"),
        ({"other_directions": ["eng_Latn-ita_Latn"]}, "flores/devtest has no file of ita_Latn"),
    ],
)
def test_languages_that_a_test_set_lacks_are_told_of_before_the_first_step(
    tmp_path: Path, values: dict[str, Any], missing: str
) -> None:
    plan = plan_of(tmp_path, **values)
    with pytest.raises(UserError, match=missing):
        run_steps(plan)
    assert not plan.output.exists()


def test_best_on_dev_is_exported(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert exported_system(plan) == "all"
    means = {"seed": (9, 30), "mined": (40, 30), "all": (35, 34), "copy": (90, 90)}
    scores = [
        {"system": system, "direction": direction, "metric": metric, "value": value}
        for system, values in means.items()
        for direction, chrf in zip(("eng_Latn-ces_Latn", "ces_Latn-eng_Latn"), values, strict=True)
        for metric, value in (("chrf++", chrf), ("bleu", 0))
    ]
    plan.at("scores_dev").mkdir(parents=True)
    plan.at("scores_dev", "scores.json").write_text(json.dumps({"scores": scores}))
    assert exported_system(plan) == "mined"
    named = replace(plan, config=replace(plan.config, exported="seed"))
    assert exported_system(named) == "seed"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pivot": "ces_Latn"}, "are both `ces_Latn`"),
        ({"systems": ["seed", "all", "ceiling"]}, "needs `mined`"),
        ({"true_pairs": []}, "give both or neither"),
        ({"shards": []}, "`shards` is empty"),
        ({"other_directions": ["eng_Latn-ces_Latn"]}, "which is of the new language"),
        ({"exported": "mined", "systems": ["seed", "ceiling"]}, "which `systems` lacks"),
        ({"language": "ces_Lant"}, "ces_Lant"),
    ],
)
def test_recipes_that_cannot_work_are_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, **values)


def test_a_step_that_fails_is_named_with_its_command_and_what_helps(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(StepFailed, match=r"step `split` failed \(exit code 2\)") as failed:
        run_steps(plan)
    assert failed.value.exit_code == 2
    assert f"tongues data split {tmp_path}/seed --source eng_Latn" in str(failed.value)
    assert "Write the pairs as a TSV" in str(failed.value)
    assert set(step_times(plan.output)) == {"split"}


def test_a_measurement_is_made_again_when_what_it_reads_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, there = tmp_path / "model", tmp_path / "measured"
    (model / "receipts").mkdir(parents=True)
    (model / "model.bin").write_text("one")
    printed = tmp_path / "printed.json"
    step = Step(
        name="measure",
        title="A measurement",
        words=("lid", "measure"),
        outputs=(there,),
        by_hand="",
        stdout=printed,
        reads=(model, tmp_path / "not there"),
    )
    calls = []

    def call(words: tuple[str, ...], *, is_kept: bool, text: str | None = None) -> tuple[int, str]:
        calls.append(words)
        there.mkdir(exist_ok=True)
        (there / "measure.json").write_text("{}")
        return 0, "{}"

    monkeypatch.setattr("new_language.run._call", call)
    monkeypatch.setattr("new_language.run.make_steps", lambda plan: [step])
    plan = plan_of(tmp_path)
    run_steps(plan)
    run_steps(plan)
    assert len(calls) == 1
    (model / "receipts" / "log.jsonl").write_text("what made the model is no input")
    run_steps(plan)
    assert len(calls) == 1
    (model / "model.bin").write_text("two")
    run_steps(plan)
    assert len(calls) == 2
    printed.unlink()
    run_steps(plan)
    assert len(calls) == 3


def test_steps_that_measure_name_all_that_they_read(tmp_path: Path) -> None:
    """What a measurement is given is either one of the files it reads, or written by it."""
    for step in make_steps(plan_of(tmp_path)):
        if not step.reads:
            continue
        words = " ".join(step.words)
        given = set(re.findall(rf"{tmp_path}[\w/.-]*|(?<= )lid(?= )", words))
        known = {str(path) for path in (*step.reads, *step.outputs)}
        for path in given:
            assert any(one.startswith(path) for one in known), (step.name, path)


def test_dry_run_prints_a_script_and_writes_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"{{language: ces_Latn, pivot: eng_Latn, seed: [{tmp_path}], shards: [a.gz],"
        f" model: {plan.config.model}, flores: {plan.config.flores}}}"
    )
    words = ["new-language", str(recipe), "--output", str(tmp_path / "out"), "--dry-run"]
    result = CliRunner().invoke(tongues.cli, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
    assert (
        f"\ntongues new-language {recipe} --output {tmp_path}/out --report-only\n" in result.stdout
    )
    assert not (tmp_path / "out").exists()


def test_page_of_a_run_that_has_not_begun_names_what_is_missing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    write_report(plan, {})
    text = plan.at("report.html").read_text("utf-8")
    assert "Missing: scores/systems.tsv." in text
    assert "tongues mining run" in text
    results = json.loads(plan.at("report.json").read_text("utf-8"))
    assert [step["command"] for step in results["steps"]] == [
        line for line in script(plan).split("\n") if line.startswith("tongues ")
    ]


def test_times_are_summed_over_runs_and_torn_lines_are_left_out(tmp_path: Path) -> None:
    note_time(tmp_path, "mine", 0.0, Times(2.0, 3.0), 1)
    note_time(tmp_path, "mine", 9.0, Times(1.5, 0.5), 0)
    with (tmp_path / "steps.jsonl").open("a") as file:
        file.write('{"step": "mine", "sec')
    assert step_times(tmp_path) == {"mine": Times(3.5, 3.5)}
