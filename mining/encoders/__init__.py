"""Sentence encoders behind one protocol; torch stays in this package.

An encoder is a directory that describes itself: `encoder.json` names the architecture, and a row of
`mining.encoders.architectures` says how it is loaded. A directory that sentence-transformers or
transformers saved is an encoder as it is. The word `builtin` names the one whose weights come with
a package (`mining.encoders.universal`).
"""

from collections.abc import Iterable
from pathlib import Path

from corpus.errors import DataError, UserError
from corpus.files import read_object
from corpus.languages import find_language
from mining.encoders.protocol import DEFAULT_BATCH_TOKENS as DEFAULT_BATCH_TOKENS
from mining.encoders.protocol import DESCRIPTION_FILE as DESCRIPTION_FILE
from mining.encoders.protocol import Encoder as Encoder

BUILTIN = Path("builtin")
"""What `--encoder` calls the builtin encoder; a directory of this name is given as a full path."""

BUILTIN_LANGUAGES = (
    "arb_Arab", "deu_Latn", "eng_Latn", "fra_Latn", "ita_Latn", "jpn_Jpan", "kor_Hang", "nld_Latn",
    "pol_Latn", "por_Latn", "rus_Cyrl", "spa_Latn", "tha_Thai", "tur_Latn", "zho_Hans", "zho_Hant",
)  # fmt: skip
"""Languages it was trained on (its model card)."""

_HUB_FILES = ("modules.json", "config.json")


def encoder_files(path: Path) -> tuple[Path, ...]:
    """Return the files that make up an encoder, sorted.

    Raises:
        UserError: If the directory is not an encoder's, or the builtin encoder is not installed.
        DataError: If a file of it is missing.
    """
    if path == BUILTIN:
        from mining.encoders.universal import builtin_files

        return builtin_files()
    description = path / DESCRIPTION_FILE
    if not description.is_file():
        if is_hub_model(path):
            return tuple(sorted(file for file in path.rglob("*") if file.is_file()))
        raise UserError(
            f"{path} is not an encoder directory: it has no {DESCRIPTION_FILE}, nor did"
            " sentence-transformers or transformers save it. `tongues mining train-encoder` makes"
            f" one, and `--encoder {BUILTIN}` needs none."
        )
    names = read_object(description, files=dict)["files"]
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise DataError(f"encoder {path} lacks {', '.join(missing)}; train it again")
    return (description, *(path / name for name in sorted(names)))


def is_hub_model(path: Path) -> bool:
    """Say whether a directory was saved by sentence-transformers or transformers."""
    return any((path / name).is_file() for name in _HUB_FILES)


def load_encoder(
    path: Path,
    *,
    threads: int = 1,
    device: str = "cpu",
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Encoder:
    """Load an encoder from its directory.

    Args:
        path: What `tongues mining train-encoder`, `distill` or `import-laser` wrote, a model
            that sentence-transformers or transformers saved, or `BUILTIN`.
        threads: CPU threads of its arithmetic.
        device: `cpu`, `cuda`, or `auto`: the GPU where there is one. `bag` and `builtin` stay on
            the CPU.
        batch_tokens: Of a batch, padding included; the longest sentence may exceed it alone.

    Raises:
        UserError: If the directory is not an encoder's.
        DataError: If it is damaged, or of an architecture this version does not know.
    """
    encoder_files(path)
    if path == BUILTIN:
        from mining.encoders.universal import load_builtin

        return load_builtin(threads=threads)
    if not (path / DESCRIPTION_FILE).is_file():
        from mining.encoders.hub import load_hub_model

        return load_hub_model(path, threads=threads, device=device, batch_tokens=batch_tokens)
    from mining.encoders.architectures import ARCHITECTURES

    name = read_object(path / DESCRIPTION_FILE).get("architecture")
    if name not in ARCHITECTURES:
        raise DataError(
            f"{path / DESCRIPTION_FILE}: architecture `{name}` is not one of:"
            f" {', '.join(ARCHITECTURES)}"
        )
    load = ARCHITECTURES[name].load
    return load(path, threads=threads, device=device, batch_tokens=batch_tokens)


def encoder_space(path: Path) -> str:
    """Return the identifier of an encoder's space, which a teacher shares with its students.

    Raises:
        UserError: If the directory is not an encoder's.
    """
    files = encoder_files(path)
    if path == BUILTIN:
        from mining.encoders.universal import SPACE

        return SPACE
    if files[0].name == DESCRIPTION_FILE:
        description = read_object(files[0])
        return str(description.get("space") or description.get("fingerprint") or description)
    from mining.encoders.directory import fingerprint_files

    return fingerprint_files(path, files)


def check_builtin_languages(path: Path, languages: Iterable[str]) -> None:
    """Refuse to embed languages with the builtin encoder that it was not trained on.

    Raises:
        UserError: Naming the languages and what to do.
    """
    others = sorted({one for one in languages if find_language(one, BUILTIN_LANGUAGES) is None})
    if path == BUILTIN and others:
        named = ", ".join(f"`{language}`" for language in others)
        raise UserError(
            f"the builtin encoder was not trained on {named}; it knows"
            f" {', '.join(BUILTIN_LANGUAGES)}. For other languages make a student of it"
            f" (`tongues mining distill --teacher {BUILTIN}`), import an encoder (`tongues mining"
            " import-laser`), or name the directory of a model that sentence-transformers saved."
            " `all_languages=true` embeds them all the same; vectors of languages far from the"
            " ones it knows find hardly any translations"
        )
