"""Whether left and right may be swapped: whether things so turned are still told apart.

Thumbnails and strata can be asked before any network is trained; a closed form, once there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.engine.evaluate import measure
from foveal.engine.learners import ClosedForm
from foveal.engine.predict import live_predictor
from foveal.engine.reading import Material
from foveal.linalg import fit_ridge
from foveal.workers import Workers

_ROWS = 2000
# Turned things may be told apart a little less often: of what lies between chance and the plain score, a third.
_LOSS = 1 / 3
# Things may be turned round where that costs the closed form no more than such a share of its score, on so many rows.
_MIRRORED, _MIRROR_COSTS = 200, 0.08


def tolerates_mirror(material: Material, rows: Sequence[int]) -> bool:
    """Whether a linear function of thumbnails, fitted on every second row of a sample, knows the others turned nearly
    as often as upright. False where the input cannot be turned; labels that are not one of a few names cannot be
    asked for, and those follow the geometry anyway."""
    target = material.task.target
    sample = material.sample(list(rows), _ROWS)
    names = [target.stratum(label) for label in material.labels_of(sample)]
    with Workers(torch.get_num_threads()) as pool:
        found = list(pool.map(lambda row: _thumbnails(material, row), sample))
    if any(pair is None for pair in found):
        return False
    kinds = sorted(set(names))
    if len(kinds) < 2:
        return True
    plain, turned = (torch.from_numpy(np.stack(side)) for side in zip(*found, strict=True))  # type: ignore[arg-type]
    upright, swapped = _shares_right(plain, turned, torch.tensor([kinds.index(name) for name in names]))
    chance = max(names.count(kind) for kind in kinds) / len(names)
    return upright - swapped <= _LOSS * max(0.0, upright - chance)


def _thumbnails(material: Material, row: int) -> tuple[np.ndarray, np.ndarray] | None:
    input = material.task.input
    raw = input.load(material.examples[row].source)
    turned = input.swapped(raw)
    return None if turned is None else (input.sketch(raw), input.sketch(turned))


def _shares_right(plain: Tensor, turned: Tensor, kinds: Tensor) -> tuple[float, float]:
    """Of every second row, upright and turned, by a ridge fitted on the others."""
    fitted = len(plain[::2])
    ridge = fit_ridge(plain[::2], F.one_hot(kinds[::2], int(kinds.max()) + 1).double(), np.arange(fitted))
    shares = []
    for side in (plain[1::2], turned[1::2]):
        best = ((side.double() - ridge.centre) @ ridge.weight + ridge.bias).argmax(1)
        shares.append(float((best == kinds[1::2]).double().mean()))
    return shares[0], shares[1]


def is_known_mirrored(material: Material, closed: ClosedForm, fold: int, judged: list[int]) -> bool:
    """Whether the closed form of a fold still knows rows that it has not seen when they are turned."""
    input, (task, model) = material.task.input, closed.model(fold)
    rows = material.sample(judged, _MIRRORED)
    turned = [input.swapped(input.load(material.examples[row].source)) for row in rows]
    swapped = [raw for raw in turned if raw is not None]
    if len(swapped) < len(rows):
        return False
    labels, units = material.labels_of(rows), material.units_of(rows)
    sizes = [material.cache.facts_of(material.examples[row].source).raw_size for row in rows]
    turned_labels = [task.target.swapped(label, size) for label, size in zip(labels, sizes, strict=True)]
    known = [prediction for part in closed.predict(fold, rows) for prediction in part]
    found = live_predictor(model, task, material.extract)(swapped)
    plain, mirrored = (
        next(iter(measure(task.target, said, meant, units).estimates.values())).value
        for said, meant in ((known, labels), (found, turned_labels))
    )
    return mirrored >= plain * (1 - _MIRROR_COSTS)
