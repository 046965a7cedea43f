"""The audit of a run's explanations as a block of the page: how faithful they are, and whether they would have told.

Knows the keys of faithfulness.json, which stand in the card under "audit". None where nothing was audited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.report._estimates import estimate, gap_bar, reach_of
from foveal.report._format import count, finite, number, percent, short
from foveal.report._results import Block, rows, section

_ABOUT = {
    "ledger": "what the score is the sum of, in cells: the maps of this page",
    "occlusion": "what erasing each cell alone takes from the score",
    "gradients": "what each cell adds on the way from training examples to this one",
    "middle": "the middle, whatever is there",
    "edges": "where much changes, whatever the network does",
    "first": "the first words, whatever they are",
    "long": "long words, whatever they are",
}
_FROM = {"val": "validation", "test": "test", "train": "training", "data": "given"}


def audit(card: Mapping[str, Any]) -> Block | None:
    """Methods and their rivals, the untaught network, and what was planted."""
    found = section(card, "audit")
    methods, rivals = section(found, "methods"), section(found, "rivals")
    gains = {name: estimate(section(methods, name, "gain")) for name in methods}
    gains |= {name: estimate(own) for name, own in rivals.items()}
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if not known:
        return None
    reach = reach_of(list(known.values()))
    return {
        "examples": count(found.get("examples")),
        "part": _FROM.get(str(found.get("looked_at")), ""),
        "rows": [
            {
                "name": short(name, 40),
                "about": _ABOUT.get(name, ""),
                "gain": gap_bar(gain, reach, share=False),
                "agreement": _value(section(methods, name, "agreement")),
                "supported": _share(section(methods, name, "supported")),
                "rival": name in rivals,
            }
            for name, gain in known.items()
        ],
        "kept": _percent(section(found, "on_manifold").get("kept")),
        "foreign": not section(found, "on_manifold").get("enough", True),
        "hits": {
            short(name, 40): _share(section(found, "pointing", "methods", name, "hits"))
            for name in section(found, "pointing", "methods")
        },
        "in_order": _percent(section(found, "on_manifold", "whole").get("value")),
        "shuffled": {
            short(name, 10): _share(section(found, "shuffled", name)) for name in section(found, "shuffled")
        },
        "by_chance": _percent(section(found, "pointing").get("base")),
        "same": _value(section(found, "untaught", "same_example")),
        "other": _value(section(found, "untaught", "other_examples")),
        "passes": bool(section(found, "untaught").get("passes")),
        "planted": [_trial(name, trial) for name, own in section(found, "shortcuts").items() for trial in rows(own)],
    }


def _trial(name: str, trial: Mapping[str, Any]) -> Block:
    told = {
        short(method, 40): number(value)
        for method in section(trial, "methods")
        if (value := finite(section(trial, "methods", method).get("auroc"))) is not None
    }
    if not trial.get("proved"):
        verdict = "not used, so maps cannot be judged by it"
    elif not trial.get("has_place"):
        verdict = "maps cannot show it: it lies nowhere"
    elif not told:
        verdict = "there is no example to look at"
    else:
        verdict = ", ".join(f"{method} {value}" for method, value in told.items())
    flipped = section(trial, "flipped")
    return {
        "name": short(name, 40),
        "strength": count(1 + (finite(trial.get("strength")) or 0)),
        "moved": _percent(flipped.get("copy")),
        "control": _percent(flipped.get("control")),
        "verdict": verdict,
    }


def _value(found: Mapping[str, Any]) -> str:
    value = finite(found.get("value"))
    return "" if value is None else number(value, 2)


def _share(found: Mapping[str, Any]) -> str:
    value = finite(found.get("value"))
    return "" if value is None else f"{percent(value, 0)} of {count(found.get('n'))}"


def _percent(value: Any) -> str:
    known = finite(value)
    return "" if known is None else percent(known, 0)
