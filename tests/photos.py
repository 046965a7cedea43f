"""Small generated photos: 64 px textures in a folder for each class, easy enough to be learnt in seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

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
