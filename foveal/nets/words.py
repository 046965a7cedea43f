"""WordNet: a small network of texts to train from nothing.

Each word is the sum of what its own number and those of its parts are embedded as (Bojanowski et al. 2017, arXiv
1607.04606), so an unknown word is known by its parts; convolutions of several widths look for phrases (Kim 2014,
arXiv 1408.5882).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.contracts import Net

# Numbers share so many rows of a table: a set of some thousand texts has no more that are worth a row.
_ROWS, _WIDTH = 2**15, 128
_WIDTHS, _FILTERS = (1, 2, 3), 128
_NORM_MOMENTUM = 0.4
_WHOLES = 6


class WordNet(Net):
    """x (N, numbers, W) -> maps (N, filters, W) of words and phrases."""

    most_epochs = 12

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([_Embedding(), _Phrases()])
        self.channels, self.strides = (_WIDTH, len(_WIDTHS) * _FILTERS), (1, 1)


class _Embedding(nn.Module):
    """The mean over a word's parts, plus the word itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(_ROWS, _WIDTH)
        nn.init.normal_(self.table.weight, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        numbers = x.transpose(1, 2).long()
        there = numbers > 0
        words = self.table(numbers[:, :, 0] % _ROWS) * there[:, :, :1]
        return (words + self._parts(numbers[:, :, _WHOLES:] % _ROWS, there[:, :, _WHOLES:])).transpose(1, 2)

    def _parts(self, rows: Tensor, there: Tensor) -> Tensor:
        """(N, W, parts) -> (N, W, width): the sum of the rows that are there over the root of how many they are."""
        counts = there.sum(2)
        if self.training and rows.device.type == "cpu":
            # Most words are short, so few of all are there, and nothing else is looked up. A recorded or an exported
            # network could not know how many that are.
            starts = F.pad(counts.flatten().cumsum(0), (1, 0))[:-1]
            total = F.embedding_bag(rows[there], self.table.weight, starts, mode="sum").unflatten(0, counts.shape)
        else:
            total = (self.table(rows) * there[..., None]).sum(2)
        return total / counts.clamp_min(1).sqrt()[..., None]


class _Phrases(nn.Module):
    """Convolutions over one, two and three words."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(_WIDTH, _FILTERS, width, bias=False) for width in _WIDTHS)
        self.norm = nn.BatchNorm1d(len(_WIDTHS) * _FILTERS, momentum=_NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        found = [
            convolution(F.pad(x, (width // 2, (width - 1) // 2)))
            for width, convolution in zip(_WIDTHS, self.convolutions, strict=True)
        ]
        return F.relu(self.norm(torch.cat(found, 1)))
