import math
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import DataError, UserError
from corpus.records import SENTENCES_SCHEMA, write_table
from mining.encoders import load_encoder
from mining.encoders.bitext import read_training_pairs, sampling_plan
from mining.encoders.config import BagConfig, TrainEncoderConfig
from mining.encoders.embed import run_embed
from mining.encoders.embed_config import EmbedConfig, XsimConfig
from mining.encoders.features import FeatureExtractor, TokenRows
from mining.encoders.losses import contrastive_loss
from mining.encoders.train import run_train_encoder
from mining.encoders.xsim import measure_xsim, xsim_error

TINY = TrainEncoderConfig(
    bag=BagConfig(dimension=32, hidden=32, buckets=1 << 12, vocabulary_size=200),
    epochs=10,
    batch_size=32,
    hard_negatives=16,
)
WORDS = ["dog", "cat", "house", "tree", "river", "stone", "bread", "milk"]
WORDS += ["sings", "walks", "sees", "buys", "old", "new", "red", "small"]


def cipher(word: str) -> str:
    """Spell a word in Cyrillic: a language that no letter gives away."""
    return "".join(chr(ord("а") + (ord(letter) - ord("a")) * 7 % 26) for letter in word)


def write_seed(folder: Path, count: int = 400) -> Path:
    rng = random.Random(1)
    lines = []
    for _ in range(count):
        words = rng.sample(WORDS, 5)
        lines.append(" ".join(words) + "\t" + " ".join(map(cipher, reversed(words))))
    folder.mkdir(parents=True)
    (folder / "qaa_Latn-qac_Cyrl.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    run_train_encoder([write_seed(folder / "seed")], folder / "encoder", TINY)
    return folder / "encoder"


def write_test_set(folder: Path) -> Path:
    rng = random.Random(2)
    sources = [" ".join(rng.sample(WORDS, 5)) for _ in range(100)]
    texts = {
        "qaa_Latn": sources,
        "qac_Cyrl": [" ".join(map(cipher, reversed(line.split()))) for line in sources],
    }
    (folder / "devtest").mkdir(parents=True)
    for language, lines in texts.items():
        path = folder / "devtest" / f"{language}.devtest"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_trained_encoder_finds_translations_it_has_not_seen(encoder: Path, tmp_path: Path) -> None:
    result = measure_xsim(encoder, write_test_set(tmp_path), "devtest", XsimConfig())
    assert list(result.pairs) == ["qac_Cyrl-qaa_Latn"]
    assert result.mean_error <= 0.1


def test_same_seed_trains_the_same_bytes(encoder: Path, tmp_path: Path) -> None:
    run_train_encoder([write_seed(tmp_path / "seed")], tmp_path / "again", TINY)
    for name in ("weights.safetensors", "subwords.model", "encoder.json"):
        assert (tmp_path / "again" / name).read_bytes() == (encoder / name).read_bytes()


def test_embedding_is_of_unit_length_and_does_not_depend_on_the_batch(encoder: Path) -> None:
    loaded = load_encoder(encoder)
    together = loaded.encode(["dog sees cat", "", "old house"])
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert loaded.encode(["old house"])[0] == pytest.approx(together[2], abs=1e-5)


def test_damaged_weights_are_refused(encoder: Path, tmp_path: Path) -> None:
    for path in encoder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match="is not the file that"):
        load_encoder(tmp_path)


def test_a_changed_setting_is_refused(encoder: Path, tmp_path: Path) -> None:
    for path in encoder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    described = (tmp_path / "encoder.json").read_text(encoding="utf-8")
    for old, new in (('"max_characters": 400', '"max_characters": 401'), ('"bag"', '"bog"')):
        assert old in described
        (tmp_path / "encoder.json").write_text(described.replace(old, new), encoding="utf-8")
        with pytest.raises(DataError, match=r"encoder\.json"):
            load_encoder(tmp_path)


@pytest.mark.parametrize("content", ["{}", "[]", '{"files": "weights.safetensors"}', "{"])
def test_a_description_that_lists_no_files_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "encoder.json").write_text(content)
    with pytest.raises(DataError, match=r"encoder\.json"):
        load_encoder(tmp_path)


def test_directory_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an encoder directory"):
        load_encoder(tmp_path)


def test_row_of_an_embedding_file_is_the_sentence_of_that_row(
    encoder: Path, tmp_path: Path
) -> None:
    texts = ["dog", "old house sees\u2028red stone", "milk " * 50, "", "cat buys bread"]
    table = pa.table(
        {
            "text": texts, "lid_score": [1.0] * 5, "document": ["d"] * 5,
            "position": range(5), "hash": range(5),
        },
        schema=SENTENCES_SCHEMA,
    )  # fmt: skip
    write_table(tmp_path / "sentences" / "qaa_Latn" / "000.parquet", table)
    config = EmbedConfig(block_sentences=2, workers=1)
    run_embed(tmp_path / "sentences", encoder, tmp_path / "embeddings", config)
    matrix = np.load(tmp_path / "embeddings" / "qaa_Latn" / "000.npy")
    assert matrix.dtype == np.float16
    assert matrix == pytest.approx(load_encoder(encoder).encode(texts), abs=2e-3)


def test_identical_embeddings_have_no_xsim_error() -> None:
    vectors = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert xsim_error(vectors, vectors, neighbors=4, margin="ratio") == 0.0


def test_shifted_embeddings_have_nothing_but_xsim_error() -> None:
    vectors = np.eye(20, dtype=np.float32)
    shifted = np.roll(vectors, 1, axis=0)
    assert xsim_error(vectors, shifted, neighbors=4, margin="ratio") == 1.0


class Letters:
    """Every letter a piece."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) - ord("a") for letter in text if letter.isalpha()] for text in texts]


def test_features_are_pieces_then_ngrams_and_do_not_cross_sentences() -> None:
    extractor = FeatureExtractor(
        Letters(), vocabulary_size=26, buckets=1000, min_n=3, max_n=3, max_characters=100
    )
    tokens = extractor.extract(["ab", "", "cd"])
    # By hand: " ab " has the pieces a and b and the 3-grams " ab" and "ab ".
    assert np.diff(tokens.starts).tolist() == [4, 0, 4]
    assert tokens.ids[:2].tolist() == [0, 1]
    assert (tokens.ids[2:4] >= 26).all()
    alone = extractor.extract(["cd"])
    assert tokens.take(np.array([2])).ids.tolist() == alone.ids.tolist()


def test_batches_of_training_are_of_one_direction_and_favor_small_ones(tmp_path: Path) -> None:
    seed = write_seed(tmp_path / "seed", 400)
    (seed / "qaa_Latn-qad_Arab.tsv").write_text("dog\tكلب\n" * 1 + "cat\tقط\n", encoding="utf-8")
    pairs = read_training_pairs([seed])
    plan = sampling_plan(pairs.pairs, epochs=20, batch_size=16, temperature=5, seed=1)
    for direction, rows in plan:
        assert {tuple(row) for row in rows.tolist()} <= {
            tuple(row) for row in pairs.pairs[direction].tolist()
        }
    small = sum(direction.target == "qad_Arab" for direction, _ in plan)
    # By hand: 2^(1/5) / (2^(1/5) + 400^(1/5)) = .26, against .005 in proportion to size.
    assert 0.15 < small / len(plan) < 0.4


def test_line_aligned_texts_are_paired_with_english(tmp_path: Path) -> None:
    for language, lines in (("eng_Latn", "a\nb\n"), ("deu_Latn", "x\ny\n"), ("fra_Latn", "u\n\n")):
        (tmp_path / f"{language}.txt").write_text(lines, encoding="utf-8")
    pairs = read_training_pairs([tmp_path])
    assert {str(direction): len(rows) for direction, rows in pairs.pairs.items()} == {
        "eng_Latn-deu_Latn": 2,
        "eng_Latn-fra_Latn": 1,
    }


def test_texts_of_different_length_are_refused(tmp_path: Path) -> None:
    (tmp_path / "eng_Latn.txt").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "deu_Latn.txt").write_text("x\n", encoding="utf-8")
    with pytest.raises(DataError, match="deu_Latn has 1 lines and eng_Latn has 2"):
        read_training_pairs([tmp_path])


def test_contrastive_loss_by_hand() -> None:
    # By hand: cosines are the identity, so the forward logits of a row are s(1 - m) and 0, and the
    # backward ones have the negative at cosine 1 with the first target: s(1 - m), 0 and s.
    torch = pytest.importorskip("torch")
    vectors = torch.eye(2)
    rows = torch.tensor([[0, 1], [2, 3]])
    loss = contrastive_loss(
        vectors, vectors, vectors[:1], rows, torch.tensor([9]), margin=0.5, scale=2.0
    )
    forward = math.log(math.exp(1) + 1) - 1
    first = math.log(math.exp(1) + 1 + math.exp(2)) - 1
    second = math.log(math.exp(1) + 2) - 1
    assert float(loss) == pytest.approx(0.5 * (forward + (first + second) / 2), rel=1e-5)


def test_pair_with_the_same_sentence_is_no_negative() -> None:
    torch = pytest.importorskip("torch")
    vectors = torch.eye(2)
    same_source = torch.tensor([[0, 1], [0, 3]])
    loss = contrastive_loss(
        vectors, vectors, vectors[:1], same_source, torch.tensor([0]), margin=0.5, scale=2.0
    )
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


def test_bags_drop_a_share_of_features_and_keep_the_sentences_apart() -> None:
    tokens = TokenRows(np.arange(1000, dtype=np.int32), np.array([0, 400, 400, 1000]))
    dropped = tokens.drop(0.4, np.random.default_rng(1))
    assert 500 < len(dropped.ids) < 700
    assert dropped.starts[0] == 0
    assert dropped.starts[1] == dropped.starts[2] == (dropped.ids < 400).sum()
    assert dropped.starts[3] == len(dropped.ids)
