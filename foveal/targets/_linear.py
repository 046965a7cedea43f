"""What every linear head over sums of cells can do.

Knows no head.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from foveal.types import Features


class Linear(Protocol):
    """A head whose logits are sums over cells."""

    def solved(self, features: Features, wanted: Tensor, units: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """The state in closed form, unscaled, and each row's scores (N, classes) without its unit, float64.

        wanted: (N, classes) float64; units: (N,), rows with equal ones are left out together.
        """
        ...

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """The logit of class `index` as (one map a stage, bias), for a batch of one."""
        ...
