"""One training run, from examples to a finished run folder, as a generator of steps.

Knows the order of the phases and what each leaves in the run folder; printing, budgets and signals are the body of
the caller's `for`. Everything is a function of the data, the recipe and the decisions in the state, so a run that is
killed anywhere and resumed ends with the same bytes.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from foveal import bundle, tasks
from foveal.contracts import Target
from foveal.engine import checkpoint, device
from foveal.engine.checkpoint import State
from foveal.engine.evaluate import Scores, measure
from foveal.engine.learners import HANDED_OVER, Learner, learner
from foveal.engine.reading import Material, Plan, decide, read
from foveal.explain.ledger import ledger
from foveal.report.page import Sample, render
from foveal.types import Estimate, Explanation, Prediction, Step

_ERRORS_SHOWN = 50
_SAMPLES = 12


@dataclass(frozen=True)
class Scored:
    """The scored rows: what was predicted, by which fold's model, and how well."""

    rows: list[int]
    predictions: list[Prediction]
    folds: list[int]
    scores: Scores
    uncalibrated: Scores
    train: Scores
    without_overlap: Scores | None


class Session:
    """A run in progress: iterate `steps()`; afterwards the run folder is complete."""

    material: Material
    learner: Learner
    scored: Scored

    def __init__(self, folder: Path, plan: Plan, state: State | None = None) -> None:
        self.folder, self.plan = folder, plan
        self.state = state or State()
        self.seconds: dict[str, float] = {}

    def steps(self) -> Iterator[Step]:
        """Every phase in order; each ends with a commit."""
        started = time.perf_counter()
        self._commit(replace(self.state, position={**self.state.position, "phase": "begin"}))
        for name, phase in (
            ("read", self._read), ("learn", self._learn), ("evaluate", self._evaluate), ("report", self._report),
        ):  # fmt: skip
            began = time.perf_counter()
            yield from phase()
            self.seconds[name] = round(time.perf_counter() - began, 2)
            self.seconds["total"] = round(time.perf_counter() - started, 2)
            self._commit(replace(self.state, position={**self.state.position, "phase": name}))
        bundle.save_card(self.folder, self._card())

    def _commit(self, state: State) -> None:
        self.state = state
        checkpoint.commit(self.folder, state)

    def _read(self) -> Iterator[Step]:
        self._commit(decide(self.plan, self.state))
        self.material, steps = read(self.plan, self.state, self.state.decisions.get("data"))
        yield from steps
        self.state = self.state.decide(data=self.material.data_digest())
        material = self.material
        rows = zip(material.examples, material.labels, material.splits.split, strict=True)
        bundle.save_rows(
            self.folder / bundle.SPLITS,
            ("file", "split", "fold", "unit", "label"),
            [
                (self.plan.data.name(e), split, material.splits.fold[i], material.splits.unit[i],
                 material.task.target.describe(label))
                for i, (e, label, split) in enumerate(rows)
            ],
        )  # fmt: skip

    def _learn(self) -> Iterator[Step]:
        self.learner = learner(self.material, self.state, self._commit)
        yield from self.learner.steps()
        _, model = self.learner.model(HANDED_OVER)
        self.weights_sha256 = bundle.save_weights(self.folder, model.state_dict())

    def _evaluate(self) -> Iterator[Step]:
        """The test part is opened here, once."""
        rows, predictions, uncalibrated, folds = [], [], [], []
        scored = self.learner.scored()
        total = sum(len(own) for own in scored.values())
        for fold, own in scored.items():
            for part in self.learner.predict(fold, own):
                predictions += part
                yield Step("evaluate", len(predictions), total)
            uncalibrated += [p for part in self.learner.predict(fold, own, calibrated=False) for p in part]
            rows += own
            folds += [fold] * len(own)
        seen = self.learner.seen()
        trained = [prediction for part in self.learner.predict(HANDED_OVER, seen) for prediction in part]
        apart = [i for i, row in enumerate(rows) if not self.material.splits.overlap[row]]
        self.scored = Scored(
            rows=rows,
            predictions=predictions,
            folds=folds,
            scores=self._measure(rows, predictions),
            uncalibrated=self._measure(rows, uncalibrated),
            train=self._measure(seen, trained),
            without_overlap=self._measure([rows[i] for i in apart], [predictions[i] for i in apart])
            if 0 < len(apart) < len(rows)
            else None,
        )
        self._write_predictions()

    def _measure(self, rows: list[int], predictions: list[Prediction]) -> Scores:
        material = self.material
        return measure(material.task.target, predictions, material.labels_of(rows), list(material.units_of(rows)))

    def _write_predictions(self) -> None:
        target, scored = self.material.task.target, self.scored
        order = sorted(range(len(scored.rows)), key=lambda i: scored.rows[i])
        bundle.save_rows(
            self.folder / bundle.PREDICTIONS,
            ("file", "fold", "label", "predicted", "score"),
            [
                (self._name(scored.rows[i]), scored.folds[i], target.describe(self.material.labels[scored.rows[i]]),
                 scored.predictions[i].label, f"{scored.predictions[i].score:.6f}")
                for i in order
            ],
        )  # fmt: skip
        lines = [{"part": part, **{name: e.to_json() for name, e in scores.estimates.items()}}
                 for part, scores in (("test", scored.scores), ("train", scored.train))]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        checkpoint.write_atomic(self.folder / bundle.METRICS, text.encode())

    def _report(self) -> Iterator[Step]:
        chosen = _choose_samples(self.scored, [self._is_right(i) for i in range(len(self.scored.rows))])
        samples = []
        for done, index in enumerate(chosen):
            samples.append(self._sample(index))
            yield Step("report", done + 1, len(chosen) + 1)
        self.seconds.setdefault("report", 0.0)
        page = render(self._card(), samples)
        checkpoint.write_atomic(self.folder / bundle.REPORT, page.encode())
        yield Step("report", len(chosen) + 1, len(chosen) + 1)

    def _is_right(self, index: int) -> bool:
        truth = self.material.task.target.describe(self.material.labels[self.scored.rows[index]])
        return self.scored.predictions[index].label == truth

    def _sample(self, index: int) -> Sample:
        """One scored row, explained by the model that had not seen it."""
        row = self.scored.rows[index]
        task, model = self.learner.model(self.scored.folds[index])
        raw = task.input.load(self.material.examples[row].source)
        explanation: Explanation = ledger(model, task, raw)
        truth = task.target.describe(self.material.labels[row])
        return Sample(
            self._name(row), truth, self.scored.predictions[index], task.input.render(raw), explanation
        )

    def _name(self, row: int) -> str:
        return self.plan.data.name(self.material.examples[row])

    def _card(self) -> dict[str, object]:
        material, scored, plan = self.material, self.scored, self.plan
        task, model = self.learner.model(HANDED_OVER)
        return {
            "format": bundle.FORMAT,
            "foveal": importlib.metadata.version("foveal"),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "task": tasks.to_json(task),
            "net": {
                "name": plan.net_name,
                "weights": plan.net_digest,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
            },
            "data": self._data_card(),
            "splits": _splits_card(material),
            "recipe": asdict(plan.recipe),
            "decisions": dict(self.state.decisions),
            "versions": device.versions(),
            "seconds": dict(self.seconds),
            "cost": self._cost(),
            **_scores_card(scored, task.target),
            **_sentences(material, scored),
            "findings": [asdict(finding) for finding in material.findings],
            "errors": self._errors(),
            "weights_sha256": self.weights_sha256,
        }

    def _data_card(self) -> dict[str, object]:
        material, data, target = self.material, self.plan.data, self.material.task.target
        counts = {name: {"train": 0, "val": 0, "test": 0} for name in data.class_names}
        for label, split in zip(material.labels, material.splits.split, strict=True):
            counts.setdefault(target.stratum(label), {"train": 0, "val": 0, "test": 0})[split] += 1
        shown = [f"{data.name(example)} -> {example.label}" for example in data.examples[:3]]
        return {
            "path": str(data.root),
            "reading": data.reading,
            "digest": self.state.decisions.get("data"),
            "examples": len(material.examples),
            "classes": [{"name": name, **parts} for name, parts in counts.items()],
            "left_out": [{"path": path, "reason": reason} for path, reason in material.left_out],
            "shown": shown,
        }

    def _cost(self) -> dict[str, object]:
        decisions, cost = self.state.decisions, dict(self.material.cost)
        if "reference" in decisions:
            cost["backend"] = str(device.Backend(**decisions["reference"]))  # type: ignore[arg-type]
            cost["probe"] = decisions["probe"]
        return cost

    def _errors(self) -> list[dict[str, object]]:
        """The wrong predictions, most confident first."""
        target, scored = self.material.task.target, self.scored
        wrong = [i for i in range(len(scored.rows)) if not self._is_right(i)]
        wrong.sort(key=lambda i: (-scored.predictions[i].score, scored.rows[i]))
        return [
            {
                "name": self._name(scored.rows[i]),
                "truth": target.describe(self.material.labels[scored.rows[i]]),
                "predicted": scored.predictions[i].label,
                "confidence": scored.predictions[i].score,
            }
            for i in wrong[:_ERRORS_SHOWN]
        ]


def _choose_samples(scored: Scored, right: list[bool]) -> list[int]:
    """Half right and half wrong where there are enough, spread over confidence: not only the flattering ones."""
    chosen = []
    for wanted in (False, True):
        pool = sorted((i for i in range(len(right)) if right[i] is wanted), key=lambda i: -scored.predictions[i].score)
        step = max(1, math.ceil(len(pool) / (_SAMPLES // 2)))
        chosen += pool[::step][: _SAMPLES // 2]
    return chosen


def _splits_card(material: Material) -> dict[str, object]:
    splits = material.splits
    official = any(example.split for example in material.examples)
    folds = len(set(splits.fold.tolist())) if splits.scored_out_of_fold else None
    return {
        "how": "folds" if folds else "official" if official else "drawn",
        "folds": folds,
        "counts": {part: len(material.rows_of(part)) for part in ("train", "val", "test")},
        "units": len(set(splits.unit.tolist())),
    }


def _estimates(scores: Scores) -> dict[str, object]:
    return {name: estimate.to_json() for name, estimate in scores.estimates.items()}


def _scores_card(scored: Scored, target: Target) -> dict[str, object]:
    gap = {name: _gap(scored.train.estimates[name], e).to_json() for name, e in scored.scores.estimates.items()}
    temperature: Mapping[str, object] = asdict(target)  # type: ignore[call-overload]
    without = scored.without_overlap
    return {
        "scores": {"test": _estimates(scored.scores), "train": _estimates(scored.train), "gap": gap},
        "details": scored.scores.details,
        "calibration": {
            "before": scored.uncalibrated.details.get("calibration_error"),
            "after": scored.scores.details.get("calibration_error"),
            "temperature": temperature.get("temperature"),
        },
        "overlap": without
        and {
            "count": len(scored.rows) - next(iter(without.estimates.values())).n,
            "without": _estimates(without),
        },
    }


def _gap(train: Estimate, test: Estimate) -> Estimate:
    """Train minus test score, with Newcombe's hybrid of the two intervals (Statist. Med. 17:873, 1998)."""
    value, n = train.value - test.value, train.n + test.n
    if train.low is None or train.high is None or test.low is None or test.high is None:
        return Estimate(value, None, None, n)
    low = value - math.hypot(train.value - train.low, test.high - test.value)
    high = value + math.hypot(train.high - train.value, test.value - test.low)
    return Estimate(value, low, high, n)


def _sentences(material: Material, scored: Scored) -> dict[str, str]:
    count, seen = len(scored.rows), len(material.examples)
    if material.splits.scored_out_of_fold and material.plan.frozen:
        folds = len(set(scored.folds))
        scored_on = (
            f"Every one of the {count} examples was predicted by a network that had not seen it, nor any duplicate or "
            f"member of its group: {folds} folds, each learnt from the rest."
        )
        handed_over = (
            f"The network in this folder was refitted on all {seen} examples. It has no test score of its own; those "
            f"of the {folds} networks above, each learnt from fewer examples, stand for it."
        )
    else:
        scored_on = f"The score is that of the network in this folder on {count} test examples, opened once, at the end."
        trained = count and seen - count
        handed_over = f"The network in this folder learnt from the other {trained} examples."
    return {"scored_on": scored_on, "handed_over": handed_over, "gap_sentence": _gap_sentence(scored)}


def _gap_sentence(scored: Scored) -> str:
    name, test = next(iter(scored.scores.estimates.items()))
    gap = _gap(scored.train.estimates[name], test)
    if gap.low is None:
        return "The gap between seen and unseen examples has no interval here: there is only one independent group."
    points = f"{gap.value * 100:.1f} points of {name.replace('_', ' ')}"
    if gap.low <= 0:
        return f"On examples that it learnt from it is {points} better: no more than chance would make it."
    if gap.value < 0.05:
        return f"On examples that it learnt from it is {points} better: it has memorised little."
    return (
        f"On examples that it learnt from it is {points} better: part of what it knows is memorised, and only the test "
        f"score says what to expect of new data. More or more varied examples would narrow the gap."
    )
