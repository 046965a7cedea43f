"""Occlusion in detail: what windows over each place take away, and how well a few of them say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from foveal.explain import detail
from foveal.explain.erasing import Erasing
from tests.explain.worlds import GRID, painted, reds, world


@pytest.fixture(scope="module")
def erasing() -> Erasing:
    return Erasing(*world(), painted(reds()))


def test_a_few_windows_say_what_all_of_them_would(erasing: Erasing, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    left = Erasing.left

    def counted(self: Erasing, erased: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        passes.append(len(erased))
        return left(self, erased)

    monkeypatch.setattr(Erasing, "left", counted)
    few = detail.in_detail(erasing)
    assert sum(passes) == 13 * 13 + 12 * 12
    every = detail.in_detail(erasing, all_of_them=True)
    assert sum(passes) > 2400
    assert few.shape == every.shape == (8 * GRID, 8 * GRID)
    assert spearmanr(few.ravel(), every.ravel()).statistic >= 0.95


def test_it_is_highest_within_the_one_square_that_matters() -> None:
    colours = np.zeros((GRID, GRID, 3))
    colours[2, 4, 0] = 90
    found = detail.in_detail(Erasing(*world(), painted(colours)))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row // 8, column // 8) == (2, 4)
    assert found.max() > 10 * abs(found[:8, :8]).max()


def test_a_window_on_a_cell_takes_what_erasing_it_pixel_by_pixel_does(erasing: Erasing) -> None:
    """By a loop over windows, each erased alone."""
    fine = erasing.finer(8)
    for row, column in ((0, 0), (16, 24), (3, 41), (48, 48)):
        cells = np.zeros((8 * GRID, 8 * GRID), bool)
        cells[row : row + 8, column : column + 8] = True
        alone = fine.score - fine.left(cells.reshape(1, -1))[0][0]
        (found,) = detail._effects(fine, np.array([row]), np.array([column]))
        assert found == pytest.approx(alone, abs=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_each_place_has_the_mean_of_the_windows_over_it(height: int, width: int, seed: int) -> None:
    effects = np.random.default_rng(seed).normal(size=(height, width))
    found = detail._spread(effects)
    assert found.shape == (height + 7, width + 7)
    for row, column in ((0, 0), (height // 2, width + 3), (height + 6, width + 6)):
        over = effects[max(0, row - 7) : row + 1, max(0, column - 7) : column + 1]
        assert found[row, column] == pytest.approx(over.mean(), abs=1e-9)
