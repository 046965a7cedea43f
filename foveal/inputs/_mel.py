"""Sound -> log-mel spectrogram, by sums of products alone: what the network is given, and what people are shown.

Knows samples and rates. Bands are spaced by O'Shaughnessy's mel scale (1987). Sums are float64: in float32, what is
80 dB softer than what is beside it would be the rounding of the louder.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor, nn

BANDS = 64
"""Mel bands."""

# One look at the sound takes so long; quieter than the loudest cell by so much is silence; a sound whose loudest cell
# is quieter than this, relative to a sine of full scale, is not made louder.
_WINDOW_SECONDS, _RANGE_DB, _SILENCE_DB = 0.032, 80.0, -70.0
_LOWEST_HZ = 40.0
_TINY = 1e-10
# From silence to the loudest, for people.
_COLOURS = np.array(
    [[8, 8, 32], [58, 28, 110], [150, 40, 120], [226, 92, 72], [252, 176, 90], [255, 246, 214]], float
)


class Mel(nn.Module):
    """Samples (n,) from -1 to 1 -> (BANDS, frames), from -1 (silence) to 1 (the loudest cell), high tones first."""

    sines: Tensor
    bands: Tensor

    def __init__(self, rate_hz: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window_of(rate_hz), hop
        self.register_buffer("sines", _sines(self.window), persistent=False)
        self.register_buffer("bands", _mel_bands(rate_hz, self.window), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        half = self.window // 2
        padded = F.pad(samples.double(), (half, half))
        starts = torch.arange(0, samples.shape[0] + 1, self.hop)
        looks = padded[starts[:, None] + torch.arange(self.window)]
        real, imaginary = (looks @ self.sines).chunk(2, dim=1)
        power = (real.square() + imaginary.square()) @ self.bands
        loudness = 10.0 * torch.log10(power.clamp_min(_TINY))
        loudest = loudness.amax((0, 1)).clamp_min(_SILENCE_DB)
        return (((loudness - loudest) / _RANGE_DB).clamp(-1.0, 0.0) * 2.0 + 1.0).T.float()


@lru_cache(maxsize=16)
def mel_of(rate_hz: int, hop: int) -> Mel:
    """The same one again for the same numbers: its tables take longer to make than a sound to be looked at."""
    return Mel(rate_hz, hop)


def window_of(rate_hz: int) -> int:
    """Samples of one look, an even number."""
    return 2 * max(8, round(_WINDOW_SECONDS * rate_hz / 2))


def height_of(tones: np.ndarray, rate_hz: int) -> np.ndarray:
    """Where tones, in Hz, lie in the plane: 0 the highest, 1 the lowest."""
    low, high = _mel(_LOWEST_HZ), _mel(rate_hz / 2)
    return 1 - (np.array([_mel(tone) for tone in tones]) - low) / (high - low)


def coloured(mel: np.ndarray, width: int, height: int) -> Pillow.Image:
    """(BANDS, frames) from -1 to 1 as a picture."""
    gray = Pillow.fromarray(np.ascontiguousarray(mel, np.float32)).resize((width, height), Pillow.Resampling.BILINEAR)
    share = (np.asarray(gray).clip(-1, 1) + 1) / 2 * (len(_COLOURS) - 1)
    low = np.minimum(share.astype(int), len(_COLOURS) - 2)
    part = (share - low)[..., None]
    return Pillow.fromarray(np.rint(_COLOURS[low] * (1 - part) + _COLOURS[low + 1] * part).astype(np.uint8))


def _sines(window: int) -> Tensor:
    """(window, 2 * tones): the discrete Fourier transform under Hann's window, so that a sine of full scale has
    about power 1."""
    place = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * (place + 0.5) / window)
    angle = 2 * math.pi * np.outer(np.arange(window // 2 + 1), place) / window
    waves = np.concatenate([np.cos(angle), -np.sin(angle)]) * hann * (2 / hann.sum())
    return torch.from_numpy(np.ascontiguousarray(waves.T))


def _mel_bands(rate_hz: int, window: int) -> Tensor:
    """(tones, BANDS): triangles over the tones, each at least a tone wide, of which every one sums to 1; the highest
    first."""
    tones = np.arange(window // 2 + 1) * rate_hz / window
    edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(rate_hz / 2), BANDS + 2))
    step = rate_hz / window
    rows = []
    for low, middle, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        rising = (tones - min(low, middle - step)) / max(middle - low, step)
        falling = (max(high, middle + step) - tones) / max(high - middle, step)
        row = np.maximum(0, np.minimum(rising, falling))
        rows.append(row / row.sum())
    return torch.from_numpy(np.stack(rows[::-1], axis=1))


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1 + hertz / 700.0)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1)
