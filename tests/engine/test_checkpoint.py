"""States survive damage and failing disks: the newest intact one is found, or none, and never garbage."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal.engine import checkpoint
from foveal.engine.checkpoint import State, commit, load
from foveal.errors import FovealError, RunError
from tests.e2e.crash import Faults, Torn

CURRENT, PREVIOUS = "state.safetensors", "state.previous.safetensors"


def state(step: int) -> State:
    tensors = {"w": torch.full((3, 4), float(step)), "n": torch.tensor(step), "h": torch.ones(2).bfloat16()}
    return State({"phase": "fit", "step": step}, {"backend": ["a", 1.5, None]}, ({"loss": 0.1 * step},), tensors)


def same(a: State, b: State) -> bool:
    tensors = a.tensors.keys() == b.tensors.keys() and all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
    return tensors and (a.position, a.decisions, a.history) == (b.position, b.decisions, b.history)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, Path]:
    """The bytes of two consecutive states, and a folder to damage them in."""
    folder = tmp_path_factory.mktemp("states")
    commit(folder, state(1))
    commit(folder, state(2))
    return (folder / CURRENT).read_bytes(), (folder / PREVIOUS).read_bytes(), folder


def test_round_trip(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        commit(tmp_path, state(step))
        assert same(load(tmp_path), state(step))
    assert sorted(file.name for file in tmp_path.iterdir()) == [PREVIOUS, CURRENT]


def test_a_decision_stays() -> None:
    assert State().decide(threads=2).decide(threads=4, dtype="float32").decisions == {
        "threads": 2,
        "dtype": "float32",
    }


def test_without_a_state_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=str(tmp_path)):
        load(tmp_path)
    with pytest.raises(RunError, match="gone"):
        load(tmp_path / "gone")


def damage(data: bytes, at: int, how: int) -> bytes:
    """how 0: cut short; else flip those bits of the byte at `at`."""
    return data[:at] if how == 0 else data[:at] + bytes([data[at] ^ how]) + data[at + 1 :]


@given(st.data())
def test_a_damaged_state_gives_way_to_the_one_before(two: tuple[bytes, bytes, Path], data: st.DataObject) -> None:
    current, previous, folder = two
    how = data.draw(st.integers(0, 255))
    (folder / CURRENT).write_bytes(damage(current, data.draw(st.integers(0, len(current) - 1)), how))
    (folder / PREVIOUS).write_bytes(previous)
    assert same(load(folder), state(1))
    (folder / PREVIOUS).write_bytes(damage(previous, data.draw(st.integers(0, len(previous) - 1)), how))
    with pytest.raises(RunError, match="no intact"):
        load(folder)


def test_every_truncation_and_two_hundred_flips(two: tuple[bytes, bytes, Path]) -> None:
    current, previous, folder = two
    (folder / PREVIOUS).write_bytes(previous)
    cuts = [(at, 0) for at in range(0, len(current), 7)]
    flips = [(i * len(current) // 200, 1 << i % 8) for i in range(200)]
    for at, how in cuts + flips:
        (folder / CURRENT).write_bytes(damage(current, at, how))
        assert same(load(folder), state(1)), (at, how)


def test_a_damaged_state_does_not_replace_the_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, state(1))
    commit(tmp_path, state(2))
    (tmp_path / CURRENT).write_bytes(b"damaged")
    monkeypatch.setattr(os, "replace", refuse)  # killed in the middle of the next commit
    with pytest.raises(FovealError):
        commit(tmp_path, state(3))
    assert same(load(tmp_path), state(1))
    monkeypatch.undo()
    commit(tmp_path, state(3))
    assert same(load(tmp_path), state(3))


def refuse(*_: object) -> None:
    raise OSError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EACCES"])
@pytest.mark.parametrize("event", ["open", "write", "fsync", "replace"])
def test_a_failing_disk_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str, code: str, number: int
) -> None:
    commit(tmp_path, state(1))
    commit(tmp_path, state(2))
    faults = Faults(event, number, code)
    monkeypatch.setattr(os, "fsync", faults.before("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", faults.before("replace", os.replace))
    opened = Path.open

    def open_counted(path: Path, mode: str = "r"):
        if mode == "rb":
            return opened(path, mode)
        faults.hit("open")
        return Torn(opened(path, mode), faults)

    monkeypatch.setattr(Path, "open", open_counted)
    if number > (4 if event == "fsync" else 2):  # a commit writes two files
        commit(tmp_path, state(3))
        assert same(load(tmp_path), state(3))
        return
    with pytest.raises(
        FovealError, match=r"state\.(previous\.)?safetensors: [\d,]+ bytes could not be written"
    ) as error:
        commit(tmp_path, state(3))
    assert str(tmp_path) in str(error.value)
    assert os.strerror(getattr(errno, code)) in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == [PREVIOUS, CURRENT]
    whole = state(3) if (event, number) == ("fsync", 4) else state(2)  # the folder's fsync comes after the rename
    assert same(load(tmp_path), whole)


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    commit(tmp_path, state(1))
    (tmp_path / ".state.safetensors.01234567.tmp").write_bytes(b"half")
    (tmp_path / ".keep").write_bytes(b"")
    assert same(load(tmp_path), state(1))
    assert sorted(file.name for file in tmp_path.iterdir()) == [".keep", CURRENT]


@pytest.mark.parametrize("seed", range(3))
def test_optimizers_go_on_where_they_were(seed: int) -> None:
    def start() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        layer = torch.nn.Linear(3, 2)
        kinds = (torch.optim.SGD, torch.optim.AdamW)
        return layer, kinds[seed % 2](layer.parameters(), lr=0.1, **({"momentum": 0.9} if seed % 2 == 0 else {}))

    def step(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, number: int) -> None:
        optimizer.zero_grad()
        layer(torch.full((4, 3), float(number))).square().sum().backward()
        optimizer.step()

    whole, optimizer = start()
    for number in range(4):
        step(whole, optimizer, number)
    first, before = start()
    step(first, before, 0)
    step(first, before, 1)
    resumed, after = start()
    resumed.load_state_dict(first.state_dict())
    checkpoint.restore_optimizer(after, {**checkpoint.flatten_optimizer(before), "model.w": torch.ones(1)})
    for number in (2, 3):
        step(resumed, after, number)
    assert torch.equal(whole.weight, resumed.weight)
