"""What the raster files of a data set have in common: number of channels, length of a side, centre and spread.

Knows headers of all files and the values of some. Files that cannot be read are passed over; loading them says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foveal.errors import DataError
from foveal.inputs import _bands
from foveal.inputs._plane import LARGEST_SIDE, SMALLEST_SIDE

Shape = tuple[int, int, int]

_FILES_READ = 200
# A spread this small beside the values is rounding of float32.
_ROUNDING = 1e-6


def shapes_of(sources: Sequence[Path]) -> dict[Path, Shape]:
    """Height, width and channels of every file whose header can be read."""
    return {source: shape for source in sources if (shape := _bands.shape(source))}


def odd_one(shapes: Mapping[Path, Shape]) -> Path | None:
    """The first file that has not as many channels as most; None where all agree."""
    usual = usual_channels(shapes)
    return next((source for source, shape in shapes.items() if shape[2] != usual), None)


def usual_channels(shapes: Mapping[Path, Shape]) -> int:
    """As most files have; of several such numbers the one that comes first."""
    counts = Counter(shape[2] for shape in shapes.values())
    return max(counts, key=lambda channels: counts[channels], default=0)


def default_size(shapes: Mapping[Path, Shape]) -> int:
    """The median side of the files, in steps of 32 from 64 to 288."""
    return int(np.clip(32 * round(median_side(shapes) / 32), SMALLEST_SIDE, LARGEST_SIDE))


def median_side(shapes: Mapping[Path, Shape]) -> float:
    """Of the files, each by the geometric mean of its sides; that of large ones where none can be read."""
    sides = [np.sqrt(height * width) for height, width, _ in shapes.values()]
    return float(np.median(sides)) if sides else float(LARGEST_SIDE)


def measured(sources: Sequence[Path]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over at most 200 files, evenly chosen, all of one weight.

    Channels that are constant have a deviation of 1; both are empty where no file can be read.
    """
    chosen = np.unique(np.linspace(0, len(sources) - 1, min(len(sources), _FILES_READ)).round().astype(int))
    found = [moments for index in chosen if (moments := _moments(sources[index])) is not None]
    if not found:
        return (), ()
    means, variances = (np.stack(part) for part in zip(*found, strict=True))
    centre = means.mean(0)
    spread = np.sqrt((variances + np.square(means - centre)).mean(0))
    return tuple(centre.tolist()), tuple(np.where(varies(centre, spread), spread, 1.0).tolist())


def varies(centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Whether values of this mean and standard deviation differ by more than their rounding."""
    return spread > _ROUNDING * np.abs(centre)


def _moments(source: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and variance of each channel of a file, (C,) float64."""
    try:
        raster = _bands.decode(source)
    except DataError:
        return None
    return raster.mean((0, 1), dtype=np.float64), raster.var((0, 1), dtype=np.float64)
