"""Raster: planes of any number of channels and any range of values <-> (N, C, S, S) float32, standardised.

Knows standardising, augmentation and how alike two rasters are. Knows nothing of labels: boxes and masks follow
`Pieces.affine`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.errors import DataError
from foveal.inputs import _bands, _cues
from foveal.inputs._plane import (
    ERASED,
    RARELY_ERASED,
    SKETCH,
    compose,
    difference_hash,
    erased,
    own_side,
    pieces_of,
    random_crop,
    resized,
    resizing,
    sample,
    some_cells,
)
from foveal.inputs._survey import default_size, measured, median_side, odd_one, shapes_of, usual_channels, varies
from foveal.types import Cue, Draw, Finding, Packed, Pieces, Raw, Size, Stacked

# Two rasters are one when in every channel the root mean square difference of their sketches stays below this share
# of its contrast, as for pictures, plus this share of the channel's spread over the data.
_SAME_SHARE, _SAME_SLACK = 0.10, 0.02
# Augmentation: how far brightness moves, in spreads, and contrast.
_SHIFT, _CONTRAST = 0.2, 0.2
# Uniform noise of this width spreads as standardised values do.
_NOISE_WIDTH = 12**0.5
_TINY = np.finfo(np.float64).tiny
_SHOWN_PERCENTILES = (2, 98)
_BOX = Pillow.Resampling.BOX


@dataclass(frozen=True)
class Raster(Input):
    """Rasters standardised by channel, then resized, whole and unrounded, to `size` x `size`.

    mirror: whether left and right may be swapped; gently: whether augmentation only moves, mirrors and erases;
    erasing: in which share of the rasters it erases patches;
    centre, spread: mean and standard deviation of each channel over the data, in the files' units.
    """

    size: int = 128
    mirror: bool = True
    channels: int = 3
    centre: tuple[float, ...] = (0.0, 0.0, 0.0)
    spread: tuple[float, ...] = (1.0, 1.0, 1.0)
    gently: bool = False
    erasing: float = ERASED
    dims = 2
    photographs = True
    suffixes = _bands.SUFFIXES
    raw_axes = MappingProxyType({0: "height", 1: "width"})

    def __post_init__(self) -> None:
        assert self.channels == len(self.centre) == len(self.spread)

    @classmethod
    def unread(cls, sources: Sequence[Path]) -> Path | None:
        """Pages count as channels only where every file is a TIFF of as many; else the first page is a picture."""
        other = next((source for source in sources if not _bands.is_raster(source)), None)
        if other is not None:
            return other
        shapes = shapes_of(sources)
        return odd_one(shapes) if all(_bands.has_pages(source) for source in shapes) else None

    def fit(self, sources: Sequence[Path], size: int | None) -> Raster:
        """Raises DataError naming the first file that has not as many channels as most."""
        shapes = shapes_of(sources)
        odd, channels = odd_one(shapes), usual_channels(shapes)
        if odd is not None:
            same = sum(shape[2] == channels for shape in shapes.values())
            raise DataError(
                f"{odd}: {shapes[odd][2]} channels; expected {channels}, as {same} of the {len(shapes)} files have; "
                f"give every file the same channels, or leave this one out"
            )
        centre, spread = measured(list(shapes))
        if not centre:
            return replace(self, size=size or self.size)
        size = size or default_size(shapes)
        return replace(self, size=size, channels=channels, centre=centre, spread=spread)

    def own_size(self, sources: Sequence[Path]) -> int:
        return own_side(median_side(shapes_of(sources)))

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        found = [Finding("channels", f"Read as rasters of {self.channels} channels, each standardised")]
        paged = tuple(str(source) for source in sources if _bands.has_pages(source))
        if paged:
            found.append(Finding("pages", f"The pages of {len(paged)} TIFFs are taken for their channels", paged))
        return tuple(found)

    def load(self, source: Path) -> Raw:
        """(H, W, channels) float32, in the file's own units."""
        raster = _bands.decode(source)
        if raster.shape[2] != self.channels:
            raise DataError(f"{source}: {raster.shape[2]} channels; expected {self.channels}, as in the other files")
        return raster

    def blank(self) -> Raw:
        return np.tile(np.asarray(self.centre, np.float32), (self.size, self.size, 1))

    def pack(self, raw: Raw) -> Packed:
        """(size, size, channels) float32, in the file's own units, so that a sketch of it is one of the file."""
        planes = resized(_planes(torch.from_numpy(raw)), self.size)
        return Packed(np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy()), Size(*raw.shape[:2]))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        values, sizes = stacked.array.permute(0, 3, 1, 2), stacked.raw_size
        centre, spread = (part.to(values.device) for part in self._scale())
        x = (values - centre) / spread
        base = resizing(sizes, self.size)
        if draw is None:
            return x, pieces_of(base, sizes, self.size)
        crop = random_crop(draw, self.size, mirror=self.mirror, gentle=self.gently)
        moved = sample(x, crop)
        x = moved if self.gently else _relit(moved, draw)
        x = self.erase(x, some_cells(draw, self.erasing), draw)
        return x, pieces_of(compose(crop, base), sizes, self.size)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(raw, np.float32))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return pieces_of(resizing(raw_sizes, self.size), raw_sizes, self.size)

    def stem(self) -> nn.Module:
        return RasterStem(self.size, *self._scale())

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, C, S, S); cells: (N, g, g) bool. The fill is what lies around; if drawn, noise around the mean."""
        return erased(x, cells, draw, _NOISE_WIDTH)

    def swapped(self, raw: Raw) -> Raw | None:
        return np.ascontiguousarray(raw[:, ::-1]) if self.mirror else None

    def one_sided(self) -> Raster:
        return replace(self, mirror=False)

    def from_nothing(self) -> Raster:
        return replace(self, gently=True, erasing=RARELY_ERASED)

    def rarely_erased(self) -> Raster:
        return replace(self, erasing=RARELY_ERASED)

    def cues(self) -> Mapping[str, Cue]:
        return _cues.RASTERS

    def altered(self, raw: Raw, window: Sequence[float] | None, change: Callable[[Raw], Raw]) -> Raw:
        return _cues.within(raw, window, change)

    def fingerprint(self, raw: Raw) -> int:
        """Difference hash of the mean of all channels, each standardised by itself, whatever the data around it."""
        cells = _thumbnail(raw, 9, 8)
        mean, deviation = cells.mean((1, 2), keepdims=True), cells.std((1, 2), keepdims=True)
        even = np.where(varies(mean, deviation), (cells - mean) / np.maximum(deviation, _TINY), 0)
        return difference_hash(even.mean(0))

    def sketch(self, raw: Raw) -> np.ndarray:
        """(channels * 1024,) float32: 32 x 32 cells a channel, each the mean of its part, standardised."""
        centre, spread = (np.asarray(own)[:, None, None] for own in (self.centre, self.spread))
        return ((_thumbnail(raw, SKETCH, SKETCH) - centre) / spread).astype(np.float32).ravel()

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        a, b = (own.reshape(-1, SKETCH * SKETCH) for own in (a, b))
        distance = np.sqrt(np.square(a - b).mean(1))
        contrast = np.minimum(a.std(1), b.std(1))
        return bool((distance <= _SAME_SHARE * contrast + _SAME_SLACK).all())

    def says_nothing(self, sketch: np.ndarray) -> bool:
        return not np.ptp(sketch.reshape(-1, SKETCH * SKETCH), axis=1).any()

    def render(self, raw: Raw) -> Canvas:
        """The first channel in gray, or of 3 and more three that lie evenly, each from its 2nd to 98th percentile."""
        chosen = np.linspace(0, self.channels - 1, 3).round().astype(int) if self.channels > 2 else np.zeros(3, int)
        return Pillow.fromarray(np.stack([_eight_bits(raw[:, :, band]) for band in chosen], axis=2))

    def _scale(self) -> tuple[Tensor, Tensor]:
        """Centre and spread, each (C, 1, 1) float32."""
        return torch.tensor(self.centre)[:, None, None], torch.tensor(self.spread)[:, None, None]


class RasterStem(nn.Module):
    """The reference path: raw (H, W, C) float32 -> ((1, C, S, S) float32, Pieces).

    Standardised first, resized after: sums of values far from 0 would lose the digits in which they differ.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, size: int, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.size = size
        # They are the input's fields, so they are no weights.
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        sizes = torch.tensor([[raw.shape[0], raw.shape[1]]], dtype=torch.int64)
        x = resized((_planes(raw) - self.centre) / self.spread, self.size)
        return x, pieces_of(resizing(sizes, self.size), sizes, self.size)


def _planes(raw: Tensor) -> Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return raw.permute(2, 0, 1)[None]


def _relit(x: Tensor, draw: Draw) -> Tensor:
    """Brightness and contrast moved, each raster by its own amounts and all channels alike; x (M, C, S, S)."""
    bright, contrast = (2 * draw.uniform("light", 2) - 1).to(x.device).T[:, :, None, None, None]
    mean = x.mean((2, 3), keepdim=True)
    return torch.lerp(mean, x, 1 + _CONTRAST * contrast) + _SHIFT * bright


def _thumbnail(raw: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, C) -> (C, height, width) float64, each cell the mean of its part."""
    channels = (Pillow.fromarray(np.ascontiguousarray(raw[:, :, band])) for band in range(raw.shape[2]))
    return np.stack([np.asarray(own.resize((width, height), _BOX), np.float64) for own in channels])


def _eight_bits(channel: np.ndarray) -> np.ndarray:
    """(H, W) -> 0 to 255 uint8 by percentiles, so that single values do not darken the rest; mid-gray if constant."""
    low, high = np.percentile(channel, _SHOWN_PERCENTILES)
    if not varies(np.abs(channel).max(), high - low):
        return np.full(channel.shape, 127, np.uint8)
    return np.rint((np.clip(channel, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)
