"""Occlusion in detail: a window as large as one cell of the grid is slid over what the network sees in steps of an
eighth of it; what is shown at a place is what the windows over it take from the score, on average (Zeiler and Fergus
2014, arXiv 1311.2901).

Most windows are not computed: those half a cell apart are, then those between them where the first ones tell least of
their neighbours; a cubic spline says the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import uniform_filter

from foveal.explain.erasing import Erasing

# Steps that a window is slid by, to a cell; computed first are those of so many steps, then some of half as many.
_STEPS, _FIRST = 8, 4
# So many of these for each of the first ones.
_MORE = 0.4


def in_detail(erasing: Erasing, *, all_of_them: bool = False) -> np.ndarray:
    """(8 h, 8 w) float64: at each eighth of the cells (h, w) of a grid of two axes, by how much the score falls when
    a window as large as a cell is erased over it; all_of_them: whether every window is computed, which takes ten
    times as long."""
    fine = erasing.finer(_STEPS)
    shape = tuple(side - _STEPS + 1 for side in fine.grid)
    if all_of_them:
        rows, columns = (own.ravel() for own in np.indices(shape))
        return _spread(_effects(fine, rows, columns).reshape(shape))
    return _spread(_estimated(fine, shape))


def _estimated(fine: Erasing, shape: Sequence[int]) -> np.ndarray:
    """(rows, columns): the effect of each window, by those of some."""
    axes = [np.arange(0, side, _FIRST) for side in shape]
    rows, columns = (own.ravel() for own in np.meshgrid(*axes, indexing="ij"))
    first = _effects(fine, rows, columns).reshape([len(axis) for axis in axes])
    between = [np.arange(0, side, _FIRST // 2) for side in shape]
    known = _spline(axes, first, between)
    doubt = _doubt(axes, first, between)
    doubt[::2, ::2] = -1  # those are computed already
    most = np.argsort(-doubt, axis=None)[: round(_MORE * first.size)]
    places = np.unravel_index(most, doubt.shape)
    known[places] = _effects(fine, between[0][places[0]], between[1][places[1]])
    return _spline(between, known, [np.arange(side) for side in shape])


def _effects(fine: Erasing, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n,): by how much the score falls without the window that begins at each of these places."""
    height, width = fine.grid
    down, across = np.arange(height), np.arange(width)
    inside = (
        (rows[:, None] <= down) & (down < rows[:, None] + _STEPS),
        (columns[:, None] <= across) & (across < columns[:, None] + _STEPS),
    )
    return fine.score - fine.left((inside[0][:, :, None] & inside[1][:, None]).reshape(len(rows), -1))[0]


def _doubt(axes: Sequence[np.ndarray], first: np.ndarray, between: Sequence[np.ndarray]) -> np.ndarray:
    """At places between the first ones, how far off every second of these would say the others nearby."""
    coarser = [axis[::2] for axis in axes]
    missed = np.abs(_spline(coarser, first[::2, ::2], axes) - first)
    spread = uniform_filter(missed, 3, mode="nearest")
    rows, columns = (
        np.minimum(np.round(places / _FIRST).astype(int), len(axis) - 1)
        for places, axis in zip(between, axes, strict=True)
    )
    return spread[np.ix_(rows, columns)]


def _spline(axes: Sequence[np.ndarray], values: np.ndarray, at: Sequence[np.ndarray]) -> np.ndarray:
    """Values at a grid of places -> at another one."""
    orders = [min(3, len(axis) - 1) for axis in axes]
    found = RectBivariateSpline(axes[0], axes[1], values, kx=orders[0], ky=orders[1], s=0)
    return np.asarray(found(at[0], at[1]))


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
