from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from corpus.config import load_config
from corpus.errors import UserError
from corpus.files import digest_file
from corpus.languages import parse_direction
from nmt.fairseq import BatchLayout
from nmt.model.directory import VOCABULARY_DIRECTORY, WEIGHTS_FILE, load_model
from nmt.model.distilled_loss import TeacherTargets, distilled_cross_entropy
from nmt.model.loss import label_smoothed_cross_entropy
from nmt.training.config import TrainConfig
from nmt.training.distillation_config import DistillationConfig
from nmt.training.teacher import Teacher, check_teacher, warn_of_unknown_directions
from nmt.training.train import train
from nmt.vocabulary.config import VocabularyConfig
from nmt.vocabulary.train import train_vocabulary
from tests.nmt.conftest import write_bitext
from tests.nmt.training.test_train import write_recipe

PAD = 1
POSITIONS, STUDENT_DIM, TEACHER_DIM, TOKENS = 23, 6, 10, 17


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(2, TOKENS, (POSITIONS,), generator=generator)
    targets[[4, 11, 22]] = PAD
    return {
        "hidden": torch.randn(POSITIONS, STUDENT_DIM, generator=generator),
        "weight": torch.randn(TOKENS, STUDENT_DIM, generator=generator),
        "teacher_hidden": torch.randn(POSITIONS, TEACHER_DIM, generator=generator),
        "teacher_weight": torch.randn(TOKENS, TEACHER_DIM, generator=generator),
        "targets": targets,
    }


def teacher_targets_of(tensors: dict[str, Tensor], **settings: float) -> TeacherTargets:
    chosen = {"top_k": 3, "temperature": 1.0, "weight": 0.5, **settings}
    return TeacherTargets(tensors["teacher_hidden"], tensors["teacher_weight"], **chosen)  # type: ignore[arg-type]


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that anything returns."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return out


def grade(tensors: dict[str, Tensor], teacher: TeacherTargets | None) -> tuple[Tensor, ...]:
    """Return loss, nll, [divergence], then gradients of hidden and weight, scaled by 3."""
    hidden = tensors["hidden"].clone().requires_grad_()
    weight = tensors["weight"].clone().requires_grad_()
    inputs = (hidden, weight, tensors["targets"])
    if teacher is None:
        found = label_smoothed_cross_entropy(*inputs, ignored_index=PAD, label_smoothing=0.1)
    else:
        found = distilled_cross_entropy(*inputs, teacher, ignored_index=PAD, label_smoothing=0.1)
    (3 * found[0]).backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return *(value.detach() for value in found), hidden.grad, weight.grad


def literal_divergence(
    tensors: dict[str, Tensor], logits: Tensor, top_k: int, temperature: float
) -> Tensor:
    """Sum over targets of KL(q || p), term by term, with the logits of all at once."""
    teacher = (tensors["teacher_hidden"] @ tensors["teacher_weight"].T) / temperature
    total = torch.zeros(())
    for n, target in enumerate(tensors["targets"].tolist()):
        if target == PAD:
            continue
        best = sorted(range(TOKENS), key=lambda v: -float(teacher[n, v]))[:top_k]
        kept = sum(torch.exp(teacher[n, v]) for v in best)
        p = torch.exp(logits[n] / temperature)
        p = p / p.sum()
        for v in best:
            q = torch.exp(teacher[n, v]) / kept
            total = total + q * (torch.log(q) - torch.log(p[v]))
    return total


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distilled_loss_and_gradients_are_those_of_the_formula(
    tensors: dict[str, Tensor], temperature: float
) -> None:
    teacher = teacher_targets_of(tensors, temperature=temperature, weight=0.3)
    loss, nll, divergence, hidden_gradient, weight_gradient = grade(tensors, teacher)
    hidden = tensors["hidden"].clone().requires_grad_()
    weight = tensors["weight"].clone().requires_grad_()
    logits = hidden @ weight.T
    expected_divergence = literal_divergence(tensors, logits, 3, temperature)
    cross_entropy, expected_nll = label_smoothed_cross_entropy(
        hidden, weight, tensors["targets"], ignored_index=PAD, label_smoothing=0.1
    )
    expected = 0.7 * cross_entropy + 0.3 * temperature**2 * expected_divergence
    (3 * expected).backward()
    assert torch.isclose(loss, expected.detach(), rtol=1e-6)
    assert torch.isclose(divergence, expected_divergence.detach(), rtol=1e-6)
    assert nll == expected_nll
    torch.testing.assert_close(hidden_gradient, hidden.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weight_gradient, weight.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("top_k", [0, TOKENS, TOKENS + 5])
def test_all_tokens_kept_are_the_divergence_of_the_whole_distributions(
    tensors: dict[str, Tensor], top_k: int
) -> None:
    divergence = grade(tensors, teacher_targets_of(tensors, top_k=top_k))[2]
    student = (tensors["hidden"] @ tensors["weight"].T).log_softmax(dim=1)
    teacher = (tensors["teacher_hidden"] @ tensors["teacher_weight"].T).log_softmax(dim=1)
    rows = torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
    assert torch.isclose(divergence, rows[tensors["targets"] != PAD].sum(), rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_positions_where_the_teacher_has_no_say_have_the_plain_loss(
    tensors: dict[str, Tensor], temperature: float
) -> None:
    is_taught = torch.arange(POSITIONS) % 3 == 0
    mixed = teacher_targets_of(tensors, temperature=temperature, top_k=0)
    found = grade(tensors, mixed._replace(is_taught_N=is_taught))
    taught = {**tensors, "targets": tensors["targets"].where(is_taught, PAD)}
    plain = {**tensors, "targets": tensors["targets"].where(~is_taught, PAD)}
    loss, nll, divergence, *gradients = grade(
        taught, teacher_targets_of(tensors, temperature=temperature, top_k=0)
    )
    plain_loss, plain_nll, *plain_gradients = grade(plain, None)
    assert torch.isclose(found[0], loss + plain_loss, rtol=1e-6)
    assert torch.isclose(found[1], nll + plain_nll, rtol=1e-6)
    assert torch.isclose(found[2], divergence, rtol=1e-6)
    for ours, one, other in zip(found[3:], gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, one + other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_weight_zero_is_the_plain_loss_to_the_last_bit(
    tensors: dict[str, Tensor], temperature: float
) -> None:
    loss, nll, _, *gradients = grade(
        tensors, teacher_targets_of(tensors, weight=0, temperature=temperature)
    )
    plain_loss, plain_nll, *plain_gradients = grade(tensors, None)
    assert (loss, nll) == (plain_loss, plain_nll)
    assert all(map(torch.equal, gradients, plain_gradients))


def test_student_equal_to_its_teacher_has_nothing_to_learn(tensors: dict[str, Tensor]) -> None:
    tensors |= {"teacher_hidden": tensors["hidden"], "teacher_weight": tensors["weight"]}
    loss, _, divergence, *gradients = grade(tensors, teacher_targets_of(tensors, top_k=0, weight=1))
    assert abs(loss) < 1e-5
    assert abs(divergence) < 1e-5
    assert all(gradient.abs().max() < 1e-5 for gradient in gradients)


@pytest.mark.parametrize("top_k", [0, 3])
@pytest.mark.parametrize("positions", [1, 4])
def test_chunks_change_nothing_and_are_all_that_is_held(
    tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, positions: int, top_k: int
) -> None:
    teacher = teacher_targets_of(tensors, temperature=2, top_k=top_k)
    whole = grade(tensors, teacher)
    monkeypatch.setattr("nmt.model.loss.MAX_LOGITS_PER_CHUNK", positions * TOKENS)
    with Largest() as largest:
        chunked = grade(tensors, teacher)
    for ours, theirs in zip(chunked, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    inputs = max(tensor.numel() for tensor in tensors.values())
    assert largest.numel <= max(inputs, positions * TOKENS) < POSITIONS * TOKENS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.2}, "`weight` is 1.2; it must be at least 0 and at most 1"),
        ({"temperature": 0.0}, "`temperature` is 0.0; it must be above 0"),
        ({"top_k": -1}, "`top_k` is -1"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DistillationConfig(teacher=Path("teacher"), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bitext, vocabulary and a teacher with experts that was trained a little."""
    directory = tmp_path_factory.mktemp("school")
    write_bitext(directory / "bitext" / "qaa_Latn-qab_Latn.tsv", 100)
    train_vocabulary([directory / "bitext"], directory / "vocabulary", VocabularyConfig(size=80))
    train(student_config(directory, directory), directory / "teacher")
    return directory


def student_config(school: Path, place: Path, **differences: object) -> TrainConfig:
    recipe = write_recipe(place, school / "vocabulary", school / "bitext", **differences)
    return load_config(TrainConfig, recipe)


def taught_config(school: Path, place: Path, **settings: object) -> TrainConfig:
    return student_config(
        school,
        place,
        model={"size": "tiny", "num_experts": 0},
        distillation={"teacher": str(school / "teacher"), **settings},
    )


def test_dense_student_learns_from_a_teacher_with_experts_and_keeps_nothing_of_it(
    school: Path, tmp_path: Path
) -> None:
    before = digest_file(school / "teacher" / WEIGHTS_FILE)
    config = taught_config(school, tmp_path, weight=0.9)
    train(config, tmp_path / "student")
    assert digest_file(school / "teacher" / WEIGHTS_FILE) == before
    plain = replace(config, distillation=None)
    train(plain, tmp_path / "plain")
    student, alone = (load_model(tmp_path / name).translator for name in ("student", "plain"))
    assert list(student.state_dict()) == list(alone.state_dict())
    assert not torch.equal(student.output_weight, alone.output_weight)


@pytest.mark.slow
def test_training_with_weight_zero_is_training_without_a_teacher(
    school: Path, tmp_path: Path
) -> None:
    config = taught_config(school, tmp_path, weight=0.0)
    train(config, tmp_path / "student")
    train(replace(config, distillation=None), tmp_path / "plain")
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("student", "plain")]
    assert weights[0] == weights[1]


def test_teacher_is_frozen_and_at_evaluation(school: Path) -> None:
    teacher = Teacher(DistillationConfig(teacher=school / "teacher"), torch.device("cpu"))
    assert not teacher._model.training
    assert not any(parameter.requires_grad for parameter in teacher._model.parameters())


@pytest.mark.slow
def test_interrupted_distillation_goes_on_to_the_same_bytes(
    school: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = taught_config(school, tmp_path)
    train(config, tmp_path / "whole")
    original, calls = Teacher.teacher_targets, []

    def fail_on_the_fourth_call(self: Teacher, *inputs: object) -> TeacherTargets:
        calls.append(len(calls))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, *inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(Teacher, "teacher_targets", fail_on_the_fourth_call)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "interrupted")
    train(config, tmp_path / "interrupted")
    # Interrupted in update 4 of 6, it goes on from the checkpoint after update 2.
    assert len(calls) == 4 + 4
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("whole", "interrupted")]
    assert weights[0] == weights[1]


def test_teacher_of_another_vocabulary_is_refused_with_the_remedy(
    school: Path, tmp_path: Path
) -> None:
    train_vocabulary([school / "bitext"], tmp_path / "other", VocabularyConfig(size=70))
    config = DistillationConfig(teacher=school / "teacher")
    with pytest.raises(UserError, match=r"is not the student's .*give `vocabulary:"):
        check_teacher(config, tmp_path / "other")
    check_teacher(config, school / "vocabulary")
    check_teacher(config, school / "teacher" / VOCABULARY_DIRECTORY)


def test_teacher_that_is_no_model_is_refused(school: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a translation model"):
        check_teacher(DistillationConfig(teacher=tmp_path), school / "vocabulary")


def test_directions_that_the_teacher_never_saw_are_named(
    school: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = DistillationConfig(teacher=school / "teacher")
    directions = [parse_direction(d) for d in ("qaa_Latn-qab_Latn", "qaa_Latn-qac_Cyrl")]
    warn_of_unknown_directions(config, directions[:1])
    assert not caplog.records
    warn_of_unknown_directions(config, directions)
    assert "1 of 2 directions, the first being qaa_Latn-qac_Cyrl" in caplog.text


def test_teacher_has_a_say_in_its_own_directions_only(school: Path) -> None:
    words = load_model(school / "teacher").vocabulary
    here, there = words.languages
    teacher = Teacher(DistillationConfig(teacher=school / "teacher"), torch.device("cpu"))
    teacher._directions = teacher._directions[:1]
    rows = [[words.language_index(a), words.end_index] for a in (here, there)]
    source = torch.tensor([rows[0], rows[1], rows[0]])
    inputs = torch.tensor([[words.end_index, rows[i][0], 5] for i in (1, 0, 0)])
    targets = teacher.teacher_targets(
        source, BatchLayout.of(source), inputs, BatchLayout.of(inputs)
    )
    known = (int(teacher._directions[0]) // words.size) == rows[0][0]
    assert targets.is_taught_N is not None
    # Denoising, the last row, has no direction.
    assert targets.is_taught_N.tolist() == [*[known] * 3, *[not known] * 3, *[True] * 3]


def test_a_teacher_that_is_not_named_is_the_start() -> None:
    config = load_config(
        TrainConfig, None, ["start_from=old", "distillation.weight=0.3", "bitext.primary=pairs"]
    )
    assert config.distillation is not None
    assert config.distillation.teacher == Path("old")
    with pytest.raises(UserError, match="`distillation` needs `teacher`, or `start_from`"):
        load_config(
            TrainConfig, None, ["vocabulary=v", "distillation.weight=0.3", "bitext.primary=pairs"]
        )


def test_batch_without_positions_has_no_loss(tensors: dict[str, Tensor]) -> None:
    none = {name: tensors[name][:0] for name in ("hidden", "teacher_hidden", "targets")}
    for teacher in (None, teacher_targets_of({**tensors, **none})):
        loss, nll, *_, hidden_gradient, weight_gradient = grade({**tensors, **none}, teacher)
        assert (loss, nll, hidden_gradient.numel()) == (0, 0, 0)
        assert not weight_gradient.any()
