"""Settings in a command's environment for the libraries and processes that it starts."""

import os


def share_processors() -> None:
    """Let waiting OpenMP threads sleep; call it before torch or FAISS is loaded.

    By default they spin for milliseconds at each of the thousands of barriers of an update. Where
    another program holds a processor, training becomes up to twenty times slower. An
    OMP_WAIT_POLICY or GOMP_SPINCOUNT set by the user takes precedence.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def keep_working_directory_out() -> None:
    """Have Python processes that are started from here look for modules elsewhere, as -P does.

    Otherwise a `lid.py` or `queue.py` in the working directory would be imported instead.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
