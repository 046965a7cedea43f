"""What kinds of figures the channels of each stage answer to: edges, corners, textures or outlines.

Knows the contracts and draws the figures, all in the same two grays, as many light on dark as dark on light. A
channel prefers a kind where it answers to its best figures of that kind clearly more strongly than to those of any
other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter
from torch import Tensor

from foveal.contracts import Net

# Figures of a kind, those of them that a channel answers to most, and how much stronger a preferred kind is.
_EACH, _BEST, _STRONGER = 24, 6, 1.25
# So many figures are light on dark, then as many dark on light: no kind repeats itself after so many.
_ALIKE = 3
# Figures are drawn larger by this and made smaller, so that their edges are smooth.
_FINER = 2
_BATCH = 8


class Preferred(NamedTuple):
    """Of a stage's channels, the shares that prefer each kind."""

    stage: int
    kinds: dict[str, float]


def preferred(net: Net, channels: int, size: int) -> list[Preferred]:
    """By stage. channels, size: of what the network sees, (channels, size, size), gray figures around 0."""
    blank = torch.zeros(1, 1, size, size)
    x = torch.cat([blank, *(figures(kind, size) for kind in KINDS)]).expand(-1, channels, -1, -1)
    answers: list[list[Tensor]] = [[] for _ in net.stages]
    with torch.inference_mode():
        for part in x.split(_BATCH):
            for stage, level in enumerate(net.eval().levels(part.contiguous())):
                answers[stage].append(_strongest(level))
    return [Preferred(stage, _shares(torch.cat(own).double().numpy())) for stage, own in enumerate(answers)]


def figures(kind: str, size: int) -> Tensor:
    """(figures, 1, size, size) float32, from -0.5 to 0.5."""
    dice = np.random.default_rng(list(KINDS).index(kind))
    found = []
    for number in range(_EACH):
        drawn = KINDS[kind](dice, number, size)
        light = (drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-6) - 0.5
        found.append(light if number // _ALIKE % 2 else -light)
    return torch.from_numpy(np.stack(found).astype(np.float32))[:, None]


def _strongest(level: Tensor) -> Tensor:
    """(N, C): the strongest answer of each channel, those at the edge of the map aside, which see its end."""
    edge = [max(0, (side - 1) // 6) for side in level.shape[2:]]
    inner = level[:, :, edge[0] : level.shape[2] - edge[0], edge[1] : level.shape[3] - edge[1]]
    return inner.amax((2, 3))


def _shares(answers: np.ndarray) -> dict[str, float]:
    """answers: (1 + figures, C): to nothing, then kind by kind."""
    above = (answers[1:] - answers[0]).reshape(len(KINDS), _EACH, -1)
    best = np.sort(above, axis=1)[:, -_BEST:].mean(1)
    order = np.argsort(best, axis=0)
    first, second = (np.take_along_axis(best, order[at][None], 0)[0] for at in (-1, -2))
    prefers = (first > 0) & (first >= _STRONGER * second)
    return {kind: float((prefers & (order[-1] == number)).mean()) for number, kind in enumerate(KINDS)}


def _edges(dice: np.random.Generator, number: int, size: int) -> np.ndarray:
    """Straight ones in eight directions: waves, one edge, one line."""
    angle = math.pi * (number % 8) / 8
    y, x = np.mgrid[:size, :size] - size / 2
    along = x * math.cos(angle) + y * math.sin(angle) + dice.uniform(-4, 4)
    if number // 8 == 0:
        return np.sign(np.sin(2 * math.pi * along / 12))
    return np.where(along > 0, 1.0, 0.0) if number // 8 == 1 else np.where(np.abs(along) < size / 112, 1.0, 0.0)


def _corners(dice: np.random.Generator, number: int, size: int) -> np.ndarray:
    """A wedge whose tip lies in the middle: eight directions, three angles."""
    turn, opening = 2 * math.pi * (number % 8) / 8, math.radians((50, 80, 110)[number // 8])
    middle = size / 2 + dice.uniform(-0.05, 0.05, 2) * size
    y, x = np.mgrid[:size, :size]
    angle = np.arctan2(y - middle[0], x - middle[1]) - turn
    inside = np.abs((angle + math.pi) % (2 * math.pi) - math.pi) < opening / 2
    return np.where(inside, 1.0, 0.0)


def _textures(dice: np.random.Generator, number: int, size: int) -> np.ndarray:
    """Dots, meshes, checks and grain of three widths."""
    width = (6, 10, 16)[number // 8]
    y, x = np.mgrid[:size, :size] + dice.uniform(0, width, 2)[:, None, None]
    kind = number % 4
    if kind == 0:
        return np.where(np.hypot(x % width - width / 2, y % width - width / 2) < width / 4, 1.0, 0.0)
    if kind == 1:
        return np.where((x % width < 2) | (y % width < 2), 1.0, 0.0)
    if kind == 2:
        return np.sign(np.sin(2 * math.pi * x / width) * np.sin(2 * math.pi * y / width))
    grain = Pillow.fromarray(dice.normal(128, 50, (size, size)).clip(0, 255).astype(np.uint8))
    return np.asarray(grain.filter(ImageFilter.GaussianBlur(width / 6)), float)


def _outlines(dice: np.random.Generator, number: int, size: int) -> np.ndarray:
    """Closed lines in the middle: circle, ellipse, polygons, star, gear, two circles; three sizes."""
    side = _FINER * size
    canvas = Pillow.new("L", (side, side), 0)
    pen, line = ImageDraw.Draw(canvas), max(2, _FINER * size // 64)
    reach, turn = side * (0.18, 0.28, 0.38)[number // 8], dice.uniform(0, 2 * math.pi)
    middle, kind = side / 2, number % 8
    if kind in (0, 1, 7):
        flat = 0.6 if kind == 1 else 1.0
        for share in (1.0, 0.5)[: 2 if kind == 7 else 1]:
            across, down = share * reach, flat * share * reach
            pen.ellipse([middle - across, middle - down, middle + across, middle + down], outline=255, width=line)
    else:
        points = {2: 3, 3: 4, 4: 5, 5: 10, 6: 12}[kind]
        ends = []
        for place in range(points):
            near = (kind == 5 and place % 2) or (kind == 6 and place % 3 == 1)
            far = reach * (0.4 if near else 1.0)
            angle = turn + 2 * math.pi * place / points
            ends.append((middle + far * math.cos(angle), middle + far * math.sin(angle)))
        pen.line([*ends, ends[0], ends[1]], fill=255, width=line, joint="curve")
    return np.asarray(canvas.resize((size, size), Pillow.Resampling.BOX), float)


KINDS: Mapping[str, Callable[[np.random.Generator, int, int], np.ndarray]] = MappingProxyType(
    {"edges": _edges, "corners": _corners, "textures": _textures, "outlines": _outlines}
)
"""Kinds of figures, and what draws the number-th of one."""
