"""What learning from material promises, and the closed form on frozen features.

Knows the contracts and the material. A learner says which rows are scored by which of its models, so that whoever
scores need not know which way was taken.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Predictor, Task
from foveal.engine import device
from foveal.engine.checkpoint import State
from foveal.engine.evaluate import measure
from foveal.engine.fit import Fitting
from foveal.engine.predict import feature_distances, live_predictor, predict_features
from foveal.engine.reading import Material, Plan
from foveal.errors import RunError
from foveal.model import Model
from foveal.types import Output, Prediction, Step

HANDED_OVER = -1
"""The model that the run keeps; folds count from 0."""

FOLDS = "folds_scored"
"""The decision how many folds are solved and scored, where there was no time for all."""

ENOUGH = -math.inf
"""Seconds left where somebody said to finish with what is learnt so far."""

NO_TIME = "the time given is used up by the closed form"
"""Why nothing is trained beside or after it, in words."""

_APART, _FEWEST_FOLDS, _SPARED_SECONDS = -2, 2, 5.0
_STEPS_TO_TELL, _ROWS_TO_TELL, _MOST_SLOWNESS = 10, 160, 3.0
_CHUNK, _CHUNK_OF_MAPS = 256, 32
_RESCORED, _RESCORED_BY_MAPS = 500, 100


def most_rescored(material: Material) -> int:
    """Of the rows learnt from, how many are scored at most to compare with unseen ones."""
    return _RESCORED_BY_MAPS if material.model.head.maps else _RESCORED


def why_not_trained(plan: Plan, judged: int, needed: int, left: float) -> str:
    """In words, what but time stands against training further with so many unseen examples to judge by; nothing does
    where empty. left: seconds of the budget."""
    if not plan.tunable:
        return "its filters are made by hand"
    if left == ENOUGH:
        return "it was told to finish"
    return f"{judged} validation examples are too few to judge by, {needed} are needed" if judged < needed else ""


class Learner(ABC):
    """Learns from `material`; `commit` is called with every state worth keeping; left: seconds of the budget."""

    def __init__(
        self,
        material: Material,
        state: State,
        commit: Callable[[State], None],
        left: Callable[[], float],
    ) -> None:
        self.material, self.state, self.commit, self.left = material, state, commit, left
        self.story: dict[str, object] = {}
        """JSON-able: what was tried and what came of it, for the card."""

        self.fitting: Fitting | None = None
        """The training in progress, if any."""

    def save(self) -> None:
        """Commit the newest snapshot of a training in progress, so that an interrupt loses little."""
        if self.fitting is not None:
            self.commit(self.fitting.state(self.state))

    @property
    def stops(self) -> Mapping[str, int]:
        """What was ended early: the name of a job -> after how many steps."""
        return cast("Mapping[str, int]", self.state.decisions.get("stopped", {}))

    def stop(self, job: str, done: int) -> None:
        """Decide to end a job early, because the time ran out or somebody said so."""
        told = {"told_to_finish": True} if self.left() == ENOUGH else {}
        stopped = {**self.stops, job: done}
        self.state = replace(self.state, decisions={**self.state.decisions, "stopped": stopped, **told})

    @property
    def why_stopped(self) -> str:
        """In words, once something was."""
        return "it was told to finish" if "told_to_finish" in self.state.decisions else "the time ran out"

    @property
    def plan(self) -> Plan:
        """What the handed-over model was made by."""
        return self.material.plan

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
        """Predictions for rows by one model, a few at a time."""

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
    """Epoch 0: the head solved on features that the frozen pass kept; one head more for each fold.

    solved_in: the seconds that the last of them took.
    """

    solved_in = 0.0
    _without: tuple[list[int], tuple[Task, dict[str, Tensor]]] | None = None

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
        self._left_out = self._solve(HANDED_OVER, held)
        some = material.sample(held, _RESCORED_BY_MAPS) if material.model.head.maps else held
        first = self._score(some, self.left_out(some))
        yield Step("learn", 1, 1 + len(folds), first)
        began = time.perf_counter()
        for done, number in enumerate(folds):
            if done >= _FEWEST_FOLDS and FOLDS not in self.state.decisions:
                self._afford(done, folds, (time.perf_counter() - began) / done)
            if done == self.state.decisions.get(FOLDS):
                return
            if number not in self._heads:
                self._solve(number, [row for row in held if fold[row] != number])
            yield Step("learn", 2 + done, 1 + len(folds), first)

    def _afford(self, done: int, folds: list[int], seconds: float) -> None:
        """Decide to leave it at so many folds, where there is no time for the others, each of which takes so many
        seconds to solve, and to score the rows of all of them. A test of all examples is worth a few seconds more."""
        material = self.material
        rows = [int((material.splits.fold == number).sum()) for number in folds]
        more = seconds * (len(folds) - done) + material.seconds_to_run_again(sum(rows[done:]))
        kept = material.seconds_to_score(sum(rows) + most_rescored(material))
        if more > _SPARED_SECONDS and self.left() < kept + seconds:
            self.state = self.state.decide(**{FOLDS: done})
            self.commit(self.state)

    def scored(self) -> dict[int, list[int]]:
        fold = self.material.splits.fold
        if not self.material.splits.scored_out_of_fold:
            return {HANDED_OVER: self.material.rows_of("test")}
        folds = sorted(set(fold.tolist()))[: cast("int | None", self.state.decisions.get(FOLDS))]
        return {int(n): [row for row, own in enumerate(fold) if own == n] for n in folds}

    def seen(self) -> list[int]:
        # Nothing was tuned on the validation part: the penalty and the scale come from left-out scores.
        return self.material.rows_of("train", "val")

    def rescored(self) -> list[int]:
        """All, or a sample where the features of some came from a shortcut and have to be run again to be scored."""
        material, seen = self.material, self.seen()
        if all(material.precision[material.examples[row].source] == "reference" for row in seen):
            return seen
        return material.sample(seen, most_rescored(material))

    def model(self, fold: int) -> tuple[Task, Model]:
        task, state = self._head(fold)
        model = Model(task, self.material.plan.net)
        model.head.load_state_dict(state)
        return task, model.eval()

    def predict(self, fold: int, rows: list[int], *, calibrated: bool = True) -> Iterator[list[Prediction]]:
        task, model = self.model(fold)
        if not calibrated:
            model.finish = self.material.task.target.finish()
        few = device.fewer(_CHUNK_OF_MAPS, task.input.shape())
        step = few if model.head.maps else _CHUNK
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            features = self.material.reference_features(part)
            yield predict_features(model, task, features, self.material.pieces(part))

    def extractor(self, fold: int) -> device.Runner | None:
        return self.material.extract

    def distances(self, fold: int, rows: list[int]) -> Tensor | None:
        _, model = self.model(fold)
        if model.head.distance(self.material.features(rows[:1])) is None:
            return None
        return model.head.distance(self.material.reference_features(rows))

    def task(self, fold: int) -> Task:
        """The task as calibrated for a fold's head."""
        return self._head(fold)[0]

    def left_out(self, rows: list[int]) -> Output:
        """What the handed-over model would say of some that it has seen, had it not seen their units."""
        place = {row: number for number, row in enumerate(self.seen())}
        chosen = torch.tensor([place[row] for row in rows])
        return {name: tensor[chosen] for name, tensor in self._left_out.items()}

    def solve_apart(self, rows: list[int]) -> int:
        """One more head, solved on these rows only once it is asked for; returns the number by which `model` and
        `task` know it."""
        self._apart = rows
        return _APART

    def _head(self, fold: int) -> tuple[Task, dict[str, Tensor]]:
        if fold == _APART and fold not in self._heads:
            if self._without is not None and self._without[0] == self._apart:
                self._heads[fold] = self._without[1]
            else:
                self._solve(_APART, self._apart)
        return self._heads[fold]

    def _solve(self, fold: int, rows: list[int]) -> Output:
        """Solve on rows and keep the head as that of `fold`; returns what each row scores without its unit."""
        material, task, began = self.material, self.material.task, time.perf_counter()
        labels, pieces, units = material.labels_of(rows), material.pieces(rows), material.units_of(rows)
        features, parts = material.features_in_parts(rows), self._kept_apart(rows) if fold == HANDED_OVER else {}
        solution = task.target.solve(material.model.head, features, labels, pieces, units, list(parts.values()))
        assert solution is not None, "a frozen plan needs a target with a closed form"
        target = task.target.calibrate(solution.left_out, labels, pieces)
        self._heads[fold] = (replace(task, target=target), solution.state)
        for (number, places), own in zip(parts.items(), solution.apart, strict=False):
            # Where it has no confidence of its own, that of all stands for it until something is trained from it.
            head = replace(task, target=own.target or target), own.state
            if number == _APART:
                self._without = sorted(set(rows) - {rows[place] for place in places}), head
            else:
                self._heads[number] = head
        self.solved_in = time.perf_counter() - began
        return solution.left_out

    def _kept_apart(self, rows: list[int]) -> dict[int, list[int]]:
        """By the number of the head that is to know nothing of them: the places among the rows of each fold, or of
        those by which a training is judged."""
        splits = self.material.splits
        if splits.scored_out_of_fold:
            own = splits.fold[rows]
            return {int(n): np.flatnonzero(own == n).tolist() for n in sorted(set(own.tolist())) if n >= 0}
        judged = set(self.material.rows_of("val")) if self.material.plan.tunable else set[int]()
        places = [place for place, row in enumerate(rows) if row in judged]
        return {_APART: places} if places else {}

    def _score(self, rows: list[int], output: Output) -> dict[str, float]:
        target = self._heads[HANDED_OVER][0].target
        predictions = target.decode(target.finish()(output, self.material.pieces(rows)))
        scores = measure(target, predictions, self.material.labels_of(rows), self.material.units_of(rows))
        name, estimate = next(iter(scores.estimates.items()))
        return {name: estimate.value}


def committed(fitting: Fitting, learner: Learner, seconds: float) -> Iterator[Step]:
    """The steps of `fitting`; its newest snapshot is committed as the learner's state every so many seconds, and
    what it decides at once, before it acts."""
    learner.fitting = fitting
    saved, kept = time.monotonic(), fitting.kept
    for step in fitting:
        if fitting.decisions.keys() & step.values.keys():
            learner.state = replace(learner.state, decisions={**learner.state.decisions, **fitting.decisions})
            learner.commit(fitting.state(learner.state))
        if fitting.kept != kept and time.monotonic() - saved >= seconds:
            learner.commit(fitting.state(learner.state))
            saved, kept = time.monotonic(), fitting.kept
        yield step
    learner.fitting = None
    learner.state = fitting.state(learner.state)
    learner.commit(learner.state)


class Paced(Protocol):
    """What a plan says of a training's pace; reserve: seconds kept for what comes after it."""

    @property
    def reserve(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def rows_per_second(self) -> float: ...


def bounded(fitting: Fitting, learner: Learner, seconds: float, plan: Paced, job: str) -> Iterator[Step]:
    """The same, until what is left of the budget is needed for what comes after: training `job` ends there, and at
    which step it did is a decision of the run."""
    steps = fitting.schedule.steps
    if fitting.done >= learner.stops.get(job, steps):  # killed after it stopped
        fitting.stop()
    first, began = fitting.done, time.perf_counter()
    for step in committed(fitting, learner, seconds):
        reserve = plan.reserve * slowness(plan, fitting.done - first, time.perf_counter() - began)
        if job not in learner.stops and fitting.done < steps and learner.left() < reserve:
            learner.stop(job, fitting.done)
            learner.commit(fitting.state(learner.state))
        if fitting.done >= learner.stops.get(job, steps):
            fitting.stop()
        yield step


def slowness(plan: Paced, steps: int, seconds: float) -> float:
    """How many times slower than planned these steps were, from 1 to 3: what comes after will be as slow."""
    if steps < _STEPS_TO_TELL or steps * plan.batch_size < _ROWS_TO_TELL:
        return 1.0
    return min(_MOST_SLOWNESS, max(1.0, seconds * plan.rows_per_second / (steps * plan.batch_size)))
