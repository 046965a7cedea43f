"""Kernels that have a name, for planes and for lines, each with what it answers to and where it comes from.

Knows numbers only. All are laid out for cross-correlation, as networks compute it (`flip=False`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Named:
    """values: (k,) or (h, w) float64, read-only. answers: what its map shows; source: where it comes from."""

    values: np.ndarray
    answers: str
    source: str


def _named(values: ArrayLike, answers: str, source: str) -> Named:
    array = np.array(values, np.float64)
    array.flags.writeable = False
    return Named(array, answers, source)


_BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
_SLOPE = _named(
    [-1, 0, 1],
    "slopes: positive where values rise from left to right, negative where they fall, 0 where they stay",
    "the central difference; on a line, Sobel's and Scharr's kernels are both this",
)

LINE: Mapping[str, Named] = MappingProxyType(
    {
        "sobel": _SLOPE,
        "scharr": _SLOPE,
        "gauss": _named(
            _BINOMIAL,
            "the mean around each value, near ones counting more: a smoothed line",
            "1 4 6 4 1, divided by 16: binomial, close to a Gaussian with a standard deviation of 1",
        ),
        "sharpen": _named(
            [-1, 3, -1],
            "each value plus its differences to both neighbours: peaks stand out more",
            "the value minus the second difference",
        ),
    }
)
"""For sounds and signals, (k,)."""

PLANE: Mapping[str, Named] = MappingProxyType(
    {
        "sobel": _named(
            [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
            "upright edges: positive where the picture turns brighter from left to right, negative where it turns "
            "darker, 0 where nothing changes",
            "Sobel and Feldman 1968: right minus left, smoothed 1 2 1 along the edge",
        ),
        "scharr": _named(
            [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]],
            "upright edges, as sobel does, with less error where they are tilted",
            "Scharr 2000, Optimale Operatoren in der Digitalen Bildverarbeitung: right minus left, smoothed 3 10 3",
        ),
        "gauss": _named(
            np.outer(_BINOMIAL, _BINOMIAL),
            "the mean around each pixel, near ones counting more: a blurred picture",
            "1 4 6 4 1 across and down, divided by 256: binomial, close to a Gaussian with a standard deviation of 1",
        ),
        "sharpen": _named(
            [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
            "each pixel plus its differences to its four neighbours: a crisper picture",
            "the pixel minus the discrete Laplacian",
        ),
    }
)
"""For pictures and tables of numbers, (h, w)."""
