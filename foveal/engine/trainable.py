"""Stages of a frozen network made ready for gradient steps on a CPU, and what they learnt put back.

Knows modules and tensors. BatchNorm is folded into the convolutions, so a step does not depend on the batch. Weights
stay float32 and are cast to the dtype of what comes in. PyTorch's oneDNN kernels leave the fast path for two
gradients of depthwise convolutions, which then take more time than all else together; here both are put together
from kernels that stay on it: 2.6 times as many rows a second for the last three stages of EfficientNet-Lite0, 1.6 for
all of it (`python -m benchmarks.tail_steps`, 2 Zen 5 cores).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.engine.device import fold_batchnorm

_backward = torch.ops.aten.convolution_backward


def trainable(stages: nn.Module) -> nn.Module:
    """A copy of the stages to train: BatchNorm folded, convolutions in two dimensions with fast gradients."""
    copied = fold_batchnorm(stages)
    quicken(copied)
    return copied.to(memory_format=torch.channels_last).requires_grad_(True)  # type: ignore[call-overload]


def write_back(trained: nn.Module, stages: nn.Module) -> None:
    """Give `stages` the weights of its trained copy; BatchNorm becomes an identity but for its bias."""
    learnt = dict(trained.named_modules())
    with torch.no_grad():
        for name, conv, norm in _convolutions(stages):
            source = learnt[name]
            assert isinstance(source, FoldedConv) and isinstance(conv.weight, Tensor)
            conv.weight.copy_(source.weight)
            if norm is None:
                assert conv.bias is not None
                conv.bias.copy_(source.bias)
                continue
            norm.weight.fill_(1)
            norm.bias.copy_(source.bias)
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)


class FoldedConv(nn.Module):
    """A convolution whose weights are float32 and whose arithmetic is in the dtype of its input."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().clone())
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone()
        self.bias = nn.Parameter(bias)
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.groups = conv.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is filtered on its own by a square kernel, undilated: what `Depthwise` computes."""
        one_each = self.weight.shape[:2] == (self.groups, 1)
        square = self.weight.shape[2] == self.weight.shape[3] and self.stride[0] == self.stride[1]
        return one_each and square and self.padding[0] == self.padding[1] and self.dilation == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        if self.is_depthwise and x.device.type == "cpu":
            # The bias is added apart: with it, oneDNN computes the weight's gradient too, the slow way.
            found = Depthwise.apply(x, weight, self.stride[0], self.padding[0])
            assert isinstance(found, Tensor)
            return found + bias[:, None, None]
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class Depthwise(torch.autograd.Function):
    """x (N, C, H, W), weight (C, 1, k, k) -> (N, C, H', W'), each channel filtered on its own."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _input_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Stride 1: oneDNN's own. Else: the gradient with zeros between its cells, filtered by the flipped kernel."""
    if stride == 1:
        return _one_gradient(gradient, x, weight, stride, padding, of_input=True)
    rows, channels, height, width = x.shape
    edge = weight.shape[2] - 1
    size = (rows, channels, height + 2 * padding + edge, width + 2 * padding + edge)
    spread = gradient.new_zeros(size).contiguous(memory_format=torch.channels_last)
    bottom, right = (edge + (length - 1) * stride + 1 for length in gradient.shape[2:])
    spread[:, :, edge:bottom:stride, edge:right:stride] = gradient
    found = F.conv2d(spread, weight.flip(2, 3), None, 1, 0, 1, channels)
    return found[:, :, padding : padding + height, padding : padding + width]


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Kernel 5: four 3 x 3 gradients of shifted inputs, which overlap in the middle row and column."""
    kernel = weight.shape[2]
    if kernel != 5:
        return _one_gradient(gradient, x, weight, stride, padding, of_input=False)
    height, width = ((length - 1) * stride + kernel for length in gradient.shape[2:])
    below, right = height - x.shape[2] - padding, width - x.shape[3] - padding
    padded = F.pad(x, (padding, right, padding, below))
    found = torch.empty_like(weight)
    three = weight[:, :, :3, :3].contiguous(memory_format=torch.channels_last)
    for row in (0, 2):
        for column in (0, 2):
            part = padded[:, :, row : row + height - 2, column : column + width - 2]
            part = part.contiguous(memory_format=torch.channels_last)
            found[:, :, row : row + 3, column : column + 3] = _one_gradient(
                gradient, part, three, stride, 0, of_input=False
            )
    return found


def _one_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, *, of_input: bool
) -> Tensor:
    wanted = [of_input, not of_input, False]
    strides, paddings = [stride, stride], [padding, padding]
    found = _backward(gradient, x, weight, [0], strides, paddings, [1, 1], False, [0, 0], x.shape[1], wanted)
    return found[0 if of_input else 1]


def quicken(module: nn.Module) -> None:
    """Exchange the convolutions inside for such as are trained fast, under the same names."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(module, name, FoldedConv(child))
        else:
            quicken(child)


def _convolutions(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]]:
    """Every convolution below, its dotted name, and the BatchNorm that `fold_batchnorm` folds into it."""
    children = [*module.named_children(), ("", nn.Identity())]
    found = []
    for (name, child), (_, following) in pairwise(children):
        if isinstance(child, nn.Conv2d):
            found.append((prefix + name, child, following if isinstance(following, nn.BatchNorm2d) else None))
        else:
            found += _convolutions(child, f"{prefix}{name}.")
    return found
