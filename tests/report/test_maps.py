"""Maps keep the sum, the sign and one scale; and what is drawn lies where the evidence was gathered."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveal.report import maps
from foveal.types import Explanation, Prediction, Size
from tests.report import cards

SQUARE = Size(224, 224)
GREY = Image.new("RGB", (224, 224), (128, 128, 128))


def explain(*levels: np.ndarray, bias: float = 0.0, exact: bool = True, size: Size = SQUARE) -> Explanation:
    cells = tuple(np.asarray(level, np.float32) for level in levels)
    score = bias + sum(float(level.sum(dtype=np.float64)) for level in cells)
    return Explanation(
        "ledger", Prediction("cat", 0.9), cells, bias, score, exact, np.eye(2, 3, dtype=np.float32), size
    )


def tint(drawn: Image.Image) -> np.ndarray:
    """How much redder than blue each pixel is: positive is for, negative against."""
    pixels = np.asarray(drawn, np.int16)
    return pixels[..., 0] - pixels[..., 2]


shapes = st.lists(st.tuples(st.integers(1, 29), st.integers(1, 29)), min_size=1, max_size=4)


@given(shapes, st.integers(0, 2**32 - 1))
def test_pooling_preserves_the_sum_and_takes_the_coarsest_grid(shapes: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = [rng.normal(0, 3, shape).astype(np.float32) for shape in shapes]
    found = maps.pooled(explain(*levels))
    assert found.dtype == np.float32
    assert found.size == min(level.size for level in levels)
    whole = sum(float(level.sum(dtype=np.float64)) for level in levels)
    magnitude = sum(float(np.abs(level).sum(dtype=np.float64)) for level in levels)
    assert float(found.sum(dtype=np.float64)) == pytest.approx(whole, abs=1e-6 * magnitude + 1e-6)


def test_pooling_adds_a_fine_cell_to_the_coarse_one_that_holds_it() -> None:
    fine, coarse = np.zeros((4, 4)), np.zeros((2, 2))
    fine[3, 0], coarse[0, 1] = 5, 7
    assert maps.pooled(explain(fine, coarse)).tolist() == [[0, 7], [5, 0]]


def test_pooling_shares_out_a_cell_that_lies_across_two() -> None:
    assert maps.pooled(explain(np.array([[0, 6, 0]]), np.zeros((1, 2)))).tolist() == [[3, 3]]


def test_contrast_is_the_difference_cell_by_cell() -> None:
    a, b = explain(np.full((2, 2), 3), bias=1), explain(np.eye(2), bias=0.5)
    found = maps.contrast(replace(a, runner_up=b))
    assert found is not None
    assert found.cells[0].tolist() == [[2, 3], [3, 2]]
    assert (found.bias, found.score) == (0.5, 13 - 2.5)
    assert found.score == found.bias + float(found.cells[0].sum())
    assert maps.contrast(a) is None


def test_for_is_orange_and_against_is_blue_where_the_cell_is() -> None:
    drawn = tint(maps.overlay(GREY, explain(np.array([[4, 0], [0, -4]])), scale=4))
    assert drawn[:112, :112].mean() > 20
    assert drawn[112:, 112:].mean() < -20
    assert not drawn[:112, 112:].any()
    assert not drawn[112:, :112].any()


def test_a_cell_against_is_hollow_so_that_a_grey_print_keeps_the_sign() -> None:
    drawn = np.abs(tint(maps.overlay(GREY, explain(np.array([[4, -4]])), scale=4)))
    assert drawn[112, 56] == drawn[:, :112].max()
    assert drawn[112, 168] < 0.5 * drawn[:, 112:].max()


@given(st.floats(0.05, 1))
def test_one_scale_makes_weak_evidence_look_weak(share: float) -> None:
    strong = tint(maps.overlay(GREY, explain(np.array([[4.0]])), scale=4)).max()
    weak = tint(maps.overlay(GREY, explain(np.array([[4 * share]])), scale=4)).max()
    assert weak == pytest.approx(share * strong, abs=1.5)


def test_beyond_the_scale_the_tint_is_the_strongest_one() -> None:
    at, beyond = (maps.overlay(GREY, explain(np.array([[value]])), scale=4) for value in (4.0, 400.0))
    assert at.tobytes() == beyond.tobytes()


def test_the_shared_scale_is_that_of_all_explanations_together() -> None:
    weak, strong = explain(np.full((7, 7), 0.1)), explain(np.full((7, 7), -3.0))
    assert maps.shared_scale([weak, strong]) == pytest.approx(3)
    assert maps.shared_scale([explain(np.zeros((7, 7)))]) == 1
    assert maps.shared_scale([]) == 1


def test_one_odd_cell_does_not_hide_all_others() -> None:
    values = np.full((20, 20), 1.0)
    values[0, 0] = 1000
    assert maps.shared_scale([explain(values)]) == pytest.approx(1)


def test_the_picture_stays_visible() -> None:
    stripes = np.zeros((224, 224, 3), np.uint8)
    stripes[:, ::8] = 255
    drawn = np.asarray(maps.overlay(Image.fromarray(stripes), explain(np.full((7, 7), 9.0)), scale=1).convert("L"))
    assert int(drawn[16].max()) - int(drawn[16].min()) > 40


def test_no_evidence_leaves_a_grey_picture_as_it_is() -> None:
    assert maps.overlay(GREY, explain(np.zeros((7, 7)))).tobytes() == GREY.tobytes()


def test_cells_follow_the_geometry_and_nothing_is_drawn_outside_the_model() -> None:
    crop = np.array([[1, 0, -100], [0, 1, 0]], np.float32)  # the model saw columns 100 to 200 of the picture
    found = replace(explain(np.array([[2.0]]), size=Size(224, 100)), affine=crop)
    drawn = tint(maps.overlay(GREY, found, scale=2))
    assert drawn[112, 150] > 100
    assert not drawn[:, :100].any()
    assert not drawn[:, 200:].any()


def test_a_resized_picture_takes_its_cells_along() -> None:
    canvas, small = Image.new("RGB", (448, 336), (128, 128, 128)), Image.new("RGB", (112, 84), (128, 128, 128))
    found = replace(explain(np.array([[3.0, 0], [0, 0]]), size=Size(336, 448)))
    large = tint(maps.overlay(canvas, found, scale=3))[2::4, 2::4]
    fitted = tint(maps.overlay(small, maps.resized(canvas, found, Size(84, 112)), scale=3))
    assert np.abs(large - fitted).max() <= 40  # the rim of the disc, half a pixel apart
    assert np.array_equal(large > 60, fitted > 60) or np.mean((large > 60) != (fitted > 60)) < 0.01


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (517, 3)])
def test_any_picture_can_be_drawn_on(mode: str, size: tuple[int, int]) -> None:
    drawn = maps.overlay(Image.new(mode, size), explain(np.array([[1.0, -1.0]])))
    assert (drawn.mode, drawn.size) == ("RGB", size)


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_the_printed_sum_adds_up(bias: float, cells: float) -> None:
    text = maps.arithmetic(explain(np.array([[cells]]), bias=bias))
    found = re.fullmatch(r"bias (\S+) \+ cells (\S+) = logit (\S+)", text)
    assert found is not None
    b, c, s = (float(number.replace("−", "-")) for number in found.groups())
    assert round(b + c, 2) == s
    assert (b, c, s) == pytest.approx((bias, cells, bias + cells), abs=0.0151)


def test_cells_that_do_not_add_up_are_not_printed_as_a_sum() -> None:
    text = maps.arithmetic(replace(explain(np.array([[2.0]]), exact=False), score=5.0))
    assert text == "cells 2.00, logit 5.00: this method's cells do not add up to it"


def test_nothing_is_changed_in_place() -> None:
    rng = np.random.default_rng(0)
    canvas = cards.picture(rng)
    found, before = cards.explanation(rng, canvas), canvas.tobytes()
    cells = [level.copy() for level in found.cells]
    maps.overlay(canvas, found)
    assert canvas.tobytes() == before
    assert all(np.array_equal(a, b) for a, b in zip(cells, found.cells, strict=True))
