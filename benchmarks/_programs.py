"""What a benchmark consists of, and the programs that nearly all of them run: Metric, Program, Benchmark, `train`.

Knows no data set. What is run is `_suite.py`, with `_beyond_pictures.py` and `_explanations.py`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._measure import ROOT, Command, CommandFailedError, measure

_FOVEAL = Path(sys.executable).with_name("foveal")
WARM_ROWS = 8
"""Of each class, in the data that the machine is probed with."""

Record = Mapping[str, object]


@dataclass(frozen=True)
class Metric:
    """One column: where a record holds the number, and what we want of it.

    Summarised as mean and standard error if `mean`, else as median, least and most.
    """

    name: str
    path: tuple[str, ...]
    unit: str = ""
    scale: float = 1.0
    digits: int = 1
    mean: bool = False
    at_least: float | None = None
    at_most: float | None = None

    def of(self, record: Record) -> float:
        value: object = record
        for key in self.path:
            assert isinstance(value, Mapping), f"{'.'.join(self.path)}: nothing below {key!r}"
            value = value[key]
        assert isinstance(value, int | float), f"{'.'.join(self.path)}: expected a number, found {value!r}"
        return value * self.scale


@dataclass(frozen=True)
class Case:
    """One run: its seed, a fresh folder for what it writes, and the machine probe that it may reuse."""

    seed: int
    folder: Path
    probe: Path | None


@dataclass(frozen=True)
class Program:
    """One of the programs that a benchmark compares; `metrics` has the same names in each."""

    name: str
    command: Callable[[Case], Command]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Benchmark:
    """Programs × seeds.

    warm: writes a small table to warm the machine probe with; beside: the benchmark whose runs stand beside these;
    ratio_at_least: how many times longer than it they should take.
    """

    name: str
    description: str
    seeds: tuple[int, ...]
    programs: tuple[Program, ...]
    warm: Callable[[Path], Path] | None = None
    prepare: Callable[[], None] | None = None
    beside: str | None = None
    ratio_at_least: float | None = None
    notes: Sequence[str] = field(default=())


SECONDS = "wall time"


def seconds(at_most: float | None = None) -> Metric:
    return Metric(SECONDS, ("wall_seconds",), "s", at_most=at_most)


MEMORY = Metric("peak memory", ("peak_mb",), "MB", digits=0)


def accuracy(*path: str, at_least: float | None = None) -> Metric:
    return Metric("accuracy", ("printed", *path), "%", 100, mean=True, at_least=at_least)


def train_metrics(at_least: float | None, at_most: float | None) -> tuple[Metric, ...]:
    macro = Metric("macro F1", ("printed", "test", "macro_f1", "value"), "%", 100, mean=True)
    return (accuracy("test", "accuracy", "value", at_least=at_least), macro, seconds(at_most), MEMORY)


def box_metrics(at_least: float | None, at_most: float) -> tuple[Metric, ...]:
    loose, strict = (
        Metric(name, ("printed", "test", key, "value"), "%", 100, mean=True, at_least=goal)
        for name, key, goal in (("mAP50", "map50", at_least), ("mAP50-95", "map50_95", None))
    )
    return (loose, strict, seconds(at_most), MEMORY)


def mask_metrics(overlap: float | None, accuracy: float | None, at_most: float) -> tuple[Metric, ...]:
    found = (
        Metric(name, ("printed", "test", key, "value"), "%", 100, mean=True, at_least=goal)
        for name, key, goal in (("mIoU", "miou", overlap), ("pixel accuracy", "pixel_accuracy", accuracy))
    )
    return (*found, seconds(at_most), MEMORY)


def foveal(arguments: Sequence[str | Path], shown: str, case: Case) -> Command:
    """foveal with a cache of its own: nothing is reused but the machine probe, where the case has one."""
    if not _FOVEAL.is_file():
        raise CommandFailedError(f"{_FOVEAL} does not exist; run: make venv")
    cache = case.folder / "cache"
    if case.probe is not None:
        shutil.copytree(case.probe, cache / "probe")
    return Command([str(_FOVEAL), *map(str, arguments)], shown, case.folder, {"FOVEAL_CACHE": str(cache)})


def warm_probe(warm: Callable[[Path], Path], folder: Path) -> Path:
    """Train once, unmeasured, on a few pictures of the benchmark's kind; the folder of the probe that it left."""
    table = warm(folder)
    case = Case(0, folder, None)
    measure(foveal(["train", table, "--json", "--out", folder / "run"], "foveal train (warming up)", case))
    probe = folder / "cache" / "probe"
    if not probe.is_dir():
        raise CommandFailedError(f"foveal left no machine probe in {probe}; benchmarks/_programs.py expects it there")
    return probe


def train(data: Path, shown: str, minutes: int, case: Case, *more: str) -> Command:
    options = [*more, "--minutes", str(minutes), "--seed", str(case.seed), "--json", "--out"]
    return foveal(
        ["train", data, *options, case.folder / "run"], f"foveal train {shown} {' '.join(options)} RUN", case
    )


def script(name: str, data: Path, shown: str, minutes: int, case: Case) -> Command:
    """A module of this folder that trains on data."""
    options = ["--minutes", str(minutes), "--seed", str(case.seed)]
    argv = [sys.executable, "-m", f"benchmarks.{name}", str(data), *options]
    written = f"python -m benchmarks.{name} {shown} {' '.join(options)}"
    return Command(argv, written, ROOT, {"FOVEAL_CACHE": str(case.folder / "cache")})


COLD = (
    "Cold: every run has an empty feature cache. The machine probe (which backend is fastest here, a few seconds "
    "once per machine) is made before and reused."
)
