"""State that survives a kill: written whole or not at all, the last two kept.

Knows bytes, tensors and JSON. A commit is digest + temporary file + fsync(file) + rename + fsync(folder). Does not
know what is inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from foveal.errors import FovealError, RunError

_CURRENT, _PREVIOUS = "state.safetensors", "state.previous.safetensors"
_UNFINISHED = ".tmp"
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class State:
    """Where a run stands. position: phase and counters; decisions: choices made from time or memory, replayed on
    resume; history: what was measured so far; tensors: weights, optimizer and the like."""

    position: Mapping[str, int | str] = field(default_factory=dict)
    decisions: Mapping[str, object] = field(default_factory=dict)
    history: tuple[Mapping[str, object], ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def decide(self, **decisions: object) -> State:
        """The state with decisions added; one that is already made stays."""
        return replace(self, decisions={**decisions, **self.decisions})


def write_atomic(path: Path, *data: bytes | memoryview) -> None:
    """Replace `path` by `data`, one behind the other, whole or not at all, on disk when this returns.

    Raises FovealError naming the path and the size where the disk is full or the folder cannot be written; what
    stood there before is intact.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")
    size = sum(memoryview(part).nbytes for part in data)
    try:
        with temporary.open("xb") as file:
            for part in data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise FovealError(
            f"{path}: {size:,} bytes could not be written ({error.strerror or error}); the previous state is "
            f"intact; free space or choose another folder with --out"
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def commit(folder: Path, state: State) -> None:
    """Make `state` the newest in `folder`; the one before it is kept. Raises FovealError as `write_atomic`."""
    header = {"position": state.position, "decisions": state.decisions, "history": state.history}
    payload = save_tensors(
        {name: tensor.detach().contiguous() for name, tensor in state.tensors.items()},
        metadata={"state": json.dumps(header, sort_keys=True)},
    )
    data = hashlib.sha256(payload).digest() + payload
    current = folder / _CURRENT
    kept = _read(current)
    if _intact(kept):  # a damaged one must not take the place of the good one before it
        write_atomic(folder / _PREVIOUS, kept)
    write_atomic(current, data)


def load(folder: Path) -> State:
    """The newest intact state; files that a kill left half-written are removed.

    Raises RunError naming the folder where no state is intact, and the file where it may not be read.
    """
    sweep(folder)
    for name in (_CURRENT, _PREVIOUS):
        data = _read(folder / name)
        if _intact(data):
            return _parse(data[_DIGEST_BYTES:])
    raise RunError(
        f"{folder}: no intact {_CURRENT}; expected a run folder that `foveal train` began; train again or restore it"
    )


def sweep(folder: Path) -> None:
    """Remove files that a kill left half-written; only for who works on the folder alone."""
    for leftover in folder.glob(f".*{_UNFINISHED}"):
        leftover.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    """Nothing where there is no such file."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error}); restore it from a copy") from error


def _intact(data: bytes) -> bool:
    payload = data[_DIGEST_BYTES:]
    return bool(payload) and hashlib.sha256(payload).digest() == data[:_DIGEST_BYTES]


def _parse(payload: bytes) -> State:
    length = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + length])["__metadata__"]["state"]
    values = json.loads(header)
    tensors = {name: tensor.clone() for name, tensor in load_tensors(payload).items()}
    return State(values["position"], values["decisions"], tuple(values["history"]), tensors)


class Optimizer(Protocol):
    """What moves parameters, with what it keeps of each: of the interface of torch.optim's."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...
    def step(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def flatten_optimizer(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors by name; its hyperparameters are a function of the recipe and the step."""
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `flatten_optimizer`; tensors of other names are passed over."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            slots.setdefault(int(index), {})[name] = tensor
    state = optimizer.state_dict()
    optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
