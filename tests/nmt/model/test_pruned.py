import dataclasses
import json
from pathlib import Path

import pytest
import torch

from corpus.errors import UserError
from corpus.languages import Direction
from corpus.records import read_bitext
from nmt.fairseq import BatchLayout
from nmt.model.config import named_config
from nmt.model.directory import load_model, save_model
from nmt.model.translator import create_model, moe_layers
from nmt.translation.back_translate import back_translate
from nmt.translation.decoding.config import BackTranslateConfig, ExpertsConfig, TranslateConfig
from nmt.translation.translator import TextTranslator, open_translator
from nmt.usage.expert_selection import Needed, needed_experts
from nmt.vocabulary.vocabulary import Vocabulary
from tests.receipts import finished_tasks, read_receipt

LAYERS = ("encoder.layers.1", "decoder.layers.1")
NUM_EXPERTS = 6
DIRECTION = Direction("qaa_Latn", "qab_Latn")
SHARES = {
    "encoder.layers.1": {"qaa_Latn": [0.5, 0.4, 0.1, 0, 0, 0], "qab_Latn": [0, 0, 0, 0.6, 0.4, 0]},
    "decoder.layers.1": {
        "qaa_Latn": [0, 0, 0, 0, 0.2, 0.8],
        "qab_Latn": [0.9, 0, 0.06, 0.04, 0, 0],
    },
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, trained_model: Path) -> Path:
    """A model whose gates choose among six experts at random."""
    torch.manual_seed(4)
    vocabulary = Vocabulary.load(trained_model / "vocabulary")
    config = dataclasses.replace(
        named_config("tiny"),
        vocab_size=vocabulary.size,
        pad_idx=vocabulary.pad_index,
        num_experts=NUM_EXPERTS,
        moe_every_n_layers=2,
    )
    directory = tmp_path_factory.mktemp("pruned") / "model"
    directions = [DIRECTION, DIRECTION.reverse]
    save_model(directory, create_model(config), config, trained_model / "vocabulary", directions)
    return directory


@pytest.fixture
def usage(tmp_path: Path) -> Path:
    layers = {
        name: {"languages": languages, "load": [1 / NUM_EXPERTS] * NUM_EXPERTS}
        for name, languages in SHARES.items()
    }
    (tmp_path / "usage.json").write_text(json.dumps({"layers": layers}))
    return tmp_path / "usage.json"


def test_encoder_keeps_experts_of_sources_and_decoder_those_of_targets(usage: Path) -> None:
    kept = needed_experts(usage, Needed(("qaa_Latn",), ("qab_Latn",)), 0.95)
    # By hand: 0.5 + 0.4 are less than 0.95, with 0.1 they are 1; 0.9 are less, with 0.1 they are 1.
    assert kept == {"encoder.layers.1": [0, 1, 2], "decoder.layers.1": [0, 2]}
    both = Needed.of([DIRECTION, DIRECTION.reverse])
    assert needed_experts(usage, both, 0.95) == {
        "encoder.layers.1": [0, 1, 2, 3, 4],
        "decoder.layers.1": [0, 2, 4, 5],
    }


def test_experts_that_stay_have_the_weights_and_the_gate_rows_they_had(model: Path) -> None:
    whole, part = load_model(model), load_model(model, {layer: [1, 3, 4] for layer in LAYERS})
    layers = dict(moe_layers(whole.translator))
    for name, layer in moe_layers(part.translator):
        assert layer.num_experts == 3
        rows = torch.tensor([1, 3, 4])
        assert torch.equal(layer.gate.weight, layers[name].gate.weight[rows])
        theirs = dict(layers[name].experts.named_parameters())
        for key, parameter in layer.experts.named_parameters():
            assert torch.equal(parameter, theirs[key][rows])
    others = {k: v for k, v in whole.translator.state_dict().items() if ".ffn.gate" not in k}
    for key, value in part.translator.state_dict().items():
        if ".ffn.experts." not in key and ".ffn.gate." not in key:
            assert torch.equal(value, others[key])


def test_model_with_all_its_experts_kept_translates_as_the_whole_one(model: Path) -> None:
    kept = dict.fromkeys(LAYERS, range(NUM_EXPERTS))
    config = TranslateConfig(threads=1)
    lines = ["bara kino", "", "kili mo tu"]
    whole = TextTranslator(load_model(model), config)
    part = TextTranslator(load_model(model, kept), config)
    expected = whole.translate_scored(lines, *DIRECTION)
    found = part.translate_scored(lines, *DIRECTION)
    assert [one.text for one in found] == [one.text for one in expected]
    assert found[0].score == expected[0].score
    assert "routed" not in whole.counts
    assert part.counts["routed"] > 0
    assert part.counts["lost_expert"] == 0


def test_tokens_that_lose_an_expert_are_those_whose_first_two_it_was_among(model: Path) -> None:
    whole = load_model(model)
    rows = [[9, 10, 11, 12, 13, 2], [9, 30, 2, 1, 1, 1]]
    source, lengths = torch.tensor(rows), [6, 3]
    layout = BatchLayout.of(source, lengths)
    part = load_model(model, {"encoder.layers.1": [0, 1, 2], "decoder.layers.1": [0, 1, 2]})
    with torch.inference_mode():
        for one in (whole, part):
            seqs, _ = one.translator.encoder_frontend(source, layout)
            one.translator.encoder(seqs, layout)
    layer = dict(moe_layers(whole.translator))["encoder.layers.1"]
    assert layer.routing is not None
    chosen = layer.routing.expert_KT.view(2, 2, 6)
    expected = sum(
        bool((chosen[:, row, place] > 2).any())
        for row, length in enumerate(lengths)
        for place in range(length)
    )
    assert part.lost is not None
    assert 0 < expected < 9
    assert (part.lost.num_tokens, part.lost.num_lost) == (9, expected)


def test_translator_says_how_many_tokens_lost_an_expert(
    model: Path, usage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = TranslateConfig(threads=1, experts=ExpertsConfig(usage=usage, share=0.9))
    translator = open_translator(model, config, Needed.of([DIRECTION]))
    translator.translate(["bara kino"], *DIRECTION)
    translator.warn()
    assert "encoder.layers.1 keeps 2 experts" in caplog.text
    share = 100 * translator.counts["lost_expert"] / translator.counts["routed"]
    assert 0 < share <= 100
    assert f"{share:.2f} % of tokens lost one of their experts" in caplog.text


def test_back_translation_keeps_the_experts_of_the_way_it_goes(
    model: Path, usage: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "qab_Latn.txt").write_text("bara kino\nkili mo\n")
    translate = TranslateConfig(
        threads=1,
        method="sampling",
        max_length_constant=200,
        experts=ExpertsConfig(usage=usage, share=0.9),
    )
    config = BackTranslateConfig(translate=translate)
    summary = back_translate(model, tmp_path / "text", [DIRECTION], tmp_path / "out", config)
    assert summary.counts["lost_expert"] > 0
    assert read_bitext(tmp_path / "out" / f"{DIRECTION}.parquet").num_rows > 0
    done = finished_tasks(tmp_path / "out", "back-translate")
    (task,) = (name for name in done if name.endswith("00000"))
    wanted = {"sources": ["qab_Latn"], "targets": ["qaa_Latn"]}
    receipt = read_receipt(tmp_path / "out", "back-translate", task)
    assert receipt["arguments"]["experts_for"] == wanted


def test_usage_of_another_model_is_refused(model: Path, usage: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="usage of experts is of another model"):
        load_model(model, {"encoder.layers.3": [0, 1]})
    with pytest.raises(UserError, match="usage of experts is of another model"):
        load_model(model, {layer: [0, 6] for layer in LAYERS})
    with pytest.raises(UserError, match="was not measured for `qac_Cyrl`"):
        needed_experts(usage, Needed(("qac_Cyrl",), ("qaa_Latn",)), 0.9)
    with pytest.raises(UserError, match="does not exist"):
        needed_experts(tmp_path / "none.json", Needed((), ()), 0.9)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="is not the usage of experts"):
        needed_experts(tmp_path / "other.json", Needed((), ()), 0.9)
