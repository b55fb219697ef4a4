"""The steps of a recipe, each a plain `tongues` command.

They meet through files only: nothing of the stages is imported here. What is done is skipped by the
commands themselves, which also refuse what does not fit their inputs; measurements, whose commands
keep no receipts, have theirs in the directory of all steps.
"""

import functools
import glob
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import UserError
from corpus.files import read_json
from corpus.flores import split_languages
from corpus.languages import Direction, find_language, parse_direction
from corpus.protocols import BUILTIN
from new_language.budget import Sizes, decide
from new_language.config import NewLanguageConfig, System

START = "start"
"""The model before it learned the language, among the systems that are scored."""

OTHERS = "others"
"""`devtest` of `other_flores`, where that is another than `flores`."""

REPORT = "report"
SPLIT = "split"
COPY = "copy"
METRICS = ("chrf++", "bleu")
_MOST_OTHERS = 6
_POSITIONS = 8192
"""Of a batch, about, where the recipe does not say."""
_PLAIN = re.compile(r"[\w./-]+")

SETTINGS = (
    "split", "label", "identifier", "identify", "student", "similarity", "mine", "evaluate",
    "contamination", "extend", "replay", "train", "train_scratch", "train_seed", "train_mined",
    "train_all", "train_ceiling", "vocabulary", "back_translate", "translate", "score", "compare",
    "export_transformers", "export_ctranslate2",
)  # fmt: skip
"""Steps, and kinds of them, that `settings` may name; `mine_2` is a round's."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command."""

    name: str
    title: str
    words: tuple[str, ...]
    """Of the command, without `tongues`."""

    outputs: tuple[Path, ...]
    """Directories with its receipts, for the page."""

    by_hand: str
    """What helps if it fails."""

    stdout: Path | None = None
    """File that gets what it prints."""

    reads: tuple[Path, ...] = ()
    """Of a measurement, whose command keeps no receipt: files and directories that it reads."""

    def shell(self) -> str:
        """Return the command as a shell takes it."""
        line = shlex.join(("tongues", *self.words))
        if self.stdout is None:
            return line
        return f"{line} > {shlex.quote(str(self.stdout))}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe in a directory: where everything is, and which directions are looked at."""

    config: NewLanguageConfig
    recipes: tuple[Path, ...]
    """The files of the recipe."""

    overrides: tuple[str, ...]
    """What was given beside them, as `key=value`."""

    output: Path

    @property
    def new(self) -> tuple[Direction, Direction]:
        """The directions of the new language: into it, and out of it."""
        return self.config.pair, self.config.pair.reverse

    @property
    def others(self) -> tuple[Direction, ...]:
        """Directions of the model that are scored before and after.

        Without any in the recipe: those that the model was trained on and the test set has, spread
        evenly where there are many.
        """
        if self.config.other_directions:
            return tuple(map(parse_direction, self.config.other_directions))
        known = [Direction(*text.split("-")) for text in self._description()["directions"]]
        there = {path.stem for path in (self.config.others_flores / "devtest").glob("*_*")}
        known = [one for one in known if all(find_language(code, there) for code in one)]
        count = min(_MOST_OTHERS, len(known))
        return tuple(known[i * len(known) // count] for i in range(count))

    def _description(self) -> Any:
        file = self.config.model / "model.json"
        if not file.is_file():
            raise UserError(
                f"`model`: {self.config.model} is not a translation model: it has no model.json."
                " `tongues nmt train` and `tongues nmt import` write one."
            )
        return read_json(file)

    def at(self, *parts: str) -> Path:
        """Return a path in the output."""
        return self.output.joinpath(*parts)

    def hypotheses(self, system: str, of: str = "devtest") -> Path:
        """Return where a system's translations of a split are; `OTHERS` is that of theirs."""
        return self.at("hypotheses" if of == "devtest" else f"hypotheses_{of}", system)

    @property
    def others_split(self) -> str:
        """Of which split the translations in the model's other directions are."""
        return "devtest" if self.config.others_flores == self.config.flores else OTHERS

    def model(self, system: str) -> Path:
        """Return where a system's model is."""
        return self.at("models", system)

    @property
    def identifier(self) -> Path:
        """The identifier that knows the language."""
        config = self.config
        is_made = config.identifier_text or config.label_shards
        return self.at("identifier") if is_made else config.identifier

    @functools.cached_property
    def sizes(self) -> Sizes | None:
        """What fits into the recipe's budget; None without one."""
        config = self.config
        if config.budget_core_minutes is None:
            return None
        self._description()
        batches = config.settings.get("train", {}).get("batches", {})
        return decide(
            config.budget_core_minutes,
            shards=self.files,
            rounds=config.rounds,
            trainings=len(config.systems),
            positions=batches.get("max_tokens") or _POSITIONS,
            weights=config.model / "model.safetensors",
        )

    @functools.cached_property
    def files(self) -> tuple[str, ...]:
        """The shards that the recipe's wildcards name, in order."""
        found: list[str] = []
        for pattern in self.config.shards:
            is_local = "://" not in pattern and glob.has_magic(pattern)
            matches = sorted(glob.glob(pattern)) if is_local else [pattern]  # noqa: PTH207
            if not matches:
                raise UserError(f"`shards`: no file matches {pattern}")
            found += matches
        return tuple(found)

    @property
    def shards(self) -> tuple[str, ...]:
        """The shards to mine."""
        return self.config.shards if self.sizes is None else self.sizes.shards

    @property
    def rounds(self) -> int:
        """How often is mined."""
        return self.config.rounds if self.sizes is None else self.sizes.rounds

    def round(self, number: int, *parts: str, of: str = "mined") -> Path:
        """Return a path in what a round made; that of the first has no number."""
        return self.at(of if number == 1 else f"{of}_{number}", *parts)

    def mined(self, *parts: str) -> Path:
        """Return a path in what the last round mined."""
        return self.round(self.rounds, *parts)

    @property
    def sentences(self) -> Path:
        """Sentences of the shards."""
        return self.at("mined", "sentences")

    @property
    def bitext(self) -> Path:
        """Where the mined pairs are, those of the last round."""
        return self.mined("bitext")

    def settings(self, *steps: str) -> dict[str, Any]:
        """Return the settings that the recipe has for a step, those of later names first."""
        found: dict[str, Any] = {}
        for step in steps:
            found |= flat(self.config.settings.get(step, {}))
        return found


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree of settings by dotted keys; empty groups and lists are values."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def options(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield config as options; paths, and lists of them, as text."""
    for key, value in values.items():
        yield from ("--config", f"{key}={_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def check_test_sets(plan: Plan) -> None:
    """Check that the test sets have the languages that are scored, before hours of work.

    Raises:
        UserError: If a file is missing.
    """
    config = plan.config
    wanted = [(config.flores, split, set(config.pair)) for split in ("dev", "devtest")]
    others = {language for direction in plan.others for language in direction}
    wanted.append((config.others_flores, "devtest", others))
    for flores, split, languages in wanted:
        there = split_languages(flores, split) if languages else ()
        missing = sorted(one for one in languages if find_language(one, there) is None)
        if missing:
            raise UserError(
                f"{flores / split} has no file of {', '.join(missing)}. `flores` needs lines of"
                f" {config.pivot} and {config.language}; `other_directions` are scored on"
                " `other_flores`, where that is given."
            )


def make_steps(plan: Plan) -> list[Step]:
    """Return the steps of a recipe in order.

    Which model is exported is known when its rivals are scored; before, it is the last of them.

    Raises:
        UserError: If the recipe has settings of a step that there is not, or no model.
    """
    kinds = {name: re.sub(r"_[1-9]$", "", name) for name in plan.config.settings}
    unknown = [name for name, kind in kinds.items() if kind not in SETTINGS]
    if unknown:
        raise UserError(
            f"`settings` has `{unknown[0]}`, which is no step; there are {', '.join(SETTINGS)}"
        )
    return [
        *_data(plan),
        *_mining(plan),
        *_model(plan),
        *_trainings(plan),
        *_scores(plan),
        *_exports(plan),
        _report(plan),
    ]


def _data(plan: Plan) -> Iterator[Step]:
    config = plan.config
    yield _step(
        plan, SPLIT, "Seed pairs: for training, and held out", ("data", "split"),
        [*config.seed, "--source", config.pivot, "--target", config.language],
        plan.at("seed"), {"held_out": config.held_out},
        "Write the pairs as a TSV of two columns without a header, name it"
        f" {config.pair}.tsv, and give that as `seed`.",
    )  # fmt: skip
    by_hand = (
        "Train an identifier yourself, give it as `identifier`, and leave out `identifier_text` and"
        " `label_shards`."
    )
    seed_text = plan.at("seed", "text")
    if config.label_shards:
        yield _step(
            plan, "label", "Text of the shards by language", ("mining", "text"),
            [*(plan.files if plan.sizes is None else plan.shards), "--lid", config.identifier],
            plan.at("labeled"), {},
            "Give labeled text as `identifier_text` in place of `label_shards`.",
            inside=("sentences",),
        )  # fmt: skip
        yield _step(
            plan, "identifier", f"A detector of {config.language} beside the identifier",
            ("lid", "extend"),
            ["--model", config.identifier, "--language", config.language, "--text", seed_text,
             "--labeled", plan.at("labeled")],
            plan.at("identifier"), {}, by_hand,
        )  # fmt: skip
    elif config.identifier_text:
        yield _step(
            plan, "identifier", f"Language identification with {config.language}",
            ("lid", "train"), _repeated("--data", [*config.identifier_text, seed_text]),
            plan.at("identifier"), {"quantize": False}, by_hand,
        )  # fmt: skip
    if plan.identifier != config.identifier:
        # The builtin one may not be installed, and may know none of the test set's languages.
        before = [config.identifier] if config.identifier != BUILTIN else []
        yield _step(
            plan, "identify", "What it is confused with", ("lid", "measure"),
            ["--model", plan.identifier, "--flores", _test_set(plan), "--split", "devtest",
             *_repeated("--against", before)],
            plan.at("identified"), {},
            "The figures are for the page only: the test set needs lines of some of its languages.",
            reads=(plan.identifier, *before, _test_set(plan) / "devtest"),
        )  # fmt: skip


def _test_set(plan: Plan) -> Path:
    return plan.config.identifier_test or plan.config.flores


def _mining(plan: Plan) -> Iterator[Step]:
    config = plan.config
    for number in range(1, plan.rounds + 1):
        yield from _round(plan, number)
    if config.gold is not None:
        words = ["--bitext", plan.bitext, "--gold", config.gold]
        words += ["--sentences", plan.sentences, "--json"]
        yield _step(
            plan, "evaluate", "Mined pairs against those that are known", ("mining", "evaluate"),
            words, None, {"directions": [str(config.pair)]},
            "The figures are for the page only: leave out `gold`.",
            stdout=plan.mined("evaluation.json"),
            reads=(plan.bitext, config.gold, plan.sentences),
        )  # fmt: skip
    tests = _repeated("--test-set", config.test_sets)
    for name, pairs in (("seed", plan.at("seed", "train")), ("mined", plan.bitext)):
        yield _step(
            plan, f"contamination_{name}", f"Test sentences among the {name} pairs",
            ("eval", "contamination"), ["--bitext", pairs, *tests, "--limit", "1"],
            plan.at("contamination", name), {},
            "Training leaves these sentences out in any case: this is to know.",
            kind="contamination",
        )  # fmt: skip


def _round(plan: Plan, number: int) -> Iterator[Step]:
    """Yield the steps of a round of mining: a student, and what it finds."""
    config = plan.config
    end = "" if number == 1 else f"_{number}"
    again = "" if number == 1 else f", round {number}"
    student = plan.round(number, of="student")
    bitext = [plan.at("seed", "train"), *config.student_bitext]
    bitext += [plan.round(number - 1, "bitext")] if number > 1 else []
    taught = (config.language, *config.student_languages)
    yield _step(
        plan, f"student{end}", f"A student of the encoder for {config.language}{again}",
        ("mining", "distill"),
        ["--teacher", config.encoder, *_repeated("--bitext", bitext),
         *_repeated("--language", taught)],
        student, {"pivot": config.pivot},
        f"The encoder must know {config.pivot}; without enough memory or time, set"
        " `settings.student`, or give another `encoder`.",
        kind="student",
    )  # fmt: skip
    yield _step(
        plan, f"similarity{end}", f"How well the student finds translations{again}",
        ("mining", "xsim"),
        ["--encoder", config.encoder, "--flores", config.flores, "--split", "dev"],
        plan.round(number, of="similarity"),
        {"directions": [str(plan.new[1])], f"encoders.{config.language}": student},
        "The figure is for the page only: `dev` needs lines of both languages.",
        kind="similarity",
        reads=(config.encoder, student, config.flores / "dev"),
    )  # fmt: skip
    read: dict[str, Any] = (
        {"shards": plan.shards, "lid": plan.identifier}
        if number == 1
        else {"extracted": plan.sentences}
    )
    yield _step(
        plan, f"mine{end}", f"Sentences of the shards, mined and filtered{again}",
        ("mining", "run"), [], plan.round(number),
        {**read, "pairs": [str(config.pair)], "languages": [config.pivot, config.language],
         "encoder": config.encoder, f"encoders.{config.language}": student,
         **({"known": [plan.at("seed", "held_out")]} if config.held_out else {}),
         "evaluation_sets": config.test_sets},
        "`tongues status` says how far it is, shard by shard. A shard that cannot be read can be"
        " left out of `shards`; where no sentence of the language was found, look at the page of"
        " the identifier.",
        kind="mine",
        inside=("sentences", "embeddings", "known", "mined", "bitext"),
    )  # fmt: skip


def _model(plan: Plan) -> Iterator[Step]:
    config = plan.config
    yield _step(
        plan, "extend", f"{config.language} in the model's vocabulary", ("nmt", "extend"),
        ["--model", config.model, "--language", config.language,
         *(["--like", config.like] if config.like else []), "--text", plan.at("seed", "text")],
        plan.at("extended"), {"flores": config.others_flores},
        "If too much old text would be cut otherwise, set `settings.extend.max_pieces` lower, or"
        " `max_changed_share` higher. A model that has the language already needs no new one.",
    )  # fmt: skip
    for i, bitext in enumerate(config.replay, start=1):
        directions = ",".join(map(str, plan.others)) if len(config.replay) == 1 else ""
        yield _step(
            plan, f"replay_{i}", "What the model says in its other directions", ("nmt", "distill"),
            ["--teacher", config.model, "--bitext", bitext,
             *(["--directions", directions] if directions else [])],
            plan.at("replay", str(i)), {"threads": config.threads},
            "Fewer pairs in `replay` take less time.", kind="replay",
        )  # fmt: skip


def _trainings(plan: Plan) -> Iterator[Step]:
    config = plan.config
    seed, mined, replay = plan.at("seed", "train"), plan.bitext, _replayed(plan)
    # In this order: the text is translated back by `mined`.
    if "scratch" in config.systems:
        yield _step(
            plan, "vocabulary", "A vocabulary of the seed", ("nmt", "vocabulary"),
            ["--bitext", seed], plan.at("vocabulary"), {}, "Leave out the system `scratch`.",
        )  # fmt: skip
        yield _training(plan, "scratch", {"bitext.primary": [seed]})
    if "seed" in config.systems:
        yield _training(plan, "seed", {"bitext.primary": [seed], **replay})
    if "mined" in config.systems:
        learned = {"bitext.primary": [seed], "bitext.mined": [mined], **replay}
        yield _training(plan, "mined", learned)
        if "all" in config.systems:
            steps = list(_back_translations(plan))
            yield from steps
            made = [output for step in steps for output in step.outputs]
            yield _training(plan, "all", {**learned, "bitext.back_translated": made})
    if "ceiling" in config.systems:
        pairs = [seed, *config.true_pairs]
        yield _training(plan, "ceiling", {"bitext.primary": pairs, **replay})


def _replayed(plan: Plan) -> dict[str, Any]:
    made = [plan.at("replay", str(i + 1)) for i in range(len(plan.config.replay))]
    return {"bitext.replay": made} if made else {}


_WHAT = {
    "scratch": "Training on the seed, from nothing",
    "seed": "Fine-tuning on the seed",
    "mined": "Fine-tuning on seed and mined pairs",
    "all": "Fine-tuning on seed, mined and back-translated pairs",
    "ceiling": "Fine-tuning on the seed and the true pairs",
}


def _training(plan: Plan, system: System, values: dict[str, Any]) -> Step:
    config = plan.config
    start = (
        {"vocabulary": plan.at("vocabulary")}
        if system == "scratch"
        else {"start_from": plan.at("extended")}
    )
    common = {
        "flores": config.flores,
        "evaluation_sets": config.test_sets[1:],
        "threads": config.threads,
        # What the others lost is measured on all of the test set, below.
        "comparison.max_trained": 0,
        "comparison.max_others": 0,
        **({} if plan.sizes is None else {"max_updates": plan.sizes.max_updates}),
    }
    return _step(
        plan, f"train_{system}", _WHAT[system], ("nmt", "train"), [], plan.model(system),
        {**start, **values, **common, **plan.settings("train")},
        "The log names the update that it reached; the same command resumes there. Less memory:"
        " `settings.train.batches.max_tokens`; less time: `settings.train.updates`. Either is"
        f" another training: remove {plan.model(system)} first.",
    )  # fmt: skip


def _back_translations(plan: Plan) -> Iterator[Step]:
    config = plan.config
    texts = [(plan.sentences, plan.new if not config.monolingual else (plan.new[1],))]
    texts += [(path, (plan.new[0],)) for path in config.monolingual]
    for i, (text, directions) in enumerate(texts):
        name = f"back_translate_{i + 1}" if len(texts) > 1 else "back_translate"
        output = plan.at("back_translated", *([str(i + 1)] if len(texts) > 1 else []))
        yield _step(
            plan, name, "Text translated back", ("nmt", "back-translate"),
            ["--model", plan.model("mined"), "--text", text,
             "--directions", ",".join(map(str, directions))],
            output,
            {"translate.threads": config.threads,
             **({} if plan.sizes is None else {"max_sentences": plan.sizes.back_translated})},
            "Less time: `settings.back_translate.max_sentences`, and remove"
            f" {output}; or leave the system `all` out.",
            kind="back_translate",
        )  # fmt: skip


def _scores(plan: Plan) -> Iterator[Step]:
    config, new, others = plan.config, plan.new, plan.others
    if len(config.candidates) > 1 and config.exported == "best":
        for system in config.candidates:
            yield _translation(plan, system, new, "dev")
        yield _score(plan, config.candidates, "dev", "scores_dev")
    tuned = [system for system in config.systems if system != "scratch"]
    of, with_new = plan.others_split, plan.others_split != OTHERS
    if others:
        yield _translation(plan, START, others, of)
    for system in config.systems:
        directions = (*new, *others) if with_new and system in tuned else new
        yield _translation(plan, system, directions, "devtest")
    has_start = with_new and others
    yield _score(plan, [*config.systems, *([START] if has_start else [])], "devtest", "scores")
    if not others or not tuned:
        return
    if not with_new:
        for system in tuned:
            yield _translation(plan, system, others, of)
        yield _score(plan, [START, *tuned], of, "scores_others")
    words = _repeated("--hypotheses", (plan.hypotheses(system, of) for system in (START, *tuned)))
    yield _step(
        plan, "compare", "What the other directions lost", ("eval", "compare"),
        [*words, "--flores", config.others_flores, "--split", "devtest"], plan.at("comparison"),
        {"pivot": config.pivot}, "`comparison/comparison.html` is the page of this step.",
    )  # fmt: skip


def _translation(plan: Plan, system: str, directions: Sequence[Direction], of: str) -> Step:
    model = plan.config.model if system == START else plan.model(system)
    flores, split = _test_set_of(plan, of)
    return _step(
        plan, f"translate_{of}_{system}", f"{_words(of)} translated by `{system}`",
        ("nmt", "translate-flores"),
        ["--model", model, "--flores", flores, "--split", split,
         "--directions", ",".join(map(str, directions))],
        plan.hypotheses(system, of), {"threads": plan.config.threads},
        "The test set needs lines of all languages of these directions; where none has all, give"
        " that of `other_directions` as `other_flores`.",
        kind="translate",
    )  # fmt: skip


def _score(plan: Plan, systems: Sequence[str], of: str, output: str) -> Step:
    flores, split = _test_set_of(plan, of)
    words = _repeated("--hypotheses", (plan.hypotheses(system, of) for system in systems))
    words += ["--flores", flores, "--split", split, "--metrics", ",".join(METRICS)]
    baseline = "seed" if of != OTHERS and "seed" in systems else systems[0]
    return _step(
        plan, f"score_{of}", f"Scores on {_words(of)}", ("eval", "score"),
        [*words, "--baseline", baseline], plan.at(output),
        {"baselines": [COPY], "pivot": plan.config.pivot},
        f"`{output}/report.html` is the page of this step.", kind="score",
    )  # fmt: skip


def _words(of: str) -> str:
    return "devtest of the other directions" if of == OTHERS else of


def _test_set_of(plan: Plan, of: str) -> tuple[Path, str]:
    """Return the test set and the split of some translations."""
    if of == OTHERS:
        return plan.config.others_flores, "devtest"
    return plan.config.flores, of


def exported_system(plan: Plan) -> str:
    """Return the system that is exported: the one named, or the best on `dev` once it is known."""
    config, file = plan.config, plan.at("scores_dev", "scores.json")
    if config.exported != "best":
        return config.exported
    if len(config.candidates) < 2 or not file.is_file():
        return config.candidates[-1] if config.candidates else config.systems[-1]
    rows = read_json(file)["scores"]
    totals = dict.fromkeys(config.candidates, 0.0)
    for row in rows:
        if row["metric"] == METRICS[0] and row["system"] in totals:
            totals[row["system"]] += row["value"]
    return max(totals, key=lambda system: totals[system])


def _exports(plan: Plan) -> Iterator[Step]:
    system = exported_system(plan)
    for layout in plan.config.exports:
        yield _step(
            plan, f"export_{layout}", f"`{system}` for {layout}", ("nmt", "export"),
            ["--model", plan.model(system), "--to", layout], plan.at("exported", system, layout),
            {}, "A model with experts has no place in CTranslate2: set `exports`.",
        )  # fmt: skip


def _report(plan: Plan) -> Step:
    words = ("new-language", *map(str, plan.recipes))
    given = [word for text in plan.overrides for word in ("--config", text)]
    return Step(
        name=REPORT,
        title="The page",
        words=(*words, *given, "--output", str(plan.output), "--report-only"),
        outputs=(),
        by_hand="Everything else is done.",
    )


def _repeated(option: str, values: Iterable[Any]) -> list[Any]:
    """Return an option before each of some values."""
    return [word for value in values for word in (option, value)]


def _step(
    plan: Plan,
    name: str,
    title: str,
    command: Sequence[str],
    words: Sequence[Any],
    output: Path | None,
    values: Mapping[str, Any],
    by_hand: str,
    *,
    kind: str = "",
    inside: Sequence[str] = (),
    stdout: Path | None = None,
    reads: Sequence[Path] = (),
) -> Step:
    """Return a step; `kind` are further settings of it, `inside` directories with receipts."""
    given = {**values, **plan.settings(*dict.fromkeys((kind or name, name)))}
    given = {key: value for key, value in given.items() if value != ()}
    where = [] if output is None else ["--output", output]
    return Step(
        name=name,
        title=title,
        words=tuple(map(str, (*command, *words, *where, *options(given)))),
        outputs=() if output is None else (output, *(output / one for one in inside)),
        by_hand=by_hand,
        stdout=stdout,
        reads=tuple(reads),
    )
