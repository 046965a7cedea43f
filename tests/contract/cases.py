"""One case for every registered Input and Target and for the toys: what the contract tests run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from foveal import tasks
from foveal.contracts import Input, Target
from foveal.inputs import Audio, Image, Raster, Recording, Series, Text
from foveal.targets import Boxes, Classes, Masks
from foveal.types import Box, Dataset, Label, Mask, Pieces, Raw
from tests import toys
from tests.toys import ToyBoxes, ToyMasks, ToyText

ALL_INPUTS: Mapping[str, type[Input]] = MappingProxyType({**tasks.INPUTS, **toys.INPUTS})
ALL_TARGETS: Mapping[str, type[Target]] = MappingProxyType({**tasks.TARGETS, **toys.TARGETS})

SIZES = ((37, 53), (64, 64), (1, 1), (1, 90), (120, 3), (211, 130))


def pictures(count: int = len(SIZES)) -> list[Raw]:
    """Smooth pictures of odd sizes: (H, W, 3) uint8."""
    rng = np.random.default_rng(3)
    found = []
    for height, width in (SIZES * count)[:count]:
        y, x = np.mgrid[:height, :width]
        phase = rng.uniform(0.02, 0.2, (3, 3))
        waves = [np.sin(a * x + b * y + 9 * c) for a, b, c in phase]
        found.append((127 + 120 * np.stack(waves, axis=2)).astype(np.uint8))
    return found


def rasters() -> list[Raw]:
    """The same waves in channels of very different ranges, one of them constant: (H, W, 4) float32."""
    scale, start = np.array([200, 0.001, -3, 0], np.float32), np.array([1e4, 0, 5, 7], np.float32)
    return [picture[:, :, [0, 1, 2, 0]] * scale + start for picture in pictures()]


def sounds() -> list[Raw]:
    """Chirps and noise of very different lengths and loudness, one of them silent: (n,) float32."""
    rng = np.random.default_rng(4)
    found: list[Raw] = [np.zeros(700, np.float32)]
    for count, start, loud in (
        (8000, 300, 0.5),
        (1, 500, 0.5),
        (1600, 1500, 0.01),
        (30000, 90, 0.9),
        (801, 3000, 1.0),
    ):
        phase = np.cumsum(2 * np.pi * start / 8000 * np.linspace(1, 1.5, count))
        found.append((loud * (np.sin(phase) + 0.1 * rng.standard_normal(count)) / 2).astype(np.float32))
    return [*found[1:], found[0]]


def series(channels: int) -> list[Raw]:
    """Waves of very different lengths: (channels, L) float32."""
    rng = np.random.default_rng(5)
    scale, start = np.array([[1], [30], [0.01]])[:channels], np.array([[0], [100], [-3]])[:channels]
    found = []
    for length in (64, 120, 1, 30, 300, 7):
        phase = rng.uniform(0.05, 0.5, (channels, 1))
        waves = np.sin(phase * np.arange(length) + 6 * phase) + 0.1 * rng.standard_normal((channels, length))
        found.append((waves * scale + start).astype(np.float32))
    return found


TEXTS: list[Raw] = ["plain words", "", "ж" * 70, "naïve 雪 text", "x" * 300, "tab\tand\nline"]

INPUT_CASES: Mapping[str, tuple[Input, list[Raw]]] = MappingProxyType(
    {
        "Audio": (Audio(64, 8000, 0.5), sounds()),
        "Image": (Image(64), pictures()),
        "Image unmirrored": (Image(96, mirror=False), pictures()),
        "Raster": (Raster(64, True, 4, (35400.0, 0.127, -376.0, 7.0), (17000.0, 0.085, 255.0, 1.0)), rasters()),
        "Raster of 1 channel": (Raster(96, False, 1, (35400.0,), (17000.0,)), [own[:, :, :1] for own in rasters()]),
        "Recording": (Recording(64, 8000, 2.0), sounds()),
        "Series": (Series(64), series(1)),
        "Series of 3 channels, shortened": (
            Series(48, 2.5, 3, (0.0, 100.0, -3.0), (1.0, 30.0, 0.01)),
            series(3),
        ),
        "Text": (Text(24), TEXTS),
        "Text, long": (Text(120), TEXTS),
        "ToyText": (ToyText(64), TEXTS),
    }
)


@dataclass(frozen=True)
class TargetCase:
    """A fitted target, labels for four raw things, and what a net might give for them."""

    target: Target
    labels: list[Label]
    pieces: Pieces
    channels: tuple[int, ...] = (5, 6, 7)
    strides: tuple[int, ...] = (8, 16, 32)
    dims: int = 2

    def maps(self, seed: int = 0, rows: int = 4) -> list[Tensor]:
        """Feature maps that say something of the labels and are otherwise noise."""
        dims = 1 if self.pieces.spans is not None else self.dims
        noise = torch.Generator().manual_seed(seed)
        hint = torch.arange(rows) % 2
        found = []
        for channels, stride in zip(self.channels, self.strides, strict=True):
            shape = (rows, channels, *[64 // stride] * dims)
            level = torch.randn(shape, generator=noise).relu()
            level[:, 0] += hint.reshape(-1, *[1] * dims)
            found.append(level)
        return found


def _target_cases() -> dict[str, TargetCase]:
    raw_sizes = torch.tensor([[50, 70], [30, 91], [64, 64], [111, 40]])
    planes = Image(64).pieces(raw_sizes)
    texts = ToyText(64).pieces(torch.tensor([[1, 10], [1, 300], [1, 64], [1, 1]]))
    masks = [np.zeros(tuple(size), np.uint8) for size in raw_sizes.tolist()]
    for kind, mask in enumerate(masks[:3]):
        mask[5:20, 9:25] = 1 + kind % 2
    traced = [Mask.of(mask, ("ground", "red", "blue", "never seen")) for mask in masks]
    heard = Recording(64, 8000, 1.28).pieces(torch.tensor([[1, 90], [1, 128], [1, 33], [1, 200]]))
    rows = [np.zeros((1, int(width)), np.uint8) for _, width in heard.raw_size.tolist()]
    for kind, row in enumerate(rows[:3]):
        row[0, 5:30] = 1 + kind % 2
    events = [Mask.of(row, ("background", "red", "blue", "never seen")) for row in rows]
    boxes = [(4.0, 6.0, 33.0, 40.0), (0.0, 0.0, 91.0, 30.0), (20.5, 3.0, 60.0, 9.0), (1.0, 100.0, 39.0, 111.0)]
    things = [
        (Box("cat", 1.0, 4, 6, 33, 40), Box("dog", 1.0, 40, 20, 60, 45)),
        (Box("dog", 1.0, 0, 0, 91, 30),),
        (),
        (Box("cat", 1.0, 1, 80, 39, 111), Box("cat", 1.0, 2, 2, 12, 12, ignored=True)),
    ]
    classes = Classes(("cat", "dog", "never seen"))
    return {
        "Classes": TargetCase(classes, [0, 1, 0, 1], planes),
        "Classes in bands": TargetCase(replace(classes, pools=("bands", "thirds", "max")), [0, 1, 0, 1], planes),
        "Classes of texts": TargetCase(classes, [0, 1, 0, 1], texts),
        "Classes of series": TargetCase(
            replace(classes, pools=("mean",)),
            [0, 1, 0, 1],
            Series(64).pieces(torch.tensor([[1, 9]] * 4)),
            (4, 5, 6),
            (1, 1, 1),
            dims=1,
        ),
        "Classes, calibrated": TargetCase(replace(classes, temperature=2.5), [0, 1, 0, 1], planes),
        "Boxes": TargetCase(Boxes(("cat", "dog", "never seen"), ("never seen", "dog", "cat"), 3), things, planes),
        "Masks": TargetCase(
            Masks(("ground", "red", "blue", "never seen"), ("never seen", "blue", "red", "ground")), traced, planes
        ),
        "Masks over time": TargetCase(
            Masks(
                ("background", "red", "blue", "never seen"), ("never seen", "blue", "red", "background"), timed=True
            ),
            events,
            heard,
        ),
        "ToyBoxes": TargetCase(ToyBoxes(("rectangle",)), boxes, planes),
        "ToyMasks": TargetCase(ToyMasks(("background", "red", "blue")), masks, planes),
    }


TARGET_CASES: Mapping[str, TargetCase] = MappingProxyType(_target_cases())


def dataset(class_names: tuple[str, ...]) -> Dataset:
    """Data of these classes, without examples."""
    return Dataset(Path("/nowhere"), (), class_names)
