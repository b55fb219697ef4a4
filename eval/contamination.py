"""`tongues eval contamination`: which lines of public test sets are in training text.

The test sets are indexed, not the training text, which is read once as a stream, file by file: its
size changes the time and not the memory. Lines are compared by their key (no case, no punctuation,
numbers as `0`), parts of them by character n-grams; see `corpus.evaluation_sets`. Paraphrases are
found with a sentence encoder, if one is given; see `eval.checks.paraphrases`.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.bitext import (
    BITEXT_SUFFIXES,
    BitextReader,
    bitext_paths,
    direction_of,
    is_first_file,
)
from corpus.config import dump_config
from corpus.errors import UserError
from corpus.evaluation_sets import EvaluationSentences
from corpus.files import make_directory, open_lines, write_json, write_text
from corpus.jobs import Outcome, Task, redo_changed, run_job
from corpus.languages import find_language
from corpus.protocols import EncoderLoader, SentenceEncoder, encoder_inputs
from corpus.records import read_table
from corpus.records import write_table as write_parquet
from corpus.report.html import page, section, table
from corpus.test_sets.find import find_splits
from corpus.test_sets.test_set import TestSet, set_title
from corpus.text import sentence_key
from eval.checks.paraphrases import LineVectors, embed_lines, find_paraphrases
from eval.config import ContaminationConfig
from eval.tables import write_table

logger = logging.getLogger(__name__)

_TEXT_SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
_BATCH = 1 << 13
_SHOWN = 100
"""Lines on the page."""
_LONGEST = 400
PAGE = "contamination.html"
_ABOVE = "above the limit"

_MATCHES = pa.schema(
    [
        ("sentence", pa.int32()),
        ("is_same", pa.bool_()),
        ("covered", pa.int32()),
        ("times", pa.int64()),
        ("in_pair", pa.bool_()),
        ("side", pa.string()),
        ("row", pa.int64()),
        ("text", pa.string()),
    ]
)
"""A row per sentence found in one file: the largest part of it, and how many rows have one."""

_PARAPHRASES = pa.schema(
    [
        ("line", pa.int32()),
        ("cosine", pa.float32()),
        ("times", pa.int64()),
        ("side", pa.string()),
        ("row", pa.int64()),
        ("text", pa.string()),
    ]
)
"""A row per line of a test set that some text of a file paraphrases: the closest one."""

SUMMARY_COLUMNS = (
    "test_set", "language", "lines", "whole", "part", "paraphrase", "share", "in_pairs",
    "above_limit",
)  # fmt: skip
LINE_COLUMNS = (
    "test_set", "language", "line", "found", "share", "cosine", "times", "in_pair", "file", "row",
    "side", "text", "training_text",
)  # fmt: skip


class Line(NamedTuple):
    """A line of a test set."""

    test_set: str
    language: str
    """With its direction, where each direction has its own lines."""
    number: int
    """Within them, from 1."""
    text: str


class Found(NamedTuple):
    """What was found of a line, at most."""

    line: Line
    is_whole: bool
    share: float | None
    """Characters of the line that one training text has in common with it; None of a paraphrase."""
    times: int
    """Training texts that have the line or enough of it."""
    in_pair: bool
    """Whether one training pair has the line on one side and its translation on the other."""
    file: str
    row: int
    side: str
    training_text: str
    cosine: float | None = None
    """Of a paraphrase."""

    @property
    def kind(self) -> str:
        """What was found: `whole`, `part` or `paraphrase`."""
        return "whole" if self.is_whole else "part" if self.cosine is None else "paraphrase"


class Part(NamedTuple):
    """A language of a test set, and how much of it is in the training text."""

    test_set: str
    language: str
    lines: int
    whole: int
    part: int
    paraphrase: int
    """Lines of which nothing but a paraphrase was found; 0 without an encoder."""
    share: float
    in_pairs: int
    above_limit: bool


class Contamination(NamedTuple):
    """What was found."""

    parts: list[Part]
    found: list[Found]

    def as_rows(self) -> list[list[object]]:
        """Return the rows of the table on a terminal, under `SUMMARY_COLUMNS`."""
        return [
            [*one[:6], f"{one.share:.2%}", one.in_pairs, "yes" if one.above_limit else ""]
            for one in self.parts
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what `contamination.json` holds."""
        return {"parts": [one._asdict() for one in self.parts], "lines_found": len(self.found)}


def find_contamination(
    bitext: Path,
    test_sets: Sequence[Path],
    split: str,
    output: Path,
    config: ContaminationConfig,
    encoder: Path | None = None,
    load: EncoderLoader | None = None,
) -> Contamination:
    """Look for lines of test sets in training text; write the tables and the page.

    Args:
        bitext: A file of bitext, or a directory of such files or of text by language.
        test_sets: As they were published; see `corpus.test_sets.find`.
        split: Of the test sets; all that they have if empty.
        output: Directory for the tables; files that did not change are not read again.
        config: What counts as found.
        encoder: Directory of a sentence encoder, or `builtin`, to look for paraphrases too.
        load: Loads it.

    Raises:
        UserError: If there is no bitext or no test set, or none has a language of the bitext.
        DataError: If a file is damaged.
    """
    files = _training_files(bitext)
    languages = _languages(files) if config.only_languages_of_bitext else None
    lines = read_lines(test_sets, split, languages)
    if not lines:
        raise UserError(
            f"{', '.join(map(str, test_sets))}: no line is in a language of {bitext}"
            f" ({', '.join(languages or [])}); --config only_languages_of_bitext=false compares all"
        )
    make_directory(output)
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update("\0".join(map(str, line)).encode("utf-8", "replace"))
    wanted = _Wanted(
        tuple(test_sets), split, None if languages is None else tuple(languages), digest.hexdigest()
    )
    tasks = [
        Task(
            name=_name(file, bitext),
            inputs=(file,) if _is_text(file) else bitext_paths(file),
            arguments={
                "lines": wanted.digest,
                "min_share": config.min_share,
                **({"columns": config.columns} if config.columns else {}),
            },
        )
        for file in files
    ]
    redo_changed("contamination", tasks, output)
    work = functools.partial(
        search_file,
        wanted=wanted,
        output=output,
        config=config,
    )
    run_job(name="contamination", tasks=tasks, work=work, output=output, workers=config.workers)
    found = _gather(lines, {task.name: _matches_file(output, task.name) for task in tasks})
    if encoder is not None and load is not None:
        near = _search_paraphrases(tasks, wanted, output, config, encoder, load)
        found = _add_paraphrases(lines, found, near)
    result = Contamination(_summarize(lines, found, config.limit), found)
    _write(output, result, config)
    return result


def _training_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; --bitext is a file or a directory of bitext")
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") or part == "receipts" for part in file.parts)
        and (_is_text(file) or is_first_file(file))
    )
    if not found:
        raise UserError(
            f"{path} holds no bitext: there is no file that ends in"
            f" {', '.join((*BITEXT_SUFFIXES, *_TEXT_SUFFIXES))}"
        )
    return found


def _name(file: Path, root: Path) -> str:
    return file.name if file == root else str(file.relative_to(root))


def _is_text(file: Path) -> bool:
    return file.name.endswith(_TEXT_SUFFIXES)


def _languages(files: Sequence[Path]) -> list[str] | None:
    """Return the languages that files are named by; None if one of them is not."""
    found: set[str] = set()
    for file in files:
        direction = None if _is_text(file) else direction_of(file)
        if direction is None:
            return None
        found |= set(direction)
    return sorted(found)


def read_lines(
    test_sets: Sequence[Path], split: str, languages: Sequence[str] | None
) -> list[Line]:
    """Return the lines of test sets in some languages, or in all.

    Raises:
        UserError: If one is not a test set.
        DataError: If one is damaged.
    """
    lines: list[Line] = []
    names: dict[str, Path] = {}
    for path in test_sets:
        for test_set in find_splits(path, split):
            name = set_title(test_set.kind, path, test_set.split)
            name = name if names.setdefault(name, path) == path else f"{name} ({path.name})"
            lines += _lines_of(name, test_set, languages)
    return lines


def _lines_of(name: str, test_set: TestSet, languages: Sequence[str] | None) -> Iterator[Line]:
    def is_wanted(code: str) -> bool:
        return languages is None or find_language(code, languages) is not None

    for language, read_side in test_set.sides.items():
        if is_wanted(language):
            for text in read_side().texts:
                yield from (Line(name, language, n, one) for n, one in enumerate(text, 1))
    for direction, read_pair in test_set.pairs.items():
        if not is_wanted(direction.source) and not is_wanted(direction.target):
            continue
        segments = read_pair()
        sides = [(direction.source, [segments.source]), (direction.target, segments.references)]
        for code, texts in sides:
            for text in texts if is_wanted(code) else ():
                label = f"{code} of {direction}"
                yield from (Line(name, label, n, one) for n, one in enumerate(text, 1))


class _Index(NamedTuple):
    sentences: EvaluationSentences
    lines: list[set[tuple[str, int]]]
    """The test sets and line numbers of each sentence; translations have the same."""


class _Wanted(NamedTuple):
    """Which lines are looked for; picklable, for processes that read training text."""

    test_sets: tuple[Path, ...]
    split: str
    languages: tuple[str, ...] | None
    digest: str
    """Of the lines, so that an index is built again when they change."""


@functools.lru_cache(maxsize=1)
def _index(wanted: _Wanted) -> _Index:
    lines = read_lines(wanted.test_sets, wanted.split, wanted.languages)
    sentences = EvaluationSentences(line.text for line in lines)
    places: list[set[tuple[str, int]]] = [set() for _ in sentences.lengths]
    for line, number in zip(lines, _numbers(sentences, lines), strict=True):
        if number >= 0:
            direction = line.language.partition(" of ")[2]
            places[number].add((f"{line.test_set} {direction}", line.number))
    return _Index(sentences, places)


def _numbers(sentences: EvaluationSentences, lines: Sequence[Line]) -> list[int]:
    numbers: list[int] = sentences.find([sentence_key(line.text) for line in lines]).tolist()
    return numbers


def _search_paraphrases(
    tasks: Sequence[Task],
    wanted: _Wanted,
    output: Path,
    config: ContaminationConfig,
    encoder: Path,
    load: EncoderLoader,
) -> dict[str, Path]:
    """Look for paraphrases of all lines in every file; return what each one's are written to."""
    model = encoder_inputs(encoder)
    searches = [
        Task(
            name=task.name,
            inputs=(*task.inputs, *model),
            arguments={
                "lines": wanted.digest,
                "encoder": "" if model else str(encoder),
                "quantile": config.paraphrase_quantile,
                **({"columns": config.columns} if config.columns else {}),
            },
        )
        for task in tasks
    ]
    redo_changed("paraphrases", searches, output)
    work = functools.partial(
        paraphrases_in_file,
        wanted=wanted,
        output=output,
        config=config,
        encoder=encoder,
        load=load,
    )
    run_job(name="paraphrases", tasks=searches, work=work, output=output, workers=config.workers)
    return {task.name: _paraphrases_file(output, task.name) for task in searches}


def _paraphrases_file(output: Path, name: str) -> Path:
    return output / "paraphrases" / f"{name}.parquet"


class _Meaning(NamedTuple):
    encoder: SentenceEncoder
    lines: dict[str, LineVectors]
    """By language."""


@functools.lru_cache(maxsize=1)
def _meaning(
    wanted: _Wanted, quantile: float, encoder: Path, load: Callable[..., SentenceEncoder]
) -> _Meaning:
    """Embed the lines once in a process."""
    model = load(encoder)
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for place, line in enumerate(read_lines(wanted.test_sets, wanted.split, wanted.languages)):
        if line.text.strip():
            groups[line.language.partition(" of ")[0]].append((place, line.text))
    vectors = {}
    for language, own in sorted(groups.items()):
        places, texts = zip(*own, strict=True)
        vectors[language] = embed_lines(texts, places, language, model, quantile)
        logger.info("%s: paraphrases have a cosine above %.3f", language, vectors[language].limit)
    return _Meaning(model, vectors)


def paraphrases_in_file(
    task: Task,
    *,
    wanted: _Wanted,
    output: Path,
    config: ContaminationConfig,
    encoder: Path,
    load: Callable[..., SentenceEncoder],
) -> Outcome:
    """Look for paraphrases of all lines in one file of training text."""
    meaning = _meaning(wanted, config.paraphrase_quantile, encoder, load)
    file = task.inputs[0]
    direction = None if _is_text(file) else direction_of(file)
    languages = {} if direction is None else dict(zip(("source", "target"), direction, strict=True))
    best: dict[int, dict[str, Any]] = {}
    row = 0
    for sides in _batches(file, config.columns):
        for side, texts in sides.items():
            language = languages.get(side, "")
            ours = find_language(language, meaning.lines) if language else None
            lines = [meaning.lines[ours]] if ours else [] if language else meaning.lines.values()
            for one in find_paraphrases(texts, language, list(lines), meaning.encoder):
                before = best.get(one.line)
                times = 1 if before is None else before["times"] + 1
                if before is None or one.cosine > before["cosine"]:
                    before = {
                        "line": one.line,
                        "cosine": one.cosine,
                        "side": side,
                        "row": row + one.text + 1,
                        "text": texts[one.text],
                    }
                best[one.line] = {**before, "times": times}
        row += len(next(iter(sides.values())))
    path = _paraphrases_file(output, task.name)
    make_directory(path.parent)
    write_parquet(path, pa.Table.from_pylist([best[line] for line in sorted(best)], _PARAPHRASES))
    return Outcome(counts={"rows": row, "lines_found": len(best)}, outputs=(path,))


def _add_paraphrases(
    lines: Sequence[Line], found: Sequence[Found], files: dict[str, Path]
) -> list[Found]:
    """Add the lines of which nothing was found but a paraphrase, in the order of the lines."""
    places = {line: place for place, line in enumerate(lines)}
    merged = {places[one.line]: one for one in found}
    near: dict[int, Found] = {}
    for name, path in files.items():
        for row in read_table(path, _PARAPHRASES).to_pylist():
            place, before = row["line"], near.get(row["line"])
            times = row["times"] + (before.times if before is not None else 0)
            if before is not None and (before.cosine or 0) >= row["cosine"]:
                near[place] = before._replace(times=times)
                continue
            near[place] = Found(
                line=lines[place],
                is_whole=False,
                share=None,
                times=times,
                in_pair=False,
                file=name,
                row=row["row"],
                side=row["side"],
                training_text=row["text"],
                cosine=row["cosine"],
            )
    return [one for _, one in sorted({**near, **merged}.items(), key=lambda item: item[0])]


class _Best:
    """What was found of a sentence in one file."""

    __slots__ = ("covered", "in_pair", "is_same", "row", "side", "text", "times")

    def __init__(self) -> None:
        self.covered = -1
        self.is_same = self.in_pair = False
        self.times = self.row = 0
        self.side = self.text = ""


def search_file(
    task: Task,
    *,
    wanted: _Wanted,
    output: Path,
    config: ContaminationConfig,
) -> Outcome:
    """Look for all lines in one file of training text."""
    index = _index(wanted)
    best: dict[int, _Best] = defaultdict(_Best)
    file = task.inputs[0]
    row = 0
    for sides in _batches(file, config.columns):
        found: list[dict[int, list[int]]] = []
        for side, texts in sides.items():
            keys = [sentence_key(text) for text in texts]
            matches = index.sentences.matches(keys)
            lengths = index.sentences.lengths
            in_rows: dict[int, list[int]] = defaultdict(list)
            for place, sentence, covered, is_same in zip(
                *(column.tolist() for column in matches), strict=True
            ):
                if not is_same and covered < config.min_share * int(lengths[sentence]):
                    continue
                in_rows[place].append(sentence)
                one = best[sentence]
                one.times += 1
                if (is_same, covered) > (one.is_same, one.covered):
                    one.is_same, one.covered = is_same, covered
                    one.side, one.row, one.text = side, row + place + 1, texts[place]
            found.append(in_rows)
        if len(found) == 2:
            for place in found[0].keys() & found[1].keys():
                _mark_pairs(found[0][place], found[1][place], index, best)
        row += len(next(iter(sides.values())))
    _write_matches(_matches_file(output, task.name), best)
    counts = {"rows": row, "lines_found": len(best)}
    return Outcome(counts=counts, outputs=(_matches_file(output, task.name),))


def _mark_pairs(
    sources: Sequence[int], targets: Sequence[int], index: _Index, best: dict[int, _Best]
) -> None:
    """Mark sentences of one row that are the same line of a test set in two languages."""
    for source in sources:
        for target in targets:
            if source != target and index.lines[source] & index.lines[target]:
                best[source].in_pair = best[target].in_pair = True


def _batches(file: Path, columns: Mapping[str, str]) -> Iterator[dict[str, list[str]]]:
    if not _is_text(file):
        for part in BitextReader(file, _BATCH, columns=columns):
            yield {side: part.column(side).to_pylist() for side in ("source", "target")}
        return
    batch: list[str] = []
    for line in open_lines(file):
        batch.append(line)
        if len(batch) >= _BATCH:
            yield {"text": batch}
            batch = []
    if batch:
        yield {"text": batch}


def _matches_file(output: Path, name: str) -> Path:
    return output / "matches" / f"{name}.parquet"


def _write_matches(path: Path, best: dict[int, _Best]) -> None:
    make_directory(path.parent)
    rows = [
        {"sentence": sentence, **{name: getattr(one, name) for name in _Best.__slots__}}
        for sentence, one in sorted(best.items())
    ]
    write_parquet(path, pa.Table.from_pylist(rows, _MATCHES))


def _gather(lines: Sequence[Line], files: dict[str, Path]) -> list[Found]:
    """Return what was found of each line, over all files, in the order of the lines."""
    sentences = EvaluationSentences(line.text for line in lines)
    merged: dict[int, tuple[dict[str, Any], str]] = {}
    for name, path in files.items():
        for row in read_table(path, _MATCHES).to_pylist():
            before = merged.get(row["sentence"])
            if before is None:
                merged[row["sentence"]] = (row, name)
                continue
            better = (row["is_same"], row["covered"]) > (before[0]["is_same"], before[0]["covered"])
            kept, where = (row, name) if better else before
            times = row["times"] + before[0]["times"]
            in_pair = row["in_pair"] or before[0]["in_pair"]
            merged[row["sentence"]] = ({**kept, "times": times, "in_pair": in_pair}, where)
    found = []
    for line, number in zip(lines, _numbers(sentences, lines), strict=True):
        if number not in merged:
            continue
        row, name = merged[number]
        length = int(sentences.lengths[number])
        found.append(
            Found(
                line=line,
                is_whole=row["is_same"],
                share=1.0 if row["is_same"] else row["covered"] / max(1, length),
                times=row["times"],
                in_pair=row["in_pair"],
                file=name,
                row=row["row"],
                side=row["side"],
                training_text=row["text"],
            )
        )
    return found


def _summarize(lines: Sequence[Line], found: Sequence[Found], limit: float) -> list[Part]:
    texts: dict[tuple[str, str], set[int]] = defaultdict(set)
    for line in lines:
        texts[line.test_set, line.language].add(line.number)
    by_text: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for one in found:
        by_text[one.line.test_set, one.line.language].append(one)
    parts = []
    for key, numbers in texts.items():
        own = by_text[key]
        kinds = {
            kind: {one.line.number for one in own if one.kind == kind}
            for kind in ("whole", "part", "paraphrase")
        }
        every = {one.line.number for one in own}
        share = len(every) / len(numbers)
        parts.append(
            Part(
                *key,
                lines=len(numbers),
                whole=len(kinds["whole"]),
                part=len(kinds["part"] - kinds["whole"]),
                paraphrase=len(kinds["paraphrase"] - kinds["whole"] - kinds["part"]),
                share=share,
                in_pairs=len({one.line.number for one in own if one.in_pair}),
                above_limit=share > limit,
            )
        )
    return sorted(parts, key=lambda one: (-one.share, one.test_set, one.language))


def _write(output: Path, result: Contamination, config: ContaminationConfig) -> None:
    write_table(output / "contamination.tsv", SUMMARY_COLUMNS, result.parts)
    write_table(
        output / "lines.tsv",
        LINE_COLUMNS,
        (
            (
                one.line.test_set, one.line.language, one.line.number,
                one.kind, None if one.share is None else round(one.share, 4),
                None if one.cosine is None else round(one.cosine, 4), one.times, one.in_pair,
                one.file, one.row, one.side, one.line.text, one.training_text,
            )
            for one in result.found
        ),
    )  # fmt: skip
    write_json(output / "contamination.json", result.as_json())
    write_text(output / PAGE, _render(result, config))
    write_text(output / "config.yaml", dump_config(config))


def _by_weight(one: Found) -> tuple[bool, bool, float, float]:
    """Order what was found: pairs, whole lines, parts by share, paraphrases by cosine."""
    return (not one.in_pair, not one.is_whole, -(one.share or 0.0), -(one.cosine or 0.0))


def _render(result: Contamination, config: ContaminationConfig) -> str:
    above = sum(one.above_limit for one in result.parts)
    has_near = any(one.paraphrase for one in result.parts)
    rows = [
        [
            one.test_set, one.language, 100 * one.share, _ABOVE * one.above_limit, one.lines,
            one.whole, one.part, *([one.paraphrase] if has_near else []), one.in_pairs,
        ]
        for one in result.parts
    ]  # fmt: skip
    words = (
        "Whole lines are there without regard to case, punctuation and digits; of parts at least"
        f" {config.min_share:.0%} of the characters are in one training text. A line counts as in a"
        " pair if its translation is on the other side of the same training pair."
    )
    header = ["test set", "language", "% of lines", "", "lines", "whole", "part"]
    header += [*(["paraphrase"] if has_near else []), "in pairs"]
    if has_near:
        words += (
            " A paraphrase is closer to a line by its meaning than nearly all lines of the test set"
            " are to any other."
        )
    worst = sorted(result.found, key=_by_weight)
    shown = [
        [
            f"{one.line.test_set}, {one.line.language}, line {one.line.number:,}",
            one.line.text[:_LONGEST],
            one.training_text[:_LONGEST],
            f"{one.file}, row {one.row:,}, {one.side}",
            "paraphrase" if one.share is None else f"{one.share:.0%}",
            one.times,
        ]
        for one in worst[:_SHOWN]
    ]
    columns = ["line of a test set", "its text", "training text", "where", "found", "times"]
    more = f" The first {_SHOWN} of {len(worst):,}; lines.tsv has all." * (len(worst) > _SHOWN)
    body = [
        section("Test sets", words, f'<div class="scroll">{table(header, rows, True, 1)}</div>'),
        section(
            "Lines",
            "Pairs first, then whole lines, then the largest parts"
            f"{', then paraphrases' if has_near else ''}.{more}",
            f'<div class="scroll">{table(columns, shown, False, 0)}</div>',
        )
        if shown
        else section("Lines", "No line of the test sets was found.", ""),
    ]
    verdict = (
        f"{above} of {len(rows)} texts have more than {config.limit:.2%} of their lines in the"
        " training text"
    )
    return page("Test sets in training text", verdict, body)
