"""Tokens that a checkpoint's files add, against what transformers reads in the same directory."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from corpus.errors import DataError, UserError
from nmt.interop.config import ExportConfig, ImportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.interop.import_model import import_checkpoint
from nmt.interop.tokens import import_vocabulary
from nmt.model.directory import load_model
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary
from tests.nmt.interop.conftest import write_model

TEXT = ["bara kili mo", "bara zork kili", "zorkbara", "zork", " kili  zork ", "kilizork zork"]


def write_tokenizer(folder: Path, vocabulary_path: Path, **files: Any) -> int:
    """Write SentencePiece's model and JSON files; return the ids below those that they add."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(vocabulary_path / MODEL_FILE, folder / "sentencepiece.bpe.model")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    pieces = sentencepiece.SentencePieceProcessor(str(vocabulary_path / MODEL_FILE))
    return int(pieces.get_piece_size()) + 1


def added(content: str, *, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    return {"content": content, "special": special, **flags}


def first_id(vocabulary_path: Path) -> int:
    pieces = sentencepiece.SentencePieceProcessor(str(vocabulary_path / MODEL_FILE))
    return int(pieces.get_piece_size()) + 1


def files_of(kind: str, first: int) -> dict[str, Any]:
    """Return files with two languages in an order of their own, a word and a new language."""
    names = ["qab_Latn", "qaa_Latn", "<mask>", "zork", "tyv_Cyrl"]
    special = [name for name in names if name != "zork"]
    settings = {"src_lang": "qaa_Latn", "mask_token": "<mask>"}
    listed = [name for name in special if name != "<mask>"]
    ids = {name: first + i for i, name in enumerate(names)}
    if kind == "added_tokens_decoder":
        decoder = {str(i): added(name, special=name in special) for name, i in ids.items()}
        return {
            "tokenizer_config": {
                **settings,
                "added_tokens_decoder": decoder,
                "additional_special_tokens": listed,
            }
        }
    if kind == "added_tokens.json":
        return {
            "tokenizer_config": settings,
            "special_tokens_map": {"additional_special_tokens": listed, "mask_token": "<mask>"},
            "added_tokens": ids,
        }
    tokens = [{"id": i, **added(name, special=name in special)} for name, i in ids.items()]
    return {
        "tokenizer_config": {**settings, "additional_special_tokens": listed},
        "tokenizer": {"added_tokens": tokens},
    }


@pytest.mark.parametrize("kind", ["added_tokens_decoder", "added_tokens.json", "tokenizer.json"])
@pytest.mark.parametrize("legacy", [False, True])
def test_tokens_are_those_of_transformers(
    tmp_path: Path, vocabulary_path: Path, kind: str, legacy: bool
) -> None:
    from transformers import NllbTokenizer

    first = first_id(vocabulary_path)
    files = files_of(kind, first)
    files["tokenizer_config"]["legacy_behaviour"] = legacy
    write_tokenizer(tmp_path / "theirs", vocabulary_path, **files)
    _, vocabulary = import_vocabulary(tmp_path / "theirs", first + 5)
    assert vocabulary.languages == ("qab_Latn", "qaa_Latn", "tyv_Cyrl")
    tokenizer = NllbTokenizer.from_pretrained(tmp_path / "theirs", src_lang="qaa_Latn")
    for text in TEXT:
        theirs = tokenizer(text).input_ids
        (pieces,) = vocabulary.encode([text])
        assert vocabulary.source_row("qaa_Latn", pieces) == theirs
        assert vocabulary.decode(pieces) == tokenizer.decode(theirs, skip_special_tokens=True)
    for language in vocabulary.languages:
        assert vocabulary.language_index(language) == tokenizer.convert_tokens_to_ids(language)


def test_new_languages_in_added_tokens_follow_the_listed_ones(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    # As transformers up to 4.33 wrote an extended NLLB-200: only what is new has a number.
    symbols = {
        "additional_special_tokens": ["qaa_Latn", "qab_Latn", "tyv_Cyrl"],
        "mask_token": "<mask>",
    }
    first = first_id(vocabulary_path)
    write_tokenizer(
        tmp_path,
        vocabulary_path,
        special_tokens_map=symbols,
        added_tokens={"tyv_Cyrl": first + 3},
    )
    _, vocabulary = import_vocabulary(tmp_path, first + 4)
    assert [vocabulary.language_index(name) - first for name in vocabulary.languages] == [0, 1, 3]
    assert vocabulary.mask_index == first + 2


def test_layout_with_words_and_order_is_loaded_again(tmp_path: Path, vocabulary_path: Path) -> None:
    first = first_id(vocabulary_path)
    files = files_of("added_tokens_decoder", first)
    files["tokenizer_config"]["legacy_behaviour"] = True
    write_tokenizer(tmp_path, vocabulary_path, **files)
    model, vocabulary = import_vocabulary(tmp_path, first + 5)
    (tmp_path / MODEL_FILE).write_bytes(model)
    (tmp_path / LAYOUT_FILE).write_text(json.dumps(vocabulary.layout()), encoding="utf-8")
    loaded = Vocabulary.load(tmp_path)
    assert loaded.encode(TEXT) == vocabulary.encode(TEXT)
    assert loaded.language_is_last
    assert "words" not in Vocabulary.load(vocabulary_path).layout()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": {"added_tokens": [{"id": 90, "content": "qaa_Latn"}]}}, "cannot be told"),
        ({"added_tokens": {"qaa_Latn": "x"}}, "no id"),
        ({"added_tokens": {"qaa_Latn": 17}}, "not of one checkpoint"),
        ({"tokenizer": {"model": {"vocab": {"x": 4}}}}, "not of one checkpoint"),
        ({"tokenizer": {"added_tokens": [{"content": "x"}]}}, "damaged"),
        ({"special_tokens_map": {"bos_token": "<begin>"}}, "in NLLB's layout it is `<s>`"),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    tmp_path: Path, vocabulary_path: Path, change: dict[str, Any], message: str
) -> None:
    first = first_id(vocabulary_path)
    files = files_of("added_tokens.json", first) | change
    write_tokenizer(tmp_path, vocabulary_path, **files)
    with pytest.raises((DataError, UserError), match=message):
        import_vocabulary(tmp_path, 100)


def test_word_with_flags_that_ours_lack_is_refused(tmp_path: Path, vocabulary_path: Path) -> None:
    first = first_id(vocabulary_path)
    files = files_of("added_tokens_decoder", first)
    files["tokenizer_config"]["added_tokens_decoder"][str(first + 3)]["single_word"] = True
    write_tokenizer(tmp_path, vocabulary_path, **files)
    with pytest.raises(UserError, match="`zork` has single_word"):
        import_vocabulary(tmp_path, first + 5)


@pytest.mark.parametrize(
    "kind", ["added_tokens_decoder", "added_tokens.json", "tokenizer.json", ""]
)
@pytest.mark.parametrize("shift", [-3, 3])
def test_pieces_of_another_size_are_refused(
    tmp_path: Path, vocabulary_path: Path, kind: str, shift: int
) -> None:
    first = first_id(vocabulary_path)
    files = files_of(kind or "added_tokens.json", first + shift)
    if not kind:
        del files["added_tokens"]
    write_tokenizer(tmp_path, vocabulary_path, **files)
    with pytest.raises(DataError, match=r"checkpoint|beyond the embedding"):
        import_vocabulary(tmp_path, first + shift + 5 - (not kind))


def test_translations_of_an_extended_checkpoint_are_those_of_transformers(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    from transformers import M2M100ForConditionalGeneration, NllbTokenizer

    ours = write_model(tmp_path / "ours", vocabulary_path, num_experts=0)
    export_to_transformers(ours, tmp_path / "theirs", ExportConfig())
    tokenizer = NllbTokenizer.from_pretrained(tmp_path / "theirs", src_lang="qaa_Latn")
    model = M2M100ForConditionalGeneration.from_pretrained(tmp_path / "theirs").eval()
    tokenizer.add_tokens(["tyv_Cyrl"], special_tokens=True)
    tokenizer.add_tokens(["zork"])
    torch.manual_seed(1)
    model.resize_token_embeddings(len(tokenizer))
    model.generation_config.max_length = 40
    tokenizer.save_pretrained(tmp_path / "extended")
    model.save_pretrained(tmp_path / "extended")
    import_checkpoint(tmp_path / "extended", tmp_path / "back", ImportConfig())
    imported = load_model(tmp_path / "back")
    assert "tyv_Cyrl" in imported.vocabulary.languages
    translator = TextTranslator(imported, TranslateConfig(beam_size=1, threads=1))
    lines = ["bara zork kili", "kili mo"]
    mine = translator.translate(lines, "qaa_Latn", "tyv_Cyrl")
    target = tokenizer.convert_tokens_to_ids("tyv_Cyrl")
    for line, own in zip(lines, mine, strict=True):
        batch = tokenizer(line, return_tensors="pt")
        length = int(1.5 * batch.input_ids.shape[1]) + 10
        ids = model.generate(
            **batch, forced_bos_token_id=target, num_beams=1, do_sample=False, max_length=length
        )
        theirs = tokenizer.decode(ids[0], skip_special_tokens=True)
        # Both may be cut by a limit, which the two count otherwise by a token or two.
        assert theirs[: len(own) - 12] == own[: len(own) - 12]
        assert len(own) > 12 or own == theirs
