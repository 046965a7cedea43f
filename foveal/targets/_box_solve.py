"""The closed form of boxes: ridge by cell on the frozen pyramid, from sums over cells drawn of every picture.

Knows the head, what cells should say, and sums. Nothing is trained; each picture's cells are looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from foveal.linalg import RidgeSums
from foveal.targets import _box_cells as box_cells
from foveal.targets._pyramid import Pyramid, picked
from foveal.types import Draw, Truth

# Cells drawn of each picture: so many of those that are so much in the middle of an object, and of the others.
_NEAR, _DRAWN_NEAR, _DRAWN_ELSEWHERE = 0.05, 300, 200
# What is surer is never told less surely, whatever chance says.
_LEAST_SLOPE = 1e-3
# Pictures from which the scale of logits is learnt, fewer where all would have more cells.
_SCALED, _FEWEST_SCALED, _SCALED_CELLS = 64, 8, 1_000_000
# What a pull to 0 costs at 1; and what it costs a class to have twice the usual slope, since the scores of one that
# is in few pictures say nothing where these are left out.
_WEAK, _PULL = 1e-3, 10.0
# Values from which on those that are nearly alike are taken together, in as many bins.
_BINS = 8192


class Fit:
    """The regressions: how sure cells should be of each class, and what box those near an object should say."""

    def __init__(self, head: Pyramid, usual: Tensor, folds: int) -> None:
        """usual: (classes, 2), the mean logarithms of the sides of each class."""
        self.usual, self.folds, classes, width = usual, folds, len(usual), sum(head.widths)
        self.sure, self.said = RidgeSums(width, classes, folds), RidgeSums(width, box_cells.SIDES, folds)
        self.mean, self.rows = torch.zeros(width, dtype=torch.float64), 0

    def add(self, levels: Sequence[Tensor], goal: box_cells.Goal, stride: Tensor, row: int, fold: int) -> None:
        """One picture: its maps (1, C, h, w), and what its cells should say."""
        cells, weights = _drawn(goal, row)
        own, width = picked(levels, cells), levels[0].shape[3]
        self.sure.add(own, goal.sure[:, cells].T, weights, fold)
        near = (goal.best[cells] > box_cells.SAYS_A_BOX).nonzero()[:, 0]
        if len(near):
            whose = goal.whose[cells[near]]
            usual = self.usual[goal.kinds[whose]]
            say = box_cells.to_say(goal.boxes[whose], usual, cells[near], width, stride)
            self.said.add(own[near], say, box_cells.alike(goal, cells[near]), fold)
        self.mean += own.double().mean(0)
        self.rows += 1

    def states(self) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
        """The head's state by all pictures, and by all but those of each fold."""
        penalties = self.sure.penalty(), self.said.penalty()
        return self._state(penalties, None), [self._state(penalties, fold) for fold in range(self.folds)]

    def without(self, fold: int) -> dict[str, Tensor]:
        """The head's state by all pictures but those of a fold, its penalties too."""
        return self._state((self.sure.penalty(fold), self.said.penalty(fold)), fold)

    def _state(self, penalties: tuple[float, float], without: int | None) -> dict[str, Tensor]:
        (slopes, levels), (sides, starts) = (
            sums.solve(penalty, without) for sums, penalty in zip((self.sure, self.said), penalties, strict=True)
        )
        weight, bias, centre = torch.cat([slopes, sides], dim=1), torch.cat([levels, starts]), self.mean / self.rows
        state = {
            "centre": centre,
            "scale": torch.ones_like(centre),
            "weight": weight.T,
            "bias": bias + centre @ weight,
            "usual": self.usual.flatten(),
        }
        return {name: value.float().contiguous() for name, value in state.items()}


def usual_sides(boxes: Tensor, kinds: Tensor, classes: int) -> Tensor:
    """boxes (..., 4) and kinds (...) of all pictures -> (classes, 2) mean logarithms of width and height; of a class
    without a box those of all."""
    there = kinds >= 0
    sides, own = box_cells.log_sides(boxes[there]), kinds[there]
    every = sides.mean(0) if len(sides) else torch.zeros(2)
    return torch.stack([sides[own == kind].mean(0) if (own == kind).any() else every for kind in range(classes)])


def _drawn(goal: box_cells.Goal, row: int) -> tuple[Tensor, Tensor]:
    """Cells to learn from, and how many each of them stands for."""
    order = Draw(0, 0, (row,)).uniform("cells", len(goal.best))[0].argsort()
    order = order[goal.counts[order]]
    close = goal.best[order] > _NEAR
    parts = [(order[close], _DRAWN_NEAR), (order[~close], _DRAWN_ELSEWHERE)]
    cells = torch.cat([part[:count] for part, count in parts])
    weights = [torch.full((min(len(part), count),), max(1.0, len(part) / count)) for part, count in parts]
    return cells, torch.cat(weights)


def rescale(
    state: dict[str, Tensor], cells: Tensor, truth: Truth, classes: int, rows: Sequence[int]
) -> list[tuple[float, float]]:
    """Make logits, as the loss wants them, of what a state says, by what is wanted of the scores that others like it
    gave for these rows of cells (N, outputs, h, w); returns the slope and offset of each class."""
    scales = list(_scales(cells, truth, classes, rows))
    for kind, (slope, offset) in enumerate(scales):
        state["weight"][kind] *= slope
        state["bias"][kind] = slope * state["bias"][kind] + offset
    return scales


def _scales(cells: Tensor, truth: Truth, classes: int, rows: Sequence[int]) -> Iterator[tuple[float, float]]:
    """By some of the rows."""
    count = max(_FEWEST_SCALED, min(_SCALED, _SCALED_CELLS // cells[0, 0].numel()))
    rows = rows[:: -(-len(rows) // count)]
    goals = [box_cells.goal_of(truth, row, classes, cells.shape[2:])[0] for row in rows]
    scores = torch.cat(
        [cells[row, :classes].flatten(1)[:, goal.counts] for row, goal in zip(rows, goals, strict=True)], dim=1
    )
    wanted = torch.cat([goal.sure[:, goal.counts] for goal in goals], dim=1)
    binned = [_binned(own.double().numpy(), sure.double().numpy()) for own, sure in zip(scores, wanted, strict=True)]
    there = [own for own in binned if own[1].any()]
    usual = 1.0, 0.0
    if there:
        values, right, counts = (np.concatenate(parts) for parts in zip(*there, strict=True))
        usual = _fitted(values, right, counts)
    slope = usual[0] if usual[0] > _LEAST_SLOPE else None
    for own in binned:
        yield _fitted(*own, slope) if own[1].any() else usual


def logistic(values: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """slope, offset: sigmoid(slope * value + offset) is the share of `right` (0 to 1) among such values. Of very many
    values those that are nearly alike are taken together."""
    return _fitted(*_binned(values, right))


def _fitted(
    values: np.ndarray, right: np.ndarray, counts: np.ndarray, usual: float | None = None
) -> tuple[float, float]:
    """By Newton's method on values, each of which stands for so many, brought to mean 0 and deviation 1, held by a
    weak pull to 0; usual: a slope which few that are right do not lead far away from."""
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts))) or 1.0
    x = np.stack([(values - mean) / spread, np.ones(len(values))], axis=1)
    found, pull, towards = np.zeros(2), np.full(2, _WEAK), np.zeros(2)
    if usual is not None:
        towards[0] = usual * spread
        pull[0] += _PULL / towards[0] ** 2
    for _ in range(50):
        share = 1 / (1 + np.exp(-x @ found))
        gradient = x.T @ (counts * (share - right)) + pull * (found - towards)
        curvature = (x * (counts * share * (1 - share))[:, None]).T @ x + np.diag(pull)
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    slope = max(float(found[0]) / spread, _LEAST_SLOPE)
    return slope, float(found[1]) - slope * mean


def _binned(values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of values and of `right` by bins of values, and how many are in each; each by itself where few."""
    low, high = values.min(), values.max()
    if len(values) <= _BINS or low == high:
        return values, right.astype(float), np.ones(len(values))
    places = ((values - low) * (_BINS / (high - low))).astype(np.int64).clip(max=_BINS - 1)
    counts = np.bincount(places)
    there = counts > 0
    means, shares = (np.bincount(places, weights=own)[there] / counts[there] for own in (values, right))
    return means, shares, counts[there].astype(float)
