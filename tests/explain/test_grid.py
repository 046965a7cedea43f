"""Maps on grids of cells: what lies on and around a window of the plane."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.explain.grid import around
from foveal.types import Explanation, Prediction, Size


def of(level: np.ndarray) -> Explanation:
    return Explanation("any", Prediction(), (level.astype(np.float32),), 0.0, 0.0, True, np.eye(2, 3), Size(1, 1))


@pytest.mark.parametrize("window", [(0.5, 0.25, 0.75, 0.5), (0.3, 0.4, 0.6, 0.5), (0.25, 0.5, 0.375, 0.875)])
def test_what_lies_in_the_window_is_in_the_middle(window: tuple[float, ...]) -> None:
    """Of six cells along an axis the middle ones are the window's, wherever that is and whatever its sides are."""
    left, top, right, bottom = (round(112 * side) for side in window)
    inside, beside = np.zeros((112, 112)), np.ones((112, 112))
    inside[top:bottom, left:right], beside[top:bottom, left:right] = 1, 0
    within, without = (around(of(own), window).reshape(6, 6) for own in (inside, beside))
    assert within[2:4, 2:4].min() > 0
    assert within[[0, 5]].max() == within[:, [0, 5]].max() == 0
    assert without[2:4, 2:4].max() == 0
    assert within.sum() == pytest.approx((bottom - top) * (right - left))


def test_at_the_border_there_is_less_around_it() -> None:
    found = around(of(np.ones((112, 112))), (0.0, 0.0, 0.5, 0.5)).reshape(6, 6)
    assert found.sum() == pytest.approx((0.75 * 112) ** 2)
    assert found.min() > 0
