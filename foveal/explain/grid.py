"""Maps of any resolution on the grid of cells that are erased: what each of those cells has of a map.

Knows arrays and explanations. A cell of a map that lies across several cells of the grid is shared out by area, so
that totals are preserved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foveal.types import Explanation, Pieces

# Cells that lie along a thing that is looked at by itself, and how many pixels they have at least.
_ACROSS, _SMALLEST_CELL = 3, 8
# Along an axis, the cells on and around a thing that maps of several are compared on, and those they are cut from.
_AROUND, _FINE = 6, 112


def overlaps(cells: int, others: int) -> np.ndarray:
    """(others, cells): which share of each of so many cells lies in each of the others along the same line; columns
    sum to 1."""
    edges = np.arange(cells + 1) * (others / cells)
    left = np.maximum(edges[None, :-1], np.arange(others)[:, None])
    right = np.minimum(edges[None, 1:], np.arange(1, others + 1)[:, None])
    share = np.clip(right - left, 0, None)
    return share / share.sum(axis=0)


def summed(plane: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """(H, W), or (W,), to its sums (h, w) over so many cells, in each of which lie whole values."""
    whole = np.atleast_2d(plane)
    found = np.zeros(tuple(sides))
    rows, columns = (np.arange(count) * side // count for count, side in zip(whole.shape, sides, strict=True))
    np.add.at(found, np.ix_(rows, columns), whole)
    return found


def on_grid(explanation: Explanation, grid: Sequence[int]) -> np.ndarray:
    """(cells,) float64: all levels summed on a grid of one axis or two, row by row."""
    height, width = (1, *grid)[-2:]
    total = np.zeros((height, width))
    for level in explanation.cells:
        total += shared_out(level, (height, width))
    return total.ravel()


def shared_out(level: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """A map (H, W) on a grid (h, w) float64, by area."""
    rows, columns = (overlaps(cells, others) for cells, others in zip(level.shape, sides, strict=True))
    return rows @ level.astype(np.float64) @ columns.T


def grid_around(
    window: Sequence[float], pieces: Pieces, coarsest: Sequence[int]
) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid of the model's plane by which a window (left, top, right, bottom) in raw coordinates is some cells wide
    and high, one of them in its middle, no coarser than another grid; and the numbers of the cells in and beside the
    window."""
    left, top, right, bottom = pieces.shares_of(window)
    width, height = (int(side) for side in pieces.clip[0, 2:].tolist())
    sides, near = [], []
    for low, high, pixels, least in ((top, bottom, height, coarsest[0]), (left, right, width, coarsest[1])):
        count = _cells_along(low, high, least, max(least, pixels // _SMALLEST_CELL))
        middles = (np.arange(count) + 0.5) / count
        near.append((low - 1 / count <= middles) & (middles <= high + 1 / count))
        sides.append(count)
    return tuple(sides), np.flatnonzero(np.logical_and.outer(*near).ravel())


def around(explanation: Explanation, window: Sequence[float]) -> np.ndarray:
    """(cells,) float64: all levels summed on a grid that lies over a window (left, top, right, bottom), in shares of
    the model's plane, and half as much beside it, wherever that is: the middle cells are the window's."""
    left, top, right, bottom = window
    spans = [
        slice(int(max(0.0, low - (high - low) / 2) * _FINE), math.ceil(min(1.0, high + (high - low) / 2) * _FINE))
        for low, high in ((top, bottom), (left, right))
    ]
    fine = on_grid(explanation, (_FINE, _FINE)).reshape(_FINE, _FINE)
    return summed(fine[spans[0], spans[1]], (_AROUND, _AROUND)).ravel()


def _cells_along(low: float, high: float, least: int, most: int) -> int:
    """Into how many cells a line is cut, so that about `_ACROSS` lie from low to high (shares of it) and one in the
    middle of these."""
    wanted, middle = _ACROSS / max(high - low, 1e-6), (low + high) / 2
    counts = np.arange(max(least, int(wanted * 0.8)), max(least, int(wanted * 1.25)) + 1).clip(max=most)
    return int(counts[np.abs(middle * counts % 1 - 0.5).argmin()])


def evidence(explanation: Explanation, side: int, share: float) -> np.ndarray:
    """(side, side): 1 in the fewest cells that hold such a share of what speaks for the prediction, 0 elsewhere."""
    found = on_grid(explanation, (side, side)).clip(min=0)
    order = np.argsort(-found, kind="stable")
    sums = np.cumsum(found[order])
    kept = np.zeros(side * side)
    kept[order[: 1 + np.searchsorted(sums, share * sums[-1])]] = 1.0
    return kept.reshape(side, side)
