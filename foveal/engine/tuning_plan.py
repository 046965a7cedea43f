"""What to fine-tune in the time that is left: which network, at which size, from which stage on, on how many views,
for how many epochs.

Knows rates, memory and seconds; the only place that turns the clock into a plan. The plan is recorded, so a resumed
run follows it whatever its own clock says.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import torch

from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.learners import NO_TIME, most_rescored, slowness, why_not_trained
from foveal.engine.reading import SECONDS_A_PLACED_ROW, SECONDS_AT_END, Material, sibling
from foveal.engine.tail import Tail, optimizer_of, own_head
from foveal.engine.update import Micro, update_of
from foveal.engine.views import Trunk, bytes_a_view, shown_of

VIEWS, HELD = "fine_tune_views", "fine_tune_views_held"
EPOCHS, RENEWED, PACE = "fine_tune_epochs", "fine_tune_views_renewed", "fine_tune_rows_per_second"
"""The decisions by which the views of a plan, and those that are held, are settled, once some are timed; its epochs,
and the views where not all are held, once those are there; and by how many rows a second that was."""

# Trainings on maps may go on until they have so many steps, and begin with earlier stages where there is time for so
# many epochs and steps of that: fewer do not fill the head's layers (`python -m benchmarks.tuning membrane coco128`).
_STEPS_OF_MAPS, _FIRST_OF_MAPS, _ENOUGH_OF_MAPS, _ENOUGH_STEPS_OF_MAPS = 3000, 1, 40, 500
# Where there would be fewer steps than these, each is of half as many rows.
_FEWEST_STEPS_OF_MAPS = 120
_MOST_EPOCHS, _FEWEST_EPOCHS, _ENOUGH_EPOCHS = 40, 4, 16
_MOST_VIEWS, _FEWEST_VIEWS = 24, 2
# The network overfits to fewer views than one for so many epochs, and has no use for more; layers that begin with
# nothing are filled by epochs first.
_EPOCHS_A_VIEW, _EPOCHS_A_VIEW_OF_LAYERS = 1.5, 4.0
_MOST_BYTES = 3 * 2**30
# The share of the probe's rate that is left once augmenting, and elsewhere decoding, is paid for.
_VIEW_RATE = 0.6
_ENOUGH_READ = 64
# Judging runs what was trained forwards for each of so many blends; a training step costs three times that a row.
_BLENDS, _STEP_COSTS = 4, 3
# Of the time that is left, so much is planned for: machines slow down while they work. More where less is left to do.
_PLANNED, _PLANNED_EPOCHS = 0.85, 0.95
# So much of it may go into timing the steps from each boundary: a stall of a second must not decide the plan.
_PROBE_SHARE, _SAME_PACE = 0.01, 1.15
# Inputs are made smaller by so much at a time, never smaller than the least: below, too little is seen.
_SIZE_STEP, _LEAST_SIZE = 32, 160
# A load beside it shows after so many steps; a single stall, such as a disk that sleeps, may not end the training.
_SECONDS_A_JOB = 2.5
# Of the minutes that are given, folds that are trained last may take so much more.
_LONGER = 0.1
# Of the time that is left, so much may be spent on seeing both sides.
_SIDES_SHARE = 0.08
# Of all the time given, what is kept to measure tolerance.
_TOLERANCE_SHARE = 0.05


@dataclass(frozen=True)
class Option:
    """A network for inputs of some size, of which the last stages could be trained.

    work: what it computes for a row, relative to what the probe measured; solved: whether the closed form is known
    from which its head begins; unknown: the share of rows for which it is computed again where no stage is trained.
    """

    material: Material
    work: float
    solved: bool = False
    unknown: float = 1.0

    @property
    def shown(self) -> tuple[int, ...]:
        """The shape of what augmented views show."""
        return shown_of(self.material.task).shape()

    @property
    def whole(self) -> float:
        """How many times as large as that a plain view is."""
        return math.prod(self.material.task.input.shape()) / math.prod(self.shown)

    def rate(self, name: str) -> float:
        """Rows per second of a frozen backend, from what the probe measured."""
        return self.material.rate(name) / self.work


class Rows(Protocol):
    """A training that has to be paid for."""

    @property
    def rows(self) -> list[int]: ...
    @property
    def judged(self) -> list[int]: ...


@dataclass(frozen=True)
class TuningPlan:
    """net, size: what is trained, and for inputs of which size; those of the closed form where not said.

    boundary: the first stage that is trained; views: augmented ones of each row; held: so many of which are in memory
    at once, each of the others computed when it is first asked for, all if 0; reserve: seconds kept for what comes
    after; mirror: whether left and right may be swapped; sides: so many of which for a network that sees both, 0
    where none is tried; refitted: whether what a validation part favours is trained again, on that part too; layers:
    whether the head gets layers of its own; settled: whether that is all, or views and epochs are decided again by
    what has been timed by then; why_not: why nothing is trained, if so.
    """

    net: str = ""
    size: int = 0
    boundary: int = 0
    views: int = 0
    held: int = 0
    epochs: int = 0
    batch_size: int = 64
    dtype: str = "float32"
    mirror: bool = True
    sides: float = 0.0
    refitted: bool = False
    layers: bool = False
    settled: bool = True
    reserve: float = 0.0
    rows_per_second: float = 0.0
    why_not: str = ""

    def one_sided(self) -> TuningPlan:
        """The same where left and right may not be swapped."""
        return replace(self, mirror=False, sides=0.0, reserve=round(self.reserve - self.sides, 1))

    def of_later_folds(self, rows: int, seconds: float, minutes: float) -> TuningPlan:
        """The same once some folds are trained: as slow as the last one was, if it is known in how many seconds it
        learnt from so many rows, and for longer than the minutes allow, since all others would be for nothing."""
        reserve = self.reserve * slowness(self, rows // self.batch_size, seconds) - _LONGER * 60 * minutes
        return replace(self, reserve=reserve, rows_per_second=rows / seconds if rows else self.rows_per_second)

    @property
    def at_once(self) -> int:
        """Views in memory."""
        return self.held or self.views

    @property
    def renews(self) -> bool:
        """Whether some take the place of others."""
        return self.at_once < self.views

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
    settled = {VIEWS: "views", HELD: "held", EPOCHS: "epochs", RENEWED: "views", PACE: "rows_per_second"}
    made: dict[str, Any] = {
        field: state.decisions[name] for name, field in settled.items() if name in state.decisions
    }
    return replace(plan, **made, settled=plan.settled or "epochs" in made)


def choose(material: Material, jobs: Sequence[Rows], fewest: Sequence[Rows], left: Callable[[], float]) -> TuningPlan:
    """The plan for the seconds left: the best of the options for which there are enough epochs, else the cheapest.

    fewest: those of the jobs that suffice where there is no time for a refit.
    """
    judged = sum(len(job.judged) for job in jobs)
    if why_not := why_not_trained(material.plan, judged, material.task.target.fewest_judged, left()):
        return TuningPlan(why_not=why_not)
    found = options(material)
    timing = _Timing(found, pace(option_of(material, material)), left)
    if timing.seconds(found[-1], fewest, frozen=material.model.head.maps)[0] < _SECONDS_A_JOB * len(fewest):
        return TuningPlan(why_not=NO_TIME)
    for option, some, boundary, epochs in _tried(material, found, jobs, fewest, timing):
        plan = _at(option, some, len(some) > len(fewest), boundary, timing)
        if plan is not None and plan.epochs >= epochs:
            rate = timing.steps(option, boundary)
            return replace(plan, rows_per_second=round(rate, 1))
    why_not = f"the time left is too short for {_FEWEST_EPOCHS} epochs of the last stages"
    return TuningPlan(why_not=why_not)


def _tried(
    material: Material, found: Sequence[Option], jobs: Sequence[Rows], fewest: Sequence[Rows], timing: _Timing
) -> Iterator[tuple[Option, Sequence[Rows], int, int]]:
    """Options, trainings, boundaries and how many epochs they need, the best first; without those that will not do
    where the cheapest one has not enough: to time a boundary takes seconds."""
    kinds = [jobs, fewest] if len(jobs) > len(fewest) else [jobs]
    depth = found[-1].material.model.depth
    if material.model.head.maps:
        whole, enough = range(_FIRST_OF_MAPS, depth + 1), _enough_of_maps(jobs, material.task.target.rows_a_step)
        cheapest = _at(found[-1], fewest, False, depth, timing)
        if cheapest is None or cheapest.epochs >= enough:  # where memory forbids it, others may still do
            yield from ((option, some, place, enough) for some in kinds for option in found for place in whole)
        yield found[-1], fewest, depth, _FEWEST_EPOCHS
        return
    middle, last = depth // 2, depth - 2
    yield from ((option, some, middle, _ENOUGH_EPOCHS) for some in kinds for option in found)
    yield from ((found[-1], fewest, boundary, _FEWEST_EPOCHS) for boundary in range(middle, last + 1))


def options(material: Material) -> list[Option]:
    """What could be fine-tuned, the best first: larger networks, then larger inputs.

    A larger network at a smaller size is worth more than the other way round, and both less than enough epochs from
    the middle of the network on (`python -m benchmarks.tuning`). What has a place needs the size that it has.
    """
    own = material.plan
    nets = [plan for plan in (own.larger, own) if plan is not None]
    size = own.task.input.size
    if material.model.head.maps:
        return [option_of(material, sibling(material, plan)) for plan in nets]
    sizes = [size, *range(size - _SIZE_STEP, _LEAST_SIZE - 1, -_SIZE_STEP)] if own.resizes else [size]
    return [option_of(material, sibling(material, plan.sized(side))) for plan in nets for side in sizes]


def option_of(material: Material, other: Material) -> Option:
    """other: the material itself or a sibling of it."""
    standard = type(material.task.input)().size
    usual = replace(material.task.input, size=standard).shape()  # type: ignore[type-var]
    measured = device.operations(material.plan.net, (1, *usual))
    own, its = ((one.plan.net_name, one.task.input.size) for one in (material, other))
    work = device.operations(other.plan.net, (1, *other.task.input.shape())) / measured
    solved = own == its and material.model.head.maps
    return Option(other, work, solved, material.shortcuts if solved else 1.0)


def views_for(plan: TuningPlan, jobs: Sequence[Rows], seconds: float, before: float, view: float) -> int:
    """As many as the seconds left allow beside their epochs, however few; before: seconds that it takes to decode all
    rows, and for plain views; view: for each other view of a row."""
    rows, learnt = len({row for job in jobs for row in job.rows}), sum(len(job.rows) for job in jobs)
    for_all = (seconds - plan.reserve) * _PLANNED - before
    fewest = _FEWEST_VIEWS if plan.layers else 1
    return max(fewest, _balanced(for_all, rows * view, learnt / plan.rows_per_second, plan.layers))


def _balanced(seconds: float, view: float, epoch: float, layers: bool) -> int:
    """Views, so that there is time for their epochs too."""
    return min(_MOST_VIEWS, math.floor(max(0.0, seconds) / (view + _epochs_a_view(layers) * epoch)))


def _epochs_a_view(layers: bool) -> float:
    return _EPOCHS_A_VIEW_OF_LAYERS if layers else _EPOCHS_A_VIEW


def renewed(plan: TuningPlan, jobs: Sequence[Rows], seconds: float, view: float) -> TuningPlan:
    """With the epochs and views for which there is time where others take the place of those that are held, each
    computed meanwhile in so many seconds; fewer views where there were not enough epochs for the layers of a head
    else, which gain more from them."""
    per_row, a_view = 1 / plan.rows_per_second, _epochs_a_view(plan.layers)
    both = epochs_for(replace(plan, rows_per_second=1 / (per_row + view / a_view)), jobs, seconds)
    enough = _enough_of_maps(jobs, plan.batch_size) if plan.layers else 0
    epochs = max(both, min(epochs_for(plan, jobs, seconds), enough))
    spare = max(0.0, seconds - plan.reserve) * _PLANNED_EPOCHS
    spare -= epochs * per_row * sum(len(job.rows) for job in jobs)
    more = max(0, math.floor(spare / (view * sum(len(job.rows) for job in jobs))))
    views = min(max(plan.held, round(epochs / a_view)), plan.held + more)
    pace = epochs / (epochs * per_row + (views - plan.held) * view)
    return replace(plan, epochs=epochs, views=views, rows_per_second=round(pace, 1))


def paced(step: Callable[[], object], rows: int, warm_up: int, seconds: float) -> float:
    """Rows per second by the median of steps of so many rows after some that warm up: of 5, and of up to 15 as long
    as all take less than a hundredth of the seconds left."""
    taken = list[float]()
    while len(taken) < warm_up + 5 or (len(taken) < warm_up + 15 and sum(taken) < _PROBE_SHARE * seconds):
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return round(rows / statistics.median(taken[warm_up:]), 1)


def epochs_for(plan: TuningPlan, jobs: Sequence[Rows], seconds: float) -> int:
    """As many as the seconds that are left once the views are computed allow, up to a limit."""
    learnt = sum(len(job.rows) for job in jobs)
    affordable = max(0.0, seconds - plan.reserve) * _PLANNED_EPOCHS * plan.rows_per_second / learnt
    return min(_most_epochs(jobs, plan.batch_size, maps=plan.layers), max(1, math.floor(affordable)))


def views_that_fit(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, rows: int, *, whole: bool) -> int:
    """Augmented views of so many rows that memory may hold, beside a plain one."""
    return _MOST_BYTES // max(1, rows * bytes_a_view(shapes, dtype, whole=whole)) - 1


@dataclass
class _Timing:
    """What the options would take. pace: see `pace`; left: the seconds of the budget."""

    found: Sequence[Option]
    pace: float
    left: Callable[[], float]
    _rates: dict[tuple[str, int, int], float] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """That trained in."""
        return device.training_dtype(self.found[0].material.plan.device)

    def seconds(self, option: Option, jobs: Sequence[Rows], *, frozen: bool) -> tuple[float, float, float]:
        """To train in, and kept for what comes after; how many of these for a network that sees both sides. frozen:
        whether no stage is trained."""
        sides = _seconds_for_sides(option, jobs, self.pace)
        sides = sides if sides <= _SIDES_SHARE * self.left() else 0.0
        kept = reserve(option, jobs, self.pace, frozen=frozen) + sides
        return (self.left() - kept) * _PLANNED, kept, sides

    def guessed(self, option: Option, boundary: int) -> float:
        """Rows per second of training from `boundary` on, from what was measured of the network's smallest option."""
        name = option.material.plan.net_name
        least = min((one for one in self.found if one.material.plan.net_name == name), key=lambda one: one.work)
        return self.steps(least, boundary) * least.work / option.work

    def steps(self, option: Option, boundary: int) -> float:
        """The same, measured, once for each."""
        material = option.material
        key = material.plan.net_name, material.task.input.size, boundary
        if key not in self._rates:
            shapes = Trunk(material.plan.net, material.model.head, boundary).eval().shapes(option.shown)
            limit = _PROBE_SHARE * max(0.0, self.left())
            self._rates[key] = _steps_rate(material, boundary, shapes, self.dtype, limit)
        return self._rates[key]


def _at(option: Option, jobs: Sequence[Rows], refitted: bool, boundary: int, timing: _Timing) -> TuningPlan | None:
    """The plan for one option, of no epochs where there is no time for it; None where memory forbids it."""
    material, dtype = option.material, timing.dtype
    judging = [job for job in jobs if job.judged]
    some, frozen = judging if refitted else jobs, boundary >= material.model.depth
    seconds, kept, sides = timing.seconds(option, some, frozen=frozen)
    shapes = Trunk(material.plan.net, material.model.head, boundary).eval().shapes(option.shown)
    first_rate = timing.pace * option.rate("fastest")
    view_rate = _VIEW_RATE * option.rate("fastest") * option.whole
    rows, learnt = len({row for job in jobs for row in job.rows}), sum(len(job.rows) for job in jobs)
    fitting = views_that_fit(shapes, dtype, rows, whole=material.task.target.whole)
    if fitting < _FEWEST_VIEWS:
        return None
    if seconds * view_rate < _FEWEST_VIEWS * rows:
        return TuningPlan()
    rate = timing.guessed(option, boundary)
    refit = _SECONDS_A_JOB * (len(jobs) - len(judging)) if refitted else 0.0
    judged = refit + _BLENDS * sum(len(job.judged) for job in jobs) * option.whole / (_STEP_COSTS * rate)
    plain = sum(len(job.judged) for job in jobs) if option.solved else rows
    after = seconds - plain / first_rate - judged
    layers = material.task.target.deepened() != material.task.target
    # More than fit are no reason to train less of the network, or not with what judged it: they follow from epochs.
    views = min(fitting, max(_FEWEST_VIEWS, _balanced(after, rows / view_rate, learnt / rate, layers)))
    affordable = math.floor((after - views * rows / view_rate) * rate / learnt)
    batch, maps = material.task.target.rows_a_step, material.model.head.maps
    epochs = min(_most_epochs(jobs, batch, maps=maps), max(0, affordable))
    if layers and epochs * min(len(job.rows) for job in jobs) < _FEWEST_STEPS_OF_MAPS * batch:
        batch //= 2
    return TuningPlan(
        net=material.plan.net_name,
        size=material.task.input.size,
        boundary=boundary,
        views=views,
        settled=False,
        epochs=epochs,
        batch_size=batch,
        dtype=str(dtype).removeprefix("torch."),
        sides=round(sides, 1),
        refitted=refitted,
        layers=layers,
        reserve=round(kept + judged, 1),
    )


def _steps_rate(
    material: Material, boundary: int, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, limit: float
) -> float:
    """Rows per second of training the stages from `boundary` on, by the best of some steps after a first: of 2 at
    least; of 5, and of more where the best do not agree, as long as all take less than `limit` seconds."""
    step, rows = _step_of(material, boundary, shapes, dtype), material.task.target.rows_a_step
    seconds = list[float]()
    while len(seconds) < 3 or (sum(seconds) < limit and (len(seconds) < 6 or not _agree(seconds[1:]))):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return rows / min(seconds[1:])


def _step_of(
    material: Material, boundary: int, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype
) -> Callable[[], object]:
    """A step of training on noise, with the labels of some rows."""
    target, place = material.task.target.deepened(), material.plan.device
    rows = target.rows_a_step
    tail = Tail(material.plan.net, own_head(target, material.plan.net, material.model.head), boundary)
    tail = tail.eval().to(place)
    *parts, last = (torch.rand(rows, *shape, device=place) for shape in shapes)
    last = last.to(dtype)
    if last.ndim == 4:
        last = last.contiguous(memory_format=torch.channels_last)
    learnt = material.rows_of("train")
    some = [learnt[number % len(learnt)] for number in range(rows)]
    sizes = [material.cache.facts_of(material.examples[row].source).raw_size for row in some]
    pieces = shown_of(material.task).pieces(torch.tensor(sizes, dtype=torch.int64))
    truth = {name: own.to(place) for name, own in target.encode(material.labels_of(some), pieces).items()}
    update = update_of(tail, target.loss, optimizer_of(tail))
    return lambda: update.read(update([Micro([*parts, last], truth, [rows])], [rows]))


def _most_epochs(jobs: Sequence[Rows], batch_size: int, *, maps: bool) -> int:
    """40, or as many more as trainings on maps need for their steps, where rows are few."""
    if not maps:
        return _MOST_EPOCHS
    return max(_MOST_EPOCHS, _STEPS_OF_MAPS * batch_size // max(1, max(len(job.rows) for job in jobs)))


def _enough_of_maps(jobs: Sequence[Rows], batch_size: int) -> int:
    """Epochs that fill the layers of a head on maps, however few rows there are."""
    fewest = min(len(job.rows) for job in jobs)
    return max(_ENOUGH_OF_MAPS, math.ceil(_ENOUGH_STEPS_OF_MAPS * batch_size / fewest))


def _agree(seconds: Sequence[float]) -> bool:
    """Whether the two best are nearly the same."""
    best, second = sorted(seconds)[:2]
    return second <= _SAME_PACE * best


def reserve(option: Option, jobs: Sequence[Rows], pace: float, *, frozen: bool = False) -> float:
    """Seconds for judging, scoring, tolerance and the report; frozen: whether no stage is trained."""
    material, again = option.material, _rows_run_again(option.material, jobs)
    run = again * option.unknown if frozen else again
    return (
        SECONDS_AT_END
        + (_TOLERANCE_SHARE * 60 * material.plan.recipe.minutes if material.task.target.whole else 0.0)
        + _SECONDS_A_JOB * len(jobs)
        + run / (pace * option.rate("reference"))
        + (again * SECONDS_A_PLACED_ROW if material.model.head.maps else 0.0)
    )


def _seconds_for_sides(option: Option, jobs: Sequence[Rows], pace: float) -> float:
    """Of what is run again, so much longer where each is seen from both sides; those that judge, from one too."""
    judged = sum(len(job.judged) for job in jobs)
    return (_rows_run_again(option.material, jobs) + judged) / (pace * option.rate("reference"))


def _rows_run_again(material: Material, jobs: Sequence[Rows]) -> int:
    """Judged, scored and a sample of those learnt from, on the reference path."""
    splits = material.splits
    scored = len(material.examples) if splits.scored_out_of_fold else len(material.rows_of("test"))
    judged = 0 if splits.scored_out_of_fold else sum(len(job.judged) for job in jobs)
    return scored + judged + min(most_rescored(material), len(material.examples))


def pace(option: Option) -> float:
    """The share of the probe's rates that this run attains: as it read, if it read enough and slowly, else 0.6."""
    material = option.material
    measured, computed = material.cost.get("images_per_second"), material.cost.get("computed", 0)
    if measured is None or int(str(computed)) < _ENOUGH_READ:
        return _VIEW_RATE
    backends = Counter(material.precision.values())
    promised = backends.total() / sum(count / option.rate(name) for name, count in backends.items())
    return min(_VIEW_RATE, float(str(measured)) / promised)
