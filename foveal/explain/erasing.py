"""What is left of a prediction once cells of what the network sees are erased: the yardstick of explanations.

Knows the contracts. What is erased takes the mean of what lies around, which is less foreign to a network than any
one colour; one that was trained with erased parts minds it less still (Hase et al. 2021, arXiv 2106.00786).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.engine.device import Runner, rows_at_once
from foveal.explain.grid import grid_around
from foveal.model import Model
from foveal.types import Output, Pieces, Prediction, Raw, Thing


class Erasing:
    """One raw thing and the model's prediction of it, or what that says of one thing in it.

    grid: how many cells there are along each axis; places: (J,) the numbers, row by row, of those that hold anything;
    extract: what computes features of a batch; x: what the network sees, a batch of one; score, confidence: of the
    prediction where nothing is erased.
    """

    def __init__(
        self, model: Model, task: Task, raw: Raw, extract: Runner | None = None, thing: Thing | None = None
    ) -> None:
        """extract: computes features of batches of `rows_at_once` inputs; PyTorch if None. thing: of which alone the
        prediction is followed, and around which alone cells are erased, where it has a place."""
        self.model, self.task, self.extract = model.eval(), task, extract
        self._at_once = rows_at_once(task.input.shape(), maps=model.head.maps)
        with torch.inference_mode():
            self.x, self.pieces = task.input.seen(raw, model.stem)
            output = self._output(self.x)
            self.prediction = task.target.decode(model.finish(output, self.pieces))[0]
            if thing is not None:
                self.prediction = task.target.said_of(self.prediction, thing, self.pieces) or self.prediction
            self._follow = task.target.follow(output, self.prediction)
            self.score, self.confidence = (float(own) for own in self._follow(output))
        self.grid, words = task.input.grid(), task.input.named_cells(raw)
        self.places = np.arange(len(words) or int(np.prod(self.grid)))
        self.names = words
        if thing is not None and thing.window is not None:
            self.grid, self.places = grid_around(thing.window, self.pieces, self.grid)

    def finer(self, times: int) -> Erasing:
        """The same prediction, of which each cell is cut into so many along each axis."""
        found = copy.copy(self)
        found.grid = tuple(times * side for side in self.grid)
        found.places = np.arange(int(np.prod(found.grid)))
        return found

    def left(self, erased: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """erased: (M, J) bool, which of `places` -> scores and confidences, (M,) float64 each."""
        cells = torch.from_numpy(self._cells(erased))
        found = [self._of(part) for part in cells.split(self._at_once)]
        scores, confidences = (torch.cat(own).double().numpy() for own in zip(*found, strict=True))
        return scores, confidences

    def without(self, erased: np.ndarray) -> Tensor:
        """What the network sees, a batch of one, once these of `places`, (J,) bool, are erased."""
        return self._seen(torch.from_numpy(self._cells(erased[None])))

    def said_of(self, x: Tensor) -> list[Prediction]:
        """What is predicted of other inputs of the same geometry."""
        found = []
        with torch.inference_mode():
            for part in x.split(self._at_once):
                pieces = Pieces.join([self.pieces] * len(part))
                found += self.task.target.decode(self.model.finish(self._output(part), pieces))
        return found

    def scores(self, output: Output) -> Tensor:
        """(N,): what a batch of outputs says of the prediction; differentiable."""
        return self._follow(output)[0]

    def effects(self) -> np.ndarray:
        """(J,): by how much the score falls when one cell alone is erased."""
        return self.score - self.left(np.eye(len(self.places), dtype=bool))[0]

    def _of(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            return self._follow(self._output(self._seen(cells)))

    def _cells(self, erased: np.ndarray) -> np.ndarray:
        """(M, J) bool -> (M, cells)."""
        cells = np.zeros((len(erased), int(np.prod(self.grid))), bool)
        cells[:, self.places] = erased
        return cells

    def _seen(self, cells: Tensor) -> Tensor:
        """x once for each row of cells (M, cells), without these."""
        return self.task.input.erase(self.x, cells.reshape(len(cells), *self.grid))

    def _output(self, x: Tensor) -> Output:
        if self.extract is not None:
            return self.model.head.read(self.extract(x))
        return self.model.head.read(self.model.head.gather(self.model.net.levels(x)))
