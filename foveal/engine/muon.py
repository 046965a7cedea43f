"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): filters moved by orthogonalised momentum, all
else by Adam.

Knows tensors, and of what type a device multiplies them fast. An update in which every direction counts the same
needs fewer steps; the Adam of the rest does not ask how large a loss is, so one set of rates serves every target.
"""

# torch.optim's own optimizers rest on the _foreach functions; to a type checker they are private.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from foveal.engine.device import training_dtype

# The quintic of the Newton-Schulz iteration: three rounds bring singular values near enough to 1.
_QUINTIC, _ROUNDS = (3.4445, -4.7750, 2.0315), 3
_BETAS, _EPSILON = (0.9, 0.98), 1e-8

Group = dict[str, Any]
"""Parameters, and how they are moved."""


def turned(filters: Sequence[nn.Parameter], rate: float, momentum: float, decay: float | None = None) -> Group:
    """A group of filters (out, in, ...), moved by orthogonalised momentum. They are kept at norm sqrt(out) where
    BatchNorm follows, which does not feel it; with a decay they are free, and a step moves what comes out of them as
    far whatever their shape."""
    return {"params": list(filters), "lr": rate, "momentum": momentum, "orthogonal": True, "decay": decay}


def adam(parameters: Sequence[nn.Parameter], rate: float, weight_decay: float) -> Group:
    """A group moved by Adam with decoupled weight decay."""
    return {"params": list(parameters), "lr": rate, "weight_decay": weight_decay, "orthogonal": False}


class Muon:
    """groups: as made by `turned` and `adam`; empty ones are left out.

    It is none of torch.optim's, the first of which loads PyTorch's compiler: a second or two of every training.
    """

    def __init__(self, *groups: Group) -> None:
        self.param_groups = [group for group in groups if group["params"]]
        self.state = defaultdict[Tensor, dict[str, Tensor]](dict)

    @property
    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """As torch.optim's: tensors of each parameter by its number."""
        state = {number: self.state[own] for number, own in enumerate(self._parameters) if own in self.state}
        return {"state": state, "param_groups": self.param_groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Undo `state_dict`; rates and the like stay as they are."""
        parameters, kept = self._parameters, state_dict["state"]
        self.state.clear()
        for number, own in kept.items():
            place = parameters[number].device
            self.state[parameters[number]] = {name: tensor.to(place, copy=True) for name, tensor in own.items()}

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            moved: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not group["orthogonal"]:
                _adam(moved, [self.state[parameter] for parameter in moved], group)
                continue
            alike = defaultdict[torch.Size, list[Tensor]](list)
            for parameter in moved:
                alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                _turn(parameters, [self.state[parameter] for parameter in parameters], group)


def _turn(parameters: list[Tensor], states: list[dict[str, Tensor]], group: dict) -> None:
    """parameters: of one shape, which are moved together, since a GPU has hardly begun with one of them."""
    gradients = _gradients(parameters)
    momenta = _kept(states, "momentum", gradients)
    torch._foreach_mul_(momenta, group["momentum"])
    torch._foreach_add_(momenta, gradients)
    ahead = torch.stack(torch._foreach_add(gradients, momenta, alpha=group["momentum"]))
    moves = group["lr"] * orthogonalised(ahead.flatten(2)).reshape(ahead.shape)
    if group["decay"] is not None:
        outputs, inputs = ahead.flatten(2).shape[1:]
        moves = moves * max(1.0, outputs / inputs) ** 0.5
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["decay"])
    else:
        norms = torch._foreach_norm(parameters)
        torch._foreach_clamp_min_(norms, 1e-12)
        torch._foreach_mul_(parameters, len(parameters[0]) ** 0.5)
        torch._foreach_div_(parameters, norms)
    torch._foreach_sub_(parameters, moves.unbind())


def orthogonalised(matrices: Tensor) -> Tensor:
    """(..., a, b) float32 -> about the nearest ones whose singular values are all alike, near 1; in bfloat16 where a
    device multiplies it: a CPU that does not takes many times as long."""
    a, b, c = _QUINTIC
    dtype = training_dtype(matrices.device.type)
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x.to(dtype) / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7).to(dtype)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


def _adam(parameters: list[Tensor], states: list[dict[str, Tensor]], group: dict) -> None:
    if not parameters:
        return
    gradients = _gradients(parameters)
    means, squares = _kept(states, "mean", gradients), _kept(states, "square", gradients)
    steps = [state.setdefault("steps", gradients[0].new_zeros((), dtype=torch.float32)) for state in states]
    torch._foreach_add_(steps, 1)
    if gradients[0].device.type == "cpu":  # in one pass over memory, where the others take many
        torch._fused_adamw_(
            parameters, gradients, means, squares, [], steps, lr=group["lr"], beta1=_BETAS[0], beta2=_BETAS[1],
            weight_decay=group["weight_decay"], eps=_EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip
        return
    torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
    torch._foreach_mul_(squares, _BETAS[1])
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - _BETAS[1])
    first, second = (1 - beta ** steps[0] for beta in _BETAS)
    spreads = torch._foreach_div(squares, second)
    torch._foreach_sqrt_(spreads)
    torch._foreach_add_(spreads, _EPSILON)
    moves = torch._foreach_div(means, spreads)
    torch._foreach_mul_(moves, group["lr"] / first)
    torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
    torch._foreach_sub_(parameters, moves)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [cast("Tensor", parameter.grad) for parameter in parameters]


def _kept(states: list[dict[str, Tensor]], name: str, like: list[Tensor]) -> list[Tensor]:
    return [state.setdefault(name, torch.zeros_like(one)) for state, one in zip(states, like, strict=True)]
