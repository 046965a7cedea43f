"""Training a whole network from nothing, by gradient steps.

Knows the contracts, fitting and the optimizer. How many steps there are is decided once from the time left and
recorded; nothing depends on the clock but a stop at the budget, which is recorded too.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from foveal.contracts import Net, Task
from foveal.engine import device, ghosts, training_plan
from foveal.engine.checkpoint import State
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.frozen import Gathered
from foveal.engine.judging import FAVOURED, calibrated_costs, favour
from foveal.engine.learners import HANDED_OVER, Learner, bounded
from foveal.engine.mirror import tolerates_mirror
from foveal.engine.muon import Muon, adam, turned
from foveal.engine.progress import EXAMPLES, Watched, watched
from foveal.engine.reading import Material
from foveal.engine.reference import CHUNK, Reference
from foveal.engine.symmetric import Symmetric
from foveal.engine.training_plan import TrainingPlan
from foveal.model import Model
from foveal.recipe import Recipe
from foveal.types import Draw, Label, Output, Packed, Prediction, Stacked, Step, Truth
from foveal.workers import Workers

TRAINING = "train"
"""The name of a training that is scored and reported; any other is a trial."""

_DECODED_AT_ONCE = 256
_PREPARED_ROWS = 500
_OTHER_RATE = 0.02
# A head sums hundreds of features, each of which a step of Adam moves as far; above so many its rate falls with their
# number. At the rate of the others the loss of hand signs first rises from 2.3 to 28
# (`python -m benchmarks.recipe "head at full rate" --sets signs`, column "worst loss").
_FULL_RATE_INPUTS = 64
# Without BatchNorm a large step changes all that follows: everything is moved by Adam, at a rate that goes with the
# root of the batch.
_PLAIN_RATE, _PLAIN_BATCH = 0.001, 64
# Steps up to which a network's epochs are no limit: of few examples it would else learn nothing.
_ENOUGH_STEPS = 400
_SMOOTHING = 0.2
# Rows over which BatchNorm takes its statistics, so that memory may be halved twice.
GHOST = 128
MOST_JUDGED = 1000
"""Unseen examples that decide between networks; more of them would cost more than they tell."""

_FEWEST_JUDGED, _JUDGED_SHARE = 200, 0.05


class Gradient(Learner):
    """Where folds were drawn, the first is scored and the second calibrates: one training, not one a fold.

    left: seconds of the budget; name: under which its plan stands among the run's decisions; mirrors: whether left
    and right may be swapped, for all that the caller knows.
    """

    def __init__(
        self,
        material: Material,
        state: State,
        commit: Callable[[State], None],
        left: Callable[[], float],
        name: str = TRAINING,
        mirrors: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(material, state, commit, left)
        self.name, self.mirrors = name, mirrors

    def steps(self) -> Iterator[Step]:
        material, rows, packed = self.material, self.seen(), []
        yield from self._decode(rows, packed)
        examples = device.placed(material.task.input.stack(packed), material.plan.device)
        plan = training_plan.decided(self.state, self.name)
        if plan is None:
            plan = self._choose(rows, examples)
            self.state = self.state.decide(**{self.name: asdict(plan)})
            self.commit(self.state)
        trainee = self._trainee(plan, examples)
        fitting = self._fitting(trainee, plan, examples, self._watched(trainee, rows, examples))
        first, began = fitting.done, time.perf_counter()
        yield from bounded(fitting, self, material.plan.recipe.checkpoint_seconds, plan, self.name)
        self._tell_cost(plan, (fitting.done - first) * plan.batch_size, time.perf_counter() - began)
        self.task = replace(as_trained(material.task, mirror=plan.mirror), target=material.task.target)
        self.network = Model(self.task, trainee.net.cpu(), trainee.head.cpu()).eval().requires_grad_(False)
        prepared = type(material.plan.net).prepare is not Net.prepare
        epochs = round(fitting.done * plan.batch_size / len(rows), 1)
        self.story = {"train": asdict(plan), "epochs": epochs, "prepared": prepared}
        if self.name == TRAINING:
            if plan.mirror:
                yield from self._see_both_sides()
            self._settle()
        self._reference = Reference(material, self.network)
        if self.name == TRAINING:
            self._calibrate()
        if self.name in self.stops:
            self.story["stopped"] = f"{self.why_stopped} after {fitting.done} of {plan.steps} steps"

    def judged(self) -> list[int]:
        """Rows that training never saw and that are not scored; none where there are but two folds.

        All of the validation part for a trial, which is compared with what learnt from none of it; else as many as
        suffice, since the others are worth more to learn from.
        """
        return self._judged

    @cached_property
    def _judged(self) -> list[int]:
        rows = self._part("val", 1) if self._folds != 2 else []
        learnable = len(self.material.examples) - len(self._part("test", 0))
        enough = min(MOST_JUDGED, max(_FEWEST_JUDGED, round(_JUDGED_SHARE * learnable)))
        if self.name != TRAINING or len(rows) <= enough:
            return rows
        units = dict(zip(rows, self.material.units_of(rows).tolist(), strict=True))
        members = defaultdict[int, list[int]](list)
        for row in rows:
            members[units[row]].append(row)
        order = dict.fromkeys(units[row] for row in self.material.shuffled(rows))
        drawn = list[int]()
        for unit in order:
            if len(drawn) >= enough:
                break
            drawn += members[unit]
        return sorted(drawn)

    def scored(self) -> dict[int, list[int]]:
        return {HANDED_OVER: self._part("test", 0)}

    def seen(self) -> list[int]:
        return self._seen

    @cached_property
    def _seen(self) -> list[int]:
        if self.material.splits.scored_out_of_fold:
            held = {*range(len(self.material.examples))} - {*self._part("test", 0)}
        else:
            held = {*self.material.rows_of("train", "val")}
        return sorted(held - {*self.judged()})

    def rescored(self) -> list[int]:
        return self.material.sample(self.seen(), training_plan.RESCORED)

    def model(self, fold: int) -> tuple[Task, Model]:
        return self.task, self.network

    def outputs(self, rows: Sequence[int]) -> Output:
        """Uncalibrated, on the reference path."""
        return self._reference.outputs(rows)

    def extractor(self, fold: int) -> device.Runner | None:
        return self._reference.extract

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        return self._reference.distances(rows)

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        task, model = self.model(fold)
        finish = model.finish if calibrated else self.material.task.target.finish()
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            output = self.outputs(part)
            with torch.inference_mode():
                yield task.target.decode(finish(output, self.material.pieces(part)))

    def _decode(self, rows: Sequence[int], packed: list[Packed]) -> Iterator[Step]:
        """Fill `packed`; from the cache where the pass kept them."""
        material, input = self.material, self.material.task.input
        if material.cache.packed is not None:
            packed += material.packed(list(rows))
            return
        sources = [material.examples[row].source for row in rows]
        with Workers(torch.get_num_threads()) as pool:
            for start in range(0, len(sources), _DECODED_AT_ONCE):
                part = sources[start : start + _DECODED_AT_ONCE]
                packed += pool.map(lambda source: input.pack(input.load(source)), part)
                yield Step("decode", len(packed), len(sources))

    def _choose(self, rows: Sequence[int], examples: Stacked) -> TrainingPlan:
        material, recipe = self.material, self.material.plan.recipe
        dtype = str(device.training_dtype(material.plan.device)).removeprefix("torch.")
        wanted = training_plan.batch_size(len(rows), plain=not ghosts.has_batchnorm(material.plan.net))
        batch = min(recipe.batch_size or wanted, len(rows))
        warm_up = training_plan.warm_up(material.plan.device)
        plan = TrainingPlan(warm_up + 2, batch, dtype, mirror=tolerates_mirror(material, rows) and self.mirrors())
        if recipe.epochs is not None:
            return replace(plan, steps=recipe.epochs * -(-len(rows) // batch))
        trial = iter(self._fitting(self._trainee(plan, examples), plan, examples))
        rate = training_plan.rows_per_second(lambda: next(trial), batch, warm_up)
        if self.name == TRAINING:
            rows_after = [*self.scored()[HANDED_OVER], *self.judged()]
            reserve = training_plan.reserve(material, rows_after, sides=2 if plan.mirror else 1)
        else:
            reserve = training_plan.seconds_to_score(material, self.judged()[:MOST_JUDGED])
        most = max(material.plan.net.most_epochs, -(-_ENOUGH_STEPS * batch // len(rows)))
        steps = training_plan.steps_for(self.left() - reserve, rate, len(rows), batch, most)
        return replace(plan, steps=steps, reserve=round(reserve, 1), rows_per_second=round(rate, 1))

    def _trainee(self, plan: TrainingPlan, examples: Stacked) -> Trainee:
        """Untrained; what the net computes from examples is computed."""
        trainee = Trainee(copy.deepcopy(self.material.model), plan.torch_dtype)
        first = examples.take(range(min(len(examples.array), _PREPARED_ROWS))).to("cpu")
        with torch.no_grad():
            trainee.net.prepare(self.material.task.input.batch(first, None)[0])
        return trainee.to(self.material.plan.device).train()

    def _watched(self, trainee: Trainee, rows: list[int], examples: Stacked) -> Watched | None:
        """A trial is not looked at."""
        if self.name != TRAINING:
            return None
        shown, place = self.material.varied(rows, EXAMPLES), {row: index for index, row in enumerate(rows)}
        x, _ = self.material.task.input.batch(examples.take([place[row] for row in shown]), None)
        return watched(trainee, trainee.net.stages, shown, (x.to(self.material.plan.device),))

    def _fitting(
        self, trainee: Trainee, plan: TrainingPlan, examples: Stacked, watched: Watched | None = None
    ) -> Fitting:
        material, recipe = self.material, self.material.plan.recipe
        task = as_trained(material.task, mirror=plan.mirror)
        batches = StackedBatches(task, examples, material.labels_of(self.seen()), recipe.seed, material.plan.device)
        schedule = Schedule(plan.steps, plan.batch_size, recipe.seed, recipe.snapshot_steps)
        optimizer = optimizer_of(trainee, recipe, plan.batch_size)
        ghost = min(GHOST, plan.batch_size)
        loss, state = task.target.loss, self.state
        return Fitting(trainee, loss, batches, optimizer, schedule, state, self.name, ghost=ghost, watched=watched)

    def _tell_cost(self, plan: TrainingPlan, rows: int, seconds: float) -> None:
        """Rows per second, and what share of the machine's peak that is: a step is three times a forward pass."""
        material = self.material
        if not rows or self.name != TRAINING:
            return
        material.cost["training_rows_per_second"] = round(rows / seconds, 1)
        if material.plan.device == "cpu":
            net = Gathered(material.plan.net, material.model.head)
            done = 3 * device.operations(net, (1, *material.task.input.shape()))
            peak = device.multiply_peak(plan.torch_dtype)
            material.cost["training_peak_share"] = round(rows / seconds * done / peak, 3)

    def _see_both_sides(self) -> Iterator[Step]:
        """Hand over a network that sees each input and its mirror image, if unseen examples favour it."""
        material, losses = self.material, []
        rows = material.sample(self.judged(), MOST_JUDGED)
        if not rows:
            return
        both = Model(self.task, Symmetric(self.network.net), self.network.head).eval().requires_grad_(False)
        for done, model in enumerate((self.network, both)):
            output = Reference(material, model).outputs(rows)
            losses.append(calibrated_costs(self.task.target, output, material.labels_of(rows), material.pieces(rows)))
            yield Step("judge", done + 1, 2)
        favoured = favour(losses[0] - losses[1], material.units_of(rows))
        one, two = (round(float(loss.mean()), 4) for loss in losses)
        kept = favoured >= FAVOURED
        self.story["sides"] = {
            "kept": kept, "losses": [one, two], "favoured": round(favoured, 3), "judged": len(rows),
        }  # fmt: skip
        self.network = both if kept else self.network

    def _settle(self) -> None:
        """What the head says is said relative to training examples from now on."""
        material = self.material
        rows = material.sample(self.seen(), training_plan.RESCORED)
        features = material.extracted(rows, material.compiled(self.network))
        self.network.head.settle(features)

    def _calibrate(self) -> None:
        rows = self.judged()
        if not rows:
            return
        material = self.material
        target = self.task.target.calibrate(self.outputs(rows), material.labels_of(rows), material.pieces(rows))
        self.task = replace(self.task, target=target)
        self.network.finish = target.finish()

    @property
    def _folds(self) -> int:
        splits = self.material.splits
        return len(set(splits.fold.tolist())) if splits.scored_out_of_fold else 0

    def _part(self, split: str, fold: int) -> list[int]:
        if self.material.splits.scored_out_of_fold:
            return [row for row, own in enumerate(self.material.splits.fold) if own == fold]
        return self.material.rows_of(split)


class Trainee(nn.Module):
    """Net and head of a model; the net computes in `dtype`, its weights are kept in float32."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.head, self.dtype = model.net, model.head, dtype

    def forward(self, x: Tensor) -> Output:
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
            maps = self.net(x)
        parts = [self.head.reduce(stage, level).float() for stage, level in enumerate(maps)]
        return self.head.read(self.head.join(parts))

    def filters(self) -> list[nn.Parameter]:
        """Of the net's convolutions."""
        return [p for p in self.net.parameters() if p.ndim > 2 and p.requires_grad]

    def others(self) -> list[nn.Parameter]:
        """What else the net trains."""
        filters = {id(p) for p in self.filters()}
        return [p for p in self.net.parameters() if p.requires_grad and id(p) not in filters]


@dataclass(frozen=True)
class StackedBatches:
    """Batches of packed things on `device`, augmented there by their Input at each step."""

    task: Task
    examples: Stacked
    labels: Sequence[Label]
    seed: int
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.examples.array)

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        draw = Draw(self.seed, epoch, tuple(rows))
        x, pieces = self.task.input.batch(self.examples.take(rows).to(self.device), draw)
        truth = self.task.target.encode([self.labels[i] for i in rows], pieces)
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        return (x.contiguous(memory_format=layout),), {name: tensor.to(self.device) for name, tensor in truth.items()}


def optimizer_of(trainee: Trainee, recipe: Recipe, batch_size: int) -> Muon:
    """What moves it."""
    head, decay = trainee.head, recipe.weight_decay
    if not ghosts.has_batchnorm(trainee.net):
        return Muon(adam(list(trainee.parameters()), _PLAIN_RATE * (batch_size / _PLAIN_BATCH) ** 0.5, decay))
    return Muon(
        turned(trainee.filters(), recipe.learning_rate, recipe.momentum),
        adam(trainee.others(), _OTHER_RATE, decay),
        adam(list(head.parameters()), _head_rate(head), decay),
    )


def _head_rate(head: nn.Module) -> float:
    inputs = max((p[0].numel() for p in head.parameters() if p.ndim > 1), default=1)
    return _OTHER_RATE * min(1.0, _FULL_RATE_INPUTS / inputs)


def as_trained(task: Task, *, mirror: bool) -> Task:
    """With the augmentation and the loss of a training from nothing."""
    input = task.input.from_nothing()
    return replace(task, input=input if mirror else input.one_sided(), target=task.target.smoothed(_SMOOTHING))
