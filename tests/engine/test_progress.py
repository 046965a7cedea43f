"""Moments of a training: few and spread, the same to the bit after a kill, forgotten by a rollback, and harmless."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.progress import MOST_MOMENTS, Kept, kept, moments, watched
from foveal.types import Output, Truth

ROWS, BATCH, STEPS, SNAPSHOTS = 24, 8, 60, 7
POINTWISE, WIDE = (40, 3, 1, 1), (40, 1, 3, 3)


class Pictures:
    """Noise and its mean; from one call on, for so many calls, the truth is no number."""

    def __init__(self, poisoned: range = range(0)) -> None:
        self.x = torch.randn(ROWS, 3, 40, 9, generator=torch.Generator().manual_seed(0))
        self.poisoned, self.calls = poisoned, 0

    def __len__(self) -> int:
        return ROWS

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        self.calls += 1
        y = self.x[rows].mean((1, 2, 3))
        return (self.x[rows],), {"y": y * float("nan") if self.calls - 1 in self.poisoned else y}


class Net(nn.Module):
    """BatchNorm before and behind, and dropout: all that a careless look would change."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        first = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)).requires_grad_(False)
        wide = nn.Conv2d(40, 40, 3, padding=1, groups=40)
        second = nn.Sequential(nn.Conv2d(3, 40, 1), nn.BatchNorm2d(40), wide, nn.Dropout(0.2))
        self.stages = nn.ModuleList([first, second])

    def forward(self, x: Tensor) -> Output:
        for stage in self.stages:
            x = stage(x)
        return {"y": x.mean((1, 2, 3))}


def loss(output: Output, truth: Truth) -> dict[str, Tensor]:
    return {"square": (output["y"] - truth["y"]).square().mean()}


def fitting(batches: Pictures, start: State | None = None, *, is_watched: bool = True) -> Fitting:
    net = Net().train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    seen = watched(net, net.stages, [3, 5], (batches.x[[3, 5]],)) if is_watched else None
    return Fitting(net, loss, batches, optimizer, Schedule(STEPS, BATCH, 5, SNAPSHOTS), start, watched=seen)


def run(one: Fitting, upto: int = STEPS) -> Fitting:
    for step in one:
        if step.done == upto:
            break
    return one


def found(one: Fitting) -> Kept:
    result = kept(one.state(State()))
    assert result is not None
    return result


def everything(one: Fitting) -> Any:
    result = found(one)
    return result.steps, result.channels, result.filters.tolist(), result.maps.tolist()


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_moments_are_few_and_spread(steps: int, per_epoch: int) -> None:
    chosen = moments(steps, per_epoch)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, steps)
    assert len(chosen) <= MOST_MOMENTS
    assert all(step < per_epoch or step % per_epoch == 0 for step in chosen[:-1])
    gaps = [after - before for before, after in pairwise(chosen)]
    assert gaps[0] <= max(1, steps // 100, 2 * per_epoch)
    if steps >= 20 * per_epoch:
        assert len(chosen) > 8


def test_they_begin_before_training_and_end_with_what_was_learnt() -> None:
    one = run(fitting(Pictures()))
    result = found(one)
    assert result.steps == moments(STEPS, ROWS // BATCH)
    assert result.epochs[-1] == STEPS / 3
    assert (result.rows, result.outputs, result.looked_at) == ([3, 5], 40, 20)
    for module, index in ((Net(), 0), (one.module, -1)):
        weight = module.get_submodule(result.layer).get_parameter("weight")
        assert torch.equal(result.filters[index], weight[result.channels].half())
    changes = (result.filters[-1].float() - result.filters[0].float()).flatten(1).norm(dim=1)
    assert changes.tolist() == sorted(changes.tolist(), reverse=True)


def test_the_maps_are_those_of_the_layer_that_is_named() -> None:
    one = run(fitting(Pictures()))
    result, module = found(one), one.module.eval()
    assert result.layer == "stages.1.2"  # the first that is trained is of single cells
    with torch.no_grad():
        entered = module.get_submodule("stages.1.1")(
            module.get_submodule("stages.1.0")(module.get_submodule("stages.0")(Pictures().x[[3, 5]]))
        )
        left = module.get_submodule("stages.1.2")(entered)[:, result.channels].transpose(0, 1)
    assert result.maps.shape == (len(result.steps), 8, 2, 32, 7)
    assert left.shape[3:] == (7,)
    averaged = nn.functional.adaptive_avg_pool2d(left, (32, 7))
    torch.testing.assert_close(result.maps[-1].float(), averaged, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("killed_after", [1, 8, 30, 59])
def test_killed_and_resumed_it_keeps_the_same_to_the_bit(killed_after: int) -> None:
    state = run(fitting(Pictures()), killed_after).state(State())
    state = State(state.position, history=tuple(json.loads(json.dumps(state.history))), tensors=state.tensors)
    assert everything(run(fitting(Pictures(), state))) == everything(run(fitting(Pictures())))


def test_a_rollback_forgets_what_came_after_the_snapshot() -> None:
    """Half the rate: what is seen after it differs, and what was seen before it stays."""
    one = fitting(Pictures(poisoned=range(20, 21)))
    steps = iter(one)
    seen = [next(steps).done for _ in range(21)]
    assert seen[-2:] == [20, 15]  # back to the snapshot at 14, and 18 was one of the moments
    assert filters_by_step(one).keys() == {step for step in moments(STEPS, 3) if step <= 14}
    found, plain = filters_by_step(run(one)), filters_by_step(run(fitting(Pictures())))
    assert list(found) == list(plain) == moments(STEPS, 3)
    assert [torch.equal(found[step], plain[step]) for step in found] == [step <= 14 for step in found]


def filters_by_step(one: Fitting) -> dict[int, Tensor]:
    """What it keeps so far."""
    tensors = one.progress.tensors()
    return {int(name.split(".")[1]): tensor for name, tensor in tensors.items() if name.endswith(".filters")}


def test_stopped_early_the_last_moment_is_kept() -> None:
    one = fitting(Pictures())
    for step in one:
        if step.done == 11:
            one.stop()
    assert found(one).steps == [*(step for step in moments(STEPS, 3) if step < 11), 11]


def test_looking_changes_nothing() -> None:
    """Neither weights nor running statistics nor dropout."""
    looked, plain = run(fitting(Pictures())), run(fitting(Pictures(), is_watched=False))
    assert kept(plain.state(State())) is None
    assert looked.module.training
    other = plain.module.state_dict()
    for name, tensor in looked.module.state_dict().items():
        assert torch.equal(tensor, other[name]), name


def test_nothing_is_watched_where_no_convolution_is_trained() -> None:
    net = Net().requires_grad_(False)
    assert watched(net, net.stages, [0], (Pictures().x[:1],)) is None


def test_however_wide_the_filters_it_stays_small() -> None:
    filters = torch.zeros(16, 4000, 3, 3, dtype=torch.float16)
    names = ("filters", "maps")
    pairs = (filters, torch.zeros(16, 3, 32, 32, dtype=torch.float16))
    tensors = {f"progress.{s}.{n}": t for s in range(12) for n, t in zip(names, pairs, strict=True)}
    entry = {"progress": "x", "layer": "y", "outputs": 16, "channels": list(range(16)), "rows": [0, 1, 2]}
    state = State(history=({**entry, "per_epoch": 1, "steps": list(range(12))},), tensors=tensors)
    result = kept(state)
    assert result is not None
    assert 2 * (result.filters.numel() + result.maps.numel()) < 1_000_000
