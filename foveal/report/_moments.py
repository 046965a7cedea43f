"""How filters and their maps changed: small multiples, one column a moment of the training.

Knows arrays, pictures and the card's keys. Does not know what kept them. A row has one scale for all of its moments,
so that what grows is seen to grow; of a filter with many inputs the grids of two are drawn, named.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

from foveal.contracts import Canvas
from foveal.report._examples import jpeg_uri
from foveal.report._format import finite, number, percent, short
from foveal.report._results import Block, section

SIDE = 96
"""Longest side of an example's picture, in pixels."""

_CHANNELS, _SLICES = 3, 2
_WIDE, _FLAT = 4, 6
# Vermilion against blue, as in the evidence maps, with paper between them.
_ABOVE, _BELOW, _ZERO = (np.array(rgb, np.float32) for rgb in ((214, 84, 0), (0, 84, 170), (246, 244, 239)))
# One odd cell would make all others pale.
_QUANTILE = 0.995


@dataclass(frozen=True, eq=False)
class Shown:
    """An example that the maps are of: its name, its label in words, and its picture."""

    name: str
    truth: str
    picture: Canvas


@dataclass(frozen=True, eq=False)
class Moments:
    """What was kept of a training; layer: the convolution's name in the net, which has `outputs` channels.

    channels: the numbers of some, those first that changed most of the `looked_at` that were looked at; steps and
    epochs: how many were done at each moment; filters: (moments, channels, inputs, h, w); maps: (moments, channels,
    examples, h', w').
    """

    training: str
    layer: str
    outputs: int
    looked_at: int
    channels: Sequence[int]
    steps: Sequence[int]
    epochs: Sequence[float]
    filters: np.ndarray
    maps: np.ndarray
    examples: Sequence[Shown]


def growth(moments: Moments | None, card: Mapping[str, Any]) -> Block | None:
    """A few channels, each with its filter and its map of the first example at every moment."""
    if moments is None or len(moments.steps) < 2:
        return None
    example = moments.examples[0]
    shown = range(min(_CHANNELS, len(moments.channels)))
    epochs = [number(epoch, 2) if epoch < 10 else f"{epoch:.0f}" for epoch in moments.epochs]
    return {
        "epochs": epochs,
        "rows": [_channel(moments, index) for index in shown],
        "example": short(example.name, 60),
        "truth": short(example.truth, 40),
        "picture": jpeg_uri(example.picture),
        "layer": moments.layer,
        "outputs": moments.outputs,
        "looked_at": moments.looked_at,
        "inputs": moments.filters.shape[2],
        "wide": moments.filters.shape[3:] != (1, 1),
        "coloured": _is_coloured(moments),
        "not_kept": _not_kept(section(card, "fine_tuning")),
    }


def _channel(moments: Moments, index: int) -> Block:
    filters, maps = (array[:, index].astype(np.float32) for array in (moments.filters, moments.maps))
    drawn = {None: filters.transpose(0, 2, 3, 1)} if _is_coloured(moments) else _slices(filters)
    return {
        "channel": moments.channels[index],
        "changed": _change(filters),
        "slices": [(input, _row(values, 1.0)) for input, values in drawn.items()],
        "maps": _row(maps[:, 0], _QUANTILE),
    }


def _change(filters: np.ndarray) -> str:
    """From the first moment to the last, as a share of what the filter was at first."""
    first = float(np.linalg.norm(filters[0]))
    if first == 0:
        return "0 at first"
    return f"changed by {percent(float(np.linalg.norm(filters[-1] - filters[0])) / first, 0)}"


def _is_coloured(moments: Moments) -> bool:
    """Whether a filter reads three inputs, so that it can be drawn whole, as a picture."""
    return moments.filters.shape[2] == 3


def _slices(filters: np.ndarray) -> dict[int, np.ndarray]:
    """Of filters (moments, inputs, h, w), the grids (moments, h, w) of the inputs for which they changed most."""
    changed = np.square(filters[-1] - filters[0]).sum(axis=(1, 2))
    return {int(number): filters[:, number] for number in np.argsort(-changed, kind="stable")[:_SLICES]}


def _row(values: np.ndarray, quantile: float) -> list[str]:
    """A picture a moment, on one scale."""
    scale = _scale(values, quantile)
    return [_png(_painted(one, scale)) for one in values]


def _not_kept(learnt: Mapping[str, Any]) -> str | None:
    """What came of it, where the handed-over network is not the one that was trained here."""
    kept = finite(learnt.get("blend"))
    if "plan" not in learnt or kept == 1:
        return None
    if not kept:
        return "The network handed over still has the filters of the start: see above why."
    return f"The network handed over went {percent(kept, 0)} of the way from the first column to the last."


def _scale(values: np.ndarray, quantile: float) -> float:
    """The magnitude that gets the full colour in all moments of a row."""
    found = float(np.quantile(np.abs(np.nan_to_num(values)), quantile))
    return found if found > 0 else 1.0


def _painted(values: np.ndarray, scale: float) -> np.ndarray:
    """(h, w) signed -> (h, w, 3) uint8: orange above 0, blue below; (h, w, 3) -> its own colours around grey."""
    strength = np.clip(np.nan_to_num(values) / scale, -1, 1)
    if strength.ndim == 3:
        return np.rint(127.5 + 127.5 * strength).astype(np.uint8)
    tint = np.where((strength > 0)[..., None], _ABOVE, _BELOW)
    return np.rint(_ZERO + np.abs(strength)[..., None] * (tint - _ZERO)).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    """One pixel a cell, enlarged by the page; of a sequence, cells as high as a sixth of the width."""
    height, width = pixels.shape[:2]
    if height == 1 < width:
        pixels = pixels.repeat(_WIDE, axis=1).repeat(max(1, _WIDE * width // _FLAT), axis=0)
    buffer = BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode("ascii")
