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
