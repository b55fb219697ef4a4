"""Models with a language more: what they gain, and that what they had stays."""

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file

from corpus.errors import UserError
from nmt.extend import MEASURES_FILE, NewLanguage, add_language, extend_model, measure
from nmt.model.directory import WEIGHTS_FILE, load_model
from nmt.translation.decoding.config import TranslateConfig
from nmt.translation.translator import TextTranslator
from nmt.vocabulary.config import ExtendConfig, VocabularyConfig
from nmt.vocabulary.new_pieces import NewPiece, append_pieces, cut_words, learn_pieces
from nmt.vocabulary.train import train_vocabulary
from nmt.vocabulary.vocabulary import MASK_SYMBOL, MODEL_FILE, TAG_SYMBOLS, Vocabulary
from tests.nmt.conftest import WORDS, write_bitext

CONFIG = ExtendConfig(min_count=3, tokens_per_character=0.3)
TUVAN = ["өртээл", "чылдың", "хүннер", "өгбелер", "аалчылар", "чугаа"]


def sentences(words: list[str], number: int, seed: int = 0) -> list[str]:
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(words, k=5)) for _ in range(number)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text of two new languages, and of two that the model has."""
    folder = tmp_path_factory.mktemp("text")
    own = {
        "qad_Cyrl": sentences(TUVAN, 60),
        "qae_Latn": sentences(["zuqqe", "wyxxi"], 40),
        "qaa_Latn": sentences(WORDS, 40),
        "qab_Latn": sentences(WORDS, 40, seed=1),
    }
    for language, lines in own.items():
        (folder / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_new_language_gets_pieces_and_old_tokens_stay(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    added = [NewLanguage("qad_Cyrl", "qab_Latn"), NewLanguage("qae_Latn", None)]
    extend_model(trained_model, added, text, tmp_path / "model", CONFIG)
    before, after = load_model(trained_model), load_model(tmp_path / "model")
    old, new = before.vocabulary, after.vocabulary
    assert new.languages == (*old.languages, "qad_Cyrl", "qae_Latn")
    assert old.symbols.items() <= new.symbols.items()
    assert before.directions == after.directions
    lines = (text / "qaa_Latn.txt").read_text(encoding="utf-8").splitlines()
    assert new.encode(lines) == old.encode(lines)
    weights = [load_file(path / WEIGHTS_FILE) for path in (trained_model, tmp_path / "model")]
    for name, tensor in weights[0].items():
        assert torch.equal(weights[1][name][: len(tensor)], tensor)
    measures = json.loads((tmp_path / "model" / MEASURES_FILE).read_text(encoding="utf-8"))
    tuvan = measures["languages"]["qad_Cyrl"]
    assert tuvan["before"]["unknown_characters"] > 100
    assert tuvan["after"]["unknown_characters"] == 0
    assert tuvan["after"]["tokens_per_character"] < 0.5 * tuvan["before"]["tokens_per_character"]
    assert tuvan["old_sentences_changed"] == 0
    assert measures["old_sentences"] == 80
    assert set(measures["languages"]["qae_Latn"]["token_like"]) <= set(new.languages)
    assert new.decode(new.encode(["өртээл чугаа"])[0]) == "өртээл чугаа"
    # The model translates as before, and into the new language, untrained, without an error.
    translators = [
        TextTranslator(m, TranslateConfig(beam_size=2, threads=1)) for m in (before, after)
    ]
    outputs = [t.translate(["bara kili"], "qaa_Latn", "qab_Latn") for t in translators]
    assert outputs[0] == outputs[1]
    assert len(translators[1].translate(["bara kili"], "qaa_Latn", "qad_Cyrl")) == 1


def test_new_rows_are_means_of_what_they_replace(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, tokens_per_character=0.01)
    added = [NewLanguage("qae_Latn", "qab_Latn")]
    extend_model(trained_model, added, text, tmp_path / "model", config)
    old, loaded = load_model(trained_model), load_model(tmp_path / "model")
    rows = loaded.translator.output_weight.detach()
    vocabulary = loaded.vocabulary
    like, new = (vocabulary.language_index(name) for name in ("qab_Latn", "qae_Latn"))
    assert torch.equal(rows[like], rows[new])
    (word,) = vocabulary.encode(["zuqqe"])
    assert word[0] >= old.vocabulary.size
    pieces = old.vocabulary.pieces
    cut = [c for piece in pieces.encode("zuqqe", out_type=str) for c in piece]
    parts = [int(old.vocabulary.piece_indices[pieces.piece_to_id(c)]) for c in cut]
    assert old.vocabulary.unknown_index in parts
    assert len(word) == 1
    assert torch.allclose(rows[word[0]], rows[parts].mean(0), atol=1e-6)


def test_model_extended_twice_is_one_extended_by_two(
    trained_model: Path, text: Path, tmp_path: Path
) -> None:
    both = [NewLanguage("qad_Cyrl", "qab_Latn"), NewLanguage("qae_Latn", "qab_Latn")]
    extend_model(trained_model, both, text, tmp_path / "both", CONFIG)
    extend_model(trained_model, both[:1], text, tmp_path / "one", CONFIG)
    extend_model(tmp_path / "one", both[1:], text, tmp_path / "two", CONFIG)
    one, two = (Vocabulary.load(tmp_path / name / "vocabulary") for name in ("both", "two"))
    assert one.layout() == two.layout()
    assert one.encode(TUVAN + WORDS) == two.encode(TUVAN + WORDS)
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("both", "two")]
    assert weights[0] == weights[1]


def test_pieces_that_old_text_has_are_not_taken(
    vocabulary_directory: Path,
) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    model = (vocabulary_directory / MODEL_FILE).read_bytes()
    lines = sentences(["baraguba", "kilitumo"], 60)  # joined words: old pieces side by side
    old = {"qaa_Latn": sentences(["baraguba", *WORDS], 30, seed=3)}
    for share, limit in ((1.0, 30), (0.0, 0)):
        config = dataclasses.replace(CONFIG, max_changed_share=share, tokens_per_character=0.2)
        extension = add_language(vocabulary, model, "qad_Latn", lines, old, config)
        assert extension.changed <= limit
        changed = [
            line
            for line in old["qaa_Latn"]
            if vocabulary.encode([line]) != extension.vocabulary.encode([line])
        ]
        assert len(changed) == extension.changed
        assert (extension.changed > 0) == (share == 1)
        assert extension.after.tokens_per_character < extension.before.tokens_per_character


def test_characters_that_were_unknown_are_no_change(vocabulary_directory: Path) -> None:
    """A text that held `<unk>` reads a token in its place whose row begins as that of `<unk>`."""
    vocabulary = Vocabulary.load(vocabulary_directory)
    model = (vocabulary_directory / MODEL_FILE).read_bytes()
    # Every sentence of the old language holds characters that the new one needs.
    lines = sentences(["ab" + chr(0x3041 + i) for i in range(8)], 40)
    old = {"qaa_Latn": [f"{chr(0x3041 + i)} {chr(0x3049 + i)}" for i in range(8)] * 2}
    with pytest.raises(UserError, match="no text to check"):
        add_language(vocabulary, model, "qad_Latn", lines, {}, CONFIG)
    config = dataclasses.replace(CONFIG, max_changed_share=0.0)
    extension = add_language(vocabulary, model, "qad_Latn", lines, old, config)
    assert extension.before.unknown_characters > 0
    assert extension.changed == extension.after.unknown_characters == 0


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_text_is_cut_by_new_pieces_as_they_were_learned(tmp_path: Path, kind: str) -> None:
    write_bitext(tmp_path / "bitext" / "qaa_Latn-qab_Latn.tsv", 300)
    config = VocabularyConfig(size=80, kind=kind)  # type: ignore[arg-type]
    train_vocabulary([tmp_path / "bitext"], tmp_path / "v", config)
    vocabulary = Vocabulary.load(tmp_path / "v")
    model = (tmp_path / "v" / MODEL_FILE).read_bytes()
    lines = sentences(["barakilu", "tugumora", "өртэл", "баркы"], 80)
    cut = cut_words(vocabulary.pieces, lines)
    assert cut.unknown
    pieces = learn_pieces(
        vocabulary.pieces, cut, max_pieces=100, min_count=3, tokens_per_character=0.0
    )
    extended = vocabulary.extended(append_pieces(model, pieces), ["__qac_Latn__"])
    assert extended.size == vocabulary.size + len(pieces) + 1
    # Every word is frequent, so each becomes one piece.
    assert measure(extended, lines).tokens_per_character == pytest.approx(
        5 * len(lines) / sum(map(len, lines))
    )
    old = sentences(WORDS, 50)
    assert extended.encode(old) == vocabulary.encode(old)
    assert [extended.decode(row) for row in extended.encode(lines)] == lines


def test_pieces_are_the_most_frequent_pairs_first() -> None:
    class Model:
        def piece_to_id(self, piece: str) -> int:
            return 0 if len(piece) > 1 else 1

        def unk_id(self) -> int:
            return 0

        def id_to_piece(self, number: int) -> str:
            return "<unk>"

    from nmt.vocabulary.new_pieces import Cut

    # By hand: "low" 5 times and "lot" 3 times: lo 8, then low 5, then lot 3.
    cut = Cut(Counter({("l", "o", "w"): 5, ("l", "o", "t"): 3}), Counter(), 24)
    model = Model()
    pieces = learn_pieces(
        model,
        cut,
        max_pieces=9,
        min_count=3,
        tokens_per_character=0.0,  # type: ignore[arg-type]
    )
    assert [piece.text for piece in pieces] == ["lo", "low", "lot"]
    assert pieces[1] == NewPiece("low", ("lo", "w"), ("l", "o", "w"))
    fewer = learn_pieces(
        model, cut, max_pieces=9, min_count=4, tokens_per_character=0.7,  # type: ignore[arg-type]
    )  # fmt: skip
    assert [piece.text for piece in fewer] == ["lo"]  # 16 tokens of 24 characters are few enough


def test_mask_and_tags_are_added_where_they_lack(vocabulary_directory: Path) -> None:
    vocabulary = Vocabulary.load(vocabulary_directory)
    model = (vocabulary_directory / MODEL_FILE).read_bytes()
    layout = vocabulary.layout()
    kept = {
        s: i for s, i in layout["symbols"].items() if s not in (*TAG_SYMBOLS.values(), MASK_SYMBOL)
    }
    bare = Vocabulary(model, vocabulary.languages, symbols=kept)
    with pytest.raises(UserError, match="no token <mask>"):
        _ = bare.mask_index
    whole = bare.extended(model, [*TAG_SYMBOLS.values(), MASK_SYMBOL])
    assert whole.mask_index == bare.size + 3
    assert whole.size == bare.size + 4
    with pytest.raises(ValueError, match="already"):
        whole.extended(model, [MASK_SYMBOL])


@pytest.mark.parametrize(
    ("language", "like", "message"),
    [
        ("qaa_Latn", None, "has `qaa_Latn` already"),
        ("qaf_Latn", None, "has no text of `qaf_Latn`"),
        ("qad_Cyrl", "qaf_Latn", "no language `qaf_Latn`"),
    ],
)
def test_languages_that_cannot_be_added_are_refused(
    trained_model: Path, text: Path, tmp_path: Path, language: str, like: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        extend_model(trained_model, [NewLanguage(language, like)], text, tmp_path / "m", CONFIG)


def test_added_pieces_are_read_by_sentencepiece(vocabulary_directory: Path) -> None:
    model = (vocabulary_directory / MODEL_FILE).read_bytes()
    longer = append_pieces(model, [NewPiece("ы", (), ("<unk>",))])
    processor = sentencepiece.SentencePieceProcessor(model_proto=longer)
    assert processor.id_to_piece(processor.get_piece_size() - 1) == "ы"
