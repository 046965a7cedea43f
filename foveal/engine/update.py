"""One optimizer step for a batch: the gradients of its micro-batches added up, then the optimizer's move.

Knows modules, losses and ghost batches. On a GPU the same work is recorded once and replayed as one graph: hundreds
of small kernels would otherwise wait for the CPU to launch each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from foveal.engine import ghosts
from foveal.engine.checkpoint import Optimizer
from foveal.engine.device import repeatable
from foveal.types import Output, Truth

GRADIENT = "gradient"
"""The norm of all gradients, among the losses that an update returns."""

_WARM_UP = 3


class Micro(NamedTuple):
    """Rows that are computed at once; sizes: of the parts over which BatchNorm takes its statistics."""

    arguments: Sequence[Any]
    truth: Truth
    sizes: list[int]


class Update(Protocol):
    """micros: of a batch whose parts have these sizes -> losses, means over rows, and GRADIENT, each of no axis."""

    def __call__(self, micros: Iterable[Micro], sizes: Sequence[int]) -> dict[str, Tensor]: ...
    def read(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        """What it returned, as numbers: the device is waited for."""
        ...

    def forget(self) -> None:
        """The optimizer's state was replaced."""
        ...


class Eager:
    """As it comes. Nothing in it waits for the device."""

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Output, Truth], dict[str, Tensor]],
        optimizer: Optimizer,
    ) -> None:
        self.module, self.loss, self.optimizer = module, loss, optimizer

    def __call__(self, micros: Iterable[Micro], sizes: Sequence[int]) -> dict[str, Tensor]:
        self.optimizer.zero_grad()
        losses: dict[str, Tensor] = {}
        for micro in micros:
            share = sum(micro.sizes) / sum(sizes)
            with ghosts.ghosts(self.module, micro.sizes, 1 / len(sizes)):
                found = self.loss(self.module(*micro.arguments), micro.truth)
            (torch.stack(list(found.values())).sum() * share).backward()
            for name, value in found.items():
                losses[name] = losses.get(name, 0.0) + share * value.detach()
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        losses[GRADIENT] = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        return losses

    def read(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))

    def forget(self) -> None:
        return


class Replayed:
    """On a GPU: batches of a size that has come three times are recorded; the next ones are replayed.

    The rates of the optimizer's groups become tensors, since a recorded number would stay as it is. It computes on a
    stream of its own, which nothing waits for but `read`, so that the next batch can be made meanwhile.
    """

    def __init__(self, eager: Eager, device: torch.device) -> None:
        self.eager, self.device, self.stream = eager, device, torch.cuda.Stream(device)
        for group in eager.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
        self.forget()

    def __call__(self, micros: Iterable[Micro], sizes: Sequence[int]) -> dict[str, Tensor]:
        made = list(micros)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream), repeatable():
            found = self._run(made, sizes)
        for tensor in (tensor for micro in made for tensor in _tensors(micro)):
            tensor.record_stream(self.stream)  # or its memory could be given to the next batch too early
        return found

    def read(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return self.eager.read(found)

    def forget(self) -> None:
        self._seen: dict[int, int] = {}
        self._recorded: dict[int, _Recorded] = {}

    def _run(self, micros: list[Micro], sizes: Sequence[int]) -> dict[str, Tensor]:
        rows = sum(sizes)
        if len(micros) > 1:
            return self.eager(micros, sizes)
        if rows not in self._recorded:
            self._seen[rows] = self._seen.get(rows, 0) + 1
            if self._seen[rows] <= _WARM_UP:
                return self.eager(micros, sizes)
            self._recorded[rows] = _Recorded(lambda micro: self.eager([micro], sizes), micros[0], self.stream)
        return self._recorded[rows].replay(micros[0])


class _Recorded:
    """An update as a graph, with the tensors that it reads and writes."""

    def __init__(self, update: Callable[[Micro], dict[str, Tensor]], micro: Micro, stream: torch.cuda.Stream) -> None:
        self.micro = micro._replace(
            arguments=[tensor.clone() for tensor in micro.arguments],
            truth={name: tensor.clone() for name, tensor in micro.truth.items()},
        )
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self.found = update(self.micro)

    def replay(self, micro: Micro) -> dict[str, Tensor]:
        for own, given in zip(_tensors(self.micro), _tensors(micro), strict=True):
            own.copy_(given)
        self.graph.replay()
        return {name: tensor.clone() for name, tensor in self.found.items()}


def update_of(module: nn.Module, loss: Callable[[Output, Truth], dict[str, Tensor]], optimizer: Optimizer) -> Update:
    """The one for the device that the module is on."""
    device, eager = next(module.parameters()).device, Eager(module, loss, optimizer)
    return Replayed(eager, device) if device.type == "cuda" else eager


def set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Of its groups, whether they are numbers or tensors."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _tensors(micro: Micro) -> list[Tensor]:
    truth: Mapping[str, Tensor] = micro.truth
    return [*micro.arguments, *(truth[name] for name in sorted(truth))]
