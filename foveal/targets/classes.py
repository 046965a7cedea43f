"""Classes: one of several names for each raw thing.

Knows labels, the pooled linear head and its closed form, calibration, and which cells make up a class's score.
Does not know what the features are of, so pictures, texts, sounds and signals share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from foveal.contracts import Canvas, Head, Target
from foveal.linalg import DIRECTIONS, fit_ridge, principal
from foveal.targets._calibration import best_scale, softmax
from foveal.targets._class_metric import ClassMetric
from foveal.targets._counted import CountedLinear
from foveal.targets._joined import JoinedLinear
from foveal.targets._linear import Linear
from foveal.types import (
    Dataset,
    Example,
    Features,
    Finished,
    Follower,
    Label,
    Output,
    Packed,
    Pieces,
    Prediction,
    Size,
    Solution,
    Thing,
    Truth,
)

# Finer stages add cost and no accuracy: on trashnet-150 strides 8 to 32 give 91.8 %, all of them 91.6 %.
_FINEST_STRIDE = 8
# Above this many examples some poolings are left out: their columns cost more time than they are worth.
_MANY_EXAMPLES, _COSTLY = 6000, ("max", "thirds")
# Rows of the plane that are told apart where their height matters, and columns where their order does.
_BANDS, _THIRDS = 8, 3


@dataclass(frozen=True)
class Classes(Target):
    """A class index per raw thing. temperature: divides logits before softmax.

    pools: what is summed over cells, of "mean", "max", "present" (how much of the plane is above 0), "bands" (the
    mean of each of 8 rows of the plane, where it matters how high something is) and "thirds" (the mean of each third
    of such a row, where it matters what comes first). coarsest: the largest stride whose maps count, where coarser
    ones know too much of what is not asked for; any if 0. smoothing: the share of the truth that the loss spreads
    over all classes.
    """

    class_names: tuple[str, ...] = ()
    temperature: float = 1.0
    pools: tuple[str, ...] = ("mean", "max", "present")
    coarsest: int = 0
    smoothing: float = 0.0
    dims = frozenset({1, 2})
    whole = True

    def fit(self, data: Dataset) -> Classes:
        dropped = _COSTLY if len(data.examples) > _MANY_EXAMPLES else ()
        pools = tuple(pool for pool in self.pools if pool not in dropped)
        return replace(self, class_names=data.class_names, pools=pools or self.pools)

    def load(self, example: Example) -> Label:
        return self.class_names.index(str(example.label))

    def pack(self, label: Label) -> Packed:
        return Packed(np.asarray(label, np.int64), Size(1, 1))

    def stratum(self, label: Label) -> str:
        return self.class_names[label]

    def describe(self, label: Label) -> str:
        return self.class_names[label]

    def renamed(self, label: Label, things: Sequence[Thing], name: str) -> Label:
        return self.class_names.index(name) if things else label

    def encode(self, labels: Sequence[Label], pieces: Pieces) -> Truth:
        return {"label": torch.tensor(labels, dtype=torch.int64)[pieces.source]}

    def head(self, channels: Sequence[int], strides: Sequence[int]) -> PooledLinear:
        most = self.coarsest or max(strides)
        within = [stride for stride in strides if stride <= most] or [min(strides)]
        finest = min(_FINEST_STRIDE, max(within))
        used = [i for i, stride in enumerate(strides) if finest <= stride <= max(within)]
        return PooledLinear([channels[i] for i in used], used, self.pools, len(self.class_names))

    def counting_head(self, kinds: int, channels: Sequence[int]) -> CountedLinear:
        return CountedLinear(kinds, channels, len(self.class_names))

    def joined_head(
        self, heads: Sequence[Head], stages: int, shares: tuple[float, float] = (0.5, 0.5)
    ) -> JoinedLinear:
        return JoinedLinear(heads, stages, shares)

    def sharpness(self) -> float:
        return 1 / self.temperature

    def loss(self, output: Output, truth: Truth) -> dict[str, Tensor]:
        logits = output["logits"] / self.temperature
        return {"cross_entropy": F.cross_entropy(logits, truth["label"], label_smoothing=self.smoothing)}

    def smoothed(self, share: float) -> Classes:
        """After Szegedy et al. 2016, arXiv:1512.00567."""
        return replace(self, smoothing=share)

    def solve(
        self,
        head: Head,
        features: Features,
        labels: Sequence[Label],
        pieces: Pieces,
        units: np.ndarray,
        apart: Sequence[Sequence[int]] = (),
    ) -> Solution:
        """Ridge on one-hot labels. Its scores are no logits: the scale that the left-out ones want is folded in."""
        truth = torch.tensor(labels, dtype=torch.int64)
        wanted = F.one_hot(truth, len(self.class_names)).double()
        state, left_out = cast("Linear", head).solved(features, wanted, units)
        factor = best_scale(left_out, truth)
        scaled = {name: (factor * state[name]).float() for name in ("weight", "slope", "bias") if name in state}
        return Solution({**state, **scaled}, {"logits": (factor * left_out).float()})

    def calibrate(self, output: Output, labels: Sequence[Label], pieces: Pieces) -> Classes:
        scale = best_scale(output["logits"], torch.tensor(labels, dtype=torch.int64))
        return replace(self, temperature=1 / scale)

    def finish(self) -> nn.Module:
        return Probabilities(self.temperature)

    def decode(self, finished: Finished) -> list[Prediction]:
        rows = np.asarray(finished["probabilities"], np.float64)
        best = rows.argmax(1)
        return [
            Prediction(self.class_names[i], float(row[i]), tuple(row.tolist()), origin=int(i))
            for i, row in zip(best, rows, strict=True)
        ]

    def metric(self) -> ClassMetric:
        return ClassMetric(self.class_names)

    def follow(self, output: Output, prediction: Prediction) -> Follower:
        """The calibrated logit of its class, and the probability."""
        index = _index(prediction)

        def of(other: Output) -> tuple[Tensor, Tensor]:
            logits = other["logits"]
            return logits[:, index] / self.temperature, softmax(logits, self.temperature)[:, index]

        return of

    def cells(self, head: Head, maps: list[Tensor], prediction: Prediction) -> tuple[list[Tensor], float]:
        cells, bias = cast("Linear", head).cells(maps, _index(prediction))
        return [level / self.temperature for level in cells], bias / self.temperature

    def alternative(self, prediction: Prediction) -> Prediction | None:
        second = int(np.argsort(np.asarray(prediction.scores), kind="stable")[-2])
        return replace(prediction, label=self.class_names[second], score=prediction.scores[second], origin=second)

    def draw(self, canvas: Canvas, prediction: Prediction) -> Canvas:
        drawn = canvas.copy()
        text = f"{prediction.label} {prediction.score:.0%}"
        pen = ImageDraw.Draw(drawn)
        font = ImageFont.load_default(size=max(11, canvas.height // 16))
        box = pen.textbbox((0, 0), text, font=font)
        pen.rectangle((0, 0, box[2] + 6, box[3] + 6), fill=(255, 255, 255))
        pen.text((3, 2), text, font=font, fill=(20, 20, 20))
        return drawn


class PooledLinear(Head):
    """Pooled maps of several stages, concatenated, then one linear layer: every logit is a sum over cells.

    stages: which of the net's maps are pooled. logits = (pooled - centre) / scale @ weight.T + bias, so that `bias`
    is the score of the average training example and each cell says how this one differs. Features of one scale are
    what gradient steps want too.
    """

    centre: Tensor
    scale: Tensor
    directions: Tensor

    def __init__(self, channels: Sequence[int], stages: Sequence[int], pools: Sequence[str], classes: int) -> None:
        super().__init__()
        self.stages, self.pools = tuple(stages), tuple(pools)
        self.channels = tuple(channels)
        width = sum(self._widths())
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("directions", torch.zeros(DIRECTIONS, width))
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))

    def extra_repr(self) -> str:
        return f"stages={self.stages}, pools={self.pools}"

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        if stage not in self.stages:
            return level.new_zeros(len(level), 0)
        return torch.cat([_POOLS[pool].take(level.float()) for pool in self.pools], dim=1)

    def join(self, parts: list[Tensor]) -> Tensor:
        return torch.cat([parts[i] for i in self.stages], dim=1)

    def depth(self, stages: int) -> int:
        return self.stages[-1] + 1

    def distance(self, features: Tensor) -> Tensor | None:
        """The root mean square of what the known directions leave of the standardised features; None where nothing
        was solved to standardise by."""
        if not self.centre.any():
            return None
        standard = (features.double() - self.centre) / self.scale
        known = standard @ self.directions.double().T
        return ((standard.square().sum(1) - known.square().sum(1)).clamp_min(0) / standard.shape[1]).sqrt()

    @torch.no_grad()
    def settle(self, features: Tensor) -> None:
        """What all classes share says nothing of any and is taken off: gradient steps let it drift."""
        centre, scale, directions = principal(features)
        slopes = self.weight.double() / self.scale
        bias, weight = self.bias.double() + slopes @ (centre - self.centre), slopes * scale
        self.bias.copy_(bias - bias.mean())
        self.weight.copy_(weight - weight.mean(0))
        for buffer, value in ((self.centre, centre), (self.scale, scale), (self.directions, directions)):
            buffer.copy_(value)

    def read(self, features: Tensor) -> Output:
        return {"logits": (features - self.centre) / self.scale @ self.weight.T + self.bias}

    def cells(self, maps: list[Tensor], index: int) -> tuple[list[Tensor], float]:
        """The logit of class `index` as (one map a pooled stage, bias); their total is the logit. Batch of one."""
        weights = self.weight[index] / self.scale
        blocks = iter(zip(*(t.split(self._widths()) for t in (weights, self.centre)), strict=True))
        totals = []
        for i in self.stages:
            level = maps[i][0]
            total = torch.zeros_like(level[0])
            for pool in self.pools:
                weight, centre = next(blocks)
                total = total + _POOLS[pool].spread(level, weight) - weight @ centre / total.numel()
            totals.append(total)
        return totals, float(self.bias[index].detach())

    def solved(self, features: Features, wanted: Tensor, units: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """See `Linear`."""
        ridge = fit_ridge(cast("Tensor", features), wanted, units, self.block_weights())
        state = {
            "centre": ridge.centre.float(),
            "scale": ridge.scale.float(),
            "directions": ridge.directions.float(),
            "weight": (ridge.weight.T * ridge.scale).contiguous(),
            "bias": ridge.bias,
        }
        return state, ridge.left_out

    def block_weights(self) -> Tensor:
        """(F,) float64: how much a feature counts before the data speak, by how many share its stage and pooling.

        Counting all alike, the 1,280 channels of the last stage drown the others; the fourth root of the width is
        half way to every block counting the same. With, without (`python -m benchmarks.head`): trashnet-150 91.3,
        90.7 % with NLL 0.259, 0.275; signs 98.5, 98.2 %; digits 99.2, 99.1 %.
        """
        return torch.tensor([width**-0.25 for width in self._widths() for _ in range(width)], dtype=torch.float64)

    def _widths(self) -> list[int]:
        return [_POOLS[pool].parts * width for width in self.channels for pool in self.pools]


class Probabilities(nn.Module):
    """logits (N, K) -> calibrated probabilities (N, K)."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, output: Output, pieces: Pieces) -> Finished:
        return {"probabilities": softmax(output["logits"], self.temperature)}


class _Pool(NamedTuple):
    """take: maps (N, C, ...) -> (N, C * parts); spread: one map (C, ...), weights (C * parts,) -> what each cell adds
    to the sum of what is taken, so weighted."""

    take: Callable[[Tensor], Tensor]
    spread: Callable[[Tensor, Tensor], Tensor]
    parts: int = 1


def _mean_of(level: Tensor, weight: Tensor) -> Tensor:
    return torch.tensordot(weight, level, 1) / level[0].numel()


def _spread_max(level: Tensor, weight: Tensor) -> Tensor:
    cells = level.flatten(1)
    best = cells.argmax(dim=1, keepdim=True)
    return (weight @ torch.zeros_like(cells).scatter(1, best, cells.gather(1, best))).reshape(level.shape[1:])


# A step at 0 turns rounding into whole cells (probabilities moved by 4e-4 from one backend to the next); this ramp
# keeps its accuracy on trashnet-150 (91.6 against 91.8 %, 5 resplits) and moves by rounding only.
_RAMP = 0.3


def _presence(x: Tensor) -> Tensor:
    return (x / _RAMP).clamp(0, 1)


def _in_parts(cells: int, parts: int) -> Tensor:
    """(parts, cells): which share of each of so many cells in a line counts in the mean of a part; those of a part
    sum to 1."""
    edges = torch.linspace(0, cells, parts + 1)
    place = torch.arange(cells)
    shared = torch.minimum(edges[1:, None], place + 1.0) - torch.maximum(edges[:-1, None], place.float())
    return shared.clamp_min(0) * (parts / cells)


def _bands(level: Tensor, across: int = 1) -> Tensor:
    """(N, C, H, W) -> (N, C * _BANDS * across)."""
    rows, columns = _lines(level, across)
    return (rows @ level @ columns.T).flatten(1)


def _spread_bands(level: Tensor, weight: Tensor, across: int = 1) -> Tensor:
    rows, columns = _lines(level, across)
    return (rows.T @ weight.reshape(len(level), _BANDS, across) @ columns * level).sum(0)


def _lines(level: Tensor, across: int) -> tuple[Tensor, Tensor]:
    """(_BANDS, H) and (across, W), as `_in_parts` has them."""
    height, width = level.shape[-2:]
    return _in_parts(height, _BANDS).to(level), _in_parts(width, across).to(level)


_POOLS = {
    "mean": _Pool(lambda x: x.flatten(2).mean(2), _mean_of),
    "max": _Pool(lambda x: x.flatten(2).amax(2), _spread_max),
    "present": _Pool(lambda x: _presence(x).flatten(2).mean(2), lambda x, weight: _mean_of(_presence(x), weight)),
    "bands": _Pool(_bands, _spread_bands, _BANDS),
    "thirds": _Pool(partial(_bands, across=_THIRDS), partial(_spread_bands, across=_THIRDS), _BANDS * _THIRDS),
}


def _index(prediction: Prediction) -> int:
    assert prediction.origin is not None
    return prediction.origin
