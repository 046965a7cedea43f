"""The abstract halves of a task, and what each promises: Input, Target, Metric, Head, Net, Task.

Knows no implementation. `Task = Input x Target`: an Input knows the raw thing, a Target knows its label, and the
two meet in `Pieces` (geometry) and in raw coordinates (predictions). All but nets and heads are frozen values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL.Image import Image as Canvas
from torch import Tensor, nn

from foveal.types import (
    Cue,
    Dataset,
    Disturbance,
    Draw,
    Estimate,
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
    Predictor,
    Raw,
    Size,
    Solution,
    Stacked,
    Truth,
)


class Input(ABC):
    """The raw thing <-> tensor. Implementations are frozen dataclasses of JSON-able fields."""

    dims: int
    """1 for sequences, 2 for planes: decides which nets and targets fit."""
    size: int
    """Length of a side of what the network sees, in pixels or samples."""
    suffixes: tuple[str, ...]
    """Lower-case file suffixes that this input reads, with the dot."""
    kinds: int = 0
    """Where x holds numbers of things that occur, and not amounts: what they go up to."""
    exact: bool = False
    """Whether what is packed is what the stem gives, to the bit."""
    sees_figures: bool = False
    """Whether what a network sees of it looks as it looks to people."""
    in_files: bool = True
    """Whether each raw thing is a file, and not a part of one as a rule (`types.Passage`)."""
    raw_axes: Mapping[int, str]
    """The axes of `tensor` that differ from one raw thing to the next, and their names in an exported file."""

    @classmethod
    def unread(cls, sources: Sequence[Path]) -> Path | None:
        """The first of these files that this input is not for, by name or header; None where it is for all. A file
        that is damaged is for any input that its name fits."""
        return next((source for source in sources if source.suffix.lower() not in cls.suffixes), None)

    @abstractmethod
    def fit(self, sources: Sequence[Path], size: int | None) -> Self:
        """Learn what depends on the data (size unless given); a new value. Raises DataError where they do not fit."""

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        """What people should be told of how this input, fitted, reads these files."""
        return ()

    @abstractmethod
    def load(self, source: Path) -> Raw:
        """Decode one file to raw coordinates, upright. Raises DataError naming the file and what is wrong."""

    @abstractmethod
    def blank(self) -> Raw:
        """A raw thing of ordinary size with nothing in it, to learn shapes from."""

    @abstractmethod
    def pack(self, raw: Raw) -> Packed:
        """What the training cache stores: small, of one dtype, decoded once."""

    def stack(self, packed: Sequence[Packed]) -> Stacked:
        """Packed things of one shape in one tensor."""
        sizes = torch.tensor([own.raw_size for own in packed], dtype=torch.int64)
        return Stacked(torch.from_numpy(np.stack([own.array for own in packed])), sizes)

    @abstractmethod
    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        """A training batch, augmented by a draw, on the device of what is stacked, and its geometry, on the CPU."""

    @abstractmethod
    def tensor(self, raw: Raw) -> Tensor:
        """The raw thing as the tensor that `stem` and an exported file take."""

    @abstractmethod
    def pieces(self, raw_sizes: Tensor) -> Pieces:
        """The geometry that `stem` gives raw things of these sizes, (M, 2) int64 heights and widths."""

    @abstractmethod
    def stem(self) -> nn.Module:
        """The reference path, exported as it is: one raw tensor -> (x with a batch axis of 1, its Pieces)."""

    def shape(self) -> tuple[int, ...]:
        """Of one network input, without the batch axis: (C, ...)."""
        return tuple(self.stem()(self.tensor(self.blank()))[0].shape[1:])

    def seen(self, raw: Raw, stem: nn.Module) -> tuple[Tensor, Pieces]:
        """What the stem gives for a raw thing."""
        if not self.exact:
            return stem(self.tensor(raw))
        packed = self.pack(raw)
        return torch.from_numpy(packed.array)[None], self.pieces(torch.tensor([packed.raw_size]))

    def raw_size(self, source: Path) -> Size | None:
        """Of one file, by its header alone; None where that does not say it."""
        return None

    def own_size(self, sources: Sequence[Path]) -> int:
        """The size at which these files are seen as they are, as far as that is fast; for networks from nothing."""
        return self.size

    @abstractmethod
    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x without cells (N, g, g) bool, or (N, g): noise around the training mean if drawn, else what is near."""

    def grid(self) -> tuple[int, ...]:
        """How many cells explanations erase along each axis."""
        return (7, 7) if self.dims == 2 else (min(32, self.size),)

    def swapped(self, raw: Raw) -> Raw | None:
        """The raw thing with left and right swapped; None where that means nothing, or augmentation never does it."""
        return None

    def one_sided(self) -> Self:
        """The same input, whose augmentation leaves left and right as they are; a new value."""
        return self

    def rarely_erased(self) -> Self:
        """The same input, whose augmentation hides little: what is hidden cannot be found; a new value."""
        return self

    def in_parts(self) -> Self | None:
        """The same at the same scale, a batch with a draw showing a part of each; None where all is shown whole."""
        return None

    def gentle(self) -> Self:
        """The same input, whose augmentation changes less, for networks that begin with nothing; a new value."""
        return self

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        """The raw thing under each disturbance that should not alter what it is: the same ones in the same order."""
        return iter(())

    def cues(self) -> Mapping[str, Cue]:
        """Marks that can be planted to see whether explanations tell of them, by name."""
        return {}

    @abstractmethod
    def fingerprint(self, raw: Raw) -> int:
        """64 bits that are equal or a few bits apart for near duplicates."""

    @abstractmethod
    def sketch(self, raw: Raw) -> np.ndarray:
        """A small array of one axis, of the raw thing or of what was packed of it, for `resembles`."""

    @abstractmethod
    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether two things whose fingerprints are near are the same one, by their sketches."""

    def says_nothing(self, sketch: np.ndarray) -> bool:
        """Whether what has this sketch is the same throughout: one colour, silence, a flat line."""
        return False

    def traits(self, source: Path) -> Mapping[str, str]:
        """What a file says of itself that should have nothing to do with its label, by name."""
        return {"file type": source.suffix.lower()} if self.in_files else {}

    @abstractmethod
    def render(self, raw: Raw) -> Canvas:
        """A picture of the raw thing, for people, as large as `drawn_size` says."""

    def drawn_size(self, raw_size: Size) -> Size:
        return raw_size

    def played(self, raw: Raw) -> bytes | None:
        """An MP3 file of the raw thing; None where there is nothing to be heard."""
        return None

    def parted(self, raw: Raw, kept: np.ndarray) -> Mapping[str, bytes]:
        """WAV files of what cells (g, g) of the plane keep, from 0 to 1 ("only"), and of the rest ("without")."""
        return {}

    def named_cells(self, raw: Raw) -> tuple[str, ...]:
        """What each cell along the only axis is, in words; empty where cells are places in a picture."""
        return ()


class Head(nn.Module, ABC):
    """Feature maps -> Output: `reduce` every map, `join` what is left of them, `read` the result.

    Only `read` has anything to learn: what is below is computed once and cached, by stage and `extra_repr`.
    """

    maps: bool = False
    """Whether features are whole maps: too large to hold those of all rows at once."""

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        """What `join` needs of the map of this stage: (N, C, H, W) or (N, C, L) -> (N, ...); the map itself here."""
        return level

    @abstractmethod
    def join(self, parts: list[Tensor]) -> Tensor:
        """What `reduce` left of every stage's map, in order -> features (N, ...) float32."""

    @abstractmethod
    def read(self, features: Tensor) -> Output:
        """The learned part: features -> Output."""

    def distance(self, features: Tensor) -> Tensor | None:
        """(N,) float64: how far features (N, ...) are from where those lay that the head was solved on, each measured
        by its own spread; None where it cannot say."""
        return None

    def likeness(self, features: Tensor) -> Tensor:
        """(N, F): features (N, ...) so that those of things that are alike are near each other."""
        return features.flatten(1).float()

    def depth(self, stages: int) -> int:
        """How many of a network's stages it needs, from the first on."""
        return stages

    def layers(self) -> nn.Module | None:
        """Layers of its own, if it has any: they know nothing yet where training begins."""
        return None

    def begin(self, state: Mapping[str, Tensor], features: Features) -> None:
        """Take a closed form's state, to be trained from there; features: (N, F) of what it was solved on."""
        self.load_state_dict(dict(state))

    def settle(self, features: Tensor) -> None:
        """After training: say the same, but relative to these features (N, ...) of what was learnt from."""

    def gather(self, maps: Iterable[Tensor]) -> Tensor:
        """Every stage's map -> features (N, ...) float32."""
        return self.join([self.reduce(stage, level) for stage, level in enumerate(maps)])

    def forward(self, maps: list[Tensor]) -> Output:
        return self.read(self.gather(maps))


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
        self, head: Head, features: Features, labels: Sequence[Label], pieces: Pieces, units: np.ndarray
    ) -> Solution | None:
        """Closed-form start for `head`, which stays as it is; None where there is none.

        features: what `head.gather` gave, a Tensor unless `head.maps`, of the plain view whose geometry is pieces.
        units: (N,) int64, rows to be left out together.
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


@dataclass(frozen=True)
class Task:
    """A frozen pair of what is looked at and what is said about it; everything else follows from the two."""

    name: str
    input: Input
    target: Target

    def __post_init__(self) -> None:
        assert self.input.dims in self.target.dims, f"{self.name}: input of {self.input.dims} dims does not fit"


class Net(nn.Module):
    """Stages in order; `forward` returns each stage's map, finest first.

    channels: per stage; strides: per stage, how many input positions one cell stands for.
    """

    stages: nn.ModuleList
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    symmetric: bool = False
    """Whether it sees each input from both sides, so that swapping left and right changes nothing."""
    parts: tuple[Net, ...] = ()
    """Those that it consists of, where it is two side by side."""
    counted: int = 0
    """Where its map holds numbers of things that occur, and not amounts: what they go up to."""
    most_epochs: int = 200
    """After so many a network from nothing learns only what it has seen by heart."""
    rows_at_once: int | None = None
    """Of how many inputs its many thin maps stay in a processor's cache; only plain PyTorch then runs it."""

    def prepare(self, x: Tensor) -> None:
        """Set what is computed from examples instead of trained, from network inputs x (N, C, ...); nothing here."""

    def vocabulary(self) -> Sequence[str]:
        """Words of which something is known from elsewhere; none here."""
        return ()

    def define(self, known: Tensor) -> None:
        """Take the vocabulary as network inputs, (words, C)."""

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        """Each stage's map in turn, so that what is reduced at once need not be held."""
        for stage in self.stages:
            x = stage(x)
            yield x

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.levels(x))


__all__ = ["Canvas", "Head", "Input", "Metric", "Net", "Predictor", "Target", "Task"]
