import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from corpus.errors import JobError, UserError  # noqa: E402
from corpus.files import read_json  # noqa: E402
from mining.encoders import encoder_space, load_encoder  # noqa: E402
from mining.encoders.config import (  # noqa: E402
    BagConfig,
    DistillConfig,
    LstmConfig,
    TrainEncoderConfig,
)
from mining.encoders.distill import run_distill  # noqa: E402
from mining.encoders.embed_config import XsimConfig  # noqa: E402
from mining.encoders.loop import STATE_FILE, Progress  # noqa: E402
from mining.encoders.losses import distillation_loss  # noqa: E402
from mining.encoders.train import run_train_encoder  # noqa: E402
from mining.encoders.xsim import measure_xsim  # noqa: E402

WORDS = ["dog", "cat", "house", "tree", "river", "stone", "bread", "milk", "sings", "walks"]
WORDS += ["sees", "buys", "old", "new", "red", "small", "three", "seven", "under", "never"]
BAG = BagConfig(dimension=32, hidden=32, buckets=1 << 12, vocabulary_size=200)
TEACHER = TrainEncoderConfig(bag=BAG, epochs=8, batch_size=32, hard_negatives=0)
STUDENT = DistillConfig(bag=BAG, epochs=10, batch_size=32, device="cpu")
NEW, KNOWN, PIVOT = "qac_Cyrl", "qab_Latn", "eng_Latn"


def cipher(word: str) -> str:
    return "".join(chr(ord("а") + (ord(letter) - ord("a")) * 7 % 26) for letter in word)


TRANSLATE = {
    PIVOT: " ".join,
    KNOWN: lambda words: " ".join(word[::-1] for word in words),
    NEW: lambda words: " ".join(map(cipher, reversed(words))),
}


def write_texts(folder: Path, languages: tuple[str, ...], count: int, seed: int) -> Path:
    rng = random.Random(seed)
    sentences = [rng.sample(WORDS, 5) for _ in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    for language in languages:
        lines = "".join(f"{TRANSLATE[language](words)}\n" for words in sentences)
        (folder / f"{language}.txt").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    run_train_encoder([write_texts(folder / "a", (PIVOT, KNOWN), 300, 1)], folder / "t", TEACHER)
    return folder / "t"


@pytest.fixture(scope="module")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bitext")
    return write_texts(folder, (PIVOT, KNOWN, NEW), 300, 2)


@pytest.fixture(scope="module")
def flores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flores")
    write_texts(folder / "devtest", (PIVOT, KNOWN, NEW), 80, 3)
    for path in (folder / "devtest").iterdir():
        path.rename(path.with_suffix(".devtest"))
    return folder


@pytest.fixture(scope="module")
def student(teacher: Path, bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    run_distill(teacher, [bitext], folder, STUDENT, [NEW])
    return folder


def test_student_brings_a_new_language_into_the_teachers_space(
    teacher: Path, student: Path, flores: Path
) -> None:
    before = measure_xsim(teacher, flores, "devtest", XsimConfig()).pairs
    config = XsimConfig(encoders={NEW: student})
    after = measure_xsim(teacher, flores, "devtest", config).pairs
    assert before[f"{NEW}-{PIVOT}"] > 0.8
    assert after[f"{NEW}-{PIVOT}"] < 0.2
    assert after[f"{KNOWN}-{PIVOT}"] == before[f"{KNOWN}-{PIVOT}"]


def test_student_says_whose_space_it_shares(teacher: Path, student: Path) -> None:
    assert encoder_space(student) == encoder_space(teacher)
    description = read_json(student / "encoder.json")
    assert description["fingerprint"] != read_json(teacher / "encoder.json")["fingerprint"]
    assert description["languages"] == [NEW]


def test_students_english_stays_where_the_teachers_is(teacher: Path, student: Path) -> None:
    texts = ["old house under red tree", "cat sees small dog"]
    cosines = (load_encoder(teacher).encode(texts) * load_encoder(student).encode(texts)).sum(1)
    assert cosines.min() > 0.9


def test_student_of_another_architecture_and_what_it_needs(
    teacher: Path, bitext: Path, tmp_path: Path
) -> None:
    narrow = replace(STUDENT, architecture="lstm", lstm=LstmConfig(hidden=8, layers=1), epochs=1)
    with pytest.raises(UserError, match="have 16 columns and the teacher's 32"):
        run_distill(teacher, [bitext], tmp_path / "narrow", narrow, [NEW])
    lstm = LstmConfig(vocabulary_size=100, embedding_dim=16, hidden=16, layers=1)
    config = replace(STUDENT, architecture="lstm", lstm=lstm, epochs=1)
    run_distill(teacher, [bitext], tmp_path / "lstm", config, [NEW])
    assert read_json(tmp_path / "lstm" / "encoder.json")["architecture"] == "lstm"


def test_interrupted_distillation_goes_on_to_the_same_bytes(
    teacher: Path, student: Path, bitext: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(STUDENT, checkpoint_updates=10)
    left = [25]

    def update(self: Progress, count: int = 1) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(Progress, "update", update)
        with pytest.raises(KeyboardInterrupt):
            run_distill(teacher, [bitext], tmp_path, config, [NEW])
    assert (tmp_path / STATE_FILE).exists()
    run_distill(teacher, [bitext], tmp_path, config, [NEW])
    for name in ("weights.safetensors", "encoder.json"):
        assert (tmp_path / name).read_bytes() == (student / name).read_bytes()


def test_language_without_pairs_and_unknown_pivot_are_named(
    teacher: Path, bitext: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no pairs of `fra_Latn` with `eng_Latn`"):
        run_distill(teacher, [bitext], tmp_path / "a", STUDENT, [NEW, "fra_Latn"])
    with pytest.raises(JobError, match="no sentence pairs to train on"):
        run_distill(teacher, [bitext], tmp_path / "c", STUDENT, ["fra_Latn"])
    with pytest.raises(UserError, match="no pairs of any language with `deu_Latn`"):
        run_distill(teacher, [bitext], tmp_path / "b", replace(STUDENT, pivot="deu_Latn"))


def test_encoder_of_another_space_is_refused(
    teacher: Path, bitext: Path, flores: Path, tmp_path: Path
) -> None:
    other = replace(TEACHER, epochs=1, seed=9)
    run_train_encoder([bitext], tmp_path / "other", other)
    config = XsimConfig(encoders={NEW: tmp_path / "other"})
    with pytest.raises(UserError, match="has its vectors in another space"):
        measure_xsim(teacher, flores, "devtest", config)
    with pytest.raises(UserError, match="`encoders` has `fra_Latn`, which is not measured"):
        measure_xsim(teacher, flores, "devtest", XsimConfig(encoders={"fra_Latn": teacher}))


def test_distillation_loss_by_hand() -> None:
    # By hand: cosines to the teacher are 0 and 1 for the sources and 1 for the pivots, so the
    # first term is 1/2 and the second 0; the contrast is off.
    eye = torch.eye(2)
    source = torch.stack([eye[1], eye[1]])
    loss = distillation_loss(
        source, eye, eye, torch.tensor([[0, 1], [2, 3]]), cosine_weight=2.0, self_weight=5.0,
        contrast_weight=0.0, margin=0.1, scale=1.0,
    )  # fmt: skip
    assert float(loss) == pytest.approx(1.0)


def test_damaged_teacher_is_refused(teacher: Path, bitext: Path, tmp_path: Path) -> None:
    for path in teacher.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(np.zeros(9).tobytes())
    with pytest.raises(JobError, match=r"is not the file that encoder\.json describes"):
        run_distill(tmp_path, [bitext], tmp_path / "student", STUDENT, [NEW])
