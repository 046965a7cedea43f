"""One channel of one convolution inside a network: its weights, and what enters and leaves it for one raw thing.

Knows the contracts only. Everything is taken from the reference path, so it is what predictions are made from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Net, Task
from foveal.errors import UsageError
from foveal.model import Model
from foveal.types import Raw


@dataclass(frozen=True, eq=False)
class Filter:
    """An output channel and the input channels that it reads. A 1-D convolution has a height of 1.

    layer: its number among the net's convolutions, from 0; name: the module's. layers, inputs, outputs: how many
    convolutions the net has, and channels enter and leave this one. first: the number of the first input channel
    that the filter reads, 0 but in grouped convolutions.
    f: (C, H, W), g: (C, h, w), output: (H', W'), all float32; output is the cross-correlation of the two plus bias,
    as torch computed it.
    """

    layer: int
    name: str
    channel: int
    layers: int
    inputs: int
    outputs: int
    first: int
    f: np.ndarray
    g: np.ndarray
    bias: float
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    output: np.ndarray


def filter_at(model: Model, task: Task, raw: Raw, layer: str, channel: str) -> Filter:
    """The filter at a layer, by number or by the module's dotted name, and an output channel, by number.

    Raises UsageError saying which layers or channels there are.
    """
    found = _convolutions(model.net)
    number = _layer(found, layer)
    name, conv = list(found.items())[number]
    if not channel.isdecimal() or int(channel) >= conv.out_channels:
        raise UsageError(
            f"no channel {channel!r}: convolution {number} ({name}) has {conv.out_channels}, numbered from 0"
        )
    entered, left = _through(model, task, raw, conv)
    width = conv.in_channels // conv.groups
    first = int(channel) // (conv.out_channels // conv.groups) * width
    return Filter(
        layer=number,
        name=name,
        channel=int(channel),
        layers=len(found),
        inputs=conv.in_channels,
        outputs=conv.out_channels,
        first=first,
        f=_planes(entered[0, first : first + width]),
        g=_planes(conv.weight[int(channel)]),
        bias=0.0 if conv.bias is None else float(conv.bias[int(channel)].detach()),
        stride=_pair(conv.stride, 1),
        padding=_pair(conv.padding, 0),
        dilation=_pair(conv.dilation, 1),
        output=_planes(left[0, int(channel)][None])[0],
    )


def _convolutions(net: Net) -> dict[str, nn.Conv1d | nn.Conv2d]:
    """Name -> module, in the order in which the net holds them."""
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv1d | nn.Conv2d)}


def _layer(found: dict[str, nn.Conv1d | nn.Conv2d], wanted: str) -> int:
    names = list(found)
    if wanted in found:
        return names.index(wanted)
    if not wanted.isdecimal() or int(wanted) >= len(names):
        ends = f"{names[0]} to {names[-1]}" if names else "none"
        raise UsageError(
            f"no layer {wanted!r}: the network has {len(names)} convolutions, numbered from 0, or by name ({ends})"
        )
    return int(wanted)


def _through(model: Model, task: Task, raw: Raw, conv: nn.Module) -> tuple[Tensor, Tensor]:
    """What enters the module and what leaves it, with a batch axis of 1, on the reference path."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        seen.append((given[0].detach().clone(), result.detach().clone()))

    model.eval()
    handle = conv.register_forward_hook(keep)
    try:
        with torch.no_grad():
            model.net(model.stem(task.input.tensor(raw))[0])
    finally:
        handle.remove()
    assert len(seen) == 1, f"a convolution that runs {len(seen)} times"
    return seen[0]


def _planes(channels: Tensor) -> np.ndarray:
    """(C, L) or (C, H, W) -> (C, H, W), where a line is a plane with a height of 1."""
    array = channels.detach().float().cpu().numpy()
    return array if array.ndim == 3 else array[:, None, :]


def _pair(values: tuple[int, ...] | str, across: int) -> tuple[int, int]:
    """Down and across; a line's single value gets the one that does nothing beside it."""
    assert not isinstance(values, str), "padding by name"
    return (across, values[0]) if len(values) == 1 else (values[0], values[1])
