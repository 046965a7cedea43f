"""The hand-made first layer: its outputs on what it was made from are uncorrelated and of one size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foveal.nets.whitened import Whitened
from tests.photos import texture


def pictures(count: int, side: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    found = [texture("rings", rng)[:side, :side] for _ in range(count)]
    return (torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() - 127) / 128


@pytest.mark.parametrize("side", [28, 32, 64])
def test_patches_become_uncorrelated_and_even(side: int) -> None:
    net, x = Whitened(3, side).eval(), pictures(40, side)
    net.prepare(x)
    first = net.stages[0][0]
    with torch.no_grad():
        cells = first(x)[:, : first.kept, :-1, :-1]  # the last ones reach over the edge
    values = cells.transpose(0, 1).flatten(1).double()
    moments = values @ values.T / values.shape[1]
    strong = moments.diagonal() > 0.5  # directions above the noise that is not enlarged
    assert strong.sum() >= 6
    assert (moments.diagonal()[strong] < 1.5).all()
    assert (moments - moments.diagonal().diag_embed())[strong][:, strong].abs().max() < 0.3


def test_each_direction_has_both_signs_and_only_its_bias_is_trained() -> None:
    net = Whitened(3, 32)
    net.prepare(pictures(4, 32))
    first = net.stages[0][0]
    half = first.kept
    assert torch.equal(first.weight[:half], -first.weight[half:])
    assert [name for name, _ in first.named_parameters()] == ["bias"]


@pytest.mark.parametrize(("size", "cells"), [(16, 16), (28, 28), (32, 32), (64, 32), (96, 32), (128, 32)])
def test_the_first_map_is_about_as_large_for_every_size(size: int, cells: int) -> None:
    net = Whitened(2, size).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 2, size, size))[0].shape[2:] == (cells, cells)


def test_a_constant_channel_stays_finite() -> None:
    net, x = Whitened(2, 32).eval(), pictures(8, 32)[:, :2]
    x[:, 1] = 0.5
    net.prepare(x)
    with torch.no_grad():
        assert all(level.isfinite().all() for level in net(x))
