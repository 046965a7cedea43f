"""Filters and their maps are drawn as they were, on one scale a row, with what they are said beside them."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.report.page import Moments, Shown, render
from tests.report import cards
from tests.report.test_page import Page


def moments(inputs: int = 5, size: tuple[int, int] = (3, 3), cells: tuple[int, int] = (7, 9)) -> Moments:
    rng = np.random.default_rng(0)
    filters = rng.normal(size=(3, 4, inputs, *size)).astype(np.float16)
    maps = rng.normal(size=(3, 4, 2, *cells)).astype(np.float16)
    example = Shown("cats/<b>.jpg", "cat & dog", Image.new("RGB", (90, 60), (90, 120, 30)))
    channels, steps, epochs = (14, 3, 8, 1), (0, 4, 48), (0.0, 0.333, 4.0)
    return Moments("train", "stages.1.0", 64, 32, channels, steps, epochs, filters, maps, (example, example))


def pictures(page: Page, said: str) -> list[np.ndarray]:
    """Those whose text for people who do not see them begins so."""
    found = [attrs for tag, attrs in page.tags if tag == "img" and str(attrs["alt"]).startswith(said)]
    return [np.asarray(Image.open(BytesIO(b64decode(str(attrs["src"]).split(",")[1])))) for attrs in found]


def told(text: str) -> str:
    return text[text.index("How filters and their maps changed") : text.index("Data problems found")]


def test_a_row_a_grid_and_a_map_with_a_column_a_moment() -> None:
    found = moments()
    page = Page(render(cards.card(), [], found))
    part = told(page.text)
    places = [part.index(text) for text in ("after epoch 0 0.33 4 ", "filter 14", "filter 3", "filter 8")]
    assert places == sorted(places)
    assert "filter 1 " not in part  # three are enough
    assert "most of 32 looked at, out of 64" in part
    assert "one training example, cats/<b>.jpg ( cat & dog )" in part
    assert len(pictures(page, "filter 3 after")) == 2 * 3
    assert len(pictures(page, "its map after")) == 3 * 3
    assert page.ids().index("growth") == page.ids().index("curves") + 1
    first, last = (found.filters[moment, 0].astype(float) for moment in (0, 2))
    assert f"changed by {100 * np.linalg.norm(last - first) / np.linalg.norm(first):.0f} %" in part


def test_the_grids_drawn_are_those_that_changed_most() -> None:
    found = moments()
    found.filters[:, :, [0, 1, 3]] = found.filters[:1, :, [0, 1, 3]]
    found.filters[2, :, 4], found.filters[2, :, 2] = 9, found.filters[0, :, 2] + 0.5
    part = told(Page(render({"findings": cards.card()["findings"]}, [], found)).text)
    assert part.count("grid for input 4") == part.count("grid for input 2") == 3
    assert part.count("grid for input") == 6


def test_colours_are_the_sign_and_strength_on_one_scale_of_the_row() -> None:
    found = moments(inputs=1)
    found.filters[:, 0, 0] = 0
    found.filters[0, 0, 0, 0, 1], found.filters[1, 0, 0, 1, 1], found.filters[2, 0, 0, 2, 2] = 2, -4, 4
    first, second, last = (one.astype(int) for one in pictures(Page(render({}, [], found)), "filter 14 after"))
    assert first.shape == (3, 3, 3)
    zero, full = first[2, 2], last[2, 2]
    assert (full[0] > full[2]) and (second[1, 1, 2] > second[1, 1, 0])  # orange, blue
    np.testing.assert_allclose(first[0, 1], (zero + full) / 2, atol=1)
    assert (first == zero).all(2).sum() == (last == zero).all(2).sum() == 8


def test_three_inputs_are_drawn_as_colours_and_sequences_as_strips() -> None:
    page = Page(render({}, [], moments(inputs=3)))
    (one, *_) = pictures(page, "filter 14 after")
    shown = moments(inputs=3).filters[:, 0].astype(float)
    expected = 127.5 + 127.5 * shown[0].transpose(1, 2, 0) / np.abs(shown).max()
    np.testing.assert_allclose(one, expected, atol=1)
    assert "in the colours of its three inputs" in page.text
    height, width, _ = pictures(Page(render({}, [], moments(size=(1, 3), cells=(1, 32)))), "its map after")[0].shape
    assert 0.1 < height / width < 0.5


@pytest.mark.parametrize(
    ("learnt", "expected"),
    [
        ({"train": {}}, None),
        ({"plan": {}, "blend": 1.0}, None),
        ({"plan": {}, "blend": 0.25}, "went 25 % of the way from the first column to the last"),
        ({"plan": {}, "blend": 0.0}, "still has the filters of the start"),
        ({"plan": {"why_not": "it was told to finish"}}, "still has the filters of the start"),
    ],
)
def test_it_says_what_came_of_it(learnt: dict[str, Any], expected: str | None) -> None:
    text = Page(render({"fine_tuning": learnt}, [], moments())).text
    assert (expected or "How filters") in text
    assert ("The network handed over" in text) is (expected is not None)


def test_without_a_second_moment_there_is_nothing_to_show() -> None:
    whole = moments()
    short = replace(whole, steps=(0,), epochs=(0.0,), filters=whole.filters[:1], maps=whole.maps[:1])
    for found in (None, short):
        assert "growth" not in Page(render(cards.card(), [], found)).ids()


def test_numbers_that_are_none_are_drawn_as_nothing() -> None:
    found = moments()
    found.maps[1], found.filters[0] = np.nan, 0
    part = Page(render({}, [], found)).text
    assert "0 at first" in part
    assert not re.search(r"\bnan\b", part)
