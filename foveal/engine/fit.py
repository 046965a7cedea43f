"""Gradient training as a generator: one Step after every optimizer step, everything else is the caller's `for`.

Knows a module, a loss and batches; not what they mean. Order, augmentation and dropout are functions of (seed,
epoch, step), so training that goes on from a snapshot continues bit-identically. A loss that is not finite takes
training back to the last snapshot, at half the rate; memory that runs out, with half as many rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from foveal.engine import ghosts
from foveal.engine.checkpoint import Optimizer, State, flatten_optimizer, restore_optimizer
from foveal.engine.curve import Curve, with_entry
from foveal.engine.progress import KIND, Progress, Watched
from foveal.engine.update import GRADIENT, Micro, set_rates, update_of
from foveal.errors import FovealError
from foveal.types import Draw, Output, Step, Truth

_MOST_ROLLBACKS = 3
_WARM_UP = 0.05
_MODEL = "model."
_DECIDED = "micro_batch"


class Batches(Protocol):
    """Rows to learn from, in a fixed order."""

    def __len__(self) -> int: ...

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Any], Truth]:
        """What the module is called with for these rows, and what it should have said; augmented by epoch."""
        ...


@dataclass(frozen=True)
class Schedule:
    """steps of batch_size rows in all; the rate rises for a twentieth of them and falls as a cosine to 0.

    A snapshot is taken every `snapshot_steps`: at most that much is lost to a kill or a loss that is not finite.
    """

    steps: int
    batch_size: int
    seed: int
    snapshot_steps: int = 50

    def rate(self, step: int) -> float:
        """What the base rates are multiplied by, from 0 to 1."""
        rising = (step + 1) / (_WARM_UP * self.steps + 1)
        return min(1.0, rising) * (1 + math.cos(math.pi * step / self.steps)) / 2


class Fitting:
    """Iterate to train `module` in place; `state()` between two steps is all that a resume needs.

    loss: (output, truth) -> named losses, means over rows, whose sum is minimised; optimizer: its groups' rates are
    the base rates; start: an earlier `state()` to go on from; name: of this training in the history of states, where
    its losses are kept; ghost: over how many rows BatchNorm takes statistics; watched: a convolution whose filters
    and maps are kept at moments spread over the training.

    Where memory runs out, a batch is computed in micro-batches of half as many rows, whose gradients add up to those
    of the batch; dropout alone draws other masks. How many rows that are is a decision: the next step that is yielded
    tells it as `values["micro_batch"]`, and nothing is computed so before the caller goes on. Raises FovealError
    naming the step where that cannot be halved any more, or the loss was not finite for the fourth time.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Output, Truth], dict[str, Tensor]],
        batches: Batches,
        optimizer: Optimizer,
        schedule: Schedule,
        start: State | None = None,
        name: str = "whole network",
        *,
        ghost: int = ghosts.ROWS,
        watched: Watched | None = None,
    ) -> None:
        self.module, self.batches = module, batches
        self.optimizer, self.schedule = optimizer, schedule
        self.ghost = ghosts.ghost_rows(module, ghost)
        kept = None if start is None else start.decisions.get(_DECIDED)
        self.micro_batch = schedule.batch_size if kept is None else int(str(kept))
        self.per_epoch = -(-len(batches) // schedule.batch_size)
        self.done = self.rollbacks = 0
        self.curve = Curve(name, schedule.steps)
        self.progress = Progress(name, watched, schedule.steps, self.per_epoch)
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._update = update_of(module, loss, optimizer)
        self._place = next(module.parameters()).device
        self._looks_ahead = self._place.type == "cuda"
        self._ahead: dict[int, list[Micro]] = {}
        self._ordered: tuple[int, list[int]] = (-1, [])
        if start is not None and "step" in start.position:
            self._restore(start)
        self.progress.see(self.done)
        self._snapshot = self._capture()

    def __iter__(self) -> Iterator[Step]:
        while self.done < self.schedule.steps:
            losses = self._attempt()
            if losses is None:
                self._halve()
                yield Step("fit", self.done, self.schedule.steps, {_DECIDED: float(self.micro_batch)})
                continue
            if not all(math.isfinite(value) for value in losses.values()):
                self._roll_back(losses)
                continue
            self.done += 1
            self.curve.add(self.done, losses)
            self.progress.see(self.done)
            if self.done == self.schedule.steps:
                self.curve.close(self.done)
            if self.done % self.schedule.snapshot_steps == 0 or self.done == self.schedule.steps:
                self._snapshot = self._capture()
            yield Step("fit", self.done, self.schedule.steps, losses)

    def stop(self) -> None:
        """End here, as if this had been the last step."""
        self.schedule = replace(self.schedule, steps=self.done)
        self.curve.close(self.done)
        self.progress.close(self.done)
        self._snapshot = self._capture()

    @property
    def kept(self) -> int:
        """The step of the newest snapshot."""
        return int(self._snapshot.position["step"])

    @property
    def decisions(self) -> dict[str, int]:
        """What was decided because memory ran out, if it did."""
        return {_DECIDED: self.micro_batch} if self.micro_batch < self.schedule.batch_size else {}

    def state(self, before: State) -> State:
        """`before` with the newest snapshot's position, tensors, losses and moments so far, and what was decided."""
        own = self._snapshot
        curve, *progress = own.history
        history = with_entry(before.history, curve)
        for entry in progress:
            history = with_entry(history, entry, KIND)
        return replace(
            before,
            position={**before.position, **own.position},
            history=history,
            decisions={**before.decisions, **self.decisions},
            tensors={**before.tensors, **own.tensors},
        )

    def _capture(self) -> State:
        tensors = {f"{_MODEL}{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= flatten_optimizer(self.optimizer)
        copied = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        position = {"step": self.done, "rollbacks": self.rollbacks}
        history = (self.curve.entry(), *self.progress.entries())
        return State(position, history=history, tensors={**copied, **self.progress.tensors()})

    def _restore(self, state: State) -> None:
        self.done, self.rollbacks = int(state.position["step"]), int(state.position["rollbacks"])
        self.curve.restore(state)
        self.progress.restore(state)
        own = {name: tensor for name, tensor in state.tensors.items() if name.startswith(_MODEL)}
        self.module.load_state_dict({name.removeprefix(_MODEL): tensor for name, tensor in own.items()})
        restore_optimizer(self.optimizer, {name: tensor.clone() for name, tensor in state.tensors.items()})
        self._update.forget()

    def _roll_back(self, losses: dict[str, float]) -> None:
        if self.rollbacks == _MOST_ROLLBACKS:
            raise FovealError(
                f"the loss became {losses} at step {self.done} of {self.schedule.steps}, and again at a half, a "
                f"quarter and an eighth of the rate; check the data for extreme values"
            )
        rollbacks = self.rollbacks + 1
        self._restore(self._snapshot)
        self.rollbacks = rollbacks
        self._snapshot = self._capture()

    def _halve(self) -> None:
        """Back to the snapshot, since the step that failed may have changed running statistics or some weights."""
        rows = max(self.ghost, self.micro_batch // 2 // self.ghost * self.ghost)
        if rows >= self.micro_batch:
            raise FovealError(
                f"step {self.done} of {self.schedule.steps} does not fit into memory, even with {self.micro_batch} "
                f"rows at a time; train again with a smaller --size, or where more memory is free"
            )
        self.micro_batch = rows
        self._ahead = {}
        self.optimizer.zero_grad()
        self._restore(self._snapshot)

    def _attempt(self) -> dict[str, float] | None:
        """`_step`; None where memory ran out, once nothing of the attempt is held any more."""
        try:
            return self._step()
        except (RuntimeError, MemoryError) as error:
            if not ghosts.is_out_of_memory(error):
                raise
        return None

    def _step(self) -> dict[str, float]:
        """One optimizer step; returns the losses, and the norm of the gradients where that is not finite. What such a
        step did to the weights is undone by going back to the snapshot."""
        step, schedule = self.done, self.schedule
        self._seed(hash((schedule.seed, *divmod(step, self.per_epoch))) % 2**63)  # alike in every process
        factor = schedule.rate(step) * 0.5**self.rollbacks
        set_rates(self.optimizer, [rate * factor for rate in self._rates])
        micros = self._ahead.pop(step, None) or self._micros(step)
        found = self._update(micros, self._parts(step))
        if self._looks_ahead and step + 1 < schedule.steps and self.micro_batch == schedule.batch_size:
            self._ahead = {step + 1: list(self._micros(step + 1))}  # while the GPU is busy
        losses = self._update.read(found)
        if math.isfinite(losses[GRADIENT]):
            del losses[GRADIENT]
        return losses

    def _seed(self, number: int) -> None:
        """Dropout's. `torch.manual_seed` does it for every device, and each time notes for a GPU who asked."""
        seeded = torch.default_generator if self._place.type == "cpu" else torch
        seeded.manual_seed(number)

    def _micros(self, step: int) -> Iterator[Micro]:
        """The batch of a step, as many rows at a time as fit."""
        rows, start = self._rows(step), 0
        for sizes in ghosts.batches_of(self._parts(step), self.micro_batch):
            arguments, truth = self.batches.batch(rows[start : start + sum(sizes)], step // self.per_epoch)
            yield Micro(arguments, truth, sizes)
            start += sum(sizes)

    def _parts(self, step: int) -> list[int]:
        return ghosts.parts(len(self._rows(step)), self.ghost)

    def _rows(self, step: int) -> list[int]:
        epoch, position = divmod(step, self.per_epoch)
        if self._ordered[0] != epoch:
            draw = Draw(self.schedule.seed, epoch, tuple(range(len(self.batches))))
            self._ordered = epoch, torch.argsort(draw.uniform("order"), stable=True).tolist()
        size = self.schedule.batch_size
        return self._ordered[1][position * size : (position + 1) * size]
