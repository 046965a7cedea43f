"""The operation itself: the same numbers as torch and scipy, each the sum of the products that it shows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import foveal
from foveal.convolution import Convolution
from foveal.errors import UsageError
from foveal.kernels import LINE, PLANE


class Case(NamedTuple):
    """An input, a kernel that fits it, and how it is slid."""

    f: np.ndarray
    g: np.ndarray
    options: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """1-D, 2-D and with channels; the kernel fits the padded input at least once."""
    axes, channels = draw(st.sampled_from([(1, None), (2, None), (2, 1), (2, 3)]))

    def each(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    stride, padding, dilation, taps = each(1, 3), each(0, 3), each(1, 3), each(1, 4)
    smallest = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(taps, dilation, padding, strict=True)]
    lengths = tuple(n + draw(st.integers(0, 7)) for n in smallest)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    first = () if channels is None else (channels,)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "flip": draw(st.booleans())}
    return Case(rng.normal(size=first + lengths), rng.normal(size=first + taps), options)


def by_torch(case: Case) -> np.ndarray:
    """torch's own, in float64; it never flips, so the kernel is turned around for it."""
    axes = len(case.options["stride"])
    g = np.flip(case.g, tuple(range(case.g.ndim - axes, case.g.ndim))).copy() if case.options["flip"] else case.g
    with_channel = case.f.ndim == axes
    x, weight = (torch.from_numpy(a[None] if with_channel else a)[None] for a in (case.f, g))
    slide = {1: F.conv1d, 2: F.conv2d}[axes]
    rest = {name: case.options[name] for name in ("stride", "padding", "dilation")}
    return slide(x, weight, **rest)[0, 0].numpy()


@given(cases())
def test_the_map_is_torchs(case: Case) -> None:
    np.testing.assert_allclose(foveal.convolve(case.f, case.g, **case.options), by_torch(case), rtol=0, atol=1e-12)


@given(cases())
def test_every_value_is_the_sum_of_its_products(case: Case) -> None:
    found = foveal.convolve(case.f, case.g, **case.options, steps=True)
    padded = np.pad(case.f, [(0, 0)] * (case.f.ndim - found.map.ndim) + [(p, p) for p in found.padding])
    positions, taps = list(found), case.g.shape[-found.map.ndim :]
    assert [position.index for position in positions] == list(np.ndindex(found.map.shape))
    assert len(found) == len(positions) == found.map.size
    for position in positions:
        reach = tuple(
            slice(i * s, i * s + d * (k - 1) + 1, d)
            for i, s, d, k in zip(position.index, found.stride, found.dilation, taps, strict=True)
        )
        np.testing.assert_array_equal(position.window, padded[..., *reach])
        np.testing.assert_array_equal(position.products, position.window * found.kernel)
        assert position.total == position.products.sum()
        assert position.total == pytest.approx(found.map[position.index], abs=1e-12)


@given(cases())
def test_the_map_is_scipys(case: Case) -> None:
    """Where scipy can: step and dilation of 1."""
    f = np.pad(case.f, [(0, 0)] * (case.f.ndim - 2) + [(3, 3)] * min(case.f.ndim, 2))
    slide = signal.convolve if case.options["flip"] else signal.correlate
    pairs = zip(f, case.g, strict=True) if f.ndim == 3 else [(f, case.g)]
    expected = sum(slide(a, b, mode="valid", method="direct") for a, b in pairs)
    found = foveal.convolve(f, case.g, flip=case.options["flip"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_flip_is_what_makes_the_order_not_matter() -> None:
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=7), rng.normal(size=4)
    there, back = (foveal.convolve(a, b, padding=len(b) - 1, flip=True) for a, b in ((f, g), (g, f)))
    np.testing.assert_allclose(there, back, atol=1e-12)
    np.testing.assert_allclose(there, np.convolve(f, g), atol=1e-12)
    assert not np.allclose(foveal.convolve(f, g, padding=3), foveal.convolve(g, f, padding=6))


def test_by_hand() -> None:
    found = foveal.convolve([3, 1, 4, 1, 5], [1, 0, -1], padding=1, steps=True)
    assert isinstance(found, Convolution)
    assert found.map.tolist() == [-1, -1, 0, -1, 1]
    first, last = found.at(0), found.at(4)
    assert (first.window.tolist(), first.products.tolist(), first.total) == ([0, 3, 1], [0, 0, -1], -1)
    assert (last.window.tolist(), last.total) == ([1, 5, 0], 1)
    assert foveal.convolve([[1, 2], [3, 4]], [[1, 1], [1, 1]]).tolist() == [[10]]
    assert foveal.convolve([True, False, True], [1, 1]).tolist() == [1, 1]


def test_nothing_that_is_given_is_changed() -> None:
    f, g = np.arange(6.0).reshape(2, 3), np.ones((1, 2))
    found = foveal.convolve(f, g, padding=1, flip=True, steps=True)
    list(found)
    assert f.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert g.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("f", "g", "options", "expected"),
    [
        ([1, 2], [1, 2, 3], {}, "reaches over 3, the padded input is 2"),
        (np.ones((5, 5)), np.ones((3, 3)), {"dilation": (1, 3)}, "reaches over 3 x 7, the padded input is 5 x 5"),
        ([1, 2], [[1, 2]], {}, r"shape \(2,\), the kernel \(1, 2\)"),
        (np.ones((2, 3, 4, 4)), np.ones((2, 3, 1, 1)), {}, "both of 3 with the channels first"),
        (np.ones((2, 4, 4)), np.ones((3, 1, 1)), {}, "the input has 2 channels, the kernel 3"),
        ([], [1], {}, r"the input: expected values along 1 to 3 axes, found an array of shape \(0,\)"),
        ([1], 2, {}, r"the kernel: expected values .* shape \(\)"),
        (["a"], [1], {}, "the input: expected real numbers"),
        ([1j], [1], {}, "complex"),
        ([[1], [1, 2]], [[1]], {}, "the input: expected rows of one length"),
        ([None, 1], [1], {}, "object"),
        ([[1, 2], [3, np.nan]], [[1]], {}, r"found nan at \(1, 1\)"),
        ([1], [np.inf], {}, r"the kernel: .* found inf at \(0,\)"),
        ([1, 2], [1], {"stride": 0}, "stride: expected a whole number from 1; found 0"),
        ([1, 2], [1], {"stride": 1.5}, "stride: .* found 1.5"),
        ([1, 2], [1], {"stride": (1, 1)}, "stride"),
        (np.ones((2, 2)), np.ones((1, 1)), {"padding": (0, -1)}, "padding: expected a whole number from 0, or 2 of"),
        (np.ones((2, 2)), np.ones((1, 1)), {"dilation": (1,)}, "dilation: expected a whole number from 1, or 2 of"),
        ([1, 2], [1], {"dilation": None}, "dilation"),
        ([1, 2], [1], {"padding": "same"}, "padding"),
    ],
)  # fmt: skip
def test_refused(f: Any, g: Any, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        foveal.convolve(f, g, **options)


@pytest.mark.parametrize("index", [(), (1,), (0, 2), (2, 0), (-1, 0), (0, 0, 0)])
def test_positions_outside_are_refused(index: tuple[int, ...]) -> None:
    found = foveal.convolve(np.ones((3, 3)), np.ones((2, 2)), steps=True)
    with pytest.raises(UsageError, match="inside a map of 2 x 2"):
        found.at(*index)


def test_named_kernels_answer_to_what_they_say() -> None:
    """On a ramp that rises from left to right by 1, in its middle."""
    line, plane = np.arange(9.0), np.tile(np.arange(9.0), (9, 1))
    for kernels, f in ((LINE, line), (PLANE, plane)):
        middle = {name: foveal.convolve(f, kernel.values).flat[0] for name, kernel in kernels.items()}
        assert set(middle) == {"sobel", "scharr", "gauss", "sharpen"}
        assert middle["sobel"] > 0
        assert middle["scharr"] > 0
        for name in ("gauss", "sharpen"):
            width = kernels[name].values.shape[-1]
            assert kernels[name].values.sum() == pytest.approx(1)
            assert middle[name] == pytest.approx(width // 2), "a ramp stays the ramp that it was"
        for name in ("sobel", "scharr"):
            assert np.all(foveal.convolve(np.ones_like(f), kernels[name].values) == 0)
    np.testing.assert_array_equal(PLANE["gauss"].values * 256, np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]))
