"""Pyramid: maps of several stages, each read by a linear function of its own, enlarged to the finest and summed.

Knows stages, cells and linear functions of them; not what the outputs mean. Linear functions and enlarging change
places, so this is one of all maps enlarged and stacked, at a fraction of its cost, and every output of a cell is a
sum over cells of the maps below it. Where places are times only, each band of rows has channels of its own.
"""

from __future__ import annotations

import copy
import itertools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Head
from foveal.targets._neck import Neck
from foveal.types import Features, Output

FINEST_STRIDE = 4
"""Finer maps show edges only."""

NECK = 64
"""Channels of a trained head's own layers."""

# Wider ones cost more than they tell, and of bands, of which each has all channels, coarser ones.
_MOST_CHANNELS, _COARSEST_OF_BANDS = 512, 16
# Rows whose maps are float32 at a time, and how many numbers they may be.
_CHUNK, _NUMBERS = 16, 2**26
# So many numbers of all rows together are in memory.
_IN_MEMORY = 2**28
# What is around a cell: the mean of so many cells a side, of so many of the coarsest maps.
_AROUND, _LOOKED_AROUND = 5, 2


class Pyramid(Head):
    """join: (N, F), the used maps of square inputs, or of lines, behind one another; read: {"cells": (N, outputs, h,
    w), "usual": (N, constants)}.

    centre, scale: by which each channel is standardised before it is weighted; usual: numbers that are the same
    whatever is seen. around: whether cells of the coarsest maps are also seen with those around them, the mean of
    both beside the map itself. neck: how many channels the layers have that make one map more of all others, to be
    read like them; 0 where there are none, as in a closed form. bands: how many rows are kept apart, each as channels
    of its own, of maps that become lines (h = 1); 0 where rows are places.
    """

    maps = True
    centre: Tensor
    scale: Tensor
    usual: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        outputs: int,
        constants: int,
        *,
        around: bool = False,
        finest: int = FINEST_STRIDE,
        neck: int = 0,
        bands: int = 0,
    ) -> None:
        super().__init__()
        fine = [i for i, stride in enumerate(strides) if stride >= finest] or list(range(len(strides)))
        if bands:
            fine = [i for i in fine if strides[i] <= _COARSEST_OF_BANDS] or fine[:1]
        self.stages = tuple(i for i in fine if channels[i] <= _MOST_CHANNELS)
        self.bands = bands
        self.channels = tuple(channels[i] * max(1, bands) for i in self.stages)
        self.strides = tuple(strides[i] for i in self.stages)
        self.around = min(_LOOKED_AROUND, len(self.stages)) if around else 0
        self.widths = (*self.channels, *self.channels[len(self.channels) - self.around :])
        width = sum(self.widths)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.weight = nn.Parameter(torch.zeros(outputs, width))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if constants:
            self.usual = nn.Parameter(torch.zeros(constants))
        else:  # nothing that could be learnt
            self.register_buffer("usual", torch.zeros(0))
        self.neck = Neck(self.channels, outputs, neck) if neck else None

    def extra_repr(self) -> str:
        return f"stages={self.stages}, channels={self.channels}, strides={self.strides}"

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        if stage not in self.stages:
            return level.new_zeros(len(level), 0)
        if not self.bands:
            return level.float()
        rows = F.adaptive_avg_pool2d(level.float(), (self.bands, level.shape[3]))
        return rows.flatten(1, 2)[:, :, None]

    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([parts[i].flatten(1).float() for i in self.stages], dim=1)

    def levels(self, features: Tensor) -> list[Tensor]:
        """What `join` put together: one (N, C, h, w) a used stage, finest first; then what is around the coarsest."""
        finest = next(side for side in itertools.count(1) if self._numbers(side) >= features.shape[1])
        assert self._numbers(finest) == features.shape[1], "maps of one input, each as fine as its stride says"
        shapes = [
            (c, 1 if self.bands else side, side) for c, side in zip(self.channels, self._sides(finest), strict=True)
        ]
        parts = features.split([c * h * w for c, h, w in shapes], dim=1)
        found = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        return [*found, *(_blurred(level) for level in found[len(found) - self.around :])]

    def _sides(self, finest: int) -> list[int]:
        """Of all maps, where that of the finest is given; cells that are begun count."""
        return [-(-finest * self.strides[0] // stride) for stride in self.strides]

    def _numbers(self, finest: int) -> int:
        """How many all maps have together."""
        dims = 1 if self.bands else 2
        return sum(c * side**dims for c, side in zip(self.channels, self._sides(finest), strict=True))

    def read(self, features: Tensor) -> Output:
        return {"cells": self.read_levels(self.levels(features)), "usual": self.usual.repeat(len(features), 1)}

    def read_levels(self, levels: Sequence[Tensor]) -> Tensor:
        """(N, outputs, h, w) at the finest level's cells. The sums are float32, also where the neck's are not."""
        made = None if self.neck is None else self.neck(levels[: len(self.channels)]).float()
        with torch.autocast(levels[0].device.type, enabled=False):
            slopes = (self.weight / self.scale).split(self.widths, dim=1)
            total = self.bias - (self.weight / self.scale) @ self.centre
            found = total[None, :, None, None]
            for level, slope in zip(levels, slopes, strict=True):
                own = F.conv2d(level, slope[:, :, None, None])
                found = found + enlarged(own, levels[0].shape[2:])
            if self.neck is not None and made is not None:
                found = found + F.conv2d(made, self.neck.read[:, :, None, None])
            return found

    def depth(self, stages: int) -> int:
        return self.stages[-1] + 1

    def layers(self) -> nn.Module | None:
        return self.neck

    def begin(self, state: Mapping[str, Tensor], features: Features) -> None:
        """Take the state of one without a neck; what the neck reads is standardised by these features (N, F)."""
        own = {name: tensor for name, tensor in self.state_dict().items() if name.startswith("neck.")}
        self.load_state_dict({**own, **state})
        if self.neck is not None:
            some = next(iter(features.split(_CHUNK)))  # and no more: the maps of all rows are large
            few = some[: max(1, _NUMBERS // some.shape[1])]
            self.neck.standardise(self.levels(few.float())[: len(self.channels)])

    def parts(self, levels: Sequence[Tensor], output: int, cells: Tensor) -> tuple[list[Tensor], float]:
        """What each cell of each level (batch of one) adds to the sum of one output over cells of the finest, each
        counted as often as `cells` (h, w) says, which sum to 1; and the bias. Bands are rows again."""
        slopes = (self.weight[output] / self.scale).split(self.widths)
        centres = self.centre.split(self.widths)
        found = []
        for level, slope, centre in zip(levels, slopes, centres, strict=True):
            shares = _shares(level.shape[2:], cells).to(level)
            each = (level[0] - centre[:, None, None]) * slope[:, None, None] * shares
            found.append(each.unflatten(0, (-1, self.bands)).sum((0, 2)) if self.bands else each.sum(0))
        if self.neck is not None:
            made = self.neck(levels[: len(self.channels)])[0]
            found.append(torch.einsum("chw,c,hw->hw", made, self.neck.read[output], cells.to(made)))
        return found, float(self.bias[output].detach())


def rows_of(head: Pyramid, features: Features) -> Iterator[list[Tensor]]:
    """Each row's maps, (1, C, h, w) each; a few rows at a time are float32."""
    for some in features.split(_CHUNK):
        for chunk in some.split(max(1, _NUMBERS // some.shape[1])):
            levels = head.levels(chunk.float())
            yield from ([level[row : row + 1] for level in levels] for row in range(len(chunk)))


def left_out(
    head: Pyramid, states: Sequence[Mapping[str, Tensor]], folds: Sequence[int], features: Features
) -> Tensor:
    """(N, outputs, h, w): each row's cells by the state that was solved without its fold; in a file that goes when
    they do where they are many."""
    readers, found = [], None
    for state in states:
        reader = copy.deepcopy(head)
        reader.load_state_dict(dict(state))
        readers.append(reader)
    for row, levels in enumerate(rows_of(head, features)):
        with torch.inference_mode():
            cells = readers[folds[row]].read_levels(levels)
        found = _room(len(folds), cells.shape[1:]) if found is None else found
        found[row] = cells[0]
    assert found is not None, "there are rows"
    return found


def _room(rows: int, shape: Sequence[int]) -> Tensor:
    """(rows, *shape) float32, to be filled."""
    if rows * math.prod(shape) <= _IN_MEMORY:
        return torch.empty(rows, *shape)
    with tempfile.TemporaryFile() as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=(rows, *shape)))


def enlarged(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def picked(levels: Sequence[Tensor], cells: Tensor) -> Tensor:
    """(n, channels of all levels): levels (of one row) enlarged to the finest, at its cells of these numbers (n,)."""
    height, width = levels[0].shape[2:]
    x = 2 * (cells % width + 0.5) / width - 1
    y = 2 * (cells // width + 0.5) / height - 1
    places = torch.stack([x, y], dim=-1)[None, None]
    found = [F.grid_sample(level, places, padding_mode="border", align_corners=False)[0, :, 0] for level in levels]
    return torch.cat(found).T


def _blurred(level: Tensor) -> Tensor:
    """(N, C, h, w): the mean of the cells around each, as far as there are any."""
    return F.avg_pool2d(level, _AROUND, 1, _AROUND // 2, count_include_pad=False)


def _shares(size: Sequence[int], cells: Tensor) -> Tensor:
    """(h, w): how much of each cell of a map goes into these cells (H, W) of the enlarged one."""
    eye = [torch.eye(side)[None] for side in size]
    rows, columns = (
        F.interpolate(one, size=int(side), mode="linear", align_corners=False)[0] if one.shape[2] != side else one[0]
        for one, side in zip(eye, cells.shape, strict=True)
    )
    return rows @ cells.float() @ columns.T
