"""Boxes <-> cells: how sure each cell is that it is the middle of an object, and the box that it would have.

Knows planes of square cells and boxes in model coordinates. A cell says a logit for every class, where the middle of
its object lies and how large it is (after Zhou et al. 2019, "Objects as Points", arXiv 1904.07850).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIDES = 4
"""Numbers that a cell says of its box: the way to its middle, in units of `REACH`, and the logarithms of its sides as
multiples of what is usual for its class."""

REACH = 32.0
"""Model pixels."""

SAYS_A_BOX = 0.6
"""A cell that is so much in the middle of an object learns its box."""

# How fast sureness falls off from the middle: to exp(-5) at a box's border.
_SHARPNESS = 5.0
# Sides of what a cell claims: between 1 and e^7 model pixels.
_MOST_LOG_SIDE = 7.0


def centres(height: int, width: int, stride: float) -> tuple[Tensor, Tensor]:
    """x (w,) and y (h,) of the cells' middles, in model pixels."""
    return (torch.arange(width) + 0.5) * stride, (torch.arange(height) + 0.5) * stride


def middleness(boxes: Tensor, height: int, width: int, stride: float) -> Tensor:
    """boxes (n, 4) -> (n, h, w): 1 in the middle of each, exp(-5) at the middle of its sides, about 0 outside."""
    x, y = centres(height, width, stride)
    left, top, right, bottom = boxes.T[:, :, None]
    half_width, half_height = ((far - near).clamp_min(stride) / 2 for near, far in ((left, right), (top, bottom)))
    across = ((x - (left + right) / 2) / half_width).square()
    down = ((y - (top + bottom) / 2) / half_height).square()
    return torch.exp(-_SHARPNESS * (down[:, :, None] + across[:, None, :]))


class Goal(NamedTuple):
    """What the cells of one plane should say; cells in one axis, row by row.

    sure: (classes, cells), how sure of each class; boxes: (n, 4) of the objects in model pixels, kinds: (n,) their
    classes; whose: (cells,) the row of the box that each cell should say, best: (cells,) how much it is in the middle
    of that, 0 where there is no box; counts: (cells,) bool, not where something is ignored.
    """

    sure: Tensor
    boxes: Tensor
    kinds: Tensor
    whose: Tensor
    best: Tensor
    counts: Tensor


def goal(boxes: Tensor, kinds: Tensor, classes: int, height: int, width: int, stride: float) -> Goal:
    """boxes (n, 4), kinds (n,): class indices, or negative for what is ignored."""
    sure, cells = torch.zeros(classes, height * width), height * width
    near = middleness(boxes, height, width, stride).flatten(1)
    meant = kinds >= 0
    own, ignored = near[meant], near[~meant]
    counts = (ignored < math.exp(-_SHARPNESS)).all(0) if len(ignored) else torch.ones(cells, dtype=torch.bool)
    if not len(own):
        none = torch.zeros(cells)
        return Goal(sure, boxes[meant], kinds[meant], none.long(), none, counts)
    own = own / own.amax(1, keepdim=True).clamp_min(1e-6)  # a small one's middle may lie between cells
    sure = sure.scatter_reduce(0, kinds[meant][:, None].expand_as(own), own, "amax")
    best, whose = own.max(0)
    return Goal(sure, boxes[meant], kinds[meant], whose, best, counts | (best > math.exp(-_SHARPNESS)))


def alike(weights: Tensor, whose: Tensor, boxes: int) -> Tensor:
    """Weights of cells (n,) of these objects (n,), so that all cells of an object weigh 1 together: a large one has
    many more, of which each is as good as another."""
    totals = weights.new_zeros(boxes).index_add(0, whose, weights)
    return weights / totals[whose].clamp_min(1e-6)


def claimed(said: Tensor, usual: Tensor, cells: Tensor, width: int, stride: float | Tensor) -> Tensor:
    """said: (..., SIDES, n) by cells of these numbers (..., n), usual: (..., 2, n) logarithms of the sides -> their
    boxes (..., n, 4) in model pixels."""
    x = (cells % width + 0.5) * stride + REACH * said[..., 0, :]
    y = torch.div(cells, width, rounding_mode="floor") * stride + 0.5 * stride + REACH * said[..., 1, :]
    sides = (said[..., 2:, :] + usual).clamp(0.0, _MOST_LOG_SIDE).exp() / 2
    across, down = sides[..., 0, :], sides[..., 1, :]
    return torch.stack([x - across, y - down, x + across, y + down], dim=-1)


def to_say(boxes: Tensor, usual: Tensor, cells: Tensor, width: int, stride: float) -> Tensor:
    """The other way round: (n, 4), (n, 2) -> (n, SIDES) that cells of these numbers should say."""
    x, y = (cells % width + 0.5) * stride, (cells // width + 0.5) * stride
    left, top, right, bottom = boxes.T
    way = torch.stack([(left + right) / 2 - x, (top + bottom) / 2 - y], dim=1) / REACH
    return torch.cat([way, log_sides(boxes) - usual], dim=1)


def log_sides(boxes: Tensor) -> Tensor:
    """(n, 4) -> (n, 2): of width and height, of one model pixel at least."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp_min(1).log()


def peaks(sure: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, classes, h, w) -> logits, classes and cells (N, count) of what is no less sure than its neighbours, the
    surest first; -inf where there are fewer."""
    rows, _, height, width = sure.shape
    highest = F.max_pool2d(sure, 3, 1, 1)
    found = torch.where(sure >= highest, sure, torch.full_like(sure, -math.inf)).reshape(rows, -1)
    logits, flat = found.topk(min(count, found.shape[1]), dim=1)
    return logits, torch.div(flat, height * width, rounding_mode="floor"), flat % (height * width)


def kept(boxes: Tensor, kinds: Tensor, most: float) -> Tensor:
    """(N, n, 4), the surest first, (N, n) -> (N, n) bool: no surer one of its class overlaps it by more than `most`.

    One that is itself not kept still counts (Bolya et al. 2019, arXiv 1904.02689), so no loop is needed.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (high - low).clamp_min(0).prod(3)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(2)
    overlap = both / (area[:, :, None] + area[:, None, :] - both).clamp_min(1e-6)
    same = kinds[:, :, None] == kinds[:, None, :]
    surer = torch.ones(boxes.shape[1], boxes.shape[1], dtype=torch.bool).tril(-1)
    return ~((overlap > most) & same & surer).any(2)
