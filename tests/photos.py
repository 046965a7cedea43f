"""Small generated photos: 64 px textures in a folder for each class, easy enough to be learnt in seconds; and bent
lines, which take some training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

CLASSES = ("checks", "rings", "stripes")
_SIDE = 64


def texture(name: str, rng: np.random.Generator) -> np.ndarray:
    """(64, 64, 3) uint8: noisy waves of random colour, phase and width, in the pattern of the class."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    phase, width = rng.uniform(0, 6), rng.uniform(2, 4)
    wave = {
        "stripes": np.sin(x / width + phase),
        "checks": np.sin(x / width + phase) * np.sin(y / width + phase),
        "rings": np.sin(np.hypot(x - _SIDE / 2, y - _SIDE / 2) / width + phase),
    }[name]
    pixels = 127 + 80 * wave[:, :, None] * rng.uniform(0.6, 1, 3) + rng.normal(0, 20, (_SIDE, _SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def write_photos(folder: Path, count: int = 20, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """`count` pictures a class as CLASS/00.jpg and so on; returns the folder."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Pillow.fromarray(texture(name, rng)).save(folder / name / f"{number:02}.jpg", quality=90)
    return folder


def line(bend: float, rng: np.random.Generator) -> Pillow.Image:
    """A line of random place, length and direction, bent by so many pixels, on noise: (64, 64) pixels."""
    along, turn = np.linspace(0, 1, 20), rng.uniform(0, np.pi)
    points = (
        np.stack([rng.uniform(14, 22) + rng.uniform(26, 34) * along, 32 + 4 * bend * along * (1 - along)], 1) - 32
    )
    turned = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 32
    picture = Pillow.new("RGB", (_SIDE, _SIDE), (30, 30, 40))
    ImageDraw.Draw(picture).line([tuple(point) for point in turned.tolist()], fill=(220, 200, 90), width=4)
    noisy = np.asarray(picture) + rng.normal(0, 12, (_SIDE, _SIDE, 3))
    return Pillow.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def write_lines(path: Path, counts: Mapping[str, int], bend: float) -> Path:
    """Lines bent to one side, straight, and bent to the other, which frozen features do not tell well apart.

    Writes `counts` of each kind a split beside `path`, and the table of them there; returns it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(1), []
    for split, count in counts.items():
        for number in range(3 * count):
            file = path.with_name(f"{split}{number}.png")
            line(bend * (number % 3 - 1), rng).save(file)
            rows.append(f"{file.name},kind{number % 3},{split}")
    path.write_text("\n".join(["file,label,split", *rows]) + "\n")
    return path


def listing(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below `folder` with its size, time of change and content: what may not change."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_size if path.is_file() else 0,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }
