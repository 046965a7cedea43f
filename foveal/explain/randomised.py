"""Whether explanations follow what was learnt: a network that was not taught must be explained otherwise.

Knows the contracts. All layers begin again as they began, BatchNorm is settled on examples, and the map of each
example is compared with its map by the taught network; two examples by the same network are the measure (Adebayo et
al. 2018, arXiv 1810.03292; the baseline is that of Arun et al. 2021). Necessary, not sufficient.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from foveal.contracts import Task
from foveal.explain.faithfulness import agreement
from foveal.explain.grid import around, on_grid
from foveal.explain.ledger import ledger
from foveal.intervals import bootstrap
from foveal.model import Model
from foveal.types import Raw, Thing

_PAIRS = 50
_RESET = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.Embedding)


def untaught(model: Model, task: Task, raws: Sequence[Raw], seed: int = 0) -> Model:
    """The same network as it was before anything was learnt, its statistics settled on these examples."""
    found = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in found.net.modules():
            if isinstance(module, _RESET):
                module.reset_parameters()
        for name, parameter in found.head.named_parameters():
            if name.rpartition(".")[2] in ("weight", "read"):
                nn.init.normal_(parameter, std=max(1e-3, float(parameter.detach().std())))
    norms = [module for module in found.net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        x = torch.cat([task.input.seen(raw, model.stem)[0] for raw in raws])
        found.train()
        for part in x.split(8):
            found.net(part)
    return found.eval()


def randomised(
    model: Model, task: Task, raws: Sequence[Raw], things: Sequence[Thing | None] | None = None
) -> dict[str, Any]:
    """JSON-able: `same_example`, how much maps by the two networks agree, `other_examples`, how much maps of
    different examples do, `passes`.

    things: one of each example that has a place, if any; where there are two such examples, only these are asked, and
    of the maps only what lies around their things: evidence for something lies about where that is in any network.
    """
    fresh = untaught(model, task, raws)
    found = [(raw, thing) for raw, thing in zip(raws, things or [], strict=False) if thing is not None]
    asked = found if len(found) > 1 else [(raw, None) for raw in raws]
    taught, wild = ([_map(own, task, *one) for one in asked] for own in (model, fresh))
    same = np.array([agreement(a, b) for a, b in zip(taught, wild, strict=True)])
    dice = np.random.default_rng(0)
    pairs = [dice.choice(len(asked), 2, replace=False) for _ in range(_PAIRS)] if len(asked) > 1 else []
    other = np.array([agreement(taught[a], taught[b]) for a, b in pairs] or [0.0])
    found = {
        name: bootstrap(lambda weights, own=own: float(weights @ own / weights.sum()), np.arange(len(own)))
        for name, own in (("same_example", same), ("other_examples", other))
    }
    limit = found["other_examples"].high
    passes = found["same_example"].value <= (found["other_examples"].value if limit is None else limit)
    return {**{name: own.to_json() for name, own in found.items()}, "passes": bool(passes)}


def _map(model: Model, task: Task, raw: Raw, thing: Thing | None) -> np.ndarray:
    """(cells,): of all of the example, or of what lies around a thing."""
    found = ledger(model, task, raw, thing)
    if thing is None or thing.window is None:
        return on_grid(found, task.input.grid())
    return around(found, task.input.seen(raw, model.stem)[1].shares_of(thing.window))
