"""How well pixels are told apart: mean intersection over union, with intervals over pictures.

Knows predicted and true masks in raw pixels. Checked against scikit-learn in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from foveal import intervals
from foveal.contracts import Metric
from foveal.types import VOID, Estimate, Label, Mask, Prediction

_RESAMPLES = 1000
_NAMES = ("miou", "pixel_accuracy", "boundary_f1")
# Of a picture's diagonal: so far apart two borders are the same (Csurka et al., BMVC 2013).
_TOLERANCE = 0.0075


class MaskMetric(Metric):
    """miou: over the classes that are there, of all pictures' pixels together; pixel_accuracy: of those that count;
    boundary_f1: how well the borders between classes agree, the mean over pictures that have any.

    Labels are `types.Mask`; their void pixels count nowhere.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._tables: list[np.ndarray] = []
        self._borders: list[float] = []
        self._units: list[int] = []

    def update(
        self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
    ) -> None:
        vars(self).pop("_estimates", None)
        for prediction, label, unit in zip(predictions, labels, units, strict=True):
            assert prediction.mask is not None
            truth = label.array()
            self._tables.append(confusion(truth, prediction.mask, len(self.class_names)))
            self._borders.append(border_agreement(truth, prediction.mask))
            self._units.append(int(unit))

    def compute(self) -> dict[str, Estimate]:
        return {name: self._estimates[number] for number, name in enumerate(_NAMES)}

    def details(self) -> dict[str, object]:
        whole = np.sum(self._tables, axis=0)
        rows = [self._class_row(number, whole) for number in range(len(self.class_names))]
        frequent = int(whole.sum(1).argmax())
        share = float(whole.sum(1)[frequent] / max(1, whole.sum()))
        baseline = {
            "class": self.class_names[frequent],
            "pixel_accuracy": Estimate(share, None, None, len(self._units)).to_json(),
            "miou": Estimate(share / max(1, int((whole.sum(1) > 0).sum())), None, None, len(self._units)).to_json(),
        }
        return {"pixels": rows, "pixel_confusion": whole.tolist(), "baseline": baseline}

    @cached_property
    def _estimates(self) -> list[Estimate]:
        """By _NAMES, then the overlap of each class."""
        tables = np.asarray(self._tables, np.float64)
        borders = np.asarray(self._borders)

        def scores(weights: np.ndarray) -> np.ndarray:
            whole = np.tensordot(weights, tables, axes=1)
            each = overlaps(whole)
            bordered = weights * ~np.isnan(borders)
            border = float(bordered @ np.nan_to_num(borders) / bordered.sum()) if bordered.any() else np.nan
            right = np.trace(whole) / max(1.0, whole.sum())
            mean = np.nanmean(each) if (~np.isnan(each)).any() else 0.0
            return np.concatenate([[mean, right, border], each])

        found = intervals.bootstrap_all(scores, np.asarray(self._units), resamples=_RESAMPLES, limits=intervals.SHARE)
        none = Estimate(0.0, None, None, len(self._units))
        return [none if np.isnan(one.value) and number < len(_NAMES) else one for number, one in enumerate(found)]

    def _class_row(self, number: int, whole: np.ndarray) -> dict[str, object]:
        found, there = self._estimates[len(_NAMES) + number], whole[number].sum()
        pictures = sum(bool(table[number].any()) for table in self._tables)
        row = {"name": self.class_names[number], "pictures": pictures, "share": float(there / max(1, whole.sum()))}
        return {**row, "iou": found.to_json() if there else None}


def confusion(truth: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) pixels by true and found class, without void ones."""
    counts = truth != VOID
    pairs = truth[counts].astype(np.int64) * classes + found[counts]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def overlaps(table: np.ndarray) -> np.ndarray:
    """(classes,) intersection over union; NaN of classes that no true pixel has."""
    there, said, both = table.sum(1), table.sum(0), np.diagonal(table)
    return np.where(there > 0, both / np.maximum(there + said - both, 1), np.nan)


def border_agreement(truth: np.ndarray, found: np.ndarray) -> float:
    """F1 of border pixels that have one of the other's within the tolerance (in rows and columns); NaN where the
    truth has no border."""
    reach = max(1, round(_TOLERANCE * float(np.hypot(*truth.shape))))
    counts = truth != VOID
    own, other = _borders(truth) & counts, _borders(found) & counts
    if not own.any():
        return float("nan")
    if not other.any():
        return 0.0
    near_own, near_other = (_near(one, reach) for one in (own, other))
    precision, recall = near_own[other].mean(), near_other[own].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _near(marked: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) bool: pixels with a marked one no more rows and no more columns away than `reach`."""
    found, window = np.pad(marked, reach), 1 + 2 * reach
    for _ in range(2):
        wide = 1
        while wide < window:
            step = min(wide, window - wide)
            found = found[:-step] | found[step:]
            wide += step
        found = found.T
    return found


def _borders(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour is of another class; void has no border of its own."""
    found = np.zeros(mask.shape, bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    void = mask == VOID
    found[:, :-1] |= across & ~void[:, 1:] & ~void[:, :-1]
    found[:-1] |= down & ~void[1:] & ~void[:-1]
    return found


def border_share(mask: np.ndarray) -> float:
    """Of a mask's pixels, those whose right or lower neighbour is of another class."""
    return float(_borders(mask).mean())


def breadths(mask: np.ndarray) -> dict[int, float]:
    """Of each class in a mask that has a border, void aside, how broad it is in pixels: as a strip that has its area
    and as much border."""
    areas, borders = np.bincount(mask.ravel(), minlength=VOID + 1)[:VOID], np.zeros(VOID + 1, np.int64)
    for one, other in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])):
        apart = one != other
        borders += sum(np.bincount(side[apart], minlength=VOID + 1) for side in (one, other))
    return {int(kind): 2 * areas[kind] / borders[kind] for kind in np.flatnonzero(areas) if borders[kind]}


def shares_of(mask: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
    """How much of a mask each class has that is there."""
    return Mask.of(mask, class_names).shares()
