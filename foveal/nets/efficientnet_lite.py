"""EfficientNet-Lite: the family of small ImageNet networks that foveal transfers from, offline.

Knows the layers and how the published weight files name them. Does not know where a weight file lies
(`_weights.py`) nor what the features are used for.

Source: Tan and Le, "EfficientNet" (arXiv 1905.11946); the Lite variants drop squeeze-and-excitation and use
ReLU6. Preprocessing is (x - 127) / 128 with TensorFlow's "SAME" padding and a BatchNorm epsilon of 1e-3; the mean
and standard deviation that the weight package documents cost 5 to 7 points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Net

BN_EPSILON = 1e-3


@dataclass(frozen=True)
class Variant:
    """How one member of the family scales the base network, and the picture size it was trained at."""

    width: float
    depth: float
    size: int


VARIANTS = {
    "lite0": Variant(1.0, 1.0, 224),
    "lite1": Variant(1.0, 1.1, 240),
    "lite2": Variant(1.1, 1.2, 260),
}

# expansion, channels, repeats, stride, kernel
_BLOCKS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM_CHANNELS, _LAST_CHANNELS = 32, 1280


class SamePad(nn.Module):
    """Pads as TensorFlow's "SAME" does: x (N, C, H, W) so that a strided convolution keeps ceil(size / stride)."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = self._split(x.shape[-2])
        left, right = self._split(x.shape[-1])
        return F.pad(x, (left, right, top, bottom))

    def _split(self, length: int) -> tuple[int, int]:
        total = max((math.ceil(length / self.stride) - 1) * self.stride + self.kernel - length, 0)
        return total // 2, total - total // 2


class ConvBlock(nn.Sequential):
    """Convolution, BatchNorm and ReLU6 (or no activation): x (N, C, H, W) -> (N, C', H', W')."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, active: bool = True
    ) -> None:
        symmetric = stride == 1
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if symmetric else 0, groups=groups, bias=False)
        pad = [] if symmetric else [SamePad(kernel, stride)]
        norm = nn.BatchNorm2d(outputs, eps=BN_EPSILON, momentum=0.01)
        super().__init__(*pad, conv, norm, *([nn.ReLU6()] if active else []))


class Bottleneck(nn.Module):
    """Inverted residual: widen by `expansion`, filter per channel, project back (arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [ConvBlock(inputs, wide, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *widen,
            ConvBlock(wide, wide, kernel, stride, groups=wide),
            ConvBlock(wide, outputs, 1, active=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class EfficientNetLite(Net):
    """Eight stages; the last is the 1x1 convolution that widens to the final features.

    `forward` takes x (N, 3, H, W) float32, already (pixel - 127) / 128, and returns one map per stage.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        channels, strides, stages = [], [], []
        inputs, stride_so_far = _STEM_CHANNELS, 2
        for expansion, base, repeats, stride, kernel in _BLOCKS:
            outputs = _round_channels(base * variant.width)
            fixed_depth = base in (16, 320)
            count = repeats if fixed_depth else math.ceil(repeats * variant.depth)
            blocks = [
                Bottleneck(inputs if i == 0 else outputs, outputs, expansion, kernel, stride if i == 0 else 1)
                for i in range(count)
            ]
            first = [ConvBlock(3, _STEM_CHANNELS, 3, 2)] if not stages else []
            stages.append(nn.Sequential(*first, *blocks))
            inputs, stride_so_far = outputs, stride_so_far * stride
            channels.append(outputs)
            strides.append(stride_so_far)
        stages.append(ConvBlock(inputs, _LAST_CHANNELS, 1))
        self.stages = nn.ModuleList(stages)
        self.channels = (*channels, _LAST_CHANNELS)
        self.strides = (*strides, stride_so_far)


def load_published(net: EfficientNetLite, published: dict[str, Tensor]) -> None:
    """Fill `net` from the published file, whose entries stand in the order of the layers; its classifier is dropped.

    Raises AssertionError where a shape differs: then the file is another variant's.
    """
    own = net.state_dict()
    values = [value for key, value in published.items() if not key.startswith("_fc")]
    assert len(values) == len(own), f"expected {len(own)} tensors, found {len(values)}"
    for (key, old), new in zip(own.items(), values, strict=True):
        assert old.shape == new.shape, f"{key}: expected {tuple(old.shape)}, found {tuple(new.shape)}"
    net.load_state_dict(dict(zip(own, values, strict=True)))


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
