"""fastText training in a process of its own: `python -m lid.trainer SETTINGS.json`.

fastText prints as it likes, may crash, and needs an environment of its own (see `lid.train`); the
parent reads the progress from this process's standard error.
"""

import json
import sys
from pathlib import Path

from lid.model import fit


def main() -> None:
    """Train as the settings file says."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    fit(Path(settings["training_file"]), Path(settings["model_file"]), settings)


if __name__ == "__main__":
    main()
