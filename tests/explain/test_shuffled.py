"""Tiles in another order: the same values, none where it was."""

from __future__ import annotations

import pytest
import torch

from foveal.explain.shuffled import TILES, shuffled


@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("seed", range(5))
def test_tiles_change_places_whole(tiles: int, seed: int) -> None:
    x = torch.arange(3 * 26.0 * 26).reshape(1, 3, 26, 26)
    found = shuffled(x, tiles, 49, seed)
    side = 26 // tiles
    inside = (slice(None), slice(None), slice(side * tiles), slice(side * tiles))
    assert torch.equal(found[inside].flatten().sort().values, x[inside].flatten().sort().values)
    assert torch.equal(found[:, :, side * tiles :], x[:, :, side * tiles :])
    assert torch.equal(found[:, :, :, side * tiles :], x[:, :, :, side * tiles :])
    blocks = [
        own[inside].unfold(2, side, side).unfold(3, side, side).reshape(3, tiles**2, -1)[0] for own in (x, found)
    ]
    known = {tuple(block.tolist()) for block in blocks[0]}
    assert {tuple(block.tolist()) for block in blocks[1]} == known
    assert not (blocks[0] == blocks[1]).any()
    assert torch.equal(found, shuffled(x, tiles, 49, seed))


def test_of_a_sequence_only_what_holds_something_moves() -> None:
    x = torch.arange(20.0).reshape(1, 1, 20)
    found = shuffled(x, 4, 9, 0)
    assert found[0, 0, 8:].tolist() == list(range(8, 20))
    assert sorted(found[0, 0, :8].tolist()) == list(range(8))
    assert not (found[0, 0, :8] == x[0, 0, :8]).any()
    assert torch.equal(shuffled(x, 4, 3, 0), x), "fewer values than tiles"
