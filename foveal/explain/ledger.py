"""The ledger: which cells of the feature maps a prediction's score is the sum of.

Knows the contracts only. Where the head pools and is linear the decomposition is exact: cells + bias = score, as in
class activation maps (Zhou et al. 2016) with every pooling counted. Elsewhere it is gradient x activation at all
levels (Draelos and Carin 2020, arXiv 2011.08891), and says that it is not exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.model import Model
from foveal.types import Explanation, Output, Pieces, Prediction, Raw, Size, Thing

# float32 sums of some thousand products; a larger difference is an error of ours, not rounding.
_EXACT_TO = 1e-4


def ledger(model: Model, task: Task, raw: Raw, thing: Thing | None = None) -> Explanation:
    """Explain the model's own prediction for one raw thing, and its runner-up where the target has one; or what it
    says of one thing in it."""
    model.eval()
    with torch.no_grad():
        x, pieces = model.stem(task.input.tensor(raw))
        maps = model.net(x)
        output = model.head(maps)
        prediction = task.target.decode(model.finish(output, pieces))[0]
        if thing is not None:
            prediction = task.target.said_of(prediction, thing, pieces) or prediction
    second, words = task.target.alternative(prediction), task.input.named_cells(raw)
    runner_up = None if second is None else _explain(model, task, maps, output, pieces, x, second, None)
    found = _explain(model, task, maps, output, pieces, x, prediction, runner_up)
    return replace(found, words=words, runner_up=None if runner_up is None else replace(runner_up, words=words))


def _explain(
    model: Model,
    task: Task,
    maps: list[Tensor],
    output: Output,
    pieces: Pieces,
    x: Tensor,
    prediction: Prediction,
    runner_up: Explanation | None,
) -> Explanation:
    with torch.no_grad():
        exact = task.target.cells(model.head, maps, prediction)
        score = float(task.target.score(output, prediction))
    cells, bias = exact if exact is not None else _gradient_cells(model, task, maps, prediction, score)
    total = bias + sum(float(level.double().sum()) for level in cells)
    if exact is not None:
        assert abs(total - score) <= _EXACT_TO * max(1.0, abs(score)), f"cells and bias give {total}, not {score}"
    height, width = (x.shape[-2], x.shape[-1]) if x.ndim == 4 else (1, x.shape[-1])
    return Explanation(
        method="ledger",
        prediction=prediction,
        cells=tuple(_plane(level) for level in cells),
        bias=bias,
        score=score,
        exact=exact is not None,
        affine=from_drawing(task, pieces),
        model_size=Size(height, width),
        runner_up=runner_up,
    )


def from_drawing(task: Task, pieces: Pieces) -> np.ndarray:
    """(2, 3) float32: where a point of the rendered raw thing lies in the model's plane."""
    height, width = pieces.raw_size[0].tolist()
    drawn = task.input.drawn_size(Size(height, width))
    affine = pieces.affine[0].numpy().copy()
    affine[:, :2] *= np.array([width / drawn.width, height / drawn.height], np.float32)
    return affine


def _gradient_cells(
    model: Model, task: Task, maps: list[Tensor], prediction: Prediction, score: float
) -> tuple[list[Tensor], float]:
    leaves = [level.detach().requires_grad_() for level in maps]
    with torch.enable_grad():
        value = task.target.score(model.head(leaves), prediction)
        gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    cells = [
        (gradient * leaf.detach()).sum(1)[0]
        for leaf, gradient in zip(leaves, gradients, strict=True)
        if gradient is not None
    ]
    return cells, score - sum(float(level.sum()) for level in cells)


def _plane(level: Tensor) -> np.ndarray:
    array = level.detach().numpy().astype(np.float32)
    return array if array.ndim == 2 else array[None, :]
