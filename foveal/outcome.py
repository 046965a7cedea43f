"""What came out of a run: every scored row with its prediction, and how well that was.

Knows learners and metrics. The test part is opened by `score`, and only there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from foveal.contracts import CALIBRATION_ERROR
from foveal.engine.evaluate import Scores, measure
from foveal.engine.learners import HANDED_OVER, Learner
from foveal.engine.reading import Material
from foveal.types import Prediction, Step


@dataclass
class Outcome:
    """Scored rows: `rows`, `predictions` and `folds` (whose model predicted each) run in parallel.

    uncalibrated: the same rows without calibration, None where no measure depends on confidences; train: the
    handed-over model on what it learnt from, or a sample of it; learnt_from: how many examples that was;
    without_overlap: without the test rows that duplicate training rows across official splits; distances: how far
    each scored row is from what its model learnt from, empty where the head cannot say; tolerance: what
    `foveal.tolerance` found, JSON-able, empty where nothing can be disturbed.
    """

    material: Material
    rows: list[int] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    learnt_from: int = 0
    scores: Scores = field(init=False)
    uncalibrated: Scores | None = None
    train: Scores = field(init=False)
    without_overlap: Scores | None = None
    distances: list[float] = field(default_factory=list)
    tolerance: dict[str, object] = field(default_factory=dict)

    def name(self, index: int) -> str:
        return self.material.plan.data.name(self.material.examples[self.rows[index]])

    def truth(self, index: int) -> str:
        return self.material.task.target.describe(self.material.labels[self.rows[index]])

    def said(self, index: int) -> str:
        return self.material.task.target.says(self.predictions[index])

    def right(self, index: int) -> bool:
        label = self.material.labels[self.rows[index]]
        return self.material.task.target.agrees(self.predictions[index], label)

    def in_order(self) -> list[int]:
        """Indices in the order of the examples."""
        return sorted(range(len(self.rows)), key=lambda index: self.rows[index])


def score(outcome: Outcome, learner: Learner, affords: Callable[[int], bool]) -> Iterator[Step]:
    """Fill `outcome`: predict every scored row by a model that has not seen it, and measure.

    affords: whether to go on after so many of the rows that were learnt from, which are scored only to compare.
    """
    material, scored = outcome.material, learner.scored()
    total = sum(len(own) for own in scored.values())
    for fold, own in scored.items():
        for part in learner.predict(fold, own):
            outcome.predictions += part
            yield Step("evaluate", len(outcome.predictions), total)
        distances = learner.distances(fold, own)
        outcome.distances += [] if distances is None else distances.tolist()
        outcome.rows += own
        outcome.folds += [fold] * len(own)
    outcome.learnt_from = len(learner.seen())
    seen, trained = _scored_again(material, learner, affords)
    outcome.scores = _measure(material, outcome.rows, outcome.predictions)
    if CALIBRATION_ERROR in outcome.scores.details:
        parts = (part for fold, own in scored.items() for part in learner.predict(fold, own, calibrated=False))
        outcome.uncalibrated = _measure(material, outcome.rows, [p for part in parts for p in part])
    outcome.train = _measure(material, seen, trained)
    apart = [index for index, row in enumerate(outcome.rows) if not material.splits.overlap[row]]
    if 0 < len(apart) < len(outcome.rows):
        rows = [outcome.rows[index] for index in apart]
        outcome.without_overlap = _measure(material, rows, [outcome.predictions[index] for index in apart])


def _scored_again(
    material: Material, learner: Learner, affords: Callable[[int], bool]
) -> tuple[list[int], list[Prediction]]:
    """Rows that the handed-over model learnt from and its predictions; in a drawn order, so that any first ones of
    them are a fair sample."""
    rows, found = material.shuffled(learner.rescored()), list[Prediction]()
    for part in learner.predict(HANDED_OVER, rows):
        found += part
        if len(found) < len(rows) and not affords(len(found)):
            break
    return rows[: len(found)], found


def distance_quantiles(outcome: Outcome) -> dict[str, float | int] | None:
    """What is usual for unseen examples of the same data: median, and the limit that 99 % stay below."""
    if not outcome.distances:
        return None
    median, limit = np.quantile(np.asarray(outcome.distances), (0.5, 0.99))
    return {"median": float(median), "limit": float(limit), "n": len(outcome.distances)}


def _measure(material: Material, rows: list[int], predictions: list[Prediction]) -> Scores:
    return measure(material.task.target, predictions, material.labels_of(rows), material.units_of(rows))
