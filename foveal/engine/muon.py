"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): filters moved by orthogonalised momentum, all
else by Adam.

Knows tensors only. An update in which every direction counts the same needs fewer steps; the Adam of the rest does
not ask how large a loss is, so one set of rates serves every target.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# The quintic of the Newton-Schulz iteration: three rounds bring singular values near enough to 1.
_QUINTIC, _ROUNDS = (3.4445, -4.7750, 2.0315), 3
_BETAS, _EPSILON = (0.9, 0.98), 1e-8


class Muon(torch.optim.Optimizer):
    """filters: (out, in, ...) each, kept at norm sqrt(out), which what follows (BatchNorm) does not feel; others:
    moved by Adam with decoupled weight_decay, those of the head at a rate of their own."""

    def __init__(
        self,
        filters: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        head: Sequence[nn.Parameter] = (),
        *,
        rate: float,
        momentum: float,
        other_rate: float,
        weight_decay: float,
        head_rate: float = 0.0,
    ) -> None:
        first = {"params": list(filters), "lr": rate, "momentum": momentum, "orthogonal": True}
        second = {"params": list(others), "lr": other_rate, "weight_decay": weight_decay, "orthogonal": False}
        third = {"params": list(head), "lr": head_rate, "weight_decay": weight_decay, "orthogonal": False}
        super().__init__([group for group in (first, second, third) if group["params"]], {})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    (_turn if group["orthogonal"] else _adam)(parameter, self.state[parameter], group)


def _turn(parameter: Tensor, state: dict[str, Tensor], group: dict) -> None:
    gradient = parameter.grad
    assert gradient is not None
    momentum = state.setdefault("momentum", torch.zeros_like(gradient))
    momentum.mul_(group["momentum"]).add_(gradient)
    ahead = gradient.add(momentum, alpha=group["momentum"])
    parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp_min(1e-12))
    parameter.sub_(group["lr"] * orthogonalised(ahead.flatten(1)).reshape(parameter.shape))


def orthogonalised(matrix: Tensor) -> Tensor:
    """(a, b) float32 -> about the nearest one whose singular values are all alike, near 1; computed in bfloat16."""
    a, b, c = _QUINTIC
    x = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x = x.bfloat16() / (x.norm() + 1e-7).bfloat16()
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if len(matrix) > matrix.shape[1] else x).float()


def _adam(parameter: Tensor, state: dict[str, Tensor], group: dict) -> None:
    gradient = parameter.grad
    assert gradient is not None
    mean = state.setdefault("mean", torch.zeros_like(gradient))
    square = state.setdefault("square", torch.zeros_like(gradient))
    steps = state.setdefault("steps", torch.zeros((), dtype=torch.float32, device=gradient.device)).add_(1)
    mean.lerp_(gradient, 1 - _BETAS[0])
    square.lerp_(gradient.square(), 1 - _BETAS[1])
    first, second = (1 - beta**steps for beta in _BETAS)
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    parameter.sub_(group["lr"] * (mean / first) / ((square / second).sqrt() + _EPSILON))
