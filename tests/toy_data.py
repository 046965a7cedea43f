"""Folders of toy data, and plans that train the toys on them in seconds.

Pictures are never square and never of one size, so that a geometry error shows; texts hold bytes beyond ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image as Pillow

from foveal.contracts import Task
from foveal.engine.reading import Plan
from foveal.inputs import Image
from foveal.recipe import Recipe
from foveal.targets import Classes
from foveal.types import Dataset, Example
from tests.toys import ToyBoxes, ToyMasks, ToyNet, ToyText

COLOURS = {"red": (225, 40, 40), "blue": (40, 60, 230)}
WORDS = {
    "english": ("plum", "cherry", "wrench", "hammer", "finch", "owl", "quince"),
    "ελληνικά": ("μήλο", "κεράσι", "σφυρί", "πριόνι", "κύκνος", "σπίτι", "δρόμος"),
    "русский": ("слива", "вишня", "молоток", "пила", "лебедь", "дом", "дорога"),
}
FILLERS = ("1", "22", "333", "4,5", "-", "6.0", "789", "+")
COUNTS = {"train": 32, "val": 8, "test": 15}


def picture(rng: np.random.Generator, colour: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A gray, noisy picture (H, W, 3) uint8 with one rectangle, and its (left, top, right, bottom)."""
    height, width = int(rng.integers(37, 71)), int(rng.integers(53, 98))
    pixels = rng.integers(95, 150, (height, width, 1)).repeat(3, axis=2).astype(np.uint8)
    spans = []
    for side in (width, height):
        length = int(rng.integers(round(0.35 * side), round(0.6 * side)))
        start = int(rng.integers(1, side - length))
        spans.append((start, start + length))
    (left, right), (top, bottom) = spans
    pixels[top:bottom, left:right] = np.asarray(colour) + rng.integers(-20, 21, (bottom - top, right - left, 1))
    return pixels, (left, top, right, bottom)


def boxes(folder: Path, counts: Mapping[str, int] = COUNTS) -> Dataset:
    """Pictures whose labels are boxes in raw pixels."""
    rng = np.random.default_rng(7)
    examples = []
    for name, split in _names(counts):
        pixels, box = picture(rng, COLOURS["red"])
        examples.append(Example(_save(folder / f"{name}.png", pixels), box, split))
    return Dataset(folder, tuple(examples), ("rectangle",), reading="toy boxes")


def masks(folder: Path, counts: Mapping[str, int] = COUNTS) -> Dataset:
    """Pictures whose labels are files of class indices at raw size."""
    rng = np.random.default_rng(8)
    examples = []
    for name, split in _names(counts):
        kind = int(rng.integers(len(COLOURS)))
        pixels, (left, top, right, bottom) = picture(rng, tuple(COLOURS.values())[kind])
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[top:bottom, left:right] = kind + 1
        label = _save(folder / "masks" / f"{name}.png", mask)
        examples.append(Example(_save(folder / f"{name}.png", pixels), label, split))
    return Dataset(folder, tuple(examples), ("background", *COLOURS), reading="toy masks")


def text(folder: Path, counts: Mapping[str, int] = COUNTS) -> Dataset:
    """Two words of one language among numbers; in two of the three most letters take two bytes."""
    rng = np.random.default_rng(9)
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number, (name, split) in enumerate(_names(counts)):
        label = tuple(WORDS)[number % len(WORDS)]
        words = [*rng.choice(WORDS[label], 2, replace=False), *rng.choice(FILLERS, int(rng.integers(2, 9)))]
        rng.shuffle(words)
        (folder / f"{name}.txt").write_text(" ".join(words), encoding="utf-8")
        examples.append(Example(folder / f"{name}.txt", label, split))
    return Dataset(folder, tuple(examples), tuple(WORDS), reading="toy text")


DATA: Mapping[str, Callable[..., Dataset]] = MappingProxyType({"boxes": boxes, "masks": masks, "text": text})
KINDS = tuple(DATA)
PICTURE_SIZE = 48


def toy_task(kind: str) -> Task:
    """The task of this kind, not fitted."""
    parts = {
        "boxes": (Image(PICTURE_SIZE), ToyBoxes()),
        "masks": (Image(PICTURE_SIZE), ToyMasks()),
        "text": (ToyText(96), Classes()),
    }
    return Task(f"toy {kind}", *parts[kind])


def toy_net(kind: str, seed: int = 0) -> ToyNet:
    """A fresh net for this kind: a function of the seed alone."""
    torch.manual_seed(seed)
    return ToyNet(1, inputs=255, channels=(16, 24, 32)) if kind == "text" else ToyNet(2)


def toy_plan(kind: str, folder: Path, epochs: int = 10, data: Dataset | None = None) -> Plan:
    """A plan that trains everything by gradient and commits after every step."""
    task = toy_task(kind)
    recipe = Recipe(
        size=task.input.size,
        seed=3,
        epochs=epochs,
        batch_size=8,
        learning_rate=0.5,
        checkpoint_seconds=0.0,
        snapshot_steps=1,
    )
    dataset = data if data is not None else DATA[kind](folder)
    return Plan(dataset, task, toy_net(kind, recipe.seed), f"toy-{kind}", f"toy-{kind}-1", False, recipe)


def _names(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(f"{split}-{i:03d}", split) for split, count in counts.items() for i in range(count)]


def _save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path)
    return path
