"""The card's results as blocks of the page: headline, metrics, classes, confusion, errors, calibration.

Knows the card's keys. Each function returns what the template prints, or None where the card lacks it; nothing here
depends on which task it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foveal.report._estimates import (
    Bar,
    axis_top,
    bar,
    estimate,
    gap_bar,
    is_share,
    reach_of,
    ticks,
    trust,
)
from foveal.report._format import count, finite, number, percent, points, short, words
from foveal.types import Estimate

Block = dict[str, Any]
_LEFT, _RIGHT = 45, 55
"""Where the headline's label changes side, so that it stays on the picture, in percent."""
_MATRIX_SHOWN, _MATRIX_LARGEST = 25, 100
_PAIRS, _PAIRS_BESIDE = 15, 6
_CLASSES_OPEN, _CLASSES_LARGEST = 30, 1000
_ERRORS, _ERRORS_OPEN = 50, 10
_CURVES = 12


def section(card: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The mapping at this path of the card; empty where it is missing or none."""
    here: Any = card
    for key in keys:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}


def rows(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list of the card."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, Sequence) else []


def headline(card: Mapping[str, Any]) -> Block:
    """The main metric, its error bar on an axis from zero, the baseline beside it, and how far to trust it."""
    scores = _estimates(section(card, "scores", "test"))
    name, main = next(iter(scores.items()), ("score", None))
    base = section(card, "details", "baseline")
    baseline = estimate(base.get(name))
    shown = [found for found in (main, baseline) if found is not None]
    top, share = axis_top(shown), is_share(shown)
    drawn, base_bar = bar(main, top, share), bar(baseline, top, share)
    return {
        "metric": words(name),
        "main": drawn,
        "count": count(main.n) if main and main.n else None,
        "baseline": base_bar,
        "baseline_class": base.get("class"),
        "baseline_side": _side(base_bar.at) if base_bar else "middle",
        "ticks": ticks(top, share),
        "trust": trust(words(name), main, baseline, share),
    }


def metrics(card: Mapping[str, Any]) -> Block | None:
    """Every metric on test and training examples and the gap between the two."""
    test, train = (_estimates(section(card, "scores", part)) for part in ("test", "train"))
    gaps = _estimates(section(card, "scores", "gap"))
    if not test and not train:
        return None
    reach = reach_of(list(gaps.values()))
    names = list(dict.fromkeys([*test, *train]))
    table = [_metric_row(name, test.get(name), train.get(name), gaps.get(name), reach) for name in names]
    return {
        "rows": table,
        "gap": any(row["gap"] for row in table),
        "train": bool(train),
        "sentence": card.get("gap_sentence"),
        "overlap": _overlap(card),
    }


def class_table(card: Mapping[str, Any]) -> Block | None:
    """Precision and recall of each class, weakest recall first; classes without test examples last."""
    found = []
    for row in rows(section(card, "details").get("classes")):
        recall, precision = estimate(row.get("recall")), estimate(row.get("precision"))
        found.append((recall.value if recall else 2.0, row.get("name"), bar(recall), bar(precision)))
    if not found:
        return None
    found.sort(key=lambda row: row[0])
    table = [
        {"name": short(name, 60), "recall": recall, "precision": precision} for _, name, recall, precision in found
    ]
    return {
        "rows": table[:_CLASSES_LARGEST],
        "total": len(table),
        "open": len(table) <= _CLASSES_OPEN,
        "weakest": table[:5],
    }


_PLACES = {
    "events": (("F1", "f1"),),
    "found": (("AP50", "map50"), ("AP50-95", "map50_95")),
    "pixels": (("IoU", "iou"),),
}
"""Of labels that have a place: where the card has each class's figures, and which of them are shown."""

_ABOUT_PLACES = {
    "events": (
        (
            "F1: the share of events that are found, and of those said that are true, as one number. An event is "
            "found where one of its class is said that begins within 0.2\N{NO-BREAK SPACE}s of it, and ends within "
            "that or a fifth of its length."
        ),
        "events",
    ),
    "found": (
        (
            "Average precision: of what is found, the share that is right, averaged over how much is found. A box is "
            "right where it overlaps a true one by half (AP50); AP50-95 wants overlaps up to 95\N{NO-BREAK SPACE}%."
        ),
        "boxes",
    ),
    "pixels": (
        "Intersection over union: of the pixels that are the class or are called it, the share that are both.",
        "pictures",
    ),
}


def places(card: Mapping[str, Any]) -> Block | None:
    """How well each class is found where it is, the weakest first; classes that the test examples lack last."""
    key = next((key for key in _PLACES if rows(section(card, "details").get(key))), None)
    if key is None:
        return None
    about, unit = _ABOUT_PLACES[key]
    table = []
    for row in rows(section(card, "details").get(key)):
        found = [estimate(row.get(name)) for _, name in _PLACES[key]]
        first = found[0].value if found[0] else 2.0
        bars = [bar(one) for one in found]
        table.append((first, {"name": short(row.get("name"), 60), "bars": bars, "n": count(row.get(unit))}))
    table.sort(key=lambda pair: pair[0])
    return {
        "about": about,
        "unit": unit,
        "columns": [name for name, _ in _PLACES[key]],
        "kinds": _kinds(card),
        "curves": _precision_curves(card),
        "rows": [row for _, row in table][:_CLASSES_LARGEST],
    }


_ABOUT_KINDS = {
    "right": "in place and of the right class",
    "double": "of an object that a surer box has already",
    "other class": "in place, but of another class",
    "badly placed": "of the right class, but overlapping by less than half",
    "nothing there": "where nothing is",
    "missed": "objects that no shown box is right about",
}


def _kinds(card: Mapping[str, Any]) -> list[tuple[str, str, str]] | None:
    """What the boxes that are shown are: kind, how many, what it means."""
    found = section(card, "details", "kinds")
    return [(kind, str(found[kind]), about) for kind, about in _ABOUT_KINDS.items() if kind in found] or None


def _precision_curves(card: Mapping[str, Any]) -> list[Block]:
    """For each class the line of precision over recall, in a square of 100 by 100, the origin top left."""
    curves = []
    for row in rows(section(card, "details").get("found"))[:_CURVES]:
        points = row.get("curve")
        if isinstance(points, Sequence) and len(points) > 1:
            step = 100 / (len(points) - 1)
            line = " ".join(f"{n * step:.1f},{100 - 100 * float(value):.1f}" for n, value in enumerate(points))
            curves.append({"name": short(row.get("name"), 28), "line": line})
    return curves


def confusion(card: Mapping[str, Any]) -> Block | None:
    """The matrix with each row's shares as heat, or the most confused pairs where it is too large to read."""
    details = section(card, "details")
    by_pixel = "pixel_confusion" in details
    counts = details.get("pixel_confusion" if by_pixel else "confusion")
    names = [short(row.get("name")) for row in rows(details.get("pixels" if by_pixel else "classes"))]
    if not isinstance(counts, Sequence) or not counts:
        return None
    names = names if len(names) == len(counts) else [str(k) for k in range(len(counts))]
    small = len(counts) <= _MATRIX_SHOWN
    return {
        "names": [short(name, 28) for name in names],
        "matrix": [_heat(k, row, by_pixel) for k, row in enumerate(counts)]
        if len(counts) <= _MATRIX_LARGEST
        else None,
        "by_pixel": by_pixel,
        "small": small,
        "pairs": _pairs(counts, names)[: _PAIRS_BESIDE if small else _PAIRS],
        "total": len(counts),
    }


def errors(card: Mapping[str, Any]) -> Block | None:
    """The mistakes that were made with most confidence."""
    found = sorted(rows(card.get("errors")), key=lambda row: -(finite(row.get("confidence")) or 0))[:_ERRORS]
    if not found:
        return None
    table = [
        {
            "name": short(row.get("name")),
            "truth": short(row.get("truth"), 60),
            "predicted": short(row.get("predicted"), 60),
            "confidence": _percent_of(row.get("confidence")),
        }
        for row in found
    ]
    return {"shown": table[:_ERRORS_OPEN], "more": table[_ERRORS_OPEN:]}


def calibration(card: Mapping[str, Any]) -> Block | None:
    """What its stated confidence is worth."""
    found = section(card, "calibration")
    before, after = finite(found.get("before")), finite(found.get("after"))
    test = finite(section(card, "details").get("calibration_error"))
    error = test if test is not None else after
    if error is None:
        return None
    temperature = finite(found.get("temperature"))
    facts = [("before calibration", before), ("after calibration", after)]
    if test != after:
        facts.append(("on the test examples", test))
    low, high = percent(max(0.8 - error, 0), 0), percent(min(0.8 + error, 1), 0)
    return {
        "sentence": f"Its stated confidence and its measured accuracy lie {points(error).removeprefix('+')} apart on "
        f"average (expected calibration error, ECE). Roughly: where it says 80\N{NO-BREAK SPACE}%, it is right {low} "
        f"to {high} of the time.",
        "facts": [(label, percent(value)) for label, value in facts if value is not None],
        "temperature": None if temperature is None else number(temperature),
    }


def _estimates(found: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: known for name, value in found.items() if (known := estimate(value)) is not None}


def _side(at: float) -> str:
    return "start" if at < _LEFT else "end" if at > _RIGHT else "middle"


def _metric_row(
    name: str, test: Estimate | None, train: Estimate | None, gap: Estimate | None, reach: float
) -> Block:
    both = [found for found in (test, train) if found is not None]
    top, share = axis_top(both), is_share(both)
    return {
        "name": words(name),
        "test": bar(test, top, share),
        "train": bar(train, top, share),
        "gap": gap_bar(gap, reach, share),
    }


def _overlap(card: Mapping[str, Any]) -> Block | None:
    found = section(card, "overlap")
    without = _estimates(section(found, "without"))
    if not without:
        return None
    share = is_share(list(without.values()))
    bars: list[tuple[str, Bar | None]] = [(words(name), bar(e, share=share)) for name, e in without.items()]
    return {"count": count(found.get("count")), "without": bars}


def _heat(k: int, counts: Sequence[Any], by_pixel: bool) -> list[Block]:
    """One row of the matrix: rows are the truth, so a row's shares say where its examples went. Of pixels, which are
    many, the shares are shown themselves, in percent."""
    total = sum(counts) or 1
    cells = []
    for j, n in enumerate(counts):
        level = 0 if not n else max(1, round(10 * n / total))
        shown = round(100 * n / total) if by_pixel else n
        cells.append({"n": shown, "level": level, "right": j == k, "share": percent(n / total, 0)})
    return cells


def _pairs(counts: Sequence[Sequence[Any]], names: Sequence[str]) -> list[Block]:
    wrong = [(n, k, j) for k, row in enumerate(counts) for j, n in enumerate(row) if n and j != k]
    wrong.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [
        {
            "truth": short(names[k], 60),
            "predicted": short(names[j], 60),
            "n": count(n),
            "share": percent(n / (sum(counts[k]) or 1)),
        }
        for n, k, j in wrong[:_PAIRS]
    ]


def _percent_of(value: Any) -> str | None:
    known = finite(value)
    return None if known is None else percent(known)


__all__ = [
    "Block", "calibration", "class_table", "confusion", "errors", "headline", "metrics", "places", "rows", "section",
]  # fmt: skip
