"""Image: a picture of any size and kind <-> (N, 3, S, S) float32.

Knows decoding, resizing, augmentation geometry and how alike two pictures are. Knows nothing of labels: boxes and
masks follow `Pieces.affine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.headers import read_header
from foveal.inputs import _bands, _cues, _disturb, _tiff
from foveal.inputs._decode import SUFFIXES, decode, picture_side
from foveal.inputs._plane import (
    ERASED,
    LARGEST_SIDE,
    LARGEST_WHOLE,
    PART,
    RARELY_ERASED,
    SKETCH,
    SMALLEST_SIDE,
    compose,
    difference_hash,
    erased,
    own_side,
    pieces_of,
    random_crop,
    random_window,
    resized,
    resizing,
    sample,
    some_cells,
)
from foveal.types import Cue, Disturbance, Draw, Finding, Packed, Pieces, Raw, Size, Stacked

# Two pictures are one when the root mean square difference of their 32 x 32 sketches stays below this share of
# their contrast (a correlation of about 0.995), plus what re-compression adds.
_SAME_SHARE, _SAME_SLACK = 0.10, 1.5
# Less contrast than rounding makes.
_PLAIN = 0.5
# Augmentation: how far brightness, contrast and saturation go.
_RECOLOUR = 0.2
_SIZES_READ = 200


@dataclass(frozen=True)
class Image(Input):
    """Pictures resized, whole and unrounded, to `size` x `size`.

    mirror: whether left and right may be swapped; gently: whether augmentation only moves, mirrors and erases;
    erasing: in which share of pictures it erases patches; plane: the side to which pictures are resized where only
    parts of them are shown (`in_parts`), else 0.
    """

    size: int = 224
    mirror: bool = True
    gently: bool = False
    erasing: float = ERASED
    plane: int = 0
    dims = 2
    sees_figures = True
    photographs = True
    suffixes = SUFFIXES
    raw_axes = MappingProxyType({0: "height", 1: "width"})

    @classmethod
    def unread(cls, sources: Sequence[Path]) -> Path | None:
        """Anything may be a picture, whatever it is called, but for arrays and TIFFs of other bands than colours."""
        return next((source for source in sources if not _is_picture(source)), None)

    def fit(self, sources: Sequence[Path], size: int | None) -> Image:
        return replace(self, size=size or _default_size(sources))

    def raw_size(self, source: Path) -> Size | None:
        header = read_header(source)
        return None if header is None else header.size

    def own_size(self, sources: Sequence[Path]) -> int:
        return own_side(_median_side(sources))

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        paged = tuple(str(source) for source in sources if _bands.has_pages(source))
        message = f"Of {len(paged)} TIFFs with several gray pages the first is read: not all files have as many"
        return (Finding("pages", message, paged),) if paged else ()

    def load(self, source: Path) -> Raw:
        return decode(source)

    def blank(self) -> Raw:
        return np.full((self.size, self.size, 3), 127, np.uint8)

    def pack(self, raw: Raw) -> Packed:
        """(size, size, 3), for training only: uint8 of a large picture; float16, unrounded, of an enlarged one.

        Rounded, what is smooth once enlarged lies in steps, and those a pretrained network takes for something
        (`python -m benchmarks.head`).
        """
        (height, width), side = raw.shape[:2], self.plane or self.size
        if min(height, width) < side:
            pixels = resized(self.tensor(raw).permute(2, 0, 1)[None].float(), side)[0].permute(1, 2, 0)
            return Packed(pixels.half().contiguous().numpy(), Size(height, width))
        picture = Pillow.fromarray(raw).resize((side, side), Pillow.Resampling.BILINEAR)
        return Packed(np.asarray(picture), Size(height, width))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        pixels, sizes = stacked.array.permute(0, 3, 1, 2).float(), stacked.raw_size
        base = resizing(sizes, self.plane or self.size)
        if draw is None:
            assert not self.plane, "a part is shown by a draw"
            return _normalise(pixels), pieces_of(base, sizes, self.size)
        if self.plane:
            crop = random_window(draw, self.plane, self.size, mirror=self.mirror)
        else:
            crop = random_crop(draw, self.size, mirror=self.mirror, gentle=self.gently)
        moved = sample(pixels, crop, self.size)
        x = _normalise(moved if self.gently else _recolour(moved, draw))
        x = self.erase(x, some_cells(draw, self.erasing), draw)
        return x, pieces_of(compose(crop, base), sizes, self.size)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(raw, np.uint8))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return pieces_of(resizing(raw_sizes, self.size), raw_sizes, self.size)

    def stem(self) -> nn.Module:
        return ImageStem(self.size)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, 3, S, S); cells: (N, g, g) bool. The fill is what lies around, noise of the pixels' spread around
        gray if drawn."""
        return erased(x, cells, draw, width=1.0)

    def swapped(self, raw: Raw) -> Raw | None:
        return np.ascontiguousarray(raw[:, ::-1]) if self.mirror else None

    def one_sided(self) -> Image:
        return replace(self, mirror=False)

    def in_parts(self) -> Image | None:
        return replace(self, size=PART, plane=self.size) if self.size > LARGEST_WHOLE else None

    def from_nothing(self) -> Image:
        return replace(self, gently=True, erasing=RARELY_ERASED)

    def rarely_erased(self) -> Image:
        return replace(self, erasing=RARELY_ERASED)

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        return _disturb.disturbed(raw, self.size)

    def cues(self) -> Mapping[str, Cue]:
        return _cues.PICTURES

    def altered(self, raw: Raw, window: Sequence[float] | None, change: Callable[[Raw], Raw]) -> Raw:
        return _cues.within(raw, window, change)

    def fingerprint(self, raw: Raw) -> int:
        """Difference hash: whether each of 8 x 8 gray cells is brighter than its left neighbour."""
        gray = Pillow.fromarray(raw).convert("L").resize((9, 8), Pillow.Resampling.BOX)
        return difference_hash(np.asarray(gray, np.int16))

    def sketch(self, raw: Raw) -> np.ndarray:
        """(3073,) float32: a thumbnail of 32 x 32 pixels, each the mean of its part, and their contrast."""
        whole = raw if raw.dtype == np.uint8 else torch.from_numpy(raw).round().byte().numpy()
        small = Pillow.fromarray(whole).resize((SKETCH, SKETCH), Pillow.Resampling.BOX)
        pixels = np.asarray(small, np.float32).ravel()
        return np.append(pixels, pixels.std())

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        difference = a[:-1] - b[:-1]
        distance = float(difference @ difference / len(difference)) ** 0.5
        return distance <= _SAME_SHARE * float(min(a[-1], b[-1])) + _SAME_SLACK

    def says_nothing(self, sketch: np.ndarray) -> bool:
        return bool(sketch[-1] < _PLAIN)

    def traits(self, source: Path) -> Mapping[str, str]:
        size = self.raw_size(source)
        return {**super().traits(source), **({"size": f"{size.width} x {size.height} px"} if size else {})}

    def render(self, raw: Raw) -> Canvas:
        return Pillow.fromarray(raw)


def _is_picture(source: Path) -> bool:
    suffix = source.suffix.lower()
    return suffix not in _bands.SUFFIXES or (suffix in _tiff.SUFFIXES and _bands.is_picture(source))


def _default_size(sources: Sequence[Path]) -> int:
    """3 times the median side of a sample of the pictures, in steps of 32 from 64 to 288.

    Networks trained on 224 px gain from small pictures enlarged (`python -m benchmarks.head`, 96, 160, 224, 288 px):
    trashnet-150, of 150 px, 87.9, 89.8, 90.8, 91.3 %; signs, of 100 px, 95.7, 97.5, 97.9, 98.5 %.
    What the machine cannot afford in time is taken back by `engine/reading.py`.
    """
    return int(np.clip(32 * round(3 * _median_side(sources) / 32), SMALLEST_SIDE, LARGEST_SIDE))


def _median_side(sources: Sequence[Path]) -> float:
    """Of a sample of the pictures; that of large ones where none can be read."""
    sides = [side for source in sources[:: max(1, len(sources) // _SIZES_READ)] if (side := picture_side(source))]
    return float(np.median(sides)) if sides else float(LARGEST_SIDE)


class ImageStem(nn.Module):
    """The reference path: raw (H, W, 3) uint8 -> ((1, 3, S, S) float32, Pieces), never rounded on the way."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        height, width = raw.shape[0], raw.shape[1]
        x = resized(raw.permute(2, 0, 1)[None].float(), self.size)
        sizes = torch.tensor([[height, width]], dtype=torch.int64)
        return _normalise(x), pieces_of(resizing(sizes, self.size), sizes, self.size)


def _normalise(pixels: Tensor) -> Tensor:
    """(pixel - 127) / 128: what the published networks were trained on, whatever their documentation says."""
    return (pixels - 127.0) / 128.0


def _recolour(pixels: Tensor, draw: Draw) -> Tensor:
    """Brightness, contrast and saturation moved, each picture by its own amounts; pixels (M, C, S, S), 0 to 255."""
    amounts = (1 + _RECOLOUR * (2 * draw.uniform("colour", 3) - 1)).to(pixels.device)
    bright, contrast, saturation = amounts.T[:, :, None, None, None]
    pixels = pixels * bright
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast)
    gray = pixels.mean(1, keepdim=True)
    return torch.lerp(gray, pixels, saturation).clamp(0, 255)
