"""Trainings of parts of a model: frozen ones, and LoRA."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from corpus.config import load_config
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from nmt.model.directory import WEIGHTS_FILE, load_model, trained_directions
from nmt.model.freezing import freeze, is_in
from nmt.model.lora import (
    Lora,
    adapter_directions,
    add_lora,
    apply_adapter,
    freeze_all_but_lora,
    merge_lora,
    save_adapter,
)
from nmt.model.translator import Translator
from nmt.training.config import TrainConfig
from nmt.training.train import ADAPTER_FILE, train
from tests.nmt.conftest import write_bitext
from tests.nmt.training.test_start import config_from, logits_of

OPTIONS = (
    "updates=4", "report_every=2", "checkpoint_every=2", "validate_every=2",
    "optimizer.learning_rate=0.01", "optimizer.warmup_updates=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("adapting")
    write_bitext(directory / "qaa_Latn-qab_Latn.tsv", 60, seed=5)
    return directory


def adapted_model(directory: Path) -> Translator:
    model = load_model(directory).translator
    torch.manual_seed(1)
    add_lora(model, rank=2, scale=0.5, targets=["attention", "feed_forward"], dropout_p=0.1)
    return model


def test_frozen_parts_keep_their_weights_and_the_rest_learns(
    trained_model: Path, bitext: Path, tmp_path: Path
) -> None:
    frozen = ("embeddings", "experts", "norms")
    config = config_from(trained_model, bitext, *OPTIONS, f"freeze=[{','.join(frozen)}]")
    train(config, tmp_path / "model")
    before, after = (load_file(path / WEIGHTS_FILE) for path in (trained_model, tmp_path / "model"))
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == is_in(name, frozen), name


def test_lora_leaves_all_else_and_its_merged_model_is_the_adapted_one(
    trained_model: Path, bitext: Path, tmp_path: Path
) -> None:
    options = (*OPTIONS, "lora.rank=2", "lora.also=[embeddings]")
    train(config_from(trained_model, bitext, *options), tmp_path / "merged")
    train(config_from(trained_model, bitext, *options, "lora.save=adapter"), tmp_path / "adapter")
    before, after = (load_file(p / WEIGHTS_FILE) for p in (trained_model, tmp_path / "merged"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(name.endswith("proj.weight") or is_in(name, ["embeddings"]) for name in changed), (
        changed
    )
    assert len(changed) > 20
    assert not (tmp_path / "adapter" / WEIGHTS_FILE).exists()
    merged = load_model(tmp_path / "merged").translator
    loaded = load_model(trained_model, adapter=tmp_path / "adapter" / ADAPTER_FILE).translator
    assert torch.allclose(logits_of(loaded), logits_of(merged), atol=1e-5)
    assert not torch.allclose(logits_of(load_model(trained_model).translator), logits_of(merged))


def test_adaptation_begins_as_nothing_and_merging_changes_nothing(trained_model: Path) -> None:
    wanted = logits_of(load_model(trained_model).translator)
    model = adapted_model(trained_model)
    assert torch.equal(logits_of(model), wanted)
    for module in model.modules():
        if isinstance(module, Lora):
            torch.nn.init.normal_(module.up)
    moved = logits_of(model)
    assert not torch.allclose(moved, wanted, atol=1e-2)
    names = set(load_model(trained_model).translator.state_dict())
    merge_lora(model)
    assert set(model.state_dict()) == names
    assert torch.allclose(logits_of(model), moved, atol=1e-4)


def test_adapter_file_does_to_its_model_what_merging_does(
    trained_model: Path, tmp_path: Path
) -> None:
    model = adapted_model(trained_model)
    for module in model.modules():
        if isinstance(module, Lora):
            torch.nn.init.normal_(module.up)
    with torch.no_grad():
        model.output_weight.add_(0.1)
    new = Direction("qab_Latn", "qac_Cyrl")
    save_adapter(tmp_path / "adapter", model, ["embeddings"], "digest", [new])
    assert adapter_directions(tmp_path / "adapter") == (new,)
    assert trained_directions(trained_model, tmp_path / "adapter") == tuple(
        sorted((*load_model(trained_model).directions, new))
    )
    plain = load_model(trained_model).translator
    apply_adapter(plain, tmp_path / "adapter", "digest")
    assert torch.allclose(logits_of(plain), logits_of(model), atol=1e-4)
    with pytest.raises(UserError, match="trained on another model"):
        apply_adapter(plain, tmp_path / "adapter", "other")
    with pytest.raises(UserError, match="is not an adapter"):
        apply_adapter(plain, trained_model / WEIGHTS_FILE, "digest")
    with pytest.raises(UserError, match="there is no adapter"):
        apply_adapter(plain, tmp_path / "missing", "digest")
    (tmp_path / "cut").write_bytes((tmp_path / "adapter").read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable adapter"):
        apply_adapter(plain, tmp_path / "cut", "digest")


def test_only_adaptations_and_named_parts_get_gradients(trained_model: Path) -> None:
    model = adapted_model(trained_model)
    freeze_all_but_lora(model, ["gates"])
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        name for name, _ in model.named_parameters() if ".lora." in name or ".ffn.gate." in name
    }
    whole = copy.deepcopy(load_model(trained_model).translator)
    with pytest.raises(UserError, match="leaves nothing to train"):
        freeze(whole, ["encoder", "decoder", "embeddings"])


def test_settings_without_sense_are_refused(trained_model: Path, bitext: Path) -> None:
    with pytest.raises(UserError, match="`lora` needs `start_from`"):
        load_config(TrainConfig, None, ["vocabulary=v", "bitext.primary=b", "lora.rank=2"])
    with pytest.raises(UserError, match="`freeze` has no meaning"):
        config_from(trained_model, bitext, "lora.rank=2", "freeze=[experts]")
    with pytest.raises(UserError, match="one of encoder"):
        config_from(trained_model, bitext, "freeze=[everything]")
