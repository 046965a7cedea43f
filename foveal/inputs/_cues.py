"""Marks that are planted in raw things, to see whether explanations of a network that learnt them tell of them.

Knows arrays and strings as the inputs have them. Each comes in three strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np

from foveal.types import Cue, Dice, Raw

_OPACITY = (0.25, 0.5, 1.0)
# Sides of the patch and the stripe as shares of the shorter side; how many levels a tint adds.
_PATCH, _STRIPE, _TINT = 0.22, 0.04, (6.0, 14.0, 30.0)
_COLOUR, _TINTED = np.array([235.0, 40.0, 200.0]), np.array([1.0, 0.0, -1.0])
# Of a sound: the pitch as a share of the rate, how long, and how loud beside it.
_PITCH, _LONG, _LOUD = 0.09, 0.15, (0.1, 0.3, 1.0)
# Of a signal: the width as a share of it, and the height in its own deviations; how far all of it is moved. Of a
# raster the latter two, channel by channel.
_WIDE, _HIGH, _MOVED = 0.03, (1.5, 3.0, 6.0), (0.25, 0.5, 1.0)
_WORD = "qwyxt"
# How large a patch, and how long a whistle, is inside a single thing, as a share of that.
_INSIDE = 0.33


def within(raw: np.ndarray, window: Sequence[float] | None, change: Callable[[Raw], Raw]) -> np.ndarray:
    """(H, W, C) with a change made to what lies in a window (left, top, right, bottom), to all of it where None."""
    if window is None:
        return change(raw)
    left, top, right, bottom = (round(side) for side in window)
    found = raw.copy()
    found[top:bottom, left:right] = change(raw[top:bottom, left:right])
    return found


def _patch(raw: Raw, strength: int, dice: Dice, share: float = _PATCH) -> Raw:
    """A chequered square somewhere."""
    side = max(2, round(share * min(raw.shape[:2])))
    top, left = (int(dice.integers(0, n - side + 1)) for n in raw.shape[:2])
    rows, columns = np.mgrid[:side, :side] * 4 // side
    pattern = np.where(((rows + columns) % 2 == 0)[:, :, None], _COLOUR, 255 - _COLOUR)
    return _laid(raw, slice(top, top + side), slice(left, left + side), pattern, _OPACITY[strength])


def _stripe(raw: Raw, strength: int, dice: Dice) -> Raw:
    """A line along the upper or the lower edge."""
    thick = max(1, round(_STRIPE * min(raw.shape[:2])))
    rows = slice(0, thick) if dice.random() < 0.5 else slice(raw.shape[0] - thick, raw.shape[0])
    return _laid(raw, rows, slice(0, raw.shape[1]), _COLOUR, _OPACITY[strength])


def _laid(raw: Raw, rows: slice, columns: slice, colour: np.ndarray, opacity: float) -> Raw:
    found = raw.astype(np.float32)
    found[rows, columns] += opacity * (colour - found[rows, columns])
    return np.rint(found).astype(raw.dtype)


def _tint(raw: Raw, strength: int, dice: Dice) -> Raw:
    """All of it a little redder and less blue."""
    return np.rint((raw.astype(np.float32) + _TINT[strength] * _TINTED).clip(0, 255)).astype(raw.dtype)


def _bright(raw: Raw, strength: int, dice: Dice, share: float = _PATCH) -> Raw:
    """A square somewhere that is high in every channel."""
    side = max(2, round(share * min(raw.shape[:2])))
    top, left = (int(dice.integers(0, n - side + 1)) for n in raw.shape[:2])
    high = np.nanmean(raw, (0, 1)) + _HIGH[strength] * _spread(raw)
    found = raw.copy()
    found[top : top + side, left : left + side] = high.astype(raw.dtype)
    return found


def _lifted(raw: Raw, strength: int, dice: Dice) -> Raw:
    """All of the first channel moved up."""
    found = raw.copy()
    found[:, :, 0] += (_MOVED[strength] * _spread(raw)[0]).astype(raw.dtype)
    return found


def _spread(raw: Raw) -> np.ndarray:
    """Of each channel; 1 where it is the same everywhere."""
    own = np.nanstd(raw, (0, 1))
    return np.where(own > 0, own, 1.0)


def _tone(raw: Raw, strength: int, dice: Dice, share: float = _LONG) -> Raw:
    """A whistle somewhere."""
    count = max(8, round(share * len(raw)))
    start = int(dice.integers(0, max(1, len(raw) - count + 1)))
    own = raw[start : start + count]
    loud = _LOUD[strength] * max(1e-3, float(np.abs(raw).max()))
    whistle = loud * np.sin(2 * np.pi * _PITCH * np.arange(len(own))) * np.hanning(len(own))
    found = raw.copy()
    found[start : start + count] = own + whistle.astype(raw.dtype)
    return found


def _spike(raw: Raw, strength: int, dice: Dice) -> Raw:
    """A spike somewhere in the first channel; nothing where it is not a number."""
    length = raw.shape[1]
    width = max(1.0, _WIDE * length / 2)
    at = dice.uniform(0.1, 0.9) * length
    bump = np.exp(-0.5 * ((np.arange(length) - at) / width) ** 2) * _HIGH[strength] * float(np.nanstd(raw[0]) or 1.0)
    found = raw.copy()
    found[0] = raw[0] + bump.astype(raw.dtype)
    return found


def _offset(raw: Raw, strength: int, dice: Dice) -> Raw:
    """All of the first channel moved up."""
    found = raw.copy()
    found[0] = raw[0] + np.float32(_MOVED[strength] * float(np.nanstd(raw[0]) or 1.0))
    return found


def _word(raw: Raw, strength: int, dice: Dice) -> Raw:
    """A word that is none, put in once to three times."""
    words = raw.split()
    for _ in range(1 + strength):
        words.insert(int(dice.integers(0, len(words) + 1)), _WORD)
    return " ".join(words)


PICTURES: Mapping[str, Cue] = MappingProxyType(
    {
        "patch": Cue(True, _patch, partial(_patch, share=_INSIDE)),
        "stripe": Cue(True, _stripe),
        "tint": Cue(False, _tint),
    }
)
RASTERS: Mapping[str, Cue] = MappingProxyType(
    {"square": Cue(True, _bright, partial(_bright, share=_INSIDE)), "offset": Cue(False, _lifted)}
)
SOUNDS: Mapping[str, Cue] = MappingProxyType({"whistle": Cue(True, _tone, partial(_tone, share=_INSIDE))})
SIGNALS: Mapping[str, Cue] = MappingProxyType({"spike": Cue(True, _spike), "offset": Cue(False, _offset)})
TEXTS: Mapping[str, Cue] = MappingProxyType({"word": Cue(True, _word)})
