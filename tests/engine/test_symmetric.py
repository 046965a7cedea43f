"""A network that sees both sides, against two passes of the network itself."""

from __future__ import annotations

import torch

from foveal import nets
from foveal.engine.symmetric import Symmetric
from foveal.inputs import Image


def test_maps_are_means_of_both_sides() -> None:
    torch.manual_seed(0)
    net = nets.find("scratch").build(Image(32)).eval()
    x = torch.randn(4, 3, 32, 32)
    both = Symmetric(net).eval()
    with torch.inference_mode():
        found, turned = both(x), both(x.flip(-1))
        upright, mirrored = net.double()(x.double()), net(x.double().flip(-1))
    for level, other, one, two in zip(found, turned, upright, mirrored, strict=True):
        torch.testing.assert_close(level.double(), (one + two.flip(-1)) / 2, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other, level.flip(-1), atol=1e-5, rtol=1e-5)


def test_it_is_known_by_the_same_names() -> None:
    net = nets.find("scratch").build(Image(32))
    both = Symmetric(net)
    assert both.state_dict().keys() == net.state_dict().keys()
    assert both.symmetric and not net.symmetric
