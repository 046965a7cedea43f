"""Predictors: from raw things to predictions on the reference path, in float32.

Knows the contracts and backends; the exported file's predictor is in `export.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from foveal.contracts import Model, Predictor, Task
from foveal.engine.device import Runner
from foveal.types import Finished, Pieces, Prediction, Raw

_CHUNK = 32


def finished_chunks(
    model: Model, task: Task, raws: Sequence[Raw], extract: Runner | None = None
) -> Iterator[Finished]:
    """Finished tensors for at most 32 raw things at a time; `extract` computes features, PyTorch if None."""
    model.eval()
    for start in range(0, len(raws), _CHUNK):
        with torch.inference_mode():
            staged = [model.stem(task.input.tensor(raw)) for raw in raws[start : start + _CHUNK]]
            x = torch.cat([x for x, _ in staged])
            features = model.head.gather(model.net(x)) if extract is None else extract(x)
            yield model.finish(model.head.read(features), Pieces.join([pieces for _, pieces in staged]))


def live_predictor(model: Model, task: Task, extract: Runner | None = None) -> Predictor:
    """Predict with `model`, its features computed by `extract` where given."""

    def predict(raws: Sequence[Raw]) -> list[Prediction]:
        chunks = finished_chunks(model, task, raws, extract)
        return [prediction for finished in chunks for prediction in task.target.decode(finished)]

    return predict


def predict_features(model: Model, task: Task, features: Tensor, pieces: Pieces) -> list[Prediction]:
    """The same from features that the frozen pass kept: (N, F) -> N predictions."""
    with torch.inference_mode():
        return task.target.decode(model.finish(model.head.read(features), pieces))
