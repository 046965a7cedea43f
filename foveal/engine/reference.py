"""Outputs of one network for the material's rows on the fp32 reference path, each computed once.

Knows the contracts and the material; the path itself is `Material.extracted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from foveal.contracts import Model
from foveal.engine import device
from foveal.engine.reading import Material
from foveal.types import Output

CHUNK = 128


class Reference:
    """What a network says of rows, uncalibrated: nothing of it depends on temperature or thresholds."""

    def __init__(self, material: Material, model: Model) -> None:
        self.material, self.model = material, model
        self._known: dict[int, Output] = {}

    @cached_property
    def extract(self) -> device.Runner:
        """Network and the fixed half of the head: (N, C, ...) -> (N, F)."""
        return self.material.compiled(self.model)

    def compute(self, rows: Sequence[int]) -> None:
        """Run the network on those rows that it has not been run on."""
        missing = [row for row in rows if row not in self._known]
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            with torch.inference_mode():
                output = self.model.head.read(self.material.extracted(part, self.extract))
            for index, row in enumerate(part):
                self._known[row] = {name: tensor[index : index + 1] for name, tensor in output.items()}

    def outputs(self, rows: Sequence[int]) -> Output:
        """One Output with a row for each of `rows`, in order."""
        self.compute(rows)
        return joined([self._known[row] for row in rows])


def joined(outputs: Sequence[Output]) -> Output:
    """The rows of several Outputs in one."""
    return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
