"""How faithful the explanations of a model are, over a sample of what it had not seen: each method's mean gain and
agreement, held against maps that know nothing of the network.

Knows the contracts and the methods. Examples are added one by one; nothing is kept of them but numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from foveal.contracts import Task
from foveal.engine.device import Runner
from foveal.explain.cues import Looked, looked_at
from foveal.explain.erasing import Erasing
from foveal.explain.faithfulness import RANDOM_ORDERS, faithfulness
from foveal.explain.gradients import are_defined, gradients
from foveal.explain.grid import on_grid
from foveal.explain.ledger import ledger
from foveal.explain.pointing import covered, skill
from foveal.explain.shuffled import TILES, shuffled
from foveal.explain.things import placed
from foveal.intervals import bootstrap_all, proportion
from foveal.model import Model
from foveal.types import Estimate, Label, Raw

ERASED_SHARE, ON_MANIFOLD = 0.5, 0.7
"""Erasing is foreign to a network that has less than so much of its accuracy left once this share is erased."""


class Survey:
    """others: examples of the training set, for expected gradients; extract: see `Erasing`. Of a network without
    stages, which nobody can look into, only occlusion is measured. looks: of so many examples `looked` keeps what
    `cues` asks for."""

    def __init__(
        self, model: Model, task: Task, others: Sequence[Raw], extract: Runner | None = None, looks: int = 0
    ) -> None:
        self.model, self.task, self.others, self.extract = model, task, others, extract
        self.looks, self.looked = looks, list[Looked]()
        self.rows: list[dict[str, float]] = []
        self.supported: dict[str, list[bool]] = {}
        self.right: list[tuple[bool, bool]] = []
        self.hits: dict[str, list[bool]] = {}
        self.areas: list[float] = []
        self.in_order: dict[int, list[bool]] = {tiles: [] for tiles in TILES} if task.target.whole else {}
        self.centre: list[bool] = []

    def add(self, raw: Raw, label: Label, *, sloped: bool = True, full: bool = True) -> None:
        """sloped: whether gradients are looked at too, which take longest of the methods; full: whether maps are also
        held against random orders, which takes most of the time."""
        erasing = Erasing(self.model, self.task, raw, self.extract)
        effects = erasing.effects()
        if len(self.looked) < self.looks:
            self.looked.append(looked_at(erasing, label, effects))
        maps = {"ledger": ledger(self.model, self.task, raw)} if self.model.net.stages else {}
        if maps and sloped and are_defined(self.task):
            maps["gradients"] = gradients(self.model, self.task, erasing, self.others, maps["ledger"])
        values = {name: on_grid(found, erasing.grid)[erasing.places] for name, found in maps.items()}
        values["occlusion"] = effects
        found = faithfulness(erasing, values, effects, RANDOM_ORDERS if full else 0)
        row = {f"{name} gain": own.gain for name, own in found.items()}
        row |= {f"{name} gain": gain for name, gain in found["occlusion"].rivals.items()}
        row |= {f"{name} agreement": own.agreement for name, own in found.items() if name != "occlusion"}
        if full:
            for name, own in found.items():
                self.supported.setdefault(name, []).append(own.verdict == "supported")
        self.rows.append(row)
        self._point(erasing, values, label)
        if self.task.target.whole:
            self._disturb(erasing, label)
        elif found := half_erased(self.model, self.task, raw, label, self.extract, len(self.rows)):
            self.right.append(found)

    def _point(self, erasing: Erasing, values: Mapping[str, np.ndarray], label: Label) -> None:
        """Whether each map's strongest cell lies where the label says that the class is, if it says."""
        place = covered(erasing, self.task.target.ideal(label))
        if place is None:
            return
        for name, own in values.items():
            self.hits.setdefault(name, []).append(bool(place[own.argmax()]))
        self.areas.append(float(place.mean()))
        self.centre.append(bool(place[len(place) // 2]))

    def summary(self) -> dict[str, object]:
        """JSON-able: `methods` and `rivals`, estimates by name; `best` method; `on_manifold`, what of the accuracy is
        left where half is erased, of single things where labels have places, None where none is large enough;
        `shuffled`, how many are right with so many tiles along an axis shuffled; `pointing`, where labels have
        places; `examples`."""
        means = {name: self._mean(name) for name in sorted({name for row in self.rows for name in row})}
        methods = [name for name in ("ledger", "occlusion", "gradients") if f"{name} gain" in means]
        rivals = sorted({name.removesuffix(" gain") for name in means if name.endswith(" gain")} - {*methods})
        strongest = max(rivals, key=lambda name: means[f"{name} gain"].value)
        over = {name: self._over(name, strongest) for name in methods}
        table = {
            name: {
                "gain": means[f"{name} gain"].to_json(),
                "agreement": means[f"{name} agreement"].to_json() if f"{name} agreement" in means else None,
                "over_best_rival": over[name].to_json(),
                "supported": _share_of(self.supported[name]),
            }
            for name in methods
        }
        return {
            "examples": len(self.rows),
            "methods": table,
            "rivals": {name: means[f"{name} gain"].to_json() for name in rivals},
            "shuffled": {str(n): _share_of(own) for n, own in self.in_order.items()},
            "pointing": skill(self.hits, self.areas, self.centre) if self.areas else None,
            "best": max(methods, key=lambda name: means[f"{name} gain"].value),
            "on_manifold": self._on_manifold(),
        }

    def _on_manifold(self) -> dict[str, object] | None:
        if not self.right:
            return None
        clean, half = (_share_of(own) for own in zip(*self.right, strict=True))
        kept = half["value"] / clean["value"] if clean["value"] else 0.0
        return {"whole": clean, "half_erased": half, "kept": kept, "enough": kept >= ON_MANIFOLD}

    def _mean(self, name: str) -> Estimate:
        return _mean_of(np.array([row[name] for row in self.rows if name in row]))

    def _over(self, method: str, rival: str) -> Estimate:
        """How much more the method gains than the rival, example by example."""
        pairs = [(row[f"{method} gain"], row[f"{rival} gain"]) for row in self.rows if f"{method} gain" in row]
        return _mean_of(np.array([one - other for one, other in pairs]))

    def _disturb(self, erasing: Erasing, label: Label) -> None:
        """Whether the prediction is right, still is once half of all cells, drawn, are erased, and is of tiles that
        changed places."""
        count, agrees = len(erasing.places), self.task.target.agrees
        half = _half(count, len(self.right))
        others = [shuffled(erasing.x, tiles, count, len(self.rows)) for tiles in self.in_order]
        said = erasing.said_of(torch.cat([erasing.without(half), *others]))
        erased, *moved = (agrees(one, label) for one in said)
        self.right.append((agrees(erasing.prediction, label), erased))
        for own, right in zip(self.in_order.values(), moved, strict=True):
            own.append(right)


def half_erased(
    model: Model, task: Task, raw: Raw, label: Label, extract: Runner | None, seed: int
) -> tuple[bool, bool] | None:
    """Whether one thing that has a place is said to be what it is, and still is once half of all cells on and around
    it are erased, of a whole picture what is erased cannot be found; None where there is no thing."""
    thing = placed(task, raw, label, seed)
    if thing is None:
        return None
    erasing = Erasing(model, task, raw, extract, thing)
    both = torch.cat([erasing.x, erasing.without(_half(len(erasing.places), seed))])
    said = [task.target.said_of(one, thing, erasing.pieces) for one in erasing.said_of(both)]
    right, erased = (one is not None and one.label == thing.name for one in said)
    return right, erased


def _half(count: int, seed: int) -> np.ndarray:
    """(count,) bool: half of all cells, drawn."""
    return np.random.default_rng(seed).permutation(count) < ERASED_SHARE * count


def _share_of(right: Sequence[bool]) -> dict[str, Any]:
    return proportion(np.array(right), np.arange(len(right))).to_json()


def _mean_of(values: np.ndarray) -> Estimate:
    def mean(weights: np.ndarray) -> np.ndarray:
        return np.array([weights @ values / weights.sum()])

    return bootstrap_all(mean, np.arange(len(values)))[0]
