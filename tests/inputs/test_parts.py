"""Parts of large pictures, from which is learnt: at the same scale, and where their geometry says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.inputs import Image
from foveal.types import Draw

HEIGHT, WIDTH = 300, 500
LARGE = Image(1280, gently=True, erasing=0.0)
"""Without changes of colour, so that pixels can be known again."""


def test_only_large_pictures_are_learnt_from_in_parts() -> None:
    assert Image(640).in_parts() is None
    parts = LARGE.in_parts()
    assert parts is not None
    assert parts.shape() == (3, 416, 416)
    assert parts.pack(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).array.shape == (1280, 1280, 3)


@given(seed=st.integers(0, 10_000), mirror=st.booleans())
def test_a_part_shows_what_its_geometry_says(seed: int, mirror: bool) -> None:
    parts = replace(LARGE, mirror=mirror).in_parts()
    assert parts is not None
    across, down = np.meshgrid(np.arange(WIDTH) / WIDTH, np.arange(HEIGHT) / HEIGHT)
    raw = np.rint(255 * np.stack([across, down, across], axis=2)).astype(np.uint8)
    x, pieces = parts.batch(parts.stack([parts.pack(raw)] * 2), Draw(seed, 1, (3, 4)))
    assert x.shape == (2, 3, 416, 416)
    assert pieces.clip.tolist() == [[0, 0, 416, 416]] * 2
    cells = torch.tensor([[20, 20], [208, 100], [390, 300]])
    places = pieces.to_raw((cells + 0.5).expand(2, -1, -1))
    for row in range(2):
        found = x[row][:2, cells[:, 1], cells[:, 0]].T * 128 + 127
        wanted = 255 * (places[row] - 0.5) / torch.tensor([WIDTH, HEIGHT])
        assert (found - wanted).abs().max() < 2.5
    scales = pieces.affine[:, :, :2].abs().sum(2) * torch.tensor([WIDTH, HEIGHT]) / 1280
    assert ((scales > 0.6) & (scales < 1.6)).all()


def test_different_draws_show_different_parts() -> None:
    parts = LARGE.in_parts()
    assert parts is not None
    stacked = parts.stack([parts.pack(np.zeros((HEIGHT, WIDTH, 3), np.uint8))] * 50)
    _, pieces = parts.batch(stacked, Draw(0, 1, tuple(range(50))))
    middles = pieces.to_raw(torch.tensor([[[208.0, 208.0]]]).expand(50, -1, -1))[:, 0] / torch.tensor([WIDTH, HEIGHT])
    assert (middles.amin(0) < 0.25).all()
    assert (middles.amax(0) > 0.75).all()


def test_what_is_erased_takes_the_mean_of_what_lies_around() -> None:
    image = Image(size=56)
    x = torch.arange(49.0).reshape(1, 1, 7, 7).repeat_interleave(8, 2).repeat_interleave(8, 3).expand(1, 3, -1, -1)
    cells = torch.zeros(1, 7, 7, dtype=torch.bool)
    cells[0, 3, 3] = cells[0, 0, 0] = True
    found = image.erase(x, cells)[0, 0, ::8, ::8]
    assert found[3, 3] == 24  # its own value: the mean of a slope's neighbours
    assert found[0, 0] == pytest.approx((1 + 7 + 8) / 3)
    cells[0, :6] = True
    found = image.erase(x, cells)[0, 0, ::8, ::8]
    assert found[6].tolist() == [42, 43, 44, 45, 46, 47, 48]
    assert found[5, 3] == pytest.approx(45)  # of the three below
    assert 42 < found[0].min() <= found[0].max() < 48
