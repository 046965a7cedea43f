"""Outputs of one network for the material's rows on the fp32 reference path, each computed once.

Knows the contracts and the material; the path itself is `Material.extracted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from foveal.engine import device
from foveal.engine.reading import Material
from foveal.model import Model
from foveal.types import Output

CHUNK = 128
# Of maps, fewer: the network's, and then the layers of a head that has its own.
_CHUNK_OF_MAPS, _READ_OF_MAPS = 32, 4


class Reference:
    """What a network says of rows, uncalibrated: nothing of it depends on temperature or thresholds.

    known: what gives (rows, F) that its head reads, where that is known already.
    """

    def __init__(self, material: Material, model: Model, known: Callable[[list[int]], Tensor] | None = None) -> None:
        self.material, self.model, self._features = material, model, known or self._extracted
        self._known: dict[int, Output] = {}
        self._distances: dict[int, Tensor] = {}

    @cached_property
    def extract(self) -> device.Runner:
        """Network and the fixed half of the head: (N, C, ...) -> (N, F)."""
        return self.material.compiled(self.model)

    def _extracted(self, rows: list[int]) -> Tensor:
        return self.material.extracted(rows, self.extract)

    def compute(self, rows: Sequence[int]) -> None:
        """Run the network on those rows that it has not been run on."""
        missing = [row for row in rows if row not in self._known]
        head = self.model.head
        few = (device.fewer(most, self.material.task.input.shape()) for most in (_CHUNK_OF_MAPS, _READ_OF_MAPS))
        count, read = few if head.maps else (CHUNK, CHUNK)
        for start in range(0, len(missing), count):
            part = missing[start : start + count]
            with torch.inference_mode():
                features = self._features(part)
                output, distances = (
                    joined([head.read(some) for some in features.split(read)]),
                    head.distance(features),
                )
            if distances is not None:
                self._distances.update(zip(part, distances, strict=True))
            for index, row in enumerate(part):
                self._known[row] = {name: tensor[index : index + 1] for name, tensor in output.items()}

    def outputs(self, rows: Sequence[int]) -> Output:
        """One Output with a row for each of `rows`, in order."""
        self.compute(rows)
        return joined([self._known[row] for row in rows])

    def distances(self, rows: Sequence[int]) -> Tensor | None:
        """(len(rows),) float64: how far rows are from what was learnt from; None where the head cannot say."""
        self.compute(rows)
        return torch.stack([self._distances[row] for row in rows]) if self._distances else None


def joined(outputs: Sequence[Output]) -> Output:
    """The rows of several Outputs in one."""
    return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
