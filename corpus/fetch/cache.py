"""Where downloaded data sets and models lie."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Return where downloads lie: `$TONGUES_CACHE`, else `~/.cache/tongues`."""
    given = os.environ.get("TONGUES_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "tongues"
