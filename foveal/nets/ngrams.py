"""Ngrams: no network at all. What is counted, words and their parts, goes to the head as it is; beside it what words
are known as elsewhere, where such vectors are installed.

That is one convolution with a filter for each word, pair of words and part of a word, whose map is 1 where it occurs;
the maps are never built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from foveal.contracts import Net
from foveal.nets import _vectors

_ROWS_AT_ONCE = 64
# The first numbers of a word are of it as a whole, the others of its parts.
_WHOLES = 6


class Ngrams(Net):
    """x (N, numbers, W) -> itself, and (N, width, W) vectors of words; kinds: what the numbers go up to."""

    rows_at_once = _ROWS_AT_ONCE

    def __init__(self, numbers: int, kinds: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Identity(), Vectors(kinds)])
        self.channels, self.strides = (numbers, 0), (1, 1)
        self.counted = kinds

    def vocabulary(self) -> Sequence[str]:
        return _vectors.published()[0]

    def define(self, known: Tensor) -> None:
        vectors = cast("Vectors", self.stages[1])
        vectors.fill(known, torch.from_numpy(_vectors.published()[1]))
        self.channels = (self.channels[0], vectors.table.shape[1])


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
        if not self.table.shape[1]:
            return x[:, :0]
        rows = self.place[x[:, 0].long()].long()
        same = (self.check[rows] == _parts(x.transpose(1, 2))) & (rows > 0)
        return (self.table[rows].float() * same[..., None]).transpose(1, 2)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Takes as many rows as the state has; none where it is of a network without vectors."""
        found = {name: state_dict.get(f"{prefix}{name}", own) for name, own in self.named_buffers()}
        for name, own in found.items():
            setattr(self, name, torch.empty_like(own))
        whole = {f"{prefix}{name}": own for name, own in found.items()}
        super()._load_from_state_dict(whole, prefix, *args, **kwargs)  # type: ignore[arg-type]


def _parts(numbers: Tensor) -> Tensor:
    """(..., numbers) -> (...) int32: the sum of those of a word's parts, exact in float32."""
    return numbers[..., _WHOLES:].sum(-1).to(torch.int32)
