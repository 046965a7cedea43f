"""An explanation by one of the methods, with its faithfulness: what erasing does, and how well the two agree.

Knows the contracts and the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from foveal.contracts import Task
from foveal.engine.device import Runner
from foveal.explain.detail import in_detail
from foveal.explain.erasing import Erasing
from foveal.explain.faithfulness import faithfulness
from foveal.explain.gradients import gradients
from foveal.explain.grid import on_grid
from foveal.explain.ledger import ledger
from foveal.explain.occlusion import occlusion
from foveal.model import Model
from foveal.types import Explanation, Raw

METHODS = ("ledger", "occlusion", "gradients")


Starts = Callable[[], Sequence[Raw]]
"""Examples that gradients begin from, read only where they are needed."""


def explained(
    model: Model, task: Task, raw: Raw, method: str, starts: Starts, extract: Runner | None = None
) -> Explanation:
    """The model's own prediction for one raw thing by one of METHODS, not measured; extract: see `Erasing`."""
    found = ledger(model, task, raw)
    if method == "ledger":
        return found
    erasing = Erasing(model, task, raw, extract)
    return occlusion(erasing, found) if method == "occlusion" else gradients(model, task, erasing, starts(), found)


def with_faithfulness(
    model: Model, task: Task, raw: Raw, found: Explanation, extract: Runner | None = None
) -> Explanation:
    """An explanation of that raw thing with how faithful it is, and what erasing takes away.

    It takes about 260 passes more than there are cells, and as many again for the detail of what is about a whole
    picture or sound.
    """
    erasing = Erasing(model, task, raw, extract)
    effects = erasing.effects()
    values = on_grid(found, erasing.grid)[erasing.places]
    return replace(
        found,
        faithfulness=faithfulness(erasing, {found.method: values}, effects)[found.method],
        erased=occlusion(erasing, found, effects),
        detail=in_detail(erasing) if task.target.whole and len(erasing.grid) > 1 else None,
    )
