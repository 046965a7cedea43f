"""What Captum computes too is computed alike."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from foveal import nets
from foveal.contracts import Task
from foveal.explain.erasing import Erasing
from foveal.explain.gradients import gradients
from foveal.explain.grid import on_grid
from foveal.explain.ledger import ledger
from foveal.inputs import Image
from foveal.model import Model
from foveal.targets import Classes
from tests.explain.worlds import around
from tests.photos import texture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import FeatureAblation, IntegratedGradients

SIZE, STEPS = 84, 16


@pytest.fixture(scope="module")
def lite0() -> tuple[Model, Task]:
    task = Task("classify", Image(SIZE), Classes(class_names=("a", "b", "c")))
    model = Model(task, nets.pretrained("lite0"))
    with torch.no_grad():
        model.head.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))  # type: ignore[operator,union-attr]
    return model.eval(), task


def scored(model: Model, task: Task, kind: int):
    def of(x: Tensor) -> Tensor:
        return model.head(model.net(x))["logits"][:, kind] / task.target.sharpness() ** -1

    return of


def test_erasing_is_feature_ablation(lite0: tuple[Model, Task]) -> None:
    model, task = lite0
    erasing = Erasing(model, task, texture("rings", np.random.default_rng(1)))
    squares = erasing.x[0].reshape(3, 7, 12, 7, 12).mean((2, 4)).numpy()
    fills = torch.from_numpy(np.stack([around(square) for square in squares])).float()
    baseline = fills.repeat_interleave(12, 1).repeat_interleave(12, 2)[None]
    cells = torch.arange(49).reshape(1, 1, 7, 7).repeat_interleave(12, 2).repeat_interleave(12, 3)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        method = FeatureAblation(scored(model, task, int(erasing.prediction.origin or 0)))
        theirs = method.attribute(erasing.x, baselines=baseline, feature_mask=cells.expand(1, 3, -1, -1))
    expected = theirs[0, 0, ::12, ::12].numpy().ravel()
    np.testing.assert_allclose(erasing.effects(), expected, atol=1e-4)


def test_gradients_from_one_start_are_integrated_gradients(lite0: tuple[Model, Task]) -> None:
    model, task = lite0
    raw, start = (texture(kind, np.random.default_rng(2)) for kind in ("rings", "stripes"))
    erasing = Erasing(model, task, raw)
    found = gradients(model, task, erasing, [start], ledger(model, task, raw))
    baseline = task.input.seen(start, model.stem)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = IntegratedGradients(scored(model, task, int(erasing.prediction.origin or 0)))
        theirs = method.attribute(erasing.x, baseline, n_steps=STEPS, method="riemann_middle")
    pixels = theirs[0].sum(0).detach().double().numpy()
    expected = pixels.reshape(7, 12, 7, 12).sum((1, 3)).ravel()
    np.testing.assert_allclose(on_grid(found, (7, 7)), expected, atol=1e-3 * np.abs(expected).max())
