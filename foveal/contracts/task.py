"""Task: an Input and a Target. Knows no implementation."""

from __future__ import annotations

from dataclasses import dataclass

from foveal.contracts.input import Input
from foveal.contracts.target import Target


@dataclass(frozen=True)
class Task:
    """A frozen pair of what is looked at and what is said about it; everything else follows from the two."""

    name: str
    input: Input
    target: Target

    def __post_init__(self) -> None:
        assert self.input.dims in self.target.dims, f"{self.name}: input of {self.input.dims} dims does not fit"
