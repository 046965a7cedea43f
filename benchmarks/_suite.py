"""The table of benchmarks: what is run on which data, what is read from it, and what we want it to be.

Adding a benchmark is one entry in BENCHMARKS. Does not know how a process is measured or a table is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks._beyond_pictures import BEYOND_PICTURES
from benchmarks._data import Row, drawn, few, resplit, shared, write_table
from benchmarks._explanations import EXPLANATIONS
from benchmarks._large_scenes import write_large_scenes
from benchmarks._measure import ROOT, Command
from benchmarks._peers import environment, peer, write_boxes, write_membrane
from benchmarks._programs import (
    COLD,
    MEMORY,
    WARM_ROWS,
    Benchmark,
    Case,
    Metric,
    Program,
    accuracy,
    box_metrics,
    foveal,
    mask_metrics,
    script,
    seconds,
    train,
    train_metrics,
)


def _trashnet(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return train(resplit("trashnet-150", case.seed, case.folder), "trashnet-150/labels.csv", minutes, case)

    return command


def _cifar(minutes: int, per_class: int | None) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        root = shared("cifar10-jpeg")
        data = root if per_class is None else drawn(root, per_class, case.seed, case.folder / "drawn.csv")
        return train(data, "cifar10-jpeg" if per_class is None else "drawn.csv", minutes, case, "--model", "scratch")

    return command


def _few_cifar(folder: Path) -> Path:
    return drawn(shared("cifar10-jpeg"), WARM_ROWS, 0, folder / "few.csv", tested=WARM_ROWS)


def _few_trash(folder: Path) -> Path:
    return few(resplit("trashnet-150", 1, folder), WARM_ROWS, folder / "few.csv")


def _signs(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return train(shared("sign-language-digits"), "sign-language-digits", minutes, case)

    return command


def _few_signs(folder: Path) -> Path:
    rows = []
    for digit in sorted((shared("sign-language-digits") / "Dataset").iterdir()):
        files = sorted(digit.glob("*.JPG"))[: 2 * WARM_ROWS]
        rows += [Row(str(file), digit.name, ("train", "test")[i % 2]) for i, file in enumerate(files)]
    return write_table(rows, folder / "few.csv")


def _boxes(name: str, minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return train(shared(name), name, minutes, case)

    return command


def _large_scenes(case: Case) -> Command:
    return script("large_recall", write_large_scenes(case.folder / "scenes", case.seed), "scenes", 10, case)


def _frames(name: str) -> Callable[[Case], Command]:
    return lambda case: script("frames", shared(name), name, 1, case)


def _membrane(minutes: int) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        return train(shared("membrane"), "membrane", minutes, case, "--folds", "6")

    return command


def _frozen_pass(case: Case) -> Command:
    argv = [sys.executable, "-m", "benchmarks.frozen_pass"]
    return Command(argv, "python -m benchmarks.frozen_pass", ROOT, {"FOVEAL_CACHE": str(case.folder / "cache")})


_NEW_MACHINE = "Cold: as on a new machine, the machine probe included."


def _demo(case: Case, task: str = "") -> Command:
    argv = [*filter(None, ["demo", task]), "--json"]
    return foveal(argv, f"foveal {' '.join(argv)}", case)


def _box_peer_metrics() -> tuple[Metric, ...]:
    loose, strict, *cost = box_metrics(None, 360)
    return (loose, strict, Metric("latency", ("printed", "milliseconds"), "ms"), *cost)


def _peer(script: str) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        table = resplit("trashnet-150", case.seed, case.folder)
        return peer(script, "torchvision", table, "trashnet-150/labels.csv", ["--seed", str(case.seed)], case.folder)

    return command


def _box_speed(minutes: int) -> Callable[[Case], Command]:
    return lambda case: script("box_speed", shared("bccd"), "bccd", minutes, case)


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
        return train(write_membrane(case.folder / "membrane", case.seed), "membrane", minutes, case)

    return command


def _box_environments() -> None:
    for name in ("ultralytics", "torchvision"):
        environment(name)()


def _rate(name: str) -> Metric:
    return Metric(name, ("printed", name, "images_per_second"), "images/s")


_PACE = (
    Metric("training", ("printed", "cost", "training_rows_per_second"), "pictures/s", digits=0),
    Metric("share of peak", ("printed", "cost", "training_peak_share"), "%", 100, digits=0),
)
_WHOLE = "Wall times are of whole processes, the set-up of the virtual environments not included."
_PEER_METRICS = (accuracy("accuracy"), seconds(), MEMORY)

BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "trashnet",
        "trashnet-150: 2,527 photos of 6 kinds of waste, the official split drawn again for each seed (same counts "
        "of each class in each part, identical files together). Wall time is all of it: start of the process, "
        "decoding, training, scoring, report.",
        (1, 2, 3, 4, 5),
        (Program("foveal", _trashnet(1), train_metrics(91, 60)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    Benchmark(
        "trashnet-15",
        "The same resplits with 15 minutes each: the last stages are trained too.",
        (1, 2, 3, 4, 5),
        (Program("foveal", _trashnet(15), train_metrics(94, 900)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    Benchmark(
        "sign-language",
        "sign-language-digits: 2,062 photos of 10 hand signs. The data have no split and no person ids: each seed "
        "draws a test part, and persons may be on both sides of it.",
        (1, 2, 3),
        (Program("foveal", _signs(1), train_metrics(95, 60)),),
        warm=_few_signs,
        notes=(COLD,),
    ),
    Benchmark(
        "sign-language-3",
        "The same with 3 minutes each.",
        (1, 2, 3),
        (Program("foveal", _signs(3), train_metrics(99, 180)),),
        warm=_few_signs,
        notes=(COLD,),
    ),
    Benchmark(
        "cifar",
        "cifar10-jpeg: 50,000 pictures of 32 px to learn from, 10,000 to test, from nothing in 20 minutes. The files "
        "are compressed again, so published figures of the original pixels do not compare.",
        (0,),
        (Program("foveal", _cifar(20, None), (*train_metrics(92, 1200), *_PACE)),),
        warm=_few_cifar,
        notes=(COLD,),
    ),
    Benchmark(
        "cifar-5000",
        "500 pictures of each class of them, drawn by the seed, the same 10,000 to test, from nothing in 15 minutes.",
        (0,),
        (Program("foveal", _cifar(15, 500), (*train_metrics(85, 900), *_PACE)),),
        warm=_few_cifar,
        notes=(COLD,),
    ),
    Benchmark(
        "bccd",
        "bccd: 364 photos of blood, 640 x 480, with boxes of 3 kinds of cells, official parts. Nothing is drawn and "
        "nothing trained beyond the closed form, so there is one seed. About 26 variants of how boxes are learnt "
        "were chosen from with this test part in view, so what is measured on it flatters.",
        (0,),
        (Program("foveal", _boxes("bccd", 1), box_metrics(75, 60)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    Benchmark(
        "rbc-coco",
        "rbc-coco: 240 photos of blood, 416 x 416, with many small boxes of 2 kinds of cells, 10 of them to test.",
        (0,),
        (Program("foveal", _boxes("rbc-coco", 1), box_metrics(90, 60)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    *(
        Benchmark(
            f"{name}-{minutes}",
            f"The same with {minutes} minutes: the last stages are trained too.",
            (0, 1, 2),
            (Program("foveal", _boxes(name, minutes), box_metrics(goal, 60 * minutes)),),
            warm=_few_trash,
            notes=(COLD,),
        )
        for name, minutes, goal in (("bccd", 15, 85), ("bccd", 60, 90), ("rbc-coco", 20, 90))
    ),
    Benchmark(
        "large-scenes",
        "70 pictures of 4000 x 3000 px, 20 to 60 blood cells of 20 px on the photographs of each: cells of bccd, "
        "ground of coco128, drawn by the seed (`benchmarks/_large_scenes.py`), 20 of them to test; 10 minutes.",
        (0,),
        (
            Program(
                "foveal",
                _large_scenes,
                (
                    Metric("recall", ("printed", "test", "recall", "value"), "%", 100, mean=True, at_least=90),
                    Metric("a picture", ("printed", "seconds_a_picture"), "s", digits=2, at_most=2),
                    *box_metrics(None, 600),
                ),
            ),
        ),
        warm=_few_trash,
        notes=(COLD,),
    ),
    Benchmark(
        "membrane",
        "membrane: 30 tiles of 512 x 512 px of electron microscopy, cell borders to be told from what they enclose; "
        "6 folds, the closed form alone.",
        (0,),
        (Program("foveal", _membrane(1), mask_metrics(82, 93.5, 60)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    Benchmark(
        "membrane-60",
        "The same with 10 minutes a fold: the last stages are trained too.",
        (0,),
        (Program("foveal", _membrane(60), mask_metrics(82, 93.5, 3600)),),
        warm=_few_trash,
        notes=(COLD,),
    ),
    *(
        Benchmark(
            f"frames-{name}",
            f"Frames a second of a video of {name}'s pictures, {size}, that are decoded, predicted at 320 px, drawn "
            "and encoded again, by a network that learnt for a minute.",
            (0,),
            (
                Program(
                    "foveal",
                    _frames(name),
                    (Metric("rate", ("printed", "frames_per_second"), "frames/s", at_least=15), MEMORY),
                ),
            ),
        )
        for name, size in (("bccd", "640 x 480"), ("membrane", "512 x 512"))
    ),
    *BEYOND_PICTURES,
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
    *EXPLANATIONS,
    Benchmark(
        "demo",
        "`foveal demo`: train, test and explain on built-in data.",
        (1, 2, 3),
        (Program("foveal", _demo, (accuracy("test", "accuracy", "value", at_least=98), seconds(20), MEMORY)),),
        notes=(_NEW_MACHINE,),
    ),
    Benchmark(
        "demo-detect",
        "`foveal demo detect`: the same of scenes of digits with boxes.",
        (1,),
        (Program("foveal", partial(_demo, task="detect"), box_metrics(90, 120)),),
        notes=(_NEW_MACHINE,),
    ),
    Benchmark(
        "demo-segment",
        "`foveal demo segment`: the same of scenes of traced digits with masks.",
        (1,),
        (Program("foveal", partial(_demo, task="segment"), mask_metrics(80, None, 120)),),
        notes=(_NEW_MACHINE,),
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
        "bccd in 5 minutes each, official parts: YOLO11n from nothing by Ultralytics' program (its `time=`), and "
        "torchvision's SSDLite from nothing and FCOS from foveal's ImageNet weights, all at 416 px. Latency is that "
        "of one picture of 416 px on 2 threads in float32: of foveal and YOLO11n in ONNX Runtime (foveal's file also "
        "resizes and suppresses, YOLO11n's is the network alone), of torchvision in PyTorch.",
        (0,),
        (
            Program("foveal", _box_speed(5), _box_peer_metrics()),
            Program("YOLO11n", _box_peer("ultralytics_boxes.py", "ultralytics", 5), _box_peer_metrics()),
            *(
                Program(
                    shown, _box_peer("torchvision_boxes.py", "torchvision", 5, "--model", name), _box_peer_metrics()
                )
                for shown, name in (("SSDLite", "ssdlite"), ("FCOS", "fcos"))
            ),
        ),
        prepare=_box_environments,
        notes=(_WHOLE,),
    ),
    Benchmark(
        "mask-peers",
        "membrane, 25 tiles to learn from and 5 to test, drawn by the seed, in 5 minutes each: foveal, and "
        "segmentation_models_pytorch's U-Net on the same ImageNet weights.",
        (1, 2),
        (
            Program("foveal", _drawn_membrane(5), mask_metrics(82, 93.5, 300)),
            Program("U-Net", _mask_peer(5), mask_metrics(None, None, 300)),
        ),
        prepare=environment("torchvision"),
        notes=(_WHOLE,),
    ),
)


def find(name: str) -> Benchmark | None:
    """The benchmark of that name, None where there is none."""
    return next((benchmark for benchmark in BENCHMARKS if benchmark.name == name), None)
