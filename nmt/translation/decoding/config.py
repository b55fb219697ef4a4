"""Config of translation, with its defaults."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from corpus.bitext_columns import check_columns
from corpus.config import (
    Bounds,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    execution_only,
)
from corpus.errors import UserError

PositiveShare = Annotated[float, Bounds(above=0, at_most=1)]


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """How tokens are drawn where `method` is `sampling`."""

    temperature: PositiveFloat = 1.0
    """Divisor of the logits; below 1 favors likely tokens, above 1 unlikely ones."""

    top_k: NonNegativeInt = 0
    """Number of most likely tokens to draw from at each step; 0 for all (Fan et al. 2018: 10)."""

    top_p: PositiveShare = 1.0
    """Draw from the most likely tokens that together have this probability (Holtzman et al.
    2020)."""

    samples: Annotated[int, Bounds(at_least=2)] = 32
    """Translations that are drawn of each sentence for `mbr`."""

    seed: NonNegativeInt = 1
    """Seed of the draws; what a sentence gets also depends on its position in the input."""


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig(Config):
    """Which experts of a model are loaded."""

    usage: Path | None = None
    """`usage.json` of `tongues nmt experts`, measured on this model; all experts without it."""

    share: PositiveShare = 0.99
    """Share of each language's tokens, by gate weight, that the loaded experts cover, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class TranslateConfig(Config):
    """How a model translates."""

    adapter: Path | None = None
    """`adapter.safetensors` of a training with `lora`, merged into the model that it started
    from."""

    method: Literal["beam", "sampling", "mbr"] = "beam"
    """`beam` searches for the most likely translation; `sampling` draws one, for
    back-translation; `mbr` draws `sampling.samples` and takes the one with the highest mean chrF++
    against all of them (minimum Bayes risk, Eikema and Aziz 2020)."""

    beam_size: PositiveInt = 4
    """Hypotheses that are kept at each step, for `beam` (NLLB-200)."""

    n_best: PositiveInt = 1
    """Translations of each line, for `beam`; at most `beam_size`. Above 1, each is a line of its
    own: number of the input line, rank, score, log-probability and text, tabs between."""

    ensemble: tuple[Path, ...] = ()
    """Directories of models with the same vocabulary, whose probabilities of each next token are
    averaged with the model's."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    max_batch_tokens: PositiveInt = 8192
    """Positions of a batch: sentences · beam size · source tokens of the longest. Memory grows with
    it; a longer sentence is translated in a batch of its own."""

    block_lines: PositiveInt = 4096
    """Lines that are read, sorted by length and translated together; output appears block by block.
    1 translates every line as it arrives."""

    split: Literal["auto", "always", "never"] = "auto"
    """Which lines are split into sentences that are translated one by one and joined. `auto`: those
    of files, standard input and requests, which may be whole paragraphs; a line of a FLORES split,
    of bitext and of text to translate back is a sentence already, and stays whole. `always` splits
    these too. `never`: only lines with more than `max_source_tokens`."""

    max_source_tokens: NonNegativeInt = 0
    """Inputs with more tokens are split in any case; 0 for the model's own limit."""

    max_length_factor: NonNegativeFloat = 1.5
    """A hypothesis has at most factor · source tokens + `max_length_constant` tokens."""

    max_length_constant: PositiveInt = 10
    """Tokens that are added to the limit of a hypothesis, at least 1; see `max_length_factor`."""

    length_penalty: NonNegativeFloat = 1.0
    """Scores are divided by length to this power; above 1 favors longer hypotheses. Length is
    tokens: language, text and end, as in fairseq, transformers and CTranslate2."""

    unlikely_empty: bool = True
    """Whether beam search may find that a translation is empty where the end is not the likeliest
    first token, as in fairseq and transformers; false as in CTranslate2."""

    unknown: Literal["drop", "copy"] = "drop"
    """What becomes of characters that the vocabulary lacks, as emoji. `drop`: nothing in the
    translation stands for them. `copy`: those at the ends of a line, or of its sentences where it
    is split, are put there; those inside take the places of the model's unknown tokens in order."""

    glossary: Path | None = None
    """TSV of terms whose translations must appear: a column per language, named by its code in the
    first line, a term per line. Terms in lower case are found in any case, whole words only. For
    `beam`."""

    keep: tuple[Literal["urls", "placeholders", "numbers"], ...] = ()
    """What of the source must appear in the translation as it is. Lost ones are counted whether
    they are listed or not: `lost_urls`, `lost_placeholders`, `lost_numbers`."""

    omissions: Literal["ignore", "count", "retry"] = "ignore"
    """Whether sentences are counted that may have lost a part, or translated again in two parts,
    which are kept if less is lost. For an `n_best` of 1; about two fifths more time."""

    omission_share: PositiveShare = 0.3
    """Share of a sentence's tokens that its translation hardly attends to (`docs/experiments.md`),
    above which a part may be missing."""

    encoder: Path | None = None
    """Sentence encoder that `omissions` asks as well: a directory of `tongues mining`, or builtin.
    For `nmt translate` and `nmt translate-flores`; null for none."""

    omission_similarity: Share = 0.55
    """Cosine of a sentence and its translation below which a part may be missing, with `encoder`
    (`docs/experiments.md`: of the builtin one)."""

    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    """Which experts are loaded: all, or only those that the languages at hand need."""

    device: Literal["auto", "cpu", "cuda"] = execution_only("auto")
    """Where the model runs; `auto` uses a GPU if there is one."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the computation. Gates always choose experts in float32."""

    threads: PositiveInt = 2
    """Torch threads."""

    def check_single(self) -> None:
        """Refuse more than one translation where there is a place for one.

        Raises:
            UserError: If `n_best` is above 1.
        """
        if self.n_best > 1:
            raise UserError(f"`n_best` is {self.n_best}; here each line has one translation")

    def for_sentences(self) -> "TranslateConfig":
        """Return the config for lines that are a sentence each."""
        return replace(self, split="never") if self.split == "auto" else self


@dataclass(frozen=True, kw_only=True)
class DistillBitextConfig(TranslateConfig):
    """How a teacher translates the sources of a bitext."""

    columns: dict[str, str] = field(default_factory=dict, hash=False)
    """Name, or number from 1, of the columns `source` and `target` of bitext whose header does not
    say which they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)


@dataclass(frozen=True, kw_only=True)
class BackTranslateConfig(Config):
    """How text becomes bitext."""

    translate: TranslateConfig = field(default_factory=TranslateConfig)
    """How the text is translated: beam search or sampling, limits and device."""

    part_sentences: PositiveInt = 20_000
    """Sentences per task, and so the most that is lost when a run is killed."""

    max_sentences: NonNegativeInt = 0
    """Sentences per direction, counted from the first shard; 0 for all."""

    min_score: float | None = None
    """Pairs whose score (log-probability / tokens^`length_penalty`) is lower are dropped."""
