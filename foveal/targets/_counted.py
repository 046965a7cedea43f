"""A linear head over numbers of things that occur, such as words, and how it is solved.

Knows counts, not what is counted. Rarer things weigh more (inverse document frequency, Sparck Jones 1972), and a raw
thing's length does not matter; each score is an exact sum over cells. It is a support vector machine, by
scikit-learn, which tells many classes apart better than ridge regression does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from foveal.contracts import Head
from foveal.types import Features, Output

# Numbers of a cell in blocks, up to which row, and how much a block counts: words and pairs; words after others that
# are farther away; words after the first ones of all; parts of words.
_BLOCKS = ((2, 1.0), (4, 0.7), (6, 0.7), (None, 0.5))
# Things that only one row has say nothing of others.
_FEWEST_ROWS = 2
_PENALTIES = (0.2, 0.7, 2.0)
# Above so many rows there is one penalty; of units, thirds are left out.
_MANY_ROWS, _PARTS, _STEPS, _ENOUGH = 6000, 3, 200, 1e-3
_CHUNK = 64


class CountedLinear(Head):
    """Numbers (N, numbers, W), 0 for none, up to `kinds` -> logits (N, classes).

    place: (kinds + 1,) the row of `weight` of each number, 0 for those that are unknown; squares: (rows,) by how much
    each adds to the length that is divided by.
    """

    place: Tensor
    squares: Tensor

    def __init__(self, kinds: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(kinds + 1, dtype=torch.int32))
        self.register_buffer("squares", torch.zeros(1))
        self.weight = nn.Parameter(torch.zeros(1, classes))
        self.bias = nn.Parameter(torch.zeros(classes))

    def join(self, parts: list[Tensor]) -> Tensor:
        return parts[0]

    def read(self, features: Tensor) -> Output:
        return {"logits": torch.cat([self._logits(part) for part in features.split(_CHUNK)])}

    def solved(self, features: Features, wanted: Tensor, units: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """See `Linear`."""
        return fit_counted(features, wanted, units, len(self.place) - 1)

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """See `Linear`; one map (W,) of numbers (1, numbers, W)."""
        total = torch.zeros(maps[0].shape[2])
        for rows, scale in self._blocks(maps[0]):
            total = total + scale[0] * F.embedding(rows[0], self.weight[:, index : index + 1])[..., 0].sum(0)
        return [total], float(self.bias[index].detach())

    def _logits(self, numbers: Tensor) -> Tensor:
        found = self.bias.expand(len(numbers), -1)
        for rows, scale in self._blocks(numbers):
            found = found + scale[:, None] * F.embedding(rows.flatten(1), self.weight).sum(1)
        return found

    def _blocks(self, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each block: (N, its numbers, W) rows of the weight, and (N,) by what their sum is multiplied."""
        rows = self.place[numbers.long()].long()
        for block, weight in _sliced():
            own = rows[:, block]
            yield own, weight / self.squares[own].sum((1, 2)).clamp_min(1e-6).sqrt()

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Takes as many rows as the state has."""
        rows = len(state_dict.get(f"{prefix}weight", self.weight))
        if rows != len(self.weight):
            self.weight = nn.Parameter(self.weight.new_zeros(rows, self.weight.shape[1]))
            self.squares = self.squares.new_zeros(rows)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[arg-type]


def fit_counted(
    features: Features, targets: Tensor, units: np.ndarray, kinds: int
) -> tuple[dict[str, Tensor], Tensor]:
    """The state of a `CountedLinear`, and (N, K) float64, every row predicted without its unit.

    features: (N, numbers, W); targets: (N, K) float64; units: (N,), rows with equal ones are left out together.
    """
    counts = _counts(features, kinds)
    rows_with = np.bincount(sum(counts[1:], counts[0]).indices, minlength=kinds + 1)
    kept = np.flatnonzero(rows_with >= _FEWEST_ROWS)
    rarity = np.log((1 + len(units)) / (1 + rows_with[kept])) + 1
    blocks = [weight * _weighed(own[:, kept], rarity) for own, (_, weight) in zip(counts, _BLOCKS, strict=True)]
    matrix = sparse.csr_matrix(sum(blocks[1:], blocks[0]))
    truth = targets.argmax(1).numpy()
    (weight, bias), left_out = _separated(matrix, truth, units, targets.shape[1])
    place = torch.zeros(kinds + 1, dtype=torch.int32)
    place[torch.from_numpy(kept)] = torch.arange(1, len(kept) + 1, dtype=torch.int32)
    # What a number adds is its weight times its rarity; rows 0 are of what is not known.
    scaled = torch.from_numpy(weight.T * rarity[:, None])
    state = {
        "place": place,
        "squares": F.pad(torch.from_numpy(rarity**2).float(), (1, 0)),
        "weight": F.pad(scaled, (0, 0, 1, 0)),
        "bias": torch.from_numpy(bias),
    }
    return state, torch.from_numpy(left_out)


def _sliced() -> list[tuple[slice, float]]:
    ends = [end for end, _ in _BLOCKS]
    starts = [0, *ends[:-1]]
    return [(slice(start, end), weight) for start, (end, weight) in zip(starts, _BLOCKS, strict=True)]


def _counts(features: Features, kinds: int) -> list[sparse.csr_matrix]:
    """How often each row has each number, (N, kinds + 1), block by block."""
    blocks: list[list[sparse.csr_matrix]] = [[] for _ in _BLOCKS]
    for part in features.split(1024):
        numbers = part.numpy().astype(np.int64)
        for found, (block, _) in zip(blocks, _sliced(), strict=True):
            flat = numbers[:, block].reshape(len(numbers), -1)
            row, column = np.nonzero(flat)
            ones = np.ones(len(row))
            found.append(sparse.csr_matrix((ones, (row, flat[row, column])), (len(numbers), kinds + 1)))
    return [sparse.csr_matrix(sparse.vstack(found)) for found in blocks]


def _weighed(counts: sparse.csr_matrix, rarity: np.ndarray) -> sparse.csr_matrix:
    """Counts times rarity, divided by the root of the sum of rarity squared of all that occurs."""
    lengths = np.sqrt(np.asarray(counts @ (rarity**2)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-3)) @ counts @ sparse.diags(rarity))


Plane = tuple[np.ndarray, np.ndarray]


def _separated(
    matrix: sparse.csr_matrix, truth: np.ndarray, units: np.ndarray, classes: int
) -> tuple[Plane, np.ndarray]:
    """Weights (classes, things) and bias (classes,), and (N, classes) each row's scores by what learnt from the other
    thirds of the units; the penalty is the one whose left-out scores are right most often."""
    _, number = np.unique(units, return_inverse=True)
    part = number % _PARTS
    penalties = _PENALTIES if len(truth) <= _MANY_ROWS else _PENALTIES[1:2]
    jobs = [(penalty, np.flatnonzero(part != own)) for penalty in penalties for own in range(_PARTS)]
    # One after another: liblinear's random numbers are shared by all threads of a process.
    found = [_plane(matrix[rows], truth[rows], classes, penalty) for penalty, rows in jobs]
    tried = []
    for at in range(len(penalties)):
        scores = np.zeros((len(truth), classes))
        for own in range(_PARTS):
            weight, bias = found[at * _PARTS + own]
            scores[part == own] = matrix[part == own] @ weight.T + bias
        tried.append(scores)
    best = int(np.argmax([(scores.argmax(1) == truth).mean() for scores in tried]))
    return _plane(matrix, truth, classes, penalties[best]), tried[best]


def _plane(matrix: sparse.csr_matrix, truth: np.ndarray, classes: int, penalty: float) -> Plane:
    """Each class against all others, by squared hinge loss (Fan et al. 2008); a class that has no row scores -1."""
    from sklearn.svm import LinearSVC

    weight, bias = np.zeros((classes, cast("tuple[int, int]", matrix.shape)[1])), np.full(classes, -1.0)
    there = np.unique(truth)
    if len(there) == 1:
        bias[there] = 1.0
        return weight, bias
    settings: dict[str, Any] = {"dual": True, "random_state": 0, "max_iter": _STEPS, "tol": _ENOUGH}
    machine = LinearSVC(C=penalty, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that end before the tolerance is reached
        machine.fit(matrix, truth)
    found, start = np.asarray(machine.coef_), np.asarray(machine.intercept_)
    if len(there) == 2:
        found, start = np.concatenate([-found, found]), np.concatenate([-start, start])
    weight[there], bias[there] = found, start
    return weight, bias
