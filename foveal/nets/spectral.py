"""Spectral: a small residual network of spectrograms to train from nothing, after He et al. 2016 (arXiv 1512.03385).

However large the input, the first map has about 32 rows, so a sound costs the same arithmetic at every size.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from foveal.contracts import Net

_WIDTHS = (24, 48, 96)
_ROWS, _KERNEL = 32, 3
_NORM_MOMENTUM = 0.4


class Spectral(Net):
    """x (N, channels, size, columns) -> maps of 1, 1/2 and 1/4 of the first map's sides."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        stride = max(1, size // _ROWS)
        # Of neighbours their mean is enough: what is finer than a cell is not where it was in another's voice.
        narrowed = nn.AvgPool2d(max(1, stride // 2), ceil_mode=True)
        halved = min(stride, 2)
        first = nn.Sequential(narrowed, _convolution(channels, _WIDTHS[0], halved), _norm(_WIDTHS[0]), nn.ReLU())
        blocks = [nn.Sequential(first, _Block(_WIDTHS[0]))]
        for inputs, outputs in pairwise(_WIDTHS):
            halving = (_convolution(inputs, outputs, 2), _norm(outputs), nn.ReLU())
            blocks.append(nn.Sequential(*halving, _Block(outputs)))
        self.stages = nn.ModuleList(blocks)
        self.channels = _WIDTHS
        finest = halved * max(1, stride // 2)
        self.strides = tuple(finest * 2**number for number in range(len(_WIDTHS)))


class _Block(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels),
            _norm(channels),
            nn.ReLU(),
            _convolution(channels, channels),
            _norm(channels),
        )
        self.rectify = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rectify(x + self.body(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, _KERNEL, stride, padding=_KERNEL // 2, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Without a scale of its own: the next layer has one."""
    norm = nn.BatchNorm2d(channels, momentum=_NORM_MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm
