"""A process that runs `tongues mining sentences` with a stand-in for the identifier.

    python sentences_process.py OUTPUT LID [KEY=VALUE ...] -- SHARD ...

`limit_mb=N` allows the process N megabytes of data more than it has with everything loaded.
"""

import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus.config import load_config
from corpus.errors import JobError
from corpus.protocols import Prediction
from corpus.text import scripts_of
from mining.sentences.config import SentencesConfig
from mining.sentences.sentences import run_sentences

LANGUAGES = {"Latn": "eng_Latn", "Cyrl": "rus_Cyrl", "Deva": "hin_Deva", "Hani": "zho_Hans"}


class ByScript:
    """Identifies a language by its script: enough to know one of four languages apart."""

    languages = tuple(LANGUAGES.values())

    def identify(self, lines: Sequence[str]) -> list[Prediction]:
        found = [scripts_of(line).most_common(1) for line in lines]
        return [
            Prediction(LANGUAGES.get(counts[0][0], "und") if counts else "zxx", 0.9)
            for counts in found
        ]


def load_by_script(path: Path) -> ByScript:
    return ByScript()


def limit_data(megabytes: int) -> None:
    """Allow the process so much more private memory than it has now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(int(line.split()[1]) for line in status.split("\n") if "VmData" in line)
    limit = kilobytes * 1024 + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    output, lid, *overrides = arguments[:split]
    shards = [Path(path) for path in arguments[split + 1 :]]
    for override in [one for one in overrides if one.startswith("limit_mb=")]:
        overrides.remove(override)
        warm_up = Path(output).with_name("warm-up")
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        run_sentences(shards[:1], Path(lid), warm_up, SentencesConfig(workers=1), load_by_script)
        limit_data(int(override.removeprefix("limit_mb=")))
        shards = shards[1:]
    config = load_config(SentencesConfig, overrides=overrides)
    try:
        run_sentences(shards, Path(lid), Path(output), config, load_by_script)
    except JobError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
