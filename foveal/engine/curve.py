"""The losses of one training, thinned to what can be drawn.

Knows named losses and the steps that they were measured at; not what is trained. Each point is the mean of as many
steps, so a training that goes on from a snapshot needs the steps since the last point too: `entry` holds both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from foveal.engine.checkpoint import State

MOST_POINTS = 200
_KIND = "curve"


class Curve:
    """Add every step's losses; `entry()` is the training's place in a state's history."""

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.stride = name, math.ceil(steps / MOST_POINTS)
        self._points: list[tuple[int, dict[str, float]]] = []
        self._open: list[dict[str, float]] = []

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        """What step number `step`, from 1, measured."""
        self._open.append(dict(losses))
        if len(self._open) == self.stride:
            self.close(step)

    def close(self, step: int) -> None:
        """End the last point here, of however few steps it is."""
        if self._open:
            means = {name: sum(one[name] for one in self._open) / len(self._open) for name in self._open[0]}
            self._points.append((step, means))
            self._open = []

    def entry(self) -> dict[str, object]:
        """JSON-able; what `restore` takes."""
        points = [[step, dict(losses)] for step, losses in self._points]
        return {_KIND: self.name, "points": points, "open": [dict(losses) for losses in self._open]}

    def restore(self, state: State) -> None:
        """Go on from what the state's history holds of this training; from nothing where it holds nothing."""
        found = next((entry for entry in state.history if entry.get(_KIND) == self.name), {})
        points = cast("Sequence[Any]", found.get("points", ()))
        self._points = [(int(step), dict(losses)) for step, losses in points]
        self._open = [dict(losses) for losses in cast("Sequence[Any]", found.get("open", ()))]


def with_entry(
    history: Sequence[Mapping[str, object]], entry: Mapping[str, object], kind: str = _KIND
) -> tuple[Mapping[str, object], ...]:
    """The history with this training's entry of a kind in the place of an earlier one."""
    return (*(one for one in history if one.get(kind) != entry[kind]), entry)


def curves(state: State) -> list[dict[str, object]]:
    """For people: `name` of each training, `steps` (count of those up to each point), and `losses` by name."""
    found = []
    for entry in state.history:
        points = cast("Sequence[Any]", entry.get("points", ()))
        if _KIND in entry and points:
            losses = {name: [values[name] for _, values in points] for name in points[0][1]}
            found.append({"name": entry[_KIND], "steps": [step for step, _ in points], "losses": losses})
    return found
