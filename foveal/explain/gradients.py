"""Expected gradients: what each value seen adds to the score, on the way from other examples to this one.

Knows the contracts. Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) whose start is not one blank
but examples of the training set (Erion et al. 2021, arXiv 1906.10670): signed, not smoothed, and what the sum misses
is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from foveal.contracts import Task
from foveal.explain.erasing import Erasing
from foveal.explain.grid import summed
from foveal.model import Model
from foveal.types import Explanation, Raw

STARTS = 8
"""So many examples to start from."""

_STEPS, _AT_ONCE = 16, 8
# Along an axis the map has so many cells for each that is erased, as far as it can: finer would be noise.
_FINER = 4


def are_defined(task: Task) -> bool:
    """Not where what is seen are numbers of things that occur: half of one is nothing."""
    return not task.input.kinds


def gradients(model: Model, task: Task, erasing: Erasing, others: Sequence[Raw], like: Explanation) -> Explanation:
    """others: examples to start from, such as some of the training set; like: any explanation of the same prediction.

    bias is the mean score of the others; what cells and bias lack of the score is the error of the sum over the way.
    """
    with torch.inference_mode():
        starts = torch.cat([task.input.seen(raw, model.stem)[0] for raw in others])
    x, total = erasing.x.clone(), torch.zeros_like(erasing.x)
    places = (torch.arange(_STEPS) + 0.5) / _STEPS
    chosen = starts.clone()[torch.arange(_STEPS) % len(starts)]
    order = torch.from_numpy(np.random.default_rng(0).permutation(_STEPS))
    for part in torch.arange(_STEPS).split(_AT_ONCE):
        start = chosen[part]
        shares = places[order[part]].reshape(-1, *[1] * (x.ndim - 1))
        way = (start + shares * (x - start)).requires_grad_()
        with torch.enable_grad():
            scores = erasing.scores(model.head(model.net(way)))
            (slopes,) = torch.autograd.grad(scores.sum(), way)
        total += (slopes * (x - start)).sum(0, keepdim=True) / _STEPS
    with torch.inference_mode():
        bias = float(erasing.scores(model.head(model.net(starts))).mean())
    plane = np.atleast_2d(total[0].sum(0).numpy().astype(np.float64))
    finer = (_FINER * n if n > 1 else 1 for n in (1, *erasing.grid)[-2:])
    level = summed(plane, [min(pair) for pair in zip(finer, plane.shape, strict=True)]).astype(np.float32)
    return replace(
        like, method="gradients", cells=(level,), bias=bias, exact=False, runner_up=None,
        faithfulness=None, erased=None, detail=None,
    )  # fmt: skip
