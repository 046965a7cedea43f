"""Ridge regression with exact leave-out scores: the closed form behind epoch 0.

Knows matrices only. One symmetric eigendecomposition serves every penalty and every leave-out score
(Golub, Heath and Wahba 1979 for single rows; the block form for rows that must be left out together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import get_blas_funcs
from torch import Tensor

# Penalties are tried relative to the mean squared norm of a row, a quarter of a decade apart.
PENALTIES = tuple(10.0 ** (quarter / 4) for quarter in range(-20, 7))

SUM_PENALTIES = tuple(10.0 ** (half / 2) for half in range(-10, 3))
"""The same for `RidgeSums`, relative to the mean variance of a feature, half a decade apart."""
# Rows that are multiplied at a time.
_SUMMED_AT_ONCE = 4096

# How many directions of the features count as known, at most half of those that the rows span. With none, pictures of
# something else altogether do not stand out: they lie no farther from the centre, only elsewhere.
DIRECTIONS = 128


@dataclass(frozen=True)
class Ridge:
    """prediction = (features - centre) @ weight + bias.

    centre, scale: (F,), weight: (F, K), bias: (K,), all float64; `scale` is what a feature was divided by before its
    weight was shrunk, 1 where it never varies. left_out: (N, K), every row predicted by the same fit
    without the rows of its unit. penalty: the relative penalty that predicted left-out rows best. directions:
    (DIRECTIONS, F), orthonormal, along which the standardised rows differ most, the others 0.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    left_out: Tensor
    penalty: float
    directions: Tensor


def fit_ridge(features: Tensor, targets: Tensor, units: np.ndarray, weights: Tensor | None = None) -> Ridge:
    """Fit ridge with an unpenalised intercept on standardised features, the penalty chosen by leaving out units.

    features: (N, F) float32 or float64; targets: (N, K); units: (N,) int64, rows with equal units are left out
    together; weights: (F,) multiply the standardised features, so that heavier ones are shrunk less. The mean and
    scale of the features are treated as known when rows are left out. A feature that never varies gets weight 0.
    """
    standard = features.double()
    centre, scale = _moments(standard)
    if weights is not None:
        scale = scale / weights
    standard = (standard - centre).div_(scale)
    bias = targets.double().mean(0)
    residual_targets = targets.double() - bias
    vectors, values = _left_vectors(standard)
    rotated = vectors.T @ residual_targets
    typical = max(float(values.sum()) / len(standard), 1e-12)
    best_error, best_penalty, left_out = float("inf"), PENALTIES[0], targets.double()
    blocks = _blocks(units)
    shrinks = values[:, None] / (values[:, None] + torch.tensor(PENALTIES, dtype=torch.float64) * typical)
    leverages = vectors.square() @ shrinks + 1 / len(targets)
    for column, penalty in enumerate(PENALTIES):
        shrink, leverage = shrinks[:, column], leverages[:, column]
        residual = residual_targets - vectors @ (shrink[:, None] * rotated)
        candidate = targets.double() - _left_out(residual, leverage, vectors, shrink, blocks)
        error = float((candidate - targets).square().mean())
        if error < best_error:
            best_error, best_penalty, left_out = error, penalty, candidate
    dual = vectors @ (rotated / (values + best_penalty * typical)[:, None])
    weight = (standard.T @ dual) / scale[:, None]
    directions = _directions(standard, vectors, values)
    return Ridge(centre, torch.where(scale.isinf(), 1.0, scale), weight, bias, left_out, best_penalty, directions)


def principal(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (F,), scale (F,) and `directions` of features (N, F), as `fit_ridge` finds them; all float64."""
    centre, scale = _moments(features.double())
    standard = (features.double() - centre) / scale
    directions = _directions(standard, *_left_vectors(standard))
    return centre, torch.where(scale.isinf(), 1.0, scale), directions


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of each feature: its standard deviation, but at least a sixth of its range.

    A feature that is 0 in all but a few rows has a tiny deviation, and rows that have it would be thrown far out:
    without, with the bound (`python -m benchmarks.head`) digits have an NLL of 0.90, 0.07 and signs 97.7, 98.5 %;
    trashnet-150 is indifferent.
    """
    spread = torch.maximum(features.std(0, correction=0), (features.amax(0) - features.amin(0)) / 6)
    varies = spread > 1e-6 * spread.max().clamp_min(1e-12)
    return features.mean(0), torch.where(varies, spread, torch.inf)


def _left_vectors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (N, R) and squared singular values (R,), from the smaller of the two Gram matrices."""
    rows, columns = x.shape
    if rows <= columns:
        values, vectors = torch.linalg.eigh(x @ x.T)
        kept = values > values[-1].clamp_min(1e-30) * 1e-12
        return vectors[:, kept], values[kept]
    values, right = torch.linalg.eigh(x.T @ x)
    kept = values > values[-1].clamp_min(1e-30) * 1e-12
    return x @ (right[:, kept] / values[kept].sqrt()), values[kept]


def _directions(x: Tensor, vectors: Tensor, values: Tensor) -> Tensor:
    """The right singular vectors (DIRECTIONS, F) of the largest singular values, the largest first."""
    largest = values.argsort(descending=True)[: min(DIRECTIONS, len(values) // 2)]
    found = torch.zeros(DIRECTIONS, x.shape[1], dtype=x.dtype)
    found[: len(largest)] = (vectors[:, largest] / values[largest].sqrt()).T @ x
    return found


def _blocks(units: np.ndarray) -> list[Tensor]:
    """Row indices of the units that have more than one row."""
    order = np.argsort(units, kind="stable")
    _, starts = np.unique(units[order], return_index=True)
    return [torch.from_numpy(rows) for rows in np.split(order, starts[1:]) if len(rows) > 1]


def _left_out(residual: Tensor, leverage: Tensor, vectors: Tensor, shrink: Tensor, blocks: list[Tensor]) -> Tensor:
    """(I - H_uu)^-1 r_u for each unit u, where H is the hat matrix with the intercept and `leverage` its diagonal."""
    left_out = residual / (1 - leverage.clamp_max(1 - 1e-13))[:, None]
    for rows in blocks:
        own = vectors[rows]
        hat = (own * shrink) @ own.T + 1 / len(residual)
        system = torch.eye(len(rows), dtype=hat.dtype) * (1 + 1e-13) - hat
        left_out[rows] = torch.linalg.solve(system, residual[rows])
    return left_out


FOLDS = 4
"""Of units, that are left out together where sums are all that is kept of the rows."""


def folds_of(units: np.ndarray, apart: Sequence[Sequence[int]] = ()) -> list[int]:
    """The fold of each row: parts that are kept apart are the first ones; units (N,) of others are spread over
    `FOLDS` more."""
    folds = len(apart) + np.unique(units, return_inverse=True)[1] % FOLDS
    for number, part in enumerate(apart):
        folds[list(part)] = number
    return folds.tolist()


class RidgeSums:
    """Weighted sums of rows from which ridge regressions follow, so that the rows themselves need not be kept.

    Rows are added under a fold, and summed many at a time; some folds may stay empty. Left-out errors are exact: the
    squared error of any linear function on a fold follows from that fold's sums.
    """

    def __init__(self, features: int, outputs: int, folds: int) -> None:
        self.folds = folds
        self._gram = torch.zeros(folds, features + 1, features + 1, dtype=torch.float64)
        self._cross = torch.zeros(folds, features + 1, outputs, dtype=torch.float64)
        self._squares = torch.zeros(folds, outputs, dtype=torch.float64)
        self._shift: Tensor | None = None
        self._waiting: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(folds)]

    def add(self, features: Tensor, targets: Tensor, weights: Tensor, fold: int) -> None:
        """features: (n, F) float32, targets: (n, K), weights: (n,)."""
        if self._shift is None:  # sums of squares around about the mean lose few digits
            self._shift = features.mean(0)
        self._waiting[fold].append((features, targets, weights))
        if sum(len(rows) for rows, _, _ in self._waiting[fold]) >= _SUMMED_AT_ONCE:
            self._sum(fold)

    def _sum(self, fold: int) -> None:
        """Take in what was added to a fold and waits."""
        if self._shift is None or not self._waiting[fold]:
            return
        parts = self._waiting[fold]
        targets, weights = torch.cat([own for _, own, _ in parts]), torch.cat([own for _, _, own in parts])[:, None]
        rows = torch.ones(len(targets), len(self._shift) + 1)
        torch.sub(torch.cat([own for own, _, _ in parts]), self._shift, out=rows[:, :-1])
        parts.clear()
        self._cross[fold] += (rows.T @ (weights * targets)).double()
        self._squares[fold] += (weights * targets.square()).sum(0).double()
        self._gram[fold] += _squared(rows.mul_(weights.sqrt())).double()

    def penalty(self, without: int | None = None) -> float:
        """The one by which folds, some at a time where there are more than `FOLDS`, are predicted best from the
        others; 1 is the mean variance of a feature. Every other one is tried, then those beside the best. without: a
        fold that has no say in it."""
        kept = [fold for fold in self._filled() if fold != without]
        parts = [kept[first::FOLDS] for first in range(min(FOLDS, len(kept)))]
        systems = [(part, self._system([fold for fold in kept if fold not in part])) for part in parts]
        errors = {at: self._left_out_error(systems, SUM_PENALTIES[at]) for at in range(0, len(SUM_PENALTIES), 2)}
        best = min(errors, key=lambda at: errors[at])
        for at in {best - 1, best + 1} & set(range(len(SUM_PENALTIES))):
            errors[at] = self._left_out_error(systems, SUM_PENALTIES[at])
        return SUM_PENALTIES[min(errors, key=lambda at: errors[at])]

    def _left_out_error(self, systems: Sequence[tuple[list[int], _System]], penalty: float) -> float:
        """The error on all folds, some of which each system is without."""
        solutions = [(part, system.solved(penalty)) for part, system in systems]
        return sum(float("inf") if found is None else self._error(part, *found) for part, found in solutions)

    def solve(self, penalty: float, without: int | None = None) -> tuple[Tensor, Tensor]:
        """weight (F, K) and bias (K,), float64: prediction = features @ weight + bias; without: a fold left out."""
        solution = self._system([fold for fold in self._filled() if fold != without]).solved(penalty)
        assert solution is not None, "the penalty is one of those that could be solved with"
        weight, bias = solution
        return weight, bias if self._shift is None else bias - self._shift.double() @ weight

    def _filled(self) -> list[int]:
        """The folds that have rows, all of which are taken in."""
        for fold in range(self.folds):
            self._sum(fold)
        return [fold for fold in range(self.folds) if self._gram[fold, -1, -1] > 0]

    def _system(self, folds: list[int]) -> _System:
        return _System(self._gram[folds].sum(0), self._cross[folds].sum(0))

    def _error(self, folds: list[int], weight: Tensor, bias: Tensor) -> float:
        """Weighted squared error on folds, of all outputs together."""
        whole = torch.cat([weight, bias[None]])
        fitted = (whole * (self._gram[folds].sum(0) @ whole)).sum()
        return float(self._squares[folds].sum() - 2 * (whole * self._cross[folds].sum(0)).sum() + fitted)


def _squared(rows: Tensor) -> Tensor:
    """rows.T @ rows, of which BLAS computes one half only."""
    (syrk,) = get_blas_funcs(["syrk"], dtype=np.float32)
    upper = torch.from_numpy(syrk(1.0, rows.numpy().T))
    return upper + upper.triu(1).T


class _System:
    """The normal equations of standardised features. gram: (F + 1, F + 1), cross: (F + 1, K), the ones last."""

    def __init__(self, gram: Tensor, cross: Tensor) -> None:
        total = gram[-1, -1].clamp_min(1e-12)  # of no rows nothing follows: all weights are 0
        self.mean, self.bias = gram[-1, :-1] / total, cross[-1] / total
        covariance = gram[:-1, :-1] / total - self.mean[:, None] * self.mean
        spread = covariance.diagonal().clamp_min(0).sqrt()
        self.scale = torch.where(spread > 1e-6 * spread.max().clamp_min(1e-12), spread, torch.inf)
        self.matrix = covariance / self.scale[:, None] / self.scale
        self.right = (cross[:-1] / total - self.mean[:, None] * self.bias) / self.scale[:, None]

    def solved(self, penalty: float) -> tuple[Tensor, Tensor] | None:
        """weight (F, K) and bias (K,) for shifted features; None where so small a penalty drowns in rounding."""
        ridge = self.matrix + penalty * torch.eye(len(self.matrix), dtype=torch.float64)
        factor, failed = torch.linalg.cholesky_ex(ridge)
        if int(failed):
            return None
        weight = torch.cholesky_solve(self.right, factor) / self.scale[:, None]
        return weight, self.bias - self.mean @ weight
