"""Whether the strongest cell of a map lies on what was to be found, where labels say where that is.

Knows predictions in raw coordinates and geometry. It scores the network together with the method: a faithful map of a
network that looks elsewhere must miss (Ming et al. 2021, arXiv 2105.06506), so it is no measure of faithfulness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foveal.explain.erasing import Erasing
from foveal.intervals import proportion
from foveal.types import Prediction


def covered(erasing: Erasing, truth: Prediction | None) -> np.ndarray | None:
    """(J,) bool: the cells whose middles lie on what the predicted class is of in the truth, in raw coordinates; None
    where it has no place, is not there, or is everywhere."""
    if truth is None:
        return None
    rows, columns = (1, *erasing.grid)[-2:]
    width, height = erasing.pieces.clip[0, 2:].tolist()
    x = (np.arange(columns) + 0.5) * width / columns
    y = (np.arange(rows) + 0.5) * height / rows
    seen = np.stack([np.tile(x, rows), y.repeat(columns)], axis=1)
    affine = erasing.pieces.affine[0].double().numpy()
    points = (seen - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    found = _within(points, truth, erasing.prediction)[erasing.places]
    return found if 0 < found.sum() < len(found) else None


def _within(points: np.ndarray, truth: Prediction, said: Prediction) -> np.ndarray:
    if truth.mask is not None:
        height, width = truth.mask.shape
        columns, rows = (points[:, axis].astype(int).clip(0, side - 1) for axis, side in ((0, width), (1, height)))
        return truth.mask[rows, columns] == said.origin
    found = np.zeros(len(points), bool)
    for box in truth.boxes:
        if box.label == said.label:
            x, y = points.T
            found |= (box.left <= x) & (x < box.right) & (box.top <= y) & (y < box.bottom)
    return found


def skill(hits: Mapping[str, Sequence[bool]], areas: Sequence[float], centre: Sequence[bool]) -> dict[str, object]:
    """JSON-able: `base`, how often the better of a random cell and the middle one hits, and by method its `hits` and
    its `skill`, what it has of what lies between the base and always."""
    base = max(float(np.mean(areas)), float(np.mean(centre)))
    methods = {}
    for name, own in hits.items():
        found = proportion(np.array(own), np.arange(len(own)))
        methods[name] = {"hits": found.to_json(), "skill": (found.value - base) / max(1e-9, 1 - base)}
    return {"base": base, "examples": len(areas), "methods": methods}
