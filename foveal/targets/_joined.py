"""Two linear heads on two networks side by side: their scores, weighted and summed, are one score.

Knows heads whose output is logits. Each score stays an exact sum over the cells of both networks' maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Head
from foveal.targets._linear import Linear
from foveal.types import Features, Output


class JoinedLinear(Head):
    """heads: of two networks; stages: how many maps the first has; shares: by what their scores are multiplied."""

    shares: Tensor

    def __init__(self, heads: Sequence[Head], stages: int, shares: tuple[float, float] = (0.5, 0.5)) -> None:
        super().__init__()
        self.heads, self.stages = nn.ModuleList(heads), stages
        self.register_buffer("shares", torch.tensor(shares))
        self._shape: tuple[int, ...] = ()

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        one, other = self._both
        return one.reduce(stage, level) if stage < self.stages else other.reduce(stage - self.stages, level)

    def join(self, parts: list[Tensor]) -> Tensor:
        one, other = self._both
        first, second = one.join(parts[: self.stages]), other.join(parts[self.stages :])
        self._shape = tuple(first.shape[1:])
        return torch.cat([first.flatten(1), second.flatten(1)], dim=1)

    def read(self, features: Tensor) -> Output:
        one, other = self._both
        first, second = features.split([int(np.prod(self._shape)), features.shape[1] - int(np.prod(self._shape))], 1)
        known, trained = one.read(first.unflatten(1, self._shape)), other.read(second)
        return {"logits": self.shares[0] * known["logits"] + self.shares[1] * trained["logits"]}

    def depths(self, stages: Sequence[int]) -> list[int]:
        return [head.depth(count) for head, count in zip(self._both, stages, strict=True)]

    def distance(self, features: Tensor) -> Tensor | None:
        size = int(np.prod(self._shape))
        return self._both[0].distance(features[:, :size].unflatten(1, self._shape))

    def likeness(self, features: Tensor) -> Tensor:
        size = int(np.prod(self._shape))
        return self._both[0].likeness(features[:, :size].unflatten(1, self._shape))

    def solved(self, features: Features, wanted: Tensor, units: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Never: both were learnt before they were joined."""
        raise NotImplementedError("joined heads are learnt one by one")

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """See `Linear`: those of the first, then those of the second."""
        one, other = (cast("Linear", head) for head in self.heads)
        first, bias = one.cells(maps[: self.stages], index)
        second, rest = other.cells(maps[self.stages :], index)
        a, b = self.shares.tolist()
        return [*(a * level for level in first), *(b * level for level in second)], a * bias + b * rest

    @property
    def _both(self) -> tuple[Head, Head]:
        one, other = self.heads
        return cast("Head", one), cast("Head", other)
