"""Metric: predictions and labels -> estimates with intervals. Knows no implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from foveal.types import Estimate, Label, Prediction

CALIBRATION_ERROR = "calibration_error"
"""In `Metric.details`: how far stated confidences are from shares right, where a metric depends on confidences."""


class Metric(ABC):
    """Collects predictions and labels in raw coordinates; computes estimates with intervals."""

    @abstractmethod
    def update(
        self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
    ) -> None:
        """Add rows; equal `units` are one group, picture or duplicate set, and are not independent."""

    @abstractmethod
    def compute(self) -> dict[str, Estimate]:
        """Metric name -> estimate; the task's main metric comes first."""

    @abstractmethod
    def details(self) -> dict[str, object]:
        """JSON-able tables beside the headline: confusion, per-class figures, baseline, calibration."""
