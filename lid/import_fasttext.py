"""`tongues lid import`: identifiers that others trained with fastText, under FLORES-200 codes."""

from __future__ import annotations

import hashlib
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
    THRESHOLDS_FILE,
    ModelDescription,
    Threshold,
    write_description,
    write_thresholds,
)
from lid.fasttext_model.model_file import read_fasttext_file
from lid.labels import map_labels
from lid.training.finish_model import record_checksums, remove_model_files

logger = logging.getLogger(__name__)

PUBLISHED = {
    "7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e": "lid.176.bin",
    "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83": "lid.176.ftz",
    "8ded5749a2ad79ae9ab7c9190c7c8b97ff20d54ad8b9527ffa50107238fc7f6a": "NLLB LID-218",
    "f01b47c6182909291a3394f77f682031aaeade346e443c4e496e94bd2a9fa703": "OpenLID v2",
    "01ec5bbf85975c52673c52b3d8585bc4cc0e4eb4636ad5591467bab56b118821": "OpenLID v3",
    "a818b6bd42a628ab47d3dfc1578c7ea615c45381f3494c42535e31e8c4cafc9e": "GlotLID v3",
}
"""SHA-256 of published model files, as other projects pin them; no publisher's own was found,
and the files were not at hand to check them against."""

DEFAULT_THRESHOLD = 0.5
"""Score an imported model's answers need, until `tongues lid calibrate` chooses better ones."""

_CHUNK_BYTES = 1 << 20


class Imported(NamedTuple):
    """What a model file turned out to be."""

    name: str
    languages: list[str]
    labels: int
    unknown: int


def import_model(model_file: Path, output: Path, sha256: str = "") -> Imported:
    """Write a model directory that answers with FLORES-200 codes from a fastText model file.

    Labels of languages that FLORES-200 lacks are answered as `und`. Lines reach the model as they
    are, apart from controls and spaces, since it was not trained on this package's preparation.

    Raises:
        UserError: If the file is missing, or `output` holds a model.
        DataError: If it has another checksum, is no whole fastText classifier, or its labels name
            no languages.
    """
    if not model_file.is_file():
        raise UserError(f"{model_file} is not a file. Give a fastText model, .bin or .ftz.")
    if (output / CHECKSUMS_FILE).exists():
        raise UserError(f"{output} holds a model already. Choose another output.")
    digest = _sha256(model_file)
    if sha256 and digest != sha256.strip().lower():
        raise DataError(f"{model_file} has the SHA-256 {digest}, not {sha256}. Download it again.")
    head = read_fasttext_file(model_file)
    answers = map_labels(head.labels)
    name = PUBLISHED.get(digest, model_file.name)
    if digest not in PUBLISHED:
        logger.info("%s is no published model known here (SHA-256 %s)", model_file, digest)
    languages = sorted({answer for answer in answers.values() if is_language(answer)})
    make_directory(output)
    remove_model_files(output)
    with atomic_path(output / MODEL_FILE) as temporary:
        shutil.copyfile(model_file, temporary)
    write_description(output, ModelDescription(False, answers, 1.0, f"{name}, SHA-256 {digest}"))
    thresholds = dict.fromkeys(languages, Threshold(DEFAULT_THRESHOLD))
    write_thresholds(output / THRESHOLDS_FILE, thresholds)
    labels = Counter(answers.values())
    write_lines(
        output / LANGUAGES_FILE,
        ["language\tlabels", *(f"{language}\t{labels[language]}" for language in languages)],
    )
    record_checksums(output)
    return Imported(name, languages, len(head.labels), labels[UNKNOWN_LANGUAGE])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
