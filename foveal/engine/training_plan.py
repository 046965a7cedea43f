"""How long to train a whole network in the time that is left.

Knows rates and seconds. The plan is recorded, so a resumed run follows it whatever its own clock says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from foveal.engine.checkpoint import State
from foveal.engine.reading import Material
from foveal.engine.reference import Reference

# Batches are a tenth of small sets, so that an epoch has ten steps; above, larger ones are no faster. What has no
# BatchNorm wants more and smaller steps.
_SMALLEST_BATCH, _LARGEST_BATCH, _STEPS_AN_EPOCH, _STEPS_OF_PLAIN = 32, 512, 10, 40
# Of the time that is left, so much is planned for: machines slow down while they work.
_PLANNED = 0.93
_SECONDS_AT_END, _SCORING_SLACK = 6.0, 1.3
_TIMED_ROWS = 64
RESCORED = 500
"""Training rows that are scored again, to compare with unseen ones."""


@dataclass(frozen=True)
class TrainingPlan:
    """steps of batch_size rows; mirror: whether left and right may be swapped; reserve: seconds kept for what comes
    after; rows_per_second: what three steps showed."""

    steps: int
    batch_size: int
    dtype: str = "float32"
    mirror: bool = True
    reserve: float = 0.0
    rows_per_second: float = 0.0

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)


def decided(state: State, name: str) -> TrainingPlan | None:
    """The plan that the run already has under this name."""
    kept = state.decisions.get(name)
    return None if kept is None else TrainingPlan(**cast("Mapping[str, Any]", kept))


def batch_size(rows: int, *, plain: bool = False) -> int:
    """The power of 2 that gives an epoch at least ten steps, or 40 of a network without BatchNorm, from 32 to 512."""
    wanted = 2 ** math.floor(math.log2(max(1, rows / (_STEPS_OF_PLAIN if plain else _STEPS_AN_EPOCH))))
    return int(min(max(wanted, _SMALLEST_BATCH), _LARGEST_BATCH))


def steps_for(seconds: float, rate: float, rows: int, batch: int, most_epochs: int = 200) -> int:
    """As many as the seconds allow at `rate` rows per second, at least one and at most so many epochs of them."""
    return math.floor(min(max(1, seconds * _PLANNED * rate / batch), most_epochs * -(-rows // batch)))


def reserve(material: Material, scored: Sequence[int], sides: int) -> float:
    """Seconds for scoring these rows and a sample of the others, each seen from so many sides, and for the report."""
    each = seconds_to_score(material, scored) / max(1, len(scored))
    return _SECONDS_AT_END + each * sides * (len(scored) + RESCORED)


def seconds_to_score(material: Material, rows: Sequence[int]) -> float:
    """On the reference path, by timing some of these rows."""
    timed = list(rows[:_TIMED_ROWS])
    if not timed:
        return 0.0
    Reference(material, material.model).compute(timed[:1])
    began = time.perf_counter()
    Reference(material, material.model).compute(timed)
    return _SCORING_SLACK * (time.perf_counter() - began) / len(timed) * len(rows)


def warm_up(device: str) -> int:
    """Steps that say nothing of the pace: on a GPU a step is recorded first."""
    return 5 if device.startswith("cuda") else 1


def rows_per_second(step: Callable[[], object], batch: int, warm_up: int) -> float:
    """The better of two steps after some that warm up."""
    seconds = []
    for _ in range(warm_up + 2):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return batch / min(seconds[warm_up:])
