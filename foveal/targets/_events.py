"""Events: what is of one class in a row of frames; how they are told, and how well they are found.

Knows masks (1, frames) over time. An event is found where one of its class is said that begins about when it does and
ends about when it does, each said one for one true one (Mesaros et al. 2016, Applied Sciences 6, 162).
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from PIL import ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from foveal import intervals
from foveal.contracts import Canvas, Metric
from foveal.targets._mask_metric import MaskMetric
from foveal.types import FRAMES_A_SECOND, VOID, Estimate, Label, Prediction

PLAIN = ("background", "ground")
"""What is so called is no event, and not tinted."""

# So far from the true one an onset may be; an offset too, or by this share of the event's length.
_COLLAR_SECONDS, _COLLAR_SHARE = 0.2, 0.2
_OF_FRAMES = ("miou", "pixel_accuracy")
_RESAMPLES = 1000
_TOLD, _FONT = 5, 11


class Event(NamedTuple):
    """In frames, the last one not included."""

    label: str
    onset: int
    offset: int

    @property
    def seconds(self) -> tuple[float, float]:
        return self.onset / FRAMES_A_SECOND, self.offset / FRAMES_A_SECOND

    def to_json(self) -> dict[str, object]:
        onset, offset = self.seconds
        return {"onset": onset, "offset": offset, "label": self.label}


def events_of(mask: np.ndarray, class_names: Sequence[str]) -> list[Event]:
    """In a mask (1, frames), in order; what is plain, and void, is none."""
    row = mask[0].astype(np.int64)
    ends = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
    runs = [(int(row[start]), start, end) for start, end in itertools.pairwise(ends)]
    return [
        Event(class_names[kind], start, end)
        for kind, start, end in runs
        if kind != VOID and class_names[kind].casefold() not in PLAIN
    ]


def events_in_words(mask: np.ndarray, class_names: Sequence[str]) -> str:
    """ "dog 0.52–1.30 s, cat 2.00–2.41 s and 3 more"."""
    found = events_of(mask, class_names)
    told = [f"{event.label} {event.seconds[0]:.2f}–{event.seconds[1]:.2f} s" for event in found[:_TOLD]]
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(told) + more if told else "nothing"


def events_table(mask: np.ndarray, class_names: Sequence[str]) -> str:
    """A CSV of onset and offset in seconds, and label."""
    buffer = io.StringIO()
    rows = [(*(f"{end:.2f}" for end in event.seconds), event.label) for event in events_of(mask, class_names)]
    csv.writer(buffer, lineterminator="\n").writerows([("onset", "offset", "label"), *rows])
    return buffer.getvalue()


def in_frames(probabilities: Tensor, window: Sequence[float], frames: int) -> Tensor:
    """(classes, 1, cells), of which the first begins and the last ends at these frames -> (classes, 1, frames): by
    the two nearest cells; outside the window as at its edge."""
    begin, end = window
    cells = probabilities.shape[2]
    places = ((torch.arange(frames) + 0.5 - begin) * (cells / (end - begin)) - 0.5).clamp(0, cells - 1)
    low = places.long().clamp(max=max(0, cells - 2))
    share = places - low
    return probabilities[:, :, low] * (1 - share) + probabilities[:, :, (low + 1).clamp(max=cells - 1)] * share


def as_long(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(1, frames) with as many frames as another has: at another rate a recording may begin one frame more."""
    frames = np.minimum(np.arange(other.shape[1]), mask.shape[1] - 1)
    return mask[:, frames]


def stretched(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(1, frames) -> (height, width), for size (width, height)."""
    width, height = size
    return np.repeat(mask[:, np.arange(width) * mask.shape[1] // width], height, axis=0)


def named(canvas: Canvas, mask: np.ndarray, class_names: Sequence[str]) -> Canvas:
    """The picture with the class of each event at its beginning, as far as there is room for them."""
    drawn = canvas.copy()
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=_FONT)
    free = 0.0
    for event in events_of(mask, class_names):
        left = event.onset * canvas.width / mask.shape[1] + 2
        if left >= free:
            box = pen.textbbox((left, 2), event.label, font=font)
            pen.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill=(20, 20, 20))
            pen.text((left, 2), event.label, fill=(255, 255, 255), font=font)
            free = box[2] + 3
    return drawn


class EventMetric(Metric):
    """Beside what is said of frames, event_f1: the share of events found, and of those said that are true, as one."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names, self.frames = tuple(class_names), MaskMetric(class_names)
        self._counts: list[np.ndarray] = []
        self._units: list[int] = []

    def update(
        self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int] | np.ndarray
    ) -> None:
        vars(self).pop("_estimates", None)
        for prediction, label, unit in zip(predictions, labels, units, strict=True):
            assert prediction.mask is not None
            mask = as_long(prediction.mask, label.array())
            self.frames.update([replace(prediction, mask=mask)], [label], [unit])
            said, true = (events_of(own, self.class_names) for own in (mask, label.array()))
            self._counts.append(np.array([self._matched(said, true, name) for name in self.class_names]))
            self._units.append(int(unit))

    def compute(self) -> dict[str, Estimate]:
        of_frames = self.frames.compute()
        return {**{name: of_frames[name] for name in _OF_FRAMES}, "event_f1": self._estimates[0]}

    def details(self) -> dict[str, object]:
        rows = []
        for number, name in enumerate(self.class_names):
            both, said, true = np.sum(self._counts, axis=0)[number].tolist()
            if name.casefold() not in PLAIN:
                rows.append(
                    {
                        "name": name,
                        "events": true,
                        "precision": both / said if said else None,
                        "recall": both / true if true else None,
                        "f1": self._estimates[1 + number].to_json() if said + true else None,
                    }
                )
        return {**self.frames.details(), "events": rows}

    @staticmethod
    def _matched(said: Sequence[Event], true: Sequence[Event], name: str) -> tuple[int, int, int]:
        """Of one class: how many are found, said and true."""
        ours = np.array([event[1:] for event in said if event.label == name], float).reshape(-1, 1, 2)
        theirs = np.array([event[1:] for event in true if event.label == name], float).reshape(1, -1, 2)
        collar = _COLLAR_SECONDS * FRAMES_A_SECOND
        ends = np.maximum(collar, _COLLAR_SHARE * (theirs[..., 1] - theirs[..., 0]))
        off = np.abs(ours - theirs)
        fits = (off[..., 0] <= collar) & (off[..., 1] <= ends)
        pairs = linear_sum_assignment(fits, maximize=True)
        return int(fits[pairs].sum()), ours.shape[0], theirs.shape[1]

    @cached_property
    def _estimates(self) -> list[Estimate]:
        """Of all, then of each class."""
        tables = np.asarray(self._counts, np.float64)

        def scores(weights: np.ndarray) -> np.ndarray:
            each = np.tensordot(weights, tables, axes=1)
            whole = np.concatenate([each.sum(0)[None], each])
            return 2 * whole[:, 0] / np.maximum(whole[:, 1] + whole[:, 2], 1e-12)

        return intervals.bootstrap_all(scores, np.asarray(self._units), resamples=_RESAMPLES, limits=intervals.SHARE)
