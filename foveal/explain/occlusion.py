"""Occlusion: by how much the score falls when each cell is erased (Zeiler and Fergus 2014, arXiv 1311.2901).

It is what other explanations are measured by, and takes as many passes as there are cells. Cells that can stand in
for one another have no effect alone, so it too is judged, by erasing many at once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foveal.explain.erasing import Erasing
from foveal.types import Explanation


def occlusion(erasing: Erasing, like: Explanation, effects: np.ndarray | None = None) -> Explanation:
    """The effects of single cells, in the unit of the score; like: any explanation of the same prediction, whose
    geometry is taken; effects: (J,) where they are known."""
    effects = erasing.effects() if effects is None else effects
    cells = np.zeros(int(np.prod(erasing.grid)), np.float32)
    cells[erasing.places] = effects
    level = cells.reshape((1, *erasing.grid)[-2:])
    bias = like.score - float(level.sum(dtype=np.float64))
    return replace(like, method="occlusion", cells=(level,), bias=bias, exact=False, runner_up=None)
