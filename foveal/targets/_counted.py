"""A linear head over numbers of things that occur, such as words, and how it is solved.

Knows counts, not what is counted, and vectors that some of it may have. Rarer things weigh more (inverse document
frequency, Sparck Jones 1972), and a raw thing's length does not matter; each score is an exact sum over cells. It is
a support vector machine, by scikit-learn, which tells many classes apart better than ridge regression does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
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
_LEAST_SPREAD = 1e-6
# Words share so many places where texts are held against each other.
_PLACES = 509


class CountedLinear(Head):
    """Numbers (N, numbers, W), 0 for none, up to `kinds`, and vectors (N, width, W) of some of what is counted ->
    logits (N, classes).

    channels: how many numbers there are, and how wide vectors are, 0 where there are none; place: (kinds + 1,) the
    row of `weight` of each number, 0 for those that are unknown; squares: (rows,) by how much each adds to the length
    that is divided by; slope: (classes, width), by which the mean of the vectors is multiplied.
    """

    place: Tensor
    squares: Tensor

    def __init__(self, kinds: int, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.numbers, width = channels[0], channels[1] if len(channels) > 1 else 0
        self.slope = nn.Parameter(torch.zeros(classes, width))
        self.register_buffer("place", torch.zeros(kinds + 1, dtype=torch.int32))
        self.register_buffer("squares", torch.zeros(1))
        self.weight = nn.Parameter(torch.zeros(1, classes))
        self.bias = nn.Parameter(torch.zeros(classes))

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        """Of vectors the mean over those that are not 0."""
        return level if stage == 0 else level.sum(2) / _known(level).sum(1, keepdim=True).clamp_min(1)

    def join(self, parts: list[Tensor]) -> Tensor:
        """The mean of the vectors stands below the numbers, row by row."""
        numbers, width, across = parts[0], parts[1].shape[1], parts[0].shape[2]
        if not width:
            return numbers
        rows = -(-width // across)
        below = F.pad(parts[1], (0, rows * across - width)).reshape(-1, rows, across)
        return torch.cat([numbers, below], dim=1)

    def read(self, features: Tensor) -> Output:
        return {"logits": torch.cat([self._logits(part) for part in features.split(_CHUNK)])}

    def solved(self, features: Features, wanted: Tensor, units: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """See `Linear`."""
        return fit_counted(features, wanted, units, len(self.place) - 1, self.numbers, self.slope.shape[1])

    def likeness(self, features: Tensor) -> Tensor:
        """By the words and pairs of words that both have, each at a place and with a sign of its own (Weinberger et
        al. 2009); and by the vectors of their words."""
        numbers, means = _apart(features, self.numbers, self.slope.shape[1])
        words = numbers[:, :2].flatten(1).long()
        sign = 1 - 2 * (words // _PLACES % 2).float()
        known = (self.place[words] > 0).float()
        found = features.new_zeros(len(features), _PLACES).scatter_add_(1, words % _PLACES, sign * known)
        parts = [own / own.norm(dim=1, keepdim=True).clamp_min(1e-6) for own in (found, means)]
        return torch.cat(parts, 1)

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """See `Linear`; one map (W,) of numbers (1, numbers, W) and vectors (1, width, W)."""
        total = torch.zeros(maps[0].shape[2])
        for rows, scale in self._blocks(maps[0]):
            total = total + scale[0] * F.embedding(rows[0], self.weight[:, index : index + 1])[..., 0].sum(0)
        if self.slope.shape[1]:
            total = total + self.slope[index] @ maps[1][0] / _known(maps[1]).sum().clamp_min(1)
        return [total], float(self.bias[index].detach())

    def _logits(self, features: Tensor) -> Tensor:
        numbers, means = _apart(features, self.numbers, self.slope.shape[1])
        found = self.bias + means @ self.slope.T
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
        """Takes as many rows, and vectors as wide, as the state has."""
        slope = state_dict.get(f"{prefix}slope", self.slope[:, :0])
        self.slope = nn.Parameter(torch.empty_like(slope))
        state_dict = {**state_dict, f"{prefix}slope": slope}
        rows = len(state_dict.get(f"{prefix}weight", self.weight))
        if rows != len(self.weight):
            self.weight = nn.Parameter(self.weight.new_zeros(rows, self.weight.shape[1]))
            self.squares = self.squares.new_zeros(rows)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[arg-type]


def fit_counted(
    features: Features, targets: Tensor, units: np.ndarray, kinds: int, numbers: int, width: int
) -> tuple[dict[str, Tensor], Tensor]:
    """The state of a `CountedLinear`, and (N, K) float64, every row predicted without its unit.

    features: (N, rows, W), as it joins them; targets: (N, K) float64; units: (N,), rows with equal ones are left out
    together.
    """
    counts, means = _counts(features, kinds, numbers, width)
    rows_with = np.bincount(sum(counts[1:], counts[0]).indices, minlength=kinds + 1)
    kept = np.flatnonzero(rows_with >= _FEWEST_ROWS)
    rarity = np.log((1 + len(units)) / (1 + rows_with[kept])) + 1
    blocks = [weight * _weighed(own[:, kept], rarity) for own, (_, weight) in zip(counts, _BLOCKS, strict=True)]
    centre, spread = means.mean(0), means.std(0).clip(_LEAST_SPREAD) * max(1, width) ** 0.5
    matrix = sparse.csr_matrix(sparse.hstack([sum(blocks[1:], blocks[0]), (means - centre) / spread]))
    truth = targets.argmax(1).numpy()
    (weight, bias), left_out = _separated(matrix, truth, units, targets.shape[1])
    weight, slope = weight[:, : len(kept)], weight[:, len(kept) :] / spread
    place = torch.zeros(kinds + 1, dtype=torch.int32)
    place[torch.from_numpy(kept)] = torch.arange(1, len(kept) + 1, dtype=torch.int32)
    # What a number adds is its weight times its rarity; rows 0 are of what is not known.
    scaled = torch.from_numpy(weight.T * rarity[:, None])
    state = {
        "place": place,
        "squares": F.pad(torch.from_numpy(rarity**2).float(), (1, 0)),
        "weight": F.pad(scaled, (0, 0, 1, 0)),
        "slope": torch.from_numpy(slope),
        "bias": torch.from_numpy(bias - slope @ centre),
    }
    return state, torch.from_numpy(left_out)


def _sliced() -> list[tuple[slice, float]]:
    ends = [end for end, _ in _BLOCKS]
    starts = [0, *ends[:-1]]
    return [(slice(start, end), weight) for start, (end, weight) in zip(starts, _BLOCKS, strict=True)]


def _known(vectors: Tensor) -> Tensor:
    """(N, width, W) -> (N, W) float32: 1 where there is one."""
    return (vectors != 0).any(1).float()


def _apart(features: Tensor, numbers: int, width: int) -> tuple[Tensor, Tensor]:
    """What was joined: (N, numbers, W), and (N, width) means of vectors."""
    return features[:, :numbers], features[:, numbers:].flatten(1)[:, :width]


def _counts(features: Features, kinds: int, count: int, width: int) -> tuple[list[sparse.csr_matrix], np.ndarray]:
    """How often each row has each number, (N, kinds + 1), block by block; and (N, width) float64, the means of its
    vectors."""
    blocks: list[list[sparse.csr_matrix]] = [[] for _ in _BLOCKS]
    means = []
    for part in features.split(1024):
        whole, own = _apart(part, count, width)
        means.append(own.double().numpy())
        numbers = whole.numpy().astype(np.int64)
        for found, (block, _) in zip(blocks, _sliced(), strict=True):
            flat = numbers[:, block].reshape(len(numbers), -1)
            row, column = np.nonzero(flat)
            ones = np.ones(len(row))
            found.append(sparse.csr_matrix((ones, (row, flat[row, column])), (len(numbers), kinds + 1)))
    return [sparse.csr_matrix(sparse.vstack(found)) for found in blocks], np.concatenate(means)


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
