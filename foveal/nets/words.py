"""WordNet: a small network of texts to train from nothing.

Knows numbers of words and of their parts (`inputs/_words.py`); not what they were hashed from. Each word is the sum
of what its own number and those of its parts are embedded as (Bojanowski et al. 2017, arXiv 1607.04606), so an
unknown word is known by its parts, and of its published vector, where such are installed. Convolutions of several
widths look for phrases, of which some are dropped while training (Kim 2014, arXiv 1408.5882).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Net
from foveal.nets import _vectors
from foveal.nets._vectors import ORIGIN, WHOLES, Vectors

# Numbers share so many rows of a table: a set of some thousand texts has no more that are worth a row.
_ROWS, _WIDTH, _SPREAD = 2**15, 128, 0.1
# How many words a filter looks at: itself, the one before it, the one after it.
_WIDTHS, _FILTERS = (1, 2, 3), 128
_AROUND = max(_WIDTHS)
_DROPPED = 0.5


class WordNet(Net):
    """x (N, numbers, W) -> one map (N, filters, W) of words and phrases."""

    most_epochs = 12

    def __init__(self, kinds: int) -> None:
        """kinds: what the numbers go up to."""
        super().__init__()
        self.stages = nn.ModuleList([_Phrases(kinds)])
        self.channels, self.strides = (len(_WIDTHS) * _FILTERS,), (1,)

    def vocabulary(self) -> Sequence[str]:
        return _vectors.published()[0]

    def define(self, known: Tensor) -> None:
        self.origin = ORIGIN
        cast("_Phrases", self.stages[0]).known.fill(known, torch.from_numpy(_vectors.published()[1]))


class _Phrases(nn.Module):
    """Convolutions over one, two and three words; 0 where there is no word nor one beside it."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.embedding, self.known = _Embedding(), _Known(kinds)
        self.convolutions = nn.ModuleList(nn.Conv1d(_WIDTH, _FILTERS, width) for width in _WIDTHS)
        for convolution in self._filters:
            nn.init.normal_(convolution.weight, std=convolution.weight[0].numel() ** -0.5)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        self.dropout = nn.Dropout1d(_DROPPED)

    def forward(self, x: Tensor) -> Tensor:
        numbers = x.transpose(1, 2).long()
        near = F.max_pool1d((x[:, :1] > 0).float(), _AROUND, 1, _AROUND // 2)[:, 0]
        if self.training and x.device.type == "cpu":
            # Most texts are shorter than the longest. A recorded or an exported network could not know by how much.
            return self.dropout(self._where(near > 0, numbers))
        words = self._embedded(numbers).transpose(1, 2)
        found = [
            convolution(F.pad(words, (convolution.kernel_size[0] // 2, (convolution.kernel_size[0] - 1) // 2)))
            for convolution in self._filters
        ]
        return self.dropout(F.relu(torch.cat(found, 1)) * near[:, None])

    def _where(self, near: Tensor, numbers: Tensor) -> Tensor:
        """The same map, computed only where `near` (N, W) says so."""
        there = numbers[:, :, 0] > 0
        words = F.pad(self._embedded(numbers[there]), (0, 0, 1, 0))  # row 0 is that of no word
        row = torch.zeros(there.shape, dtype=torch.int64)
        row[there] = torch.arange(1, len(words))
        padded = F.pad(row, (_AROUND // 2, _AROUND // 2))
        rows = torch.stack([padded[:, start : start + near.shape[1]][near] for start in range(_AROUND)], 1)
        windows = words[rows].flatten(1)
        found = []
        for convolution in self._filters:
            width = convolution.kernel_size[0]
            start = (_AROUND // 2 - width // 2) * _WIDTH
            own = windows[:, start : start + width * _WIDTH]
            found.append(F.linear(own, convolution.weight.transpose(1, 2).flatten(1), convolution.bias))
        phrases = F.relu(torch.cat(found, 1))
        whole = phrases.new_zeros(near.numel(), phrases.shape[1])
        whole = whole.index_copy(0, near.flatten().nonzero()[:, 0], phrases)
        return whole.unflatten(0, near.shape).transpose(1, 2)

    def _embedded(self, numbers: Tensor) -> Tensor:
        """(..., numbers) -> (..., width): as learnt here, plus what is known of the word from elsewhere."""
        own = self.embedding(numbers)
        return own + self.known(numbers) if self.known.width else own

    @property
    def _filters(self) -> Sequence[nn.Conv1d]:
        return [one for one in self.convolutions if isinstance(one, nn.Conv1d)]


class _Known(nn.Module):
    """Numbers (..., numbers) int64 -> (..., width): a published vector, through a matrix that is learnt."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.vectors, self.weight = Vectors(kinds), nn.Parameter(torch.zeros(_WIDTH, 0))

    @property
    def width(self) -> int:
        """Of the vectors; 0 where there are none."""
        return self.weight.shape[1]

    def fill(self, known: Tensor, table: Tensor) -> None:
        """In the beginning they stand in the first places of an embedding, and are as long as it is."""
        self.vectors.fill(known, table)
        scale = _SPREAD * (_WIDTH / table.float().square().sum(1).mean()).sqrt()
        self.weight = nn.Parameter(scale * torch.eye(_WIDTH, table.shape[1]))

    def forward(self, numbers: Tensor) -> Tensor:
        return F.linear(self.vectors.of(numbers), self.weight)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Takes the width that the state has; none where it is of a network without vectors."""
        name = f"{prefix}weight"
        found = state_dict.get(name, torch.zeros(_WIDTH, 0))
        if found.shape != self.weight.shape:
            self.weight = nn.Parameter(torch.empty_like(found))
        super()._load_from_state_dict({**state_dict, name: found}, prefix, *args, **kwargs)


class _Embedding(nn.Module):
    """Numbers (..., numbers) int64, 0 for none -> (..., width): the word itself, plus the mean of its parts times the
    root of how many they are."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(_ROWS, _WIDTH)
        nn.init.normal_(self.table.weight, std=_SPREAD)

    def forward(self, numbers: Tensor) -> Tensor:
        there = numbers > 0
        words = self.table(numbers[..., 0] % _ROWS) * there[..., :1]
        return words + self._parts(numbers[..., WHOLES:] % _ROWS, there[..., WHOLES:])

    def _parts(self, rows: Tensor, there: Tensor) -> Tensor:
        counts = there.sum(-1)
        if self.training and rows.device.type == "cpu":  # few of all are there, since most words are short
            starts = F.pad(counts.flatten().cumsum(0), (1, 0))[:-1]
            total = F.embedding_bag(rows[there], self.table.weight, starts, mode="sum").unflatten(0, counts.shape)
        else:
            total = (self.table(rows) * there[..., None]).sum(-2)
        return total / counts.clamp_min(1).sqrt()[..., None]
