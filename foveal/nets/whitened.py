"""Whitened: a small network to train from nothing, after airbench (Jordan 2024, arXiv 2404.00498).

Its first layer is computed from patches of the training examples instead of learnt. However large the input, the
first map has about 32 x 32 cells, so a picture costs the same arithmetic at every size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Net

_WIDTHS = (64, 256, 256)
# Of the directions in which patches vary, so many are kept, those of most variance first.
_MOST_DIRECTIONS = 32
# Below this share of the mean variance a direction is noise of the file format; it is not enlarged any further.
_LEAST_VARIANCE = 5e-4
_FIRST_MAP = 28
# The last batches say most about the final network.
_NORM_MOMENTUM = 0.4


class Whitened(Net):
    """x (N, channels, size, size) -> maps of 1, 1/2, 1/4 and 1/8 of the first map's sides."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        stride = max(1, size // _FIRST_MAP)
        first = Whitening(channels, stride)
        widths = (first.directions, *_WIDTHS)
        blocks = [_block(a, b) for a, b in zip(widths, _WIDTHS, strict=False)]
        self.stages = nn.ModuleList([nn.Sequential(first, nn.GELU()), *blocks])
        self.channels = widths
        self.strides = tuple(stride * 2**i for i in range(len(widths)))

    def prepare(self, x: Tensor) -> None:
        self.stages[0][0].prepare(x)  # type: ignore[index]


class Whitening(nn.Module):
    """Patches of (N, C, h, w) -> their principal directions, each at variance 1 and in both signs. Hand-made: only
    the bias is trained."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.kernel = stride, 2 * stride
        self.kept = min(channels * self.kernel**2, _MOST_DIRECTIONS)
        self.directions = 2 * self.kept
        filters = torch.randn(self.directions, channels, self.kernel, self.kernel)
        self.register_buffer("weight", filters / (channels * self.kernel**2) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(self.directions))

    def prepare(self, x: Tensor) -> None:
        """The eigenvectors of the patches' second moments, divided by the roots of their eigenvalues."""
        patches = F.unfold(x.float(), self.kernel, stride=self.stride).transpose(1, 2).flatten(0, 1).double()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        floor = _LEAST_VARIANCE * values.mean().clamp_min(1e-12)
        filters = (vectors / (values.clamp_min(0) + floor).sqrt()).T.flip(0)[: self.kept]
        self.get_buffer("weight").copy_(torch.cat([filters, -filters]).reshape(self.get_buffer("weight").shape))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (*self._margins(x.shape[3]), *self._margins(x.shape[2])))
        return F.conv2d(x, self.get_buffer("weight").to(x.dtype), self.bias.to(x.dtype), self.stride)

    def _margins(self, side: int) -> tuple[int, int]:
        """Zeros before and after, so that every `stride` positions begun have a cell."""
        cells = -(-side // self.stride)
        missing = max(0, (cells - 1) * self.stride + self.kernel - side)
        return missing // 2, missing - missing // 2


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.MaxPool2d(2, ceil_mode=True),
        _norm(outputs),
        nn.GELU(),
        _convolution(outputs, outputs),
        _norm(outputs),
        nn.GELU(),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Without a scale of its own: the next layer has one."""
    norm = nn.BatchNorm2d(channels, momentum=_NORM_MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm
