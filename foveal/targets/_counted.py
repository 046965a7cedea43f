"""A linear head over numbers of things that occur, such as words, and its closed form.

Knows counts, not what is counted. Rarer things weigh more (inverse document frequency, Sparck Jones 1972), and a raw
thing's length does not matter; each score is an exact sum over cells. Its ridge is solved on the rows' inner
products, so that the number of different things does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from foveal.contracts import Features, Head
from foveal.types import Output

# The first numbers of a cell are of wholes, the others of parts, which count half as much (trec: 91.4 % instead of
# 90.6 alike and of 90.6 without parts).
_WHOLES, _PARTS_WEIGHT = 2, 0.5
# Things that only one row has say nothing of others.
_FEWEST_ROWS = 2
_PENALTIES = (0.03, 0.1, 0.3, 1.0)
# Above so many rows there is one penalty, solved by conjugate gradients, and what is left out are thirds.
_MANY_ROWS, _MANY_PENALTY, _PARTS, _STEPS, _ENOUGH = 4000, 0.1, 3, 60, 1e-4
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
        """The state, and each row's scores without its unit; wanted: (N, classes) float64."""
        return fit_counted(features, wanted, units, len(self.place) - 1)

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """The logit of class `index` as (one map (W,), bias) for numbers (1, numbers, W)."""
        rows = self.place[maps[0].long()].long()
        shares = F.embedding(rows, self.weight[:, index : index + 1])[..., 0] * self._scale(rows)[:, :, None]
        return [shares[0].sum(0)], float(self.bias[index].detach())

    def _logits(self, numbers: Tensor) -> Tensor:
        rows = self.place[numbers.long()].long()
        scale = self._scale(rows)
        found = self.bias.expand(len(rows), -1)
        for part in (slice(None, _WHOLES), slice(_WHOLES, None)):
            own = F.embedding(rows[:, part].flatten(1), self.weight).sum(1)
            found = found + own * scale[:, part][:, :1]
        return found

    def _scale(self, rows: Tensor) -> Tensor:
        """(N, numbers): what each number's weight is multiplied by."""
        squares = self.squares[rows].sum(2)
        wholes, parts = squares[:, :_WHOLES].sum(1), squares[:, _WHOLES:].sum(1)
        one, other = (1 / total.clamp_min(1e-6).sqrt() for total in (wholes, parts))
        ones = torch.ones_like(squares)
        return torch.cat([ones[:, :_WHOLES] * one[:, None], ones[:, _WHOLES:] * _PARTS_WEIGHT * other[:, None]], 1)

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
    wholes, parts = _counts(features, kinds)
    rows_with = np.bincount((wholes + parts).indices, minlength=kinds + 1)
    kept = np.flatnonzero(rows_with >= _FEWEST_ROWS)
    rarity = np.log((1 + len(units)) / (1 + rows_with[kept])) + 1
    matrix = _weighed(wholes[:, kept], rarity) + _PARTS_WEIGHT * _weighed(parts[:, kept], rarity)
    mean = targets.mean(0)
    products = torch.from_numpy(np.asarray((matrix @ matrix.T).todense()))
    solve = _exactly if len(units) <= _MANY_ROWS else _iteratively
    dual, left_out = solve(products, targets - mean, units)
    weight = torch.from_numpy(matrix.T @ dual.numpy())
    place = torch.zeros(kinds + 1, dtype=torch.int32)
    place[torch.from_numpy(kept)] = torch.arange(1, len(kept) + 1, dtype=torch.int32)
    # What a number adds is its weight times its rarity; rows 0 are of what is not known.
    scaled = weight * torch.from_numpy(rarity)[:, None]
    state = {
        "place": place,
        "squares": F.pad(torch.from_numpy(rarity**2).float(), (1, 0)),
        "weight": F.pad(scaled, (0, 0, 1, 0)),
        "bias": mean,
    }
    return state, left_out + mean


def _counts(features: Features, kinds: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """How often each row has each whole and each part: (N, kinds + 1) each."""
    blocks: tuple[list, list] = ([], [])
    for part in features.split(1024):
        numbers = part.numpy().astype(np.int64)
        for found, own in zip(blocks, (numbers[:, :_WHOLES], numbers[:, _WHOLES:]), strict=True):
            flat = own.reshape(len(own), -1)
            row, column = np.nonzero(flat)
            ones = np.ones(len(row))
            found.append(sparse.csr_matrix((ones, (row, flat[row, column])), (len(own), kinds + 1)))
    wholes, parts = (sparse.csr_matrix(sparse.vstack(found)) for found in blocks)
    return wholes, parts


def _weighed(counts: sparse.csr_matrix, rarity: np.ndarray) -> sparse.csr_matrix:
    """Counts times rarity, divided by the root of the sum of rarity squared of all that occurs."""
    lengths = np.sqrt(np.asarray(counts @ (rarity**2)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-3)) @ counts @ sparse.diags(rarity))


def _exactly(products: Tensor, targets: Tensor, units: np.ndarray) -> tuple[Tensor, Tensor]:
    """(dual (N, K), left out (N, K)) for the penalty by which left-out rows are predicted best."""
    best, found = float("inf"), (targets, targets)
    order = np.argsort(units, kind="stable")
    _, starts = np.unique(units[order], return_index=True)
    together = [torch.from_numpy(rows) for rows in np.split(order, starts[1:]) if len(rows) > 1]
    for penalty in _PENALTIES:
        system = products + penalty * torch.eye(len(products), dtype=products.dtype)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
        dual = inverse @ targets
        errors = dual / inverse.diagonal()[:, None]
        for rows in together:
            errors[rows] = torch.linalg.solve(inverse[rows][:, rows], dual[rows])
        error = float(errors.square().mean())
        if error < best:
            best, found = error, (dual, targets - errors)
    return found


def _iteratively(products: Tensor, targets: Tensor, units: np.ndarray) -> tuple[Tensor, Tensor]:
    """The same for one penalty in float32; a third of the units is predicted by the others."""
    products, wanted = products.float(), targets.float()
    _, numbers = np.unique(units, return_inverse=True)
    part = torch.from_numpy(numbers % _PARTS)
    left_out = torch.zeros_like(wanted)
    for number in range(_PARTS):
        own, others = (part == number).nonzero()[:, 0], (part != number).nonzero()[:, 0]
        dual = _conjugate(products[others][:, others], wanted[others])
        left_out[own] = products[own][:, others] @ dual
    return _conjugate(products, wanted).double(), left_out.double()


def _conjugate(products: Tensor, targets: Tensor) -> Tensor:
    """(products + penalty)^-1 targets, all columns at once (Hestenes and Stiefel 1952)."""
    solution, rest = torch.zeros_like(targets), targets.clone()
    direction, size = rest.clone(), rest.square().sum(0)
    enough = _ENOUGH**2 * size.clamp_min(1e-12)
    for _ in range(_STEPS):
        moved = products @ direction + _MANY_PENALTY * direction
        step = size / (direction * moved).sum(0).clamp_min(1e-30)
        solution += step * direction
        rest -= step * moved
        before, size = size, rest.square().sum(0)
        if bool((size <= enough).all()):
            break
        direction = rest + (size / before.clamp_min(1e-30)) * direction
    return solution
