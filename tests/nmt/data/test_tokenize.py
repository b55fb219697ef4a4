import itertools
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from corpus.errors import DataError, JobError, UserError
from corpus.jobs import pricing, task_counts
from corpus.languages import Direction
from corpus.records import SENTENCES_SCHEMA, write_table
from nmt.cli import group
from nmt.data import price
from nmt.data import tokenize as bitext_module
from nmt.data.config import DataConfig, MonolingualConfig
from nmt.data.token_files import token_paths
from nmt.data.tokenize import TokenizedBitext, direction_pairs, language_text, tokenize
from nmt.training.config import TrainConfig
from nmt.vocabulary.vocabulary import Vocabulary
from tests.nmt.conftest import write_flores
from tests.receipts import read_receipt

A, B = Direction("qaa_Latn", "qab_Latn"), Direction("qaa_Latn", "qac_Cyrl")
LONG = "bara kili mono tugu šegu bali kira moli turano šeli bagu"


def write_pairs(path: Path, *pairs: tuple[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    return path.parent


ROOT = Path(__file__).parents[3]


def run(tmp_path: Path, vocabulary: Path, **settings: object) -> TokenizedBitext:
    config = TrainConfig(vocabulary=vocabulary, **settings)  # type: ignore[arg-type]
    return tokenize(config.training_data, Vocabulary.load(vocabulary), tmp_path / "tokens")


def texts(bitext: TokenizedBitext, vocabulary: Path, block: int) -> list[str]:
    """Return the sentences of a block of pairs, source and target in turns."""
    offsets, tokens = bitext.shards.offsets(block), bitext.shards.tokens(block)
    decode = Vocabulary.load(vocabulary).decode
    return [decode(tokens[a:b].tolist()) for a, b in itertools.pairwise(offsets)]


def test_pairs_of_all_sources_are_kept_in_order_with_their_tags(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    primary = write_pairs(tmp_path / "p" / f"{A}.tsv", ("bara", "kili"), ("mono", "tugu"))
    mined = write_pairs(tmp_path / "m" / f"{A}.tsv", ("bali", "kira"))
    bitext = run(tmp_path, vocabulary_directory, bitext={"primary": (primary,), "mined": (mined,)})
    assert texts(bitext, vocabulary_directory, 0) == ["bara", "kili", "mono", "tugu"]
    assert texts(bitext, vocabulary_directory, 1) == ["bali", "kira"]
    vocabulary = Vocabulary.load(vocabulary_directory)
    pairs = direction_pairs(bitext, vocabulary, ())
    assert {str(d): len(own) for d, own in pairs.items()} == {str(A): 3, str(A.reverse): 3}
    parts = pairs[A.reverse].parts
    assert [part.source_side for part in parts] == [1, 1]
    assert [part.tag_index for part in parts] == [-1, vocabulary.tag_index("mined")]


def test_language_that_the_vocabulary_lacks_is_said_before_anything_is_tokenized(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    folder = write_pairs(tmp_path / "bitext" / "qaa_Latn-zul_Latn.tsv", ("bara", "kili"))
    with pytest.raises(UserError, match="the vocabulary has no language `zul_Latn`"):
        run(tmp_path, vocabulary_directory, bitext={"primary": (folder,)})
    assert not (tmp_path / "tokens").exists()


def test_empty_and_overlong_pairs_are_left_out_and_counted(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    directory = write_pairs(
        tmp_path / "p" / f"{A}.tsv",
        ("bara", "kili"),
        ("", "kili"),
        ("bara", " \u200b "),
        ("", "ba " * 300),
        ("bara", "ba " * 300),
    )
    bitext = run(tmp_path, vocabulary_directory, bitext={"primary": (directory,)})
    assert bitext.counts == {
        "pairs": 5,
        "pairs.kept": 1,
        "pairs.rejected.empty": 3,
        "pairs.rejected.too_long": 1,
    }
    assert texts(bitext, vocabulary_directory, 0) == ["bara", "kili"]


def test_lines_that_are_not_utf_8_are_left_out_and_counted(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    directory = write_pairs(tmp_path / "p" / f"{A}.tsv", ("bara", "kili"))
    path = directory / f"{A}.tsv"
    path.write_bytes(path.read_bytes() + "šegu\tbali\n".encode("iso8859_2"))
    bitext = run(tmp_path, vocabulary_directory, bitext={"primary": (directory,)})
    assert bitext.counts == {"pairs": 2, "pairs.kept": 1, "pairs.rejected.damaged_characters": 1}


def test_sentences_of_evaluation_sets_are_removed_on_both_sides_and_counted(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    flores = write_flores(tmp_path / "flores", [LONG])
    other = tmp_path / "other.txt"
    other.write_text("mono mono tugu\n")
    directory = write_pairs(
        tmp_path / "p" / f"{A}.tsv",
        ("bara", "kili"),
        ("bara", LONG.upper().replace(" ", ", ")),  # the same but for case and punctuation
        (f"{LONG} bara", "kili"),  # contains one
        (LONG[:40], "kili"),  # is a large part of one
        ("kili", "Mono mono: tugu!"),
        (LONG[:15], "kili"),  # a phrase is not a sentence
    )
    settings = {"bitext": {"primary": (directory,)}, "flores": flores, "evaluation_sets": (other,)}
    bitext = run(tmp_path, vocabulary_directory, **settings)
    assert bitext.counts == {
        "pairs": 6,
        "pairs.kept": 2,
        "pairs.rejected.evaluation_overlap": 2,
        "pairs.rejected.evaluation_containment": 2,
    }
    kept = run(
        tmp_path / "all",
        vocabulary_directory,
        **settings,
        data=DataConfig(keep_evaluation_sentences=True),
    )
    assert kept.counts["pairs.kept"] == 6


def test_other_evaluation_sets_do_not_pass_for_those_the_tokens_were_made_with(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    settings = {"bitext": {"primary": (bitext,)}}
    run(tmp_path, vocabulary_directory, **settings)
    flores = write_flores(tmp_path / "flores", [LONG])
    with pytest.raises(UserError, match=r"another argument: `evaluation_sets`"):
        run(tmp_path, vocabulary_directory, **settings, flores=flores)


def test_evaluation_set_that_holds_nothing_is_refused(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="holds no evaluation set"):
        run(
            tmp_path,
            vocabulary_directory,
            bitext={"primary": (bitext,)},
            evaluation_sets=(tmp_path / "nothing",),
        )


def test_tokenizing_goes_on_where_it_stopped_to_the_same_bytes(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    settings = {"bitext": {"primary": (bitext,)}}
    run(tmp_path, vocabulary_directory, **settings)
    shards = [tmp_path / "tokens" / "primary" / "0" / str(direction) for direction in (A, B)]
    before = {path: path.read_bytes() for shard in shards for path in token_paths(shard)}
    changed = {path: path.stat().st_mtime_ns for path in before}
    for path in token_paths(shards[1]):
        path.unlink()
    run(tmp_path, vocabulary_directory, **settings)
    assert {path: path.read_bytes() for path in before} == before
    for path in token_paths(shards[0]):
        assert path.stat().st_mtime_ns == changed[path]
    receipt = read_receipt(tmp_path / "tokens", "tokenize", f"primary/0/{A}")
    assert receipt["counts"] == {"pairs": 300, "pairs.kept": 300}


@pytest.mark.parametrize(
    "content", [b"only one column\n", b"\x1f\x8bnot really gzip", b"source\ttarget\nno target\n"]
)
def test_damaged_bitext_is_named_and_the_rest_is_done(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path, content: bytes
) -> None:
    suffix = ".tsv.gz" if content.startswith(b"\x1f") else ".tsv"
    (bitext / f"qab_Latn-qac_Cyrl{suffix}").write_bytes(content)
    with pytest.raises(JobError, match=f"qab_Latn-qac_Cyrl{suffix}"):
        run(tmp_path, vocabulary_directory, bitext={"primary": (bitext,)})
    assert all(path.exists() for path in token_paths(tmp_path / f"tokens/primary/0/{A}"))


def test_damaged_tokens_are_named(tmp_path: Path, vocabulary_directory: Path, bitext: Path) -> None:
    run(tmp_path, vocabulary_directory, bitext={"primary": (bitext,)})
    path = token_paths(tmp_path / f"tokens/primary/0/{A}")[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=path.name):
        run(tmp_path, vocabulary_directory, bitext={"primary": (bitext,)})


def test_text_of_one_language_comes_from_files_and_from_sentences(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    plain, shards = tmp_path / "plain", tmp_path / "sentences"
    plain.mkdir()
    (plain / "qaa_Latn.txt").write_text(f"bara kili\n\n{LONG}\nmono\n")
    for name, lines in (("0000", ["tugu"]), ("0001", ["bali", "kira"])):
        columns = [
            lines,
            [0.9] * len(lines),
            ["d"] * len(lines),
            range(len(lines)),
            range(len(lines)),
        ]
        (shards / "qab_Latn").mkdir(parents=True, exist_ok=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SENTENCES_SCHEMA, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=SENTENCES_SCHEMA)
        write_table(shards / "qab_Latn" / f"{name}.parquet", table)
    found = run(
        tmp_path,
        vocabulary_directory,
        bitext={"primary": (bitext,)},
        flores=write_flores(tmp_path / "flores", [LONG]),
        monolingual=MonolingualConfig(text=(plain, shards), denoising_weight=1.0),
    )
    sizes = {language: len(own) for language, own in language_text(found).items()}
    assert sizes == {"qaa_Latn": 2, "qab_Latn": 3}
    assert [texts(found, vocabulary_directory, block.shard) for block in found.text_blocks] == [
        ["bara kili", "mono"],
        ["tugu"],
        ["bali", "kira"],
    ]
    counts = {key: n for key, n in found.counts.items() if key.startswith("sentences")}
    assert counts == {
        "sentences": 7,
        "sentences.kept": 5,
        "sentences.rejected.empty": 1,
        "sentences.rejected.evaluation_overlap": 1,
    }


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"text": (Path("t"),)}, "needs both `text` and"),
        ({"causal_weight": 1.0}, "needs both `text` and"),
        (
            {"text": (Path("t"),), "denoising_weight": -1.0},
            "`denoising_weight` is -1.0; it must be at least 0",
        ),
        ({"min_masked": 0.6}, "`min_masked` is 0.6, more than `max_masked`, 0.5"),
    ],
)
def test_settings_of_text_that_cannot_be_are_refused(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        MonolingualConfig(**settings)  # type: ignore[arg-type]


def test_tokens_of_other_settings_are_refused_before_anything_heavy_is_loaded(
    tmp_path: Path, vocabulary_directory: Path
) -> None:
    pairs = write_pairs(tmp_path / "p" / f"{A}.tsv", ("bara", "kili"))
    run(tmp_path, vocabulary_directory, bitext={"primary": (pairs,)})
    settings = [
        f"vocabulary={vocabulary_directory}", f"bitext.primary={pairs}", "batches.max_length=99",
        "data.evaluation_containment=0.7",
    ]  # fmt: skip
    overrides = [word for setting in settings for word in ("--config", setting)]
    tokens = str(tmp_path / "tokens")
    for words in (
        ["nmt", "tokenize", "--output", tokens],
        ["nmt", "train", "--output", str(tmp_path / "m"), "--config", f"data.directory={tokens}"],
    ):
        code = (
            "import sys, tongues\n"
            f"code = tongues.main({[*words, *overrides]!r})\n"
            "heavy = {'torch', 'sentencepiece', 'pyarrow'} & set(sys.modules)\n"
            "sys.exit(100 if heavy else code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 2, done.stderr
        assert "`max_length` is 256 there and 99 now" in done.stderr
        assert "`evaluation_containment` is 0.5 there and 0.7 now" in done.stderr


@pytest.mark.slow
def test_two_processes_write_what_one_does(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"bitext": {"primary": (bitext,)}}
    run(tmp_path / "one", vocabulary_directory, **settings)
    monkeypatch.setattr(bitext_module, "_LITTLE", 0)
    run(tmp_path / "two", vocabulary_directory, **settings, data=DataConfig(workers=2))
    for direction in (A, B):
        for path in token_paths(Path("tokens/primary/0") / str(direction)):
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


@pytest.mark.parametrize("tag", ["back_translated", "smt_back_translated", "distilled"])
def test_pairs_with_a_side_that_a_model_wrote_are_trained_one_way(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path, tag: str
) -> None:
    found = run(tmp_path, vocabulary_directory, bitext={tag: (bitext,)})
    pairs = direction_pairs(found, Vocabulary.load(vocabulary_directory), ())
    assert list(pairs) == [A, B]


def test_command_tokenizes_beforehand_what_a_training_would(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path
) -> None:
    recipe = tmp_path / "train.yaml"
    recipe.write_text(f"vocabulary: {vocabulary_directory}\nbitext: {{mined: {bitext}}}\n")
    arguments = ["tokenize", "--config-file", str(recipe), "--output", str(tmp_path / "tokens")]
    result = CliRunner().invoke(group, [*arguments, "--json"])
    assert json.loads(result.stdout) == {"pairs": 340, "pairs.kept": 340}
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "tokens").rglob("*.npy")}
    run(tmp_path, vocabulary_directory, bitext={"mined": (bitext,)})
    assert {path: path.stat().st_mtime_ns for path in changed} == changed


def test_dry_run_tokenizes_parts_of_bitext_and_text_alike(
    tmp_path: Path, vocabulary_directory: Path, bitext: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "qaa_Latn.txt").write_text("bara kili\n" * 340)
    rows = {
        "text": ["mono tugu"] * 170,
        "lid_score": [1.0] * 170,
        "document": ["d"] * 170,
        "position": [0] * 170,
        "hash": [0] * 170,
    }
    shard = tmp_path / "sentences" / "qac_Cyrl" / "a.parquet"
    write_table(shard, pa.table(rows, schema=SENTENCES_SCHEMA))
    config = TrainConfig(
        vocabulary=vocabulary_directory,
        bitext={"primary": (bitext,)},
        directions=(str(A), str(B)),
        monolingual=MonolingualConfig(
            text=(tmp_path / "text", tmp_path / "sentences"), causal_weight=1
        ),
    )
    trials: list[pricing.Trial] = []
    monkeypatch.setattr(price, "price_job", trials.append)
    price.price_tokenize(config.training_data, tmp_path / "tokens")
    trial = trials[0]
    pairs = {name: size for name, size in trial.shards.items() if name.startswith("primary")}
    assert sum(pairs.values()) == 340
    assert trial.shards["text/0/qaa_Latn"] == 340
    assert trial.shards["text/1/qac_Cyrl/a"] == 170
    cut = trial.cut(100, tmp_path / "part")
    trial.run(tmp_path / "part", tmp_path / "tried")
    counts = task_counts(tmp_path / "tried", "tokenize").values()
    assert sum(count.get("pairs", 0) for count in counts) == 40
    assert sum(count.get("sentences", 0) for count in counts) == 60
    assert cut.units == 100
    assert not (tmp_path / "tokens").exists()
