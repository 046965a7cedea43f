"""Net: x -> feature maps, stage by stage. Knows no implementation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn


class Net(nn.Module):
    """Stages in order; `forward` returns each stage's map, finest first.

    channels: per stage; strides: per stage, how many input positions one cell stands for.
    """

    stages: nn.ModuleList
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    symmetric: bool = False
    """Whether it sees each input from both sides, so that swapping left and right changes nothing."""
    parts: tuple[Net, ...] = ()
    """Those that it consists of, where it is two side by side."""
    counted: int = 0
    """Where its map holds numbers of things that occur, and not amounts: what they go up to."""
    most_epochs: int = 200
    """After so many a network from nothing learns only what it has seen by heart."""
    origin: str = ""
    """What it knows from elsewhere than its examples, in a sentence, where that is not its weights."""
    rows_at_once: int | None = None
    """Of how many inputs its many thin maps stay in a processor's cache; only plain PyTorch then runs it."""

    def prepare(self, x: Tensor) -> None:
        """Set what is computed from examples instead of trained, from network inputs x (N, C, ...); nothing here."""

    def vocabulary(self) -> Sequence[str]:
        """Words of which something is known from elsewhere; none here."""
        return ()

    def define(self, known: Tensor) -> None:
        """Take the vocabulary as network inputs, (words, C)."""

    def levels(self, x: Tensor) -> Iterator[Tensor]:
        """Each stage's map in turn, so that what is reduced at once need not be held."""
        for stage in self.stages:
            x = stage(x)
            yield x

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.levels(x))
