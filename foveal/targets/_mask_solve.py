"""The closed form of masks: ridge by cell on the frozen pyramid, from sums over cells drawn of every picture.

Knows the head, which share of each class cells have, and sums. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.linalg import RidgeSums
from foveal.targets._calibration import best_scale
from foveal.targets._pyramid import Pyramid, picked
from foveal.types import Draw

# Cells drawn, of each picture as many, but no more and no fewer than so; of all classes that it has equally many.
_DRAWN_IN_ALL, _MOST_DRAWN, _FEWEST_DRAWN = 120_000, 2_000, 200


class MaskFit:
    """The regression of class shares. weights: (classes,), how much a pixel of each counts."""

    def __init__(self, head: Pyramid, weights: Tensor, folds: int, pictures: int) -> None:
        self.weights, self.folds = weights, folds
        self.drawn = min(_MOST_DRAWN, max(_FEWEST_DRAWN, _DRAWN_IN_ALL // max(1, pictures)))
        self.sums = RidgeSums(sum(head.widths), len(weights), folds)
        self.mean, self.rows = torch.zeros(sum(head.widths), dtype=torch.float64), 0

    def add(self, levels: Sequence[Tensor], shares: Tensor, row: int, fold: int) -> None:
        """One picture: its maps (1, C, h, w) and its cells' shares (classes, h, w), which sum to less where void."""
        flat = shares.flatten(1).T
        cells, times = _drawn(flat, row, self.drawn)
        if not len(cells):
            return
        own, goal = picked(levels, cells), flat[cells]
        known = goal.sum(1, keepdim=True)
        self.sums.add(own, goal / known, (goal @ self.weights) * times, fold)
        self.mean += own.double().mean(0)
        self.rows += 1

    def states(self) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
        """The head's state by all pictures, and by all but those of each fold."""
        penalty = self.sums.penalty()
        return self._state(penalty, None), [self._state(penalty, fold) for fold in range(self.folds)]

    def without(self, fold: int) -> dict[str, Tensor]:
        """The head's state by all pictures but those of a fold, its penalty too."""
        return self._state(self.sums.penalty(fold), fold)

    def _state(self, penalty: float, without: int | None) -> dict[str, Tensor]:
        weight, bias = self.sums.solve(penalty, without)
        centre = self.mean / max(1, self.rows)
        state = {
            "centre": centre,
            "scale": torch.ones_like(centre),
            "weight": weight.T,
            "bias": bias + centre @ weight,
            "usual": centre.new_zeros(0),
        }
        return {name: value.float().contiguous() for name, value in state.items()}


def scale_of(drawn: Sequence[tuple[Tensor, Tensor]]) -> float:
    """What logits (n, classes) of pixels drawn of each picture, of classes (n,), are to be multiplied by."""
    logits, kinds = zip(*drawn, strict=True)
    return best_scale(torch.cat(logits), torch.cat(kinds))


def multiplied(state: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """That of a head which says so many times as much."""
    return {**state, "weight": scale * state["weight"], "bias": scale * state["bias"]}


def cell_shares(masks: Tensor, classes: int, size: Sequence[int]) -> Tensor:
    """(N, H, W) uint8 -> (N, classes, h, w): how much of each cell each class has; less than all of it where void."""
    height, width = size
    if masks.shape[1] % height or masks.shape[2] % width:
        each = [F.adaptive_avg_pool2d((masks == kind).float(), (height, width)) for kind in range(classes)]
        return torch.stack(each, dim=1)
    pixels = masks.unflatten(1, (height, -1)).unflatten(3, (width, -1)).transpose(2, 3).flatten(3)
    counts = torch.zeros(*pixels.shape[:3], classes + 1, device=masks.device)
    one = torch.ones((), device=masks.device).expand(pixels.shape)
    counts.scatter_add_(3, pixels.clamp(max=classes).long(), one)  # pooling class by class takes time for each
    return counts[..., :classes].permute(0, 3, 1, 2) / pixels.shape[3]


def _drawn(shares: Tensor, row: int, count: int) -> tuple[Tensor, Tensor]:
    """shares (cells, classes) -> numbers of about `count` cells to learn from, and how many each stands for."""
    order = Draw(0, 0, (row,)).uniform("cells", len(shares))[0].argsort()
    order = order[shares[order].sum(1) > 0]
    kinds = shares[order].argmax(1)
    there = kinds.unique().tolist()
    cells, times = [order[:0]], [shares.new_zeros(0)]
    for kind in there:
        own = order[kinds == kind]
        some = own[: -(-count // len(there))]
        cells.append(some)
        times.append(torch.full((len(some),), len(own) / len(some)))
    return torch.cat(cells), torch.cat(times)
