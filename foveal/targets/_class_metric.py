"""How right class predictions are: accuracy, F1 and the rest, each with an interval and the count behind it.

Knows predictions and labels in class names. Checked against scikit-learn in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal import intervals
from foveal.contracts import CALIBRATION_ERROR, Metric
from foveal.targets._calibration import expected_calibration_error
from foveal.types import Estimate, Label, Prediction


class ClassMetric(Metric):
    """Collects class predictions; equal units are not independent and widen the intervals."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._index = {name: i for i, name in enumerate(class_names)}
        self._predicted: list[int] = []
        self._truth: list[int] = []
        self._confidence: list[float] = []
        self._units: list[int] = []

    def update(
        self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
    ) -> None:
        self._predicted += [self._index[str(p.label)] for p in predictions]
        self._confidence += [p.score for p in predictions]
        self._truth += [int(label) for label in labels]
        self._units += [int(unit) for unit in units]

    def compute(self) -> dict[str, Estimate]:
        truth, predicted, units = self._arrays()
        return {
            "accuracy": intervals.proportion(predicted == truth, units),
            "macro_f1": intervals.bootstrap(self._macro_f1, units, limits=intervals.SHARE),
        }

    def details(self) -> dict[str, object]:
        truth, predicted, units = self._arrays()
        right = predicted == truth
        majority = int(np.bincount(truth, minlength=len(self.class_names)).argmax())
        return {
            "confusion": self._confusion(np.ones(len(truth))).astype(int).tolist(),
            "classes": [self._class_row(k, truth, predicted, units) for k in range(len(self.class_names))],
            "baseline": {
                "class": self.class_names[majority],
                "accuracy": intervals.proportion(truth == majority, units).to_json(),
            },
            CALIBRATION_ERROR: expected_calibration_error(np.asarray(self._confidence), right),
        }

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.asarray(self._truth, int), np.asarray(self._predicted, int), np.asarray(self._units, int)

    def _confusion(self, weights: np.ndarray) -> np.ndarray:
        """(K, K) counts: rows are truth, columns predictions."""
        truth, predicted, _ = self._arrays()
        count = len(self.class_names)
        flat = np.bincount(truth * count + predicted, weights=weights, minlength=count * count)
        return flat.reshape(count, count)

    def _macro_f1(self, weights: np.ndarray) -> float:
        """Mean F1 over the classes that occur as truth or prediction; scikit-learn's default rule."""
        confusion = self._confusion(weights)
        hits, actual, claimed = np.diag(confusion), confusion.sum(1), confusion.sum(0)
        present = (actual + claimed) > 0
        return float((2 * hits[present] / (actual + claimed)[present]).mean())

    def _class_row(self, k: int, truth: np.ndarray, predicted: np.ndarray, units: np.ndarray) -> dict[str, object]:
        claimed, actual = predicted == k, truth == k
        return {
            "name": self.class_names[k],
            "precision": _share(actual[claimed], units[claimed]),
            "recall": _share(claimed[actual], units[actual]),
        }


def _share(hits: np.ndarray, units: np.ndarray) -> dict[str, float | int | None] | None:
    return intervals.proportion(hits, units).to_json() if len(hits) else None
