"""What goes on inside the network as a block of the page: how far its stages see, what figures they answer to, what
its channels stand for.

Knows the keys of inside.json, which stand in the card under "inside". None where nobody looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveal.report._format import count, finite, percent, short
from foveal.report._results import Block, rows, section

_CLASSES_SHOWN = 4
_PICTURE = "data:image/jpeg;base64,"


def inside(card: Mapping[str, Any]) -> Block | None:
    """Stages, with their fields and figures, and channels."""
    found = section(card, "inside")
    stages = list(rows(found.get("fields")))
    if not stages:
        return None
    kinds = [str(kind) for kind in found.get("kinds") or ()]
    return {
        "size": count(found.get("size")),
        "kinds": kinds,
        "second": "" if (first := finite(found.get("second_from"))) is None else count(1 + first),
        "stages": [
            {
                "name": count(1 + number),
                "channels": count(field.get("channels")),
                "stride": count(field.get("stride")),
                "possible": "all" if field.get("possible") is None else count(field.get("possible")),
                "effective": count(field.get("effective")),
                "figures": [_pair(found, number, kind) for kind in kinds],
            }
            for number, field in enumerate(stages)
        ],
        "cues": [_cue(own) for own in rows(found.get("cues")) if str(own.get("patches")).startswith(_PICTURE)],
        "channels": [
            _channel(own) for own in rows(found.get("channels")) if str(own.get("patches")).startswith(_PICTURE)
        ],
    }


def _pair(found: Mapping[str, Any], stage: int, kind: str) -> tuple[str, str]:
    """Shares of channels, of this network and of the untaught one."""
    return tuple(_share(found.get(name), stage, kind) for name in ("figures", "untaught"))  # type: ignore[return-value]


def _share(found: Any, stage: int, kind: str) -> str:
    own = list(rows(found))
    value = finite(own[stage].get(kind)) if stage < len(own) else None
    return "" if value is None else percent(value, 0)


def _channel(own: Mapping[str, Any]) -> Block:
    classes = {
        str(name): value for name, raw in section(own, "classes").items() if (value := finite(raw)) is not None
    }
    total = sum(max(value, 0.0) for value in classes.values()) or 1.0
    ranked = sorted(classes.items(), key=lambda pair: -pair[1])[:_CLASSES_SHOWN]
    right, without = (finite(section(own, name).get("value")) for name in ("right", "without"))
    change = None if right is None or without is None else without - right
    return {
        "stage": count(1 + (finite(own.get("stage")) or 0)),
        "number": count(own.get("number")),
        "patches": own["patches"],
        "classes": [(short(name, 24), percent(value / total, 0)) for name, value in ranked],
        "change": "" if change is None else f"{100 * change:+.0f} points".replace("-", "\N{MINUS SIGN}"),
        "moved": "" if (value := finite(section(own, "moved").get("value"))) is None else percent(value, 0),
        "n": count(section(own, "moved").get("n")),
    }


def _cue(own: Mapping[str, Any]) -> Block:
    tried = {name: finite(section(own, name).get("value")) for name in ("erased", "elsewhere", "pasted", "other")}
    shown = {name: "" if value is None else percent(value, 0) for name, value in tried.items()}
    examples = own.get("examples")
    return {
        "name": short(str(own.get("class")), 40),
        "patches": own["patches"],
        "count": count(len(examples) if isinstance(examples, list) else 0),
        "of": count(own.get("of")),
        **shown,
    }
