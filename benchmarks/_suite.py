"""The table of benchmarks: what is run on which data, what is read from it, and what we want it to be.

Adding a benchmark is one entry in BENCHMARKS. Does not know how a process is measured or a table is written.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._data import Row, drawn, few, resplit, shared, spoken, write_table
from benchmarks._large_scenes import write_large_scenes
from benchmarks._measure import ROOT, Command, CommandFailedError, measure
from benchmarks._peers import environment, peer, write_boxes, write_membrane

_FOVEAL = Path(sys.executable).with_name("foveal")
_WARM_ROWS = 8

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


def _seconds(at_most: float | None = None) -> Metric:
    return Metric(SECONDS, ("wall_seconds",), "s", at_most=at_most)


_MEMORY = Metric("peak memory", ("peak_mb",), "MB", digits=0)


def _accuracy(*path: str, at_least: float | None = None) -> Metric:
    return Metric("accuracy", ("printed", *path), "%", 100, mean=True, at_least=at_least)


def _train_metrics(at_least: float, at_most: float) -> tuple[Metric, ...]:
    macro = Metric("macro F1", ("printed", "test", "macro_f1", "value"), "%", 100, mean=True)
    return (_accuracy("test", "accuracy", "value", at_least=at_least), macro, _seconds(at_most), _MEMORY)


def _box_metrics(at_least: float | None, at_most: float) -> tuple[Metric, ...]:
    loose, strict = (
        Metric(name, ("printed", "test", key, "value"), "%", 100, mean=True, at_least=goal)
        for name, key, goal in (("mAP50", "map50", at_least), ("mAP50-95", "map50_95", None))
    )
    return (loose, strict, _seconds(at_most), _MEMORY)


def _box_peer_metrics(at_least: float | None = None) -> tuple[Metric, ...]:
    loose, strict, *cost = _box_metrics(at_least, 960)
    return (loose, strict, Metric("latency", ("printed", "milliseconds"), "ms"), *cost)


def _mask_metrics(overlap: float | None, accuracy: float | None, at_most: float) -> tuple[Metric, ...]:
    found = (
        Metric(name, ("printed", "test", key, "value"), "%", 100, mean=True, at_least=goal)
        for name, key, goal in (("mIoU", "miou", overlap), ("pixel accuracy", "pixel_accuracy", accuracy))
    )
    return (*found, _seconds(at_most), _MEMORY)


def _foveal(arguments: Sequence[str | Path], shown: str, case: Case) -> Command:
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
    measure(_foveal(["train", table, "--json", "--out", folder / "run"], "foveal train (warming up)", case))
    probe = folder / "cache" / "probe"
    if not probe.is_dir():
        raise CommandFailedError(f"foveal left no machine probe in {probe}; benchmarks/_suite.py expects it there")
    return probe


def _trashnet(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return _train(resplit("trashnet-150", case.seed, case.folder), "trashnet-150/labels.csv", minutes, case)

    return command


def _cifar(minutes: int, per_class: int | None) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        root = shared("cifar10-jpeg")
        data = root if per_class is None else drawn(root, per_class, case.seed, case.folder / "drawn.csv")
        return _train(data, "cifar10-jpeg" if per_class is None else "drawn.csv", minutes, case, "--model", "scratch")

    return command


def _few_cifar(folder: Path) -> Path:
    return drawn(shared("cifar10-jpeg"), _WARM_ROWS, 0, folder / "few.csv", tested=_WARM_ROWS)


def _train(data: Path, shown: str, minutes: int, case: Case, *more: str) -> Command:
    options = [*more, "--minutes", str(minutes), "--seed", str(case.seed), "--json", "--out"]
    return _foveal(
        ["train", data, *options, case.folder / "run"], f"foveal train {shown} {' '.join(options)} RUN", case
    )


def _few_trash(folder: Path) -> Path:
    return few(resplit("trashnet-150", 1, folder), _WARM_ROWS, folder / "few.csv")


def _signs(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return _train(shared("sign-language-digits"), "sign-language-digits", minutes, case)

    return command


def _few_signs(folder: Path) -> Path:
    rows = []
    for digit in sorted((shared("sign-language-digits") / "Dataset").iterdir()):
        files = sorted(digit.glob("*.JPG"))[: 2 * _WARM_ROWS]
        rows += [Row(str(file), digit.name, ("train", "test")[i % 2]) for i, file in enumerate(files)]
    return write_table(rows, folder / "few.csv")


def _spoken(minutes: int, *, unknown: bool) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        table = spoken(case.seed if unknown else None, case.folder / "spoken.csv")
        return _train(table, "spoken.csv", minutes, case)

    return command


def _few_spoken(folder: Path) -> Path:
    return few(spoken(None, folder / "spoken.csv"), _WARM_ROWS, folder / "few.csv")


def _boxes(name: str, minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return _train(shared(name), name, minutes, case)

    return command


def _large_scenes(case: Case) -> Command:
    data = write_large_scenes(case.folder / "scenes", case.seed)
    return _train(data, "scenes", 10, case)


def _membrane(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return _train(shared("membrane"), "membrane", minutes, case, "--folds", "6")

    return command


def _frozen_pass(case: Case) -> Command:
    argv = [sys.executable, "-m", "benchmarks.frozen_pass"]
    return Command(argv, "python -m benchmarks.frozen_pass", ROOT, {"FOVEAL_CACHE": str(case.folder / "cache")})


def _demo(case: Case) -> Command:
    return _foveal(["demo", "--json"], "foveal demo --json", case)


def _peer(script: str) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        table = resplit("trashnet-150", case.seed, case.folder)
        return peer(script, "torchvision", table, "trashnet-150/labels.csv", ["--seed", str(case.seed)], case.folder)

    return command


def _box_speed(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        options = ["--minutes", str(minutes), "--seed", str(case.seed)]
        argv = [sys.executable, "-m", "benchmarks.box_speed", str(shared("bccd")), *options]
        shown = f"python -m benchmarks.box_speed bccd {' '.join(options)}"
        return Command(argv, shown, ROOT, {"FOVEAL_CACHE": str(case.folder / "cache")})

    return command


def _box_peer(script: str, environment: str, minutes: int, *more: str) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        data = write_boxes(shared("bccd"), case.folder / "bccd")
        options = [*more, "--minutes", str(minutes), "--seed", str(case.seed)]
        return peer(script, environment, data, "bccd", options, case.folder)

    return command


def _mask_peer(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        data = write_membrane(case.folder / "membrane", case.seed)
        options = ["--minutes", str(minutes), "--seed", str(case.seed)]
        return peer("smp_masks.py", "torchvision", data, "membrane", options, case.folder)

    return command


def _drawn_membrane(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return _train(write_membrane(case.folder / "membrane", case.seed), "membrane", minutes, case)

    return command


def _box_environments() -> None:
    for name in ("ultralytics", "torchvision"):
        environment(name)()


def _rate(name: str) -> Metric:
    return Metric(name, ("printed", name, "images_per_second"), "images/s")


_COLD = (
    "Cold: every run has an empty feature cache. The machine probe (which backend is fastest here, a few seconds "
    "once per machine) is made before and reused."
)
_PACE = (
    Metric("training", ("printed", "cost", "training_rows_per_second"), "pictures/s", digits=0),
    Metric("share of peak", ("printed", "cost", "training_peak_share"), "%", 100, digits=0),
)
_WHOLE = "Wall times are of whole processes, the set-up of the virtual environments not included."
_PEER_METRICS = (_accuracy("accuracy"), _seconds(), _MEMORY)

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "trashnet",
        "trashnet-150: 2,527 photos of 6 kinds of waste, the official split drawn again for each seed (same counts "
        "of each class in each part, identical files together). Wall time is all of it: start of the process, "
        "decoding, training, scoring, report.",
        (1, 2, 3, 4, 5),
        (Program("foveal", _trashnet(1), _train_metrics(91, 60)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "trashnet-15",
        "The same resplits with 15 minutes each: the last stages are trained too.",
        (1, 2, 3, 4, 5),
        (Program("foveal", _trashnet(15), _train_metrics(94, 900)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "sign-language",
        "sign-language-digits: 2,062 photos of 10 hand signs. The data have no split and no person ids: each seed "
        "draws a test part, and persons may be on both sides of it.",
        (1, 2, 3),
        (Program("foveal", _signs(1), _train_metrics(95, 60)),),
        warm=_few_signs,
        notes=(_COLD,),
    ),
    Benchmark(
        "sign-language-3",
        "The same with 3 minutes each.",
        (1, 2, 3),
        (Program("foveal", _signs(3), _train_metrics(99, 180)),),
        warm=_few_signs,
        notes=(_COLD,),
    ),
    Benchmark(
        "cifar",
        "cifar10-jpeg: 50,000 pictures of 32 px to learn from, 10,000 to test, from nothing in 20 minutes. The files "
        "are compressed again, so published figures of the original pixels do not compare.",
        (0,),
        (Program("foveal", _cifar(20, None), (*_train_metrics(92, 1200), *_PACE)),),
        warm=_few_cifar,
        notes=(_COLD,),
    ),
    Benchmark(
        "cifar-5000",
        "500 pictures of each class of them, drawn by the seed, the same 10,000 to test, from nothing in 15 minutes.",
        (0,),
        (Program("foveal", _cifar(15, 500), (*_train_metrics(85, 900), *_PACE)),),
        warm=_few_cifar,
        notes=(_COLD,),
    ),
    Benchmark(
        "bccd",
        "bccd: 364 photos of blood, 640 x 480, with boxes of 3 kinds of cells, official parts. Nothing is drawn and "
        "nothing trained beyond the closed form, so there is one seed. About 26 variants of how boxes are learnt "
        "were chosen from with this test part in view, so what is measured on it flatters.",
        (0,),
        (Program("foveal", _boxes("bccd", 1), _box_metrics(75, 60)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "rbc-coco",
        "rbc-coco: 240 photos of blood, 416 x 416, with many small boxes of 2 kinds of cells, 10 of them to test.",
        (0,),
        (Program("foveal", _boxes("rbc-coco", 1), _box_metrics(90, 60)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    *(
        Benchmark(
            f"{name}-{minutes}",
            f"The same with {minutes} minutes: the last stages are trained too.",
            (0, 1, 2),
            (Program("foveal", _boxes(name, minutes), _box_metrics(goal, 60 * minutes)),),
            warm=_few_trash,
            notes=(_COLD,),
        )
        for name, minutes, goal in (("bccd", 15, 85), ("bccd", 60, 90), ("rbc-coco", 20, 90))
    ),
    Benchmark(
        "large-scenes",
        "70 pictures of 4000 x 3000 px, 20 to 60 blood cells of 20 px on the photographs of each: cells of bccd, "
        "ground of coco128, drawn by the seed (`benchmarks/_large_scenes.py`), 20 of them to test; 10 minutes.",
        (0,),
        (Program("foveal", _large_scenes, _box_metrics(90, 600)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "membrane",
        "membrane: 30 tiles of 512 x 512 px of electron microscopy, cell borders to be told from what they enclose; "
        "6 folds, the closed form alone.",
        (0,),
        (Program("foveal", _membrane(1), _mask_metrics(82, 93.5, 60)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "membrane-60",
        "The same with 10 minutes a fold: the last stages are trained too.",
        (0,),
        (Program("foveal", _membrane(60), _mask_metrics(82, 93.5, 3600)),),
        warm=_few_trash,
        notes=(_COLD,),
    ),
    Benchmark(
        "spoken",
        "fsdd: 3,000 digits spoken by 6 people, takes 0 to 4 of each digit and speaker to test.",
        (0,),
        (Program("foveal", _spoken(1, unknown=False), _train_metrics(99.5, 60)),),
        warm=_few_spoken,
        notes=(_COLD,),
    ),
    *(
        Benchmark(
            f"unknown-speakers-{minutes}",
            f"The same digits, each seed another speaker whom nothing is learnt from; {minutes} minutes each.",
            (1, 2, 3, 4, 5, 6),
            (Program("foveal", _spoken(minutes, unknown=True), _train_metrics(goal, 60 * minutes)),),
            warm=_few_spoken,
            notes=(_COLD,),
        )
        for minutes, goal in ((1, 90), (5, 95))
    ),
    Benchmark(
        "frozen-pass",
        "EfficientNet-Lite0 and pooling at 224 px, batches of 32, without decoding: PyTorch float32 in its default "
        "layout (default), the same with BatchNorm folded (folded), the fastest float32 backend, which scores "
        "(reference), and the fastest of all (fastest). They take turns in one process; each number is the median of "
        "9 rounds, a seed is a process.",
        (1, 2, 3),
        (
            Program(
                "foveal",
                _frozen_pass,
                (
                    *map(_rate, ("default", "folded", "reference", "fastest")),
                    Metric("fastest against default", ("printed", "fastest", "ratio"), "×", digits=2, at_least=12),
                ),
            ),
        ),
    ),
    Benchmark(
        "demo",
        "`foveal demo`: train, test and explain on built-in data.",
        (1, 2, 3),
        (Program("foveal", _demo, (_accuracy("test", "accuracy", "value", at_least=98), _seconds(20), _MEMORY)),),
        notes=("Cold: as on a new machine, the machine probe included.",),
    ),
    Benchmark(
        "peers",
        "The peers on the same resplits of trashnet-150, from the same EfficientNet-Lite0 weights at 224 px: "
        "fastai's defaults (fine_tune(3), that is 1 + 3 epochs, batch 64) and a plain PyTorch loop (1 + 3 epochs).",
        (1, 2),
        (
            Program("fastai", _peer("fastai_train.py"), _PEER_METRICS),
            Program("PyTorch", _peer("torch_train.py"), _PEER_METRICS),
        ),
        prepare=environment("torchvision"),
        beside="trashnet",
        ratio_at_least=5,
        notes=(_WHOLE,),
    ),
    Benchmark(
        "box-peers",
        "bccd in 15 minutes each, official parts: YOLO11n from nothing by Ultralytics' program (its `time=`), and "
        "torchvision's SSDLite from nothing and FCOS from foveal's ImageNet weights, all at 416 px. Latency is that "
        "of one picture of 416 px on 2 threads in float32: of foveal and YOLO11n in ONNX Runtime (foveal's file also "
        "resizes and suppresses, YOLO11n's is the network alone), of torchvision in PyTorch.",
        (0,),
        (
            Program("foveal", _box_speed(15), _box_peer_metrics(85)),
            Program("YOLO11n", _box_peer("ultralytics_boxes.py", "ultralytics", 15), _box_peer_metrics()),
            *(
                Program(
                    shown, _box_peer("torchvision_boxes.py", "torchvision", 15, "--model", name), _box_peer_metrics()
                )
                for shown, name in (("SSDLite", "ssdlite"), ("FCOS", "fcos"))
            ),
        ),
        prepare=_box_environments,
        notes=(_WHOLE,),
    ),
    Benchmark(
        "mask-peers",
        "membrane, 25 tiles to learn from and 5 to test, drawn by the seed, in 10 minutes each: foveal, and "
        "segmentation_models_pytorch's U-Net on the same ImageNet weights.",
        (1, 2),
        (
            Program("foveal", _drawn_membrane(10), _mask_metrics(82, 93.5, 600)),
            Program("U-Net", _mask_peer(10), _mask_metrics(None, None, 600)),
        ),
        prepare=environment("torchvision"),
        notes=(_WHOLE,),
    ),
)


def find(name: str) -> Benchmark | None:
    """The benchmark of that name, None where there is none."""
    return next((benchmark for benchmark in BENCHMARKS if benchmark.name == name), None)
