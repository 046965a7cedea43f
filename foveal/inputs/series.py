"""Series: signals of one or more channels, of any length <-> (N, C, S) float32.

Knows their scale, augmentation in time and strength, and how they are drawn. Knows nothing of labels: what has a
place in time follows `Pieces.affine`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.errors import DataError
from foveal.inputs import _cues
from foveal.inputs._plane import ERASED, RARELY_ERASED, compose, erased_spans, some_spans
from foveal.types import LARGEST_SIZE, Cue, Disturbance, Draw, Finding, Packed, Pieces, Raw, Size, Stacked

# Series of which so many are looked at for lengths and scale, evenly spread.
_READ = 500
# Two are one if they differ by less than this share of their contrast: those of one class are often much alike.
_SAME_SHARE = 1e-3
_SKETCH = 64
# Augmentation: moved and stretched by such a share of the length at most, stronger or weaker by this factor, and
# noise relative to the deviation of all.
_MOVE, _STRETCH, _STRENGTH, _NOISE = 0.1, 1.2, 1.2, 0.05
_GENTLE_MOVE, _GENTLE_STRETCH, _GENTLE_STRENGTH, _GENTLE_NOISE = 0.03, 1.05, 1.1, 0.02
_HEIGHT, _NARROWEST, _WIDEST = 200, 360, 720
_MARGIN = 8
_COLOURS = ("#1f4e9e", "#b3541e", "#2a7d4f", "#7a3b8f", "#8a6d1a", "#a12845", "#28788a", "#555555")


@dataclass(frozen=True)
class Series(Input):
    """Signals, of which `size` cells of `step` points each are seen from the first one on; shorter ones end in their
    mean.

    means, deviations: of each channel over all series, taken off and divided by; the shape, offset and strength of a
    single one stay. gently: whether augmentation changes little; erasing: in which share of series it hides spans.
    """

    size: int = 128
    step: float = 1.0
    channels: int = 1
    means: tuple[float, ...] = (0.0,)
    deviations: tuple[float, ...] = (1.0,)
    gently: bool = False
    erasing: float = ERASED
    dims = 1
    suffixes = (".series",)
    in_files = False
    exact = True
    raw_axes = MappingProxyType({1: "points"})

    def fit(self, sources: Sequence[Path], size: int | None) -> Series:
        """As long as the longest, up to 2,048 cells. Raises DataError where channels differ."""
        found = [(source, raw) for source in _spread(sources) if (raw := _loaded(source)) is not None]
        if not found:
            return replace(self, size=size or self.size)
        channels = len(found[0][1])
        odd = next((source for source, raw in found if len(raw) != channels), None)
        if odd is not None:
            raise DataError(f"{odd}: expected {channels} channels, as in {found[0][0]}, found another number of them")
        longest = max(raw.shape[1] for _, raw in found)
        cells = size or min(longest, LARGEST_SIZE)
        whole = np.concatenate([raw for _, raw in found], axis=1).astype(np.float64)
        deviations = np.maximum(whole.std(1), 1e-12 * np.abs(whole).max(1) + 1e-30)
        return replace(
            self,
            size=cells,
            step=longest / cells if longest > cells else 1.0,
            channels=channels,
            means=tuple(float(np.float32(mean)) for mean in whole.mean(1)),
            deviations=tuple(float(np.float32(max(own, 1e-30))) for own in deviations),
        )

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        lengths = [raw.shape[1] for source in _spread(sources) if (raw := _loaded(source)) is not None]
        found = []
        if lengths and min(lengths) < max(lengths):
            message = f"Series are {min(lengths)} to {max(lengths)} points long; shorter ones are filled up"
            found.append(Finding("lengths", message))
        if self.step > 1:
            found.append(Finding("shortened", f"Series are seen at {1 / self.step:.0%} of their points: {self.size}"))
        return tuple(found)

    def load(self, source: Path) -> Raw:
        """(C, L) float32."""
        raw = _decoded(source)
        if len(raw) != self.channels:
            raise DataError(f"{source}: expected {self.channels} channels, found {len(raw)}")
        return raw

    def blank(self) -> Raw:
        return np.repeat(np.array(self.means, np.float32)[:, None], max(1, round(self.size * self.step)), axis=1)

    def raw_size(self, source: Path) -> Size | None:
        raw = _loaded(source)
        return None if raw is None else Size(1, raw.shape[1])

    def pack(self, raw: Raw) -> Packed:
        """(C, S) float32."""
        x, _ = SeriesStem(self)(self.tensor(raw))
        return Packed(x[0].numpy(), Size(1, raw.shape[1]))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        x, sizes = stacked.array, stacked.raw_size
        base = self._affine(sizes)
        if draw is None:
            return x.clone(), self._pieces(base, sizes)
        moved = self._moved(draw)
        x = _sampled(x, moved)
        strength, noise = (_GENTLE_STRENGTH, _GENTLE_NOISE) if self.gently else (_STRENGTH, _NOISE)
        factor = torch.exp((2 * draw.uniform("strength") - 1) * math.log(strength))
        grain = draw.uniform("grain", *x.shape[1:], device=x.device) - 0.5
        x = x * factor.to(x)[:, None, None] + noise * math.sqrt(12) * grain
        x = self.erase(x, some_spans(draw, self.erasing), draw)
        return x, self._pieces(compose(moved, base), sizes)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(raw, np.float32))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return self._pieces(self._affine(raw_sizes), raw_sizes)

    def stem(self) -> nn.Module:
        return SeriesStem(self)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, C, S); cells: (N, g) bool. The fill is the mean of all series, with noise if drawn."""
        return erased_spans(x, cells, draw, width=1.0)

    def from_nothing(self) -> Series:
        return replace(self, gently=True, erasing=RARELY_ERASED)

    def rarely_erased(self) -> Series:
        return replace(self, erasing=RARELY_ERASED)

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        """Weaker and stronger, later, with noise, faster and slower."""
        dice = np.random.Generator(np.random.Philox(key=raw.shape[1]))
        spread, middle = np.array(self.deviations, np.float32)[:, None], np.array(self.means, np.float32)[:, None]
        grain = dice.standard_normal(raw.shape).astype(np.float32) * spread
        for percent in (-20, 20):
            yield Disturbance("strength", f"{percent:+d} %"), (raw - middle) * np.float32(1 + percent / 100) + middle
        for percent in (2, 5):
            yield Disturbance("noise", f"{percent} % of the deviation"), raw + grain * np.float32(percent / 100)
        for percent in (2, 5):
            steps = max(1, round(percent / 100 * raw.shape[1]))
            held = np.repeat(raw[:, :1], steps, axis=1)
            yield Disturbance("shift", f"{percent} % later"), np.concatenate([held, raw], axis=1)[:, : raw.shape[1]]
        for percent in (-5, 5):
            count = max(2, round(raw.shape[1] / (1 + percent / 100)))
            yield Disturbance("speed", f"{percent:+d} %"), _of_length(raw, count)

    def cues(self) -> Mapping[str, Cue]:
        return _cues.SIGNALS

    def fingerprint(self, raw: Raw) -> int:
        """Whether it rises, at 64 places."""
        line = _of_length(raw.mean(0, keepdims=True), 65)[0]
        return int(np.packbits(np.diff(line) > 0).view(np.uint64)[0])

    def sketch(self, raw: Raw) -> np.ndarray:
        """(65,) float32: 64 points of the mean of all channels as the network sees them, and their contrast."""
        x = raw if raw.shape == (self.channels, self.size) and raw.dtype == np.float32 else self.pack(raw).array
        points = _of_length(x.mean(0, keepdims=True), _SKETCH)[0]
        return np.append(points, points.std()).astype(np.float32)

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        distance = float(np.sqrt(np.square(a[:-1] - b[:-1]).mean()))
        return distance <= _SAME_SHARE * float(min(a[-1], b[-1]))

    def says_nothing(self, sketch: np.ndarray) -> bool:
        return not sketch[-1]

    def render(self, raw: Raw) -> Canvas:
        """Its channels as lines, each of its own colour, on one scale."""
        size = self.drawn_size(Size(1, raw.shape[1]))
        canvas = Pillow.new("RGB", (size.width, size.height), "white")
        pen = ImageDraw.Draw(canvas)
        low, high = float(raw.min()), float(raw.max())
        unit = (size.height - 2 * _MARGIN) / max(high - low, 1e-30)
        if low < 0 < high:
            level = size.height - _MARGIN + low * unit
            pen.line((0, level, size.width, level), fill="#d9d9d9")
        x = (np.arange(raw.shape[1]) + 0.5) * size.width / raw.shape[1]
        for number, row in enumerate(raw.astype(np.float64)):
            y = size.height - _MARGIN - (row - low) * unit
            points = list(zip(x.tolist(), y.tolist(), strict=True))
            if len(points) == 1:
                pen.point(points, fill=_COLOURS[0])
            pen.line(points, fill=_COLOURS[number % len(_COLOURS)], width=2)
        return canvas

    def drawn_size(self, raw_size: Size) -> Size:
        return Size(_HEIGHT, min(max(raw_size.width, _NARROWEST), _WIDEST))

    def _moved(self, draw: Draw) -> Tensor:
        """(M, 2, 3) affine: later or earlier, faster or slower."""
        move, stretched = (_GENTLE_MOVE, _GENTLE_STRETCH) if self.gently else (_MOVE, _STRETCH)
        later = (2 * draw.uniform("later") - 1) * move * self.size
        stretch = torch.exp((2 * draw.uniform("stretch") - 1) * math.log(stretched))
        zoom = torch.diag_embed(torch.stack([stretch, torch.ones_like(stretch)], dim=1))
        shift = torch.stack([later + (1 - stretch) * self.size / 2, torch.zeros_like(later)], dim=1)
        return torch.cat([zoom, shift[:, :, None]], dim=2)

    def _affine(self, sizes: Tensor) -> Tensor:
        """(M, 2, 3): points -> cells."""
        zoom = torch.tensor([[1 / self.step, 0.0, 0.0], [0.0, 1.0, 0.0]])
        return zoom.repeat(len(sizes), 1, 1)

    def _pieces(self, affine: Tensor, sizes: Tensor) -> Pieces:
        rows = torch.arange(len(sizes))
        clip = torch.tensor([[0.0, 0.0, float(self.size), 1.0]]).repeat(len(sizes), 1)
        return Pieces(affine=affine, row=rows, source=rows, clip=clip, raw_size=sizes)


class SeriesStem(nn.Module):
    """The reference path: raw (C, n) float32 -> ((1, C, S) float32, Pieces)."""

    means: Tensor
    deviations: Tensor

    def __init__(self, input: Series) -> None:
        super().__init__()
        self.input = input
        self.register_buffer("means", torch.tensor(input.means)[:, None], persistent=False)
        self.register_buffer("deviations", torch.tensor(input.deviations)[:, None], persistent=False)

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        count, place = raw.shape[1], (torch.arange(self.input.size) + 0.5) * self.input.step - 0.5
        low = place.floor().clamp_min(0).long()
        share = (place - low).clamp(0, 1)
        values = raw[:, low.clamp_max(count - 1)] * (1 - share) + raw[:, (low + 1).clamp_max(count - 1)] * share
        there = place <= count - 0.5
        x = (values - self.means) / self.deviations * there
        return x[None], self.input.pieces(torch.tensor([[1, count]], dtype=torch.int64))


def _sampled(x: Tensor, affine: Tensor) -> Tensor:
    """x (M, C, S) moved along its last axis by affine (M, 2, 3); what lies outside is repeated from the ends."""
    size = x.shape[2]
    zoom, shift = affine[:, 0, 0].to(x)[:, None], affine[:, 0, 2].to(x)[:, None]
    place = ((torch.arange(size, device=x.device) + 0.5 - shift) / zoom - 0.5).clamp(0, size - 1)
    low = place.floor().long()
    share = (place - low)[:, None]
    one, other = (at[:, None].expand(-1, x.shape[1], -1) for at in (low, (low + 1).clamp_max(size - 1)))
    return x.gather(2, one) * (1 - share) + x.gather(2, other) * share


def _of_length(rows: np.ndarray, count: int) -> np.ndarray:
    """(C, L) -> (C, count), in straight lines between points."""
    length = rows.shape[1]
    place = (np.arange(count) + 0.5) * length / count - 0.5
    return np.stack([np.interp(place, np.arange(length), row) for row in rows]).astype(np.float32)


def _spread(sources: Sequence[Path]) -> Sequence[Path]:
    return sources[:: max(1, len(sources) // _READ)]


def _loaded(source: Path) -> np.ndarray | None:
    try:
        return _decoded(source)
    except DataError:
        return None


def _decoded(source: Path) -> np.ndarray:
    """(C, L) float32. Raises DataError naming what is wrong."""
    try:
        values = np.load(io.BytesIO(source.read_bytes()), allow_pickle=False)
    except OSError as error:
        raise DataError(f"{source}: no such series ({error.strerror})") from error
    except (ValueError, EOFError) as error:
        wanted = "expected numbers in .npy, or a table whose rows are series"
        raise DataError(f"{source}: not a series that can be read; {wanted}") from error
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected numbers (channels, points), found shape {values.shape}")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{source}: expected finite numbers")
    return values
