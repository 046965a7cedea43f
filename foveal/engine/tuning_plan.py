"""What to fine-tune in the time that is left: from which stage on, on how many views, for how many epochs.

Knows rates, memory and seconds; the only place that turns the clock into a plan. The plan is recorded, so a resumed
run follows it whatever its own clock says.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.learners import ENOUGH
from foveal.engine.reading import Material
from foveal.engine.views import Tail, Trunk, bytes_a_view

VIEW_ROWS = 32
VIEWS, EPOCHS = "fine_tune_views", "fine_tune_epochs"
"""The decisions by which the views of a plan are settled, once some are timed, and its epochs, once all are there."""

_BATCH = 64
_MOST_EPOCHS, _FEWEST_EPOCHS, _ENOUGH_EPOCHS = 40, 4, 12
_FEWEST_JUDGED = 100
_MOST_VIEWS, _FEWEST_VIEWS = 24, 2
_EPOCHS_A_VIEW = 1.5
_MOST_BYTES = 3 * 2**30
# The share of the probe's rate that is left once augmenting, and elsewhere decoding, is paid for.
_VIEW_RATE = 0.6
_ENOUGH_READ = 64
# Judging runs what was trained forwards for each of so many blends; a training step costs three times that a row.
_BLENDS, _STEP_COSTS = 4, 3
# Of the time that is left, so much is planned for: machines slow down while they work.
_PLANNED = 0.85
# So much of it may go into timing the steps from each boundary: a stall of a second must not decide the plan.
_PROBE_SHARE, _SAME_PACE = 0.01, 1.15
# A load beside it shows after so many steps; a single stall, such as a disk that sleeps, may not end the training.
_SECONDS_A_JOB, _SECONDS_AT_END = 2.5, 8.0
# Of the time that is left, so much may be spent on seeing both sides.
_SIDES_SHARE, _RESCORED = 0.08, 500
# Of all the time given, what is kept to measure tolerance.
_TOLERANCE_SHARE = 0.05


class Rows(Protocol):
    """A training that has to be paid for."""

    @property
    def rows(self) -> list[int]: ...
    @property
    def judged(self) -> list[int]: ...


@dataclass(frozen=True)
class TuningPlan:
    """boundary: the first stage that is trained; views: augmented ones of each row; reserve: seconds kept for what
    comes after; mirror: whether left and right may be swapped; sides: whether a network is tried that sees both;
    refitted: whether what a validation part favours is trained again, on that part too; settled: whether that is all,
    or views and epochs are decided again by what has been timed by then; why_not: why nothing is trained, if so."""

    boundary: int = 0
    views: int = 0
    epochs: int = 0
    batch_size: int = _BATCH
    dtype: str = "float32"
    mirror: bool = True
    sides: bool = False
    refitted: bool = False
    settled: bool = True
    reserve: float = 0.0
    rows_per_second: float = 0.0
    why_not: str = ""

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def steps(self, job: Rows) -> int:
        """Optimizer steps of one training."""
        return self.epochs * -(-len(job.rows) // self.batch_size)


def decided(state: State) -> TuningPlan | None:
    """The plan that the run already has."""
    kept = state.decisions.get("fine_tune")
    if kept is None:
        return None
    plan = TuningPlan(**cast("dict[str, Any]", kept))
    settled = {"views": VIEWS, "epochs": EPOCHS}
    made = {field: int(str(state.decisions[name])) for field, name in settled.items() if name in state.decisions}
    return replace(plan, **made, settled=plan.settled or "epochs" in made)  # type: ignore[arg-type]


def choose(material: Material, jobs: Sequence[Rows], fewest: Sequence[Rows], left: Callable[[], float]) -> TuningPlan:
    """The plan for the seconds left; boundaries are tried from the last stage towards the input while time allows
    enough epochs, each timed by a few real steps.

    fewest: those of the jobs that suffice where there is no time for a refit.
    """
    if left() == ENOUGH:
        return TuningPlan(why_not="it was told to finish")
    judged = sum(len(job.judged) for job in jobs)
    if judged < _FEWEST_JUDGED:
        return TuningPlan(
            why_not=f"{judged} validation examples are too few to judge by, {_FEWEST_JUDGED} are needed"
        )
    reserve, more = _reserve(material, fewest), _seconds_for_sides(material, fewest)
    sides = more <= _SIDES_SHARE * left()
    reserve += more if sides else 0.0
    if left() - reserve < _SECONDS_A_JOB * len(fewest):
        return TuningPlan(why_not="the time given is used up by the closed form")
    dtype = device.training_dtype(material.plan.device)
    best: TuningPlan | None = None
    for boundary in range(len(material.plan.net.stages) - 2, 1, -1):
        found = _at(material, jobs, fewest, boundary, dtype, (left() - reserve) * _PLANNED, reserve)
        if found is None or (best is not None and _is_hasty(found, best)):
            break
        best = replace(found, sides=sides)
    if best is None:
        return TuningPlan(why_not=f"the time left is too short for {_FEWEST_EPOCHS} epochs of the last stages")
    return best


def _is_hasty(deeper: TuningPlan, best: TuningPlan) -> bool:
    """Whether training from further down costs too many epochs, or learning from all there is."""
    return deeper.epochs < _ENOUGH_EPOCHS or (best.refitted and not deeper.refitted)


def views_for(plan: TuningPlan, jobs: Sequence[Rows], seconds: float, decoding: float, view: float, fit: int) -> int:
    """As many as the seconds left allow beside their epochs, at least 1 and at most `fit`; decoding, view: seconds
    that one row takes, and each view of it."""
    rows, learnt = len({row for job in jobs for row in job.rows}), sum(len(job.rows) for job in jobs)
    for_all = (seconds - plan.reserve) * _PLANNED - rows * (decoding + view)
    return max(1, min(_balanced(for_all, rows * view, learnt / plan.rows_per_second), fit))


def _balanced(seconds: float, view: float, epoch: float) -> int:
    """Views, so that there are half as many epochs again: the network overfits to fewer, and has no use for more."""
    return min(_MOST_VIEWS, math.floor(max(0.0, seconds) / (view + _EPOCHS_A_VIEW * epoch)))


def epochs_for(plan: TuningPlan, jobs: Sequence[Rows], seconds: float) -> int:
    """As many as the seconds that are left once the views are computed allow; at most 40."""
    learnt = sum(len(job.rows) for job in jobs)
    affordable = max(0.0, seconds - plan.reserve) * _PLANNED * plan.rows_per_second / learnt
    return min(_MOST_EPOCHS, max(1, math.floor(affordable)))


def views_that_fit(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, rows: int) -> int:
    """Augmented views of so many rows that memory may hold, beside a plain one."""
    return _MOST_BYTES // max(1, rows * bytes_a_view(shapes, dtype)) - 1


def _at(
    material: Material,
    jobs: Sequence[Rows],
    fewest: Sequence[Rows],
    boundary: int,
    dtype: torch.dtype,
    seconds: float,
    reserve: float,
) -> TuningPlan | None:
    """The plan for one boundary; None where memory or time forbid it."""
    trunk = Trunk(material.plan.net, material.model.head, boundary).eval()
    shapes = trunk.shapes((1, *material.task.input.shape()))
    first_rate, view_rate = (share * _rate(material, "fastest") for share in (_pace(material), _VIEW_RATE))
    rate = 0.0
    for chosen in (jobs, fewest):  # a refit costs as many epochs again, but learns from more
        rows, learnt = len({row for job in chosen for row in job.rows}), sum(len(job.rows) for job in chosen)
        fitting = views_that_fit(shapes, dtype, rows)
        if min(fitting, seconds * view_rate / rows) < _FEWEST_VIEWS:
            continue
        rate = rate or _steps_rate(material, boundary, shapes, dtype, _PROBE_SHARE * seconds)
        refit = _SECONDS_A_JOB * (len(chosen) - len(fewest))
        judging = refit + _BLENDS * sum(len(job.judged) for job in chosen) / (_STEP_COSTS * rate)
        after = seconds - rows / first_rate - judging
        views = min(fitting, _balanced(after, rows / view_rate, learnt / rate))
        epochs = min(_MOST_EPOCHS, math.floor((after - views * rows / view_rate) * rate / learnt))
        if views >= _FEWEST_VIEWS and epochs >= _FEWEST_EPOCHS:
            return TuningPlan(
                boundary=boundary,
                views=views,
                settled=False,
                epochs=epochs,
                dtype=str(dtype).removeprefix("torch."),
                refitted=len(chosen) > len(fewest),
                reserve=round(reserve + judging, 1),
                rows_per_second=round(rate, 1),
            )
    return None


def _steps_rate(
    material: Material, boundary: int, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, limit: float
) -> float:
    """Rows per second of training the stages from `boundary` on, by the best of some steps after a first: of 2 where
    they took as long, of more where they did not, as long as all take less than `limit` seconds."""
    place = material.plan.device
    tail = Tail(material.plan.net, material.model.head, boundary).eval().to(place)
    *parts, last = (torch.rand(_BATCH, *shape, device=place) for shape in shapes)
    last = last.to(dtype)
    if last.ndim == 4:
        last = last.contiguous(memory_format=torch.channels_last)
    seconds = list[float]()
    while len(seconds) < 3 or (not _agree(seconds[1:]) and sum(seconds) < limit):
        began = time.perf_counter()
        output: Mapping[str, Tensor] = tail(*parts, last)
        total = torch.stack([tensor.float().square().mean() for tensor in output.values()]).sum()
        total.backward()
        total.item()  # a GPU is waited for
        seconds.append(time.perf_counter() - began)
    return _BATCH / min(seconds[1:])


def _agree(seconds: Sequence[float]) -> bool:
    """Whether the two best are nearly the same."""
    best, second = sorted(seconds)[:2]
    return second <= _SAME_PACE * best


def _reserve(material: Material, jobs: Sequence[Rows]) -> float:
    """Seconds for judging, scoring, tolerance and the report."""
    return (
        _SECONDS_AT_END
        + _TOLERANCE_SHARE * 60 * material.plan.recipe.minutes
        + _SECONDS_A_JOB * len(jobs)
        + _rows_run_again(material, jobs) / (_pace(material) * _rate(material, "reference"))
    )


def _seconds_for_sides(material: Material, jobs: Sequence[Rows]) -> float:
    """Of what is run again, so much longer where each is seen from both sides; those that judge, from one too."""
    judged = sum(len(job.judged) for job in jobs)
    return (_rows_run_again(material, jobs) + judged) / (_pace(material) * _rate(material, "reference"))


def _rows_run_again(material: Material, jobs: Sequence[Rows]) -> int:
    """Judged, scored and a sample of those learnt from, on the reference path."""
    splits = material.splits
    scored = len(material.examples) if splits.scored_out_of_fold else len(material.rows_of("test"))
    judged = 0 if splits.scored_out_of_fold else sum(len(job.judged) for job in jobs)
    return scored + judged + min(_RESCORED, len(material.examples))


def _pace(material: Material) -> float:
    """The share of the probe's rates that this run attains: as it read, if it read enough and slowly, else 0.6."""
    measured, computed = material.cost.get("images_per_second"), material.cost.get("computed", 0)
    if measured is None or int(str(computed)) < _ENOUGH_READ:
        return _VIEW_RATE
    backends = Counter(material.precision.values())
    promised = backends.total() / sum(count / _rate(material, name) for name, count in backends.items())
    return min(_VIEW_RATE, float(str(measured)) / promised)


def _rate(material: Material, name: str) -> float:
    """Rows per second of a frozen backend at this size, from what the probe measured at the standard one."""
    decisions = material.decisions
    backend = device.Backend(**cast("dict[str, Any]", decisions[name]))
    rates = cast("Mapping[str, float]", decisions["probe"])
    input = material.task.input
    measured = rates.get(str(backend), min(rates.values(), default=50.0))
    return measured * (type(input)().size / input.size) ** input.dims
