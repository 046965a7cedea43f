"""An explanation with its faithfulness: the ledger, what erasing does, and how well the two agree.

Knows the contracts and the methods.
"""

from __future__ import annotations

from dataclasses import replace

from foveal.contracts import Task
from foveal.engine.device import Runner
from foveal.explain.detail import in_detail
from foveal.explain.erasing import Erasing
from foveal.explain.faithfulness import faithfulness
from foveal.explain.grid import on_grid
from foveal.explain.ledger import ledger
from foveal.explain.occlusion import occlusion
from foveal.model import Model
from foveal.types import Explanation, Raw


def measured_ledger(model: Model, task: Task, raw: Raw, extract: Runner | None = None) -> Explanation:
    """The ledger of the model's own prediction for one raw thing, how faithful it is, and what erasing takes away.

    extract: see `Erasing`. It takes about 260 passes more than there are cells, and as many again for the detail of
    what is about a whole picture or sound.
    """
    erasing = Erasing(model, task, raw, extract)
    effects, found = erasing.effects(), ledger(model, task, raw)
    values = on_grid(found, erasing.grid)[erasing.places]
    return replace(
        found,
        faithfulness=faithfulness(erasing, {"ledger": values}, effects)["ledger"],
        erased=occlusion(erasing, found, effects),
        detail=in_detail(erasing) if task.target.whole and len(erasing.grid) > 1 else None,
    )
