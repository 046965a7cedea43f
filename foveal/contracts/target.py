"""Target: the label <-> tensor. Knows no implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from PIL.Image import Image as Canvas
from torch import Tensor, nn

from foveal.contracts.head import Head
from foveal.contracts.metric import Metric
from foveal.types import (
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


class Target(ABC):
    """The label <-> tensor. Implementations are frozen dataclasses of JSON-able fields."""

    dims: frozenset[int]
    class_names: tuple[str, ...]
    labels: str = "classes"
    """The kind of label that it takes, as a Format has it."""
    whole: bool = False
    """Whether a label is about the whole raw thing, and stays what it is when the thing is moved."""
    cost: str = "the loss"
    """What `costs` are, in words."""
    fewest_judged: int = 100
    """How many unseen examples suffice to judge two networks by: fewer where each holds many things."""
    rows_a_step: int = 64
    """Of how many rows a step of fine-tuning is: fewer where each has many things."""
    fewest_pixels: int = 10
    """How broad nearly all things should be, as the network sees them, for them to be told."""

    @abstractmethod
    def fit(self, data: Dataset) -> Self:
        """Learn the class names from all splits together; returns a new value."""

    @abstractmethod
    def load(self, example: Example) -> Label:
        """The example's label in raw coordinates."""

    @abstractmethod
    def pack(self, label: Label) -> Packed:
        """The label as an array, for caches and state files."""

    @abstractmethod
    def stratum(self, label: Label) -> str:
        """The name by which splits are stratified (the class; the rarest class of a picture)."""

    def classes(self, label: Label) -> frozenset[str]:
        """The names of all classes that the label has."""
        return frozenset([self.stratum(label)])

    @abstractmethod
    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        """Labels to tensors in model coordinates, following the pieces' geometry."""

    @abstractmethod
    def head(self, channels: Sequence[int], strides: Sequence[int]) -> Head:
        """A fresh head for a net whose stages have these channels and strides."""

    @abstractmethod
    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        """Named scalar losses; the total is their sum."""

    def costs(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Tensor:
        """(N,) float64: how far each row of output, calibrated on them, is from its label; the loss will do."""
        truth = self.encode(labels, pieces)
        found = []
        for row in range(len(labels)):
            own, wanted = ({name: t[row : row + 1] for name, t in one.items()} for one in (output, truth))
            found.append(torch.stack([value.double() for value in self.loss(own, wanted).values()]).sum())
        return torch.stack(found)

    def swapped(self, label: Label, size: Size) -> Label:
        """The label of a raw thing of this size, left and right swapped; itself where it is about all of that."""
        assert self.whole, f"{type(self).__name__} has places, which turn with the raw thing"
        return label

    def deepened(self) -> Self:
        """The same target, whose heads have layers of their own, to be filled by training; itself without any."""
        return self

    def shallow(self) -> Self:
        """The same target, whose heads have none: what a closed form fills."""
        return self

    def extents(self, example: Example, size: Size) -> Sequence[float]:
        """How broad each thing is, as a share of a raw thing of this size; none where nothing says it."""
        return ()

    def counting_head(self, kinds: int, channels: Sequence[int]) -> Head:
        """The head where x holds numbers of things that occur, up to `kinds` (`Net.counted`), in the first map."""
        raise NotImplementedError(f"{type(self).__name__} has no head that counts")

    def joined_head(self, heads: Sequence[Head], stages: int, shares: tuple[float, float] = (0.5, 0.5)) -> Head:
        """One head of two, of networks side by side, the first of so many stages: scores are summed, by shares."""
        raise NotImplementedError(f"{type(self).__name__} has no head of two")

    def sharpness(self) -> float:
        """By how much scores are multiplied before they become probabilities."""
        raise NotImplementedError(f"{type(self).__name__} has no scores")

    def smoothed(self, share: float) -> Self:
        """The same target, whose loss asks for less than certainty, by this share of it."""
        return self

    @abstractmethod
    def solve(
        self,
        head: Head,
        features: Features,
        labels: Sequence[Label],
        pieces: Pieces,
        units: np.ndarray,
        apart: Sequence[Sequence[int]] = (),
    ) -> Solution | None:
        """Closed-form start for `head`, which stays as it is; None where there is none.

        features: what `head.gather` gave, a Tensor unless `head.maps`, of the plain view whose geometry is pieces.
        units: (N,) int64, rows to be left out together. apart: parts of the rows without each of which it may be
        solved too, where that takes much less than to solve again; a part may only tell how sure of itself that is.
        """

    @abstractmethod
    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Self:
        """Fit temperature or thresholds on outputs that did not see these labels; returns a new value."""

    @abstractmethod
    def finish(self) -> nn.Module:
        """Module (output, pieces) -> Finished in raw coordinates; exported as it is."""

    @abstractmethod
    def decode(self, finished: Finished) -> list[Prediction]:
        """Finished tensors -> one prediction a raw thing."""

    @abstractmethod
    def metric(self) -> Metric:
        """A fresh, empty metric."""

    @abstractmethod
    def follow(self, output: Output, prediction: Prediction) -> Follower:
        """What becomes of a prediction, made of this output of one, in others; what is explained is its score."""

    def score(self, output: Output, prediction: Prediction) -> Tensor:
        """The scalar that an explanation of this prediction explains, for a batch of one."""
        return self.follow(output, prediction)(output)[0][0]

    @abstractmethod
    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> tuple[list[Tensor], float] | None:
        """Exact decomposition of `score` for a batch of one: (one (h, w) map a level, bias); None where none is."""

    @abstractmethod
    def alternative(self, prediction: Prediction) -> Prediction | None:
        """The runner-up to hold an explanation against, None where there is none."""

    @abstractmethod
    def describe(self, label: Label) -> str:
        """The label in a few words, for people and for splits.csv."""

    def findings(self, labels: Sequence[Label], pieces: Pieces, names: Sequence[str]) -> tuple[Finding, ...]:
        """What is wrong with labels as they will be seen; pieces: of the plain views, names: of the raw things."""
        return ()

    def difference(self, one: Finished, other: Finished) -> float:
        """How far what two paths give for one raw thing is apart, in confidence or in shares of the raw size."""
        return max(float((one[name] - other[name]).abs().max()) for name in one)

    def says(self, prediction: Prediction) -> str:
        """The prediction in a few words, those of `describe` where the two agree."""
        return str(prediction.label)

    def agrees(self, prediction: Prediction, label: Label) -> bool:
        """Whether the prediction is right as a whole."""
        return self.says(prediction) == self.describe(label)

    def things(self, label: Label, size: Size) -> Sequence[Thing]:
        """What of a label could be told of another class: all of it; where it has places, what is by itself and large
        enough to be marked in a raw thing of this size."""
        assert self.whole, f"{type(self).__name__} has places"
        return (Thing(self.describe(label)),)

    def renamed(self, label: Label, things: Sequence[Thing], name: str) -> Label:
        """The label, these of its things told of another class."""
        raise NotImplementedError(f"{type(self).__name__} renames nothing")

    def said_of(self, prediction: Prediction, thing: Thing, pieces: Pieces) -> Prediction | None:
        """What a prediction says of one thing, of whatever class; None where it says nothing of it. pieces: the
        geometry of the raw thing."""
        assert self.whole, f"{type(self).__name__} has places"
        return prediction

    def row(self, prediction: Prediction) -> dict[str, object]:
        """The prediction as JSON-able values by name."""
        found = {"label": prediction.label, "score": prediction.score}
        return {**found, "scores": dict(zip(self.class_names, prediction.scores, strict=True))}

    def ideal(self, label: Label) -> Prediction | None:
        """What would be wholly right, to be drawn beside what was said; None where the label's name says it all."""
        return None

    def files(self, prediction: Prediction) -> Mapping[str, bytes]:
        """What holds the prediction where `row` cannot: files by their suffix, such as ".mask.png"."""
        return {}

    def results(self, predictions: Sequence[Prediction]) -> list[dict[str, object]] | None:
        """All predictions in COCO's format of results, images numbered from 1; None where there is none for them."""
        return None

    @abstractmethod
    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        """The prediction drawn over the rendered raw thing; a new picture."""
