"""The plain values that every part of foveal passes to the others.

Knows shapes and units, and nothing about files, networks or tasks. All of it is frozen data.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

if sys.platform == "win32":
    from pathlib import WindowsPath as _PathHere
else:
    from pathlib import PosixPath as _PathHere

Raw = Any
"""The raw thing in raw coordinates: a picture uint8 (H, W, 3), a raster float32 (H, W, C), a signal float32 (C, L), a
text as str. Only its Input looks inside."""

Label = Any
"""A label in raw coordinates: a class index, boxes in pixels, a mask. Only its Target looks inside."""

Output = Mapping[str, Tensor]
"""What a head returns, before `finish`. Only its Target looks inside."""

Finished = Mapping[str, Tensor]
"""What `finish` returns: raw coordinates, and exactly what an exported file returns."""

Truth = Mapping[str, Tensor]
"""Labels as tensors in model coordinates, one row a piece."""

Follower = Callable[[Output], tuple[Tensor, Tensor]]
"""What outputs, a batch of any length, say of one prediction: its scores and its confidences, (N,) each."""


class Features(Protocol):
    """(N, F) features, of which a few are float32 in memory at a time; a Tensor is one."""

    def __len__(self) -> int: ...
    def split(self, count: int, /) -> Iterable[Tensor]: ...


class Apart(NamedTuple):
    """A closed form without some rows: the head's state, and the target as those that are left calibrate it, None
    where it was not asked."""

    state: dict[str, Tensor]
    target: Any = None


class Solution(NamedTuple):
    """A closed-form start: the head's state, and each row's left-out Output for calibration; apart: the same without
    each of the parts that were asked to be kept apart, where it came of the same sums."""

    state: dict[str, Tensor]
    left_out: Output
    apart: tuple[Apart, ...] = ()


SPLITS = ("train", "val", "test")

SMALLEST_SIZE, LARGEST_SIZE = 32, 2048
"""Between these lies the size of what a network sees, in pixels or samples, that a person may ask for."""


class Passage(_PathHere):
    """One thing of a file that holds many, such as a row of a table: a path `FILE:line` whose bytes are its own.

    So whatever takes a file takes a passage, and whatever is said of it names the file and the line.
    """

    content: bytes
    kind: str

    def __new__(cls, path: Path, line: int, content: bytes, kind: str) -> Passage:
        """line: from 1; kind: the suffix that a file of its own would have, with the dot."""
        return super().__new__(cls, f"{path}:{line}")

    def __init__(self, path: Path, line: int, content: bytes, kind: str) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(f"{path}:{line}")
        self.content, self.kind = content, kind

    def with_segments(self, *parts: Any) -> Path:
        """What is derived from it is a path like any other."""
        return Path(*parts)

    @property
    def suffix(self) -> str:
        return self.kind

    @property
    def stem(self) -> str:
        """For the names of files that are made of it."""
        file, _, line = self.name.rpartition(":")
        return f"{Path(file).stem}-{line}"

    def read_bytes(self) -> bytes:
        return self.content


@dataclass(frozen=True)
class Example:
    """One labelled thing on disk. `label` is what the Format read, `split` one of SPLITS or None."""

    source: Path
    label: object | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something worth telling about the data: what is wrong or was decided, and the files that it is about."""

    kind: str
    message: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(self.paths[:5])
        more = f" and {len(self.paths) - 5} more" if len(self.paths) > 5 else ""
        return f"{self.message}: {shown}{more}" if shown else self.message


@dataclass(frozen=True)
class Dataset:
    """What a Format returns. `reading` says in a sentence how the data were understood; labels: of which kind they
    are (`contracts.Format.labels`); things: what the examples are, for people."""

    root: Path
    examples: tuple[Example, ...]
    class_names: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    reading: str = ""
    labels: str = "classes"
    things: str = "files"

    def name(self, example: Example) -> str:
        """The example's path below the root where it lies there, else its whole path, with forward slashes."""
        source = example.source
        return (source.relative_to(self.root) if source.is_relative_to(self.root) else source).as_posix()


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval and the count behind it.

    No interval (None) where the data give none: one group is all, or no resample differs.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        interval = "no interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({interval}, n={self.n})"

    def to_json(self) -> dict[str, float | int | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


FRAMES_A_SECOND = 100
"""In these is the length of a sound counted, and where in it something is, whatever its rate."""


class Size(NamedTuple):
    """Height and width in raw units; a text or a sound has width only and height 1."""

    height: int
    width: int


class Packed(NamedTuple):
    """What the training cache stores of one raw thing: `array` of any shape, and the raw size it came from."""

    array: np.ndarray
    raw_size: Size


class Stacked(NamedTuple):
    """Packed things in one tensor: `array` (N, ...) on the device where it is augmented; raw_size: (N, 2) int64."""

    array: Tensor
    raw_size: Tensor

    def take(self, rows: Sequence[int]) -> Stacked:
        """Only these rows, in this order."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        return Stacked(self.array[chosen.to(self.array.device)], self.raw_size[chosen])

    def to(self, device: str) -> Stacked:
        """The array on this device; raw sizes stay on the CPU, as all geometry does."""
        return Stacked(self.array.to(device), self.raw_size)


@dataclass(frozen=True)
class Pieces:
    """The one geometry: where each of the M rows of a batch came from.

    affine: (M, 2, 3) float32, raw -> model coordinates (x, y), both with pixel centres at half-integers.
    row: (M,) int64, which row of the batch; source: (M,) int64, which sample; clip: (M, 4) float32, the part of
    the model's plane that the piece covers (left, top, right, bottom); raw_size: (M, 2) int64, height and width;
    spans: (M, L, 2) int64, token -> character range, for text.
    """

    affine: Tensor
    row: Tensor
    source: Tensor
    clip: Tensor
    raw_size: Tensor
    spans: Tensor | None = None

    @staticmethod
    def join(parts: Sequence[Pieces]) -> Pieces:
        """Stack the pieces of several batches; rows and sources are renumbered in order."""
        spans = [p.spans for p in parts if p.spans is not None]
        starts = np.cumsum([0, *(int(p.row.max()) + 1 for p in parts[:-1])])
        return Pieces(
            affine=torch.cat([p.affine for p in parts]),
            row=torch.cat([p.row + int(start) for p, start in zip(parts, starts, strict=True)]),
            source=torch.cat([p.source + int(start) for p, start in zip(parts, starts, strict=True)]),
            clip=torch.cat([p.clip for p in parts]),
            raw_size=torch.cat([p.raw_size for p in parts]),
            spans=torch.cat(spans) if spans else None,
        )

    def take(self, rows: Sequence[int]) -> Pieces:
        """Only these rows of batches of one piece a row, in this order, as rows of their own."""
        chosen, fresh = torch.tensor(rows, dtype=torch.int64), torch.arange(len(rows))
        return Pieces(
            affine=self.affine[chosen],
            row=fresh,
            source=fresh,
            clip=self.clip[chosen],
            raw_size=self.raw_size[chosen],
            spans=None if self.spans is None else self.spans[chosen],
        )

    def shares_of(self, window: Sequence[float]) -> tuple[float, float, float, float]:
        """A window (left, top, right, bottom) in raw coordinates of the first row, in shares of the model's plane."""
        affine = self.affine[0].double().numpy()
        corners = np.reshape(window, (2, 2)) @ affine[:, :2].T + affine[:, 2]
        plane = self.clip[0].double().numpy().reshape(2, 2)
        shares = ((corners - plane[0]) / (plane[1] - plane[0])).clip(0, 1)
        (left, top), (right, bottom) = shares.min(0).tolist(), shares.max(0).tolist()
        return left, top, right, bottom

    def to_raw(self, points: Tensor) -> Tensor:
        """Model -> raw coordinates: points (M, K, 2) float32, x before y."""
        linear, shift = self.affine[:, :, :2], self.affine[:, :, 2]
        a, b = linear[:, 0, 0], linear[:, 0, 1]
        c, d = linear[:, 1, 0], linear[:, 1, 1]
        moved = points - shift[:, None, :]
        determinant = (a * d - b * c)[:, None]
        x = (d[:, None] * moved[..., 0] - b[:, None] * moved[..., 1]) / determinant
        y = (a[:, None] * moved[..., 1] - c[:, None] * moved[..., 0]) / determinant
        return torch.stack([x, y], dim=-1)

    def to_model(self, points: Tensor) -> Tensor:
        """Raw -> model coordinates: points (M, K, 2) float32, x before y."""
        return points @ self.affine[:, :, :2].transpose(1, 2) + self.affine[:, None, :, 2]


@dataclass(frozen=True)
class Draw:
    """The only randomness: a function of seed, epoch, sample index and name, never of what ran before.

    Counter-based: each value is a hash (splitmix64, Steele et al. 2014) of its coordinates, so any subset, order
    or restart gives the same numbers.
    """

    seed: int
    epoch: int
    samples: tuple[int, ...]

    def uniform(self, name: str, *shape: int, device: str | torch.device = "cpu") -> Tensor:
        """(len(samples), *shape) float32 in [0, 1); the same numbers on every device."""
        with np.errstate(over="ignore"):
            key = _name_key(name) ^ _mix(np.uint64(self.seed % 2**64))
            key = _mix(key + np.uint64(self.epoch))
            rows = _mix(key + np.asarray(self.samples, np.uint64) * _ODD)
            columns = np.arange(1, int(np.prod(shape, dtype=int)) + 1, dtype=np.uint64) * _GOLDEN
            if torch.device(device).type != "cpu":
                return _unit_on(device, rows, columns).reshape(len(self.samples), *shape)
            bits = _mix(rows[:, None] + columns)
        unit = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        return torch.from_numpy(unit.reshape(len(self.samples), *shape))


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in raw pixels: left < right, top < bottom.

    ignored: of a label that neither counts nor is missed, such as a crowd or what is too difficult to tell.
    """

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
    origin: int | None = None
    ignored: bool = False


VOID = 255
"""In a mask: pixels that count nowhere, neither in learning nor in scores."""


@dataclass(frozen=True)
class Mask:
    """Which class each pixel of a picture is of.

    packed: (H, W) uint8 class indices, VOID where none counts, compressed: many fit into memory; pixels: the names of
    the classes that there are, in class order, and how many pixels each has.
    """

    size: Size
    packed: bytes
    pixels: tuple[tuple[str, int], ...]

    @staticmethod
    def of(array: np.ndarray, class_names: Sequence[str]) -> Mask:
        """array: (H, W) uint8."""
        counts = np.bincount(array.ravel(), minlength=VOID + 1)
        pixels = tuple((name, int(count)) for name, count in zip(class_names, counts, strict=False) if count)
        return Mask(Size(*array.shape), zlib.compress(np.ascontiguousarray(array).tobytes(), 1), pixels)

    def array(self) -> np.ndarray:
        """(H, W) uint8."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.size)

    def shares(self) -> dict[str, float]:
        """Of the pixels that count, by class."""
        total = max(1, sum(count for _, count in self.pixels))
        return {name: count / total for name, count in self.pixels}


@dataclass(frozen=True)
class Prediction:
    """What foveal says about one raw thing, in raw coordinates.

    label and score: the most likely class and its calibrated probability, where there is one. scores: all classes'
    probabilities, in class order. boxes: in raw pixels. mask: (H, W) uint8 class indices at raw size. origin:
    which anchor or row it came from, for `Target.score`; window: (left, top, right, bottom), the part of the model's
    plane that is meant, in shares of it, all of it if None.
    """

    label: str | None = None
    score: float = 0.0
    scores: tuple[float, ...] = ()
    boxes: tuple[Box, ...] = ()
    mask: np.ndarray | None = None
    origin: int | None = None
    window: tuple[float, float, float, float] | None = None


class Thing(NamedTuple):
    """Something of a label that has a class. window: (left, top, right, bottom) in raw coordinates, in which it lies,
    None where it is all of the raw thing; part: which of the label's things; only its Target looks inside."""

    name: str
    window: tuple[float, float, float, float] | None = None
    part: Any = None


Predictor = Callable[[Sequence[Raw]], list[Prediction]]
"""Anything that predicts: the live model, the reloaded run, the exported file, the HTTP server."""


class Disturbance(NamedTuple):
    """A change that should not alter what a raw thing is: "rotation", "15°"."""

    kind: str
    strength: str


class Dice(Protocol):
    """Where a mark falls; a `numpy.random.Generator`, or something less random."""

    def integers(self, low: int, high: int, /) -> Any: ...
    def random(self) -> float: ...
    def uniform(self, low: float, high: float, /) -> float: ...


class Cue(NamedTuple):
    """A mark that can be planted in raw things. has_place: whether it lies somewhere, and a map can show it; mark:
    (raw, strength 0 to 2, dice) -> the raw thing with it; inside: the same of a part that holds a single thing, if
    that is another mark."""

    has_place: bool
    mark: Callable[[Raw, int, Dice], Raw]
    inside: Callable[[Raw, int, Dice], Raw] | None = None


@dataclass(frozen=True)
class Step:
    """One bounded piece of work, done: which phase, how far of how much, and what was measured in it."""

    phase: str
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Faithfulness:
    """How far an explanation can be trusted, as `explain.faithfulness` measures it.

    verdict: "supported", "weak" or "unsupported"; agreement: of its cells with what erasing each of them does, -1 to
    1; gain: by how much more confidence is left when what it calls unimportant is erased than when what it calls
    important is; deletion, insertion: confidences once each further tenth is erased, the most important first and
    last; chance: gains of random orders; p: how often chance gains as much; rivals: the gains of maps that know
    nothing of the network.
    """

    verdict: str
    agreement: float
    gain: float
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    chance: tuple[float, ...]
    p: float
    rivals: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Why a prediction: signed cells in the unit of the score that they explain.

    cells: one (h, w) float32 map per feature level, in model coordinates; `bias + sum of all cells` is `score`
    where `exact`. runner_up: the same for the second most likely class, where there is one. affine: (2, 3) from
    the rendered raw thing to model coordinates, and model_size, to draw the cells over it. words: of a text, what the
    first cells of the model's only axis are. faithfulness: how far it can be trusted, where that was measured;
    erased: then, what erasing each cell of a coarse grid takes from the score; detail: (h, w), where cells are places
    and all of the raw thing is explained, the same of windows that are slid over it (`explain.detail`).
    """

    method: str
    prediction: Prediction
    cells: tuple[np.ndarray, ...]
    bias: float
    score: float
    exact: bool
    affine: np.ndarray
    model_size: Size
    runner_up: Explanation | None = None
    words: tuple[str, ...] = ()
    faithfulness: Faithfulness | None = None
    erased: Explanation | None = None
    detail: np.ndarray | None = None


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD1B54A32D192ED03)


_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
# Shift and factor, the latter as int64 holds its bits.
_ROUNDS = tuple(zip((30, 27), _FACTORS.view(np.int64).tolist(), strict=True))


def _mix(x: Any) -> Any:
    for (shift, _), factor in zip(_ROUNDS, _FACTORS, strict=True):
        x = (x ^ (x >> np.uint64(shift))) * factor
    return x ^ (x >> np.uint64(31))


def _unit_on(device: str | torch.device, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """The last of the hashing in int64, whose sums and products wrap to the same bits as uint64's."""
    first, second = (torch.from_numpy(part.view(np.int64)).to(device) for part in (rows, columns))
    x = first[:, None] + second
    for shift, factor in _ROUNDS:
        x = (x ^ _shifted(x, shift)) * factor
    x = x ^ _shifted(x, 31)
    return _shifted(x, 40).float() / 2**24


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Bits moved to the right, zeros following."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _name_key(name: str) -> np.uint64:
    return np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), np.uint64)[0]
