"""Sounds: of any length and rate <-> (N, 3, S, columns) float32, their log-mel spectrograms as pictures.

Knows decoding, the spectrogram, augmentation in time, pitch and loudness, and how alike two sounds are. Knows nothing
of labels: what has a place in time, counted in frames of 10 ms, follows `Pieces.affine`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

from foveal.contracts import Canvas, Input
from foveal.errors import DataError
from foveal.headers import sound_header
from foveal.inputs import _cues
from foveal.inputs._heard import filtered, sound_file
from foveal.inputs._mel import Mel, coloured, mel_of, window_of
from foveal.inputs._plane import (
    ERASED,
    RARELY_ERASED,
    SKETCH,
    compose,
    difference_hash,
    erased,
    resized,
    sample,
    some_cells,
)
from foveal.inputs._signal import SOUND_SUFFIXES, decode_sound, resampled
from foveal.types import FRAMES_A_SECOND, Cue, Disturbance, Draw, Finding, Packed, Pieces, Raw, Size, Stacked

# Above this rate little is added that tells sounds apart.
_HIGHEST_RATE_HZ, _SHORTEST_SECONDS = 16_000, 0.1
_FILES_READ, _FILES_DECODED = 500, 200
# A sound is clipped where it is so near full scale and, for such a share of its time, stays at its loudest.
_NEARLY_FULL, _SAME_LEVEL, _CLIPPED = 0.95, 0.9995, 1e-3
# Two sounds are one when the root mean square difference of their sketches stays below this share of their contrast.
_SAME_SHARE, _SAME_SLACK = 0.06, 0.01
# Augmentation: how far sounds are moved, as a share of the window.
_MOVE = 0.1
# Of a room's frequency response, so many values are drawn; between them it is a line.
_RESPONSE = 6
_HEIGHT, _WIDEST = 160, 960


class _Changes(NamedTuple):
    """How much is changed at most.

    stretch: how many times longer a sound gets; warp: how many times higher its tones, as those of a shorter vocal
    tract (Jaitly and Hinton 2013, Vocal Tract Length Perturbation); pitch: by what share of all bands it is raised;
    noise, tilt, room: of the range from silence to the loudest, how loud noise is, how much louder high tones are
    than low ones, and how much any tones are than any others.
    """

    stretch: float
    warp: float
    pitch: float
    noise: float
    tilt: float
    room: float


_USUAL, _ROUGH = _Changes(1.2, 1.0, 0.06, 0.3, 0.1, 0.0), _Changes(1.3, 1.15, 0.04, 0.4, 0.15, 0.175)
_GENTLE = _Changes(1.0, 1.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Sounds(Input):
    """Sounds, of which a window of `seconds` is shown: of longer ones the middle, shorter ones amid silence.

    rate_hz: to which all are resampled when they are decoded; gently: whether augmentation only moves and erases;
    roughly: whether it makes other voices and other rooms; erasing: in which share of sounds it erases patches of
    time and pitch.
    """

    size: int = 128
    rate_hz: int = 16_000
    seconds: float = 1.0
    gently: bool = False
    roughly: bool = False
    erasing: float = ERASED
    dims = 2
    suffixes = SOUND_SUFFIXES
    raw_axes = MappingProxyType({0: "samples"})
    fitting: ClassVar[float]
    """The share of the sounds that fit into the window."""
    longest: ClassVar[float]
    """How many seconds it has at most."""
    narrowest: ClassVar[int] = 160
    """How wide, in pixels, a sound is drawn at least."""

    @property
    @abstractmethod
    def columns(self) -> int:
        """How wide the plane is."""

    def fit(self, sources: Sequence[Path], size: int | None) -> Self:
        """The usual rate of the files, 16 kHz at most, and a window into which as many fit as shall."""
        headers = _headers(sources)
        if not headers:
            return replace(self, size=size or self.size)
        rate = min(_HIGHEST_RATE_HZ, Counter(rate for rate, _ in headers).most_common(1)[0][0])
        seconds = float(np.quantile([long for _, long in headers], self.fitting))
        seconds = round(min(max(seconds, _SHORTEST_SECONDS), self.longest), 3)
        return replace(self, size=size or self.size, rate_hz=rate, seconds=seconds)

    def findings(self, sources: Sequence[Path]) -> tuple[Finding, ...]:
        headers = _headers(sources)
        rates = sorted({rate for rate, _ in headers})
        long = sum(seconds > self.seconds * 1.001 for _, seconds in headers)
        found = []
        if rates and rates != [self.rate_hz]:
            message = f"Sounds of {', '.join(f'{rate} Hz' for rate in rates)} are resampled to {self.rate_hz} Hz"
            found.append(Finding("resampled", message))
        if clipped := [str(source) for source in _some(sources, _FILES_DECODED) if _is_clipped(source)]:
            looked = min(len(sources), _FILES_DECODED)
            message = f"{len(clipped)} of {looked} sounds looked at were too loud for what recorded them (clipped)"
            found.append(Finding("clipped", message, tuple(clipped)))
        if long:
            message = f"Of {long} of {len(headers)} sounds that are longer, the middle {self.seconds:g} s are heard"
            found.append(Finding("longer", message))
        return tuple(found)

    def load(self, source: Path) -> Raw:
        """(n,) float32 from -1 to 1, at `rate_hz`."""
        samples, rate = decode_sound(source)
        if rate != self.rate_hz:
            samples = resampled(samples, self.rate_hz, rate)
        if not len(samples):
            raise DataError(f"{source}: the sound is too short to be resampled to {self.rate_hz} Hz")
        return samples.astype(np.float32)

    def blank(self) -> Raw:
        return np.zeros(self._length, np.float32)

    def raw_size(self, source: Path) -> Size | None:
        header = sound_header(source)
        return None if header is None else self._raw_size(round(header[1] * self.rate_hz))

    def pack(self, raw: Raw) -> Packed:
        """(BANDS, frames) float16."""
        with torch.inference_mode():
            mel = mel_of(self.rate_hz, self._hop)(windowed(self.tensor(raw), self._length))
        return Packed(mel.numpy().astype(np.float16), self._raw_size(len(raw)))

    def batch(self, stacked: Stacked, draw: Draw | None) -> tuple[Tensor, Pieces]:
        mel, sizes = stacked.array[:, None].float(), stacked.raw_size
        x, base = resized(mel, self.size, self.columns), self._affine(sizes)
        if draw is None:
            return x.expand(-1, 3, -1, -1).contiguous(), self._pieces(base, sizes)
        changes = _GENTLE if self.gently else _ROUGH if self.roughly else _USUAL
        moved = _moved(draw, self.size, self.columns, changes)
        x = sample(x, moved)
        if changes.noise:
            x = _disguised(x, draw, changes)
        x = self.erase(x, some_cells(draw, self.erasing), draw)
        return x.expand(-1, 3, -1, -1).contiguous(), self._pieces(compose(moved, base), sizes)

    def tensor(self, raw: Raw) -> Tensor:
        return torch.from_numpy(np.array(raw, np.float32))

    def pieces(self, raw_sizes: Tensor) -> Pieces:
        return self._pieces(self._affine(raw_sizes), raw_sizes)

    def stem(self) -> nn.Module:
        return SoundStem(self)

    def erase(self, x: Tensor, cells: Tensor, draw: Draw | None = None) -> Tensor:
        """x: (N, C, S, S); cells: (N, g, g) bool. The fill is what lies around, noise around half as loud as can be
        if drawn."""
        return erased(x, cells, draw, width=1.0)

    def from_nothing(self) -> Self:
        return replace(self, gently=True, erasing=RARELY_ERASED)

    def rarely_erased(self) -> Self:
        return replace(self, erasing=RARELY_ERASED)

    def disturbed(self, raw: Raw) -> Iterator[tuple[Disturbance, Raw]]:
        """Softer, earlier or later, with noise, faster and slower."""
        dice = np.random.Generator(np.random.Philox(key=len(raw)))
        peak = float(np.abs(raw).max())
        noise = dice.standard_normal(len(raw)).astype(np.float32)
        for decibel in (6, 20):
            yield Disturbance("loudness", f"{decibel} dB softer"), raw * np.float32(10 ** (-decibel / 20))
        for share in (0.05, 0.1):
            step = round(share * len(raw))
            yield (
                Disturbance("shift", f"{share:.0%} later"),
                np.concatenate([np.zeros(step, np.float32), raw])[: len(raw)],
            )
        for decibel in (30, 20):
            yield (
                Disturbance("noise", f"{decibel} dB below the peak"),
                raw + noise * np.float32(peak * 10 ** (-decibel / 20) / 3),
            )
        for percent in (-10, 10):
            yield Disturbance("speed", f"{percent:+d} %"), resampled(raw, 100, 100 + percent).astype(np.float32)

    def cues(self) -> Mapping[str, Cue]:
        return _cues.SOUNDS

    def altered(self, raw: Raw, window: Sequence[float] | None, change: Callable[[Raw], Raw]) -> Raw:
        """Only where in time it lies counts."""
        if window is None:
            return change(raw)
        begin, end = (round(frames * self.rate_hz / FRAMES_A_SECOND) for frames in window[::2])
        found = raw.copy()
        found[begin:end] = change(raw[begin:end])
        return found

    def fingerprint(self, raw: Raw) -> int:
        """Difference hash of 8 x 8 cells of the spectrogram."""
        return difference_hash(_cells(self.pack(raw).array, 9, 8))

    def sketch(self, raw: Raw) -> np.ndarray:
        """(1025,) float32: 32 x 32 cells of the spectrogram, and their contrast."""
        mel = raw if raw.ndim == 2 else self.pack(raw).array
        cells = _cells(mel, SKETCH, SKETCH).ravel()
        return np.append(cells, cells.std()).astype(np.float32)

    def resembles(self, a: np.ndarray, b: np.ndarray) -> bool:
        distance = float(np.sqrt(np.square(a[:-1] - b[:-1]).mean()))
        return distance <= _SAME_SHARE * float(min(a[-1], b[-1])) + _SAME_SLACK

    def says_nothing(self, sketch: np.ndarray) -> bool:
        return not sketch[-1]

    def traits(self, source: Path) -> Mapping[str, str]:
        header = sound_header(source)
        own = {"sample rate": f"{header[0]} Hz", "length": f"{header[1]:.3f} s"} if header else {}
        return {**super().traits(source), **own}

    def render(self, raw: Raw) -> Canvas:
        """The spectrogram of all of it: time from left to right, high tones at the top."""
        size = self.drawn_size(self._raw_size(len(raw)))
        with torch.inference_mode():
            mel = mel_of(self.rate_hz, max(1, len(raw) // size.width))(self.tensor(raw))
        return coloured(mel.numpy(), size.width, size.height)

    def drawn_size(self, raw_size: Size) -> Size:
        looks = raw_size.width / FRAMES_A_SECOND * self.rate_hz / self._hop
        return Size(_HEIGHT, min(max(round(looks), self.narrowest), _WIDEST))

    def played(self, raw: Raw) -> bytes:
        return sound_file(raw, self.rate_hz, "MP3")

    def parted(self, raw: Raw, kept: np.ndarray) -> Mapping[str, bytes]:
        """Tones are as loud as what is kept of the times and pitches that they lie in."""
        affine = self._affine(torch.tensor([self._raw_size(len(raw))]))[0] / self.columns
        scale, shift = float(affine[0, 0]) * FRAMES_A_SECOND / self.rate_hz, float(affine[0, 2])
        return {
            name: sound_file(filtered(raw, self.rate_hz, share, scale, shift), self.rate_hz, "WAV")
            for name, share in (("only", kept), ("without", 1 - kept))
        }

    @property
    def _length(self) -> int:
        """Samples of the window."""
        return max(window_of(self.rate_hz), round(self.seconds * self.rate_hz))

    @property
    def _hop(self) -> int:
        return max(1, -(-self._length // self.columns))

    def _raw_size(self, samples: int) -> Size:
        """In frames: those that are begun count."""
        return Size(1, max(1, (samples * FRAMES_A_SECOND + self.rate_hz - 1) // self.rate_hz))

    def _affine(self, sizes: Tensor) -> Tensor:
        """(M, 2, 3): frames and the one row of them -> cells of the plane, the middle in its middle."""
        scale = self.columns / (self._length * FRAMES_A_SECOND / self.rate_hz)
        shift = self.columns / 2 - sizes[:, 1].float() * (scale / 2)
        zoom = torch.tensor([[scale, 0.0], [0.0, float(self.size)]]).repeat(len(sizes), 1, 1)
        return torch.cat([zoom, torch.stack([shift, torch.zeros_like(shift)], dim=1)[:, :, None]], dim=2)

    def _pieces(self, affine: Tensor, sizes: Tensor) -> Pieces:
        rows = torch.arange(len(sizes))
        clip = torch.tensor([[0.0, 0.0, float(self.columns), float(self.size)]]).repeat(len(sizes), 1)
        return Pieces(affine=affine, row=rows, source=rows, clip=clip, raw_size=sizes)


class SoundStem(nn.Module):
    """The reference path: raw (n,) float32 -> ((1, 3, S, columns) float32, Pieces)."""

    def __init__(self, input: Sounds) -> None:
        super().__init__()
        self.input, self.mel, self.length = input, Mel(input.rate_hz, input._hop), input._length

    def forward(self, raw: Tensor) -> tuple[Tensor, Pieces]:
        mel = self.mel(windowed(raw, self.length))
        x = resized(mel[None, None], self.input.size, self.input.columns).expand(-1, 3, -1, -1)
        return x, self.input.pieces(torch.tensor([self.input._raw_size(raw.shape[0])], dtype=torch.int64))


def windowed(samples: Tensor, length: int) -> Tensor:
    """(n,) -> (length,): the middle of it, amid silence where it is shorter."""
    count = samples.shape[0]
    place = torch.arange(length) + count // 2 - length // 2  # halves of a negative number differ in ONNX
    there = (place >= 0) & (place < count)
    return samples[place.clamp(0, count - 1)] * there


def _headers(sources: Sequence[Path]) -> list[tuple[int, float]]:
    """Rate and seconds of a sample of the files."""
    return [header for source in _some(sources, _FILES_READ) if (header := sound_header(source)) is not None]


def _some(sources: Sequence[Path], most: int) -> Sequence[Path]:
    return sources[:: -(-len(sources) // most)] if len(sources) > most else sources


def _is_clipped(source: Path) -> bool:
    """Whether it stays at its loudest, and that near full scale, as often as no sound does by itself."""
    try:
        samples, _ = decode_sound(source)
    except DataError:
        return False
    loud = np.abs(samples)
    if loud.max() < _NEARLY_FULL:
        return False
    stays = loud >= _SAME_LEVEL * loud.max()
    return float((stays[1:] & stays[:-1]).mean()) >= _CLIPPED


def _moved(draw: Draw, size: int, columns: int, changes: _Changes) -> Tensor:
    """(M, 2, 3) affine: earlier or later, faster or slower, higher or lower, the lowest tones least."""
    later = _spread(draw, "later") * _MOVE * columns
    stretch = torch.exp(_spread(draw, "stretch") * math.log(changes.stretch))
    warp = torch.exp(_spread(draw, "warp") * math.log(changes.warp))
    higher = _spread(draw, "higher") * changes.pitch * size
    zoom = torch.diag_embed(torch.stack([stretch, warp], dim=1))
    shift = torch.stack([later + (1 - stretch) * columns / 2, higher + (1 - warp) * size], dim=1)
    return torch.cat([zoom, shift[:, :, None]], dim=2)


def _disguised(x: Tensor, draw: Draw, changes: _Changes) -> Tensor:
    """Noise in which what is soft is lost, and another room, in which some tones are louder and others softer; x
    (M, 1, S, S)."""
    floor = (2 * changes.noise * draw.uniform("noise")).to(x.device)[:, None, None, None] - 1
    grain = 0.1 * (draw.uniform("grain", *x.shape[1:], device=x.device) - 0.5)
    slope = torch.linspace(-1.0, 1.0, x.shape[2])
    response = changes.room * F.interpolate(_spread(draw, "room", 1, _RESPONSE), x.shape[2], mode="linear")
    response = response + changes.tilt * _spread(draw, "tilt")[:, None, None] * slope
    return torch.maximum(x + response.to(x.device)[:, :, :, None], floor + grain).clamp(-1, 1)


def _spread(draw: Draw, name: str, *shape: int) -> Tensor:
    """Between -1 and 1."""
    return 2 * draw.uniform(name, *shape) - 1


def _cells(mel: np.ndarray, width: int, height: int) -> np.ndarray:
    """(BANDS, frames) -> (height, width), each the mean of its part."""
    plane = Pillow.fromarray(np.ascontiguousarray(mel, np.float32))
    return np.asarray(plane.resize((width, height), Pillow.Resampling.BOX), np.float32)
