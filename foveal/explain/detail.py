"""Occlusion in detail: a window as large as one cell of the grid is slid over what the network sees in steps of an
eighth of it; what is shown at a place is what the windows over it take from the score, on average (Zeiler and Fergus
2014, arXiv 1311.2901).

Most windows are not computed: those half a cell apart are, and those in the middle of every four of them; a thin
plate bent through these says the others (Duchon 1977).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import RBFInterpolator

from foveal.explain.erasing import Erasing

# Steps that a window is slid by, to a cell; computed are windows so many steps apart along both axes.
_STEPS, _APART = 8, 4


def in_detail(erasing: Erasing, *, all_of_them: bool = False) -> np.ndarray:
    """(8 h, 8 w) float64: at each eighth of the cells (h, w) of a grid of two axes, by how much the score falls when
    a window as large as a cell is erased over it; all_of_them: whether every window is computed, which takes
    eight times as long."""
    fine = erasing.finer(_STEPS)
    shape = tuple(side - _STEPS + 1 for side in fine.grid)
    if all_of_them:
        rows, columns = (own.ravel() for own in np.indices(shape))
        return _spread(_effects(fine, rows, columns).reshape(shape))
    return _spread(_estimated(fine, shape))


def _estimated(fine: Erasing, shape: Sequence[int]) -> np.ndarray:
    """(rows, columns): the effect of each window, by those of some."""
    places = np.concatenate([_lattice(shape, first) for first in (0, _APART // 2)])
    plate = RBFInterpolator(places, _effects(fine, *places.T), kernel="thin_plate_spline", degree=1)
    return plate(_lattice(shape, 0, 1)).reshape(shape)


def _lattice(shape: Sequence[int], first: int, apart: int = _APART) -> np.ndarray:
    """(n, 2): rows and columns of windows so far apart, the first of them so far from both edges."""
    axes = [np.arange(first, side, apart) for side in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def _effects(fine: Erasing, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n,): by how much the score falls without the window that begins at each of these places."""
    height, width = fine.grid
    down, across = np.arange(height), np.arange(width)
    inside = (
        (rows[:, None] <= down) & (down < rows[:, None] + _STEPS),
        (columns[:, None] <= across) & (across < columns[:, None] + _STEPS),
    )
    return fine.score - fine.left((inside[0][:, :, None] & inside[1][:, None]).reshape(len(rows), -1))[0]


def _spread(effects: np.ndarray) -> np.ndarray:
    """The effects of windows -> the mean of those over each place."""
    padded = np.pad(effects, _STEPS - 1)
    counted = np.pad(np.ones_like(effects), _STEPS - 1)
    sums, counts = (_box_sums(one) for one in (padded, counted))
    return sums / counts


def _box_sums(plane: np.ndarray) -> np.ndarray:
    """(h, w) -> (h - 7, w - 7): sums of 8 x 8."""
    total = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = _STEPS
    return total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]
