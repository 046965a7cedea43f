"""Masks: which of several classes each pixel of a picture is of.

Knows labels, the pyramid head and its closed form, calibration, and which cells make up the score of a region.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.contracts import Canvas, Head, Target
from foveal.linalg import FOLDS, folds_of
from foveal.targets._events import (
    PLAIN,
    EventMetric,
    as_long,
    events_in_words,
    events_of,
    events_table,
    in_frames,
    named,
    stretched,
)
from foveal.targets._mask_drawing import COLOURS, called, tinted
from foveal.targets._mask_metric import MaskMetric, border_share, breadths, confusion, overlaps, shares_of
from foveal.targets._mask_solve import MaskFit, cell_shares, multiplied, scale_of
from foveal.targets._pyramid import FINEST_STRIDE, NECK, Pyramid, left_out, rows_of
from foveal.targets._sizes import as_seen, larger
from foveal.targets._things import masked_things
from foveal.types import (
    VOID,
    Apart,
    Dataset,
    Draw,
    Example,
    Features,
    Finding,
    Finished,
    Follower,
    Label,
    Mask,
    Output,
    Packed,
    Pieces,
    Prediction,
    Size,
    Solution,
    Thing,
    Truth,
)

# A picture is right as a whole where so many of its pixels are.
_RIGHT = 0.9
# Classes with less of a picture are not told of it.
_TOLD = 0.005
# Pixels drawn of each picture to calibrate by.
_CALIBRATED = 100
# From this share of border pixels on, in a sample of so many masks, things are so thin that a map of stride 2 tells
# more, for twice the memory: membranes of cells have more, digits traced in scenes less and gain nothing.
_THIN, _LOOKED_AT, _FINER = 0.05, 50, 2
# What is less broad, as the network sees it, is hardly told.
_FEW_PIXELS = 2
# Rows of pitch that are kept apart where places are times.
_BANDS = 4
# How much rarer classes count more: the inverse of their share to this power; none is taken to be rarer than this.
_BALANCE, _RAREST = 0.5, 1e-3
# How much a lack of overlap counts beside cross-entropy.
_OVERLAP_COUNTS = 0.5


@dataclass(frozen=True)
class Masks(Target):
    """A `types.Mask` for each raw thing.

    rarest: the classes, those with the fewest pixels first; weights: how much a pixel of each class counts in
    learning; temperature: divides logits before softmax; thin: whether so much of the masks is border that a map
    finer than usual is worth its cost; neck: channels of the head's own layers, 0 where there are none; timed:
    whether places are times only, pixels frames (`types.FRAMES_A_SECOND`), and what is alike in a row an event.
    """

    class_names: tuple[str, ...] = ()
    rarest: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    thin: bool = False
    neck: int = 0
    timed: bool = False
    dims = frozenset({2})
    labels = "masks"
    cost = "what mean overlap lacks of 1"
    fewest_judged = 6
    rows_a_step = 4
    fewest_pixels = 4

    def fit(self, data: Dataset) -> Masks:
        counts: Counter[str] = Counter()
        for example in data.examples:
            if isinstance(example.label, Mask):
                counts.update(dict(example.label.pixels))
        rarest = tuple(sorted(data.class_names, key=lambda name: counts[name]))
        shares = np.asarray([counts[name] for name in data.class_names], float) / max(1, counts.total())
        weights = np.maximum(shares, _RAREST) ** -_BALANCE
        weights /= max(float(shares @ weights), 1e-12) if counts else 1.0
        fitted = replace(self, class_names=data.class_names, rarest=rarest, weights=tuple(weights.tolist()))
        some = data.examples[:: max(1, len(data.examples) // _LOOKED_AT)]
        borders = [border_share(e.label.array()) for e in some if isinstance(e.label, Mask)]
        return replace(fitted, thin=bool(borders) and float(np.mean(borders)) >= _THIN)

    def load(self, example: Example) -> Label:
        """By these classes, whatever others the data that it comes from have, and in whatever order."""
        label = cast("Mask", example.label)
        own = [self.class_names.index(name) for name, _ in label.pixels]
        array = label.array()
        there = np.flatnonzero(np.bincount(array.ravel(), minlength=VOID + 1)[:VOID])
        if there.tolist() == own:
            return label
        table = np.full(VOID + 1, VOID, np.uint8)
        table[there] = own
        return Mask.of(table[array], self.class_names)

    def pack(self, label: Label) -> Packed:
        return Packed(label.array(), label.size)

    def stratum(self, label: Label) -> str:
        """The rarest class in the picture."""
        there = self.classes(label)
        order = self.rarest or self.class_names
        return next((name for name in order if name in there), order[-1])

    def classes(self, label: Label) -> frozenset[str]:
        return frozenset(name for name, _ in label.pixels)

    def describe(self, label: Label) -> str:
        return events_in_words(label.array(), self.class_names) if self.timed else _in_words(label.shares())

    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        """mask: (M, H, W) uint8, the class of the raw pixel in which each model pixel's centre lies; VOID outside."""
        found = []
        for row, source in enumerate(pieces.source.tolist()):
            width, height = (int(side) for side in pieces.clip[row, 2:])
            found.append(_seen(labels[source].array(), pieces, row, height, width))
        return {"mask": torch.from_numpy(np.stack(found))}

    def head(self, channels: Sequence[int], strides: Sequence[int]) -> Pyramid:
        finest = _FINER if self.thin else FINEST_STRIDE
        bands = _BANDS if self.timed else 0
        count = len(self.class_names)
        return Pyramid(channels, strides, count, 0, around=not self.timed, finest=finest, neck=self.neck, bands=bands)

    def deepened(self) -> Masks:
        return replace(self, neck=NECK)

    def shallow(self) -> Masks:
        return replace(self, neck=0)

    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        """Cross-entropy of the shares of classes in each cell, rarer classes counting more; and what the overlap of
        what is said with what is there lacks of 1, for each class alike (Rahman and Wang 2016)."""
        logits = output["cells"] / self.temperature
        shares = cell_shares(truth["mask"], len(self.class_names), logits.shape[2:])
        weighted = shares * self._weights(logits)[:, None, None]
        costs = -(weighted * logits.log_softmax(1)).sum()
        apart = _OVERLAP_COUNTS * _lacking_overlap(logits.softmax(1), shares)
        return {"cross_entropy": costs / weighted.sum().clamp_min(1e-6), "overlap": apart}

    def _weights(self, like: Tensor) -> Tensor:
        """(classes,), made where `like` lies: while a GPU records its steps, nothing can be copied to it."""
        weights = self.weights or (1.0,) * len(self.class_names)
        return torch.stack([like.new_full((), weight) for weight in weights])

    def solve(
        self,
        head: Head,
        features: Features,
        labels: Sequence[Label],
        pieces: Pieces,
        units: np.ndarray,
        apart: Sequence[Sequence[int]] = (),
    ) -> Solution:
        """Ridge by cell; units are left out by folds of them. Its scores are no logits: the scale that the left-out
        ones want is folded in. Of two parts that are kept apart the other one cannot choose a penalty by itself."""
        apart = apart if len(apart) != 2 else ()
        pyramid, weights, folds = cast("Pyramid", head), self._weights(torch.zeros(())), folds_of(units, apart)
        fit = MaskFit(pyramid, weights, len(apart) + FOLDS, len(labels))
        for row, levels in enumerate(rows_of(pyramid, features)):
            truth = self.encode([labels[row]], pieces.take([row]))["mask"]
            shares = cell_shares(truth, len(self.class_names), levels[0].shape[2:])
            fit.add(levels, shares[0], row, folds[row])
        state, without = fit.states()
        cells = left_out(pyramid, without, folds, features)
        output = {"cells": cells, "usual": cells.new_zeros(len(cells), 0)}
        drawn, calibrated = self._drawn(output, labels, pieces), replace(self, temperature=1.0)
        parts = []
        for part in range(len(apart)):
            others = [pixels for pixels, fold in zip(drawn, folds, strict=True) if fold != part]
            parts.append(Apart(multiplied(fit.without(part), scale_of(others)), calibrated))
        scale = scale_of(drawn)
        cells *= scale
        return Solution(multiplied(state, scale), output, tuple(parts))

    def costs(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Tensor:
        """How far the surest classes are from overlapping the true ones: 1 less the mean, over the classes that a
        picture has, of intersection over union."""
        truths, found = self.encode(labels, pieces)["mask"], []
        for cells, truth in zip(output["cells"], truths.numpy(), strict=True):
            logits = F.interpolate(cells[None], truth.shape, mode="bilinear", align_corners=False)[0]
            surest = logits.max(0).indices  # argmax takes 20 times as long
            table = confusion(truth, surest.numpy(), len(self.class_names))
            found.append(1 - float(np.nanmean(overlaps(table))) if table.any() else 0.0)
        return torch.tensor(found, dtype=torch.float64)

    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Masks:
        return replace(self, temperature=1 / scale_of(self._drawn(output, labels, pieces)))

    def _drawn(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> list[tuple[Tensor, Tensor]]:
        """Of each picture logits (n, classes) of pixels drawn, and their classes (n,)."""
        found = []
        for row in range(len(labels)):
            own, truth = output["cells"][row], self.encode([labels[row]], pieces.take([row]))["mask"][0]
            places = (Draw(0, 0, (row,)).uniform("calibrated", _CALIBRATED)[0] * truth.numel()).long()
            places = places[truth.flatten()[places] != VOID]
            height, width = own.shape[1:]
            down = torch.div(places, truth.shape[1], rounding_mode="floor") * height // truth.shape[0]
            across = places % truth.shape[1] * width // truth.shape[1]
            found.append((own[:, down, across].T, truth.flatten()[places].long()))
        return found

    def extents(self, example: Example, size: Size) -> Sequence[float]:
        mask = cast("Mask", example.label).array()
        return [breadth / max(mask.shape) for breadth in breadths(mask).values()]

    def findings(self, labels: Sequence[Label], pieces: Pieces, names: Sequence[str]) -> tuple[Finding, ...]:
        """Classes of which little is left once pictures have the size that is looked at."""
        seen: dict[int, list[tuple[float, str]]] = defaultdict(list)
        step = max(1, len(labels) // _LOOKED_AT)
        for row in range(0, len(labels), step):
            axes = pieces.affine[row, :1, :1] if self.timed else pieces.affine[row, :, :2]
            scale = float(axes.abs().max())
            for kind, breadth in breadths(labels[row].array()).items():
                seen[kind].append((scale * breadth, names[row]))
        thin = {kind: own for kind, own in seen.items() if np.median([broad for broad, _ in own]) < _FEW_PIXELS}
        if not thin:
            return ()
        width, height = (round(side) for side in (pieces.clip[0, 2:] - pieces.clip[0, :2]).tolist())
        message = (
            f"{', '.join(self.class_names[kind] for kind in sorted(thin))}: mostly less than {_FEW_PIXELS} pixels "
            f"broad {as_seen(width, height)}; {larger(width)}"
        )
        met = sorted({name for own in thin.values() for broad, name in own if broad < _FEW_PIXELS})
        return (Finding("small-objects", message, tuple(met)),)

    def swapped(self, label: Label, size: Size) -> Label:
        return Mask.of(np.ascontiguousarray(label.array()[:, ::-1]), self.class_names)

    def finish(self) -> nn.Module:
        return TimedShares(self.temperature) if self.timed else Shares(self.temperature)

    def decode(self, finished: Finished) -> list[Prediction]:
        probabilities, sizes = finished["probabilities"], finished["raw_size"].tolist()
        if self.timed:
            probabilities = [
                in_frames(own, place.tolist(), width)
                for own, place, (_, width) in zip(probabilities, finished["window"], sizes, strict=True)
            ]
        return [self._decode_row(own, *size) for own, size in zip(probabilities, sizes, strict=True)]

    def _decode_row(self, probabilities: Tensor, height: int, width: int) -> Prediction:
        """The surest class of each pixel; class by class, so that a large picture needs little memory."""
        surest, mask = torch.full((height, width), -1.0), torch.zeros(height, width, dtype=torch.uint8)
        cells = probabilities.float()
        for kind in _somewhere_surest(cells):
            own = F.interpolate(cells[None, kind, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
            mask = torch.where(own > surest, kind, mask)
            surest = torch.maximum(surest, own)
        counts = torch.bincount(mask.flatten().long(), minlength=len(self.class_names))
        kind = self._foremost(counts.tolist())
        score = float(surest.mean().clamp(0, 1))
        return Prediction(self.class_names[kind], score, mask=mask.numpy(), origin=kind)

    def _foremost(self, counts: Sequence[int]) -> int:
        """The largest class that is more than ground; the largest of all where there is hardly any other."""
        things = [k for k, name in enumerate(self.class_names) if name.casefold() not in PLAIN]
        largest = max(things, key=lambda kind: counts[kind], default=0)
        return largest if counts[largest] >= _TOLD * sum(counts) else int(np.argmax(counts))

    def ideal(self, label: Label) -> Prediction:
        return Prediction(mask=label.array())

    def files(self, prediction: Prediction) -> Mapping[str, bytes]:
        """A PNG of class numbers with the colours that `draw` has; of times a table of events."""
        assert prediction.mask is not None
        if self.timed:
            return {".events.csv": events_table(prediction.mask, self.class_names).encode()}
        picture = Pillow.fromarray(prediction.mask).convert("P")
        picture.putpalette([band for kind in range(VOID + 1) for band in COLOURS[kind % len(COLOURS)]])
        buffer = BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        return {".mask.png": buffer.getvalue()}

    def metric(self) -> EventMetric | MaskMetric:
        return EventMetric(self.class_names) if self.timed else MaskMetric(self.class_names)

    def follow(self, output: Output, prediction: Prediction) -> Follower:
        """The mean logit of the class, and its mean probability, over the cells that say it in this output, within
        the prediction's window; over all of them where none does."""
        kind = prediction.origin
        assert kind is not None
        region = _region(output["cells"][0], kind, prediction.window)

        def of(other: Output) -> tuple[Tensor, Tensor]:
            cells = other["cells"]
            sure = torch.softmax(cells / self.temperature, dim=1)[:, kind]
            shares = region.clone()  # what was made in inference mode is not differentiated with
            return (cells[:, kind] * shares).sum((1, 2)), (sure * shares).sum((1, 2))

        return of

    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> tuple[list[Tensor], float]:
        assert prediction.origin is not None
        pyramid = cast("Pyramid", head)
        levels = pyramid.levels(pyramid.gather(maps))
        region = _region(pyramid.read_levels(levels)[0], prediction.origin, prediction.window)
        return pyramid.parts(levels, prediction.origin, region)

    def alternative(self, prediction: Prediction) -> Prediction | None:
        return None

    def difference(self, one: Finished, other: Finished) -> float:
        return float((one["probabilities"] - other["probabilities"]).abs().max())

    def says(self, prediction: Prediction) -> str:
        if self.timed and prediction.mask is not None:
            return events_in_words(prediction.mask, self.class_names)
        return _in_words(self._shares(prediction))

    def agrees(self, prediction: Prediction, label: Label) -> bool:
        truth = label.array()
        assert prediction.mask is not None
        mask = as_long(prediction.mask, truth) if self.timed else prediction.mask
        counts = truth != VOID
        return bool((mask[counts] == truth[counts]).mean() >= _RIGHT)

    def things(self, label: Label, size: Size) -> Sequence[Thing]:
        return masked_things(label.array(), self.class_names)

    def renamed(self, label: Label, things: Sequence[Thing], name: str) -> Label:
        array = label.array().copy()
        for thing in things:
            rows, columns, own = thing.part
            array[rows, columns][own] = self.class_names.index(name)
        return Mask.of(array, self.class_names)

    def said_of(self, prediction: Prediction, thing: Thing, pieces: Pieces) -> Prediction | None:
        """What most of its pixels are said to be."""
        assert prediction.mask is not None
        rows, columns, own = thing.part
        said = prediction.mask[rows, columns]
        counts = np.bincount(said[own[:, : said.shape[1]]], minlength=len(self.class_names))
        kind = int(counts.argmax())
        share, window = (
            float(counts[kind] / max(1, counts.sum())),
            pieces.shares_of(cast("Sequence[float]", thing.window)),
        )
        return replace(prediction, label=self.class_names[kind], score=share, origin=kind, window=window)

    def row(self, prediction: Prediction) -> dict[str, object]:
        shares = {name: round(share, 6) for name, share in self._shares(prediction).items()}
        found: dict[str, object] = {"label": self.says(prediction), "score": prediction.score, "shares": shares}
        if self.timed and prediction.mask is not None:
            found["events"] = [event.to_json() for event in events_of(prediction.mask, self.class_names)]
        return found

    def _shares(self, prediction: Prediction) -> dict[str, float]:
        assert prediction.mask is not None
        return shares_of(prediction.mask, self.class_names)

    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        """Every class but a background tinted in its colour and named, its border drawn."""
        assert prediction.mask is not None
        if self.timed:
            drawn = tinted(canvas, stretched(prediction.mask, canvas.size), self.class_names)
            return named(drawn, prediction.mask, self.class_names)
        return called(tinted(canvas, prediction.mask, self.class_names), prediction.mask, self.class_names)


class Shares(nn.Module):
    """Cells -> calibrated probabilities (N, classes, h, w) of the parts of a raw thing, and its raw size (N, 2)."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        probabilities = torch.softmax(output["cells"].float() / self.temperature, dim=1)
        return {"probabilities": probabilities, "raw_size": pieces.raw_size}


class TimedShares(nn.Module):
    """The same over time; window: (N, 2), at which frames the first cell begins and the last one ends."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        probabilities = torch.softmax(output["cells"].float() / self.temperature, dim=1)
        ends = pieces.clip[:, [0, 2]] - pieces.affine[:, :1, 2]
        return {"probabilities": probabilities, "raw_size": pieces.raw_size, "window": ends / pieces.affine[:, :1, 0]}


def _somewhere_surest(cells: Tensor) -> list[int]:
    """(classes, h, w): those that may be the surest somewhere once cells are enlarged. What lies between four cells
    is a mean of them with the same shares for every class, so one that is below another's least there is not."""
    beside = F.pad(cells[None], (1, 1, 1, 1), mode="replicate")[0]
    most, least = (_of_four(extreme, beside) for extreme in (torch.maximum, torch.minimum))
    return (most >= least.amax(0)).flatten(1).any(1).nonzero()[:, 0].tolist()


def _of_four(extreme: Callable[[Tensor, Tensor], Tensor], cells: Tensor) -> Tensor:
    """(classes, h, w) -> (classes, h - 1, w - 1), of each cell, its right, its lower and its diagonal neighbour.
    F.max_pool2d takes eight times as long."""
    both = extreme(cells[:, 1:], cells[:, :-1])
    return extreme(both[:, :, 1:], both[:, :, :-1])


def _lacking_overlap(said: Tensor, shares: Tensor) -> Tensor:
    """(N, classes, h, w) both: 1 less soft intersection over union, the mean over the classes of this batch; what is
    void counts nowhere."""
    said = said * shares.sum(1, keepdim=True)
    both = (said * shares).sum((0, 2, 3))
    every = (said + shares).sum((0, 2, 3)) - both
    there = (shares.sum((0, 2, 3)) > 0).float()
    lacking = 1 - (both + 1) / (every + 1)  # a cell of each: a class of one cell is no leap
    return (lacking * there).sum() / there.sum().clamp_min(1)


def _region(cells: Tensor, kind: int, window: Sequence[float] | None) -> Tensor:
    """cells (classes, h, w) -> (h, w): equal shares of the cells that say this class within a window of the plane, 1
    together."""
    (height, width), (left, top, right, bottom) = cells.shape[1:], window or (0.0, 0.0, 1.0, 1.0)
    within = torch.zeros(height, width)
    rows = slice(math.floor(top * height), max(1, math.ceil(bottom * height)))
    columns = slice(math.floor(left * width), max(1, math.ceil(right * width)))
    within[rows, columns] = 1
    said = within * (cells.argmax(0) == kind)
    said = said if said.any() else within
    return (said / said.sum()).detach()


def _seen(mask: np.ndarray, pieces: Pieces, row: int, height: int, width: int) -> np.ndarray:
    """(height, width): the raw pixel under each model pixel, VOID outside; where nothing is turned, row by row."""
    affine = pieces.affine[row].double().numpy()
    if affine[0, 1] or affine[1, 0]:
        y, x = np.mgrid[:height, :width] + 0.5
        inverse = np.linalg.inv(affine[:, :2])
        points = np.tensordot(inverse, np.stack([x - affine[0, 2], y - affine[1, 2]]), axes=1)
        columns, rows = np.floor(points).astype(int)
        inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
        return np.where(inside, mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)], VOID)
    columns = np.floor((np.arange(width) + 0.5 - affine[0, 2]) / affine[0, 0]).astype(int)
    rows = np.floor((np.arange(height) + 0.5 - affine[1, 2]) / affine[1, 1]).astype(int)
    found = mask[rows.clip(0, mask.shape[0] - 1)][:, columns.clip(0, mask.shape[1] - 1)]
    found[(rows < 0) | (rows >= mask.shape[0])] = VOID
    found[:, (columns < 0) | (columns >= mask.shape[1])] = VOID
    return found


def _in_words(shares: dict[str, float]) -> str:
    told = sorted(((share, name) for name, share in shares.items() if share >= _TOLD), key=lambda pair: -pair[0])
    return ", ".join(f"{share:.0%} {name}" for share, name in told[:5]) or "nothing"
