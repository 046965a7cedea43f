"""Where memory runs out, a batch is computed in parts that add up to it: same gradients and statistics, to rounding.

Memory runs out for real: by tensors that no machine has room for, and by a limit on a process's address space.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.ghosts import batches_of, ghosts, is_out_of_memory, parts
from foveal.errors import FovealError
from foveal.types import Output, Truth

ROWS, BATCH, GHOST, STEPS = 150, 64, 8, 12
ENDLESS = 2**50


class Pictures:
    """Noise whose mean is what is to be said; the last batch of an epoch is shorter than the others."""

    def __init__(self, side: int = 6) -> None:
        self.x = torch.randn(ROWS, 3, side, side, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return ROWS

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        return (self.x[rows],), {"y": self.x[rows].mean((1, 2, 3))}


class Net(nn.Module):
    """Two convolutions, with BatchNorm or without; beyond `room` rows it asks for more memory than there is."""

    def __init__(self, *, norm: bool, room: int = ROWS, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        middle = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), middle, nn.ReLU(), nn.Conv2d(width, 1, 3))
        self.room = room

    def forward(self, x: Tensor) -> Output:
        if len(x) > self.room:
            torch.empty(ENDLESS)
        return {"y": self.layers(x).mean((1, 2, 3))}


def loss(output: Output, truth: Truth) -> dict[str, Tensor]:
    return {"square": (output["y"] - truth["y"]).square().mean()}


def fitting(module: nn.Module, micro_batch: int | None = None, start: State | None = None) -> Fitting:
    decided = {} if micro_batch is None else {"micro_batch": micro_batch}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    schedule = Schedule(STEPS, BATCH, seed=5, snapshot_steps=5)
    return Fitting(module, loss, Pictures(), optimizer, schedule, start or State(decisions=decided), ghost=GHOST)


def trained(module: nn.Module, micro_batch: int | None = None) -> dict[str, Tensor]:
    for _ in fitting(module, micro_batch):
        pass
    return module.state_dict()


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 300))
def test_parts_are_the_same_however_many_are_computed_at_once(count: int, ghost: int, most: int) -> None:
    sizes = parts(count, ghost)
    groups = list(batches_of(sizes, most))
    assert sum(sizes) == count
    assert [size for group in groups for size in group] == sizes
    assert all(2 * size >= min(2 * count, ghost) and 2 * size < 3 * ghost + 1 for size in sizes)
    assert all(len(group) == 1 or sum(group) <= most for group in groups)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("micro_batch", [32, 24, 8])
def test_micro_batches_train_as_the_whole_batch_does(norm: bool, micro_batch: int) -> None:
    whole, split = trained(Net(norm=norm)), trained(Net(norm=norm), micro_batch)
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_without_ghosts_they_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would find if statistics were those of whatever is computed at once."""
    monkeypatch.setattr("foveal.engine.ghosts._by_part", lambda norm, sizes, x: type(norm).forward(norm, x))
    whole, split = trained(Net(norm=True)), trained(Net(norm=True), 8)
    assert any((split[name] - tensor).abs().max() > 1e-3 for name, tensor in whole.items() if "running" in name)


def test_the_network_is_left_as_it_was() -> None:
    module = Net(norm=True)
    names = list(module.state_dict())
    trained(module, 8)
    assert list(module.state_dict()) == names
    assert [vars(layer).get("forward") for layer in module.layers] == [None] * 4
    assert [layer.momentum for layer in module.layers if isinstance(layer, nn.BatchNorm2d)] == [0.1]


def test_running_statistics_forget_no_faster_than_without_parts() -> None:
    """They are those of the last 10 batches, not of the last 10 parts: else they would be noisier."""
    norm, x = nn.BatchNorm2d(1), 100 + torch.randn(64, 1, 2, 2)
    with ghosts(norm, [8] * 8, 1 / 8):
        norm(x)
    torch.testing.assert_close(norm.running_mean, torch.tensor([10.0]), rtol=0.01, atol=0)


@pytest.mark.parametrize("norm", [False, True])
def test_memory_that_runs_out_halves_the_rows_until_they_fit(norm: bool) -> None:
    one = fitting(Net(norm=norm, room=20))
    steps = list(one)
    assert [step.values["micro_batch"] for step in steps[:2]] == [32, 16]
    assert [step.done for step in steps] == [0, 0, *range(1, STEPS + 1)]
    assert one.state(State()).decisions == {"micro_batch": 16}
    straight = trained(Net(norm=norm), 16)
    assert all(torch.equal(tensor, straight[name]) for name, tensor in one.module.state_dict().items())


@pytest.mark.parametrize("killed_after", [0, 1, 6, 11])
def test_the_decision_is_there_before_it_acts_and_is_replayed(killed_after: int) -> None:
    """Killed at any step from the decision on and resumed where memory is ample, it ends with the same bytes."""
    whole = trained(Net(norm=True, room=20))
    killed = fitting(Net(norm=True, room=20))
    for step in killed:
        if step.done == killed_after and killed.micro_batch == 16:
            break
    module = Net(norm=True)
    resumed = fitting(module, start=killed.state(State()))
    assert all("micro_batch" not in step.values for step in resumed)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in module.state_dict().items())


def test_in_the_middle_it_goes_back_to_the_snapshot() -> None:
    one = fitting(Net(norm=True))
    done = []
    for step in one:
        done.append(step.done)
        if step.done == 6 and one.micro_batch == BATCH:
            one.module.room = 40  # from here on
    assert done == [*range(1, 7), 5, *range(6, STEPS + 1)]


@pytest.mark.parametrize(("norm", "least"), [(False, 1), (True, GHOST)])
def test_what_does_not_fit_at_all_says_what_to_do(norm: bool, least: int) -> None:
    with pytest.raises(FovealError, match=rf"step 0 of 12 does not fit.* {least} rows at a time.*--size"):
        list(fitting(Net(norm=norm, room=0)))


def test_another_error_is_not_taken_for_it() -> None:
    class Broken(Net):
        def forward(self, x: Tensor) -> Output:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(fitting(Broken(norm=False)))


def test_how_allocators_say_it() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(ENDLESS)
    assert is_out_of_memory(error.value)
    with pytest.raises(MemoryError) as python:
        bytearray(2**60)
    assert is_out_of_memory(python.value)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("a matrix is singular"))


@pytest.mark.nightly
def test_a_process_that_may_not_have_more_trains_in_smaller_parts() -> None:
    pytest.importorskip("resource")
    if not Path("/proc/self/statm").is_file():
        pytest.skip("the limit is set above what the process has already, which Linux tells")
    root = Path(__file__).resolve().parents[2]
    code = "from tests.engine.test_memory import train_in_little_memory; train_in_little_memory()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["micro_batch"] < BATCH
    assert found["done"] == 2


def train_in_little_memory() -> None:
    """Two steps whose whole batch needs more than a gigabyte, with little more than half of one to be had."""
    import resource

    module = Net(norm=True, width=32)
    pictures = Pictures(side=160)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    one = Fitting(module, loss, pictures, optimizer, Schedule(2, BATCH, seed=5), ghost=GHOST)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + 600 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    steps = list(one)
    print(json.dumps({"micro_batch": one.micro_batch, "done": steps[-1].done}))
