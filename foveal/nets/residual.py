"""Residual: a small network of series to train from nothing, after Wang, Yan and Oates 2017 (arXiv 1611.06455).

However long the input, the first map has about 128 cells, so a series costs the same arithmetic at every length.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from foveal.contracts import Net

_WIDTHS = (64, 128, 128, 128)
_FIRST_MAP, _KERNEL, _FIRST_KERNEL = 128, 9, 15
_NORM_MOMENTUM = 0.4


class Residual(Net):
    """x (N, channels, size) -> maps of 1, 1/2, 1/4 and 1/8 of the first map's length."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        stride = max(1, size // _FIRST_MAP)
        first = nn.Sequential(_convolution(channels, _WIDTHS[0], _FIRST_KERNEL, stride), _norm(_WIDTHS[0]), nn.GELU())
        blocks = [_Block(a, b) for a, b in pairwise(_WIDTHS)]
        self.stages = nn.ModuleList([first, *blocks])
        self.channels = _WIDTHS
        self.strides = tuple(stride * 2**number for number in range(len(_WIDTHS)))


class _Block(nn.Module):
    """Half as long: two convolutions, added to what came in."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(2, ceil_mode=True)
        self.body = nn.Sequential(
            _convolution(inputs, outputs, _KERNEL),
            _norm(outputs),
            nn.GELU(),
            _convolution(outputs, outputs, _KERNEL),
            _norm(outputs),
        )
        self.beside = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, 1)
        self.rectify = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        return self.rectify(self.body(x) + self.beside(x))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv1d:
    return nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _norm(channels: int) -> nn.BatchNorm1d:
    """Without a scale of its own: the next layer has one."""
    norm = nn.BatchNorm1d(channels, momentum=_NORM_MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm
