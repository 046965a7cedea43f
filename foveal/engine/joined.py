"""Two networks side by side: the maps of the one, then those of the other.

Knows the contracts. What is read of both is the target's to say (`Target.joined_head`).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from foveal.contracts import Net


class Joined(Net):
    """Has the stages of both `parts`, each of which sees the input itself."""

    def __init__(self, one: Net, other: Net) -> None:
        super().__init__()
        self.parts = (one, other)
        self.stages = nn.ModuleList([*one.stages, *other.stages])
        self.channels = (*one.channels, *other.channels)
        self.strides = (*one.strides, *other.strides)
        self.rows_at_once = one.rows_at_once or other.rows_at_once

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        for part in self.parts:
            yield from part.levels(x)
