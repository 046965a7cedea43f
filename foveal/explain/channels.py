"""What single channels of a network stand for: the examples and places that excite each most, the classes that do,
and what is lost without it.

Knows the contracts. Shown are the channels that predictions lean on most, by gradient times activation; what is lost
is measured by silencing each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Task
from foveal.intervals import proportion
from foveal.model import Model
from foveal.types import Estimate, Label, Pieces, Prediction, Raw


class Place(NamedTuple):
    """Where an example excites a channel most: its number, the middle of the cell in the model's plane (x, y), and
    how strongly."""

    example: int
    x: float
    y: float
    value: float


class Channel(NamedTuple):
    """places: in the examples that excite it most, the most first. classes: how strongly an example of each does, the
    mean. right, without: how many predictions are right, and are once it is silent; moved: how many are others."""

    stage: int
    number: int
    places: tuple[Place, ...]
    classes: dict[str, float]
    right: Estimate
    without: Estimate
    moved: Estimate


def channels(
    model: Model, task: Task, raws: Sequence[Raw], labels: Sequence[Label], stage: int, count: int, shown: int = 9
) -> list[Channel]:
    """The `count` channels of a stage of a network of planes that predictions lean on most, `shown` places each."""
    model.eval()
    seen = [task.input.seen(raw, model.stem) for raw in raws]
    leaning, strength, where = zip(*(_looked_at(model, task, x, pieces, stage) for x, pieces in seen), strict=True)
    excited, cells = torch.stack(strength), torch.stack(where)
    chosen = torch.stack(leaning).mean(0).topk(min(count, excited.shape[1])).indices.tolist()
    kinds = np.array([task.target.stratum(label) for label in labels])
    names = sorted(set(kinds.tolist()), key=task.target.class_names.index)
    said = [_said(model, task, x, pieces, stage, chosen) for x, pieces in seen]
    before, *without_each = zip(*said, strict=True)
    units, stride = np.arange(len(labels)), model.net.strides[stage]
    width = -(-seen[0][0].shape[3] // stride)
    found = []
    for number, after in zip(chosen, without_each, strict=True):
        own = excited[:, number]
        right, without = (
            np.array([task.target.agrees(one, label) for one, label in zip(own_said, labels, strict=True)])
            for own_said in (before, after)
        )
        moved = np.array([a.label != b.label for a, b in zip(before, after, strict=True)])
        places = []
        for row in own.argsort(descending=True)[:shown].tolist():
            down, across = divmod(int(cells[row, number]), width)
            places.append(Place(row, (across + 0.5) * stride, (down + 0.5) * stride, float(own[row])))
        found.append(
            Channel(
                stage=stage,
                number=number,
                places=tuple(places),
                classes={kind: float(own[torch.from_numpy(kinds == kind)].mean()) for kind in names},
                right=proportion(right, units),
                without=proportion(without, units),
                moved=proportion(moved, units),
            )
        )
    return found


def _looked_at(model: Model, task: Task, x: Tensor, pieces: Pieces, stage: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each channel: how much what is predicted leans on it, how strongly it is excited, and in which cell."""
    caught: list[Tensor] = []

    def catch(module: object, given: object, left: Tensor) -> None:
        caught.append(left)

    hook = model.net.stages[stage].register_forward_hook(catch)
    with torch.enable_grad():
        levels = model.net(x.clone().requires_grad_())
        output = model.head(levels)
        with torch.no_grad():
            finished = model.finish({name: own.detach() for name, own in output.items()}, pieces)
        prediction = task.target.decode(finished)[0]
        (gradient,) = torch.autograd.grad(task.target.score(output, prediction), caught[0])
    hook.remove()
    leaning = (gradient * caught[0]).detach().sum((0, 2, 3)).abs()
    strongest = levels[stage].detach()[0].flatten(1).max(1)
    return leaning, strongest.values, strongest.indices


def _said(
    model: Model, task: Task, x: Tensor, pieces: Pieces, stage: int, numbers: Sequence[int]
) -> list[Prediction]:
    """What is predicted, and what is once each of these channels of a stage is 0 everywhere; what does not hang on it
    is computed once."""
    net, count = model.net, 1 + len(numbers)
    parts = net.parts or (net,)
    wanted = len(net.stages) if net.parts else stage + 1
    caught: list[Tensor] = []
    hooks = [own.register_forward_hook(lambda *passed: caught.append(passed[2])) for own in net.stages[:wanted]]
    kept = [part.stages for part in parts]
    with torch.inference_mode():
        for _ in islice(net.levels(x), wanted):
            pass
        for hook in hooks:
            hook.remove()
        given = [level.repeat_interleave(count, 0) for level in caught]
        for row, number in enumerate(numbers, 1):
            given[stage][row::count, number] = 0
        try:
            first = 0
            for part, stages in zip(parts, kept, strict=True):
                behind = first + len(stages)
                known = given[first : stage + 1 if first <= stage < behind else behind]
                part.stages = nn.ModuleList([*map(_Given, known), *stages[len(known) :]])
                first = behind
            output = model.head(net(x.repeat_interleave(count, 0)))
        finally:
            for part, stages in zip(parts, kept, strict=True):
                part.stages = stages
        return task.target.decode(model.finish(output, Pieces.join([pieces] * count)))


class _Given(nn.Module):
    """A stage whose map is known."""

    def __init__(self, level: Tensor) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        return self.level
