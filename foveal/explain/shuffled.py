"""Whether it matters to a network where things lie: what it sees cut into tiles, and these put into another order.

Knows tensors. A network that only counts what is there says the same of a shuffled picture (Brendel and Bethge 2019,
arXiv 1904.00760).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TILES = (2, 4)
"""Along each axis."""


def shuffled(x: Tensor, tiles: int, length: int, seed: int) -> Tensor:
    """x (1, C, S, S) or (1, C, S) with its tiles, so many along each axis, in an order that leaves none of them where
    it was; of a sequence the first `length` values; what is left over at the ends stays."""
    count = tiles ** (x.ndim - 2)
    order = _derangement(count, seed)
    found, side = x.clone(), (length if x.ndim == 3 else x.shape[-1]) // tiles
    if not side:
        return found
    for place, source in enumerate(order.tolist()):
        found[_tile(place, tiles, side, x.ndim)] = x[_tile(source, tiles, side, x.ndim)]
    return found


def _tile(number: int, tiles: int, side: int, ndim: int) -> tuple[slice, ...]:
    places = divmod(number, tiles) if ndim == 4 else (number,)
    return (slice(None), slice(None), *(slice(at * side, (at + 1) * side) for at in places))


def _derangement(count: int, seed: int) -> Tensor:
    dice = np.random.default_rng(seed)
    while True:
        order = dice.permutation(count)
        if not (order == np.arange(count)).any():
            return torch.from_numpy(order)
