"""How well boxes are found: mean average precision, by the rules of COCO, with intervals over pictures.

Knows predicted and true boxes in raw pixels. Checked against faster-coco-eval in the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from foveal import intervals
from foveal.contracts import Metric
from foveal.types import Box, Estimate, Label, Prediction

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps (intersection over union) from which a found box counts as right."""

_RECALLS = np.linspace(0.0, 1.0, 101)
_RESAMPLES = 300
_BLOCKS = 200
_NAMES = ("map50", "map50_95")
_BADLY_PLACED = 0.1
KINDS = ("right", "double", "other class", "badly placed", "nothing there", "missed")
"""What can be said of boxes that are shown, and of those that are not."""


@dataclass
class _Found:
    """What was found of one class in all pictures. scores (D,); picture (D,): which one; hits, passed (T, D) bool:
    right at each threshold, and neither right nor wrong; wanted: pictures of the boxes that count, one entry each."""

    scores: list[np.ndarray] = field(default_factory=list)
    picture: list[np.ndarray] = field(default_factory=list)
    hits: list[np.ndarray] = field(default_factory=list)
    passed: list[np.ndarray] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)


class BoxMetric(Metric):
    """Mean average precision at an overlap of 0.5 (map50), and its mean over 0.5 to 0.95 (map50_95); 0, without an
    interval, where there is no box to be found.

    Labels are tuples of Box; classes without a true box are left out of the means, as COCO does. Of a crowd, or what
    is marked as too difficult, any part may be found any number of times: that is neither right nor wrong.
    """

    def __init__(self, class_names: Sequence[str], threshold: float = 0.5) -> None:
        """threshold: the confidence from which a box is shown; what goes wrong is counted of those that are."""
        self.class_names, self.threshold = tuple(class_names), threshold
        self._kinds: Counter[str] = Counter()
        self._classes = {name: _Found() for name in class_names}
        self._units: list[int] = []

    def update(
        self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
    ) -> None:
        vars(self).pop("_curves", None)
        vars(self).pop("_estimates", None)
        for prediction, label, unit in zip(predictions, labels, units, strict=True):
            number = len(self._units)
            self._units.append(int(unit))
            self._kinds.update(kinds([b for b in prediction.boxes if b.score >= self.threshold], label))
            for name in {box.label for box in (*prediction.boxes, *label)}:
                found = [box for box in prediction.boxes if box.label == name]
                self._add(name, number, found, [box for box in label if box.label == name])

    def compute(self) -> dict[str, Estimate]:
        if not self._curves:
            return {name: Estimate(0.0, None, None, len(self._units)) for name in _NAMES}
        return {name: self._estimates[number] for number, name in enumerate(_NAMES)}

    def by_picture(self) -> np.ndarray:
        """(pictures,) float64, what each contributes to the mean of map50 and map50_95: n times that of all n, less
        n - 1 times that of the others (Quenouille's pseudo-values); of many pictures some at a time."""
        number = len(self._units)
        curves, everything = list(self._curves.values()), np.ones(number)

        def score(weights: np.ndarray) -> float:
            each = np.asarray([curve.precisions(weights) for curve in curves]).reshape(-1, len(THRESHOLDS))
            there = each[~np.isnan(each[:, 0])]
            return float((there[:, 0] + there.mean(1)).mean() / 2) if len(there) else 0.0

        whole, found = score(everything), np.empty(number)
        blocks = np.array_split(np.arange(number), min(number, _BLOCKS))
        for block in blocks:
            others = everything.copy()
            others[block] = 0
            found[block] = len(blocks) * whole - (len(blocks) - 1) * score(others)
        return found

    def details(self) -> dict[str, object]:
        kinds = {name: self._kinds[name] for name in KINDS}
        return {"found": [self._class_row(name) for name in self.class_names], "kinds": kinds}

    @cached_property
    def _curves(self) -> dict[str, _Curve]:
        return {name: _Curve(own, len(self._units)) for name, own in self._classes.items() if own.wanted}

    @cached_property
    def _estimates(self) -> list[Estimate]:
        """Of the means over classes, then of each class that has boxes, by _NAMES."""
        curves = list(self._curves.values())

        def precisions(weights: np.ndarray) -> np.ndarray:
            each = np.asarray([curve.precisions(weights) for curve in curves]).reshape(-1, len(THRESHOLDS))
            rows = np.stack([each[:, 0], each.mean(1)], axis=1)
            there = rows[~np.isnan(rows[:, 0])]
            whole = there.mean(0) if len(there) else np.full(len(_NAMES), np.nan)
            return np.concatenate([whole, rows.ravel()])

        return intervals.bootstrap_all(
            precisions, np.asarray(self._units), resamples=_RESAMPLES, limits=intervals.SHARE
        )

    def _add(self, name: str, number: int, found: Sequence[Box], truth: Sequence[Box]) -> None:
        own = self._classes[name]
        scores = np.asarray([box.score for box in found])
        order = np.argsort(-scores, kind="stable")
        ignored = np.asarray([box.ignored for box in truth], bool)
        hits, passed = match(sides_of(found)[order], sides_of(truth), ignored)
        own.scores.append(scores[order])
        own.picture.append(np.full(len(found), number))
        own.hits.append(hits)
        own.passed.append(passed)
        own.wanted += [number] * int((~ignored).sum())

    def _class_row(self, name: str) -> dict[str, object]:
        """Average precisions with intervals, and the curve of precision over recall at an overlap of 0.5."""
        row: dict[str, object] = {"name": name, "boxes": len(self._classes[name].wanted)}
        if name not in self._curves:
            return {**row, **dict.fromkeys(_NAMES), "curve": []}
        first = len(_NAMES) * (1 + list(self._curves).index(name))
        found = {key: self._estimates[first + number].to_json() for number, key in enumerate(_NAMES)}
        precisions = self._curves[name].at_recalls(np.ones(len(self._units)))[0]
        return {**row, **found, "curve": [round(float(value), 4) for value in precisions]}


class _Curve:
    """Precision over recall of one class, for any weights of the pictures."""

    def __init__(self, found: _Found, pictures: int) -> None:
        scores = np.concatenate(found.scores)
        order = np.argsort(-scores, kind="stable")
        self.picture = np.concatenate(found.picture)[order].astype(int)
        hits = np.concatenate(found.hits, axis=1)[:, order]
        passed = np.concatenate(found.passed, axis=1)[:, order]
        self.right, self.wrong = hits & ~passed, ~hits & ~passed
        self.wanted = np.bincount(np.asarray(found.wanted, int), minlength=pictures)

    def precisions(self, weights: np.ndarray) -> np.ndarray:
        """(T,) averaged over recalls; NaN where nothing is wanted."""
        if not weights @ self.wanted:
            return np.full(len(THRESHOLDS), np.nan)
        return self.at_recalls(weights).mean(1)

    def at_recalls(self, weights: np.ndarray) -> np.ndarray:
        """(T, 101): the best precision at each recall or beyond, 0 where it is never reached."""
        own = weights[self.picture]
        right, wrong = (np.cumsum(part * own, axis=1) for part in (self.right, self.wrong))
        recall = right / float(weights @ self.wanted)
        precision = right / np.maximum(right + wrong, np.finfo(float).eps)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        places = np.stack([np.searchsorted(row, _RECALLS, side="left") for row in recall])
        padded = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
        return np.take_along_axis(padded, places, axis=1)


def kinds(found: Sequence[Box], label: Sequence[Box]) -> Counter[str]:
    """What each found box is, and how many true ones were missed; after Bolya et al. 2020 (arXiv 2008.08115): of
    boxes that are not right, doubles of one that is, in place but of another class, of the right class but badly
    placed (an overlap of 0.1 to 0.5), and those where nothing is."""
    told, taken = Counter[str](), set[int]()
    truth = sides_of(label)
    ignored = np.asarray([box.ignored for box in label], bool)
    ordered = sorted(found, key=lambda box: -box.score)
    for box, near in zip(ordered, overlap(sides_of(ordered), truth, ignored), strict=True):
        same = np.asarray([other.label == box.label for other in label], bool)
        if (near[ignored & same] >= THRESHOLDS[0]).any():
            continue
        own, others = np.where(same & ~ignored, near, 0.0), np.where(~same & ~ignored, near, 0.0)
        free = [place for place in np.flatnonzero(own >= THRESHOLDS[0]).tolist() if place not in taken]
        if free:
            taken.add(max(free, key=lambda place: own[place]))
            told["right"] += 1
        elif (own >= THRESHOLDS[0]).any():
            told["double"] += 1
        elif (others >= THRESHOLDS[0]).any():
            told["other class"] += 1
        elif (own >= _BADLY_PLACED).any():
            told["badly placed"] += 1
        else:
            told["nothing there"] += 1
    told["missed"] = int((~ignored).sum()) - len(taken)
    return told


def match(found: np.ndarray, truth: np.ndarray, ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """found: (D, 4), the surest first; truth: (G, 4), ignored: (G,) -> hits and passed, both (T, D) bool.

    Each found box takes the free true box that it overlaps most, if that is enough, and else an ignored one.
    """
    shape = len(THRESHOLDS), len(found)
    hits, passed = np.zeros(shape, bool), np.zeros(shape, bool)
    taken = np.zeros((len(THRESHOLDS), len(truth)), bool)
    overlaps = overlap(found, truth, ignored)
    for d in np.flatnonzero((overlaps >= THRESHOLDS[0]).any(1)):
        near = (overlaps[d] >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]) & ~taken
        for which, skipped in ((~ignored, False), (ignored, True)):
            free = near & which & ~hits[:, d, None]
            some = free.any(1)
            best = len(truth) - 1 - np.where(free, overlaps[d], -1.0)[:, ::-1].argmax(1)  # of equal ones the last
            hits[some, d], passed[some, d] = True, skipped
            if not skipped:
                taken[some, best[some]] = True
    return hits, passed


def overlap(found: np.ndarray, truth: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """(D, G) intersection over union; over the found box's own area where the true one is a crowd."""
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    own, other = (np.prod(sides[:, 2:] - sides[:, :2], axis=1) for sides in (found, truth))
    union = np.where(ignored[None], own[:, None], own[:, None] + other[None] - both)
    return both / np.maximum(union, np.finfo(float).eps)


def sides_of(boxes: Sequence[Box]) -> np.ndarray:
    """(n, 4): left, top, right, bottom."""
    return np.asarray([(b.left, b.top, b.right, b.bottom) for b in boxes], float).reshape(-1, 4)
