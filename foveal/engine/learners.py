"""The two ways to learn from material: in closed form on frozen features, or by gradient steps.

Knows the contracts and the material. A learner says which rows are scored by which of its models, so that whoever
scores need not know which way was taken.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from foveal.contracts import Model, Predictor, Task
from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.evaluate import measure
from foveal.engine.fit import Fitting, Schedule
from foveal.engine.predict import feature_distances, live_predictor, predict_features
from foveal.engine.reading import Material
from foveal.errors import RunError
from foveal.types import Draw, Label, Output, Packed, Prediction, Step, Truth

HANDED_OVER = -1
"""The model that the run keeps; folds count from 0."""

_APART = -2
_CHUNK = 256
_RESCORED = 500


class Learner(ABC):
    """Learns from `material`; `commit` is called with every state worth keeping."""

    def __init__(self, material: Material, state: State, commit: Callable[[State], None]) -> None:
        self.material, self.state, self.commit = material, state, commit
        self.story: dict[str, object] = {}
        """JSON-able: what was tried and what came of it, for the card."""

        self.fitting: Fitting | None = None
        """The training in progress, if any."""

    def save(self) -> None:
        """Commit the newest snapshot of a training in progress, so that an interrupt loses little."""
        if self.fitting is not None:
            self.commit(self.fitting.state(self.state))

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """Learn; afterwards the other methods answer."""

    @abstractmethod
    def scored(self) -> dict[int, list[int]]:
        """Which rows are scored by which model: fold (or HANDED_OVER) -> rows that it has not seen."""

    @abstractmethod
    def seen(self) -> list[int]:
        """The rows that the handed-over model learnt from."""

    @abstractmethod
    def rescored(self) -> list[int]:
        """Those of `seen` rows on which the handed-over model is scored again, to compare with unseen ones."""

    @abstractmethod
    def model(self, fold: int) -> tuple[Task, Model]:
        """A model, calibrated."""

    @abstractmethod
    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        """Predictions for rows by one model, at most 256 at a time."""

    def extractor(self, fold: int) -> device.Runner | None:
        """What computes a model's features on the reference path; PyTorch itself where None."""
        return None

    def predictor(self, fold: int) -> Predictor:
        """A model, calibrated, for raw things of any origin, on the reference path."""
        task, model = self.model(fold)
        return live_predictor(model, task, self.extractor(fold))

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        """(len(rows),) float64: how far rows are from what one model learnt from; None where its head cannot say."""
        task, model = self.model(fold)
        raws = (task.input.load(self.material.examples[row].source) for row in rows)
        return feature_distances(model, task, raws, self.extractor(fold))


class ClosedForm(Learner):
    """Epoch 0: the head solved on features that the frozen pass kept; one head more for each fold."""

    def steps(self) -> Iterator[Step]:
        material = self.material
        digest = material.feature_digest()
        if self.state.decisions.get("features", digest) != digest:
            raise RunError(
                "the features computed now differ from those that this run began with; resume it on the machine and "
                "with the versions that it began with, or train again"
            )
        self.commit(self.state.decide(features=digest))
        self._heads: dict[int, tuple[Task, dict[str, Tensor]]] = {}
        fold = material.splits.fold
        folds = sorted({int(number) for number in fold if number >= 0})
        held = self.seen()
        first = self._score(held, self._solve(HANDED_OVER, held))
        yield Step("learn", 1, 1 + len(folds), first)
        for done, number in enumerate(folds):
            self._solve(number, [row for row in held if fold[row] != number])
            yield Step("learn", 2 + done, 1 + len(folds), first)

    def scored(self) -> dict[int, list[int]]:
        fold = self.material.splits.fold
        if not self.material.splits.scored_out_of_fold:
            return {HANDED_OVER: self.material.rows_of("test")}
        return {int(n): [row for row, own in enumerate(fold) if own == n] for n in sorted(set(fold.tolist()))}

    def seen(self) -> list[int]:
        # Nothing was tuned on the validation part: the penalty and the scale come from left-out scores.
        return self.material.rows_of("train", "val")

    def rescored(self) -> list[int]:
        """All, or a sample where the features of some came from a shortcut and have to be run again to be scored."""
        material, seen = self.material, self.seen()
        if all(material.precision[material.examples[row].source] == "reference" for row in seen):
            return seen
        return material.sample(seen, _RESCORED)

    def model(self, fold: int) -> tuple[Task, Model]:
        task, state = self._heads[fold]
        model = Model(task, self.material.plan.net)
        model.head.load_state_dict(state)
        return task, model.eval()

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        task, model = self.model(fold)
        if not calibrated:
            model.finish = self.material.task.target.finish()
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            features = self.material.reference_features(part)
            yield predict_features(model, task, features, self.material.pieces(part))

    def extractor(self, fold: int) -> device.Runner | None:
        return self.material.extract

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        _, model = self.model(fold)
        return model.head.distance(self.material.reference_features(rows))

    def task(self, fold: int) -> Task:
        """The task as calibrated for a fold's head."""
        return self._heads[fold][0]

    def solve_apart(self, rows: list[int]) -> int:
        """Solve one more head, on these rows only; returns the number by which `model` and `task` know it."""
        self._solve(_APART, rows)
        return _APART

    def _solve(self, fold: int, rows: list[int]) -> Output:
        """Solve on rows and keep the head as that of `fold`; returns what each row scores without its unit."""
        labels, task = self.material.labels_of(rows), self.material.task
        solution = task.target.solve(
            self.material.model.head, self.material.features(rows), labels, self.material.units_of(rows)
        )
        assert solution is not None, "a frozen plan needs a target with a closed form"
        target = task.target.calibrate(solution.left_out, labels)
        self._heads[fold] = (replace(task, target=target), solution.state)
        return solution.left_out

    def _score(self, rows: list[int], output: Output) -> dict[str, float]:
        target = self._heads[HANDED_OVER][0].target
        predictions = target.decode(target.finish()(output, self.material.pieces(rows)))
        scores = measure(target, predictions, self.material.labels_of(rows), self.material.units_of(rows))
        name, estimate = next(iter(scores.estimates.items()))
        return {name: estimate.value}


class Gradient(Learner):
    """The whole network trained by optimizer steps. Where folds were drawn, the first is scored and the second
    calibrates: one training, not one a fold."""

    def steps(self) -> Iterator[Step]:
        material, recipe = self.material, self.material.plan.recipe
        rows, task, model = self.seen(), material.task, material.model
        batches = PackedBatches(task, material.packed(rows), material.labels_of(rows), recipe.seed)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
            weight_decay=recipe.weight_decay,
        )
        steps = recipe.epochs * -(-len(rows) // recipe.batch_size)
        schedule = Schedule(steps, recipe.batch_size, recipe.seed, recipe.snapshot_steps)
        network = nn.Sequential(model.net, model.head).train()
        fitting = Fitting(network, task.target.loss, batches, optimizer, schedule, self.state)
        yield from committed(fitting, self, recipe.checkpoint_seconds)
        self._task = self._calibrated(self._part("val", 1))

    def scored(self) -> dict[int, list[int]]:
        return {HANDED_OVER: self._part("test", 0)}

    def seen(self) -> list[int]:
        if self.material.splits.scored_out_of_fold:
            return [row for row, fold in enumerate(self.material.splits.fold) if fold > 1]
        return self.material.rows_of("train")

    def rescored(self) -> list[int]:
        return self.seen()

    def model(self, fold: int) -> tuple[Task, Model]:
        model = self.material.model.eval()
        model.finish = self._task.target.finish()
        return self._task, model

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        task, model = self.model(fold)
        if not calibrated:
            model.finish = self.material.task.target.finish()
        predict = live_predictor(model, task)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            yield predict([task.input.load(self.material.examples[row].source) for row in part])

    def _part(self, split: str, fold: int) -> list[int]:
        if self.material.splits.scored_out_of_fold:
            return [row for row, own in enumerate(self.material.splits.fold) if own == fold]
        return self.material.rows_of(split)

    def _calibrated(self, rows: list[int]) -> Task:
        task, model = self.material.task, self.material.model.eval()
        if not rows:
            return task
        outputs = []
        with torch.inference_mode():
            for row in rows:
                raw = task.input.load(self.material.examples[row].source)
                outputs.append(model.head(model.net(model.stem(task.input.tensor(raw))[0])))
        joined = {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
        return replace(task, target=task.target.calibrate(joined, self.material.labels_of(rows)))


@dataclass(frozen=True)
class PackedBatches:
    """Batches of packed raw things, decoded and augmented by their Input at each step."""

    task: Task
    packed: Sequence[Packed]
    labels: Sequence[Label]
    seed: int

    def __len__(self) -> int:
        return len(self.packed)

    def batch(self, rows: list[int], epoch: int) -> tuple[Sequence[Tensor], Truth]:
        draw = Draw(self.seed, epoch, tuple(rows))
        x, pieces = self.task.input.batch([self.packed[i] for i in rows], draw)
        return (x,), self.task.target.encode([self.labels[i] for i in rows], pieces)


def committed(fitting: Fitting, learner: Learner, seconds: float) -> Iterator[Step]:
    """The steps of `fitting`; its newest snapshot is committed as the learner's state every so many seconds."""
    learner.fitting = fitting
    saved, kept = time.monotonic(), fitting.kept
    for step in fitting:
        if fitting.kept != kept and time.monotonic() - saved >= seconds:
            learner.commit(fitting.state(learner.state))
            saved, kept = time.monotonic(), fitting.kept
        yield step
    learner.fitting = None
    learner.state = fitting.state(learner.state)
    learner.commit(learner.state)
