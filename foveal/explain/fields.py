"""How much of the input each stage of a network looks at: its receptive fields, in theory and in effect.

Knows the contracts. What a cell could see follows from kernels and strides; what it does see is less, since what lies
in the middle reaches it on more ways (Luo et al. 2016, arXiv 1701.04128).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.model import Model
from foveal.types import Raw

# What of its influence lies within the effective field.
_HELD = 0.9


class Field(NamedTuple):
    """Of the cell in the middle of a stage's map. possible, effective: sides of squares in positions of the plane,
    the former None where it is all of it; the latter holds nine tenths of the influence on it."""

    stage: int
    stride: int
    channels: int
    possible: int | None
    effective: int


def fields(model: Model, task: Task, raws: Sequence[Raw]) -> list[Field]:
    """By stage; influence is the size of the gradient, the mean over these examples."""
    model.eval()
    x = torch.cat([task.input.seen(raw, model.stem)[0] for raw in raws]).requires_grad_()
    found = []
    with torch.enable_grad():
        for stage, level in enumerate(model.net(x)):
            middle = level[:, :, level.shape[2] // 2, level.shape[3] // 2]
            (gradient,) = torch.autograd.grad(middle.sum(), x, retain_graph=True)
            size = gradient.abs().sum(1)
            influence = (size / size.sum((1, 2), keepdim=True).clamp_min(1e-30)).mean(0)
            stride = model.net.strides[stage]
            centre = (level.shape[2] // 2 + 0.5) * stride, (level.shape[3] // 2 + 0.5) * stride
            found.append(Field(stage, stride, level.shape[1], _possible(influence), _effective(influence, centre)))
    return found


def _possible(influence: Tensor) -> int | None:
    """The longer side of what has any influence at all."""
    rows, columns = (influence.sum(axis).nonzero()[:, 0] for axis in (1, 0))
    if not len(rows):
        return 0
    side = max(int(own[-1] - own[0]) + 1 for own in (rows, columns))
    return None if side >= min(influence.shape) else side


def _effective(influence: Tensor, centre: tuple[float, float]) -> int:
    rows, columns = (
        (torch.arange(length) + 0.5 - middle).abs() for length, middle in zip(influence.shape, centre, strict=True)
    )
    reach = torch.maximum(rows[:, None], columns[None, :]).flatten()
    order = reach.argsort()
    sums = influence.flatten()[order].cumsum(0)
    enough = int((sums < _HELD * sums[-1]).sum())
    return int(2 * reach[order[min(enough, len(order) - 1)]] + 1)
