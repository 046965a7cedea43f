"""Boxes: where things of several classes are, each an axis-aligned box in raw pixels.

Knows labels, the pyramid head and its closed form, calibration, and which cells make up a box's score. A cell is sure
of a class near the middle of its object; the surest cells name the boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from foveal.contracts import Canvas, Head, Target
from foveal.linalg import FOLDS, folds_of
from foveal.targets import _box_cells as box_cells
from foveal.targets._box_cells import IGNORED, NOTHING
from foveal.targets._box_metric import BoxMetric, match, overlap, sides_of
from foveal.targets._box_solve import Fit, logistic, rescale, usual_sides
from foveal.targets._pyramid import NECK, Pyramid, left_out, rows_of
from foveal.targets._sizes import as_seen, larger
from foveal.targets._things import boxed_things
from foveal.types import (
    Apart,
    Box,
    Dataset,
    Example,
    Features,
    Finding,
    Finished,
    Follower,
    Label,
    Output,
    Packed,
    Pieces,
    Prediction,
    Size,
    Solution,
    Thing,
    Truth,
)

# Of one class, boxes that overlap more are one object found twice.
_SAME_OBJECT = 0.6
# Two paths may differ about it where they overlap within this of that.
_ROUNDING = 1e-3
# Two paths that give boxes which overlap so much mean the same one.
_SAME_BOX = 0.9
# Boxes below this confidence are not told.
_LEAST_CONFIDENCE = 0.005
# Things of fewer pixels can hardly be told, which is worth saying from this share of all on.
_FEW_PIXELS, _MANY_SMALL = 8, 0.02
# An object that is cut off by more than this is neither asked for nor counted as wrong.
_LEAST_VISIBLE = 0.25
# What is lost by misplacing boxes counts so much more than what is lost by being unsure: weighed alike, the layers
# learn to be sure and boxes get worse.
_SIDES_COUNT = 5.0
# What overlaps a thing by so much is about it.
_OF_A_THING = 0.5
_COLOURS = ((230, 60, 60), (60, 120, 230), (50, 160, 70), (220, 150, 30), (150, 70, 200), (30, 170, 180))


@dataclass(frozen=True)
class Boxes(Target):
    """A tuple of Box for each raw thing.

    rarest: the classes, those with the fewest boxes first; most: boxes in one picture of the data; found: how many
    are looked for in one; slope, offset: of the logits, by which confidences are calibrated; threshold: the
    confidence from which a box is shown; neck: channels of the head's own layers, 0
    where there are none.
    """

    class_names: tuple[str, ...] = ()
    rarest: tuple[str, ...] = ()
    most: int = 1
    found: int = 300
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5
    neck: int = 0
    dims = frozenset({2})
    labels = "boxes"
    cost = "what mean average precision lacks of 1"
    fewest_judged = 10
    rows_a_step = 4

    def fit(self, data: Dataset) -> Boxes:
        labels = [cast("tuple[Box, ...]", example.label) for example in data.examples]
        counts = Counter(box.label for label in labels for box in label)
        rarest = tuple(sorted(data.class_names, key=lambda name: counts[name]))
        most = max((len(label) for label in labels), default=0)
        return replace(self, class_names=data.class_names, rarest=rarest, most=max(1, most))

    def load(self, example: Example) -> Label:
        return cast("tuple[Box, ...]", example.label)

    def pack(self, label: Label) -> Packed:
        rows = [(self.class_names.index(b.label), b.left, b.top, b.right, b.bottom, b.ignored) for b in label]
        return Packed(np.asarray(rows, np.float32).reshape(-1, 6), Size(len(rows), 6))

    def stratum(self, label: Label) -> str:
        """The rarest class in the picture; the most frequent of all where there is nothing in it."""
        there = {box.label for box in label}
        order = self.rarest or self.class_names
        return next((name for name in order if name in there), order[-1])

    def classes(self, label: Label) -> frozenset[str]:
        return frozenset(box.label for box in label)

    def describe(self, label: Label) -> str:
        counts = Counter(box.label for box in label if not box.ignored)
        return ", ".join(f"{counts[name]} {name}" for name in self.class_names if counts[name]) or "nothing"

    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        """boxes: (M, most, 4) in model pixels, kinds: (M, most) class indices, NOTHING or IGNORED."""
        boxes = torch.zeros(len(pieces.source), self.most, 4)
        kinds = torch.full((len(pieces.source), self.most), NOTHING)
        for row, source in enumerate(pieces.source.tolist()):
            label = labels[source][: self.most]
            if not label:
                continue
            sides = torch.from_numpy(sides_of(label)).float()
            corners = sides.reshape(-1, 2) @ pieces.affine[row, :, :2].T + pieces.affine[row, :, 2]
            corners = corners.reshape(-1, 2, 2)
            whole = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
            low, high = pieces.clip[row, :2].repeat(2), pieces.clip[row, 2:].repeat(2)
            seen = torch.minimum(torch.maximum(whole, low), high)
            share = _area(seen) / _area(whole).clamp_min(1e-6)
            kind = torch.tensor([IGNORED if b.ignored else self.class_names.index(b.label) for b in label])
            kind = torch.where(share < _LEAST_VISIBLE, torch.where(share > 0, IGNORED, NOTHING), kind)
            boxes[row, : len(label)], kinds[row, : len(label)] = seen, kind
        return {"boxes": boxes, "kinds": kinds, "plane": pieces.clip[:, 2:] - pieces.clip[:, :2]}

    def head(self, channels: Sequence[int], strides: Sequence[int]) -> Pyramid:
        classes = len(self.class_names)
        return Pyramid(channels, strides, classes + box_cells.SIDES, 2 * classes, neck=self.neck)

    def deepened(self) -> Boxes:
        return replace(self, neck=NECK)

    def shallow(self) -> Boxes:
        return replace(self, neck=0)

    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        """sure: how far cells are from being as sure as they are in the middle of an object (Li et al. 2020, arXiv
        2006.04388); sides: how far their boxes are from its own (Rezatofighi et al. 2019, arXiv 1902.09630)."""
        classes, cells = len(self.class_names), output["cells"]
        goals, strides = zip(
            *(box_cells.goal_of(truth, row, classes, cells.shape[2:]) for row in range(len(cells))), strict=True
        )
        logits, said = cells.flatten(2).split([classes, box_cells.SIDES], dim=1)
        sure = torch.stack([goal.sure for goal in goals])
        miss = (torch.sigmoid(logits) - sure).square()
        costs = miss * F.binary_cross_entropy_with_logits(logits, sure, reduction="none")
        counts = torch.stack([goal.counts for goal in goals])
        unsure = (costs * counts[:, None]).sum((1, 2)) / sure.sum((1, 2)).clamp_min(1.0)
        usual = output["usual"].reshape(len(cells), classes, 2)
        usual = torch.stack([own[goal.kinds[goal.whose]].T for own, goal in zip(usual, goals, strict=True)])
        places = torch.arange(said.shape[2], device=said.device)
        boxes = box_cells.claimed(said, usual, places, cells.shape[3], torch.stack(strides)[:, None])
        apart = 1 - _generalised_overlap(boxes, torch.stack([goal.boxes[goal.whose] for goal in goals]))
        weights = torch.stack([box_cells.alike(goal) for goal in goals])
        misplaced = (apart * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        return {"sure": unsure.mean(), "sides": _SIDES_COUNT * misplaced.mean()}

    def solve(
        self,
        head: Head,
        features: Features,
        labels: Sequence[Label],
        pieces: Pieces,
        units: np.ndarray,
        apart: Sequence[Sequence[int]] = (),
    ) -> Solution:
        """Ridge by cell; units are left out by folds of them. Its scores are no logits: the scale and offset that the
        left-out ones want are folded in. Of a single part that is kept apart nothing is used for the usual sides,
        which all of the sums depend on; of several each would be in those of the others, so they are not solved
        here."""
        pyramid, truth, classes = cast("Pyramid", head), self.encode(labels, pieces), len(self.class_names)
        alone = apart if len(apart) == 1 else ()
        folds = folds_of(units, alone)
        others = [row for row, fold in enumerate(folds) if fold >= len(alone)]
        fit = Fit(pyramid, usual_sides(truth["boxes"][others], truth["kinds"][others], classes), len(alone) + FOLDS)
        for row, levels in enumerate(rows_of(pyramid, features)):
            fit.add(levels, *box_cells.goal_of(truth, row, classes, levels[0].shape[2:]), row, folds[row])
        state, without = fit.states()
        cells = left_out(pyramid, without, folds, features)
        output = {"cells": cells, "usual": state["usual"].expand(len(cells), -1)}
        parts = [Apart(fit.without(0))] if alone else []
        for own in parts:
            rescale(own.state, cells, truth, classes, others)
        for kind, (slope, offset) in enumerate(rescale(state, cells, truth, classes, range(len(cells)))):
            cells[:, kind] *= slope
            cells[:, kind] += offset
        return Solution(state, output, tuple(parts))

    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Boxes:
        """Confidence: the share of boxes of this logit that overlap one of their class by half. The threshold lies
        below the box with which the balance (F1) of what is found and what is right is best, above the next one."""
        logits, right, count = self._all_judged(output, labels, pieces)
        if right.all() or not right.any():
            return self
        slope, offset = logistic(logits, right)
        order = np.argsort(-logits, kind="stable")
        hits = np.cumsum(right[order])
        balance = 2 * hits / (np.arange(1, len(hits) + 1) + max(1, count))
        best = int(balance.argmax())
        between = logits[order][
            best : best + 2
        ].mean()  # at a box's own logit, rounding would say whether it is shown
        threshold = 1 / (1 + np.exp(-(slope * between + offset)))
        return replace(self, slope=slope, offset=offset, threshold=float(threshold))

    def costs(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Tensor:
        """Each row's share in what the mean average precisions lack: jackknife pseudo-values, whose mean they are."""
        with torch.inference_mode():
            found = self.decode(self.finish()(output, pieces))
        metric = self.metric()
        metric.update(found, labels, range(len(labels)))
        return 1 - torch.from_numpy(metric.by_picture())

    def findings(self, labels: Sequence[Label], pieces: Pieces, names: Sequence[str]) -> tuple[Finding, ...]:
        """Boxes of which little is left once pictures have the size that is looked at."""
        count, met = 0, list[str]()
        for row, (label, name) in enumerate(zip(labels, names, strict=True)):
            sides = sides_of([box for box in label if not box.ignored])
            linear = pieces.affine[row, :, :2].abs().double().numpy()
            seen = (sides[:, 2:] - sides[:, :2]) @ linear.T
            small = int((seen.min(1) < _FEW_PIXELS).sum()) if len(seen) else 0
            count += small
            met += [name] if small else []
        boxes = sum(not box.ignored for label in labels for box in label)
        if count < _MANY_SMALL * boxes or not count:
            return ()
        width, height = (round(side) for side in (pieces.clip[0, 2:] - pieces.clip[0, :2]).tolist())
        message = (
            f"{count} of {boxes} boxes are less than {_FEW_PIXELS} pixels wide or high "
            f"{as_seen(width, height)}; {larger(width)}"
        )
        return (Finding("small-objects", message, tuple(met)),)

    def extents(self, example: Example, size: Size) -> Sequence[float]:
        sides = sides_of([box for box in self.load(example) if not box.ignored])
        return ((sides[:, 2:] - sides[:, :2]) / (size.width, size.height)).min(1).tolist()

    def swapped(self, label: Label, size: Size) -> Label:
        return tuple(replace(box, left=size.width - box.right, right=size.width - box.left) for box in label)

    def finish(self) -> nn.Module:
        return Found(len(self.class_names), self.found, self.slope, self.offset)

    def decode(self, finished: Finished) -> list[Prediction]:
        rows = zip(*(finished[name] for name in ("boxes", "confidence", "kind", "origin")), strict=True)
        return [self._decode_row(*row) for row in rows]

    def _decode_row(self, sides: Tensor, confidence: Tensor, kind: Tensor, origin: Tensor) -> Prediction:
        told = (confidence >= _LEAST_CONFIDENCE) & (sides[:, 0] < sides[:, 2]) & (sides[:, 1] < sides[:, 3])
        columns = (kind[told].tolist(), confidence[told].tolist(), sides[told].tolist(), origin[told].tolist())
        boxes = tuple(
            Box(self.class_names[k], sure, *corners, origin=place)
            for k, sure, corners, place in zip(*columns, strict=True)
        )
        if not boxes:
            return Prediction(origin=int(origin[0]))
        best = max(boxes, key=lambda box: box.score)
        return Prediction(best.label, best.score, boxes=boxes, origin=best.origin)

    def difference(self, one: Finished, other: Finished) -> float:
        """Of boxes, in whatever order: a box that the other has not counts with its confidence; one of the same cell
        with its sides too, since of two cells that are as sure rounding may choose either. So it may whether one that
        overlaps a surer one by just as much as is allowed is that one's twin."""
        (a,), (b,) = self.decode(one), self.decode(other)
        apart = []
        for finished, boxes, others in ((one, a.boxes, b.boxes), (other, b.boxes, a.boxes)):
            twins = _nearly_twins(finished)
            apart += [_apart(box, others, excused=box.origin in twins) for box in boxes]
        return max(apart, default=0.0)

    def says(self, prediction: Prediction) -> str:
        return self.describe(self.shown(prediction))

    def agrees(self, prediction: Prediction, label: Label) -> bool:
        """All that counts is found, and nothing else: boxes that are shown, overlapping by half."""
        shown, missing = self.shown(prediction), 0
        for name in self.class_names:
            found, truth = ([box for box in boxes if box.label == name] for boxes in (shown, label))
            ignored = np.asarray([box.ignored for box in truth], bool)
            hits, _ = match(sides_of(found), sides_of(truth), ignored)
            missing += int((~ignored).sum()) - int(hits[0].sum()) if hits[0].all() else 1
        return not missing

    def shown(self, prediction: Prediction) -> tuple[Box, ...]:
        """The boxes that are sure enough, the surest first."""
        sure = [box for box in prediction.boxes if box.score >= self.threshold]
        return tuple(sorted(sure, key=lambda box: -box.score))

    def things(self, label: Label, size: Size) -> Sequence[Thing]:
        return boxed_things(label, size)

    def renamed(self, label: Label, things: Sequence[Thing], name: str) -> Label:
        chosen = {thing.part for thing in things}
        return tuple(replace(box, label=name) if number in chosen else box for number, box in enumerate(label))

    def said_of(self, prediction: Prediction, thing: Thing, pieces: Pieces) -> Prediction | None:
        """The surest box that overlaps it by half."""
        if not prediction.boxes:
            return None
        sides = sides_of(prediction.boxes)
        overlaps = overlap(sides, np.asarray([thing.window], float), np.zeros(1, bool))[:, 0]
        over = [box for box, share in zip(prediction.boxes, overlaps, strict=True) if share >= _OF_A_THING]
        best = max(over, key=lambda box: box.score, default=None)
        return None if best is None else replace(prediction, label=best.label, score=best.score, origin=best.origin)

    def row(self, prediction: Prediction) -> dict[str, object]:
        names = ("label", "score", "left", "top", "right", "bottom")
        boxes = [
            dict(zip(names, (b.label, b.score, *sides_of([b])[0].tolist()), strict=True))
            for b in self.shown(prediction)
        ]
        return {"label": self.says(prediction), "score": prediction.score, "boxes": boxes}

    def ideal(self, label: Label) -> Prediction:
        return Prediction(boxes=tuple(box for box in label if not box.ignored))

    def results(self, predictions: Sequence[Prediction]) -> list[dict[str, object]]:
        """Categories are numbered from 1, in the order of the classes; all boxes that were found, not only the sure
        ones."""
        return [
            {
                "image_id": number,
                "category_id": 1 + self.class_names.index(box.label),
                "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
                "score": box.score,
            }
            for number, prediction in enumerate(predictions, 1)
            for box in prediction.boxes
        ]

    def metric(self) -> BoxMetric:
        return BoxMetric(self.class_names, self.threshold)

    def follow(self, output: Output, prediction: Prediction) -> Follower:
        """The logit of the box's class at its cell, and the confidence of that."""
        place = prediction.origin
        assert place is not None

        def of(other: Output) -> tuple[Tensor, Tensor]:
            logits = other["cells"][:, : len(self.class_names)].flatten(1)[:, place]
            return logits, torch.sigmoid(self.slope * logits + self.offset)

        return of

    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> tuple[list[Tensor], float]:
        assert prediction.origin is not None
        pyramid = cast("Pyramid", head)
        levels = pyramid.levels(pyramid.gather(maps))
        height, width = levels[0].shape[2:]
        kind, cell = divmod(prediction.origin, height * width)
        return pyramid.parts(levels, kind, F.one_hot(torch.tensor(cell), height * width).reshape(height, width))

    def alternative(self, prediction: Prediction) -> Prediction | None:
        return None

    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        drawn = canvas.copy()
        pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=max(11, min(canvas.size) // 25))
        line = max(1, min(canvas.size) // 200)
        for box in reversed(self.shown(prediction)):
            colour = _COLOURS[self.class_names.index(box.label) % len(_COLOURS)]
            pen.rectangle((box.left, box.top, box.right, box.bottom), outline=colour, width=line)
            text = box.label if box.score == 1 else f"{box.label} {box.score:.0%}"
            _, top, width, bottom = pen.textbbox((0, 0), text, font=font)
            above = box.top - (bottom - top) - 2 * line  # where it hides nothing of the box, if there is room
            left, y = max(0, min(box.left, canvas.width - width - 2 * line)), above if above >= 0 else box.top
            pen.rectangle((left, y, left + width + 2 * line, y + bottom - top + 2 * line), fill=colour)
            pen.text((left + line, y + line - top), text, fill=(255, 255, 255), font=font)
        return drawn

    def _judged(
        self, output: Output, labels: Sequence[Label], pieces: Pieces
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By class: logits of what is found, and whether each is right."""
        found = Found(len(self.class_names), self.found, 1.0, 0.0).find(output, pieces)
        judged: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self.class_names}
        for row, label in enumerate(labels):
            told = found["alone"][row] & found["logit"][row].isfinite()
            sides, kinds, own = (found[name][row][told].double().numpy() for name in ("boxes", "kind", "logit"))
            for kind, name in enumerate(self.class_names):
                truth = [box for box in label if box.label == name]
                of = np.flatnonzero(kinds == kind)
                hits, passed = match(sides[of], sides_of(truth), np.asarray([b.ignored for b in truth], bool))
                judged[name].append((own[of][~passed[0]], hits[0][~passed[0]]))
        return {
            name: (np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts]))
            for name, parts in judged.items()
        }

    def _all_judged(
        self, output: Output, labels: Sequence[Label], pieces: Pieces
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The same of all classes together, and how many boxes there are to be found."""
        judged = self._judged(output, labels, pieces).values()
        count = sum(not box.ignored for label in labels for box in label)
        return np.concatenate([one for one, _ in judged]), np.concatenate([other for _, other in judged]), count


class Found(nn.Module):
    """Cells -> the surest boxes of each plane in raw pixels, none twice: boxes (N, n, 4), confidence, kind and origin
    (N, n); a confidence of 0 is no box."""

    def __init__(self, classes: int, count: int, slope: float, offset: float) -> None:
        super().__init__()
        self.classes, self.count, self.slope, self.offset = classes, count, slope, offset

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        found = dict(self.find(output, pieces))
        confidence = torch.sigmoid(self.slope * found.pop("logit") + self.offset)
        alone = found.pop("alone")
        return {**found, "confidence": confidence * alone}

    def find(self, output: Output, pieces: Pieces) -> Finished:
        """The same with logits, and which boxes are no surer one's twin."""
        sure, said = output["cells"][:, : self.classes], output["cells"][:, self.classes :]
        height, width = sure.shape[2:]
        logits, kinds, cells = box_cells.peaks(sure, self.count)
        stride = (pieces.clip[:, 2:3] - pieces.clip[:, :1]) / width
        own = said.flatten(2).gather(2, cells[:, None].expand(-1, box_cells.SIDES, -1))
        usual = output["usual"].reshape(len(cells), self.classes, 2)
        usual = usual.gather(1, kinds[:, :, None].expand(-1, -1, 2)).transpose(1, 2)
        claimed = box_cells.claimed(own, usual, cells, width, stride)
        alone = box_cells.kept(claimed, kinds, _SAME_OBJECT)
        corners = pieces.to_raw(claimed.reshape(len(claimed), -1, 2))
        limit = pieces.raw_size.flip(1)[:, None].to(corners.dtype)
        corners = torch.minimum(corners.clamp_min(0), limit).reshape(len(claimed), -1, 2, 2)
        return {
            "boxes": torch.cat([corners.amin(2), corners.amax(2)], dim=2),
            "logit": logits,
            "alone": alone,
            "kind": kinds,
            "origin": kinds * (height * width) + cells,
        }


def _nearly_twins(finished: Finished) -> frozenset[int]:
    """The cells, by `origin`, of which the boxes overlap a surer one of their class by nearly as much as makes a
    twin."""
    boxes, kinds, origins = (finished[name][0] for name in ("boxes", "kind", "origin"))
    sides = boxes.double().numpy()
    overlaps = np.tril(overlap(sides, sides, np.zeros(len(sides), bool)), -1)
    near = (np.abs(overlaps - _SAME_OBJECT) <= _ROUNDING) & (kinds[:, None] == kinds).numpy()
    return frozenset(origins[torch.from_numpy(near.any(1))].tolist())


def _apart(box: Box, others: Sequence[Box], *, excused: bool) -> float:
    """How far a box is from the nearest of its class: in confidence, and where one cell names both in its sides.
    excused: whether there may be none."""
    alike = [other for other in others if other.label == box.label]
    near = overlap(sides_of([box]), sides_of(alike), np.zeros(len(alike), bool))[0]
    if not len(near) or near.max() < _SAME_BOX:
        return 0.0 if excused else box.score
    twin = alike[int(near.argmax())]
    gap = abs(box.score - twin.score)
    if twin.origin != box.origin:
        return gap
    sides, other = sides_of([box])[0], sides_of([twin])[0]
    return max(gap, float(np.abs(sides - other).max() / max(sides[2:] - sides[:2])))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _generalised_overlap(a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...): intersection over union, less the empty share of what surrounds both; -1 to 1."""
    left, top, right, bottom = a.unbind(-1)
    others = b.unbind(-1)
    across = torch.minimum(right, others[2]) - torch.maximum(left, others[0])
    down = torch.minimum(bottom, others[3]) - torch.maximum(top, others[1])
    both = across.clamp_min(0) * down.clamp_min(0)
    wide = torch.maximum(right, others[2]) - torch.minimum(left, others[0])
    high = torch.maximum(bottom, others[3]) - torch.minimum(top, others[1])
    around = (wide * high).clamp_min(1e-6)
    union = (right - left) * (bottom - top) + _area(b) - both
    return both / union.clamp_min(1e-6) - (around - union) / around
