"""Networks of which it is known what they look at: the truth that explanations are held against."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from foveal.contracts import Net, Task
from foveal.inputs import Image
from foveal.model import Model
from foveal.targets import Classes

GRID, SIDE = 7, 8
SIZE = GRID * SIDE


class Sums(Net):
    """One stage: the mean of each square of 8 pixels, for each colour."""

    channels, strides = (3,), (SIDE,)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.AvgPool2d(SIDE)])


class Loudest(Net):
    """The same, but only the brightest square counts, so that two bright ones can stand in for one another."""

    channels, strides = (3,), (SIZE,)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(nn.AvgPool2d(SIDE), nn.AdaptiveMaxPool2d(1))])


def world(net: Net | None = None, strength: float = 60.0) -> tuple[Model, Task]:
    """Red speaks for "red" and blue for "blue", wherever they are; green is seen and not used."""
    target = Classes(class_names=("red", "blue"), pools=("mean",))
    task = Task("classify", Image(SIZE), target)
    model = Model(task, net or Sums())
    with torch.no_grad():
        model.head.weight.copy_(strength * torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]))  # type: ignore[union-attr]
    return model.eval(), task


def painted(colours: np.ndarray) -> np.ndarray:
    """(7, 7, 3) levels above mid-gray -> a picture of as many squares."""
    return np.kron(127 + colours, np.ones((SIDE, SIDE, 1))).clip(0, 255).astype(np.uint8)


def around(plane: np.ndarray) -> np.ndarray:
    """(h, w): the mean of the up to eight cells around each, which is what stands for it once it is erased."""
    padded, counted = np.pad(plane, 1), np.pad(np.ones_like(plane), 1)
    height, width = plane.shape
    places = [(down, across) for down in range(3) for across in range(3) if (down, across) != (1, 1)]
    sums, counts = (
        sum(whole[down : down + height, across : across + width] for down, across in places)
        for whole in (padded, counted)
    )
    return np.asarray(sums / counts)


def reds(seed: int = 0) -> np.ndarray:
    """(7, 7, 3): each square redder or less so by its own amount, and greener by another."""
    dice = np.random.default_rng(seed)
    found = np.zeros((GRID, GRID, 3))
    found[:, :, 0] = dice.integers(-20, 90, (GRID, GRID))
    found[:, :, 1] = dice.integers(0, 100, (GRID, GRID))
    return found
