"""The table of tasks: the only file that names them all. A task is an Input and a Target.

Knows how a task and its input are guessed from data, written as JSON and rebuilt from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from foveal.contracts import Input, Target, Task
from foveal.errors import DataError, RunError, UsageError
from foveal.inputs import Audio, Image, Raster, Recording, Series, Text
from foveal.layouts import FormatOptions
from foveal.targets import Boxes, Classes, Masks
from foveal.types import Dataset


@dataclass(frozen=True)
class Row:
    """One combination: the inputs that its files may be for, asked in this order, its unfitted target, its usual
    net, a larger one that may be fine-tuned instead, the input size where the input does not choose, and the data of
    its demonstration."""

    inputs: tuple[type[Input], ...]
    target: Target
    net: str
    demo: str
    larger: str | None = None
    size: int | None = None


TASKS: Mapping[str, Row] = MappingProxyType(
    {
        "classify": Row((Raster, Image), Classes(), "lite0", "digits", "lite2"),
        "detect": Row((Image,), Boxes(), "lite0", "scenes", size=416),
        "segment": Row((Image,), Masks(), "lite0", "traced", size=416),
        "audio": Row((Audio,), Classes(pools=("bands", "thirds"), coarsest=16), "lite0", "sounds"),
        "events": Row((Recording,), Masks(timed=True), "lite0", "recordings"),
        "text": Row((Text,), Classes(pools=("max",)), "ngrams", "messages"),
        "series": Row((Series,), Classes(pools=("mean",)), "rocket", "signals"),
    }
)

INPUTS: Mapping[str, type[Input]] = MappingProxyType(
    {"Audio": Audio, "Image": Image, "Raster": Raster, "Recording": Recording, "Series": Series, "Text": Text}
)
TARGETS: Mapping[str, type[Target]] = MappingProxyType({"Boxes": Boxes, "Classes": Classes, "Masks": Masks})


def find(name: str) -> str:
    """The task's name, if there is one. Raises UsageError naming those that there are."""
    if name not in TASKS:
        raise UsageError(f"no task is called {name!r}; there is: {', '.join(TASKS)}")
    return name


def guess(data: Dataset) -> str:
    """The first task whose target takes labels of this kind and whose inputs are for files of these names, else whose
    target takes them. Raises UsageError where none does yet."""
    found = {name: row for name, row in TASKS.items() if row.target.labels == data.labels}
    if not found:
        raise UsageError(f"{data.reading}; a task for {data.labels} is planned and not built yet")
    names = {example.source.suffix.lower() for example in data.examples}
    fitting = (name for name, row in found.items() if any(names <= set(input.suffixes) for input in row.inputs))
    return next(fitting, next(iter(found)))


def options(
    name: str | None, label: str | None = None, group: str | None = None, text: str | None = None
) -> FormatOptions:
    """What is to be read for a task; without one, for any."""
    inputs = [one for row in (TASKS.values() if name is None else [TASKS[name]]) for one in row.inputs]
    files, held = (
        tuple(dict.fromkeys(suffix for one in inputs if one.in_files is of_files for suffix in one.suffixes))
        for of_files in (True, False)
    )
    if name is None:
        return FormatOptions(files, label, group, text)
    return FormatOptions(files, label, group, text, TASKS[name].target.labels, held)


def input_for(name: str, sources: Sequence[Path]) -> type[Input]:
    """The first of a task's inputs that is for every one of these files.

    Raises DataError naming, for each input, a file that it is not for.
    """
    others = []
    for input in TASKS[name].inputs:
        other = input.unread(sources)
        if other is None:
            return input
        others.append(f"{input.__name__} is not for {other}")
    raise DataError(f"expected files of one kind, found several: {', '.join(others)}; train on each kind by itself")


def to_json(task: Task) -> dict[str, object]:
    """JSON-able; `from_json` undoes it."""
    return {
        "name": task.name,
        "input": {"kind": type(task.input).__name__, **asdict(task.input)},  # type: ignore[call-overload]
        "target": {"kind": type(task.target).__name__, **asdict(task.target)},  # type: ignore[call-overload]
    }


def from_json(
    values: Mapping[str, object],
    inputs: Mapping[str, type[Input]] = INPUTS,
    targets: Mapping[str, type[Target]] = TARGETS,
) -> Task:
    """Rebuild a task. Raises RunError where it names a part that this version does not have."""
    return Task(str(values["name"]), _rebuild(values["input"], inputs), _rebuild(values["target"], targets))


def _rebuild(values, parts):
    fields = dict(values)
    kind = fields.pop("kind", None)
    if kind not in parts:
        raise RunError(f"expected one of {', '.join(parts)}, found {kind!r}; the run is of another version of foveal")
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    try:
        return parts[kind](**frozen)
    except TypeError as error:
        raise RunError(f"{kind}: {error}; the run is of another version of foveal") from error
