"""A filter taken out of a network computes what the network's own layer computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from foveal import nets
from foveal.contracts import Task
from foveal.convolution import convolve
from foveal.errors import UsageError
from foveal.explain.filters import Filter, filter_at
from foveal.inputs import Image
from foveal.model import Model
from foveal.targets import Classes
from tests.photos import texture
from tests.toys import ToyNet, ToyText

RAW = texture("rings", np.random.default_rng(0))


def classes() -> Classes:
    return Classes(class_names=("a", "b"))


@pytest.fixture(scope="module")
def lite0() -> tuple[Model, Task]:
    task = Task("classify", Image(96), classes())
    return Model(task, nets.pretrained("lite0")), task


def agrees(one: Filter) -> bool:
    found = convolve(one.f, one.g, one.stride, one.padding, one.dilation) + one.bias
    assert found.shape == one.output.shape
    return float(np.abs(found - one.output).max()) <= 1e-4 * max(1.0, float(np.abs(one.output).max()))


@pytest.mark.parametrize(
    ("layer", "channel", "shape", "stride", "first", "name"),
    [
        (0, 5, (3, 3, 3), (2, 2), 0, "stages.0.0.1"),
        (1, 3, (1, 3, 3), (1, 1), 3, "stages.0.1.body.0.0"),
        (2, 0, (32, 1, 1), (1, 1), 0, "stages.0.1.body.1.0"),
        (4, 95, (1, 3, 3), (2, 2), 95, "stages.1.0.body.1.1"),
        (48, 1279, (320, 1, 1), (1, 1), 0, "stages.7.0"),
    ],
)
def test_it_computes_what_the_layer_does(
    lite0: tuple[Model, Task], layer: int, channel: int, shape: tuple, stride: tuple, first: int, name: str
) -> None:
    one = filter_at(*lite0, RAW, str(layer), str(channel))
    assert (one.layer, one.channel, one.name) == (layer, channel, name)
    assert (one.layers, one.g.shape, one.stride, one.first) == (49, shape, stride, first)
    assert agrees(one)
    assert np.ptp(one.output) > 0
    by_name = filter_at(*lite0, RAW, name, str(channel))
    np.testing.assert_array_equal(by_name.output, one.output)


def test_the_input_is_the_reference_paths(lite0: tuple[Model, Task]) -> None:
    """The first convolution sees what the stem gives, padded as the net pads it."""
    model, task = lite0
    x = model.stem(task.input.tensor(RAW))[0][0].numpy()
    one = filter_at(model, task, RAW, "0", "0")
    np.testing.assert_array_equal(one.f[:, :96, :96], x)
    assert not one.f[:, 96:].any()
    assert not one.f[:, :, 96:].any()


def test_a_net_is_left_as_it_was(lite0: tuple[Model, Task]) -> None:
    before = {name: value.clone() for name, value in lite0[0].state_dict().items()}
    filter_at(*lite0, RAW, "3", "3")
    assert all(torch.equal(value, before[name]) for name, value in lite0[0].state_dict().items())
    assert not any(module._forward_hooks for module in lite0[0].modules())


def test_groups_bias_padding_and_dilation() -> None:
    net = ToyNet(2)
    torch.manual_seed(0)
    net.stages[1] = nn.Conv2d(8, 16, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1), groups=4)
    task = Task("classify", Image(64), classes())
    one = filter_at(Model(task, net), task, RAW, "stages.1", "9")
    assert (one.first, one.inputs, one.f.shape[0], one.g.shape) == (4, 8, 2, (2, 3, 2))
    assert one.bias == net.stages[1].bias.tolist()[9]
    assert agrees(one)


def test_lines_are_planes_of_one_row() -> None:
    task = Task("text", ToyText(64), classes())
    net = ToyNet(1, inputs=task.input.stem()(task.input.tensor("some words"))[0].shape[1])
    one = filter_at(Model(task, net), task, "some words", "1", "2")
    assert (one.g.shape, one.stride, one.padding, one.dilation) == ((8, 1, 3), (1, 2), (0, 1), (1, 1))
    assert one.f.shape[1] == one.output.shape[0] == 1
    assert agrees(one)


@pytest.mark.parametrize(
    ("layer", "channel", "expected"),
    [
        ("49", "0", r"no layer '49': the network has 49 convolutions, numbered from 0, or by name \(stages.0.0.1 to"),
        ("-1", "0", "no layer '-1'"),
        ("stages.0", "0", "no layer 'stages.0'"),
        ("0", "32", r"no channel '32': convolution 0 \(stages.0.0.1\) has 32, numbered from 0"),
        ("0", "x", "no channel 'x'"),
    ],
)
def test_what_is_not_there_is_named(lite0: tuple[Model, Task], layer: str, channel: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        filter_at(*lite0, RAW, layer, channel)
