"""The child process of training: `python -m lid.fasttext_model.trainer SETTINGS.json`.

It prints as it likes, may crash, and needs an environment of its own (see
`lid.fasttext_model.subprocess_trainer`); the parent reads the progress from this process's
standard error.
"""

import json
import sys
from pathlib import Path

from lid.fasttext_model.bindings import fit, quantize


def main() -> None:
    """Train or quantize, as the settings file says."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if settings["action"] == "quantize":
        quantize(Path(settings["model_file"]), Path(settings["quantized_file"]))
    else:
        fit(Path(settings["training_file"]), Path(settings["model_file"]), settings)


if __name__ == "__main__":
    main()
