"""How much a network tolerates: its score, and how many predictions stay, when what it sees is disturbed.

Knows the outcome, learners and the disturbances that an Input names; not what they do. Each example is predicted by
the model that had not seen it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from foveal import intervals
from foveal.contracts import Input, Predictor, Target, Task
from foveal.engine.evaluate import measure
from foveal.engine.learners import Learner
from foveal.outcome import Outcome
from foveal.types import Disturbance, Estimate, Label, Prediction, Raw, Step

MOST_EXAMPLES = 200
_FEWEST_EXAMPLES = 20
_ROWS = 8
# Seconds that the report takes afterwards; what this may take beyond half of the time that the run took so far; and
# how much of it is planned for, since machines slow down while they work.
_RESERVE, _ALWAYS_WORTH, _PLANNED = 8.0, 3.0, 0.7
# From this share of unchanged predictions on it is called tolerant; so many other kinds are named beside the worst.
_TOLERANT, _NAMED = 0.95, 2

Found = dict[Disturbance, list[Prediction]]


def is_measurable(task: Task) -> bool:
    """Whether the input knows disturbances, and labels stay what they are under them."""
    return task.target.whole and any(True for _ in task.input.disturbed(task.input.blank()))


def affordable(outcome: Outcome, learner: Learner, used: float, left: Callable[[], float]) -> int:
    """How many examples there is time for, by timing a few; 0 where they would be too few to say anything.

    used: seconds that the run has taken; left: those that it still may.
    """
    rows = outcome.material.sample(outcome.rows, MOST_EXAMPLES)
    if left() <= _RESERVE:
        return 0
    few, began = rows[:_ROWS], time.perf_counter()
    _predicted(outcome, learner.predictor(_folds(outcome)[few[0]]), few)
    seconds = time.perf_counter() - began
    allowed = min(left() - _RESERVE, max(_ALWAYS_WORTH, used / 2))
    count = min(len(rows), int(_PLANNED * allowed / seconds * len(few)))
    return count if count >= min(_FEWEST_EXAMPLES, len(rows)) else 0


def disturb(outcome: Outcome, learner: Learner, count: int) -> Iterator[Step]:
    """Fill `outcome.tolerance` from a sample of so many scored rows."""
    if not count:
        outcome.tolerance = {"why_not": "the time given was used up"}
        return
    folds, order, found = _folds(outcome), [], {}
    chosen = outcome.material.sample(outcome.rows, count)
    for fold in sorted({folds[row] for row in chosen}):
        own = [row for row in chosen if folds[row] == fold]
        predict = learner.predictor(fold)
        for start in range(0, len(own), _ROWS):
            part = own[start : start + _ROWS]
            for disturbance, predictions in _predicted(outcome, predict, part).items():
                found.setdefault(disturbance, []).extend(predictions)
            order += part
            yield Step("tolerance", len(order), len(chosen))
    outcome.tolerance = _summary(outcome, order, found)


def _folds(outcome: Outcome) -> dict[int, int]:
    """Scored row -> whose model had not seen it."""
    return dict(zip(outcome.rows, outcome.folds, strict=True))


def _predicted(outcome: Outcome, predict: Predictor, rows: Sequence[int]) -> Found:
    input, examples = outcome.material.task.input, outcome.material.examples
    return predicted(input, predict, [input.load(examples[row].source) for row in rows])


def predicted(input: Input, predict: Predictor, raws: Sequence[Raw]) -> Found:
    """Predictions of each raw thing under each disturbance, in their order."""
    things = [pair for raw in raws for pair in input.disturbed(raw)]
    found: Found = {}
    for (disturbance, _), prediction in zip(things, predict([thing for _, thing in things]), strict=True):
        found.setdefault(disturbance, []).append(prediction)
    return found


def _summary(outcome: Outcome, rows: list[int], found: Mapping[Disturbance, list[Prediction]]) -> dict[str, object]:
    material, places = outcome.material, {row: index for index, row in enumerate(outcome.rows)}
    before = [outcome.predictions[places[row]] for row in rows]
    told = summary(material.task.target, material.labels_of(rows), material.units_of(rows), before, found)
    return {"why_not": "", "examples": len(rows), "of": len(outcome.rows), **told}


def summary(
    target: Target,
    labels: Sequence[Label],
    units: Sequence[int] | np.ndarray,
    before: Sequence[Prediction],
    found: Mapping[Disturbance, list[Prediction]],
) -> dict[str, object]:
    """JSON-able: the score undisturbed and under each disturbance, how many predictions stay, and a sentence."""

    def score(predictions: Sequence[Prediction]) -> tuple[str, Estimate]:
        return next(iter(measure(target, predictions, labels, units).estimates.items()))

    metric, undisturbed = score(before)
    table = []
    for disturbance, after in found.items():
        stayed = np.array([a.label == b.label for a, b in zip(before, after, strict=True)])
        unchanged = intervals.proportion(stayed, np.asarray(units))
        row = {"score": score(after)[1].to_json(), "unchanged": unchanged.to_json()}
        table.append({**disturbance._asdict(), **row})
    return {
        "metric": metric,
        "undisturbed": undisturbed.to_json(),
        "disturbances": table,
        "sentence": _sentence(metric, undisturbed, table),
    }


def _sentence(metric: str, undisturbed: Estimate, table: Sequence[Mapping[str, Any]]) -> str:
    """What it is most sensitive to, and which others cannot be told from that."""
    worst = min(table, key=lambda row: row["unchanged"]["value"])
    stayed = worst["unchanged"]
    if stayed["value"] == 1:
        return f"It tolerates all of these: none changed a single one of {stayed['n']} predictions."
    score, instead = (_percent(value) for value in (worst["score"]["value"], undisturbed.value))
    told = (
        f"{worst['kind']} ({worst['strength']}), under which {_percent(stayed['value'])} of its predictions stay as "
        f"they were and its {metric.replace('_', ' ')} is {score} instead of {instead}"
    )
    tolerant = stayed["value"] >= _TOLERANT
    how = "It tolerates all of these; most is changed by" if tolerant else "It is most sensitive to"
    return f"{how} {told}{_not_told_apart(worst, table)}."


def _not_told_apart(worst: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> str:
    stayed = worst["unchanged"]
    near = {
        row["kind"]: None
        for row in table
        if stayed["high"] is not None and row["unchanged"]["value"] <= stayed["high"] and row["kind"] != worst["kind"]
    }
    if not near:
        return ""
    others = " and ".join(near) if len(near) <= _NAMED else "most other kinds"
    return f"; with {stayed['n']} examples, {others} cannot be told from that"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
