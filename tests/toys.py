"""Toy parts of every kind that the spine must carry before anything real is built on it: boxes, masks and text.

Knows the contracts only. The data that they are trained on come from `toy_data.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor, nn

from foveal import intervals
from foveal.contracts import Canvas, Head, Input, Metric, Net, Target
from foveal.errors import DataError
from foveal.inputs import Image
from foveal.targets import Classes
from foveal.types import (
    Box,
    Dataset,
    Draw,
    Estimate,
    Example,
    Finished,
    Follower,
    Label,
    Output,
    Packed,
    Pieces,
    Prediction,
    Raw,
    Size,
    Stacked,
    Truth,
)


class ToyNet(Net):
    """Stages of convolution, BatchNorm and ReLU, each halving the grid: x (N, inputs, ...) of 1 or 2 dims."""

    def __init__(self, dims: int, inputs: int = 3, channels: tuple[int, ...] = (8, 16, 24)) -> None:
        super().__init__()
        conv, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}[dims]
        widths = (inputs, *channels)
        self.stages = nn.ModuleList(
            nn.Sequential(conv(a, b, 3, 2, 1, bias=False), norm(b), nn.ReLU())
            for a, b in zip(widths, channels, strict=False)
        )
        self.channels = channels
        self.strides = tuple(2 ** (i + 1) for i in range(len(channels)))


def joined(maps: list[Tensor]) -> Tensor:
    """Maps (N, C, h, w), finest first, enlarged to the finest and concatenated."""
    size = maps[0].shape[2:]
    return torch.cat([maps[0], *(F.interpolate(level, size=size, mode="nearest") for level in maps[1:])], dim=1)


class CellHead(Head):
    """One linear function of the joined maps a cell: join (N, C, h, w), read {"cells": (N, outputs, h, w)}."""

    def __init__(self, channels: Sequence[int], stride: int, outputs: int) -> None:
        super().__init__()
        self.stride = stride
        self.read_out = nn.Conv2d(sum(channels), outputs, 1)

    def join(self, parts: list[Tensor]) -> Tensor:
        return joined(parts)

    def read(self, features: Tensor) -> Output:
        return {"cells": self.read_out(features)}


def box_of(cells: Tensor, size: Tensor) -> Tensor:
    """Logits (N, h, w) of cells lying inside one box -> its (left, top, right, bottom) in model coordinates.

    By moments: a uniform distribution over a length l has standard deviation l / sqrt(12). size: (N, 2), width and
    height of the model's plane.
    """
    # Shares of the sigmoids' sum, by their logarithms: ONNX Runtime's sigmoid ends at exp(-18).
    inside = torch.softmax(-F.softplus(-cells).flatten(1), dim=1).reshape(cells.shape)
    found = []
    for axis, length in ((2, cells.shape[2]), (1, cells.shape[1])):
        share = inside.sum(3 - axis)
        place = (torch.arange(length) + 0.5) / length
        centre = (share * place).sum(1)
        spread = (share * (place - centre[:, None]).square()).sum(1)
        found.append((centre, (3 * (spread + 1 / (12 * length**2))).sqrt()))
    (x, half_width), (y, half_height) = found
    unit = torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=1)
    return unit * size.repeat(1, 2)


class BoxFinish(nn.Module):
    """One box a piece, in raw pixels, and how sure the cells are: (M, 4) and (M,)."""

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        box = box_of(output["cells"][:, 0], pieces.clip[:, 2:] - pieces.clip[:, :2])
        corners = pieces.to_raw(box.reshape(-1, 2, 2))
        limit = pieces.raw_size.flip(1)[:, None].to(corners.dtype)
        corners = torch.minimum(corners.clamp_min(0), limit)
        low, high = corners.amin(1), corners.amax(1)
        return {"box": torch.cat([low, high], dim=1), "confidence": torch.sigmoid(output["cells"]).amax((1, 2, 3))}


@dataclass(frozen=True)
class ToyBoxes(Target):
    """One box a picture; labels are (left, top, right, bottom) in raw pixels."""

    class_names: tuple[str, ...] = ()
    dims = frozenset({2})

    def fit(self, data: Dataset) -> ToyBoxes:
        return replace(self, class_names=data.class_names)

    def load(self, example: Example) -> Label:
        assert isinstance(example.label, tuple)
        return tuple(float(side) for side in example.label)

    def pack(self, label: Label) -> Packed:
        return Packed(np.asarray(label, np.float32), Size(1, 4))

    def stratum(self, label: Label) -> str:
        return self.class_names[0]

    def describe(self, label: Label) -> str:
        return " ".join(f"{side:g}" for side in label)

    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        boxes = torch.tensor(labels, dtype=torch.float32)[pieces.source]
        corners = pieces.to_model(boxes.reshape(-1, 2, 2))
        corners = torch.minimum(torch.maximum(corners, pieces.clip[:, None, :2]), pieces.clip[:, None, 2:])
        size = pieces.clip[:, 2:] - pieces.clip[:, :2]
        return {"box": torch.cat([corners.amin(1), corners.amax(1)], dim=1), "size": size}

    def head(self, channels: Sequence[int], strides: Sequence[int]) -> CellHead:
        return CellHead(channels, strides[0], 1)

    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        cells, box, size = output["cells"][:, 0], truth["box"], truth["size"]
        height, width = cells.shape[1:]
        x = (torch.arange(width) + 0.5) * size[:, :1] / width
        y = (torch.arange(height) + 0.5) * size[:, 1:] / height
        across = (x > box[:, :1]) & (x < box[:, 2:3])
        down = (y > box[:, 1:2]) & (y < box[:, 3:])
        inside = (down[:, :, None] & across[:, None, :]).float()
        sides = (box_of(cells, size) - box).abs() / size.repeat(1, 2)
        return {"inside": F.binary_cross_entropy_with_logits(cells, inside), "sides": sides.mean()}

    def solve(self, *_: Any, **__: Any) -> None:
        return None

    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> ToyBoxes:
        return self

    def finish(self) -> nn.Module:
        return BoxFinish()

    def decode(self, finished: Finished) -> list[Prediction]:
        rows = zip(finished["box"].tolist(), finished["confidence"].tolist(), strict=True)
        name = self.class_names[0]
        return [Prediction(name, sure, boxes=(Box(name, sure, *sides),), origin=0) for sides, sure in rows]

    def metric(self) -> Overlap:
        return Overlap("iou", lambda prediction, label: box_iou(prediction.boxes[0], label))

    def follow(self, output: Output, prediction: Prediction) -> Follower:
        def of(other: Output) -> tuple[Tensor, Tensor]:
            surest = other["cells"].flatten(1).amax(1)
            return surest, surest.sigmoid()

        return of

    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> None:
        return None

    def alternative(self, prediction: Prediction) -> None:
        return None

    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        drawn = canvas.copy()
        box = prediction.boxes[0]
        ImageDraw.Draw(drawn).rectangle((box.left, box.top, box.right, box.bottom), outline=(255, 0, 0))
        return drawn


def box_iou(box: Box, label: Label) -> float:
    left, top, right, bottom = label
    width = max(0.0, min(box.right, right) - max(box.left, left))
    height = max(0.0, min(box.bottom, bottom) - max(box.top, top))
    both = width * height
    own = (box.right - box.left) * (box.bottom - box.top)
    return both / (own + (right - left) * (bottom - top) - both)


class Overlap(Metric):
    """The mean of one number a raw thing, by bootstrap over units."""

    def __init__(self, name: str, measure) -> None:
        self.name, self.measure = name, measure
        self.values: list[float] = []
        self.units: list[int] = []

    def update(self, predictions: Sequence[Prediction], labels: Sequence[Label], units: Sequence[int]) -> None:
        self.values += [self.measure(p, label) for p, label in zip(predictions, labels, strict=True)]
        self.units += [int(unit) for unit in units]

    def compute(self) -> dict[str, Estimate]:
        values = np.asarray(self.values)
        return {self.name: intervals.bootstrap(lambda w: float(w @ values / w.sum()), np.asarray(self.units))}

    def details(self) -> dict[str, object]:
        return {}


class MaskFinish(nn.Module):
    """Probabilities a cell (M, K, h, w), and the geometry by which `decode` brings them to each one's raw size."""

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        plane = pieces.clip[:, 2:] - pieces.clip[:, :2]
        finished = {"probabilities": torch.softmax(output["cells"], dim=1), "affine": pieces.affine}
        return finished | {"plane": plane, "raw_size": pieces.raw_size}


@dataclass(frozen=True)
class ToyMasks(Target):
    """A class for each pixel; labels are (H, W) uint8 class indices at raw size, read from a picture file."""

    class_names: tuple[str, ...] = ()
    dims = frozenset({2})

    def fit(self, data: Dataset) -> ToyMasks:
        return replace(self, class_names=data.class_names)

    def load(self, example: Example) -> Label:
        with Pillow.open(str(example.label)) as image:
            return np.array(image, np.uint8)

    def pack(self, label: Label) -> Packed:
        return Packed(label, Size(*label.shape))

    def stratum(self, label: Label) -> str:
        return self.class_names[_foremost(np.bincount(label.ravel(), minlength=len(self.class_names)))]

    def describe(self, label: Label) -> str:
        return self.stratum(label)

    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        """Each model pixel's class is that of the raw pixel in which its centre lies."""
        masks = []
        for row, source in enumerate(pieces.source.tolist()):
            width, height = (int(side) for side in pieces.clip[row, 2:])
            points = pixel_centres(height, width)[None].expand(len(pieces.affine), -1, -1)
            masks.append(_look_up(labels[source], pieces.to_raw(points)[row]).reshape(height, width))
        return {"mask": torch.stack(masks)}

    def head(self, channels: Sequence[int], strides: Sequence[int]) -> CellHead:
        return CellHead(channels, strides[0], len(self.class_names))

    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        logits = F.interpolate(output["cells"], size=truth["mask"].shape[1:], mode="bilinear")
        return {"cross_entropy": F.cross_entropy(logits, truth["mask"])}

    def solve(self, *_: Any, **__: Any) -> None:
        return None

    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> ToyMasks:
        return self

    def finish(self) -> nn.Module:
        return MaskFinish()

    def decode(self, finished: Finished) -> list[Prediction]:
        return [self._decode_row(finished, row) for row in range(len(finished["affine"]))]

    def _decode_row(self, finished: Finished, row: int) -> Prediction:
        height, width = finished["raw_size"][row].tolist()
        affine, plane = finished["affine"][row], finished["plane"][row]
        points = pixel_centres(height, width) @ affine[:, :2].T + affine[:, 2]
        grid = (2 * points / plane - 1).reshape(1, height, width, 2)
        cells = finished["probabilities"][row : row + 1]
        at_raw = F.grid_sample(cells, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
        mask = at_raw.argmax(0).numpy().astype(np.uint8)
        best = _foremost(np.bincount(mask.ravel(), minlength=len(self.class_names)))
        return Prediction(self.class_names[best], float(at_raw.amax(0).mean()), mask=mask, origin=best)

    def metric(self) -> Overlap:
        return Overlap("pixel_accuracy", lambda prediction, label: float((prediction.mask == label).mean()))

    def follow(self, output: Output, prediction: Prediction) -> Follower:
        kind = prediction.origin

        def of(other: Output) -> tuple[Tensor, Tensor]:
            sure = other["cells"].softmax(1)[:, kind]
            return other["cells"][:, kind].mean((1, 2)), sure.mean((1, 2))

        return of

    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> None:
        return None

    def alternative(self, prediction: Prediction) -> None:
        return None

    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        assert prediction.mask is not None
        tint = Pillow.new("RGB", canvas.size, (255, 0, 0))
        return Pillow.composite(tint, canvas, Pillow.fromarray(np.uint8(prediction.mask > 0) * 127))


def _foremost(counts: np.ndarray) -> int:
    """The largest class that is not the background; the background where there is nothing else."""
    return int(counts[1:].argmax()) + 1 if counts[1:].any() else 0


def pixel_centres(height: int, width: int) -> Tensor:
    """(height * width, 2) float32: x before y, centres at half-integers."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x.ravel(), y.ravel()], dim=1)


def _look_up(mask: np.ndarray, points: Tensor) -> Tensor:
    height, width = mask.shape
    x = points[:, 0].floor().long().clamp(0, width - 1)
    y = points[:, 1].floor().long().clamp(0, height - 1)
    return torch.from_numpy(mask.astype(np.int64))[y, x]


class TextStem(nn.Module):
    """Bytes (L,) uint8 of any length -> ((1, 255, size) float32 one-hot, Pieces); byte 0 is nothing at all."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        fixed = torch.cat([raw, torch.zeros(self.size, dtype=torch.uint8)])[: self.size]
        return _one_hot(fixed[None]), _text_pieces(torch.tensor([[1, raw.shape[0]]], dtype=torch.int64), self.size)


def _one_hot(codes: Tensor) -> Tensor:
    """(N, L) uint8 -> (N, 255, L) float32; code 0 has no 1."""
    return (codes[:, None, :].long() == torch.arange(1, 256)[:, None]).float()


def _text_pieces(raw_sizes: Tensor, size: int) -> Pieces:
    rows = torch.arange(len(raw_sizes))
    start = torch.minimum(torch.arange(size)[None], raw_sizes[:, 1:])
    stop = torch.minimum(torch.arange(size)[None] + 1, raw_sizes[:, 1:])
    return Pieces(
        affine=torch.eye(2, 3).repeat(len(raw_sizes), 1, 1),
        row=rows,
        source=rows,
        clip=torch.tensor([[0.0, 0.0, float(size), 1.0]]).repeat(len(raw_sizes), 1),
        raw_size=raw_sizes,
        spans=torch.stack([start, stop], dim=2),
    )


@dataclass(frozen=True)
class ToyText(Input):
    """Texts as their first `size` UTF-8 bytes; raw coordinates are bytes."""

    size: int = 64
    dropped: float = 0.1
    dims = 1
    suffixes = (".txt",)
    raw_axes = MappingProxyType({0: "length"})

    def fit(self, sources: Sequence[Path], size: int | None) -> ToyText:
        return replace(self, size=size or self.size)

    def load(self, source: Path) -> Raw:
        try:
            return source.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{source}: not UTF-8 at byte {error.start}") from error
        except OSError as error:
            raise DataError(f"{source}: {error.strerror}") from error

    def blank(self) -> Raw:
        return " " * self.size

    def pack(self, raw: Raw) -> Packed:
        codes = np.frombuffer(raw.encode() or b"\0", np.uint8)
        return Packed(codes, Size(1, len(codes)))

    def stack(self, packed: Sequence[Packed]) -> Stacked:
        codes = torch.zeros(len(packed), self.size, dtype=torch.uint8)
        for row, own in enumerate(packed):
            kept = torch.from_numpy(np.array(own.array[: self.size]))
            codes[row, : len(kept)] = kept
        return Stacked(codes, torch.tensor([own.raw_size for own in packed], dtype=torch.int64))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        codes = stacked.array.clone()
        if draw is not None:
            codes[draw.uniform("byte dropout", self.size) < self.dropped] = 0
        return _one_hot(codes), _text_pieces(stacked.raw_size, self.size)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(self.pack(raw).array))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return _text_pieces(raw_sizes, self.size)

    def stem(self) -> nn.Module:
        return TextStem(self.size)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        mask = F.interpolate(cells[:, None].float(), size=x.shape[2:], mode="nearest").bool()
        return torch.where(mask, torch.zeros_like(x), x)

    def fingerprint(self, raw: Raw) -> int:
        return int.from_bytes(hashlib.blake2b(raw.encode(), digest_size=8).digest(), "big")

    def sketch(self, raw: Raw) -> np.ndarray:
        return np.frombuffer(bytes(raw, "utf-8") if isinstance(raw, str) else bytes(raw), np.uint8)

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        return a.tobytes() == b.tobytes()

    def render(self, raw: Raw) -> Canvas:
        canvas = Pillow.new("RGB", (8 * max(1, len(raw)), 16), (255, 255, 255))
        ImageDraw.Draw(canvas).text((0, 2), raw.encode("ascii", "replace").decode(), fill=(0, 0, 0))
        return canvas


INPUTS: Mapping[str, type[Input]] = MappingProxyType({"Image": Image, "ToyText": ToyText})
TARGETS: Mapping[str, type[Target]] = MappingProxyType(
    {"ToyBoxes": ToyBoxes, "ToyMasks": ToyMasks, "Classes": Classes}
)
