"""The card of a run: all that is known about it, as one JSON object; the report is drawn from it. See docs/bundle.md.

Knows the outcome, the material and the decisions; measures nothing itself.
"""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from foveal import bundle, tasks
from foveal.contracts import CALIBRATION_ERROR, Target, Task
from foveal.engine import device
from foveal.engine.evaluate import Scores
from foveal.engine.reading import Material, Plan
from foveal.intervals import gap
from foveal.learning import in_words
from foveal.model import Model
from foveal.outcome import Outcome, distance_quantiles
from foveal.types import SPLITS

_ERRORS_SHOWN = 50


def build_card(
    outcome: Outcome,
    plan: Plan,
    task: Task,
    model: Model,
    decisions: Mapping[str, object],
    seconds: Mapping[str, float],
    weights_sha256: str,
    learnt: Mapping[str, Any],
) -> dict[str, object]:
    """JSON-able. plan, task, model: of what is handed over, calibrated; learnt: `story`, what the learner tells of
    itself, and `curves`, the losses of its trainings."""
    material = outcome.material
    return {
        "format": bundle.FORMAT,
        "foveal": importlib.metadata.version("foveal"),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": tasks.to_json(task),
        "net": {
            "name": plan.net_name,
            "weights": plan.net_digest,
            "symmetric": model.net.symmetric,
            "beside": plan.rival.net_name if model.net.parts and plan.rival is not None else None,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        "data": _data(material, decisions),
        "splits": _splits(material),
        "recipe": asdict(plan.recipe),
        "decisions": dict(decisions),
        "versions": device.versions(),
        "seconds": dict(seconds),
        "cost": _cost(material, decisions),
        "fine_tuning": dict(learnt["story"]),
        "learning": f"{in_words(learnt['story'], _stages(model))} {plan.net.origin}".rstrip(),
        "curves": learnt["curves"],
        **_scores(outcome, task.target),
        "scored_on": _scored_on(outcome),
        "handed_over": _handed_over(outcome),
        "gap_sentence": _gap_sentence(outcome),
        "tolerance": outcome.tolerance or None,
        "distance": distance_quantiles(outcome),
        "findings": [asdict(finding) for finding in material.findings],
        "errors": _errors(outcome),
        "weights_sha256": weights_sha256,
    }


def _stages(model: Model) -> int:
    """Of its network, those that are used."""
    stages = len(model.net.stages)
    return stages if model.head.maps else model.head.depth(stages)


def _data(material: Material, decisions: Mapping[str, object]) -> dict[str, object]:
    data, target = material.plan.data, material.task.target
    nothing: dict[str, int] = {split: 0 for split in SPLITS}  # noqa: C420
    counts = {name: dict(nothing) for name in data.class_names}
    for label, split in zip(material.labels, material.splits.split, strict=True):
        for name in target.classes(label):
            counts.setdefault(name, dict(nothing))[split] += 1
    return {
        "path": str(data.root),
        "reading": data.reading,
        "digest": decisions.get("data"),
        "examples": len(material.examples),
        "classes": [{"name": name, **parts} for name, parts in counts.items()],
        "left_out": [{"path": path, "reason": reason} for path, reason in material.left_out],
        "shown": [f"{data.name(e)} -> {target.describe(target.load(e))}" for e in data.examples[:3]],
    }


def _splits(material: Material) -> dict[str, object]:
    splits = material.splits
    official = any(example.split for example in material.examples)
    folds = len(set(splits.fold.tolist())) if splits.scored_out_of_fold else None
    return {
        "how": "folds" if folds else "official" if official else "drawn",
        "folds": folds,
        "counts": {part: len(material.rows_of(part)) for part in SPLITS},
        "units": len(set(splits.unit.tolist())),
    }


def _cost(material: Material, decisions: Mapping[str, object]) -> dict[str, object]:
    cost = dict(material.cost)
    if "reference" in decisions:
        cost["backend"] = str(device.Backend(**decisions["reference"]))  # type: ignore[arg-type]
        cost["probe"] = decisions["probe"]
    return cost


def _scores(outcome: Outcome, target: Target) -> dict[str, object]:
    fields: Mapping[str, object] = asdict(target)  # type: ignore[call-overload]
    test, train, without = outcome.scores, outcome.train, outcome.without_overlap
    return {
        "scores": {
            "test": _estimates(test),
            "train": _estimates(train),
            "gap": {name: gap(train.estimates[name], e).to_json() for name, e in test.estimates.items()},
        },
        "details": test.details,
        "calibration": {
            "before": outcome.uncalibrated and outcome.uncalibrated.details.get(CALIBRATION_ERROR),
            "after": test.details.get(CALIBRATION_ERROR),
            "temperature": fields.get("temperature"),
        },
        "overlap": without
        and {
            "count": len(outcome.rows) - next(iter(without.estimates.values())).n,
            "without": _estimates(without),
        },
    }


def _estimates(scores: Scores) -> dict[str, object]:
    return {name: estimate.to_json() for name, estimate in scores.estimates.items()}


def _errors(outcome: Outcome) -> list[dict[str, object]]:
    """The wrong predictions, most confident first."""
    wrong = [index for index in range(len(outcome.rows)) if not outcome.right(index)]
    wrong.sort(key=lambda index: (-outcome.predictions[index].score, outcome.rows[index]))
    return [
        {
            "name": outcome.name(index),
            "truth": outcome.truth(index),
            "predicted": outcome.said(index),
            "confidence": outcome.predictions[index].score,
        }
        for index in wrong[:_ERRORS_SHOWN]
    ]


def _out_of_fold(outcome: Outcome) -> int:
    """How many folds' models were scored; 1 where it was the handed-over one."""
    return len(set(outcome.folds))


def _scored_on(outcome: Outcome) -> str:
    count, folds = len(outcome.rows), _out_of_fold(outcome)
    if folds > 1:
        every, more = f"Every one of the {count} examples", ""
        if count < len(outcome.material.examples):
            total, all_folds = len(outcome.material.examples), len(set(outcome.material.splits.fold.tolist()))
            every = f"Each of {count} of {total} examples"
            more = f". There was no time for the other {all_folds - folds} folds"
        return (
            f"{every} was predicted by a network that had not seen it, nor any duplicate or member of its group: "
            f"{folds} folds, each learnt from the rest{more}."
        )
    return f"The score is that of the network in this folder on {count} test examples, opened once, at the end."


def _handed_over(outcome: Outcome) -> str:
    total, folds = len(outcome.material.examples), _out_of_fold(outcome)
    if folds > 1:
        return (
            f"The network in this folder was refitted on all {total} examples. It has no test score of its own; "
            f"those of the {folds} networks above, each learnt from fewer examples, stand for it."
        )
    chose = total - len(outcome.rows) - outcome.learnt_from
    others = f"; the other {chose} chose what was kept and set its confidence" if chose else ""
    return f"The network in this folder learnt from {outcome.learnt_from} examples{others}."


def _gap_sentence(outcome: Outcome) -> str:
    name, test = next(iter(outcome.scores.estimates.items()))
    found = gap(outcome.train.estimates[name], test)
    if found.low is None:
        return "The gap between seen and unseen examples has no interval here: one of the two scores has none."
    points = f"{found.value * 100:.1f} points of {name.replace('_', ' ')}"
    if found.value <= 0:
        return "On examples that it learnt from it is no better than on others: it has memorised nothing."
    if found.low <= 0:
        return f"On examples that it learnt from it is {points} better: no more than chance would make it."
    if found.value < 0.05:
        return f"On examples that it learnt from it is {points} better: it has memorised little."
    return (
        f"On examples that it learnt from it is {points} better: part of what it knows is memorised, and only the "
        f"test score says what to expect of new data. More or more varied examples would narrow the gap."
    )
