"""Models to transformers and back, against transformers itself."""

import dataclasses
import errno
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from sentencepiece import SentencePieceProcessor

from corpus.errors import JobError, UserError
from nmt.fairseq import BatchLayout
from nmt.interop import weights
from nmt.interop.config import ExportConfig, ImportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.interop.import_model import import_checkpoint
from nmt.model.directory import WEIGHTS_FILE, TrainedModel, load_model, read_description
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.interop.conftest import IS_5, write_model

LINES = ["bara kili mo", "šegu mo domдом tu zq bara", "mo"]
SMALL_SHARDS = ExportConfig(shard_bytes=150_000)
KINDS = [0, 4]


def encode(model: TrainedModel, lines: list[str]) -> tuple[torch.Tensor, list[int]]:
    """Return padded source rows and their lengths."""
    vocabulary = model.vocabulary
    language = vocabulary.language_index(vocabulary.languages[0])
    rows = [[language, *row, vocabulary.end_index] for row in vocabulary.encode(lines)]
    lengths = [len(row) for row in rows]
    padded = [row + [vocabulary.pad_index] * (max(lengths) - len(row)) for row in rows]
    return torch.tensor(padded), lengths


@torch.inference_mode()
def difference(model: TrainedModel, theirs: Any) -> float:
    """Return the largest difference of logits where there is text, padding in the batch."""
    source, lengths = encode(model, LINES)
    mask = torch.arange(source.shape[1]) < torch.tensor(lengths)[:, None]
    target = torch.cat([torch.full((3, 1), model.vocabulary.end_index), source[:, :-1]], 1)
    found = model.translator(
        source, BatchLayout.of(source, lengths), target, BatchLayout.of(target, lengths)
    )
    expected = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
    assert expected[mask].std() > 0.1, "the logits are too alike to tell models apart"
    return float((found - expected)[mask].abs().max())


@pytest.mark.parametrize("num_experts", KINDS)
def test_exported_model_gives_transformers_the_same_logits(
    tmp_path: Path, models: dict[int, Path], num_experts: int, experts_work: None
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    model = models[num_experts]
    export_to_transformers(model, tmp_path / "theirs", SMALL_SHARDS)
    shards = list((tmp_path / "theirs").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert all(shard.stat().st_size < 160_000 for shard in shards)
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    assert type(theirs).__name__.startswith("NllbMoe" if num_experts else "M2M100")
    assert difference(load_model(model), theirs) < 1e-5


@pytest.mark.parametrize("num_experts", KINDS)
def test_imported_export_is_the_same_model_to_the_byte(
    tmp_path: Path, models: dict[int, Path], num_experts: int
) -> None:
    model = models[num_experts]
    export_to_transformers(model, tmp_path / "theirs", SMALL_SHARDS)
    import_checkpoint(tmp_path / "theirs", tmp_path / "again", ImportConfig())
    for name in (WEIGHTS_FILE, "vocabulary/sentencepiece.model", "vocabulary/vocabulary.json"):
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes(), name


def write_theirs(folder: Path, vocabulary_path: Path, *, num_experts: int) -> Any:
    """Write a random model of transformers' own, with its tokenizer, as NLLB-200 is published.

    There the languages are followed by what transformers calls `<mask>` and two rows without a
    name, which fairseq trained as `<MINED_DATA>`, `<MMT_BT_DATA>` and `<SMT_BT_DATA>`.
    """
    from transformers import (
        M2M100Config,
        M2M100ForConditionalGeneration,
        NllbMoeConfig,
        NllbMoeForConditionalGeneration,
    )

    # What NllbTokenizer.save_pretrained wrote then, which numbered no added token.
    languages = ["fra_Latn", "eng_Latn", "sat_Beng"]
    folder.mkdir()
    pieces = shutil.copy(
        vocabulary_path / "sentencepiece.model", folder / "sentencepiece.bpe.model"
    )
    symbols = {
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "additional_special_tokens": languages,
        "mask_token": {
            "content": "<mask>", "lstrip": True, "normalized": True, "rstrip": False,
            "single_word": False,
        },
    }  # fmt: skip
    settings = {**symbols, "src_lang": "fra_Latn", "tgt_lang": None, "legacy_behaviour": False}
    for name, content in (("special_tokens_map", symbols), ("tokenizer_config", settings)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    size = SentencePieceProcessor(model_file=str(pieces)).get_piece_size() + 1 + len(languages) + 1
    shape: dict[str, Any] = {
        "vocab_size": size + 2, "d_model": 32, "max_position_embeddings": 64,
        "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "encoder_attention_heads": 2, "decoder_attention_heads": 4,
    }  # fmt: skip
    torch.manual_seed(1)
    model: Any
    if num_experts:
        sparse = {"encoder_sparse_step": 2, "decoder_sparse_step": 2, "num_experts": num_experts}
        model = NllbMoeForConditionalGeneration(
            NllbMoeConfig(**shape, **sparse, moe_token_dropout=0.3)
        )
    else:
        model = M2M100ForConditionalGeneration(M2M100Config(**shape, activation_function="relu"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder, max_shard_size="60KB")
    assert (folder / "model.safetensors.index.json").exists()
    return model.eval()


@pytest.mark.parametrize("num_experts", KINDS)
def test_imported_model_gives_the_logits_of_transformers(
    tmp_path: Path, vocabulary_path: Path, num_experts: int, experts_work: None
) -> None:
    theirs = write_theirs(tmp_path / "theirs", vocabulary_path, num_experts=num_experts)
    import_checkpoint(tmp_path / "theirs", tmp_path / "model", ImportConfig())
    model = load_model(tmp_path / "model")
    assert difference(model, theirs) < 1e-5
    assert len(model.directions) == 6
    symbols = list(model.vocabulary.layout()["symbols"])
    assert symbols[4:] == [
        "__fra_Latn__",
        "__eng_Latn__",
        "__sat_Olck__",
        "<MINED_DATA>",
        "<MMT_BT_DATA>",
        "<SMT_BT_DATA>",
    ]


@pytest.mark.skipif(not IS_5, reason="transformers 4 uses all experts")
def test_transformers_5_uses_two_experts_only(tmp_path: Path, models: dict[int, Path]) -> None:
    # `NllbMoeExperts.forward` (5.0 to 5.24) takes the mask's zeros and ones for experts' numbers.
    # When this fails, `export_model` need not warn any longer, nor the guide.
    from transformers import AutoModelForSeq2SeqLM

    export_to_transformers(models[4], tmp_path / "theirs", ExportConfig())
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    before = difference(load_model(models[4]), theirs)
    assert before > 0.1
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "expert_2." in name or "expert_3." in name:
                parameter.zero_()
    assert difference(load_model(models[4]), theirs) == before


def test_settings_that_transformers_has_no_place_for_are_named_and_translations_are_the_same(
    tmp_path: Path, vocabulary_path: Path, caplog: pytest.LogCaptureFixture, experts_work: None
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    model = write_model(
        tmp_path / "model",
        vocabulary_path,
        num_experts=4,
        capacity_factor=1.25,
        batch_prioritized_routing=True,
        expert_output_masking_p=0.2,
        final_output_masking_p=0.5,
        gating_dropout_p=0.3,
        gating_dropout_ranks=2,
    )
    export_to_transformers(model, tmp_path / "theirs", ExportConfig())
    for named in (
        "`capacity_factor: 1.25`, `gating_dropout_p: 0.3`, `gating_dropout_ranks: 2`",
        "`final_output_masking_p: 0.5` becomes part of `moe_token_dropout: 0.6`",
    ):
        assert named in caplog.text
    # Both scale what the experts give: 0.8 · 0.5.
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    assert difference(load_model(model), theirs) < 1e-5
    import_checkpoint(tmp_path / "theirs", tmp_path / "again", ImportConfig())
    assert read_description(tmp_path / "again").config.batch_prioritized_routing
    assert difference(load_model(tmp_path / "again"), theirs) < 1e-5


def test_santali_has_the_name_of_nllbs_tokenizer_again_where_that_is_asked_for(
    tmp_path: Path, vocabulary_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import NllbTokenizer

    write_theirs(tmp_path / "theirs", vocabulary_path, num_experts=0)
    import_checkpoint(tmp_path / "theirs", tmp_path / "model", ImportConfig())
    vocabulary = Vocabulary.load(tmp_path / "model" / "vocabulary")
    for nllb_codes, code, other in (
        (False, "sat_Olck", "sat_Beng"),
        (True, "sat_Beng", "sat_Olck"),
    ):
        caplog.clear()
        output = tmp_path / code
        export_to_transformers(tmp_path / "model", output, ExportConfig(nllb_codes=nllb_codes))
        tokenizer = NllbTokenizer.from_pretrained(output)
        index = vocabulary.language_index("sat_Olck")
        assert tokenizer.convert_tokens_to_ids(code) == index
        assert tokenizer.convert_tokens_to_ids(other) == tokenizer.unk_token_id
        assert ("`sat_Olck` is `sat_Beng` in NLLB-200's own tokenizer" in caplog.text) == (
            not nllb_codes
        )


@pytest.mark.parametrize("tokenizer_class", ["NllbTokenizer", "NllbTokenizerFast"])
def test_tokenizer_of_transformers_gives_our_tokens(
    exported: Path, vocabulary_path: Path, tokenizer_class: str
) -> None:
    import transformers

    read = getattr(transformers, tokenizer_class).from_pretrained
    tokenizer = read(exported, src_lang="qaa_Latn", tgt_lang="qab_Latn")
    lines = [*LINES, "", "bara  kili", "éèñ ẞ", "дом bara"]
    vocabulary = Vocabulary.load(vocabulary_path)
    for language in vocabulary.languages:
        tokenizer.src_lang = language
        index = vocabulary.language_index(language)
        expected = [[index, *row, vocabulary.end_index] for row in vocabulary.encode(lines)]
        assert tokenizer(lines).input_ids == expected
    assert len(tokenizer) == vocabulary.size
    assert tokenizer.convert_tokens_to_ids("<MINED_DATA>") == vocabulary.tag_index("mined")
    assert tokenizer.mask_token_id == vocabulary.mask_index
    assert tokenizer.pad_token_id == vocabulary.pad_index


def test_vocabulary_in_another_order_is_exported_with_its_embedding_reordered(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    from transformers import AutoModelForSeq2SeqLM, NllbTokenizer

    layout = json.loads((vocabulary_path / "vocabulary.json").read_text(encoding="utf-8"))
    # Symbols first, then the pieces: every row stands elsewhere than in transformers' order.
    symbols = {symbol: i for i, symbol in enumerate(reversed(layout["symbols"]))}
    layout |= {"symbols": symbols, "piece_offset": len(symbols) - 3}
    other = tmp_path / "vocabulary"
    other.mkdir()
    pieces = (vocabulary_path / "sentencepiece.model").read_bytes()
    (other / "sentencepiece.model").write_bytes(pieces)
    (other / "vocabulary.json").write_text(json.dumps(layout), encoding="utf-8")
    ours = load_model(write_model(tmp_path / "model", other, num_experts=0))
    export_to_transformers(tmp_path / "model", tmp_path / "theirs", ExportConfig())
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    tokenizer = NllbTokenizer.from_pretrained(tmp_path / "theirs", src_lang="qaa_Latn")
    source, _ = encode(ours, LINES[:1])
    ours.vocabulary.language_index("qaa_Latn")
    tokenizer.src_lang = ours.vocabulary.languages[0]
    ids = tokenizer(LINES[:1], return_tensors="pt").input_ids
    assert ids.tolist() != source.tolist()
    with torch.inference_mode():
        found = ours.translator(source, BatchLayout.of(source), source, BatchLayout.of(source))
        expected = theirs(input_ids=ids, decoder_input_ids=ids).logits
    order = [int(i) for i in torch.argsort(torch.tensor(_our_rows(ours.vocabulary, tokenizer)))]
    torch.testing.assert_close(found, expected[..., order], atol=1e-5, rtol=1e-4)


def _our_rows(vocabulary: Vocabulary, tokenizer: Any) -> list[int]:
    """Return our index of each of transformers' ids, by the names of the tokens."""
    symbols: dict[str, int] = vocabulary.layout()["symbols"]
    names = {symbol.strip("_"): index for symbol, index in symbols.items()}
    offset = vocabulary.layout()["piece_offset"]
    tokens = tokenizer.convert_ids_to_tokens(list(range(vocabulary.size)))
    pieces = SentencePieceProcessor(model_file=f"{tokenizer.name_or_path}/sentencepiece.bpe.model")
    return [names.get(token, pieces.piece_to_id(token) + offset) for token in tokens]


def test_export_runs_again_only_for_what_is_missing(tmp_path: Path, vocabulary_path: Path) -> None:
    model = write_model(tmp_path / "model", vocabulary_path, num_experts=4)
    first = export_to_transformers(model, tmp_path / "theirs", SMALL_SHARDS)
    before = {path: path.read_bytes() for path in (tmp_path / "theirs").glob("model*")}
    lost = sorted(before)[1]
    lost.unlink()
    again = export_to_transformers(model, tmp_path / "theirs", SMALL_SHARDS)
    assert (again.done, again.skipped) == (1, first.done - 1)
    assert {path: path.read_bytes() for path in (tmp_path / "theirs").glob("model*")} == before


def test_import_that_broke_off_leaves_no_weights_and_can_be_run_again(
    tmp_path: Path, models: dict[int, Path], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    convert = weights._convert

    def convert_until_the_disk_is_full(*arguments: Any) -> Any:
        if next(calls) == 20:
            raise OSError(errno.ENOSPC, "no space left")
        return convert(*arguments)

    monkeypatch.setattr(weights, "_convert", convert_until_the_disk_is_full)
    with pytest.raises(OSError, match="no space left"):
        import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())
    assert not list((tmp_path / "again").glob("*model*"))
    monkeypatch.undo()
    import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())
    found = (tmp_path / "again" / WEIGHTS_FILE).read_bytes()
    assert found == (models[4] / WEIGHTS_FILE).read_bytes()


def test_damaged_model_is_not_exported(tmp_path: Path, models: dict[int, Path]) -> None:
    model = tmp_path / "model"
    shutil.copytree(models[0], model)
    content = bytearray((model / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (model / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(JobError, match=r"model\.safetensors is damaged"):
        export_to_transformers(model, tmp_path / "theirs", ExportConfig())


def test_model_with_conditional_routing_is_not_exported() -> None:
    from nmt.interop.names import weight_pairs
    from nmt.model.config import named_config

    with pytest.raises(UserError, match="do not have"):
        weight_pairs(dataclasses.replace(named_config("tiny"), cmr=True))


@pytest.fixture
def checkpoint(tmp_path: Path, exported: Path) -> Path:
    """A checkpoint in transformers' layout that may be changed."""
    return shutil.copytree(exported, tmp_path / "theirs")


def change(checkpoint: Path, **tensors: torch.Tensor | None) -> None:
    """Replace tensors of a checkpoint, or remove them."""
    path = checkpoint / WEIGHTS_FILE
    there: dict[str, torch.Tensor | None] = {**safetensors.torch.load_file(path), **tensors}
    kept = {key: value for key, value in there.items() if value is not None}
    safetensors.torch.save_file(kept, path)


EXPERT = "model.encoder.layers.1.ffn.experts.expert_2.fc1.weight"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({EXPERT: None}, f"model.safetensors has no tensor `{EXPERT}`"),
        ({EXPERT: torch.ones(3, 2)}, f"`{EXPERT}` is 3x2; by the config it is 128x64"),
        ({EXPERT: torch.ones(128, 64).int()}, f"`{EXPERT}` is of type I32"),
        ({"model.surprise": torch.ones(1)}, "has the tensor `model.surprise`"),
        ({"model.shared.weight": None}, "has no tensor `model.shared.weight`, nor lm_head"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    checkpoint: Path, tmp_path: Path, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    change(checkpoint, **tensors)
    with pytest.raises(JobError) as caught:
        import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())
    assert message in str(caught.value)
    assert not (tmp_path / "again" / WEIGHTS_FILE).exists()


def test_output_that_is_not_tied_to_the_embedding_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    shared = safetensors.torch.load_file(checkpoint / WEIGHTS_FILE)["model.shared.weight"]
    change(checkpoint, **{"lm_head.weight": shared + 1})
    with pytest.raises(UserError, match=r"`lm_head\.weight` is not `model\.shared\.weight`"):
        import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())


def test_bias_on_the_logits_is_refused_unless_it_is_zero(checkpoint: Path, tmp_path: Path) -> None:
    change(checkpoint, final_logits_bias=torch.zeros(1, 90))
    import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())
    change(checkpoint, final_logits_bias=torch.ones(1, 90))
    with pytest.raises(UserError, match="`final_logits_bias` is not zero"):
        import_checkpoint(checkpoint, tmp_path / "other", ImportConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bart"}, "model type `bart`"),
        ({"activation_function": "gelu"}, "`activation_function` is 'gelu'"),
        ({"scale_embedding": False}, "`scale_embedding` is False"),
        ({"router_bias": True}, "`router_bias` is True"),
        ({"router_dtype": "bfloat16"}, "`router_dtype` is 'bfloat16'"),
        ({"second_expert_policy": "random"}, "`second_expert_policy` is 'random'"),
        ({"moe_eval_capacity_token_fraction": 0.5}, "`moe_eval_capacity_token_fraction` is 0.5"),
        ({"decoder_ffn_dim": 5}, "`decoder_ffn_dim` is 5; ours have one value"),
        ({"pad_token_id": 0}, "`pad_token_id` is 0"),
    ],
)
def test_config_that_would_change_the_logits_is_refused(
    checkpoint: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    path = checkpoint / "config.json"
    there = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**there, **values}), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        import_checkpoint(checkpoint, tmp_path / "again", ImportConfig())
    assert message in str(caught.value)


def test_type_of_the_weights_can_be_changed(checkpoint: Path, tmp_path: Path) -> None:
    import_checkpoint(checkpoint, tmp_path / "again", ImportConfig(dtype="bfloat16"))
    found = safetensors.torch.load_file(tmp_path / "again" / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
