"""Sounds for people: as files to be played, whole or with only some times and pitches left.

Knows samples, rates and planes of pitch over time. Does not know what is shown in them.
"""

from __future__ import annotations

import io

import numpy as np

from foveal.inputs._mel import height_of, window_of


def sound_file(samples: np.ndarray, rate_hz: int, format: str) -> bytes:
    """samples: (n,) from -1 to 1; format: "MP3" or "WAV", the latter of 16 bits."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1, 1), rate_hz, format=format)
    return buffer.getvalue()


def filtered(samples: np.ndarray, rate_hz: int, kept: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """(n,) samples, each time and pitch as loud as `kept` (rows, columns) says, high tones first; scale, shift: of
    samples, to the plane's width, which is 1."""
    window = min(window_of(rate_hz), len(samples))
    if window < 2:
        return samples
    from scipy.signal import istft, stft  # half a second that only who listens pays for

    tones, seconds, waves = stft(samples, rate_hz, nperseg=window)
    rows = _cell(height_of(tones, rate_hz), kept.shape[0])
    columns = _cell(seconds * rate_hz * scale + shift, kept.shape[1])
    _, found = istft(waves * kept[rows][:, columns], rate_hz, nperseg=window)
    return found[: len(samples)]


def _cell(share: np.ndarray, count: int) -> np.ndarray:
    return np.floor(share * count).clip(0, count - 1).astype(int)
