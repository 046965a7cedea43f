"""Given: the scores of a network that was made elsewhere, read as they are.

Knows logits. What computes them is not seen: nothing can be cached below them, and no cell adds a part of its own.
"""

from __future__ import annotations

from torch import Tensor

from foveal.contracts import Head
from foveal.types import Output


class Given(Head):
    """Features (N, K) are the logits."""

    def join(self, parts: list[Tensor]) -> Tensor:
        return parts[-1]

    def read(self, features: Tensor) -> Output:
        return {"logits": features}
