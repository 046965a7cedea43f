"""What classes hang on: parts that many predictions of a class need, found without being told what to look for.

Knows the contracts. Of every right prediction the cells whose erasing costs most are taken; those of a class that
look alike to the network are one cue. Whether the network uses it is then tried: erased where it is, and pasted into
examples of other classes, each beside a control.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.contracts import Task
from foveal.explain.erasing import Erasing
from foveal.intervals import proportion
from foveal.types import Estimate, Label

# Cells of an example that count, which take at least such a share of what the one takes that takes most.
_MOST_CELLS, _LEAST_SHARE = 3, 0.3
# A class has at most so many cues, each in at least so many examples.
_MOST_CUES, _FEWEST = 3, 4
_PASTED_FROM, _PASTED_INTO = 3, 12


class Looked(NamedTuple):
    """One example that was looked at. effects: (cells,) what erasing each takes; cells: (cells, F) what the network
    makes of each."""

    erasing: Erasing
    label: Label
    effects: np.ndarray
    cells: np.ndarray


class Needed(NamedTuple):
    """A cue of a class. places: the examples that have it and a cell of each, the strongest first; of: how many right
    predictions the class has. erased, elsewhere: how many of these predictions change when its cells are erased, or
    as many others; pasted, other: how many examples of other classes are called by this one once its cells are pasted
    into them, or as many cells of the same examples that say nothing."""

    name: str
    places: tuple[tuple[int, int], ...]
    of: int
    erased: Estimate
    elsewhere: Estimate
    pasted: Estimate
    other: Estimate


def looked_at(erasing: Erasing, label: Label, effects: np.ndarray) -> Looked:
    """What `cues` needs of an example; effects: of each cell, as `Erasing.effects` has them."""
    model, stage = erasing.model, erasing.model.depth - 1
    with torch.inference_mode():
        level = model.net(erasing.x)[stage]
        own = F.adaptive_avg_pool2d(level, (erasing.grid[0], erasing.grid[1]))[0].flatten(1).T
    return Looked(erasing, label, effects, own.numpy())


def cues(task: Task, examples: Sequence[Looked]) -> list[Needed]:
    """The cues of every class, those that decide most first."""
    target = task.target
    right = [n for n, one in enumerate(examples) if target.agrees(one.erasing.prediction, one.label)]
    scale = np.concatenate([examples[n].cells for n in right]).std(0).clip(1e-6) if right else 1.0
    found = []
    for name in target.class_names:
        own = [n for n in right if target.stratum(examples[n].label) == name]
        others = [n for n in right if target.stratum(examples[n].label) != name][:_PASTED_INTO]
        for members in _alike(examples, own, scale):
            if len({n for n, _ in members}) >= _FEWEST and others:
                found.append(_tried(task, examples, name, members, len(own), others))
    return sorted(found, key=lambda cue: cue.elsewhere.value + cue.other.value - cue.erased.value - cue.pasted.value)


def _alike(examples: Sequence[Looked], own: Sequence[int], scale: np.ndarray | float) -> list[list[tuple[int, int]]]:
    """Cells that count, (example, cell), in groups that the network takes to be alike."""
    from sklearn.cluster import KMeans

    cells = [(n, int(cell)) for n in own for cell in _counting(examples[n].effects)]
    groups = min(_MOST_CUES, len(own) // _FEWEST, len(cells))
    if groups < 1:
        return []
    features = np.stack([examples[n].cells[cell] / scale for n, cell in cells])
    features /= np.linalg.norm(features, axis=1, keepdims=True).clip(1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cells that are all the same
        apart = KMeans(groups, n_init="auto", random_state=0).fit_transform(features)
    nearest, found = apart.argmin(1), []
    for group in range(groups):
        order = np.argsort(apart[:, group], kind="stable")
        found.append([cells[at] for at in order if nearest[at] == group])
    return found


def _counting(effects: np.ndarray) -> np.ndarray:
    """The cells that take most when they are erased."""
    speaking = effects.clip(min=0)
    order = np.argsort(-speaking, kind="stable")[:_MOST_CELLS]
    return order[speaking[order] >= _LEAST_SHARE * max(speaking.max(), 1e-12)]


def _tried(
    task: Task,
    examples: Sequence[Looked],
    name: str,
    members: Sequence[tuple[int, int]],
    of: int,
    others: Sequence[int],
) -> Needed:
    dice = np.random.default_rng(0)
    held: dict[int, list[int]] = {}
    for n, cell in members:
        held.setdefault(n, []).append(cell)
    less, known = [], []
    for n, cells in held.items():
        one = examples[n]
        rest = np.setdiff1d(np.arange(len(one.effects)), _counting(one.effects))
        for chosen in (cells, dice.permutation(rest)[: len(cells)]):
            mask = np.zeros(len(one.effects), bool)
            mask[chosen] = True
            less.append(one.erasing.without(mask))
            known.append(one.erasing.prediction.label)
    sources, more = list(held)[:_PASTED_FROM], []
    for n in sources:
        least = np.argsort(np.abs(examples[n].effects), kind="stable")[: len(held[n])].tolist()
        more += [
            _with_cells(examples[m].erasing, examples[n].erasing, cells) for m in others for cells in (held[n], least)
        ]
    said = [one.label for one in examples[sources[0]].erasing.said_of(torch.cat([*less, *more]))]
    changed = np.array([one != other for one, other in zip(said, known, strict=False)])
    called = np.array([one == name for one in said[len(less) :]])
    units = np.array(list(held))
    into = np.array(list(others) * len(sources))
    return Needed(
        name=name,
        places=tuple((n, cell) for n, cell in members),
        of=of,
        erased=proportion(changed[::2], units),
        elsewhere=proportion(changed[1::2], units),
        pasted=proportion(called[::2], into),
        other=proportion(called[1::2], into),
    )


def _with_cells(into: Erasing, source: Erasing, cells: Sequence[int]) -> Tensor:
    """What the network sees of one example, with cells of another in their places."""
    x = into.x.clone()
    for cell in cells:
        spans = [
            slice(int(at) * side // count, (int(at) + 1) * side // count)
            for at, side, count in zip(np.unravel_index(cell, into.grid), x.shape[2:], into.grid, strict=True)
        ]
        where = (slice(None), slice(None), *spans)
        x[where] = source.x[where]
    return x
