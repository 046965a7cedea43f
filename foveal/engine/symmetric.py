"""A network that sees each input and its mirror image.

Knows the contracts. Two views of one input agree in what matters and differ in what does not, so their mean is right
more often than either; it costs two passes, so it is kept only where unseen examples favour it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from foveal.contracts import Net


def sided(net: Net, symmetric: bool) -> Net:
    """The net itself, or as it sees both sides."""
    return Symmetric(net) if symmetric else net


class Symmetric(Net):
    """Each map is the mean of those of the input and of its mirror image, the latter turned back.

    What is pooled from it by means does not change when left and right are swapped, and an explanation by its cells
    stays an exact sum. Has the stages of `net` itself, under the same names.
    """

    symmetric = True

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.stages, self.channels, self.strides = net.stages, net.channels, net.strides

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        x = torch.cat([x, x.flip(-1)])
        for stage in self.stages:
            x = stage(x)
            upright, turned = x.chunk(2)
            yield (upright + turned.flip(-1)) / 2
