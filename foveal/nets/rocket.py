"""Rocket: fixed convolutions of series, of which it is told how often each rises above a few levels.

Source: MiniRocket (Dempster, Schmidt and Webb 2021, arXiv 2012.08791): the 84 kernels of length 9 with three weights of
2 and six of -1, at many dilations, compared with levels that are quantiles of the examples'. Nothing is trained. Seen
are the series and their differences.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Net

_LENGTH, _HIGH = 9, 3
_KERNELS = math.comb(_LENGTH, _HIGH)
# Levels a kernel in all, over at most so many dilations; and examples that they are quantiles of.
_LEVELS, _MOST_DILATIONS = 96, 24
_GOLDEN = (5**0.5 - 1) / 2
# A step at a level would turn rounding into whole cells; this ramp is so wide, of a kernel's deviation.
_RAMP = 0.1
_MOST_CHANNELS = 9


class Rocket(Net):
    """x (N, C, S) -> a map (N, kernels x levels, S) from 0 to 1 for each dilation, of the series and its slope."""

    rows_at_once = 4

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(0)
        self.stages = nn.ModuleList(
            _Dilated(channels, dilation, levels, slope, dice)
            for slope in (False, True)
            for dilation, levels in _dilations(size)
        )
        self.channels = tuple(_KERNELS * stage.levels for stage in self._each())
        self.strides = (1,) * len(self.stages)

    def prepare(self, x: Tensor) -> None:
        for stage in self._each():
            stage.prepare(x)

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        """All stages see the series itself."""
        for stage in self.stages:
            yield stage(x)

    def _each(self) -> Iterator[_Dilated]:
        for stage in self.stages:
            assert isinstance(stage, _Dilated)
            yield stage


class _Dilated(nn.Module):
    """All kernels at one dilation, each over some of the channels, which it adds up."""

    weight: Tensor
    level: Tensor

    def __init__(self, channels: int, dilation: int, levels: int, slope: bool, dice: torch.Generator) -> None:
        super().__init__()
        self.dilation, self.levels, self.slope = dilation, levels, slope
        self.register_buffer("weight", _kernels()[:, None] * _chosen(channels, dice)[:, :, None])
        self.register_buffer("level", torch.zeros(_KERNELS, levels))

    def forward(self, x: Tensor) -> Tensor:
        return (self._convolved(x)[:, :, None] - self.level[:, :, None]).clamp_(0, 1).flatten(1, 2)

    def prepare(self, x: Tensor) -> None:
        """Levels are spread over the quantiles of what the examples x give, differently for each kernel. Kernels are
        scaled so that a ramp is 1 high."""
        found = self._convolved(x).transpose(0, 1).flatten(1)
        places = (torch.arange(_KERNELS * self.levels) + 1) * _GOLDEN % 1
        ordered = found.sort(dim=1).values
        at = (places.reshape(_KERNELS, -1) * (ordered.shape[1] - 1)).round().long()
        ramp = (_RAMP * found.std(1, correction=0).clamp_min(1e-6))[:, None]
        self.level.copy_(ordered.gather(1, at) / ramp - 0.5)
        self.weight.div_(ramp[:, :, None])

    def _convolved(self, x: Tensor) -> Tensor:
        if self.slope:
            x = F.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
        return F.conv1d(x, self.weight, padding=_LENGTH // 2 * self.dilation, dilation=self.dilation)


def _kernels() -> Tensor:
    """(84, 9), each summing to 0."""
    rows = torch.full((_KERNELS, _LENGTH), -1.0)
    for row, places in zip(rows, itertools.combinations(range(_LENGTH), _HIGH), strict=True):
        row[list(places)] = 2.0
    return rows


def _chosen(channels: int, dice: torch.Generator) -> Tensor:
    """(84, C) of 0 and 1: one channel, or a random few, a kernel."""
    if channels == 1:
        return torch.ones(_KERNELS, 1)
    found = torch.zeros(_KERNELS, channels)
    most = math.log2(min(channels, _MOST_CHANNELS) + 1)
    for row in found:
        count = int(2 ** (float(torch.rand(1, generator=dice)) * most))
        row[torch.randperm(channels, generator=dice)[: max(1, count)]] = 1.0
    return found


def _dilations(size: int) -> list[tuple[int, int]]:
    """Dilations and how many levels are compared at each: as many for each octave, up to the length of the series."""
    octaves = math.log2(max(1.0, (size - 1) / (_LENGTH - 1)))
    count = min(_MOST_DILATIONS, _LEVELS)
    found = Counter(int(2 ** (octaves * number / max(1, count - 1))) for number in range(count))
    share = _LEVELS / count
    return [(dilation, max(1, round(own * share))) for dilation, own in sorted(found.items())]
