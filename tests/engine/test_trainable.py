"""Stages made ready for gradient steps: the same numbers as PyTorch's own layers, both ways, and put back."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal import nets
from foveal.engine.tail import Tail
from foveal.engine.trainable import Depthwise, trainable, write_back
from foveal.engine.views import Trunk
from foveal.targets import Masks


def run(stages: nn.ModuleList, x: Tensor) -> Tensor:
    for stage in stages:
        x = stage(x)
    return x


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("size", [(9, 12), (14, 7), (11, 11)])
def test_depthwise_gradients_are_those_of_pytorch(
    kernel: int, stride: int, padded: bool, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(kernel * 10 + stride)
    padding = kernel // 2 if padded else 0
    x = torch.randn(2, 4, *size, generator=generator, dtype=torch.float64).float().requires_grad_()
    weight = torch.randn(4, 1, kernel, kernel, generator=generator).requires_grad_()
    ours = Depthwise.apply(x, weight, stride, padding)
    assert isinstance(ours, Tensor)
    reference = F.conv2d(x.double(), weight.double(), None, stride, padding, 1, 4)
    assert torch.allclose(ours.double(), reference, atol=1e-5)
    towards = torch.randn(reference.shape, generator=generator)
    found = torch.autograd.grad(ours, (x, weight), towards)
    expected = torch.autograd.grad(reference, (x, weight), towards.double())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_trainable_copy_computes_the_same_and_leaves_the_original_alone() -> None:
    net = nets.pretrained("lite0")
    before = copy.deepcopy(net.state_dict())
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    stages = trainable(net.stages)
    assert isinstance(stages, nn.ModuleList)
    with torch.no_grad():
        torch.testing.assert_close(run(stages, x), net(x)[-1], atol=1e-3, rtol=1e-4)
        for parameter in stages.parameters():
            parameter.mul_(1.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_what_was_learnt_is_put_back() -> None:
    net = nets.pretrained("lite0")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    stages = trainable(net.stages[4:])
    assert isinstance(stages, nn.ModuleList)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in stages.parameters():
            parameter += 0.05 * parameter.abs().mean() * torch.randn_like(parameter)
        middle = net(x)[3]
        learnt = run(stages, middle)
        write_back(stages, net.stages[4:])
        torch.testing.assert_close(net(x)[-1], learnt, atol=1e-3, rtol=1e-4)


def test_gradients_of_a_whole_network_are_those_of_pytorch() -> None:
    """In float64 the only difference to plain layers is the order of sums."""
    net = nets.pretrained("lite0").double()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    stages = trainable(net.stages)
    assert isinstance(stages, nn.ModuleList)
    run(stages, x).square().mean().backward()
    plain = torch.autograd.grad(net(x)[-1].square().mean(), net.stages[0][0][1].weight)[0]  # type: ignore[index]
    ours = stages[0][0][1].weight.grad  # type: ignore[index]
    norm = net.stages[0][0][2]  # type: ignore[index]
    folded = norm.weight / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(ours * folded[:, None, None, None], plain, rtol=1e-6, atol=1e-9)


def test_layers_of_a_head_learn_in_half_precision_what_they_would_in_float32() -> None:
    """And what they add to is not rounded."""
    torch.manual_seed(0)
    net, target = nets.pretrained("lite0"), Masks(("ground", "cell", "border"), neck=16)
    head = target.head(net.channels, net.strides)
    boundary = head.depth(len(net.stages))
    with torch.no_grad():
        pieces = Trunk(net, head, boundary).eval().pieces(torch.randn(2, 3, 96, 96))
        head.neck.standardise([pieces[stage] for stage in head.stages])
        head.weight.normal_(std=0.05)
    truth = {"mask": torch.randint(3, (2, 96, 96), dtype=torch.uint8)}
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        tail = Tail(net, head, boundary).eval()
        given = [*pieces[:-1], pieces[-1].to(dtype)]
        said = tail(*given)["cells"]
        assert said.dtype == torch.float32
        torch.testing.assert_close(said, head.read(head.join(pieces))["cells"])
        with torch.no_grad():
            tail.head.neck.read.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
        torch.stack(list(target.loss(tail(*given), truth).values())).sum().backward()
        found[dtype] = [p.grad.flatten() for p in tail.head.parameters() if p.grad is not None]
    assert len(found[torch.float32]) > 20
    for own, lower in zip(*found.values(), strict=True):
        assert F.cosine_similarity(own, lower, dim=0) > 0.99
    assert not torch.equal(found[torch.float32][-1], found[torch.bfloat16][-1])
