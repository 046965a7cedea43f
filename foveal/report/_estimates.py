"""Estimates made ready to print and to draw to scale, and the sentence that says how far to trust the main one.

Knows a card's estimates, in shares of 1 or any other unit. Does not know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

from foveal.report._format import count, finite, number, percent, points
from foveal.types import Estimate

_FEW = 100
"""Below this many examples the page says that they are few: the interval at 90 % is then over 12 points wide."""


@dataclass(frozen=True)
class Bar:
    """One estimate as printed, with its places on an axis in percent of the axis' length."""

    value: str
    interval: str
    n: str
    at: float
    low: float | None
    high: float | None
    zero: float | None = None


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in percent of its length, and what it says."""

    at: float
    text: str


def estimate(value: Any) -> Estimate | None:
    """An estimate of the card; None where it is missing or no number."""
    if not isinstance(value, Mapping) or (middle := finite(value.get("value"))) is None:
        return None
    low, high = finite(value.get("low")), finite(value.get("high"))
    if low is None or high is None:
        low = high = None
    return Estimate(middle, low, high, int(finite(value.get("n")) or 0))


def is_share(estimates: Sequence[Estimate]) -> bool:
    """Whether all of them can be read as percentages."""
    return all(0 <= end <= 1 for found in estimates for end in _ends(found))


def interval_text(found: Estimate, share: bool) -> str:
    """ "88.1 to 93.6 %", or why there is none."""
    if found.low is None or found.high is None:
        # The bootstrap has none either where every resample agrees, which happens at the ends only.
        return "no interval: all alike" if found.value in (0, 1) else "no interval: one group"
    if share:
        return f"{percent(found.low).removesuffix('%').rstrip()} to {percent(found.high)}"
    return f"{number(found.low)} to {number(found.high)}"


def bar(found: Estimate | None, top: float = 1.0, share: bool = True) -> Bar | None:
    """The estimate on an axis from 0 to `top`."""
    if found is None:
        return None
    low, high = (None if end is None else _place(end, 0, top) for end in (found.low, found.high))
    text = percent(found.value) if share else number(found.value)
    return Bar(text, interval_text(found, share), count(found.n), _place(found.value, 0, top), low, high)


def gap_bar(found: Estimate | None, reach: float, share: bool = True) -> Bar | None:
    """A difference on an axis from -reach to reach, in points where it is one of shares."""
    if found is None:
        return None
    low, high = (None if end is None else _place(end, -reach, reach) for end in (found.low, found.high))
    at = _place(found.value, -reach, reach)
    if not share:
        return Bar(number(found.value), interval_text(found, False), count(found.n), at, low, high, zero=50)
    interval = "no interval"
    if found.low is not None and found.high is not None:
        interval = f"{points(found.low).split()[0]} to {points(found.high).split()[0]}"
    return Bar(points(found.value), interval, count(found.n), at, low, high, zero=50)


def axis_top(estimates: Sequence[Estimate]) -> float:
    """Where an axis from 0 ends that shows all of them: 1 for shares, else 1, 2 or 5 times a power of 10."""
    if is_share(estimates):
        return 1.0
    largest = max((abs(end) for found in estimates for end in _ends(found)), default=1.0) or 1.0
    power = 10.0 ** (ceil(log10(largest)) - 1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= largest * 0.999)


def reach_of(gaps: Sequence[Estimate]) -> float:
    """Half the length of an axis around zero that shows all of these differences; at least 0.05."""
    return 1.1 * max((abs(end) for found in gaps for end in _ends(found)), default=0.05) or 0.05


def ticks(top: float, share: bool) -> list[Tick]:
    """Five marks from 0 to the top."""
    marks = [quarter / 4 for quarter in range(5)]
    return [Tick(100 * mark, percent(mark * top, 0) if share else number(mark * top)) for mark in marks]


def trust(name: str, main: Estimate | None, baseline: Estimate | None, share: bool) -> str:
    """One sentence for a person who wants to use the model."""
    if main is None:
        return "Nothing was scored, so nothing is known about how well this works."
    if main.low is None or main.high is None:
        return (
            f"Without an interval this number cannot say what to expect of others: its {count(main.n)} examples "
            "are of one group, or all came out alike. Examples of more groups would tell."
        )
    if share and baseline is not None and main.low <= baseline.value:
        return (
            "The interval reaches down to what always giving the same answer would score, so the model may have "
            "learnt nothing useful: more examples, or clearer labels, are needed."
        )
    few = f", and these are only {count(main.n)}" if 0 < main.n < _FEW else ""
    # Whole percents, rounded outwards: 98.7 to 99.5 is not "between 99 and 100".
    whole = (math.floor(100 * main.low) / 100, math.ceil(100 * main.high) / 100)
    ends = [percent(end, 0) for end in whole] if share else [number(main.low), number(main.high)]
    return (
        f"On new examples like these expect {name} between {ends[0]} and {ends[1]}{few}; examples from another "
        "source, place or time may do worse, and this number cannot show it."
    )


def _ends(found: Estimate) -> list[float]:
    return [end for end in (found.value, found.low, found.high) if end is not None]


def _place(value: float, low: float, high: float) -> float:
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)
