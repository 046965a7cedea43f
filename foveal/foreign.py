"""Networks that foveal did not train: an ONNX file that tells classes of pictures, asked by forward passes alone.

Knows ONNX Runtime, and how pictures are usually brought before a network. Which of these ways a file expects it
seldom says: the one that gives the most right answers is taken, and said.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.contracts import Task
from foveal.errors import RunError, UsageError
from foveal.inputs import Image
from foveal.model import Model
from foveal.nets.opaque import Opaque
from foveal.targets import Classes, Given
from foveal.types import Raw

_USUAL_SIZE = 224
_TINY, _SUMS_TO_1 = 1e-12, 1e-3
# Values of pixels, from 0 to 255, less the first, divided by the second.
_SCALES = {
    "from 0 to 1": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "less ImageNet's mean, by its spread": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "from -1 to 1": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "from 0 to 255": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Way:
    """How pictures are brought before a network; scale: a name of how their values are; reverse: blue first."""

    scale: str
    reverse: bool = False

    def __str__(self) -> str:
        return f"values {self.scale}, {'blue, green, red' if self.reverse else 'red, green, blue'}"

    def applied(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W) as `Image` has it."""
        centre, spread = (torch.tensor(values)[:, None, None] for values in _SCALES[self.scale])
        found = (x * 128.0 + 127.0 - centre) / spread
        return found.flip(1) if self.reverse else found


class Foreign:
    """An ONNX file as a task and a model, for what needs no more than passes.

    The first input is of pictures, (N, 3, H, W), (N, H, W, 3) or, as foveal exports it, (H, W, 3); the first output
    with one number a class, logits or probabilities.
    """

    def __init__(self, path: Path, class_names: Sequence[str], task_name: str) -> None:
        """class_names: those of the data, by which the outputs are named where the file has no names of its own.

        Raises RunError where it is no such file, UsageError where the outputs are of other classes.
        """
        import onnxruntime

        if not path.is_file():
            raise RunError(f"{path}: no such file")
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, none of them documented
            raise RunError(f"{path}: not an ONNX file that can be run ({error})") from error
        self.path, self.way = path, Way("from 0 to 255")
        first = self.session.get_inputs()[0]
        self._name, self._layout, self._whole = first.name, list(first.shape), "float" not in first.type
        self._type = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16}.get(first.type, np.float32)
        sides = [n for n in self._layout[-3:] if isinstance(n, int) and n != 3]
        self._channels_last = self._layout[-1] == 3
        if len(self._layout) not in (3, 4) or 3 not in (self._layout[-1], self._layout[-3]):
            raise RunError(
                f"{path}: expected an input of pictures, (N, 3, H, W) or (N, H, W, 3), found {self._layout}"
            )
        if len(set(sides)) > 1:
            raise RunError(f"{path}: expected square pictures, found {self._layout}")
        metadata = self.session.get_modelmeta().custom_metadata_map
        size = sides[0] if sides else _own_size(metadata) or _USUAL_SIZE
        self._output, self.outputs, self._likely = self._find_output(size)
        names = _names(metadata) or tuple(class_names)
        if len(names) != self.outputs or not set(class_names) <= set(names):
            own = _listed(_names(metadata)) or "without names"
            raise UsageError(
                f"{path}: tells {self.outputs} classes apart ({own}), the data have {len(class_names)} "
                f"({_listed(class_names)}); name the data's classes as the file's are"
            )
        self.task = Task(task_name, Image(size=size, mirror=False), Classes(names))
        self.model = Model(self.task, Opaque(self.logits, self.outputs), Given()).eval()

    def settle(self, raws: Sequence[Raw], labels: Sequence[int]) -> list[dict[str, Any]]:
        """Take the way of asking that gives the most right answers, or of several the surest; a JSON-able row a way
        tried, the one taken first."""
        x = torch.cat([self.task.input.seen(raw, self.model.stem)[0] for raw in raws])
        truth, found = torch.tensor(labels), []
        for way in self._ways():
            self.way = way
            sure = self.logits(x).log_softmax(1)
            right = float((sure.argmax(1) == truth).float().mean())
            found.append((right, float(sure[torch.arange(len(truth)), truth].mean()), way))
        found.sort(key=lambda row: (-row[0], -row[1]))
        self.way = found[0][2]
        return [{"way": str(way), "right": right} for right, _, way in found]

    def logits(self, x: Tensor) -> Tensor:
        """x: (N, 3, S, S) as `Image` has it -> (N, K)."""
        found = self._run(self._output, self.way.applied(x))
        return found.clamp_min(_TINY).log() if self._likely else found

    def _run(self, output: str, pixels: Tensor) -> Tensor:
        """pixels: (N, 3, S, S) as the file wants their values -> (N, ...) float32."""
        given = pixels.numpy()
        given = given.transpose(0, 2, 3, 1) if self._channels_last else given
        given = np.rint(given).clip(0, 255).astype(self._type) if self._whole else given.astype(self._type)
        try:
            rows = [np.asarray(self.session.run([output], {self._name: part})[0]) for part in self._batches(given)]
        except Exception as error:  # of many kinds, none of them documented
            raise RunError(f"{self.path}: cannot be run on {given.shape[1:]} ({error})") from error
        return torch.from_numpy(np.concatenate(rows)[: len(pixels)].astype(np.float32))

    def _batches(self, given: np.ndarray) -> Iterator[np.ndarray]:
        """As many rows at once as the file takes."""
        if len(self._layout) == 3:
            yield from given
            return
        count = self._layout[0] if isinstance(self._layout[0], int) else len(given)
        for start in range(0, len(given), count):
            part = given[start : start + count]
            yield np.concatenate([part, np.repeat(part[-1:], count - len(part), axis=0)])

    def _ways(self) -> Iterator[Way]:
        scales = ["from 0 to 255"] if self._whole else list(_SCALES)
        yield from (Way(scale, reverse) for scale in scales for reverse in (False, True))

    def _find_output(self, size: int) -> tuple[str, int, bool]:
        """The first output with a number a class, how many they are, and whether they are probabilities."""
        gray = torch.full((2, 3, size, size), 0.5)
        for own in self.session.get_outputs():
            values = self._run(own.name, gray).numpy()
            if values.ndim == 2 and len(values) == len(gray) and values.shape[1] > 1:
                likely = bool((values >= 0).all() and np.abs(values.sum(1) - 1).max() < _SUMS_TO_1)
                return own.name, values.shape[1], likely
        raise RunError(f"{self.path}: expected an output with one number a class, (N, classes), found none")


def _names(metadata: dict[str, str]) -> tuple[str, ...]:
    """Of the classes, where the file says them: as foveal writes them, or as a dictionary or list under "names"."""
    if "foveal" in metadata:
        return tuple(json.loads(metadata["foveal"])["task"]["target"]["class_names"])
    try:
        found = ast.literal_eval(metadata.get("names", metadata.get("classes", "()")))
    except (ValueError, SyntaxError):
        return ()
    if not isinstance(found, dict):
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()
    numbers = {str(name): place for place, name in found.items()}
    if all(isinstance(own, int) for own in found.values()):  # numbers by name
        numbers = found
    if not all(str(place).isdigit() for place in numbers.values()):
        return ()
    return tuple(sorted(numbers, key=lambda name: int(numbers[name])))


def _own_size(metadata: dict[str, str]) -> int | None:
    return json.loads(metadata["foveal"])["task"]["input"]["size"] if "foveal" in metadata else None


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
