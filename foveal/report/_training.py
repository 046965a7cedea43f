"""The card's trainings and disturbances as blocks of the page: learning curves, and what the network tolerates.

Knows the card's keys. Each function returns what the template prints, or None where the card lacks it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from foveal.report._estimates import axis_top, bar, estimate, is_share, ticks
from foveal.report._format import count, finite, number, short, words
from foveal.report._results import Block, rows, section

_WIDTH, _HEIGHT = 1000, 240
_CURVES = 20


def tolerance(card: Mapping[str, Any]) -> Block | None:
    """Score and share of unchanged predictions under each disturbance, those of one kind together."""
    found = section(card, "tolerance")
    if found.get("why_not"):
        return {"why_not": found.get("why_not")}
    table = [row for row in rows(found.get("disturbances")) if estimate(row.get("unchanged"))]
    if not table:
        return None
    undisturbed = estimate(found.get("undisturbed"))
    scores = [known for row in table if (known := estimate(row.get("score")))]
    every = [*scores, *([undisturbed] if undisturbed else [])]
    top, share = axis_top(every), is_share(every)
    kinds = [(kind, [_disturbance(row, top, share) for row in own]) for kind, own in groupby(table, _kind)]
    return {
        "why_not": None,
        "metric": words(found.get("metric") or "score"),
        "undisturbed": bar(undisturbed, top, share),
        "kinds": kinds,
        "examples": count(found.get("examples")),
        "of": count(found.get("of")),
        "sentence": found.get("sentence"),
    }


def curves(card: Mapping[str, Any]) -> Block | None:
    """The loss of each training against its steps, as lines on one pair of axes."""
    found = [(row.get("name"), known) for row in rows(card.get("curves")) if (known := _totals(row))]
    if not found:
        return None
    longest = max(known[-1][0] for _, known in found)
    top = _round_above(max(value for _, known in found for _, value in known))
    lines = [{"name": short(name, 40), "path": _path(known, longest, top)} for name, known in found[-_CURVES:]]
    return {
        "lines": lines,
        "ticks": ticks(top, False)[::-1],
        "steps": count(longest),
        "size": f"0 0 {_WIDTH} {_HEIGHT}",
        "ends": [(short(name, 40), number(known[0][1]), number(known[-1][1])) for name, known in found],
    }


def _kind(row: Mapping[str, Any]) -> str:
    return words(str(row.get("kind") or "other"))


def _disturbance(row: Mapping[str, Any], top: float, share: bool) -> Block:
    return {
        "strength": short(row.get("strength"), 40),
        "score": bar(estimate(row.get("score")), top, share),
        "unchanged": bar(estimate(row.get("unchanged"))),
    }


def _totals(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(step, loss in all) of each point; empty where they do not fit together."""
    steps, losses = row.get("steps"), section(row, "losses")
    if not isinstance(steps, Sequence) or not losses:
        return []
    totals = []
    for values in zip(steps, *(one for one in losses.values() if isinstance(one, Sequence)), strict=False):
        step, *parts = (finite(value) for value in values)
        known = [part for part in parts if part is not None]
        if step and len(known) == len(parts) > 0:
            totals.append((step, sum(known)))
    return totals


def _round_above(largest: float) -> float:
    """The end of an axis from 0 whose quarters are short numbers."""
    power = 10.0 ** math.floor(math.log10(largest)) if largest > 0 else 1.0
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= largest)


def _path(points: Sequence[tuple[float, float]], longest: float, top: float) -> str:
    """The line in the drawing's own units, y downwards."""
    places = [(_WIDTH * step / longest, _HEIGHT * (1 - max(value, 0.0) / top)) for step, value in points]
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
