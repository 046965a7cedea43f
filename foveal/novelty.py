"""What other data are to a run: how far from what it learnt from, and which classes it finds less often there.

Knows the card of a run and what was measured on the other data; predicts nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foveal.intervals import gap, proportion
from foveal.types import Estimate

# 1 % lies beyond the limit in data of the same kind, but a limit set by few test examples is itself a guess.
_FAR = 0.05
_MANY_CLASSES = 20


def distance(
    card: Mapping[str, Any], distances: Sequence[float | None], units: Sequence[int]
) -> dict[str, Any] | None:
    """The share of things that lie farther from the training examples than 99 % of the test examples did.

    `far`: an estimate; `limit`: that distance; `test_n`: how many examples set it; None where the run cannot say.
    """
    usual, known = card.get("distance"), [value for value in distances if value is not None]
    if usual is None or not known or len(known) < len(distances):
        return None
    far = proportion(np.asarray(known) > usual["limit"], np.asarray(units))
    return {"far": far.to_json(), "limit": usual["limit"], "test_n": usual["n"]}


def recalls(card: Mapping[str, Any], details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each class that both have: `name`, recall in the run's `test` and `here`, and their `difference`."""
    before = {row["name"]: row["recall"] for row in card["details"].get("classes", ())}
    found = []
    for row in details.get("classes", ()):
        test, here = before.get(row["name"]), row["recall"]
        if test and here:
            difference = gap(Estimate(**here), Estimate(**test)).to_json()
            found.append({"name": row["name"], "test": test, "here": here, "difference": difference})
    return found


def fallen(compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """The classes whose recall is lower than in the run's test, and not by chance; the deepest fall first."""
    found = [row for row in compared if row["difference"]["high"] is not None and row["difference"]["high"] < 0]
    return [row["name"] for row in sorted(found, key=lambda row: row["difference"]["value"])]


def lines(found: Mapping[str, Any]) -> list[str]:
    """Both in words; found: `distance`, `recall` and `fell`."""
    return [_distance_line(found["distance"]), *_class_lines(found["recall"], found["fell"])]


def _distance_line(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "how far these data are from what the run learnt from is not known: its head keeps no centre"
    far = found["far"]
    interval = "" if far["low"] is None else f" ({far['low']:.1%} to {far['high']:.1%})"
    told = (
        f"{far['value']:.1%}{interval} of these files lie farther from the training examples than 99 % of the run's "
        f"{found['test_n']} test examples did"
    )
    if far["low"] is not None and far["low"] > _FAR:
        return f"{told}: these data are of another kind, and the run's own test says little about them"
    if far["value"] <= _FAR:
        return f"{told}: as many as are usual, though what is unlike them in another way may go unseen"
    return f"{told}: some look unlike them, or these are too few files to tell"


def _class_lines(compared: Sequence[Mapping[str, Any]], fell: Sequence[str]) -> list[str]:
    if not compared:
        return []
    if not fell:
        return [f"none of {len(compared)} classes is found less often than in the run's test, beyond chance"]
    rows = {row["name"]: row for row in compared}
    count = f"{len(fell)} of {len(compared)} classes{_by_chance(compared)}"
    return [f"found less often than in the run's test: {count}", *(_fall(rows[name]) for name in fell)]


def _fall(row: Mapping[str, Any]) -> str:
    here, test = row["here"], row["test"]
    value, low, high = (100 * row["difference"][end] for end in ("value", "low", "high"))
    told = f"  {row['name']}: {here['value']:.1%} of {here['n']} instead of {test['value']:.1%} of {test['n']}"
    return f"{told}, {value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _by_chance(compared: Sequence[Mapping[str, Any]]) -> str:
    """Among many classes some seem to have fallen where nothing changed: one side of each 95 % interval."""
    return f" (about {0.025 * len(compared):.0f} would be by chance alone)" if len(compared) >= _MANY_CLASSES else ""
