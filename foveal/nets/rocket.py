"""Rocket: fixed convolutions of series, which tell how often each rises above a few levels, and which of a few is
the largest and the smallest at each place.

Sources: MiniRocket (Dempster, Schmidt and Webb 2021, arXiv 2012.08791), the 84 kernels of length 9 with three weights
of 2 and six of -1, at many dilations, compared with levels that are quantiles of the examples'; Hydra (Dempster,
Schmidt and Webb 2023, arXiv 2203.13652), random kernels that compete in groups. Nothing is trained. Seen are the
series and their differences.
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
# Quantiles are of so many values a kernel.
_QUANTILES = 2048
_GOLDEN = (5**0.5 - 1) / 2
# A step at a level would turn rounding into whole cells; this ramp is so wide, of a kernel's deviation.
_RAMP = 0.3
_MOST_CHANNELS = 9
# Groups of random kernels at each dilation, and kernels in a group; the ramp is so wide, of the group's deviation.
_GROUPS, _RIVALS, _RIVALS_RAMP = 32, 8, 0.05


class Rocket(Net):
    """x (N, C, S) -> a map (N, kernels x levels, S) from 0 to 1 for each dilation, of the series and its slope."""

    rows_at_once = 4

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        dice, octaves = torch.Generator().manual_seed(0), int(_octaves(size)) + 1
        levels = [
            _Levels(channels, dilation, count, slope, dice)
            for slope in (False, True)
            for dilation, count in _dilations(size)
        ]
        groups = [_Groups(channels, 2**octave, slope, dice) for octave in range(octaves) for slope in (False, True)]
        self.stages = nn.ModuleList([*levels, *groups])
        self.channels = tuple(stage.outputs for stage in self._each())
        self.strides = (1,) * len(self.stages)

    def prepare(self, x: Tensor) -> None:
        for stage in self._each():
            stage.prepare(x)

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        """All stages see the series itself."""
        for stage in self.stages:
            yield stage(x)

    def _each(self) -> Iterator[_Levels | _Groups]:
        for stage in self.stages:
            assert isinstance(stage, _Levels | _Groups)
            yield stage


class _Levels(nn.Module):
    """All of MiniRocket's kernels at one dilation, each over some of the channels, which it adds up."""

    weight: Tensor
    level: Tensor

    def __init__(self, channels: int, dilation: int, levels: int, slope: bool, dice: torch.Generator) -> None:
        super().__init__()
        self.dilation, self.levels, self.slope = dilation, levels, slope
        self.outputs = _KERNELS * levels
        weight = _kernels()[:, None] * _chosen(_KERNELS, channels, dice)[:, :, None]
        self.register_buffer("weight", weight)
        self.register_buffer("level", torch.zeros(_KERNELS, levels))

    def forward(self, x: Tensor) -> Tensor:
        found = _convolved(x, self.weight, self.dilation, self.slope)
        return (found[:, :, None] - self.level[:, :, None]).clamp_(0, 1).flatten(1, 2)

    def prepare(self, x: Tensor) -> None:
        """Levels are spread over the quantiles of what the examples x give, differently for each kernel. Kernels are
        scaled so that a ramp is 1 high."""
        found = _convolved(x, self.weight, self.dilation, self.slope).transpose(0, 1).flatten(1)
        found = found[:, :: max(1, found.shape[1] // _QUANTILES)]
        places = (torch.arange(_KERNELS * self.levels) + 1) * _GOLDEN % 1
        ordered = found.sort(dim=1).values
        at = (places.reshape(_KERNELS, -1) * (ordered.shape[1] - 1)).round().long()
        ramp = (_RAMP * found.std(1, correction=0).clamp_min(1e-6))[:, None]
        self.level.copy_(ordered.gather(1, at) / ramp - 0.5)
        self.weight.div_(ramp[:, :, None])


class _Groups(nn.Module):
    """Random kernels at one dilation, in groups that share their channels: 1 where one is the largest of its group,
    and where it is the smallest, with a ramp below the one and above the other."""

    weight: Tensor
    outputs = 2 * _GROUPS * _RIVALS

    def __init__(self, channels: int, dilation: int, slope: bool, dice: torch.Generator) -> None:
        super().__init__()
        self.dilation, self.slope = dilation, slope
        kernels = torch.randn(_GROUPS, _RIVALS, 1, _LENGTH, generator=dice)
        kernels = kernels - kernels.mean(3, keepdim=True)
        kernels = kernels / kernels.abs().sum(3, keepdim=True)
        weight = kernels * _chosen(_GROUPS, channels, dice)[:, None, :, None]
        self.register_buffer("weight", weight.flatten(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = _convolved(x, self.weight, self.dilation, self.slope)
        found = found.unflatten(1, (_GROUPS, _RIVALS))
        largest = (found - found.amax(2, keepdim=True) + 1).clamp_(0, 1)
        smallest = (found.amin(2, keepdim=True) - found + 1).clamp_(0, 1)
        return torch.cat([largest, smallest], 1).flatten(1, 2)

    def prepare(self, x: Tensor) -> None:
        """Kernels of a group are scaled alike, so that a ramp is 1 wide."""
        found = _convolved(x, self.weight, self.dilation, self.slope).transpose(0, 1).unflatten(0, (_GROUPS, _RIVALS))
        ramp = _RIVALS_RAMP * found.flatten(1).std(1, correction=0).clamp_min(1e-6)
        self.weight.div_(ramp.repeat_interleave(_RIVALS)[:, None, None])


def _convolved(x: Tensor, weight: Tensor, dilation: int, slope: bool) -> Tensor:
    if slope:
        x = F.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
    return F.conv1d(x, weight, padding=_LENGTH // 2 * dilation, dilation=dilation)


def _kernels() -> Tensor:
    """(84, 9), each summing to 0."""
    rows = torch.full((_KERNELS, _LENGTH), -1.0)
    for row, places in zip(rows, itertools.combinations(range(_LENGTH), _HIGH), strict=True):
        row[list(places)] = 2.0
    return rows


def _chosen(count: int, channels: int, dice: torch.Generator) -> Tensor:
    """(count, C) of 0 and 1: one channel, or a random few, in each row."""
    if channels == 1:
        return torch.ones(count, 1)
    found = torch.zeros(count, channels)
    most = math.log2(min(channels, _MOST_CHANNELS) + 1)
    for row in found:
        few = int(2 ** (float(torch.rand(1, generator=dice)) * most))
        row[torch.randperm(channels, generator=dice)[: max(1, few)]] = 1.0
    return found


def _dilations(size: int) -> list[tuple[int, int]]:
    """Dilations and how many levels are compared at each: as many for each octave, up to the length of the series."""
    octaves = _octaves(size)
    count = min(_MOST_DILATIONS, _LEVELS)
    found = Counter(int(2 ** (octaves * number / max(1, count - 1))) for number in range(count))
    share = _LEVELS / count
    return [(dilation, max(1, round(own * share))) for dilation, own in sorted(found.items())]


def _octaves(size: int) -> float:
    """How often a kernel may be made twice as long."""
    return math.log2(max(1.0, (size - 1) / (_LENGTH - 1)))
