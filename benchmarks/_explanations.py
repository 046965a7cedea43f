"""The table of benchmarks of explanations; see `_suite.py`, which it is part of."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks._data import shared
from benchmarks._measure import ROOT, Command
from benchmarks._programs import Benchmark, Case, Metric, Program, script


def _erasing(case: Case) -> Command:
    return Command([sys.executable, "-m", "benchmarks.erasing"], "python -m benchmarks.erasing", ROOT)


def _explained(module: str, name: str, minutes: int = 1) -> Callable[[Case], Command]:
    """A module of this folder that trains on a shared set, or part of one, and looks at explanations."""

    def command(case: Case) -> Command:
        root, _, part = name.partition("/")
        return script(module, shared(root) / part, name, minutes, case)

    return command


_TOLD = tuple(
    Metric(
        f"{verdict} that show it",
        ("printed", "told", verdict, "value"),
        "%",
        100,
        0,
        True,
        at_least=least,
        at_most=most,
    )
    for verdict, least, most in (("supported", 90, None), ("weak", None, None), ("unsupported", None, 20))
)
_FAITHFUL = (
    *(
        Metric(name.replace("_", "-"), ("printed", "gain", name, "value"), digits=3)
        for name in ("ledger", "occlusion", "grad_cam", "middle", "edges")
    ),
    *(
        Metric(f"{name} over {other}, from", ("printed", f"{name}_over_{key}", "low"), digits=3, at_least=0)
        for name in ("ledger", "occlusion")
        for other, key in (("these", "rival"), ("Grad-CAM", "grad_cam"))
    ),
)
_DETAIL = (
    *(Metric(name, ("printed", name), "s", digits=2) for name in ("captum", "all", "detail")),
    Metric("Captum over detail", ("printed", "captum_over_detail"), "×", at_least=20),
    Metric("agreement", ("printed", "agreement"), digits=3, at_least=0.95),
    Metric("least", ("printed", "least_agreement"), digits=3),
)
_PLANTED = (
    Metric("strength", ("printed", "strength"), digits=0),
    *(Metric(f"moved, {who}", ("printed", "flipped", who), "%", 100, 0) for who in ("copy", "control")),
    Metric("occlusion", ("printed", "methods", "occlusion", "auroc"), digits=2, at_least=0.9),
    *(Metric(name, ("printed", "methods", name, "auroc"), digits=2) for name in ("ledger", "gradients")),
)
_ERASED = (
    *(Metric(name, ("printed", name, "accuracy", "value"), "%", 100, mean=True) for name in ("erased", "whole")),
    Metric("accuracy lost", ("printed", "cost"), "%", 100, digits=2, mean=True, at_most=0.5),
)

EXPLANATIONS: tuple[Benchmark, ...] = (
    Benchmark(
        "erasing",
        "Milliseconds that explanations of one picture take, lite0 at 224 px: erasing each of 49 cells by Captum's "
        "loop, by foveal and as one plain batch of PyTorch; the ledger beside a forward pass; the whole of what "
        "`foveal explain` measures of a file, about 330 passes.",
        (0, 1, 2),
        (
            Program(
                "foveal",
                _erasing,
                (
                    *(Metric(name, ("printed", name), "ms") for name in ("captum", "foveal", "measured")),
                    Metric("Captum over foveal", ("printed", "captum_over_foveal"), "×", at_least=5),
                    Metric("plain batch over foveal", ("printed", "plain_over_foveal"), "×", digits=2),
                    Metric("ledger over forward", ("printed", "ledger_over_forward"), "×", digits=2, at_most=1.05),
                    Metric("difference", ("printed", "difference"), digits=6, at_most=1e-4),
                ),
            ),
        ),
    ),
    *(
        Benchmark(
            f"faithful-{name.partition('/')[0]}",
            f"{name.partition('/')[0]}: how faithful explanations of a network trained for 1 minute are, on 60 test "
            "pictures: the gain of each map (`docs/explaining.md`), and by how much the ledger and occlusion beat "
            "the better of two maps that know nothing, and Captum's Grad-CAM of the last stage, example by example.",
            (0,),
            (Program("foveal", _explained("faithful", name), _FAITHFUL),),
        )
        for name in ("trashnet-150/labels.csv", "bccd")
    ),
    *(
        Benchmark(
            f"verdicts-{name.rpartition('/')[2].lower()}",
            f"{name.rpartition('/')[2]}: of explanations of predictions that hang on a planted mark, and of maps of "
            "a network that does not use it, how many show the mark, by verdict (`docs/explaining.md`).",
            (0,),
            (Program("foveal", _explained("verdicts", name), _TOLD),),
        )
        for name in ("trec", "ucr-small/ItalyPowerDemand", "ucr-small/GunPoint")
    ),
    *(
        Benchmark(
            f"planted-{name.partition('/')[0]}",
            f"{name.partition('/')[0]}: a mark planted in a copy of a network, on single things where labels have "
            "places, as strong as needed: what share of unseen ones it moves, how well maps tell of it (AUROC).",
            (0,),
            (Program("foveal", _explained("planted", name), _PLANTED),),
        )
        for name in ("trashnet-150/labels.csv", "bccd", "membrane")
    ),
    Benchmark(
        "detail",
        "trashnet-150: seconds that occlusion in detail of one picture takes, a window of a cell slid by an eighth "
        "of it: Captum's loop, all windows by foveal, those that it computes; how well these agree (Spearman).",
        (0,),
        (Program("foveal", _explained("detail", "trashnet-150/labels.csv"), _DETAIL),),
    ),
    *(
        Benchmark(
            f"erase-training-{name.partition('/')[0]}",
            f"{name.partition('/')[0]}: what it costs in accuracy that networks see parts erased while they are "
            f"trained: {minutes} minutes with that, and as many without, on the same parts.",
            (0, 1, 2, 3, 4),
            (Program("foveal", _explained("erase_training", name, minutes), _ERASED),),
        )
        for name, minutes in (("sign-language-digits", 3), ("trashnet-150/labels.csv", 3), ("trec", 3))
    ),
)
