import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import yaml

from corpus.config import load_config
from corpus.errors import DataError, UserError
from corpus.files import read_json, read_lines, write_json
from corpus.languages import Direction
from nmt.data.tokenize import fingerprint
from nmt.model.directory import WEIGHTS_FILE, load_model
from nmt.training.config import TrainConfig
from nmt.training.curves import mean_scores, read_curves
from nmt.training.directory import saved_updates
from nmt.training.train import train
from nmt.training.unfinished import FINGERPRINT_FILE, check_unfinished
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translate_files import translate_flores
from nmt.translation.translator import TextTranslator
from tests.nmt.conftest import WORDS, write_bitext, write_flores

ROOT = Path(__file__).parents[3]


def write_recipe(tmp_path: Path, vocabulary: Path, bitext: Path, **differences: object) -> Path:
    recipe: dict[str, object] = {
        "vocabulary": str(vocabulary),
        "bitext": {"primary": str(bitext)},
        "model": {"size": "tiny"},
        "batches": {"max_tokens": 2000, "max_length": 60},
        "optimizer": {"learning_rate": 0.004, "warmup_updates": 5, "schedule": "linear"},
        "updates": 6,
        "checkpoint_every": 2,
        "validate_every": 4,
        "report_every": 2,
        "threads": 1,
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump({**recipe, **differences}), encoding="utf-8")
    return path


def command(recipe: Path, output: Path) -> list[str]:
    arguments = ["nmt", "train", "--config-file", str(recipe), "--output", str(output)]
    return [sys.executable, str(ROOT / "tongues.py"), *arguments]


def metrics_of(output: Path) -> dict[str, list[dict[str, object]]]:
    """Return the metrics by file, but times and speeds."""
    speeds = ("mfu", "tokens_per_second")
    return {
        path.name: [
            {k: v for k, v in json.loads(line).items() if "Time" not in k and k not in speeds}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in sorted((output / "training" / "metrics").rglob("*.jsonl"))
    }


@pytest.mark.slow
def test_model_trained_by_the_trainer_copies_unseen_sequences(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    from sacrebleu import corpus_bleu

    bitext = tmp_path / "copies"
    write_bitext(bitext / "qaa_Latn-qab_Latn.tsv", 3000, seed=2)
    lines = [" ".join(WORDS[(7 * i + 5 * j) % len(WORDS)] for j in range(5)) for i in range(60)]
    flores = write_flores(tmp_path / "flores", lines)
    recipe = write_recipe(
        tmp_path,
        vocabulary_directory,
        bitext,
        flores=str(flores),
        updates=300,
        checkpoint_every=100,
        validate_every=100,
        report_every=50,
    )
    train(load_config(TrainConfig, recipe), tmp_path / "model")
    config = TranslateConfig(threads=1)
    translate_flores(tmp_path / "model", flores, "devtest", (), tmp_path / "hypotheses", config)
    for direction in ("qaa_Latn-qab_Latn", "qab_Latn-qaa_Latn"):
        hypotheses = read_lines(tmp_path / "hypotheses" / f"{direction}.txt")
        assert corpus_bleu(hypotheses, [lines]).score >= 98


@pytest.mark.slow
def test_training_killed_after_a_checkpoint_ends_with_the_same_bytes(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    flores = write_flores(tmp_path / "flores", ["bara kili mo", "tuno še", "ki ki bagu"])
    recipe = write_recipe(
        tmp_path,
        vocabulary_directory,
        bitext,
        flores=str(flores),
        selection={"keep": "best"},
        updates=60,
        checkpoint_every=10,
        validate_every=10,
        report_every=10,
        chrf={"sentences": 2, "max_directions": 1},
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(recipe, whole), check=True, capture_output=True)
    process = subprocess.Popen(command(recipe, killed), stderr=subprocess.DEVNULL)
    checkpoints = killed / "training" / "checkpoints"
    while not any(checkpoints.glob("step_[0-9]*[0-9]")):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / WEIGHTS_FILE).exists()
    again = subprocess.run(command(recipe, killed), check=True, capture_output=True, text=True)
    assert "update 10/60" not in again.stderr, "it began anew instead of resuming"
    assert (killed / WEIGHTS_FILE).read_bytes() == (whole / WEIGHTS_FILE).read_bytes()
    # A header with entries of its own would be in another order in every process.
    with safetensors.safe_open(whole / WEIGHTS_FILE, "pt") as file:
        assert file.metadata() is None
    assert not checkpoints.exists()
    assert metrics_of(killed) == metrics_of(whole)


@pytest.mark.slow
def test_environment_does_not_reach_the_logs(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    recipe = write_recipe(tmp_path, vocabulary_directory, bitext)
    environment = {**os.environ, "A_PASSWORD": "correct-horse"}
    done = subprocess.run(
        command(recipe, tmp_path / "model"), check=True, capture_output=True, env=environment
    )
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" and path.stat().st_size for path in files)
    assert b"correct-horse" not in done.stderr + b"".join(path.read_bytes() for path in files)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nmt.vocabulary.config import VocabularyConfig
    from nmt.vocabulary.train import train_vocabulary

    directory = tmp_path_factory.mktemp("trained")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 100)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    recipe = write_recipe(directory, directory / "vocabulary", directory / "bitext")
    train(load_config(TrainConfig, recipe), directory / "model")
    return directory


def test_last_checkpoints_and_the_best_are_kept_as_the_config_says(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    recipe = write_recipe(
        tmp_path,
        vocabulary_directory,
        bitext,
        flores=str(write_flores(tmp_path / "flores", ["bara kili mo", "tuno"])),
        # Rises to where training diverges, so that the best of these updates is not the last.
        optimizer={"learning_rate": 3.0, "warmup_updates": 4, "schedule": "inverse_sqrt"},
        chrf={"sentences": 0},
        selection={"keep": "best"},
        checkpoints={"last": 2, "best": 1, "when_done": True},
        updates=5,
        checkpoint_every=1,
        validate_every=1,
        report_every=1,
        batches={"max_tokens": 200, "max_length": 60},
    )
    train(load_config(TrainConfig, recipe), tmp_path / "model")
    training = tmp_path / "model" / "training"
    scores = mean_scores(read_curves(training), "nll")
    best = max(scores, key=lambda score: score[1])[0]
    assert best < 4
    assert sorted(saved_updates(training)) == [best, 4, 5]


def test_translation_gives_one_line_for_each_and_keeps_empty_ones(trained: Path) -> None:
    translator = TextTranslator(load_model(trained / "model"), TranslateConfig(max_batch_tokens=80))
    lines = ["bara", "", "kili mo tu", "   ", "še še še še"]
    first = translator.translate(lines, "qaa_Latn", "qab_Latn")
    assert len(first) == 5
    assert (first[1], first[3]) == ("", "")
    assert first == translator.translate(lines, "qaa_Latn", "qab_Latn")


def test_finished_training_is_not_done_again(trained: Path) -> None:
    config = load_config(TrainConfig, trained / "train.yaml")
    before = (trained / "model" / WEIGHTS_FILE).stat().st_mtime_ns
    assert train(config, trained / "model").skipped == 1
    assert (trained / "model" / WEIGHTS_FILE).stat().st_mtime_ns == before


def test_json_of_a_training_holds_its_counts_and_its_curves(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tongues

    arguments = ["--config-file", str(trained / "train.yaml"), "--output", str(trained / "model")]
    assert tongues.main(["nmt", "train", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["counts"]["updates"], found["counts"]["skipped_updates"]) == (6, 0)
    assert found["update"] == 6
    assert 0 < found["nll"] < found["loss"] + 1
    assert found["tokens_per_second"] > 0
    assert 0 < found["mfu"] < 1
    assert (trained / "model" / "training" / "report.html").is_file()
    assert list((trained / "model" / "training" / "tb" / "train").iterdir())


def test_model_says_what_it_was_trained_on(trained: Path) -> None:
    directions = load_model(trained / "model").directions
    expected = Direction("qaa_Latn", "qab_Latn")
    assert directions == (expected, expected.reverse)


def test_shares_of_experts_sum_to_one_for_every_language(trained: Path) -> None:
    from nmt.usage.measure import measure_usage

    flores = write_flores(trained / "flores", ["bara kili", "mono"])
    usage = measure_usage(load_model(trained / "model"), flores, "dev")
    assert set(usage["layers"]) == {"encoder.layers.1", "decoder.layers.1"}
    for layer in usage["layers"].values():
        assert set(layer["languages"]) == {"qaa_Latn", "qab_Latn"}
        for shares in [*layer["languages"].values(), layer["load"]]:
            assert sum(shares) == pytest.approx(1)


def test_directory_that_is_no_model_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a translation model.*tongues nmt train"):
        load_model(tmp_path)


def test_damaged_weights_are_refused(trained: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(trained / "model", tmp_path / "model")
    weights = tmp_path / "model" / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(DataError, match="damaged"):
        load_model(tmp_path / "model")


def unfinished(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> tuple[Path, TrainConfig, tuple[Path, ...]]:
    """A training with a checkpoint: its directory, config and files."""
    directory = tmp_path / "model" / "training"
    config = load_config(TrainConfig, write_recipe(tmp_path, vocabulary_directory, bitext))
    files = tuple(sorted(bitext.iterdir()))
    check_unfinished(directory, config, files)
    write_bitext(files[0], 10, seed=9)
    check_unfinished(directory, config, files)  # nothing was made yet
    (directory / "checkpoints" / "step_2" / "trainer").mkdir(parents=True)
    return directory, config, files


def test_unfinished_training_on_other_bitext_is_refused(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    directory, config, files = unfinished(tmp_path, vocabulary_directory, bitext)
    check_unfinished(directory, config, files)
    with pytest.raises(UserError, match=f"files no longer used: {files[0]}"):
        check_unfinished(directory, config, files[1:])
    with pytest.raises(UserError, match="`seed` is 2 there and 5 now"):
        check_unfinished(directory, replace(config, seed=5), files)
    write_bitext(files[0], 12, seed=9)
    with pytest.raises(UserError, match=f"files changed: {files[0]}. Undo"):
        check_unfinished(directory, config, files)


def test_training_begun_by_an_earlier_version_is_resumed_if_nothing_changed(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    directory, config, files = unfinished(tmp_path, vocabulary_directory, bitext)
    path = directory / FINGERPRINT_FILE
    recorded = read_json(path)
    del recorded["settings"]["label_smoothing"]  # a key that came later, at its default
    write_json(path, recorded)
    check_unfinished(directory, config, files)
    # Versions before that recorded one digest.
    old = {key: v for key, v in recorded["settings"].items() if key != "monolingual"}
    digest = fingerprint(json.dumps(old), list(recorded["files"].values()))
    write_json(path, {"inputs": digest})
    (directory.parent / "config.yaml").write_text(yaml.safe_dump(old, sort_keys=False))
    check_unfinished(directory, config, files)
    write_json(path, {"inputs": "0" * 32})
    with pytest.raises(UserError, match="begun by an earlier version of tongues"):
        check_unfinished(directory, config, files)


def test_config_that_failed_before_a_checkpoint_does_not_block_the_corrected_one(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    output = tmp_path / "model"
    phases = {"phases": [{"resource_levels": ["high"]}]}
    recipe = write_recipe(
        tmp_path, vocabulary_directory, bitext, updates=6, curriculum=phases,
    )  # fmt: skip
    with pytest.raises(UserError, match="has no direction"):
        train(load_config(TrainConfig, recipe), output)
    tokens = output / "training" / "data" / "primary" / "0" / "qaa_Latn-qab_Latn.tokens.npy"
    made = tokens.stat().st_mtime_ns
    recipe = write_recipe(
        tmp_path, vocabulary_directory, bitext, updates=8, directions=["qaa_Latn-eng_Latn"]
    )
    with pytest.raises(UserError, match="qaa_Latn-eng_Latn"):
        train(load_config(TrainConfig, recipe), output)
    assert tokens.stat().st_mtime_ns == made
    batches = {"max_tokens": 2000, "max_length": 50}
    recipe = write_recipe(
        tmp_path, vocabulary_directory, bitext, batches=batches, validate_every=6,
    )  # fmt: skip
    summary = train(load_config(TrainConfig, recipe), output)
    assert summary is not None
    assert summary.counts["updates"] == 6


def test_refusal_names_every_key_that_differs_before_torch_is_loaded(trained: Path) -> None:
    arguments = ["--config", "updates=8", "--config", "model.num_experts=2", "--config", "seed=9"]
    words = [*command(trained / "train.yaml", trained / "model")[2:], *arguments]
    code = (
        "import sys, tongues\n"
        f"code = tongues.main({words!r})\n"
        "sys.exit(100 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    for key in ("`updates` is 6 there and 8 now", "`model.num_experts`", "`seed` is 2 there"):
        assert key in done.stderr
