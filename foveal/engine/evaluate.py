"""Score any predictor on labelled examples, in raw coordinates.

Knows predictions and labels; does not know whether a live model, an exported file or a server made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foveal.contracts import Predictor, Target
from foveal.types import Estimate, Label, Prediction, Raw


@dataclass(frozen=True)
class Scores:
    """estimates: metric name -> estimate; details: JSON-able tables beside them."""

    estimates: dict[str, Estimate]
    details: dict[str, Any]


def measure(
    target: Target, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
) -> Scores:
    """Score predictions against labels; equal `units` are not independent."""
    metric = target.metric()
    metric.update(predictions, labels, units)
    return Scores(metric.compute(), metric.details())


def evaluate(
    predict: Predictor,
    target: Target,
    raws: Sequence[Raw],
    labels: Sequence[Label],
    units: Sequence[int] | np.ndarray,
) -> Scores:
    """Score `predict` on raw things."""
    return measure(target, predict(raws), labels, units)
