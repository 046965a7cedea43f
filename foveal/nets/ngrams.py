"""Ngrams: no network at all. What is counted, words and their parts, goes to the head as it is; beside it what words
are known as elsewhere, where such vectors are installed.

That is one convolution with a filter for each word, pair of words and part of a word, whose map is 1 where it occurs;
the maps are never built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from foveal.contracts import Net
from foveal.nets import _vectors
from foveal.nets._vectors import ORIGIN, Vectors

_ROWS_AT_ONCE = 64


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
        self.channels, self.origin = (self.channels[0], vectors.table.shape[1]), ORIGIN
