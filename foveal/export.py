"""One ONNX file that takes the raw thing and returns what the run returns: preprocessing and calibration inside.

Knows the contracts and ONNX Runtime. A file is written only after it agreed with the run on the run's own pictures.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Predictor, Target, Task
from foveal.engine.checkpoint import write_atomic
from foveal.engine.device import Runner
from foveal.engine.predict import finished_chunks
from foveal.errors import ExportError, RunError
from foveal.model import Model
from foveal.types import Finished, Prediction, Raw

TOLERANCE = 1e-4
"""The largest difference of any output between the run and the exported file."""

_LARGEST_AXIS = 2**16


class _Flat(nn.Module):
    """The model with its outputs as a tuple, in order of their names: what ONNX can express."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        finished = self.model(raw)
        return tuple(finished[name] for name in sorted(finished))


class ExportedModel:
    """An exported file, opened with ONNX Runtime."""

    def __init__(self, data: bytes | Path) -> None:
        """Raises RunError where the file is not one that foveal exported."""
        import onnxruntime

        try:
            source = str(data) if isinstance(data, Path) else data
            self.session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
            self.card = json.loads(self.session.get_modelmeta().custom_metadata_map["foveal"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{data if isinstance(data, Path) else 'file'}: not exported by foveal ({error})"
            ) from error
        self.names = [output.name for output in self.session.get_outputs()]

    def finished(self, raw: Tensor) -> Finished:
        """One raw tensor -> the outputs by name."""
        values = self.session.run(self.names, {"raw": raw.numpy()})
        return {name: torch.from_numpy(np.asarray(value)) for name, value in zip(self.names, values, strict=True)}

    def predictor(self, task: Task) -> Predictor:
        """Predict with the file alone; `task` says how raw things are read and outputs decoded."""

        def predict(raws: Sequence[Raw]):
            return [task.target.decode(self.finished(task.input.tensor(raw)))[0] for raw in raws]

        return predict


def export(
    model: Model,
    task: Task,
    card: dict[str, object],
    raws: Sequence[Raw],
    out: Path,
    extract: Runner | None = None,
) -> float:
    """Write `model` to `out` as one ONNX file and return its largest difference from the run on `raws`.

    card: JSON-able, kept in the file's metadata. Raises ExportError, and writes nothing, where any output differs by
    more than 1e-4 or any prediction's class changes.
    """
    data = _serialise(model, task, card, raws[0])
    worst = _largest_difference(model, task, ExportedModel(data), raws, extract)
    write_atomic(out, data)
    return worst


def _serialise(model: Model, task: Task, card: dict[str, object], example: Raw) -> bytes:
    model.eval()
    raw = task.input.tensor(example)
    with torch.no_grad():
        names = sorted(model(raw))
    axes = {axis: torch.export.Dim(name, min=1, max=_LARGEST_AXIS) for axis, name in task.input.raw_axes.items()}
    # An axis of 1 would be taken for a constant, so the example is traced at a size of its own.
    shape = [64 + 8 * axis if axis in axes else length for axis, length in enumerate(raw.shape)]
    with _quiet():
        program = torch.onnx.export(
            _Flat(model).eval(),
            (torch.ones(shape, dtype=raw.dtype),),
            input_names=["raw"],
            output_names=names,
            dynamic_shapes=(axes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "foveal", json.dumps(card)
    return proto.SerializeToString()


@contextlib.contextmanager
def _quiet():
    """The exporter reports progress on stdout and warns of its own deprecations; neither is for the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def _largest_difference(
    model: Model, task: Task, exported: ExportedModel, raws: Sequence[Raw], extract: Runner | None
) -> float:
    worst, changed, position = 0.0, [], 0
    for chunk in finished_chunks(model, task, raws, extract):
        count = len(next(iter(chunk.values())))
        for row in range(count):
            own = {name: value[row : row + 1] for name, value in chunk.items()}
            other = exported.finished(task.input.tensor(raws[position]))
            worst = max(worst, task.target.difference(own, other))
            if not _same_answer(task.target, own, other):
                changed.append(position)
            position += 1
    if worst > TOLERANCE or changed:
        raise ExportError(
            f"the exported file does not agree with the run: expected a difference of at most {TOLERANCE} and the "
            f"same answers, found {worst:.2g} and {len(changed)} changed answers among {len(raws)}; nothing was "
            f"written"
        )
    return worst


def _same_answer(target: Target, own: Finished, other: Finished) -> bool:
    """Whether both say the same class, or one that the first is as sure of: rounding chooses between such."""
    (one,), (two,) = target.decode(own), target.decode(other)
    return one.label == two.label or one.score - _sureness(one, two.label, target.class_names) <= TOLERANCE


def _sureness(prediction: Prediction, label: str | None, class_names: Sequence[str]) -> float:
    """How sure a prediction is of a class that it need not have chosen."""
    scores = dict(zip(class_names, prediction.scores, strict=False))
    for box in prediction.boxes:
        scores[box.label] = max(box.score, scores.get(box.label, 0.0))
    return scores.get(label or "", 0.0)
