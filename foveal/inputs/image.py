"""Image: a picture of any size and kind <-> (N, 3, S, S) float32.

Knows decoding, resizing, augmentation geometry and how alike two pictures are. Knows nothing of labels: boxes and
masks follow `Pieces.affine`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.inputs import _disturb
from foveal.inputs._decode import SUFFIXES, decode, picture_side
from foveal.types import Disturbance, Draw, Packed, Pieces, Raw, Size

# Two pictures are one when the root mean square difference of their 32 x 32 sketches stays below this share of
# their contrast (a correlation of about 0.995), plus what re-compression adds.
_SAME_SHARE, _SAME_SLACK = 0.10, 1.5
_SKETCH = 32
# Augmentation: the least share of the area that a crop keeps, and how far it is stretched; how far brightness,
# contrast and saturation go; in how many pictures patches are erased, and the largest share of them.
_SMALLEST_CROP, _STRETCH = 0.5, 4 / 3
_RECOLOUR = 0.2
_ERASED_PICTURES, _ERASED_SHARE, _ERASED_GRID = 0.5, 0.5, 7
_SMALLEST, _LARGEST = 64, 288
_SIZES_READ = 200


@dataclass(frozen=True)
class Image(Input):
    """Pictures resized, whole and unrounded, to `size` x `size`. mirror: whether left and right may be swapped."""

    size: int = 224
    mirror: bool = True
    dims = 2
    suffixes = SUFFIXES
    raw_axes = MappingProxyType({0: "height", 1: "width"})

    def fit(self, sources: Sequence[Path], size: int | None) -> Image:
        return replace(self, size=size or _default_size(sources))

    def load(self, source: Path) -> Raw:
        return decode(source)

    def blank(self) -> Raw:
        return np.full((self.size, self.size, 3), 127, np.uint8)

    def pack(self, raw: Raw) -> Packed:
        """(size, size, 3) uint8: rounded, for training only."""
        picture = Pillow.fromarray(raw).resize((self.size, self.size), Pillow.Resampling.BILINEAR)
        return Packed(np.asarray(picture), Size(*raw.shape[:2]))

    def batch(self, packed: Sequence[Packed], draw: Draw | None) -> tuple[Tensor, Pieces]:
        pixels = torch.from_numpy(np.stack([p.array for p in packed])).permute(0, 3, 1, 2).float()
        sizes = torch.tensor([p.raw_size for p in packed], dtype=torch.int64)
        base = _resizing(sizes, self.size)
        if draw is None:
            return _normalise(pixels), _pieces(base, sizes, self.size)
        crop = _random_crop(draw, self.size, mirror=self.mirror)
        x = _normalise(_recolour(_sample(pixels, crop), draw))
        erased = self.erase(x, _some_cells(draw), draw)
        return erased, _pieces(_compose(crop, base), sizes, self.size)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(raw, np.uint8))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return _pieces(_resizing(raw_sizes, self.size), raw_sizes, self.size)

    def stem(self) -> nn.Module:
        return ImageStem(self.size)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, 3, S, S); cells: (N, g, g) bool. The fill is mid-gray, with noise of the pixels' spread if drawn."""
        mask = F.interpolate(cells[:, None].float(), size=x.shape[2:], mode="nearest").bool()
        fill = torch.zeros_like(x) if draw is None else (draw.uniform("erase", *x.shape[1:]) - 0.5).to(x)
        return torch.where(mask, fill, x)

    def swapped(self, raw: Raw) -> Raw | None:
        return np.ascontiguousarray(raw[:, ::-1]) if self.mirror else None

    def one_sided(self) -> Image:
        return replace(self, mirror=False)

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        return _disturb.disturbed(raw, self.size)

    def fingerprint(self, raw: Raw) -> int:
        """Difference hash: whether each of 8 x 8 gray cells is brighter than its right neighbour."""
        gray = Pillow.fromarray(raw).convert("L").resize((9, 8), Pillow.Resampling.BOX)
        cells = np.asarray(gray, np.int16)
        bits = (cells[:, 1:] > cells[:, :-1]).ravel()
        return int.from_bytes(np.packbits(bits).tobytes(), "big")

    def sketch(self, raw: Raw) -> np.ndarray:
        """(3073,) float32: a thumbnail of 32 x 32 pixels, each the mean of its part, and their contrast."""
        small = Pillow.fromarray(raw).resize((_SKETCH, _SKETCH), Pillow.Resampling.BOX)
        pixels = np.asarray(small, np.float32).ravel()
        return np.append(pixels, pixels.std())

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        difference = a[:-1] - b[:-1]
        distance = float(difference @ difference / len(difference)) ** 0.5
        return distance <= _SAME_SHARE * float(min(a[-1], b[-1])) + _SAME_SLACK

    def render(self, raw: Raw) -> Canvas:
        return Pillow.fromarray(raw)


def _default_size(sources: Sequence[Path]) -> int:
    """3 times the median side of a sample of the pictures, in steps of 32 from 64 to 288.

    Networks trained on 224 px gain from small pictures enlarged (`python -m benchmarks.head`, 96, 160, 224, 288 px):
    trashnet-150, of 150 px, 87.9, 89.8, 90.8, 91.3 %; signs, of 100 px, 95.7, 97.5, 97.9, 98.5 %.
    What the machine cannot afford in time is taken back by `engine/reading.py`.
    """
    sides = [side for source in sources[:: max(1, len(sources) // _SIZES_READ)] if (side := picture_side(source))]
    wanted = 3 * float(np.median(sides)) if sides else _LARGEST
    return int(np.clip(32 * round(wanted / 32), _SMALLEST, _LARGEST))


class ImageStem(nn.Module):
    """The reference path: raw (H, W, 3) uint8 -> ((1, 3, S, S) float32, Pieces), never rounded on the way."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        height, width = raw.shape[0], raw.shape[1]
        x = F.interpolate(
            raw.permute(2, 0, 1)[None].float(),
            size=(self.size, self.size),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )
        sizes = torch.tensor([[height, width]], dtype=torch.int64)
        return _normalise(x), _pieces(_resizing(sizes, self.size), sizes, self.size)


def _normalise(pixels: Tensor) -> Tensor:
    """(pixel - 127) / 128: what the published networks were trained on, whatever their documentation says."""
    return (pixels - 127.0) / 128.0


def _resizing(sizes: Tensor, size: int) -> Tensor:
    """(M, 2) raw heights and widths -> (M, 2, 3) affine raw -> model."""
    scale = size / sizes.flip(1).float()
    return torch.cat([torch.diag_embed(scale), torch.zeros(len(sizes), 2, 1)], dim=2)


def _pieces(affine: Tensor, sizes: Tensor, size: int) -> Pieces:
    rows = torch.arange(len(sizes))
    clip = torch.tensor([[0.0, 0.0, float(size), float(size)]]).repeat(len(sizes), 1)
    return Pieces(affine=affine, row=rows, source=rows, clip=clip, raw_size=sizes)


def _random_crop(draw: Draw, size: int, *, mirror: bool) -> Tensor:
    """(M, 2, 3) affine that takes a random part to the whole plane, stretched a little and perhaps mirrored."""
    area = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * draw.uniform("crop area")
    stretch = torch.exp((2 * draw.uniform("crop stretch") - 1) * math.log(_STRETCH))
    part = torch.stack([(area * stretch).sqrt(), (area / stretch).sqrt()], dim=1).clamp_max(1)
    corner = draw.uniform("crop corner", 2) * (1 - part) * size
    zoom = 1 / part
    shift = -corner * zoom
    if mirror:
        swap = draw.uniform("mirror") < 0.5
        zoom[:, 0] = torch.where(swap, -zoom[:, 0], zoom[:, 0])
        shift[:, 0] = torch.where(swap, size - shift[:, 0], shift[:, 0])
    return torch.cat([torch.diag_embed(zoom), shift[:, :, None]], dim=2)


def _recolour(pixels: Tensor, draw: Draw) -> Tensor:
    """Brightness, contrast and saturation moved, each picture by its own amounts; pixels (M, C, S, S), 0 to 255."""
    bright, contrast, saturation = (1 + _RECOLOUR * (2 * draw.uniform("colour", 3) - 1)).T[:, :, None, None, None]
    pixels = pixels * bright
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast)
    gray = pixels.mean(1, keepdim=True)
    return torch.lerp(gray, pixels, saturation).clamp(0, 255)


def _some_cells(draw: Draw) -> Tensor:
    """(M, g, g) bool: none in half of the pictures, up to half of all cells in the others."""
    share = _ERASED_SHARE * draw.uniform("erased share")
    share = torch.where(draw.uniform("erased") < _ERASED_PICTURES, share, 0.0)
    return draw.uniform("erased cells", _ERASED_GRID, _ERASED_GRID) < share[:, None, None]


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """outer after inner, both (M, 2, 3)."""
    linear = outer[:, :, :2] @ inner[:, :, :2]
    shift = outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([linear, shift], dim=2)


def _sample(pixels: Tensor, affine: Tensor) -> Tensor:
    """Move pixels (M, C, S, S) by affine (M, 2, 3); outside is repeated from the edge."""
    size = pixels.shape[-1]
    linear = torch.linalg.inv(affine[:, :, :2])
    shift = -linear @ affine[:, :, 2:]
    # affine_grid wants the inverse map in [-1, 1] coordinates: p -> 2 p / size - 1 on both sides.
    unit_shift = 2 * shift / size + linear.sum(2, keepdim=True) - 1
    grid = F.affine_grid(torch.cat([linear, unit_shift], dim=2), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
