"""Tail: the stages of a network that are trained, with the head, and what moves them.

Knows the contracts, modules, the optimizer, and views, which stop at the boundary where it begins.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foveal.contracts import Head, Net, Target
from foveal.engine.muon import Muon, adam, turned
from foveal.engine.trainable import quicken, trainable
from foveal.engine.views import Views
from foveal.types import Output

_CHUNK = 128
# The head begins with its solution and sums thousands of features, each of which a step of Adam moves as far.
_RATE, _HEAD_RATE, _DECAY = 3e-4, 1e-4, 0.02
# Layers that begin with nothing have to go further.
_FRESH_RATE, _FRESH_DECAY = 2e-3, 0.2
_TURNED_RATE, _MOMENTUM, _TURNED_DECAY = 0.1, 0.9, 0.1


class Tail(nn.Module):
    """The stages from `boundary` on that the head needs, trainable, and the head: pieces of a Trunk -> Output."""

    def __init__(self, net: Net, head: Head, boundary: int) -> None:
        super().__init__()
        self.stages = trainable(net.stages[boundary : head.depth(len(net.stages))])  # type: ignore[arg-type]
        self.head = copy.deepcopy(head).requires_grad_(True)
        if (layers := self.head.layers()) is not None:
            quicken(layers)

    def forward(self, *pieces: Tensor) -> Output:
        """The head's own layers compute in the dtype of the last piece."""
        features, (place, dtype) = self.features(*pieces), (pieces[-1].device.type, pieces[-1].dtype)
        lower = self.head.layers() is not None and dtype != torch.float32
        with torch.autocast(place, dtype if lower else None, enabled=lower):
            return self.head.read(features)

    def features(self, *pieces: Tensor) -> Tensor:
        """(N, F): what the head reads."""
        *parts, x = pieces
        assert isinstance(self.stages, nn.ModuleList)
        for stage in self.stages:
            x = stage(x)
            parts.append(self.head.reduce(len(parts), x))
        return self.head.join(parts)


def own_head(target: Target, net: Net, head: Head) -> Head:
    """A head of the target's for the net, which may have layers; a copy of `head` where it has none."""
    found = target.head(net.channels, net.strides)
    return copy.deepcopy(head) if found.layers() is None else found


def optimizer_of(tail: Tail) -> Muon:
    """Moves it at rates that keep most of what it knows; filters that begin with nothing are turned."""
    head = tail.head
    fresh = list(layers.parameters()) if (layers := head.layers()) is not None else []
    filters = [parameter for parameter in fresh if parameter.ndim > 2 and parameter.shape[1] > 1]
    known = {id(parameter) for parameter in fresh}
    turning = {id(parameter) for parameter in filters}
    return Muon(
        adam(list(tail.stages.parameters()), _RATE, _DECAY),
        adam([own for own in head.parameters() if id(own) not in known], _HEAD_RATE, _DECAY),
        turned(filters, _TURNED_RATE, _MOMENTUM, _TURNED_DECAY),
        adam([own for own in fresh if id(own) not in turning], _FRESH_RATE, _FRESH_DECAY),
    )


@dataclass(frozen=True)
class PlainFeatures:
    """What the head reads of plain views: computed when it is asked for, since that of maps would be too much."""

    tail: Tail
    views: Views
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, count: int) -> Iterator[Tensor]:
        """(at most count, F) float32 on the CPU at a time."""
        for start in range(0, len(self.rows), count):
            *parts, x = self.views.plain(self.rows[start : start + count])[0]
            with torch.inference_mode():
                features = self.tail.features(*parts, x.float()).cpu()
            yield features  # outside: what is made of it meanwhile may be changed in place

    def together(self) -> Tensor:
        """(len(rows), F) float32."""
        return torch.cat(list(self.split(_CHUNK)))
