"""Maps of any resolution on the grid of cells that are erased: what each of those cells has of a map.

Knows arrays and explanations. A cell of a map that lies across several cells of the grid is shared out by area, so
that totals are preserved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.types import Explanation


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


def evidence(explanation: Explanation, side: int, share: float) -> np.ndarray:
    """(side, side): 1 in the fewest cells that hold such a share of what speaks for the prediction, 0 elsewhere."""
    found = on_grid(explanation, (side, side)).clip(min=0)
    order = np.argsort(-found, kind="stable")
    sums = np.cumsum(found[order])
    kept = np.zeros(side * side)
    kept[order[: 1 + np.searchsorted(sums, share * sums[-1])]] = 1.0
    return kept.reshape(side, side)
