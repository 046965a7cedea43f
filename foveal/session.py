"""One training run, from examples to a finished run folder, as a generator of steps.

Knows the order of the phases and what each leaves in the run folder; printing, budgets and signals are the body of
the caller's `for`. Everything is a function of the data, the recipe and the decisions in the state, so a run that is
killed anywhere and resumed ends with the same bytes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from foveal import bundle, moments, samples, tolerance
from foveal.card import build_card
from foveal.contracts import Net, Task
from foveal.engine import checkpoint
from foveal.engine.checkpoint import State
from foveal.engine.contest import learner
from foveal.engine.curve import curves
from foveal.engine.learners import ENOUGH, HANDED_OVER, Learner
from foveal.engine.reading import Material, Plan, decide, read
from foveal.explain.ledger import ledger
from foveal.outcome import Outcome, score
from foveal.recipe import Recipe
from foveal.report.page import Sample, render
from foveal.types import Dataset, Step

_SAMPLES = 12
_CLOSING_SECONDS = 4.0


class Inspection:
    """Reading without learning: iterate `steps()`; afterwards `material.findings` is all that is odd."""

    material: Material

    def __init__(self, data: Dataset, task: Task) -> None:
        # Nothing is learnt, so the network that the material wants to learn with is empty.
        self.plan = Plan(data, task, _NoNet(), "none", "none", False, Recipe(size=task.input.size, epochs=0))

    def steps(self) -> Iterator[Step]:
        self.material, steps = read(self.plan, decide(self.plan, State()))
        yield from steps


class _NoNet(Net):
    channels, strides = (1,), (1,)


class Session:
    """A run in progress: iterate `steps()`; afterwards the run folder is complete."""

    material: Material
    learner: Learner
    outcome: Outcome

    def __init__(self, folder: Path, plan: Plan, state: State | None = None, *, began: float | None = None) -> None:
        """began: the `time.perf_counter()` from which on the budget counts; now, if not given."""
        self.folder, self.plan = folder, plan
        self.state = state or State()
        self._clock = _Clock(time.perf_counter() if began is None else began)
        self._used = int(self.state.position.get("seconds", 0))
        self._is_enough = False
        self.is_learning = False

    def steps(self) -> Iterator[Step]:
        """Every phase in order; each ends with a commit."""
        self._enter("begin")
        phases = {
            "read": self._read,
            "learn": self._learn,
            "evaluate": self._evaluate,
            "tolerance": self._disturb,
            "report": self._report,
        }
        for name, phase in phases.items():
            self._clock.start(name)
            yield from phase()
            self._clock.stop()
            self._enter(name)
        bundle.save_card(self.folder, self._card())

    def save(self) -> None:
        """Commit what is done, for an interrupt; a resume goes on from there."""
        if "learner" in vars(self):
            self.learner.save()

    def finish_early(self) -> None:
        """Learn no further, as if the time were used up: what is learnt so far is tested and reported."""
        self._is_enough = True

    def _enter(self, phase: str) -> None:
        self._commit(replace(self.state, position={**self.state.position, "phase": phase}))

    def _commit(self, state: State) -> None:
        seconds = self._used + round(self._clock.elapsed())
        self.state = replace(state, position={**state.position, "seconds": seconds})
        checkpoint.commit(self.folder, self.state)

    def _read(self) -> Iterator[Step]:
        self._commit(decide(self.plan, self.state))
        self.material, steps = read(self.plan, self.state, self.state.decisions.get("data"))
        yield from steps
        self.state = self.state.decide(data=self.material.data_digest())
        self._write_splits()

    def _left(self) -> float:
        """Seconds of the budget that are not used up; those before a kill count."""
        return 60 * self.plan.recipe.minutes - self._used - self._clock.elapsed()

    def _left_to_learn(self) -> float:
        """The same; ENOUGH after `finish_early`."""
        return ENOUGH if self._is_enough else self._left()

    def _affords(self, scored_again: int) -> bool:
        """Whether more rows that were learnt from are scored; where the budget ends it, that is a decision."""
        if "scored_again" not in self.state.decisions and self._left() < _CLOSING_SECONDS:
            self._commit(self.state.decide(scored_again=scored_again))
        return scored_again != self.state.decisions.get("scored_again")

    def _write_splits(self) -> None:
        material, data = self.material, self.plan.data
        splits, describe = material.splits, material.task.target.describe
        names = [data.name(example) for example in material.examples]
        files = [material.cache.keys[example.source].hex() for example in material.examples]
        labels = [describe(label) for label in material.labels]
        rows = zip(names, splits.split, splits.fold, splits.unit, labels, files, strict=True)
        bundle.save_rows(self.folder / bundle.SPLITS, bundle.SPLITS_HEADER, rows)

    def _learn(self) -> Iterator[Step]:
        self.learner = learner(self.material, self.state, self._commit, self._left_to_learn)
        self.is_learning = True
        yield from self.learner.steps()
        self.is_learning = False
        _, model = self.learner.model(HANDED_OVER)
        self._weights_sha256 = bundle.save_weights(self.folder, model.state_dict())

    def _evaluate(self) -> Iterator[Step]:
        """The test part is opened here, once."""
        self.outcome = Outcome(self.material)
        yield from score(self.outcome, self.learner, self._affords)
        self._write_predictions()

    def _write_predictions(self) -> None:
        outcome = self.outcome
        rows = [
            (
                outcome.name(index),
                outcome.folds[index],
                outcome.truth(index),
                outcome.said(index),
                f"{outcome.predictions[index].score:.6f}",
            )
            for index in outcome.in_order()
        ]
        bundle.save_rows(self.folder / bundle.PREDICTIONS, ("file", "fold", "label", "predicted", "score"), rows)
        parts = {"test": outcome.scores, "train": outcome.train}
        lines = [
            {"part": part, **{name: e.to_json() for name, e in scores.estimates.items()}}
            for part, scores in parts.items()
        ]
        lines += [{"training": curve.pop("name"), **curve} for curve in curves(self.state)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        checkpoint.write_atomic(self.folder / bundle.METRICS, text.encode())

    def _disturb(self) -> Iterator[Step]:
        """On as many of the scored rows as there is time for."""
        if not tolerance.is_measurable(self.material.task):
            return
        if "tolerance" not in self.state.decisions:
            used = self._used + self._clock.elapsed()
            count = tolerance.affordable(self.outcome, self.learner, used, self._left)
            self._commit(self.state.decide(tolerance=count))
        yield from tolerance.disturb(self.outcome, self.learner, int(str(self.state.decisions["tolerance"])))

    def _report(self) -> Iterator[Step]:
        chosen, shown = _choose_samples(self.outcome), []
        for index in chosen:
            shown.append(self._sample(index))
            yield Step("report", len(shown), len(chosen) + 1)
        samples.save(self.folder, shown)
        grown = moments.of_run(self.state, self.material)
        if grown is not None:
            moments.save(self.folder, grown)
        self._clock.stop()  # before the page that shows the times
        checkpoint.write_atomic(self.folder / bundle.REPORT, render(self._card(), shown, grown).encode())
        yield Step("report", len(chosen) + 1, len(chosen) + 1)

    def _sample(self, index: int) -> Sample:
        """One scored row, explained by the model that had not seen it."""
        outcome = self.outcome
        task, model = self.learner.model(outcome.folds[index])
        raw = task.input.load(self.material.examples[outcome.rows[index]].source)
        picture, prediction = task.input.render(raw), outcome.predictions[index]
        ideal = task.target.ideal(self.material.labels[outcome.rows[index]])
        return Sample(
            outcome.name(index),
            outcome.truth(index),
            prediction,
            picture if task.target.whole else task.target.draw(picture, prediction),
            ledger(model, task, raw),
            outcome.said(index),
            outcome.right(index),
            None if ideal is None else task.target.draw(picture, ideal),
            task.input.played(raw),
        )

    def _card(self) -> dict[str, object]:
        task, model = self.learner.model(HANDED_OVER)
        seconds, digest = self._clock.seconds, self._weights_sha256
        learnt = {"story": self.learner.story, "curves": curves(self.state)}
        plan, decisions = self.learner.plan, self.state.decisions
        return build_card(self.outcome, plan, task, model, decisions, seconds, digest, learnt)


class _Clock:
    """Seconds by phase and in total; a phase that is stopped twice keeps its first time."""

    def __init__(self, began: float) -> None:
        self.seconds: dict[str, float] = {}
        self._began = began

    def elapsed(self) -> float:
        """Seconds since this process was asked for the run."""
        return time.perf_counter() - self._began

    def start(self, phase: str) -> None:
        self._phase, self._started = phase, time.perf_counter()

    def stop(self) -> None:
        now = time.perf_counter()
        if self._phase not in self.seconds:
            self.seconds[self._phase] = round(now - self._started, 2)
            self.seconds["total"] = round(now - self._began, 2)


def _choose_samples(outcome: Outcome) -> list[int]:
    """Half wrong and half right where there are enough, spread over confidence: not only the flattering ones."""
    chosen: list[int] = []
    for wanted in (False, True):
        pool = [index for index in range(len(outcome.rows)) if outcome.right(index) is wanted]
        pool.sort(key=lambda index: (-outcome.predictions[index].score, outcome.rows[index]))
        stride = max(1, math.ceil(len(pool) / (_SAMPLES // 2)))
        chosen += pool[::stride][: _SAMPLES // 2]
    return chosen
