"""The training examples that a network takes to be most like one: what it has seen of this kind.

Knows the contracts and features. Features are standardised by the spread that they have among the training examples
and projected at random onto a few numbers, which keeps distances (Johnson and Lindenstrauss 1984) and little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.engine.device import Runner
from foveal.engine.predict import feature_chunks
from foveal.model import Model
from foveal.types import Raw

_NUMBERS = 256
# A label looks wrong if none of so many nearest others has it.
_ASKED = 5
_LEAST_SPREAD = 1e-2


class Neighbour(NamedTuple):
    """A training example: its number, how alike it is (cosine, 1 is the same), and whether its own label looks wrong
    among the examples nearest to it."""

    number: int
    alike: float
    doubtful: bool


class Neighbourhood(NamedTuple):
    """What is kept of training examples. centre, scale: (F,) of their features; places: (N, 256) float32 of unit
    length."""

    centre: Tensor
    scale: Tensor
    places: Tensor

    def near(self, features: Tensor, labels: Sequence[str], count: int) -> tuple[list[Neighbour], Neighbour | None]:
        """The nearest `count` training examples of one thing's features (1, F), and the nearest that has another
        label than the first of them."""
        alike = (_unit(features, self.centre, self.scale) @ self.places.T)[0]
        order = alike.argsort(descending=True).tolist()
        found = [Neighbour(one, float(alike[one]), self._is_doubtful(one, labels)) for one in order[:count]]
        other = next((one for one in order if labels[one] != labels[order[0]]), None)
        if other is None:
            return found, None
        return found, Neighbour(other, float(alike[other]), self._is_doubtful(other, labels))

    def _is_doubtful(self, number: int, labels: Sequence[str]) -> bool:
        alike = self.places @ self.places[number]
        alike[number] = -torch.inf
        nearest = alike.topk(min(_ASKED, len(labels) - 1)).indices.tolist() if len(labels) > 1 else []
        return bool(nearest) and all(labels[one] != labels[number] for one in nearest)


def neighbourhood(model: Model, task: Task, raws: Iterable[Raw], extract: Runner | None) -> Neighbourhood:
    """Of training examples, which are held a few at a time."""
    features = torch.cat(list(features_of(model, task, raws, extract)))
    centre, spread = features.mean(0), features.std(0)
    # What hardly differs says nothing of likeness, and would say most once divided by how little it does.
    scale = torch.where(spread > _LEAST_SPREAD * spread.mean(), spread, torch.inf)
    return Neighbourhood(centre, scale, _unit(features, centre, scale))


def features_of(model: Model, task: Task, raws: Iterable[Raw], extract: Runner | None) -> Iterator[Tensor]:
    """(n, F) float32 of a few at a time, near each other where things are alike."""
    yield from (model.head.likeness(features) for features, _ in feature_chunks(model, task, raws, extract))


def _unit(features: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    projected = ((features - centre) / scale) @ _directions(features.shape[1])
    return projected / projected.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _directions(width: int) -> Tensor:
    """(width, 256), always the same ones."""
    return torch.randn(width, _NUMBERS, generator=torch.Generator().manual_seed(0)) / _NUMBERS**0.5
