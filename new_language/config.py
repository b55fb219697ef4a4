"""The recipe of `tongues new-language`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from corpus.config import Bounds, Config, NonNegativeInt, PositiveFloat, PositiveInt, execution_only
from corpus.errors import UserError
from corpus.languages import Direction, check_language, parse_direction
from corpus.protocols import BUILTIN

System = Literal["scratch", "seed", "mined", "all", "ceiling"]
Layout = Literal["transformers", "ctranslate2"]

FINE_TUNED: tuple[System, ...] = ("seed", "mined", "all", "ceiling")
"""Systems that start from the model."""


@dataclass(frozen=True, kw_only=True)
class NewLanguageConfig(Config):
    """What there is of a language, and what is made of it."""

    language: str
    """The new language."""

    pivot: str
    """The language of the other side of the seed pairs, one that `model` and `encoder` know."""

    seed: tuple[Path, ...]
    """Known pairs of the two: files or directories of bitext in any format."""

    shards: tuple[str, ...]
    """Crawl shards: files, with `*` as a wildcard, or URLs."""

    model: Path
    """Model directory that the training starts from; `tongues nmt import` makes one of others'."""

    flores: Path
    """Test sets of both languages and the model's others, in FLORES-200's layout: `dev` chooses,
    `devtest` is reported. Their sentences are kept out of everything that is learned from."""

    like: str = ""
    """Language of the model whose token the new one's begins as. Empty: the most similar ones."""

    encoder: Path = Path(BUILTIN)
    """Sentence encoder that teaches the language's student: a directory, or `builtin`."""

    student_bitext: tuple[Path, ...] = ()
    """Directories of further bitext with the pivot that the student learns from: of relatives."""

    student_languages: tuple[str, ...] = ()
    """Languages that it is a student for beside the new one, as `student_bitext` has them."""

    identifier: Path = Path(BUILTIN)
    """Language identifier to start with: a model directory, or `builtin`."""

    identifier_text: tuple[Path, ...] = ()
    """Directories of labeled text in other languages. With it, a new identifier is trained on that
    and the seed's sentences. With neither this nor `label_shards`, `identifier` must know the
    language."""

    label_shards: bool = False
    """Where there is only a model: let `identifier` label the text of the shards. A detector of the
    language, trained on that and the seed's sentences, then stands beside it."""

    identifier_test: Path | None = None
    """Directory in FLORES-200's layout to measure the new identifier on: the more languages, the
    more it can be seen to confuse. null: `flores`."""

    monolingual: tuple[Path, ...] = ()
    """Directories with text of the language, `<language>.txt`, to be translated back. Empty: the
    sentences that the shards have."""

    replay: tuple[Path, ...] = ()
    """Directories of bitext of the model's other directions. Their sources are translated by the
    model, and these pairs are trained on beside the new ones, so that it forgets less."""

    other_directions: tuple[str, ...] = ()
    """Directions that the model must not lose: scored before and after, and replayed."""

    other_flores: Path | None = None
    """Test sets of the model's other directions, in FLORES-200's layout, where there is no text in
    all languages: a test set of the new pair has no lines in the others. null: `flores`."""

    evaluation_sets: tuple[Path, ...] = ()
    """Further test sets that are kept out of everything that is learned from."""

    true_pairs: tuple[Path, ...] = ()
    """Pairs that the shards are known to hide, in experiments: what the system `ceiling` learns
    instead of those that were mined."""

    gold: Path | None = None
    """Directory of the same as `<source>-<target>.tsv`, to measure mining with."""

    systems: tuple[System, ...] = FINE_TUNED[:3]
    """What is trained. `seed`: on the seed pairs; `mined`: and on mined ones; `all`: and on text
    translated back by `mined`; `ceiling`: on the seed and `true_pairs`; `scratch`: on the seed from
    nothing."""

    exported: Literal["best", "seed", "mined", "all"] = "best"
    """System that is exported; `best` is that with the highest chrF++ on `dev`."""

    exports: tuple[Layout, ...] = ("transformers", "ctranslate2")
    """Layouts that it is exported to."""

    rounds: Annotated[int, Bounds(at_least=1, at_most=9)] = 2
    """How often is mined: after the first round, the student learns from the mined pairs as well,
    finds more, and mining is repeated."""

    budget_core_minutes: PositiveFloat | None = None
    """CPU time of everything, about, on a core like that of docs/experiments.md. It bounds shards,
    rounds, updates of the trainings and text translated back, by nominal speeds: the same on any
    machine. null for no bound. `settings` win."""

    held_out: NonNegativeInt = 200
    """Seed pairs that are not trained on, to calibrate mining; at most a quarter of all."""

    threads: PositiveInt = execution_only(2)  # noqa: RUF009
    """Threads of trainings and translation."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further config of the steps' commands, by step, as their `--config-file` takes it: `student:
    {epochs: 3}`. `train` is for all trainings, `train_seed` for one of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for language in (
            self.language,
            self.pivot,
            *([self.like] if self.like else []),
            *self.student_languages,
        ):
            check_language(language)
        if self.language == self.pivot:
            raise UserError(f"`language` and `pivot` are both `{self.pivot}`")
        for name in ("seed", "shards", "systems"):
            if not getattr(self, name):
                raise UserError(f"`{name}` is empty")
        for text in self.other_directions:
            if self.language in parse_direction(text):
                raise UserError(f"`other_directions` has {text}, which is of the new language")
        if self.label_shards and self.identifier_text:
            raise UserError("`label_shards` is for want of `identifier_text`: leave one out")
        if "all" in self.systems and "mined" not in self.systems:
            raise UserError("`systems` has `all`, which needs `mined` to translate back")
        if ("ceiling" in self.systems) != bool(self.true_pairs):
            raise UserError("`true_pairs` are for the system `ceiling`: give both or neither")
        if self.exports and self.exported not in ("best", *self.systems):
            raise UserError(f"`exported` is `{self.exported}`, which `systems` lacks")

    @property
    def others_flores(self) -> Path:
        """Where test sets of the model's other directions are."""
        return self.other_flores or self.flores

    @property
    def test_sets(self) -> tuple[Path, ...]:
        """All test sets, each once: their sentences are kept out of what is learned from."""
        return tuple(dict.fromkeys((self.flores, self.others_flores, *self.evaluation_sets)))

    @property
    def pair(self) -> Direction:
        """The direction that files are named by, pivot first."""
        return Direction(self.pivot, self.language)

    @property
    def candidates(self) -> tuple[System, ...]:
        """Systems of which one may be exported."""
        return tuple(one for one in self.systems if one in ("seed", "mined", "all"))
