"""Single things of labels that have places, of which one can be asked where a whole picture holds too many.

Knows the contracts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveal.contracts import Task
from foveal.types import Label, Raw, Size, Thing


def things_of(task: Task, raw: Raw, label: Label) -> Sequence[Thing]:
    """What in the label has a class: one thing without a place, where it is of the whole."""
    size = Size(1, 1) if task.target.whole else task.input.pack(raw).raw_size
    return task.target.things(label, size)


def placed(task: Task, raw: Raw, label: Label, seed: int) -> Thing | None:
    """One that has a place, drawn; None where labels are of wholes, or nothing in this one is large enough."""
    things = [thing for thing in things_of(task, raw, label) if thing.window is not None]
    return things[int(np.random.default_rng(seed).integers(len(things)))] if things else None
