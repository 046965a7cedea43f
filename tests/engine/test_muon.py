"""Muon: orthogonalised updates of filters against the singular value decomposition, the rest against AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal.engine.checkpoint import flatten_optimizer, restore_optimizer
from foveal.engine.muon import Muon, adam, orthogonalised, turned


def muon(filters: list[nn.Parameter], others: list[nn.Parameter]) -> Muon:
    return Muon(turned(filters, 0.1, 0.6), adam(others, 0.02, 0.05))


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (64, 64), (1, 9)])
def test_orthogonalised_keeps_the_directions_and_evens_their_weights(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    found = left.T @ orthogonalised(matrix).double() @ right.T
    kept = values > 0.2 * values[0]  # three rounds do not lift what is nearly 0
    assert ((found.diagonal()[kept] > 0.5) & (found.diagonal()[kept] < 1.4)).all()
    assert (found - found.diagonal().diag_embed()).abs().max() < 0.05


def pair(seed: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    generator = torch.Generator().manual_seed(seed)
    filters = [nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator))]
    return filters, [nn.Parameter(torch.randn(5, generator=generator)), nn.Parameter(torch.randn(3, 2))]


def push(parameters: list[nn.Parameter], step: int) -> None:
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.sin(parameter.detach() * (step + 1) + number)


def test_all_but_filters_move_as_by_adamw() -> None:
    _, others = pair(0)
    twins = [nn.Parameter(p.detach().clone()) for p in others]
    own = muon([], others)
    known = torch.optim.AdamW(twins, lr=0.02, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05)
    for step in range(20):
        push(others, step)
        push(twins, step)
        own.step()
        known.step()
    for mine, theirs in zip(others, twins, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_filters_keep_their_norm_but_for_the_last_step() -> None:
    filters, _ = pair(1)
    own = muon(filters, [])
    for step in range(5):
        push(filters, step)
        before = filters[0].detach() * 6**0.5 / filters[0].detach().norm()
        own.step()
        moved = (filters[0].detach() - before).norm()
        assert moved <= 0.1 * 1.5 * 6**0.5  # 6 directions, each by the rate


@pytest.mark.parametrize("shape", [(8, 32, 1, 1), (24, 6, 1, 1), (4, 3, 3, 3)])
def test_free_filters_move_by_the_nearest_matrix_without_weights_and_decay(shape: tuple[int, ...]) -> None:
    one = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(5)))
    before, inputs = one.detach().double(), one[0].numel()
    push([one], 0)
    assert one.grad is not None
    left, values, right = torch.linalg.svd(one.grad.flatten(1).double(), full_matrices=False)
    Muon(turned([one], 0.1, 0.6, decay=0.5)).step()
    moved = (before * (1 - 0.1 * 0.5) - one.detach()).flatten(1)
    weights = (left.T @ moved @ right.T).diagonal()[values > 0.2 * values[0]]
    wanted = 0.1 * max(1.0, shape[0] / inputs) ** 0.5
    assert ((weights > 0.5 * wanted) & (weights < 1.4 * wanted)).all()


def test_filters_of_one_shape_move_as_each_would_alone() -> None:
    together = [*pair(3)[0], *pair(4)[0], nn.Parameter(torch.randn(3, 6, 1, 1))]
    alone = [nn.Parameter(p.detach().clone()) for p in together]
    optimizers = [muon(together, []), *(muon([one], []) for one in alone)]
    for step in range(3):
        push(together, step)
        push(alone, step)
        for optimizer in optimizers:
            optimizer.step()
    for mine, own in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, own, atol=1e-4, rtol=1e-4)


def test_it_goes_on_from_what_was_kept() -> None:
    (filters, others), (again, other_again) = pair(2), pair(2)
    others = [others[0]]
    other_again = [other_again[0]]
    first, second = muon(filters, others), muon(again, other_again)
    for step in range(3):
        push([*filters, *others], step)
        first.step()
    kept = {name: tensor.clone() for name, tensor in flatten_optimizer(first).items()}
    for mine, theirs in zip([*again, *other_again], [*filters, *others], strict=True):
        mine.data.copy_(theirs.data)
    restore_optimizer(second, kept)
    for optimizer, parameters in ((first, [*filters, *others]), (second, [*again, *other_again])):
        push(parameters, 3)
        optimizer.step()
    assert torch.equal(filters[0], again[0])
    assert torch.equal(others[0], other_again[0])
