"""What every plane of cells or pixels shares: its geometry, how it is cropped at random, sampled again and erased.

Knows tensors (M, C, H, W) and affine matrices. Knows nothing of files, colours or units.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.types import Draw, Pieces

SMALLEST_SIDE, LARGEST_SIDE = 64, 288
"""Between these lies the side, in pixels, that an input chooses for itself."""

# Networks trained from nothing see small things to the pixel.
_SMALLEST_OWN, _LARGEST_TO_THE_PIXEL, _LARGEST_OWN = 16, 48, 128

PART, LARGEST_WHOLE = 416, 640
"""The side of the parts that are learnt from of planes whose side is longer than the latter."""

SKETCH = 32
"""Cells along a side of a sketch."""

# Augmentation: the least share of the area that a crop keeps, and how far it is stretched.
_SMALLEST_CROP, _STRETCH = 0.5, 4 / 3
# How much larger or smaller than it is, at most, a part of a large plane is shown.
_ZOOM = 4 / 3
# Gentle augmentation moves by whole pixels, at most by this share of the side.
_MOVE = 1 / 16
_FILLED = 4
# The largest share of patches that is erased, of so many along a side, or along a series.
_ERASED_SHARE, _ERASED_GRID, _ERASED_SPANS = 0.5, 7, 16

ERASED, RARELY_ERASED = 0.5, 0.15
"""In which share of pictures patches are erased: usually, and where that costs much."""


def resized(pixels: Tensor, size: int, width: int | None = None) -> Tensor:
    """(M, C, H, W) float32 -> (M, C, size, width), square if no width is given; whole, antialiased and unrounded."""
    wanted = (size, width or size)
    return F.interpolate(pixels, size=wanted, mode="bilinear", antialias=True, align_corners=False)


def resizing(sizes: Tensor, size: int) -> Tensor:
    """(M, 2) raw heights and widths -> (M, 2, 3) affine raw -> model."""
    scale = size / sizes.flip(1).float()
    return torch.cat([torch.diag_embed(scale), torch.zeros(len(sizes), 2, 1)], dim=2)


def pieces_of(affine: Tensor, sizes: Tensor, size: int) -> Pieces:
    """One whole piece a source; affine: (M, 2, 3), sizes: (M, 2) raw heights and widths."""
    rows = torch.arange(len(sizes))
    clip = torch.tensor([[0.0, 0.0, float(size), float(size)]]).repeat(len(sizes), 1)
    return Pieces(affine=affine, row=rows, source=rows, clip=clip, raw_size=sizes)


def random_crop(draw: Draw, size: int, *, mirror: bool, gentle: bool) -> Tensor:
    """(M, 2, 3) affine that takes a random part to the whole plane, stretched a little and perhaps mirrored; gentle:
    that moves the whole plane a little and perhaps mirrors it."""
    part, corner = _moved(draw, size) if gentle else _part(draw, size)
    zoom = 1 / part
    return _taken(zoom, -corner * zoom, draw, size, mirror=mirror)


def _moved(draw: Draw, size: int) -> tuple[Tensor, Tensor]:
    """Share of the sides and corner, both (M, 2)."""
    corner = ((2 * draw.uniform("move", 2) - 1) * _MOVE * size).round()
    return torch.ones_like(corner), corner


def _part(draw: Draw, size: int) -> tuple[Tensor, Tensor]:
    """The same of a random part."""
    area = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * draw.uniform("crop area")
    stretch = torch.exp((2 * draw.uniform("crop stretch") - 1) * math.log(_STRETCH))
    part = torch.stack([(area * stretch).sqrt(), (area / stretch).sqrt()], dim=1).clamp_max(1)
    return part, draw.uniform("crop corner", 2) * (1 - part) * size


def random_window(draw: Draw, plane: int, size: int, *, mirror: bool) -> Tensor:
    """(M, 2, 3) affine that takes a part of a plane of side `plane` to one of side `size`, at about the same scale,
    stretched a little and perhaps mirrored."""
    zoom = torch.exp((2 * draw.uniform("window zoom") - 1) * math.log(_ZOOM))
    stretch = torch.exp((2 * draw.uniform("window stretch") - 1) * math.log(_STRETCH) / 2)
    sides = (size / torch.stack([zoom * stretch, zoom / stretch], dim=1)).clamp_max(plane)
    corner = draw.uniform("window corner", 2) * (plane - sides)
    return _taken(size / sides, -corner * size / sides, draw, size, mirror=mirror)


def _taken(zoom: Tensor, shift: Tensor, draw: Draw, size: int, *, mirror: bool) -> Tensor:
    """(M, 2, 3) of zoom and shift, both (M, 2), half of them mirrored if wanted."""
    if mirror:
        swap = draw.uniform("mirror") < 0.5
        zoom[:, 0] = torch.where(swap, -zoom[:, 0], zoom[:, 0])
        shift[:, 0] = torch.where(swap, size - shift[:, 0], shift[:, 0])
    return torch.cat([torch.diag_embed(zoom), shift[:, :, None]], dim=2)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """outer after inner, both (M, 2, 3)."""
    linear = outer[:, :, :2] @ inner[:, :, :2]
    shift = outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([linear, shift], dim=2)


def sample(pixels: Tensor, affine: Tensor, size: int | None = None) -> Tensor:
    """Move pixels (M, C, H, W) by affine (M, 2, 3), which may be on the CPU, to a square plane of side `size`, to one
    as large if None; outside is repeated from the edge."""
    height, width = pixels.shape[2:] if size is None else (size, size)
    sides = torch.tensor([pixels.shape[3], pixels.shape[2]], dtype=torch.float32)
    linear = torch.linalg.inv(affine[:, :, :2])
    shift = -linear @ affine[:, :, 2:]
    # affine_grid wants the inverse map in [-1, 1] coordinates: p -> 2 p / side - 1 on both sides.
    unit = linear * (torch.tensor([width, height]) / sides[:, None])
    unit_shift = 2 * shift / sides[:, None] + unit.sum(2, keepdim=True) - 1
    inverse = torch.cat([unit, unit_shift], dim=2).to(pixels.device)
    grid = F.affine_grid(inverse, [*pixels.shape[:2], height, width], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def some_cells(draw: Draw, pictures: float) -> Tensor:
    """(M, g, g) bool: in this share of the pictures up to half of all cells, none in the others."""
    share = _ERASED_SHARE * draw.uniform("erased share")
    share = torch.where(draw.uniform("erased") < pictures, share, 0.0)
    return draw.uniform("erased cells", _ERASED_GRID, _ERASED_GRID) < share[:, None, None]


def erased(x: Tensor, cells: Tensor, draw: Draw | None, width: float) -> Tensor:
    """x (M, C, H, W), or (1, C, H, W) for all, with each of the cells (M, g, g) bool in one colour, the mean of what
    lies around it, or, of x (M, C, H, W), at uniform noise around 0 of this width if drawn.

    A gray patch in a plain ground is a thing of its own, for networks that never saw one.
    """
    down, across = (own_cells(side, count) for side, count in zip(x.shape[2:], cells.shape[1:], strict=True))
    if draw is None:
        return _filled(x, cells.to(x.device), down.to(x.device), across.to(x.device))
    rows = cells.flatten(1).any(1).nonzero()[:, 0]
    places = rows.to(x.device)
    own, found = x[places], x.clone()
    mask = _enlarged(cells[rows], down, across).to(x.device)
    some = replace(draw, samples=tuple(draw.samples[row] for row in rows.tolist()))
    fill = (some.uniform("erase", *x.shape[1:], device=x.device) - 0.5).to(x) * width
    found[places] = torch.where(mask, fill, own)
    return found


def _filled(x: Tensor, cells: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Some rows at a time: what is as large as all of them, beside the result, takes longer to get than to fill."""
    found = x.new_empty(len(cells), *x.shape[1:])
    fill = _around(x, cells, down, across)
    for begin in range(0, len(cells), _FILLED):
        part = slice(begin, begin + _FILLED)
        own = fill[part].index_select(3, across).index_select(2, down)  # whole rows last, which is faster
        torch.where(_enlarged(cells[part], down, across), own, x[part] if len(x) > 1 else x, out=found[part])
    return found


def own_cells(side: int, count: int) -> Tensor:
    """(side,): in which of so many cells along an axis each of its places lies."""
    return torch.arange(side) * count // side


def _enlarged(cells: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(M, g, g) -> (M, 1, H, W)."""
    return cells.index_select(2, across).index_select(1, down)[:, None]


def _around(x: Tensor, cells: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(M, C, g, g): each of the cells (M, g, g) bool in the mean of those around it; where these are erased too, of
    those that were filled before; 0 where all are. down, across: the cells of the places of x (M or 1, C, H, W)."""
    count, height, width = cells.shape
    rows, columns = (F.one_hot(own, n).to(x).T for own, n in ((down, height), (across, width)))
    held = rows.sum(1)[:, None] * columns.sum(1)
    means = (rows @ x @ columns.T / held.clamp_min(1)).expand(count, -1, -1, -1)
    known = F.pad(~cells & (held > 0), (1, 1, 1, 1)).flatten()
    values = F.pad(means, (1, 1, 1, 1)).movedim(1, 3).flatten(0, 2) * known[:, None]
    beside = torch.tensor([r * (width + 2) + c for r in (-1, 0, 1) for c in (-1, 0, 1)], device=x.device)
    left = F.pad(cells | (held == 0), (1, 1, 1, 1)).flatten().nonzero()
    while len(left):
        near = left + beside
        counts = known[near].sum(1)
        sums = values[near].sum(1)  # what is not known is 0
        ready = counts > 0
        if not ready.any():
            break
        places = left[ready, 0]
        values[places] = sums[ready] / counts[ready, None]
        known[places] = True
        left = left[~ready]
    return values.unflatten(0, (count, height + 2, width + 2))[:, 1:-1, 1:-1].movedim(3, 1)


def difference_hash(cells: np.ndarray) -> int:
    """64 bits: whether each of 8 x 8 cells (8, 9) is brighter than its left neighbour."""
    return int.from_bytes(np.packbits((cells[:, 1:] > cells[:, :-1]).ravel()).tobytes(), "big")


def own_side(median: float) -> int:
    """The side at which planes of this median side are seen as they are: above 48 in steps of 32, 128 at most."""
    if median <= _LARGEST_TO_THE_PIXEL:
        return max(_SMALLEST_OWN, round(median))
    return 32 * round(min(max(median, SMALLEST_SIDE), _LARGEST_OWN) / 32)


def some_spans(draw: Draw, things: float) -> Tensor:
    """(M, g) bool: `some_cells` of one axis."""
    share = _ERASED_SHARE * draw.uniform("erased share")
    share = torch.where(draw.uniform("erased") < things, share, 0.0)
    return draw.uniform("erased cells", _ERASED_SPANS) < share[:, None]


def erased_spans(x: Tensor, cells: Tensor, draw: Draw | None, width: float) -> Tensor:
    """`erased` of one axis: x (M or 1, C, S) with cells (M, g) bool at 0, or at noise of this width if drawn."""
    mask = cells[:, own_cells(x.shape[2], cells.shape[1])][:, None].to(x.device)
    fill = torch.zeros_like(x)
    if draw is not None:
        fill = (draw.uniform("erase", *x.shape[1:], device=x.device) - 0.5).to(x) * width
    return torch.where(mask, fill, x)
