"""Head: feature maps -> Output. Knows no implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from foveal.types import Features, Output


class Head(nn.Module, ABC):
    """Feature maps -> Output: `reduce` every map, `join` what is left of them, `read` the result.

    Only `read` has anything to learn: what is below is computed once and cached, by stage and `extra_repr`.
    """

    maps: bool = False
    """Whether features are whole maps: too large to hold those of all rows at once."""

    def reduce(self, stage: int, level: Tensor) -> Tensor:
        """What `join` needs of the map of this stage: (N, C, H, W) or (N, C, L) -> (N, ...); the map itself here."""
        return level

    @abstractmethod
    def join(self, parts: list[Tensor]) -> Tensor:
        """What `reduce` left of every stage's map, in order -> features (N, ...) float32."""

    @abstractmethod
    def read(self, features: Tensor) -> Output:
        """The learned part: features -> Output."""

    def distance(self, features: Tensor) -> Tensor | None:
        """(N,) float64: how far features (N, ...) are from where those lay that the head was solved on, each measured
        by its own spread; None where it cannot say."""
        return None

    def likeness(self, features: Tensor) -> Tensor:
        """(N, F): features (N, ...) so that those of things that are alike are near each other."""
        return features.flatten(1).float()

    def depth(self, stages: int) -> int:
        """How many of a network's stages it needs, from the first on."""
        return stages

    def depths(self, stages: Sequence[int]) -> list[int]:
        """The same of each network, where it reads several side by side; stages: how many each has."""
        return [self.depth(sum(stages))]

    def layers(self) -> nn.Module | None:
        """Layers of its own, if it has any: they know nothing yet where training begins."""
        return None

    def begin(self, state: Mapping[str, Tensor], features: Features) -> None:
        """Take a closed form's state, to be trained from there; features: (N, F) of what it was solved on."""
        self.load_state_dict(dict(state))

    def settle(self, features: Tensor) -> None:
        """After training: say the same, but relative to these features (N, ...) of what was learnt from."""

    def gather(self, maps: Iterable[Tensor]) -> Tensor:
        """Every stage's map -> features (N, ...) float32."""
        return self.join([self.reduce(stage, level) for stage, level in enumerate(maps)])

    def forward(self, maps: list[Tensor]) -> Output:
        return self.read(self.gather(maps))
