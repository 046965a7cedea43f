"""The operation that everything here rests on: a kernel slid over an input, products summed to one value a position.

Knows arrays of numbers; it is for understanding and runs in numpy, in float64. Networks are trained with torch's
own. Does not know where an input or a kernel comes from.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from foveal.errors import UsageError

PerAxis = int | Sequence[int]
"""One whole number for all axes that are slid over, or one for each."""


@dataclass(frozen=True, eq=False)
class Position:
    """The arithmetic of one value of the map; window and products have the kernel's shape.

    index: where the value stands in the map. window: the input under the kernel, 0 where padding is. products:
    window times kernel, cell by cell. total: their sum.
    """

    index: tuple[int, ...]
    window: np.ndarray
    products: np.ndarray
    total: float


@dataclass(frozen=True, eq=False)
class Convolution:
    """A finished convolution: what went in, the map, and on request the arithmetic of each position.

    f, g and map are float64; stride, padding and dilation have one entry for each axis that is slid over. Iterating
    gives every `Position` in the map's order, the last axis fastest.
    """

    f: np.ndarray
    g: np.ndarray
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    flip: bool
    map: np.ndarray

    @property
    def kernel(self) -> np.ndarray:
        """`g` as it lies on the input: reversed along the axes that are slid over where `flip` is set."""
        return _flipped(self.g, len(self.stride)) if self.flip else self.g

    def at(self, *index: int) -> Position:
        """The window, products and sum behind one value of the map. Raises UsageError outside the map."""
        inside = len(index) == self.map.ndim and all(
            0 <= i < length for i, length in zip(index, self.map.shape, strict=True)
        )
        if not inside:
            raise UsageError(
                f"position {index}: expected {self.map.ndim} whole numbers from 0, inside a map of "
                f"{_numbers(self.map.shape)}"
            )
        kernel = self.kernel
        window = np.zeros(kernel.shape)
        inputs, cells = zip(*(self._reach(axis, i) for axis, i in enumerate(index)), strict=True)
        window[..., *cells] = self.f[..., *inputs]
        products = window * kernel
        return Position(tuple(index), window, products, float(products.sum()))

    def __iter__(self) -> Iterator[Position]:
        return (self.at(*index) for index in np.ndindex(self.map.shape))

    def __len__(self) -> int:
        return self.map.size

    def _reach(self, axis: int, index: int) -> tuple[slice, slice]:
        """Along one axis: which part of the input a position sees, and which cells of the kernel lie on it."""
        taps, length = _slid(self.g, len(self.stride))[axis], _slid(self.f, len(self.stride))[axis]
        step = self.dilation[axis]
        start = index * self.stride[axis] - self.padding[axis]
        first = max(0, -(start // step))
        end = max(first, min(taps, -((start - length) // step)))
        inputs = slice(start + first * step, start + end * step, step) if end > first else slice(0, 0)
        return inputs, slice(first, end)


@overload
def convolve(
    f: ArrayLike, g: ArrayLike, stride: PerAxis = 1, padding: PerAxis = 0, dilation: PerAxis = 1, flip: bool = False,
    *, steps: Literal[False] = False,
) -> np.ndarray:  # fmt: skip
    """The map alone."""


@overload
def convolve(
    f: ArrayLike, g: ArrayLike, stride: PerAxis = 1, padding: PerAxis = 0, dilation: PerAxis = 1, flip: bool = False,
    *, steps: Literal[True],
) -> Convolution:  # fmt: skip
    """The map, and the arithmetic of every position."""


def convolve(
    f: ArrayLike,
    g: ArrayLike,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    flip: bool = False,
    *,
    steps: bool = False,
) -> np.ndarray | Convolution:
    """Slide the kernel g over the input f; each value of the map is the sum of the products at one position.

    f: (L,) or (H, W), with g of as many axes; or (C, H, W) with g (C, h, w), where the sum runs over the channels
    too and the map is (H', W'). In one dimension, with n values, k taps, stride s, padding p and dilation d:

        map[i] = sum over j of f[i*s - p + j*d] * g[j],   i = 0 ... floor((n + 2p - d*(k-1) - 1) / s)

    where f is 0 outside. That is cross-correlation, and it is what networks compute. Convolution in mathematics
    reads the kernel backwards, g[k-1-j], which makes f * g = g * f; `flip` does so, along every axis but the
    channels. A network learns its kernels: it would learn the same ones, turned around, and nothing else would
    change, so they leave the flip out and keep the name. A symmetric kernel gives the same map either way.

    stride, padding, dilation: whole numbers, one for all axes that are slid over or one for each. Returns the map,
    float64; with steps, a `Convolution`, which also has every position's window, products and sum. Raises UsageError
    where the arrays are no finite numbers, do not fit each other, or the kernel is larger than the padded input.
    """
    f, g = _array(f, "the input"), _array(g, "the kernel")
    if f.ndim != g.ndim or f.ndim > 3:
        raise UsageError(
            f"the input has shape {f.shape}, the kernel {g.shape}: expected both of 1 axis, both "
            f"of 2, or both of 3 with the channels first"
        )
    if f.ndim == 3 and len(f) != len(g):
        raise UsageError(f"the input has {len(f)} channels, the kernel {len(g)}; expected as many")
    axes = min(f.ndim, 2)
    strides, paddings, dilations = (
        _per_axis(value, axes, name, least)
        for value, name, least in ((stride, "stride", 1), (padding, "padding", 0), (dilation, "dilation", 1))
    )
    kernel = _flipped(g, axes) if flip else g
    result = _slide(f, kernel, strides, paddings, dilations)
    return Convolution(f, g, strides, paddings, dilations, bool(flip), result) if steps else result


def _map_shape(
    f: tuple[int, ...], g: tuple[int, ...], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """How many positions there are along each axis. Raises UsageError where the kernel does not fit even once."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(g, dilation, strict=True))
    padded = tuple(n + 2 * p for n, p in zip(f, padding, strict=True))
    if any(r > n for r, n in zip(reach, padded, strict=True)):
        raise UsageError(
            f"the kernel reaches over {_numbers(reach)}, the padded input is {_numbers(padded)}; take a smaller "
            f"kernel or dilation, or more padding"
        )
    return tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True))


def _slide(
    f: np.ndarray, kernel: np.ndarray, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> np.ndarray:
    """Tap by tap instead of position by position: the same sums, in the memory of one map instead of k."""
    axes = len(stride)
    shape = _map_shape(_slid(f, axes), _slid(kernel, axes), stride, padding, dilation)
    padded = np.pad(f, [(0, 0)] * (f.ndim - axes) + [(p, p) for p in padding])
    total = np.zeros(shape)
    for tap in np.ndindex(*_slid(kernel, axes)):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        seen = tuple(slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, stride, shape, strict=True))
        total += np.tensordot(kernel[..., *tap], padded[..., *seen], axes=kernel.ndim - axes)
    return total


def _array(values: ArrayLike, what: str) -> np.ndarray:
    """As float64; refused where it is no block of finite real numbers, or empty."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{what}: expected rows of one length, all of numbers ({error})") from error
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{what}: expected real numbers, found values of type {array.dtype}")
    if array.ndim == 0 or not array.size:
        raise UsageError(f"{what}: expected values along 1 to 3 axes, found an array of shape {array.shape}")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise UsageError(f"{what}: expected finite numbers, found {numbers[first]} at {first}")
    return numbers


def _per_axis(value: PerAxis, axes: int, name: str, least: int) -> tuple[int, ...]:
    given: Any = value
    try:
        one = np.ndim(given) == 0
        found = (operator.index(given),) * axes if one else tuple(operator.index(v) for v in given)
    except TypeError:
        found = ()
    if len(found) != axes or min(found) < least:
        each = "" if axes == 1 else f", or {axes} of them"
        raise UsageError(f"{name}: expected a whole number from {least}{each}; found {value!r}")
    return found


def _slid(array: np.ndarray, axes: int) -> tuple[int, ...]:
    """The lengths of the axes that are slid over: the last ones."""
    return array.shape[array.ndim - axes :]


def _flipped(kernel: np.ndarray, axes: int) -> np.ndarray:
    return np.flip(kernel, tuple(range(kernel.ndim - axes, kernel.ndim)))


def _numbers(values: Sequence[int]) -> str:
    return " x ".join(str(value) for value in values)
