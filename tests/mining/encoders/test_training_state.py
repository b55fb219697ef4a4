import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from corpus.errors import JobError, UserError  # noqa: E402
from corpus.files import read_json  # noqa: E402
from mining.encoders.config import BagConfig, TrainEncoderConfig, TransformerConfig  # noqa: E402
from mining.encoders.loop import STATE_FILE, Progress, learning_rate  # noqa: E402
from mining.encoders.train import run_train_encoder  # noqa: E402

CONFIG = TrainEncoderConfig(
    bag=BagConfig(dimension=16, hidden=16, buckets=1 << 8, vocabulary_size=60),
    transformer=TransformerConfig(
        vocabulary_size=60, dimension=16, layers=1, heads=2, ffn_inner_dim=16
    ),
    epochs=8,
    batch_size=32,
    hard_negatives=16,
    validation_share=0.1,
    validations=5,
    patience=0,
    checkpoint_updates=7,
    device="cpu",
)
"""About 40 updates."""


def write_bitext(folder: Path, last: str = "end") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [f"{a} {b}" for a in "abcdefghijklm" for b in "nopqrstuvwxyz"]
    lines = [f"{text}\t{text.upper()[::-1]}" for text in numbers] + [f"{last}\t{last}"]
    (folder / "qaa_Latn-qac_Latn.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("weights.safetensors", "subwords.model", "encoder.json")
    return {name: (folder / name).read_bytes() for name in names}


class Killed(BaseException):
    """As sudden as a signal: nothing catches it."""


def interrupt_after(monkeypatch: pytest.MonkeyPatch, updates: int) -> None:
    left = [updates]

    def update(self: Progress, count: int = 1) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    monkeypatch.setattr(Progress, "update", update)


@pytest.mark.parametrize("architecture", ["bag", "transformer"])
def test_interrupted_training_goes_on_to_the_same_bytes(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, architecture=architecture, learning_rate=0.01)  # type: ignore[arg-type]
    bitext = write_bitext(tmp_path / "bitext")
    run_train_encoder([bitext], tmp_path / "whole", config)
    for updates in (16, 12):
        with monkeypatch.context() as context:
            interrupt_after(context, updates)
            with pytest.raises(Killed):
                run_train_encoder([bitext], tmp_path / "parts", config)
        assert (tmp_path / "parts" / STATE_FILE).exists()
        assert not (tmp_path / "parts" / "encoder.json").exists()
    run_train_encoder([bitext], tmp_path / "parts", config)
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert not (tmp_path / "parts" / STATE_FILE).exists()


def test_state_of_other_bitext_or_damaged_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bitext = write_bitext(tmp_path / "bitext")
    with monkeypatch.context() as context:
        interrupt_after(context, 12)
        with pytest.raises(Killed):
            run_train_encoder([bitext], tmp_path / "encoder", CONFIG)
    write_bitext(tmp_path / "bitext", last="another")
    with pytest.raises(UserError, match=r"is of other bitext .* Delete it to start over"):
        run_train_encoder([bitext], tmp_path / "encoder", CONFIG)
    state = tmp_path / "encoder" / STATE_FILE
    state.write_bytes(state.read_bytes()[:1000])
    write_bitext(tmp_path / "bitext")
    with pytest.raises(JobError, match="is damaged"):
        run_train_encoder([bitext], tmp_path / "encoder", CONFIG)


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    # With a rate this high nothing is learned after the first validations.
    config = replace(CONFIG, learning_rate=50.0, validations=20, patience=2)
    summary = run_train_encoder([write_bitext(tmp_path / "bitext")], tmp_path / "encoder", config)
    description = read_json(tmp_path / "encoder" / "encoder.json")
    history = description["history"]
    best = min(reversed(history), key=lambda entry: entry["error"])
    assert description["best_update"] == best["update"]
    assert history[-3]["update"] == best["update"]
    assert summary.counts["updates"] == history[-1]["update"] < 40


def test_learning_rate_rises_over_a_twentieth_then_falls_to_zero() -> None:
    rates = [learning_rate(number, 100, 2.0) for number in range(100)]
    # By hand: the fifth update of a hundred has 2 * min(5 / 5, 1 - 4 / 100) = 1.92.
    assert rates[4] == pytest.approx(1.92)
    assert max(rates) == rates[4]
    assert rates[99] == pytest.approx(0.02)


@pytest.mark.slow
def test_training_killed_by_a_signal_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    bitext = write_bitext(tmp_path / "bitext")

    def start(output: Path) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "tongues"), "mining", "train-encoder"]
        command += ["--bitext", str(bitext), "--output", str(output)]
        for value in ("epochs=120", "checkpoint_updates=20", "batch_size=32", "bag.dimension=16"):
            command += ["--config", value]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "parts")
    deadline = time.monotonic() + 120
    while not (tmp_path / "parts" / STATE_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "parts" / "encoder.json").exists()
    assert start(tmp_path / "parts").wait() == 0
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
