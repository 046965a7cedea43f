"""Gradient training as a generator: one Step after every optimizer step, everything else is the caller's `for`.

Knows the contracts only. Its order, augmentation and dropout are functions of (seed, epoch, step), so that a state
saved after any step continues bit-identically.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.contracts import Model, Task
from foveal.engine.checkpoint import State, flatten_optimizer, restore_optimizer
from foveal.errors import FovealError
from foveal.recipe import Recipe
from foveal.types import Draw, Label, Packed, Step


@dataclass(frozen=True)
class TrainingData:
    """Packed raw things and their labels, in a fixed order."""

    packed: Sequence[Packed]
    labels: Sequence[Label]


class Fitting:
    """Iterate to train; `state()` between two steps is all that a resume needs.

    model is trained in place on data by recipe; `start` continues from an earlier `state()`.
    """

    def __init__(self, model: Model, task: Task, data: TrainingData, recipe: Recipe, start: State | None) -> None:
        self.model, self.task, self.data, self.recipe = model, task, data, recipe
        self.per_epoch = -(-len(data.packed) // recipe.batch_size)
        self.total = recipe.epochs * self.per_epoch
        self.done = 0
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        if start is not None and "step" in start.position:
            self._restore(start)

    def __iter__(self) -> Iterator[Step]:
        self.model.train()
        while self.done < self.total:
            losses = self._step(*divmod(self.done, self.per_epoch))
            self.done += 1
            yield Step("fit", self.done, self.total, losses)

    def state(self, before: State) -> State:
        """`before` with this training's position and tensors."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return State(
            position={**before.position, "step": self.done},
            decisions=before.decisions,
            history=before.history,
            tensors={**tensors, **flatten_optimizer(self.optimizer)},
        )

    def _restore(self, start: State) -> None:
        self.done = int(start.position["step"])
        prefix = "model."
        self.model.load_state_dict(
            {name.removeprefix(prefix): t for name, t in start.tensors.items() if name.startswith(prefix)}
        )
        restore_optimizer(self.optimizer, start.tensors)

    def _step(self, epoch: int, position: int) -> dict[str, float]:
        recipe = self.recipe
        torch.manual_seed(hash((recipe.seed, epoch, position)) % 2**63)  # ints hash alike in every process
        rows = self._order(epoch)[position * recipe.batch_size : (position + 1) * recipe.batch_size]
        draw = Draw(recipe.seed, epoch, tuple(rows))
        x, pieces = self.task.input.batch([self.data.packed[i] for i in rows], draw)
        truth = self.task.target.encode([self.data.labels[i] for i in rows], pieces)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 - self.done / self.total)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.task.target.loss(self.model.head(self.model.net(x)), truth)
        total: Tensor = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise FovealError(
                f"the loss became {float(total)} at step {self.done} (epoch {epoch}): "
                f"{ {name: float(value) for name, value in losses.items()} }; train with a lower learning rate"
            )
        total.backward()
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _order(self, epoch: int) -> list[int]:
        draw = Draw(self.recipe.seed, epoch, tuple(range(len(self.data.packed))))
        return torch.argsort(draw.uniform("order"), stable=True).tolist()


def fit(model: Model, task: Task, data: TrainingData, recipe: Recipe, start: State | None = None) -> Fitting:
    """Train `model` in place; see `Fitting`. Raises FovealError naming the step where the loss is not finite."""
    return Fitting(model, task, data, recipe, start)
