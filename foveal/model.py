"""Model: what a task and a network make together, the reference path of everything that is predicted and exported.

Knows the contracts, and no implementation of them.
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal.contracts import Head, Net, Target, Task
from foveal.types import Finished


def head_of(target: Target, net: Net) -> Head:
    """The head that reads what the net gives."""
    if net.parts:
        return target.joined_head([head_of(target, part) for part in net.parts], len(net.parts[0].stages))
    counted, channels = net.counted, net.channels
    return target.counting_head(counted, channels) if counted else target.head(channels, net.strides)


class Model(nn.Module):
    """stem -> net -> head -> finish: the whole reference path of a task; one raw tensor -> Finished. It is the very
    thing that is exported."""

    def __init__(self, task: Task, net: Net, head: Head | None = None) -> None:
        super().__init__()
        self.stem, self.net = task.input.stem(), net
        self.head = head if head is not None else head_of(task.target, net)
        self.finish = task.target.finish()

    @property
    def depth(self) -> int:
        """The stages of the net that the head needs."""
        return self.head.depth(len(self.net.stages))

    def forward(self, raw: Tensor) -> Finished:
        x, pieces = self.stem(raw)
        return self.finish(self.head(self.net(x)), pieces)
