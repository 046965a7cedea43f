"""A training's losses, thinned: the same from a resumed training as from an uninterrupted one, and true means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foveal.engine.checkpoint import State
from foveal.engine.curve import MOST_POINTS, Curve, curves, with_entry


def recorded(steps: int, upto: int | None = None) -> tuple[Curve, list[float]]:
    curve, losses = Curve("fold 0", steps), np.random.default_rng(steps).random(steps).tolist()
    for step, loss in enumerate(losses[:upto], 1):
        curve.add(step, {"loss": loss})
    return curve, losses


@pytest.mark.parametrize("steps", [1, 199, 200, 201, 1000, 12_345])
def test_points_are_means_of_neighbouring_steps_and_few(steps: int) -> None:
    curve, losses = recorded(steps)
    curve.close(steps)
    (found,) = curves(State(history=(curve.entry(),)))
    ends = found["steps"]
    assert isinstance(ends, list)
    assert len(ends) <= MOST_POINTS
    assert ends[-1] == steps
    starts = [0, *ends[:-1]]
    means = [np.mean(losses[start:end]) for start, end in zip(starts, ends, strict=True)]
    np.testing.assert_allclose(found["losses"]["loss"], means)  # type: ignore[index]


@pytest.mark.parametrize("upto", [1, 6, 7, 8, 500])
def test_it_goes_on_from_json_to_the_bit(upto: int) -> None:
    whole, losses = recorded(1000)
    half, _ = recorded(1000, upto)
    other = {"curve": "fold 1", "points": [], "open": []}
    history = with_entry((other, {"curve": "fold 0", "points": [[9, {}]], "open": []}), half.entry())
    assert len(history) == 2
    resumed = Curve("fold 0", 1000)
    resumed.restore(State(history=tuple(json.loads(json.dumps(history)))))
    for step in range(upto + 1, 1001):
        resumed.add(step, {"loss": losses[step - 1]})
    assert json.dumps(resumed.entry()) == json.dumps(whole.entry())
