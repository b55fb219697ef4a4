import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")

from corpus.errors import DataError, UserError  # noqa: E402
from mining.encoders import encoder_files, encoder_space, load_encoder  # noqa: E402
from mining.encoders.config import DistillConfig  # noqa: E402
from mining.encoders.distill import run_distill  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "old", "house", "river", "by", "cat"]
LANGUAGES = ("eng_Latn", "fra_Latn")
TEXTS = ["the old house", "", "cat by the river", "lone \ud800 surrogate", "the " * 3000, "\x00"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers, saved as transformers saves it."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_transformers_model_is_an_encoder_as_it_is(bert: Path) -> None:
    loaded = load_encoder(bert, batch_tokens=20)
    vectors = loaded.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([loaded.encode([text]) for text in TEXTS])
    assert vectors == pytest.approx(alone, abs=1e-5)
    assert loaded.encode([]).shape == (0, 16)


def test_mean_is_that_of_the_last_states(bert: Path) -> None:
    model = transformers.BertModel.from_pretrained(bert).eval()
    # By hand: [CLS] the old house [SEP]
    with torch.no_grad():
        states = model(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state[0]
    mean = states.mean(dim=0)
    found = load_encoder(bert).encode(["the old house"])[0]
    assert found == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


def test_files_and_space_of_a_saved_model_are_known(bert: Path) -> None:
    assert bert / "model.safetensors" in encoder_files(bert)
    assert encoder_space(bert) == encoder_space(bert)


def test_pickled_weights_are_refused(bert: Path, tmp_path: Path) -> None:
    for path in bert.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="other weight files are pickles"):
        load_encoder(tmp_path)


def test_saved_model_teaches_but_is_not_copied(bert: Path, tmp_path: Path) -> None:
    lines = [f"the {a} by the {b}" for a in WORDS[5:] for b in WORDS[5:]]
    text = "".join(f"{line[::-1]}\t{line}\n" for line in lines)
    (tmp_path / "qaa_Latn-eng_Latn.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be copied and trained on"):
        run_distill(bert, [tmp_path], tmp_path / "student", DistillConfig())


def test_sentence_transformers_model_is_an_encoder_as_it_is(bert: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers", reason="extra `hub` is not installed")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    parts = [modules.Transformer(str(bert), max_seq_length=32), modules.Pooling(16, "cls")]
    package.SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "model"))
    loaded = load_encoder(tmp_path / "model", batch_tokens=20)
    vectors = loaded.encode(TEXTS)
    assert loaded.dimension == 16
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([loaded.encode([text]) for text in TEXTS])
    assert vectors == pytest.approx(alone, abs=1e-5)
    mean = load_encoder(bert).encode(TEXTS[:1])
    assert vectors[:1] != pytest.approx(mean, abs=1e-3)


def saved(folder: Path, model: object) -> Path:
    """Save a model of any type beside a word-level tokenizer."""
    model.save_pretrained(folder)  # type: ignore[attr-defined]
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_weights_that_are_missing_are_refused_by_name(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: one for name, one in weights.items() if "layer.1.output.dense" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = r"lacks 2 weights of BertModel, encoder\.layer\.1\.output\.dense\.bias"
    with pytest.raises(DataError, match=message):
        load_encoder(tmp_path)
    # Keys of another model: none fits, and all would be random.
    renamed = {f"other.{name}": one for name, one in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"its files have \d+ others: other\."):
        load_encoder(tmp_path)


def test_weights_of_another_size_are_refused(bert: Path, tmp_path: Path) -> None:
    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["intermediate_size"] = 48
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=f"^{tmp_path} "):
        load_encoder(tmp_path)


def test_a_pooler_is_not_needed_and_a_language_model_lends_its_body(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config).eval()
    found = load_encoder(saved(tmp_path, model)).encode(["the old house"])[0]
    with torch.no_grad():
        states = model.bert(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state[0]
    mean = states.mean(dim=0)
    assert found == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["Roberta", "XLMRoberta", "Camembert", "MPNet"])
def test_long_sentences_fit_models_that_count_positions_behind_padding(
    tmp_path: Path, name: str
) -> None:
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    loaded = load_encoder(saved(tmp_path, getattr(transformers, f"{name}Model")(config)))
    # 32 tokens are read, [CLS] and [SEP] among them: 30 words.
    vectors = loaded.encode(["the old house " * 40, "the old house " * 10])
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    assert np.abs(loaded.encode(["the old house " * 9])[0] - vectors[0]).max() > 1e-4


_WORDS = ("▁the", "▁old", "▁house")


@pytest.fixture(scope="module")
def sonar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random text encoder in SONAR's layout: `M2M100Encoder` and NLLB's tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

    folder = tmp_path_factory.mktemp("sonar")
    # Byte-pair encoding, the only kind that this tokenizer has in transformers 5.
    merges = [(word[:place], word[place]) for word in _WORDS for place in range(1, len(word))]
    letters = sorted(set("".join(_WORDS)))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *letters, *map("".join, merges)]
    vocabulary = {piece: row for row, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(folder / "words.json"))
    fast = transformers.NllbTokenizerFast(
        tokenizer_file=str(folder / "words.json"),
        additional_special_tokens=["eng_Latn", "fra_Latn"],
    )
    fast.save_pretrained(folder)
    (folder / "words.json").unlink()
    torch.manual_seed(1)
    config = transformers.M2M100Config(
        vocab_size=len(fast), d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=64,
    )  # fmt: skip
    M2M100Encoder(config).save_pretrained(folder)
    return folder


def test_sonars_encoder_is_loaded_and_told_the_language(sonar: Path) -> None:
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100Encoder

    loaded = load_encoder(sonar)
    english, french = (loaded.encode(["the old house"], code)[0] for code in LANGUAGES)
    assert np.abs(english - french).max() > 1e-3
    tokenizer = transformers.AutoTokenizer.from_pretrained(sonar)
    ids = [tokenizer.convert_tokens_to_ids(one) for one in ("eng_Latn", *_WORDS)]
    model = M2M100Encoder.from_pretrained(sonar).eval()
    with torch.no_grad():
        states = model(torch.tensor([[*ids, 2]])).last_hidden_state[0]
    mean = states.mean(dim=0)
    assert english == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


def test_a_language_that_an_encoder_has_no_token_for_is_refused(sonar: Path) -> None:
    loaded = load_encoder(sonar)
    with pytest.raises(UserError, match="does not know the language `dik_Latn`"):
        loaded.encode(["the old house"], "dik_Latn")
    with pytest.raises(UserError, match="does not know which language the text is in"):
        loaded.encode(["the old house"])


def test_a_translation_models_encoder_is_taken_without_its_decoder(
    sonar: Path, tmp_path: Path
) -> None:
    transformers.AutoTokenizer.from_pretrained(sonar).save_pretrained(tmp_path)
    config = transformers.M2M100Config.from_pretrained(sonar)
    transformers.M2M100ForConditionalGeneration(config).save_pretrained(tmp_path)
    assert load_encoder(tmp_path).encode(["the old house"], "eng_Latn").shape == (1, 16)


def test_an_encoder_of_t5_is_loaded(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    folder = saved(tmp_path, transformers.T5EncoderModel(config))
    assert load_encoder(folder).encode(TEXTS).shape == (len(TEXTS), 16)


def tiny(name: str, **more: int) -> "transformers.PreTrainedModel":
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=34, **more,
    )  # fmt: skip
    return getattr(transformers, f"{name}Model")(config).eval()


@pytest.mark.parametrize(
    ("folder", "layout", "pooling", "prefix"),
    [
        ("MEXMA", "XLMRoberta", "cls", ""),
        ("LaBSE", "Bert", "pooler", ""),
        ("models--BAAI--bge-m3/snapshots/1a2b", "XLMRoberta", "cls", ""),
        ("multilingual-e5-small", "Bert", "mean", "query: "),
        ("multilingual-e5-large", "XLMRoberta", "mean", "query: "),
        ("another", "XLMRoberta", "mean", ""),
    ],
)
def test_known_models_are_pooled_and_prompted_as_their_cards_say(
    tmp_path: Path, folder: str, layout: str, pooling: str, prefix: str
) -> None:
    more = {"pad_token_id": 1} if layout == "XLMRoberta" else {}
    model = tiny(layout, **more)
    path = tmp_path / folder
    path.mkdir(parents=True)
    found = load_encoder(saved(path, model)).encode(["old cat", "the old house by the river"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    for vector, text in zip(found, ("old cat", "the old house by the river"), strict=True):
        ids = tokenizer(prefix + text, return_tensors="pt")["input_ids"]
        assert ids.shape[1] == 2 + len(text.split()) + (2 if prefix else 0)  # query and :
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        expected = {
            "mean": output.last_hidden_state[0].mean(dim=0),
            "cls": output.last_hidden_state[0, 0],
            "pooler": output.pooler_output[0],
        }[pooling]
        assert vector == pytest.approx((expected / expected.norm()).numpy(), abs=1e-5)


def test_a_pooler_that_is_used_must_be_there(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = saved(tmp_path / "LaBSE", tiny("Bert")) / "model.safetensors"
    weights = {name: one for name, one in load_file(path).items() if "pooler" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lacks 2 weights of BertModel, pooler\.dense\.bias"):
        load_encoder(tmp_path / "LaBSE")
