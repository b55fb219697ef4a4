"""Tokens that a checkpoint's files add, against what transformers reads in the same directory."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers

from corpus.errors import DataError, UserError
from nmt.extend import NewLanguage, extend_model
from nmt.fairseq import BatchLayout
from nmt.interop.config import ExportConfig, ImportConfig
from nmt.interop.export_model import export_to_transformers
from nmt.interop.import_model import import_checkpoint
from nmt.interop.tokens import export_vocabulary, import_vocabulary
from nmt.model.directory import load_model
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator
from nmt.vocabulary.config import ExtendConfig
from nmt.vocabulary.vocabulary import LAYOUT_FILE, MODEL_FILE, Vocabulary
from tests.nmt.interop.conftest import IS_5, write_model

TOKENS = {
    "bara kili mo": "▁bara ▁kili ▁mo",
    "bara zork kili": "▁bara zork ▁kili",
    "zorkbara": "zork ▁bara",
    "zork": "zork",
    " kili  zork ": "▁kili zork",
    "kilizork zork": "▁kili zork zork",
}
"""What transformers 4.57.6 makes of text, with the files of `files_of`."""
TEXT = list(TOKENS)


def their_text(text: str) -> str:
    """Return a text without spaces at its end, which the tokenizer of transformers 5 keeps."""
    return text.rstrip() if IS_5 else text


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
    first = first_id(vocabulary_path)
    files = files_of(kind, first)
    files["tokenizer_config"]["legacy_behaviour"] = legacy
    write_tokenizer(tmp_path / "theirs", vocabulary_path, **files)
    model, vocabulary = import_vocabulary(tmp_path / "theirs", first + 5)
    assert vocabulary.languages == ("qab_Latn", "qaa_Latn", "tyv_Cyrl")
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    rows = [
        [
            first + 3 if token == "zork" else pieces.piece_to_id(token) + 1
            for token in tokens.split()
        ]
        for tokens in TOKENS.values()
    ]
    assert vocabulary.encode(TEXT) == rows
    if IS_5:  # reads such files otherwise
        return
    tokenizer = transformers.NllbTokenizer.from_pretrained(tmp_path / "theirs", src_lang="qaa_Latn")
    for text, row in zip(TEXT, rows, strict=True):
        theirs = tokenizer(text).input_ids
        assert vocabulary.source_row("qaa_Latn", row) == theirs
        assert vocabulary.decode(row) == tokenizer.decode(theirs, skip_special_tokens=True)
    for language in vocabulary.languages:
        assert vocabulary.language_index(language) == tokenizer.convert_tokens_to_ids(language)


@pytest.mark.parametrize("legacy", [False, True])
def test_exported_words_are_the_same_tokens_in_transformers_and_in_what_it_saves(
    tmp_path: Path, vocabulary_path: Path, legacy: bool
) -> None:
    first = first_id(vocabulary_path)
    files = files_of("added_tokens_decoder", first)
    files["tokenizer_config"]["legacy_behaviour"] = legacy
    write_tokenizer(tmp_path / "theirs", vocabulary_path, **files)
    model, vocabulary = import_vocabulary(tmp_path / "theirs", first + 5)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / MODEL_FILE).write_bytes(model)
    (tmp_path / "ours" / LAYOUT_FILE).write_text(json.dumps(vocabulary.layout()), encoding="utf-8")
    exported = export_vocabulary(tmp_path / "ours")
    # The export orders languages, mask and words anew.
    our_index = dict(enumerate(exported.rows))
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "sentencepiece.bpe.model").write_bytes(exported.pieces)
    for name in ("tokenizer_config", "special_tokens_map", "tokenizer"):
        key = {"tokenizer_config": "tokenizer", "special_tokens_map": "symbols"}.get(name, "fast")
        content = json.dumps(getattr(exported, key))
        (tmp_path / "exported" / f"{name}.json").write_text(content, encoding="utf-8")
    for name in ("NllbTokenizer", "NllbTokenizerFast"):
        read = getattr(transformers, name).from_pretrained
        tokenizer = read(tmp_path / "exported", src_lang="qaa_Latn")
        tokenizer.save_pretrained(tmp_path / name)
        (tmp_path / name / "sentencepiece.bpe.model").unlink(missing_ok=True)
        for text in TEXT:
            (row,) = vocabulary.encode([text])
            theirs = tokenizer(their_text(text)).input_ids
            assert vocabulary.source_row("qaa_Latn", row) == [our_index[i] for i in theirs]
        if (tmp_path / name / "tokenizer.json").is_file():
            _, again = import_vocabulary(tmp_path / name, first + 5)
            assert [[our_index[i] for i in row] for row in again.encode(TEXT)] == (
                vocabulary.encode(TEXT)
            )


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
    # Without `lstrip`, version 5 gives the space before the word a token.
    tokenizer.add_tokens([transformers.AddedToken("zork", lstrip=IS_5, normalized=False)])
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


def test_model_with_new_pieces_and_languages_is_the_same_in_transformers_and_back(
    tmp_path: Path, vocabulary_path: Path
) -> None:
    from transformers import M2M100ForConditionalGeneration, NllbTokenizer

    ours = write_model(tmp_path / "ours", vocabulary_path, num_experts=0)
    (tmp_path / "text").mkdir()
    lines = ["ыыкү bara өртээл", "өртээл kili ыыкү mo"] * 10
    (tmp_path / "text" / "qad_Cyrl.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "text" / "qaa_Latn.txt").write_text("bara kili mo\n", encoding="utf-8")
    config = ExtendConfig(min_count=2, tokens_per_character=0.01)
    added = [NewLanguage("qad_Cyrl", "qaa_Latn")]
    extend_model(ours, added, tmp_path / "text", tmp_path / "longer", config)
    longer = load_model(tmp_path / "longer")
    export_to_transformers(tmp_path / "longer", tmp_path / "theirs", ExportConfig())
    import_checkpoint(tmp_path / "theirs", tmp_path / "back", ImportConfig())
    back = load_model(tmp_path / "back")
    assert back.vocabulary.languages == longer.vocabulary.languages
    tokenizer = NllbTokenizer.from_pretrained(tmp_path / "theirs", src_lang="qad_Cyrl")
    model = M2M100ForConditionalGeneration.from_pretrained(tmp_path / "theirs").eval()
    target = tokenizer.convert_tokens_to_ids("qad_Cyrl")
    size = longer.vocabulary.size
    for line in [*lines[:2], *TEXT]:
        ids = tokenizer(their_text(line)).input_ids
        rows = {}
        for name, loaded in (("longer", longer), ("back", back)):
            vocabulary = loaded.vocabulary
            (pieces,) = vocabulary.encode([line])
            rows[name] = vocabulary.source_row("qad_Cyrl", pieces)
        assert rows["back"] == ids
        batch = torch.tensor([ids])
        start = torch.tensor([[model.config.decoder_start_token_id, target]])
        with torch.no_grad():
            theirs = model(input_ids=batch, decoder_input_ids=start).logits[0, -1]
        for name, loaded in (("longer", longer), ("back", back)):
            source = torch.tensor([rows[name]])
            vocabulary = loaded.vocabulary
            begin = torch.tensor([[vocabulary.end_index, vocabulary.language_index("qad_Cyrl")]])
            with torch.no_grad():
                logits = loaded.translator(
                    source, BatchLayout.of(source), begin, BatchLayout.of(begin)
                )[0, -1]
            assert torch.allclose(logits.sort().values, theirs[:size].sort().values, atol=1e-4)
            if name == "back":
                assert torch.allclose(logits, theirs[:size], atol=1e-4)
    # Pieces are more than there were, and in use.
    assert len(tokenizer("өртээл").input_ids) < len("өртээл")
