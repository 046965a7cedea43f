"""Fitting: resumable to the bit, and not thrown off by a loss that is no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.errors import FovealError
from foveal.types import Output, Truth

ROWS, STEPS = 24, 60


class Line:
    """y = 3 a - 2 b; from one call on, for so many calls, the truth is no number."""

    def __init__(self, poisoned: range = range(0)) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(ROWS, 2, generator=generator)
        self.poisoned, self.calls = poisoned, 0

    def __len__(self) -> int:
        return ROWS

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        y = self.x[rows] @ torch.tensor([[3.0], [-2.0]])
        self.calls += 1
        return (self.x[rows],), {"y": y * float("nan") if self.calls - 1 in self.poisoned else y}


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.line = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Output:
        return {"y": self.line(x)}


def loss(output: Output, truth: Truth) -> dict[str, Tensor]:
    return {"square": (output["y"] - truth["y"]).square().mean()}


def fitting(batches: Line, start: State | None = None, snapshot_steps: int = 7) -> Fitting:
    module = Named()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.3)
    return Fitting(module, loss, batches, optimizer, Schedule(STEPS, 8, 5, snapshot_steps), start)


def weights(one: Fitting) -> list[float]:
    return [float(value) for tensor in one.module.state_dict().values() for value in tensor.flatten()]


def points_of(one: Fitting) -> Any:
    """The training's losses as its state's history keeps them."""
    (entry,) = one.state(State()).history
    return entry["points"]


def test_it_learns_and_says_so() -> None:
    one = fitting(Line())
    steps = list(one)
    assert [step.done for step in steps] == list(range(1, STEPS + 1))
    assert steps[-1].values["square"] < 0.01 * steps[0].values["square"]
    assert points_of(one) == [[step.done, step.values] for step in steps]


@pytest.mark.parametrize("killed_after", [1, 6, 7, 8, 30, 59])
def test_it_goes_on_from_a_snapshot_to_the_bit(killed_after: int) -> None:
    whole = fitting(Line())
    for _ in whole:
        pass
    killed = fitting(Line())
    for step in killed:
        if step.done == killed_after:
            break
    resumed = fitting(Line(), killed.state(State()))
    assert resumed.done == killed_after // 7 * 7
    for _ in resumed:
        pass
    assert weights(resumed) == weights(whole)
    assert resumed.state(State()).history == whole.state(State()).history


def test_a_loss_that_is_no_number_takes_it_back_at_half_the_rate() -> None:
    one = fitting(Line(poisoned=range(20, 21)))
    done = [step.done for step in one]
    assert one.rollbacks == 1
    assert [step for step, _ in points_of(one)] == list(range(1, STEPS + 1))
    assert done == [*range(1, 21), *range(15, STEPS + 1)]
    assert max(group["lr"] for group in one.optimizer.param_groups) <= 0.15
    assert all(torch.isfinite(tensor).all() for tensor in one.module.state_dict().values())


def test_the_rollback_survives_a_kill() -> None:
    killed = fitting(Line(poisoned=range(20, 21)))
    for step in killed:
        if step.done == 30:
            break
    state = killed.state(State())
    assert state.position["rollbacks"] == 1
    assert fitting(Line(), state).rollbacks == 1


def test_the_fourth_time_it_fails_and_says_where() -> None:
    with pytest.raises(FovealError, match=r"square.*nan.*step 20 of 60"):
        for _ in fitting(Line(poisoned=range(20, 10_000)), snapshot_steps=20):
            pass


def test_stopping_early_is_an_end_like_any_other() -> None:
    one = fitting(Line())
    for step in one:
        if step.done == 10:
            one.stop()
    assert one.kept == one.done == len(points_of(one)) == 10
