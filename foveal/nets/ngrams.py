"""Ngrams: no network at all. What is counted, words and their parts, goes to the head as it is.

That is one convolution with a filter for each word, pair of words and part of a word, whose map is 1 where it occurs;
the maps are never built.
"""

from __future__ import annotations

from torch import nn

from foveal.contracts import Net

_ROWS_AT_ONCE = 64


class Ngrams(Net):
    """x (N, numbers, W) -> itself; kinds: what the numbers go up to."""

    rows_at_once = _ROWS_AT_ONCE

    def __init__(self, numbers: int, kinds: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Identity()])
        self.channels, self.strides = (numbers,), (1,)
        self.counted = kinds
