"""Opaque: a network of which only what goes in and what comes out is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from foveal.contracts import Net


class Opaque(Net):
    """One stage, x (N, C, ...) -> (N, K), which `run` computes."""

    def __init__(self, run: Callable[[Tensor], Tensor], outputs: int) -> None:
        super().__init__()
        self.stages, self.channels, self.strides = nn.ModuleList(), (outputs,), (1,)
        self.run = run

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        yield self.run(x)
