"""Boxes <-> cells: how sure each cell is that it is the middle of an object, and the box that it would have.

Knows planes of square cells and boxes in model coordinates. A cell says a logit for every class, where the middle of
its object lies and how large it is (after Zhou et al. 2019, "Objects as Points", arXiv 1904.07850).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.types import Truth

SIDES = 4
"""Numbers that a cell says of its box: the way to its middle, in units of `REACH`, and the logarithms of its sides as
multiples of what is usual for its class."""

REACH = 32.0
"""Model pixels."""

SAYS_A_BOX = 0.6
"""A cell that is so much in the middle of an object learns its box."""

NOTHING, IGNORED = -1, -2
"""Kinds of rows of truth that are no object: padding, and what neither counts nor is missed."""

# How fast sureness falls off from the middle: to exp(-5) at a box's border.
_SHARPNESS = 5.0
# Sides of what a cell claims: between 1 and e^7 model pixels.
_MOST_LOG_SIDE = 7.0
# Numbers among which peaks are looked for together.
_AT_ONCE = 1 << 20


def middleness(boxes: Tensor, height: int, width: int, stride: float | Tensor) -> Tensor:
    """boxes (n, 4) -> (n, h, w): 1 in the middle of each, exp(-5) at the middle of its sides, about 0 outside."""
    left, top, right, bottom = boxes.T[:, :, None]
    across, down = (
        torch.exp(-_SHARPNESS * _from_middle(near, far, cells, stride).square())
        for near, far, cells in ((left, right, width), (top, bottom, height))
    )
    return down[:, :, None] * across[:, None, :]


def _from_middle(near: Tensor, far: Tensor, cells: int, stride: float | Tensor) -> Tensor:
    """near, far: sides (n, 1) -> (n, cells): how far each cell's middle is from theirs, 1 at a side; sides are taken
    to be a cell apart at least."""
    middles = (torch.arange(cells, device=near.device) + 0.5) * stride
    half = ((far - near) / stride).clamp_min(1) * stride / 2
    return (middles - (near + far) / 2) / half


class Goal(NamedTuple):
    """What the cells of one plane should say; cells in one axis, row by row.

    sure: (classes, cells), how sure of each class; boxes: (n, 4) in model pixels, kinds: (n,) their classes; whose:
    (cells,) the row of the box that each cell should say, best: (cells,) how much it is in the middle of that, 0
    where there is no object; counts: (cells,) bool, not where something is ignored.
    """

    sure: Tensor
    boxes: Tensor
    kinds: Tensor
    whose: Tensor
    best: Tensor
    counts: Tensor


def goal(boxes: Tensor, kinds: Tensor, classes: int, height: int, width: int, stride: float | Tensor) -> Goal:
    """boxes (n, 4), n > 0; kinds (n,): class indices, NOTHING or IGNORED. No shape depends on what is in them, so no
    GPU is waited for."""
    near, there = middleness(boxes, height, width, stride).flatten(1), kinds >= 0
    own = near * there[:, None]
    own = own / own.amax(1, keepdim=True).clamp_min(1e-6)  # a small one's middle may lie between cells
    sure = near.new_zeros(classes, height * width)
    sure = sure.scatter_reduce(0, kinds.clamp_min(0)[:, None].expand_as(own), own, "amax")
    best, whose = own.max(0)
    border = math.exp(-_SHARPNESS)
    ignored = (near * (kinds == IGNORED)[:, None]).amax(0) >= border
    return Goal(sure, boxes, kinds.clamp_min(0), whose, best, ~ignored | (best > border))


def goal_of(truth: Truth, row: int, classes: int, shape: Sequence[int]) -> tuple[Goal, Tensor]:
    """What the cells (h, w) of one row should say, and their side in model pixels."""
    height, width = shape
    stride = truth["plane"][row, 0] / width
    return goal(truth["boxes"][row], truth["kinds"][row], classes, height, width, stride), stride


def alike(goal: Goal, cells: Tensor | None = None) -> Tensor:
    """Weights of these cells, or of all: those that say a box weigh 1 together for each object, since a large one has
    many more, of which each is as good as another; the others 0."""
    best, whose = (goal.best, goal.whose) if cells is None else (goal.best[cells], goal.whose[cells])
    weights = torch.where(best > SAYS_A_BOX, best, 0.0)
    numbers = torch.arange(len(goal.boxes), device=whose.device)
    totals = torch.where(whose == numbers[:, None], weights, 0.0).sum(1)
    return weights / totals.clamp_min(1e-6)[whose]


def claimed(said: Tensor, usual: Tensor, cells: Tensor, width: int, stride: float | Tensor) -> Tensor:
    """said: (..., SIDES, n) by cells of these numbers (..., n), usual: (..., 2, n) logarithms of the sides -> their
    boxes (..., n, 4) in model pixels."""
    right, down, wide, high = said.unbind(-2)
    x = (cells % width + 0.5) * stride + REACH * right
    y = torch.div(cells, width, rounding_mode="floor") * stride + 0.5 * stride + REACH * down
    usual_wide, usual_high = usual.unbind(-2)
    half_wide, half_high = (
        (own + often).clamp(0.0, _MOST_LOG_SIDE).exp() / 2 for own, often in ((wide, usual_wide), (high, usual_high))
    )
    return torch.stack([x - half_wide, y - half_high, x + half_wide, y + half_high], dim=-1)


def to_say(boxes: Tensor, usual: Tensor, cells: Tensor, width: int, stride: float | Tensor) -> Tensor:
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
    _, classes, height, width = sure.shape
    few = max(1, _AT_ONCE // (classes * height * width))  # what leaves the cache takes several times as long
    parts = [_peaks_of(some, count) for some in sure.split(few)]
    logits, flat = (torch.cat(own) for own in zip(*parts, strict=True))
    return logits, torch.div(flat, height * width, rounding_mode="floor"), flat % (height * width)


def _peaks_of(sure: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Logits and numbers, in a row of all cells of all classes."""
    highest = _highest_around(sure)
    found = torch.where(sure >= highest, sure, torch.full_like(sure, -math.inf)).flatten(1)
    logits, flat = found.topk(min(count, found.shape[1]), dim=1)
    return logits, flat


def _highest_around(maps: Tensor) -> Tensor:
    """(N, C, h, w): the highest of each cell and the eight around it; F.max_pool2d takes several times as long."""
    beside = F.pad(maps, (1, 1, 1, 1), value=-math.inf)
    rows = torch.maximum(torch.maximum(beside[..., :-2], beside[..., 1:-1]), beside[..., 2:])
    return torch.maximum(torch.maximum(rows[..., :-2, :], rows[..., 1:-1, :]), rows[..., 2:, :])


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
