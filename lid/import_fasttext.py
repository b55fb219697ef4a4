"""`tongues lid import`: published fastText identifiers as model directories."""

from __future__ import annotations

import hashlib
import itertools
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from corpus.errors import DataError, UserError
from corpus.files import atomic_path, make_directory, write_lines
from corpus.languages import UNKNOWN_LANGUAGE, is_language
from lid.directory import (
    CHECKSUMS_FILE,
    LANGUAGES_FILE,
    MODEL_FILE,
    NLLB,
    OPENLID,
    PLAIN,
    PREPARATIONS,
    THRESHOLDS_FILE,
    ModelDescription,
    Threshold,
    write_description,
    write_thresholds,
)
from lid.engine.chinese import CHINESE
from lid.engine.preparation import is_nllb_word, is_openlid_word
from lid.fasttext_model.model_file import (
    FastTextFile,
    check_weights,
    read_fasttext_file,
    read_words,
)
from lid.labels import map_labels
from lid.training.finish_model import record_checksums, remove_model_files

logger = logging.getLogger(__name__)

PUBLISHED = {
    "7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e": ("lid.176.bin", PLAIN),
    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83": ("lid.176.ftz", PLAIN),
    "8ded5749a2ad79ae9ab7c9190c7c8b97ff20d54ad8b9527ffa50107238fc7f6a": ("NLLB LID-218", NLLB),
    "f01b47c6182909291a3394f77f682031aaeade346e443c4e496e94bd2a9fa703": ("OpenLID v2", OPENLID),
    "01ec5bbf85975c52673c52b3d8585bc4cc0e4eb4636ad5591467bab56b118821": ("OpenLID v3", OPENLID),
    "a818b6bd42a628ab47d3dfc1578c7ea615c45381f3494c42535e31e8c4cafc9e": ("GlotLID v3", PLAIN),
}
"""SHA-256 of published model files, as other projects pin them, with the name and the preparation
that each expects. No publisher's own checksum was found, and the files were not at hand to check
them against, but lid.176.ftz. Preparations: the model cards of OpenLID v2 and v3 (huggingface.co),
GlotLID's assets/train/dedup_split.py, which leaves lines as they are, and for NLLB see
`lid.engine.preparation.prepare_nllb`. Nothing is published about lid.176's."""

AUTO = "auto"
"""The preparation that the checksum or the model's dictionary says; see `choose_preparation`."""

DEFAULT_THRESHOLD = 0.5
"""Score an imported model's answers need, until `tongues lid calibrate` chooses better ones."""

_CHUNK_BYTES = 1 << 20
_MIN_WORDS = 50
"""Words that a dictionary needs, for their spelling to tell how the training text looked."""

_READ_WORDS = 100_000
"""The most frequent words, which are looked at."""


class Imported(NamedTuple):
    """Summary of an imported model."""

    name: str
    languages: list[str]
    labels: int
    unknown: int
    preparation: str


def import_model(
    model_file: Path, output: Path, sha256: str = "", preparation: str = AUTO
) -> Imported:
    """Write a model directory that answers with language codes from a fastText model file.

    Labels that name no language are answered as `und` (see `lid.labels`). Where one label stands
    for Chinese in both scripts, the characters of a line tell which it is.

    Args:
        model_file: A fastText classifier, .bin or .ftz.
        output: Model directory to write.
        sha256: Checksum that the file must have; empty for any.
        preparation: How lines are prepared for the model: `plain`, `openlid`, `nllb` or `auto`.

    Raises:
        UserError: If the file is missing, or `output` holds a model.
        DataError: If it has another checksum, is not a fastText classifier, is damaged, or its
            labels name no languages.
    """
    if not model_file.is_file():
        raise UserError(f"{model_file} is not a file. Give a fastText model, .bin or .ftz.")
    if (output / CHECKSUMS_FILE).exists():
        raise UserError(f"{output} already holds a model. Choose another output.")
    digest = _sha256(model_file)
    if sha256 and digest != sha256.strip().lower():
        raise DataError(f"{model_file} has the SHA-256 {digest}, not {sha256}. Download it again.")
    head = read_fasttext_file(model_file)
    check_weights(head)
    answers = map_labels(head.labels)
    name, published_preparation = PUBLISHED.get(digest, (model_file.name, AUTO))
    if preparation == AUTO:
        preparation = published_preparation
    if preparation == AUTO:
        preparation = choose_preparation(head)
        logger.info(
            "%s is not a published model known here (SHA-256 %s); its lines are prepared %s."
            " `--preparation` chooses otherwise",
            model_file,
            digest,
            PREPARATIONS[preparation],
        )
    languages = {answer for answer in answers.values() if is_language(answer)}
    has_one_chinese = len(languages & set(CHINESE)) == 1
    languages |= set(CHINESE) if has_one_chinese else set()
    make_directory(output)
    remove_model_files(output)
    with atomic_path(output / MODEL_FILE) as temporary:
        shutil.copyfile(model_file, temporary)
    write_description(
        output,
        ModelDescription(
            preparation=preparation,
            answers=answers,
            chinese_by_characters=has_one_chinese,
            source=f"{name}, SHA-256 {digest}",
        ),
    )
    thresholds = dict.fromkeys(sorted(languages), Threshold(DEFAULT_THRESHOLD))
    write_thresholds(output / THRESHOLDS_FILE, thresholds)
    labels = Counter(answers.values())
    write_lines(
        output / LANGUAGES_FILE,
        [
            "language\tlabels",
            *(f"{language}\t{labels[language]}" for language in sorted(languages)),
        ],
    )
    record_checksums(output)
    return Imported(
        name, sorted(languages), len(head.labels), labels[UNKNOWN_LANGUAGE], preparation
    )


def choose_preparation(head: FastTextFile) -> str:
    """Infer from the words of a model's dictionary how its training text was prepared.

    If there are at least 50, in a script with capitals as well: `openlid` where OpenLID's
    preparation changes none of them, `nllb` where NLLB's changes none. Else `plain`.
    """
    words = [word for word in itertools.islice(read_words(head), _READ_WORDS) if word != "</s>"]
    has_case = any(word != word.upper() for word in words)
    if len(words) < _MIN_WORDS or not has_case:
        return PLAIN
    if all(map(is_openlid_word, words)):
        return OPENLID
    return NLLB if all(map(is_nllb_word, words)) else PLAIN


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
