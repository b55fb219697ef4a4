"""The compiled trainer of n-gram vectors and a softmax, called through ctypes.

See `lid/engine/trainer.cpp`; the number of threads does not change what it learns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lid.engine.kernel import in_large_pages, join_lines, kernel_library, pointer


class _Trainer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("rows", "output")),
        *(
            (name, ctypes.c_int64)
            for name in ("buckets", "dim", "classes", "min_ngram", "max_ngram", "threads")
        ),
    ]


class NgramTrainer:
    """Weights that learn from lines: fastText's supervised model without word vectors.

    The rows of n-grams begin at random in [-1 / dim, 1 / dim], the class vectors at zero.
    """

    def __init__(
        self,
        *,
        buckets: int,
        dim: int,
        classes: int,
        min_ngram: int,
        max_ngram: int,
        threads: int,
        seed: int,
    ) -> None:
        """Make untrained weights; they take `4 · dim · (buckets + classes)` bytes."""
        library = kernel_library()
        if library is None:
            raise RuntimeError("the compiled trainer is not available")
        self._library = library
        self.rows: NDArray[np.float32] = in_large_pages(np.zeros((buckets, dim), np.float32))
        np.random.default_rng(seed).random(out=self.rows, dtype=np.float32)
        self.rows *= np.float32(2 / dim)
        self.rows -= np.float32(1 / dim)
        self.output = np.zeros((classes, dim), np.float32)
        self._structure = _Trainer(
            self.rows.ctypes.data,
            self.output.ctypes.data,
            buckets,
            dim,
            classes,
            min_ngram,
            max_ngram,
            threads,
        )

    def learn(
        self, lines: Sequence[str], labels: NDArray[np.int32], first_rate: float, last_rate: float
    ) -> None:
        """Learn from prepared lines in order, at a rate that falls linearly.

        Args:
            lines: Prepared lines, N.
            labels: Their classes, [N].
            first_rate: Learning rate of the first line.
            last_rate: That after the last.
        """
        text, offsets = join_lines(lines)
        labels = np.ascontiguousarray(labels, np.int32)
        assert len(labels) == len(lines)
        assert not len(labels) or (labels.min() >= 0 and labels.max() < len(self.output))
        self._library.tongues_learn(
            ctypes.byref(self._structure),
            text,
            pointer(offsets),
            pointer(labels),
            ctypes.c_int64(len(lines)),
            ctypes.c_float(first_rate),
            ctypes.c_float(last_rate),
        )
