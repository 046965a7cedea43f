"""Which of two networks unseen examples favour: costs row by row, resampled by units.

Knows targets and outputs; not how the networks were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Target
from foveal.types import Label, Output, Pieces

FAVOURED = 0.9
"""The share of resamples in which a challenger that costs more has to be better."""

BLENDS = (0.25, 0.5, 0.75, 1.0)
"""How far from the closed form to what was trained: weights on the straight line between the two."""

NEEDED = 0.5
"""The same for one that costs nothing to use: it need not be surer than a mere coin."""

_RESAMPLES = 2000


def calibrated_costs(target: Target, output: Output, labels: Sequence[Label], pieces: Pieces) -> Tensor:
    """(N,) float64: what each row costs once the outputs are calibrated on these very rows."""
    return target.calibrate(output, labels, pieces).costs(output, labels, pieces)


def favour(gains: Tensor, units: np.ndarray) -> float:
    """The share of bootstrap resamples of units whose total gain is above 0."""
    _, unit = np.unique(units, return_inverse=True)
    totals = np.bincount(unit, weights=gains.numpy())
    rng = np.random.Generator(np.random.Philox(0))
    counts = rng.multinomial(len(totals), np.full(len(totals), 1 / len(totals)), size=_RESAMPLES)
    return float(((counts @ totals) > 0).mean())


def of_others(fold: int, losses: Mapping[int, Tensor], units: Mapping[int, np.ndarray]) -> tuple[Tensor, np.ndarray]:
    """Losses (choices, rows) and units of the rows of other folds than this one, or of the validation part."""
    folds = [other for other in losses if other != fold or len(losses) == 1]
    return torch.cat([losses[other] for other in folds], dim=1), np.concatenate([units[other] for other in folds])


def verdict(losses: Tensor, units: np.ndarray) -> dict[str, object]:
    """What came of comparing two, losses (2, rows), the challenger second; JSON-able."""
    return {
        "judged": losses.shape[1],
        "losses": [round(float(loss), 5) for loss in losses.mean(1)],
        "favoured": round(favour(losses[0] - losses[1], units), 3),
        "needed": NEEDED,
    }
