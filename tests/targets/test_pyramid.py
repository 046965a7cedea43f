"""The pyramid head against plainly enlarging and stacking all maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.targets._pyramid import Pyramid, picked

CHANNELS, STRIDES, SIZE = (9, 3, 4, 600, 5), (2, 4, 8, 8, 32), 64


def made(seed: int = 0) -> tuple[Pyramid, list[Tensor]]:
    noise = torch.Generator().manual_seed(seed)
    head = Pyramid(CHANNELS, STRIDES, 2, 3)
    state = {name: torch.rand(value.shape, generator=noise) + 0.1 for name, value in head.state_dict().items()}
    head.load_state_dict(state)
    maps = [torch.randn(2, c, SIZE // s, SIZE // s, generator=noise) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    return head, maps


def stacked(maps: list[Tensor]) -> Tensor:
    """(N, 12, 16, 16): the used maps, enlarged to the finest of them."""
    used = [maps[1], maps[2], maps[4]]
    return torch.cat([F.interpolate(m, size=(16, 16), mode="bilinear", align_corners=False) for m in used], dim=1)


def test_it_uses_maps_that_are_neither_too_fine_nor_too_wide() -> None:
    head, maps = made()
    assert head.stages == (1, 2, 4)
    levels = head.levels(head.gather(maps))
    assert all(torch.equal(level, maps[stage]) for level, stage in zip(levels, head.stages, strict=True))


def test_maps_of_sides_that_strides_do_not_divide() -> None:
    """As those of a network that rounds its sides up."""
    head = Pyramid((3, 4, 5), (14, 28, 112), 2, 3)
    maps = [torch.randn(1, c, side, side) for c, side in ((3, 30), (4, 15), (5, 4))]
    assert all(torch.equal(a, b) for a, b in zip(head.levels(head.gather(maps)), maps, strict=True))


def test_it_is_a_linear_function_of_all_maps_enlarged() -> None:
    head, maps = made()
    with torch.no_grad():
        standard = (stacked(maps) - head.centre[:, None, None]) / head.scale[:, None, None]
        expected = torch.einsum("nchw,oc->nohw", standard, head.weight) + head.bias[:, None, None]
        torch.testing.assert_close(head(maps)["cells"], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cell", [(0, 0), (7, 12), (15, 15)])
def test_each_output_is_a_sum_over_cells(cell: tuple[int, int]) -> None:
    head, maps = made(1)
    levels = head.levels(head.gather([level[:1] for level in maps]))
    with torch.no_grad():
        parts, bias = head.parts(levels, 1, at(cell))
        total = bias + sum(float(part.double().sum()) for part in parts)
        assert total == pytest.approx(float(head.read_levels(levels)[0, 1, *cell]), abs=1e-4)
    assert [part.shape for part in parts] == [level.shape[2:] for level in levels]


def at(cell: tuple[int, int]) -> Tensor:
    """(16, 16): 1 there."""
    found = torch.zeros(16, 16)
    found[cell] = 1
    return found


def test_so_is_the_mean_over_a_region_with_what_is_around() -> None:
    noise = torch.Generator().manual_seed(3)
    head = Pyramid(CHANNELS, STRIDES, 2, 0, around=True)
    head.load_state_dict({k: torch.rand(v.shape, generator=noise) + 0.1 for k, v in head.state_dict().items()})
    maps = [torch.randn(1, c, SIZE // s, SIZE // s, generator=noise) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    levels = head.levels(head.gather(maps))
    assert torch.equal(levels[3], F.avg_pool2d(maps[2], 5, 1, 2, count_include_pad=False))
    assert len(levels) == 5
    region = (torch.rand(16, 16, generator=noise) < 0.2).float()
    with torch.no_grad():
        parts, bias = head.parts(levels, 0, region / region.sum())
        wanted = (head.read_levels(levels)[0, 0] * region).sum() / region.sum()
    assert bias + sum(float(part.double().sum()) for part in parts) == pytest.approx(float(wanted), abs=1e-4)


def deepened(seed: int) -> tuple[Pyramid, Pyramid, list[Tensor]]:
    """One without layers of its own, one with them that begins with its state, and maps."""
    plain, maps = made(seed)
    deep = Pyramid(CHANNELS, STRIDES, 2, 3, neck=6)
    deep.begin(plain.state_dict(), plain.gather(maps))
    return plain, deep, maps


def test_layers_of_its_own_begin_by_saying_nothing() -> None:
    plain, deep, maps = deepened(4)
    assert plain.layers() is None and deep.layers() is not None
    with torch.no_grad():
        before, after = plain(maps), deep(maps)
    torch.testing.assert_close(after["cells"], before["cells"])
    assert torch.equal(after["usual"], before["usual"])


def test_they_start_from_standardised_maps() -> None:
    _, deep, maps = deepened(5)
    assert deep.neck is not None
    own = torch.cat([maps[stage].mean((0, 2, 3)) for stage in deep.stages])
    torch.testing.assert_close(deep.neck.centre, own, atol=1e-5, rtol=1e-4)
    # Whatever unit maps have: as loud or as quiet, the layers see the same.
    loud = [100 * level for level in maps]
    other = Pyramid(CHANNELS, STRIDES, 2, 3, neck=6)
    other.begin(made(5)[0].state_dict(), other.gather(loud))
    assert other.neck is not None
    with torch.no_grad():
        quiet_seen = deep.neck(deep.levels(deep.gather(maps)))
        loud_seen = other.neck(other.levels(other.gather(loud)))
    torch.testing.assert_close(loud_seen, quiet_seen, atol=1e-3, rtol=1e-3)


def test_what_they_add_is_a_sum_over_cells_too() -> None:
    _, deep, maps = deepened(6)
    assert deep.neck is not None
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        deep.neck.read.normal_(generator=noise)
        levels = deep.levels(deep.gather([level[:1] for level in maps]))
        parts, bias = deep.parts(levels, 1, at((7, 12)))
        assert len(parts) == len(levels) + 1
        total = bias + sum(float(part.double().sum()) for part in parts)
        assert total == pytest.approx(float(deep.read_levels(levels)[0, 1, 7, 12]), abs=1e-4)


def test_it_needs_no_stage_beyond_the_last_that_it_reads() -> None:
    assert Pyramid((4, 8, 16, 1280), (4, 8, 16, 16), 2, 0).depth(4) == 3
    assert made()[0].depth(5) == 5


def test_cells_can_be_picked_from_maps_as_if_they_were_enlarged() -> None:
    _, maps = made(2)
    whole = stacked(maps)[:1]
    cells = torch.tensor([0, 15, 16, 100, 255])
    found = picked([maps[1][:1], maps[2][:1], maps[4][:1]], cells)
    torch.testing.assert_close(found, whole[0].flatten(1)[:, cells].T, atol=1e-5, rtol=1e-5)
