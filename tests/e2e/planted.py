"""What the tests of boxes, masks and events have in common where marks are planted on things."""

from __future__ import annotations

import foveal
from foveal.explain.shortcut import Labelled, Shortcut


def planted(run: foveal.Run, cue: str, strength: int = 2) -> dict:
    """One trial on the examples of a run: those it learnt from, and unseen ones."""
    parts = run.examples()
    learnt, unseen = (Labelled.of(run.task, parts[name]) for name in ("train", "test"))
    return Shortcut(run.model, run.task, learnt, unseen, run.extract).trial(run.task.input.cues()[cue], strength)
